//! Logs, the writing of times, and how the machine is.

pub mod logs;
pub mod system;
mod time;

pub use time::{rfc3339, rfc3339_option, timestamp};
