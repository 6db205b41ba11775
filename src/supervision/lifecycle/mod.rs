//! The lifecycle of anything supervised, as a pure state machine: events in with the time, actions out.
//!
//! No async, no clock, no randomness of its own: `now` is the time since any fixed origin, `unit` a
//! random number in `[0, 1)`. Driven by [`super::actor`]; [`State`] and [`Snapshot`] are what health,
//! API and logs show.
//!
//! The rules:
//! - At most one attempt is open. It is ended before the next one begins, and the end is bounded: an
//!   attempt that does not end in time is frozen, counted and given up.
//! - Live is pictures. Without them for [`stall_after`] it is stalled: the attempt stays open while the
//!   back-off wait runs, and pictures make it live at once; at the wait's end a new attempt begins.
//! - A failure ends the attempt and waits. Refused credentials wait long.
//! - Beside the wait, a knock that turns from absent to present ends it. Only the turn counts, and it
//!   never brings attempts closer together than [`KNOCK_GAP`].
//! - A poke (a viewer arrives) ends the wait too, at most once in [`POKE_GAP`]; not after a refusal, because
//!   players and pollers that come again and again would lock the camera's account. A restart, which a
//!   person asks for, does.
//! - Only pictures without a gap for `healthy_after` reset the back-off.

mod event;
mod view;

use std::time::Duration;

pub use event::{Action, Event};

use super::backoff::Backoff;
use super::failure::{Failure, FailureKind};
use super::note::{Note, Why};
pub use super::state::{Snapshot, State};
use super::timing::{Timing, stall_after};

/// A knock never causes an attempt sooner than this after the last one began.
pub const KNOCK_GAP: Duration = Duration::from_secs(1);
/// A poke never causes an attempt sooner than this after a failed one began.
pub const POKE_GAP: Duration = Duration::from_secs(1);
/// A stalled attempt whose peer is back may resume by itself for this long.
const GRACE: Duration = Duration::from_millis(500);
/// Starting for longer than this is knocked on: the peer may be a black hole.
const KNOCK_STARTING_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Idle,
    Starting { until: Duration },
    Live { since: Duration, newest: Duration, stall_at: Duration },
    Stalled { newest: Option<Duration>, until: Duration },
    BackingOff { until: Duration },
    Refused { until: Duration },
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Open {
    None,
    Running,
    Ending { since: Duration, until: Duration },
}

/// How the newest attempt that came to a result did.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Failing,
    Refused,
}

/// One supervised thing.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    timing: Timing,
    backoff: Backoff,
    now: Duration,
    phase: Phase,
    since: Duration,
    open: Open,
    wanted: bool,
    shut: bool,
    /// Number of the newest attempt; also how many there were.
    attempt: u64,
    begun_at: Option<Duration>,
    /// Pictures that the present attempt gave.
    count: u64,
    /// What the newest knock, picture or refusal said about the peer.
    present: Option<bool>,
    /// The peer was absent during the present attempt, so what it waits for may never come.
    absent_meanwhile: bool,
    /// The peer came back during the present attempt: if that fails, one begun since is due.
    owed: bool,
    trouble: Trouble,
    /// It was live, and nobody has stopped wanting it since.
    was_live: bool,
    restarts: u64,
    frozen: u64,
    last_error: Option<String>,
}

impl Lifecycle {
    pub fn new(timing: Timing) -> Self {
        Self {
            backoff: Backoff::new(timing.backoff_first, timing.backoff_max),
            timing,
            now: Duration::ZERO,
            phase: Phase::Idle,
            since: Duration::ZERO,
            open: Open::None,
            wanted: false,
            shut: false,
            attempt: 0,
            begun_at: None,
            count: 0,
            present: None,
            absent_meanwhile: false,
            owed: false,
            trouble: Trouble::None,
            was_live: false,
            restarts: 0,
            frozen: 0,
            last_error: None,
        }
    }

