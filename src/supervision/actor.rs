//! The actor that drives one [`Subject`] through its lifecycle: one task, thin, without decisions.
//!
//! [`spawn`] starts it and gives a [`Handle`]. When the last handle is dropped, or by
//! [`Handle::shutdown`], the subject is ended and the task is over. Between events it sleeps until the
//! lifecycle's next deadline; while live that is one wake in about two seconds. A subject that panics
//! takes its task along, which [`Vitals`] notices.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::lifecycle::{Action, Event, Lifecycle, Snapshot, State};
use super::note::{Level, Note};
use super::pulse::{Pulse, Reports};
use super::timing::Timing;
use super::vitals::{Beat, Vitals};

/// One knock starts this long after the one before, and takes no longer.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
/// A camera that refuses us is there: its reboot, with another password perhaps, is noticed this often.
const KNOCK_REFUSED_EVERY: Duration = Duration::from_secs(10);
/// While live, pictures are looked at this often: a measured rate may shorten the deadline.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Beyond the subject's own bound, how long a shutdown may take.
const SHUTDOWN_SLACK: Duration = Duration::from_secs(1);

/// Something that is begun, gives pictures, fails and is ended. Its methods run on the runtime's only
/// thread: they return at once and leave the work to threads and tasks of its own.
pub trait Subject: Send + 'static {
    /// For logs: `camera porch`, `camera porch h264 encoder`.
    fn name(&self) -> String;
    /// Begins attempt `reports.attempt()`. Progress and failure go through `reports`.
    fn begin(&mut self, reports: Reports);
    /// Ends the present attempt; resolves when everything of it is gone. Dropped when it takes too long.
    fn end(&mut self) -> BoxFuture<'static, ()>;
    /// A cheap look whether the peer is there; `None` when there is nothing to knock on. More than a
    /// second counts as absent.
    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        None
    }
    /// Expected pictures per second if known, for the stall threshold.
    fn expected_fps(&self) -> Option<f64> {
        None
    }
}

/// Starts to supervise `subject`, idle until there is demand. Call it inside the runtime.
pub fn spawn<S: Subject>(subject: S, timing: Timing, vitals: &Vitals) -> Handle {
    let now = Instant::now();
    let wake = Arc::new(Notify::new());
    let (publish, snapshots) = watch::channel(Snapshot::idle(SystemTime::now()));
    let pulse = Arc::new(Pulse::new(now, Arc::clone(&wake)));
    let shutdown_within = timing.stop_timeout + SHUTDOWN_SLACK;
    let shared = Arc::new(Shared {
        origin: now,
        wake: Arc::clone(&wake),
        control: Mutex::default(),
        measure: Mutex::new(Measure { pulse: Arc::clone(&pulse), before: 0 }),
    });
    let name = subject.name();
    let lifecycle = Lifecycle::new(timing);
    let actor = Actor {
        beat: Some(vitals.enrol(name.clone())),
        told: lifecycle.version(),
        name,
        subject,
        lifecycle,
        shared: Arc::clone(&shared),
        vitals: vitals.clone(),
        pulse,
        ending: None,
        knock: None,
        next_knock: Duration::ZERO,
        publish,
    };
    tokio::spawn(actor.run());
    let owner = Arc::new(Owner(Arc::clone(&shared)));
    Handle { shared, snapshots, shutdown_within, _owner: owner }
}

/// The outside of one actor. Clones are cheap; every method but `shutdown` returns at once and works on
/// any thread. Wishes are taken in soon after: await [`Handle::changes`] rather than read a snapshot right
/// away. A subject must not hold a handle of its own, or the last one is never dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Snapshot>,
    shutdown_within: Duration,
    _owner: Arc<Owner>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    wake: Arc<Notify>,
    control: Mutex<Control>,
    measure: Mutex<Measure>,
}

/// Wishes since the actor last looked. Level, not queue: however many, they take no more room.
#[derive(Debug, Default)]
struct Control {
    demand: Option<bool>,
    poke: bool,
    restart: bool,
    shutdown: bool,
}

#[derive(Debug)]
struct Measure {
    /// Of the newest attempt.
    pulse: Arc<Pulse>,
    /// Pictures of all attempts before it.
    before: u64,
}

/// Dropped with the last handle.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.wish(|control| control.shutdown = true);
    }
}

