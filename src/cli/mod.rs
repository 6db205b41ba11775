//! (room to come)

pub mod config;
