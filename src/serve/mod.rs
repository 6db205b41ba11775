//! Outputs that answer viewers.

pub mod hls;