    /// Takes in what happened at `now` and says what to do, in order.
    pub fn handle(&mut self, now: Duration, unit: f64, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut out = Vec::new();
        match event {
            Event::Demand(wanted) => self.demand(wanted && !self.shut, Why::Unwanted, &mut out),
            Event::Shutdown => {
                self.shut = true;
                self.demand(false, Why::Shutdown, &mut out);
            }
            Event::Frames { attempt, count, newest, fps } if self.runs(attempt) && count > self.count => {
                self.frames(count, newest, fps, &mut out);
            }
            Event::Failed { attempt, failure } if self.runs(attempt) => {
                self.fail(failure, unit, &mut out);
            }
            Event::Stopped { attempt } if attempt == self.attempt => {
                if let Open::Ending { since, .. } = self.open {
                    self.open = Open::None;
                    self.closed(Some(self.now - since), &mut out);
                }
            }
            Event::Knocked(present) => self.knocked(present, &mut out),
            Event::Poke => {
                if let Phase::BackingOff { until } | Phase::Refused { until } | Phase::Stalled { until, .. } =
                    self.phase
                {
                    self.wait_until(until.min(self.now.max(self.earliest())));
                }
            }
            Event::Restart => self.restart(&mut out),
            // Late reports of an earlier attempt, and the mere passing of time.
            Event::Frames { .. } | Event::Failed { .. } | Event::Stopped { .. } | Event::Tick => {}
        }
        // A step may make the next one due (a stall with a wait of nothing). Four reach any state
        // from any other; whatever is left is due at `next_deadline`.
        for _ in 0..4 {
            if !self.step(unit, &mut out) {
                break;
            }
        }
        out
    }

    fn runs(&self, attempt: u64) -> bool {
        self.open == Open::Running && attempt == self.attempt
    }

    fn enter(&mut self, phase: Phase) {
        let before = self.state();
        self.phase = phase;
        if self.state() != before {
            self.since = self.now;
        }
    }

    fn left(&self, until: Duration) -> Duration {
        until.saturating_sub(self.now)
    }

    /// Before this, neither a poke nor fresh demand brings an attempt.
    fn earliest(&self) -> Duration {
        let gap = match self.trouble {
            Trouble::None => return self.now,
            Trouble::Failing => POKE_GAP,
            Trouble::Refused => self.timing.refused_retry,
        };
        self.begun_at.map_or(self.now, |begun| begun + gap)
    }

    /// Moves the end of the wait that runs.
    fn wait_until(&mut self, at: Duration) {
        if let Phase::BackingOff { until } | Phase::Refused { until } | Phase::Stalled { until, .. } =
            &mut self.phase
        {
            *until = at;
        }
    }

    /// With no attempt open: begins as soon as it may.
    fn begin_soon(&mut self, out: &mut Vec<Action>) {
        let until = self.now.max(self.earliest());
        if until > self.now {
            out.push(Action::Note(Note::Waiting { next: until - self.now }));
        }
        self.enter(match self.trouble {
            Trouble::Refused => Phase::Refused { until },
            _ => Phase::BackingOff { until },
        });
    }

    fn demand(&mut self, wanted: bool, why: Why, out: &mut Vec<Action>) {
        self.wanted = wanted;
        match (wanted, self.phase, self.open) {
            (true, Phase::Idle, _) => self.begin_soon(out),
            // Stopping finds it wanted when the stop is through; every other state is on its way.
            (true, ..) | (false, Phase::Idle | Phase::Stopping, _) => {}
            (false, _, Open::Running) => {
                self.was_live = false;
                self.end(why, out);
            }
            (false, _, open) => {
                self.was_live = false;
                out.push(Action::Note(Note::Stopping { why }));
                self.enter(Phase::Stopping);
                if open == Open::None {
                    self.closed(None, out);
                }
            }
        }
    }

