//! (room to come)

mod bounded;
pub mod config;
pub mod doctor;
pub mod healthcheck;
pub mod probe;
