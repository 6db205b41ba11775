//! Logs and the writing of times.

pub mod logs;
mod time;

pub use time::{rfc3339, rfc3339_option, timestamp};
