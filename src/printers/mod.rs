//! Printers: Bambu Lab machines in LAN mode.
//!
//! [`printer`] is what is set of one, checked; [`vault`] keeps access codes.

pub mod printer;
pub mod vault;

pub use printer::{FieldError, Printer, Settings};
