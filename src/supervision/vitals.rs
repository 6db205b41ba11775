//! Whether supervision itself still works: its loops run, and stopping things still stops them.
//!
//! One [`Vitals`] is made by main and handed to every actor. The watchdog asks [`Vitals::overdue`];
//! main awaits [`Vitals::doomed`] and exits with [`EXIT_FROZEN`], so that systemd starts afresh.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Exit code when the process cannot mend itself: `EX_TEMPFAIL` of sysexits.h.
pub const EXIT_FROZEN: u8 = 75;
/// How much later than announced a loop may run before it counts as stuck.
const SLACK: Duration = Duration::from_secs(5);
/// A loop that has announced no time.
const NEVER: u64 = u64::MAX;

/// Why only a new process helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doom {
    /// So many attempts would not stop, and have not since.
    Frozen { count: u64 },
    /// A supervisor loop ended that should not have.
    LoopDied { name: String },
}

impl fmt::Display for Doom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doom::Frozen { count } => write!(
                f,
                "{count} pipelines did not stop and hold their devices; only a new process can free them"
            ),
            Doom::LoopDied { name } => {
                write!(f, "the supervisor of {name} died; only a new process brings it back")
            }
        }
    }
}

/// Shared by all actors, the watchdog and main. Cloning clones a reference.
#[derive(Clone, Debug)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// Zero is no limit.
    frozen_limit: u32,
    frozen: AtomicU64,
    /// Those of them that have not stopped since.
    stuck: AtomicU64,
    doom: watch::Sender<Option<Doom>>,
    loops: Mutex<Vec<Arc<Loop>>>,
}

#[derive(Debug)]
struct Loop {
    name: String,
    /// Milliseconds since the origin when it will run again at the latest.
    due: AtomicU64,
    gone: AtomicBool,
}

impl Vitals {
    pub fn new(frozen_limit: u32) -> Self {
        Self(Arc::new(Inner {
            origin: Instant::now(),
            frozen_limit,
            frozen: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            doom: watch::Sender::new(None),
            loops: Mutex::new(Vec::new()),
        }))
    }

    /// Takes a loop in. It announces its next run before each sleep, and says when it has ended.
    pub fn enrol(&self, name: impl Into<String>) -> Beat {
        let entry = Arc::new(Loop {
            name: name.into(),
            due: AtomicU64::new(self.millis(Instant::now())),
            gone: AtomicBool::new(false),
        });
        self.loops().push(Arc::clone(&entry));
        Beat { vitals: self.clone(), entry }
    }

    /// Counts an attempt that did not stop in time.
    pub fn froze(&self) {
        self.0.frozen.fetch_add(1, Ordering::Relaxed);
        let count = self.0.stuck.fetch_add(1, Ordering::Relaxed) + 1;
        if self.0.frozen_limit > 0 && count >= u64::from(self.0.frozen_limit) {
            self.doom(Doom::Frozen { count });
        }
    }

    /// One of those stopped after all: it holds its device no longer, as a driver that answered late.
    pub fn thawed(&self) {
        self.0.stuck.fetch_sub(1, Ordering::Relaxed);
    }

    /// Attempts of the whole process that did not stop in time.
    pub fn frozen(&self) -> u64 {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// The name of a loop that should have run and has not; none means all is well.
    pub fn overdue(&self) -> Option<String> {
        if let Some(Doom::LoopDied { name }) = &*self.0.doom.borrow() {
            return Some(name.clone());
        }
        let now = self.millis(Instant::now());
        let slack = u64::try_from(SLACK.as_millis()).unwrap_or(u64::MAX);
        let loops = self.loops();
        let late = |entry: &&Arc<Loop>| entry.due.load(Ordering::Relaxed).saturating_add(slack) < now;
        loops.iter().find(late).map(|entry| entry.name.clone())
    }

    /// Resolves when only a new process helps. Exit with [`EXIT_FROZEN`] then.
    pub async fn doomed(&self) -> Doom {
        let mut doom = self.0.doom.subscribe();
        match doom.wait_for(Option::is_some).await {
            Ok(found) => match &*found {
                Some(doom) => doom.clone(),
                None => std::future::pending().await,
            },
            // Cannot be: the sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    fn doom(&self, doom: Doom) {
        self.0.doom.send_if_modified(|present| {
            let first = present.is_none();
            present.get_or_insert(doom);
            first
        });
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0.origin).as_millis()).unwrap_or(NEVER - 1)
    }

    fn loops(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Loop>>> {
        let mut loops = self.0.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|entry| !entry.gone.load(Ordering::Relaxed));
        loops
    }
}

/// One loop's place among the vitals. Dropped without [`Beat::finish`], the loop has died.
#[derive(Debug)]
pub struct Beat {
    vitals: Vitals,
    entry: Arc<Loop>,
}

impl Beat {
    /// Before a sleep: when the loop runs again at the latest; none means only when called.
    pub fn sleeps_until(&self, at: Option<Instant>) {
        let due = at.map_or(NEVER, |at| self.vitals.millis(at));
        self.entry.due.store(due, Ordering::Relaxed);
    }

    /// The loop has done what it was for.
    pub fn finish(self) {
        self.entry.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if !self.entry.gone.swap(true, Ordering::Relaxed) {
            self.vitals.doom(Doom::LoopDied { name: self.entry.name.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_run_when_it_said_is_overdue() {
        let vitals = Vitals::new(3);
        let beat = vitals.enrol("camera porch");
        let idle = vitals.enrol("camera yard");
        idle.sleeps_until(None);
        beat.sleeps_until(Some(Instant::now() + Duration::from_secs(2)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(vitals.overdue(), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(vitals.overdue().as_deref(), Some("camera porch"));
        beat.finish();
        assert_eq!(vitals.overdue(), None, "an idle loop may sleep for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn frozen_attempts_past_the_limit_doom_the_process() {
        let vitals = Vitals::new(2);
        vitals.froze();
        let early = tokio::time::timeout(Duration::from_secs(1), vitals.doomed()).await;
        assert!(early.is_err());
        vitals.froze();
        assert_eq!(vitals.doomed().await, Doom::Frozen { count: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_stop_after_all_doom_nobody() {
        let vitals = Vitals::new(2);
        for _ in 0..5 {
            vitals.froze();
            vitals.thawed();
        }
        let doomed = tokio::time::timeout(Duration::from_secs(1), vitals.doomed()).await;
        assert!(doomed.is_err());
        assert_eq!(vitals.frozen(), 5, "they are counted");
    }

    #[tokio::test]
    async fn a_loop_that_dies_is_noticed() {
        let vitals = Vitals::new(0);
        let beat = vitals.enrol("camera porch");
        vitals.froze();
        drop(beat);
        assert_eq!(vitals.doomed().await, Doom::LoopDied { name: "camera porch".into() });
        assert!(vitals.overdue().is_some());
    }
}
