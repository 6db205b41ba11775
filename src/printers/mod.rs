//! Printers: Bambu Lab machines in LAN mode.
//!
//! [`printer`] is what is set of one, checked; [`vault`] keeps access codes, [`ssdp`] finds printers on the network.

pub mod printer;
pub mod ssdp;
pub mod vault;

pub use printer::{FieldError, Printer, Settings};
