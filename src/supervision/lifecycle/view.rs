//! What can be asked of a lifecycle: deadlines, wishes and the snapshot. Nothing here changes it.

use std::time::{Duration, SystemTime};

use super::{KNOCK_STARTING_AFTER, Lifecycle, Open, Phase, Snapshot, State};

impl Lifecycle {
    /// When to send [`Event::Tick`](super::Event::Tick) if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let ending = match self.open {
            Open::Ending { until, .. } => Some(until),
            _ => None,
        };
        let phase = match self.phase {
            Phase::Idle | Phase::Stopping => None,
            Phase::Starting { until } | Phase::Stalled { until, .. } => Some(until),
            Phase::Live { stall_at, .. } => Some(stall_at),
            // While the old attempt is ending, only its end matters.
            Phase::BackingOff { until } | Phase::Refused { until } => {
                (self.open == Open::None).then_some(until)
            }
        };
        [ending, phase].into_iter().flatten().min()
    }

    /// Whether to knock now, once a second.
    pub fn knocking(&self, now: Duration) -> bool {
        match self.phase {
            Phase::BackingOff { .. } | Phase::Refused { .. } | Phase::Stalled { .. } => true,
            Phase::Starting { .. } => self.knock_starting_at().is_some_and(|at| now >= at),
            _ => false,
        }
    }

    /// When knocking begins by the mere passing of time.
    pub fn knocking_from(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting { .. } => self.knock_starting_at(),
            _ => None,
        }
    }

    fn knock_starting_at(&self) -> Option<Duration> {
        self.begun_at.map(|at| at + KNOCK_STARTING_AFTER)
    }

    /// Whether the next picture must be told at once, rather than looked for at the next deadline.
    pub fn awaits_frame(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Stalled { .. })
    }

    /// Shut down, and nothing is left open.
    pub fn finished(&self) -> bool {
        self.shut && self.open == Open::None
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Idle => State::Idle,
            Phase::Starting { .. } => State::Starting,
            Phase::Live { .. } => State::Live,
            Phase::Stalled { .. } => State::Stalled,
            Phase::BackingOff { .. } => State::BackingOff,
            Phase::Refused { .. } => State::Refused,
            Phase::Stopping => State::Stopping,
        }
    }

    /// Number of the newest attempt.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    pub fn frozen(&self) -> u64 {
        self.frozen
    }

    /// What changes only when something worth telling changed: compare these, not snapshots.
    pub fn version(&self) -> (State, Duration, u64, u64, u64, Option<Duration>) {
        (self.state(), self.since, self.attempt, self.restarts, self.frozen, self.next_try())
    }

    /// For people; `wall` is the time of day at `now`.
    pub fn snapshot(&self, now: Duration, wall: SystemTime) -> Snapshot {
        let at = |time: Duration| {
            let moved = if time >= now { wall.checked_add(time - now) } else { wall.checked_sub(now - time) };
            moved.unwrap_or(wall)
        };
        Snapshot {
            state: self.state(),
            since: at(self.since),
            attempts: self.attempt,
            restarts: self.restarts,
            last_error: self.last_error.clone(),
            next_try: self.next_try().map(at),
            frozen: self.frozen,
        }
    }

    pub(super) fn next_try(&self) -> Option<Duration> {
        match self.phase {
            Phase::Stalled { until, .. } | Phase::BackingOff { until } | Phase::Refused { until } => {
                Some(until)
            }
            _ => None,
        }
    }
}