impl Shared {
    fn wish(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.control.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    fn measure(&self) -> MutexGuard<'_, Measure> {
        self.measure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Whether anybody wants it. The newest word counts.
    pub fn demand(&self, wanted: bool) {
        self.shared.wish(|control| control.demand = Some(wanted));
    }

    /// Ends a wait, so that the next attempt comes at once; does nothing to what runs.
    pub fn poke(&self) {
        self.shared.wish(|control| control.poke = true);
    }

    /// Ends the present attempt or wait and begins anew.
    pub fn restart(&self) {
        self.shared.wish(|control| control.restart = true);
    }

    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Snapshots as they change. The channel closes when the actor is over.
    pub fn changes(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Pictures of all attempts.
    pub fn frames(&self) -> u64 {
        let measure = self.shared.measure();
        measure.before + measure.pulse.count()
    }

    /// Pictures per second over the last seconds; zero when they have stopped.
    pub fn fps(&self) -> f64 {
        let pulse = Arc::clone(&self.shared.measure().pulse);
        pulse.fps(Instant::now())
    }

    /// How long ago the newest picture of the newest attempt came.
    pub fn frame_age(&self, now: std::time::Instant) -> Option<Duration> {
        let newest = self.shared.measure().pulse.newest()?;
        Some(Instant::from_std(now).saturating_duration_since(self.shared.origin + newest))
    }

    /// Ends the subject for good and waits until it is gone, at most a second more than a stop may take.
    pub async fn shutdown(&self) {
        self.shared.wish(|control| control.shutdown = true);
        let mut snapshots = self.snapshots.clone();
        let gone = async { while snapshots.changed().await.is_ok() {} };
        // Late means frozen, which the actor has counted and logged.
        let _ = timeout(self.shutdown_within, gone).await;
    }
}

struct Actor<S> {
    name: String,
    /// Dropped before `publish`: when the channel closes, the subject is gone.
    subject: S,
    lifecycle: Lifecycle,
    told: (State, Duration, u64, u64, u64, Option<Duration>),
    shared: Arc<Shared>,
    vitals: Vitals,
    beat: Option<Beat>,
    pulse: Arc<Pulse>,
    ending: Option<BoxFuture<'static, ()>>,
    knock: Option<BoxFuture<'static, bool>>,
    /// No knock before this, since the origin.
    next_knock: Duration,
    publish: watch::Sender<Snapshot>,
}

impl<S> fmt::Debug for Actor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Subject> Actor<S> {
    async fn run(mut self) {
        loop {
            self.turn();
            if self.lifecycle.finished() {
                break;
            }
            let wake_at = self.wake_at().map(|at| self.shared.origin + at);
            if let Some(beat) = &self.beat {
                beat.sleeps_until(wake_at);
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                () = shared.wake.notified() => {}
                () = ready(&mut self.ending) => {
                    self.ending = None;
                    self.handle(Event::Stopped { attempt: self.lifecycle.attempt() });
                }
                present = ready(&mut self.knock) => {
                    self.knock = None;
                    self.handle(Event::Knocked(present));
                }
                () = sleep_until(wake_at.unwrap_or(shared.origin)), if wake_at.is_some() => {}
            }
        }
        if let Some(beat) = self.beat.take() {
            beat.finish();
        }
    }

    /// Takes in everything that has happened and does what is due.
    fn turn(&mut self) {
        self.take_reports();
        let wishes = std::mem::take(&mut *self.shared.control.lock().unwrap_or_else(PoisonError::into_inner));
        if wishes.shutdown {
            self.handle(Event::Shutdown);
        }
        if let Some(wanted) = wishes.demand {
            self.handle(Event::Demand(wanted));
        }
        if wishes.restart {
            self.handle(Event::Restart);
        }
        if wishes.poke {
            self.handle(Event::Poke);
        }
        self.handle(Event::Tick);
        if self.lifecycle.awaits_frame() {
            let before = self.pulse.count();
            self.pulse.arm();
            if self.pulse.count() != before {
                self.shared.wake.notify_one();
            }
        }
        let now = self.now();
        if self.knock.is_none() && now >= self.next_knock && self.lifecycle.knocking(now) {
            let refused = self.lifecycle.state() == State::Refused;
            self.next_knock = now + if refused { KNOCK_REFUSED_EVERY } else { KNOCK_EVERY };
            self.knock = self.subject.knock().map(|knock| -> BoxFuture<'static, bool> {
                Box::pin(async move { timeout(KNOCK_EVERY, knock).await.unwrap_or(false) })
            });
        }
    }

    fn take_reports(&mut self) {
        let attempt = self.lifecycle.attempt();
        if let (count, Some(newest)) = (self.pulse.count(), self.pulse.newest()) {
            let fps = self.pulse.pace(self.subject.expected_fps());
            self.handle(Event::Frames { attempt, count, newest, fps });
        }
        if let Some(failure) = self.pulse.take_failure() {
            self.handle(Event::Failed { attempt, failure });
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        let now = self.now();
        let look = (self.lifecycle.state() == State::Live).then(|| now + LOOK_EVERY);
        let knock = match self.lifecycle.knocking(now) {
            true => self.knock.is_none().then_some(self.next_knock),
            false => self.lifecycle.knocking_from(),
        };
        [self.lifecycle.next_deadline(), look, knock].into_iter().flatten().min()
    }

    fn handle(&mut self, event: Event) {
        let actions = self.lifecycle.handle(self.now(), rand::random(), event);
        for action in actions {
            match action {
                Action::Begin(attempt) => self.begin(attempt),
                Action::End(_) => self.ending = Some(self.subject.end()),
                Action::Abandon(_) => {
                    self.vitals.froze();
                    if let Some(ending) = self.ending.take() {
                        let vitals = self.vitals.clone();
                        // Nobody waits for it. A driver that answers late gives its device back then.
                        tokio::spawn(async move {
                            ending.await;
                            vitals.thawed();
                        });
                    }
                }
                Action::Note(note) => self.log(&note),
            }
        }
        let version = self.lifecycle.version();
        if version != self.told {
            self.told = version;
            self.publish.send_replace(self.lifecycle.snapshot(self.now(), SystemTime::now()));
        }
    }

    fn begin(&mut self, attempt: u64) {
        // A knock that began before the attempt says nothing about it.
        self.knock = None;
        self.pulse = Arc::new(Pulse::new(self.shared.origin, Arc::clone(&self.shared.wake)));
        let mut measure = self.shared.measure();
        measure.before += measure.pulse.count();
        measure.pulse = Arc::clone(&self.pulse);
        drop(measure);
        self.subject.begin(Reports::new(attempt, Arc::clone(&self.pulse)));
    }

    fn log(&self, note: &Note) {
        let name = &self.name;
        match note.level() {
            Level::Info => tracing::info!("{name}: {note}"),
            Level::Warn => tracing::warn!("{name}: {note}"),
            Level::Error => tracing::error!("{name}: {note}"),
        }
    }

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.shared.origin)
    }
}

/// Awaits what is there; for ever if nothing is.
async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