    fn frames(&mut self, count: u64, newest: Duration, fps: Option<f64>, out: &mut Vec<Action>) {
        let first = self.count == 0;
        self.count = count;
        self.present = Some(true);
        self.owed = false;
        self.trouble = Trouble::None;
        // Without a known rate, the first pictures may be as far apart as the first one may be late.
        let patience = fps.map_or(self.timing.start_timeout, stall_after);
        let stall_at = newest.saturating_add(patience);
        let since = match self.phase {
            Phase::Live { since, .. } => since,
            _ => self.now,
        };
        if !matches!(self.phase, Phase::Live { .. }) {
            let attempt = self.attempt;
            let note = match self.phase {
                Phase::Stalled { newest: Some(before), .. } if !first => {
                    Note::Resumed { gap: newest.saturating_sub(before), attempt }
                }
                _ => Note::Live { after: self.left_since_begin(), attempt },
            };
            out.push(Action::Note(note));
        }
        self.was_live = true;
        self.enter(Phase::Live { since, newest, stall_at });
    }

    fn left_since_begin(&self) -> Duration {
        self.begun_at.map_or(Duration::ZERO, |begun| self.now.saturating_sub(begun))
    }

    /// Looks whether the time that was live earns a fresh back-off.
    fn settle(&mut self) {
        if let Phase::Live { since, newest, .. } = self.phase
            && newest.saturating_sub(since) >= self.timing.healthy_after
        {
            self.backoff.reset();
        }
    }

    fn fail(&mut self, failure: Failure, unit: f64, out: &mut Vec<Action>) {
        self.settle();
        self.last_error = Some(failure.message.clone());
        let message = failure.message;
        if failure.kind == FailureKind::Refused {
            self.trouble = Trouble::Refused;
            // Whoever refuses is there: only a new absence makes the next presence news.
            self.present = Some(true);
            let next = self.timing.refused_retry;
            out.push(Action::Note(Note::Refused { message, next }));
            self.close(out);
            self.enter(Phase::Refused { until: self.now + next });
            return;
        }
        self.trouble = Trouble::Failing;
        let until = match self.phase {
            // Its wait was drawn when it stalled.
            Phase::Stalled { until, .. } => until,
            _ => self.wait_from_now(unit),
        };
        self.backoff.failed();
        out.push(Action::Note(Note::Failed { message, next: self.left(until) }));
        self.close(out);
        self.enter(Phase::BackingOff { until });
    }

    /// When the next attempt is due: the back-off's draw, or at once if the peer came back meanwhile.
    fn wait_from_now(&mut self, unit: f64) -> Duration {
        let until = self.now + self.backoff.wait(unit);
        if !std::mem::take(&mut self.owed) {
            return until;
        }
        until.min(self.begun_at.map_or(self.now, |begun| self.now.max(begun + KNOCK_GAP)))
    }

    fn stall(&mut self, unit: f64, out: &mut Vec<Action>) {
        self.settle();
        let (newest, gap) = match self.phase {
            Phase::Live { newest, .. } => (Some(newest), self.now.saturating_sub(newest)),
            _ => (None, self.left_since_begin()),
        };
        let until = self.wait_from_now(unit);
        let next = self.left(until);
        self.trouble = Trouble::Failing;
        self.last_error = Some(match newest {
            Some(_) => format!("no pictures for {:.1} s", gap.as_secs_f64()),
            None => format!("no first picture after {:.1} s", gap.as_secs_f64()),
        });
        out.push(Action::Note(Note::Stalled { gap, never: newest.is_none(), next }));
        self.enter(Phase::Stalled { newest, until });
    }

