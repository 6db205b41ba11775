//! What goes into a lifecycle and what comes out of it.

use std::time::Duration;

use crate::supervision::failure::Failure;
use crate::supervision::note::Note;

/// What happened. Reports carry the number of their attempt; those of an earlier one are ignored.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Whether anybody wants it.
    Demand(bool),
    /// Pictures so far in this attempt, when the newest came, and the rate if it is known.
    Frames {
        attempt: u64,
        count: u64,
        newest: Duration,
        fps: Option<f64>,
    },
    Failed {
        attempt: u64,
        failure: Failure,
    },
    /// Everything of this attempt is gone.
    Stopped {
        attempt: u64,
    },
    /// Whether the peer was there.
    Knocked(bool),
    /// Somebody would like pictures now: ends a wait, and nothing else.
    Poke,
    /// Ends the present attempt or wait and begins anew.
    Restart,
    /// Time has passed.
    Tick,
    /// For good.
    Shutdown,
}

/// What the actor has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Begin(u64),
    End(u64),
    /// The end took too long: forget it.
    Abandon(u64),
    Note(Note),
}
