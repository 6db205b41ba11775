//! Printers: Bambu Lab machines in LAN mode.
//!
//! [`printer`] is what is set of one, checked; [`vault`] keeps access codes, [`ssdp`] finds printers on the network.
//!
//! [`link`] is the connection to one, supervised: [`session`] carries an attempt over [`mqtt`], [`reducer`]
//! decides, out of what [`report`] reads, [`merge`] puts together and [`reading`] makes a [`state`] of.
//! [`models`] and [`hms`] are what is known of the machines, [`command`] what they may be asked.

pub mod command;
pub mod hms;
pub mod link;
mod merge;
pub mod models;
pub mod mqtt;
pub mod printer;
mod reading;
pub mod reducer;
mod report;
mod session;
pub mod ssdp;
pub mod state;
pub mod vault;

pub use command::{Command, CommandError};
pub use link::{Link, LinkSettings};
pub use models::Model;
pub use printer::{FieldError, Printer, Settings};
pub use state::PrinterState;