    fn knocked(&mut self, present: bool, out: &mut Vec<Action>) {
        let Some(begun) = self.begun_at else { return };
        let waiting = matches!(
            self.phase,
            Phase::Starting { .. } | Phase::Stalled { .. } | Phase::BackingOff { .. } | Phase::Refused { .. }
        );
        if !waiting {
            return;
        }
        let turned = self.present == Some(false) && present;
        self.present = Some(present);
        self.absent_meanwhile |= !present && self.open == Open::Running;
        if !turned {
            return;
        }
        let soon = self.now.max(begun + KNOCK_GAP);
        match self.phase {
            Phase::BackingOff { until } | Phase::Refused { until } if soon < until => {
                self.wait_until(soon);
            }
            Phase::Stalled { newest, until } => {
                // One that never gave a picture has nothing to resume.
                let grace = if newest.is_some() { GRACE } else { Duration::ZERO };
                let soon = soon.max(self.now + grace);
                if soon >= until {
                    return;
                }
                self.wait_until(soon);
            }
            // What it sent while the peer was away is lost, and its own retries grow rarer and rarer.
            Phase::Starting { until } if self.absent_meanwhile && soon < until => {
                self.last_error = Some("the peer was away while the attempt ran".into());
                self.trouble = Trouble::Failing;
                self.enter(Phase::Stalled { newest: None, until: soon });
            }
            // It may have begun before the peer came back, or after: it gets its time.
            Phase::Starting { .. } => {
                self.owed = true;
                return;
            }
            _ => return,
        }
        if let Some(until) = self.next_try() {
            out.push(Action::Note(Note::PeerIsBack { next: self.left(until) }));
        }
    }

    fn restart(&mut self, out: &mut Vec<Action>) {
        match (self.phase, self.open) {
            (Phase::Idle | Phase::Stopping, _) => {}
            (_, Open::Running) => self.end(Why::Restart, out),
            (Phase::BackingOff { until } | Phase::Refused { until }, _) => {
                let soon = self.begun_at.map_or(self.now, |begun| begun + POKE_GAP).max(self.now);
                self.wait_until(until.min(soon));
            }
            _ => {}
        }
    }

    /// Ends the attempt, with nothing but that to do next.
    fn end(&mut self, why: Why, out: &mut Vec<Action>) {
        self.settle();
        out.push(Action::Note(Note::Stopping { why }));
        self.close(out);
        self.enter(Phase::Stopping);
    }

    fn close(&mut self, out: &mut Vec<Action>) {
        self.open = Open::Ending { since: self.now, until: self.now + self.timing.stop_timeout };
        out.push(Action::End(self.attempt));
    }

    /// Nothing is open any more. `after`: how long the end took, if there was one to wait for.
    fn closed(&mut self, after: Option<Duration>, out: &mut Vec<Action>) {
        if self.phase != Phase::Stopping {
            return;
        }
        if self.wanted {
            self.begin_soon(out);
        } else {
            if let Some(after) = after {
                out.push(Action::Note(Note::Stopped { after }));
            }
            self.enter(Phase::Idle);
        }
    }

    /// Does what is due by time. Whether it did something.
    fn step(&mut self, unit: f64, out: &mut Vec<Action>) -> bool {
        if let Open::Ending { since, until } = self.open
            && self.now >= until
        {
            self.open = Open::None;
            self.frozen += 1;
            self.last_error = Some(format!("did not stop within {:.1} s", (self.now - since).as_secs_f64()));
            out.push(Action::Abandon(self.attempt));
            out.push(Action::Note(Note::Frozen { after: self.now - since, count: self.frozen }));
            self.closed(None, out);
            return true;
        }
        match self.phase {
            Phase::Starting { until } if self.now >= until => self.stall(unit, out),
            Phase::Live { stall_at, .. } if self.now >= stall_at => self.stall(unit, out),
            Phase::Stalled { until, .. } if self.now >= until => {
                self.backoff.failed();
                self.end(Why::NoPictures, out);
            }
            Phase::BackingOff { until } | Phase::Refused { until }
                if self.now >= until && self.open == Open::None =>
            {
                self.begin(out);
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, out: &mut Vec<Action>) {
        self.attempt += 1;
        self.open = Open::Running;
        self.begun_at = Some(self.now);
        self.count = 0;
        self.absent_meanwhile = false;
        self.owed = false;
        if std::mem::take(&mut self.was_live) {
            self.restarts += 1;
        }
        self.enter(Phase::Starting { until: self.now + self.timing.start_timeout });
        out.push(Action::Note(Note::Starting { attempt: self.attempt }));
        out.push(Action::Begin(self.attempt));
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
