//! Supervision: whatever must come back by itself is driven by one actor through one pure lifecycle.
//!
//! [`actor::spawn`] takes a [`Subject`] (a capture, an encoder, later publishers and links) and keeps it
//! going; [`lifecycle`] decides, without clock or I/O. Beside them stand what tells the outside:
//! [`health`] writes the health file, [`systemd`] speaks to the service manager, [`vitals`] knows
//! whether supervision itself still works.

pub mod actor;
pub mod backoff;
pub mod changes;
pub mod failure;
pub mod health;
pub mod lifecycle;
pub mod note;
pub mod published;
pub mod pulse;
pub mod state;
pub mod systemd;
pub mod timing;
pub mod vitals;

pub use actor::{Handle, Subject, spawn};
pub use changes::any_change;
pub use failure::{Failure, FailureKind};
pub use lifecycle::{Snapshot, State};
pub use pulse::Reports;
pub use timing::{Timing, stall_after};
pub use vitals::{EXIT_FROZEN, Vitals};
