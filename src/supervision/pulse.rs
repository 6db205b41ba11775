//! The pulse of one attempt: pictures counted and timed without a lock, on whatever thread they come.
//!
//! [`Reports`] is the subject's end, used from GStreamer threads; the actor and its handles read. Each
//! attempt has a pulse of its own, so that a late picture of an old one cannot make a new one live.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::failure::Failure;
use super::timing::stall_after;

/// Times of the newest pictures that are kept for the rate.
const STAMPS: usize = 128;
/// The rate is that of the last seconds.
const WINDOW: u64 = 3_000_000_000;
/// A rate is relied on when pictures were seen for this long.
const OBSERVED: u64 = 3_000_000_000;
/// A rate is shown once pictures have come for this long.
const SHOWN: u64 = 500_000_000;

/// Counts and times of one attempt. Times are nanoseconds since `origin`, plus one: zero is "none".
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    count: AtomicU64,
    first: AtomicU64,
    newest: AtomicU64,
    stamps: [AtomicU64; STAMPS],
    /// The actor wants to hear of the next picture at once.
    armed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    wake: Arc<Notify>,
}

impl Pulse {
    pub(crate) fn new(origin: Instant, wake: Arc<Notify>) -> Self {
        Self {
            origin,
            count: AtomicU64::new(0),
            first: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            stamps: std::array::from_fn(|_| AtomicU64::new(0)),
            armed: AtomicBool::new(false),
            failure: Mutex::new(None),
            wake,
        }
    }

    fn frame(&self, now: Instant) {
        let at = self.stamp(now);
        self.newest.fetch_max(at, Ordering::Relaxed);
        // Count and flag are written here and read there in opposite order: only the sequential
        // ordering makes sure that one side sees the other.
        let index = self.count.fetch_add(1, Ordering::SeqCst);
        if index == 0 {
            self.first.store(at, Ordering::Relaxed);
        }
        if let Some(slot) = self.stamps.get(index as usize % STAMPS) {
            slot.store(at, Ordering::Relaxed);
        }
        if self.armed.load(Ordering::SeqCst) && self.armed.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    fn stamp(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1
    }

    fn failed(&self, failure: Failure) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What comes after the first failure is its echo.
        if first.is_none() {
            *first = Some(failure);
            drop(first);
            self.wake.notify_one();
        }
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks for a wake at the next picture. Look at [`Self::count`] afterwards: it may have come already.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// When the newest picture came, since the origin.
    pub(crate) fn newest(&self) -> Option<Duration> {
        self.newest.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos)
    }

    /// Pictures per second over the last seconds before the newest one; of a camera slower than that,
    /// from its last two pictures.
    fn rate(&self) -> Option<f64> {
        let newest = self.newest.load(Ordering::Relaxed);
        let stamps = || self.stamps.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let recent = || stamps().filter(|at| *at <= newest && newest - at <= WINDOW);
        let (count, oldest) = match (recent().count(), recent().min()) {
            (count, Some(oldest)) if count >= 2 => (count, oldest),
            _ => (2, stamps().filter(|at| *at < newest).max()?),
        };
        let span = Duration::from_nanos(newest - oldest).as_secs_f64();
        (span > 0.0).then(|| (count - 1) as f64 / span)
    }

    /// How long pictures have been coming, in nanoseconds. The first ones often come in a burst.
    fn observed(&self) -> u64 {
        self.newest.load(Ordering::Relaxed).saturating_sub(self.first.load(Ordering::Relaxed))
    }

    /// The measured rate; zero when pictures have stopped, or have come for too short a time to say.
    pub(crate) fn fps(&self, now: Instant) -> f64 {
        let age = self.stamp(now).saturating_sub(self.newest.load(Ordering::Relaxed));
        match self.rate().filter(|_| self.observed() >= SHOWN) {
            Some(rate) if Duration::from_nanos(age) <= stall_after(rate) => rate,
            _ => 0.0,
        }
    }

    /// The rate to judge a stall by: the slower one of what is expected and what is seen.
    pub(crate) fn pace(&self, expected: Option<f64>) -> Option<f64> {
        let measured = self.rate().filter(|_| self.observed() >= OBSERVED);
        match (expected.filter(|fps| *fps > 0.0), measured) {
            (Some(expected), Some(measured)) => Some(expected.min(measured)),
            (expected, measured) => expected.or(measured),
        }
    }
}

/// How one attempt reports. Clones are cheap; any thread may use it and never blocks on it.
#[derive(Clone, Debug)]
pub struct Reports {
    attempt: u64,
    pulse: Arc<Pulse>,
}

impl Reports {
    pub(crate) fn new(attempt: u64, pulse: Arc<Pulse>) -> Self {
        Self { attempt, pulse }
    }

    /// Reports that lead nowhere: for a subject's own tests.
    pub fn detached(attempt: u64) -> Self {
        Self::new(attempt, Arc::new(Pulse::new(Instant::now(), Arc::new(Notify::new()))))
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// A picture came. A few atomic operations; call it for each.
    pub fn frame(&self) {
        self.pulse.frame(Instant::now());
    }

    /// Pictures reported by this attempt.
    pub fn frames(&self) -> u64 {
        self.pulse.count()
    }

    /// The attempt failed. Only the first failure of an attempt counts.
    pub fn failed(&self, failure: Failure) {
        self.pulse.failed(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(times_ms: impl IntoIterator<Item = u64>) -> (Pulse, Instant) {
        let origin = Instant::now();
        let pulse = Pulse::new(origin, Arc::new(Notify::new()));
        for ms in times_ms {
            pulse.frame(origin + Duration::from_millis(ms));
        }
        (pulse, origin)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        // Ten pictures a second for 10 s, then 20 a second for 4 s.
        let times = (0..100).map(|n| n * 100).chain((0..80).map(|n| 10_000 + n * 50));
        let (pulse, origin) = fed(times);
        let now = origin + Duration::from_millis(13_960);
        assert!((pulse.fps(now) - 20.0).abs() < 0.5, "{}", pulse.fps(now));
        assert_eq!(pulse.fps(now + Duration::from_secs(3)), 0.0, "stale");
        assert_eq!(pulse.newest(), Some(Duration::from_millis(13_950)));
        assert_eq!(pulse.count(), 180);
    }

    #[test]
    fn a_burst_of_first_pictures_is_not_shown_as_a_rate() {
        let (pulse, origin) = fed([0, 0, 1]);
        assert_eq!(pulse.fps(origin + Duration::from_millis(20)), 0.0);
    }

    #[test]
    fn a_picture_every_five_seconds_is_a_rate_too() {
        let (pulse, origin) = fed([0, 5_000, 10_000]);
        assert!((pulse.fps(origin + Duration::from_secs(14)) - 0.2).abs() < 0.001);
        assert!((pulse.pace(None).unwrap_or_default() - 0.2).abs() < 0.001);
    }

    #[test]
    fn a_camera_slower_than_it_says_is_judged_by_what_it_does() {
        let (pulse, _) = fed([0, 4_000, 8_000]);
        assert!((pulse.pace(Some(30.0)).unwrap_or_default() - 0.25).abs() < 0.001);
        let (pulse, _) = fed([0, 10, 20]);
        assert_eq!(pulse.pace(None), None, "20 ms say nothing about the rate");
        assert_eq!(pulse.pace(Some(30.0)), Some(30.0));
        assert_eq!(fed([]).0.pace(Some(0.0)), None);
    }

    #[test]
    fn only_the_first_failure_of_an_attempt_counts() {
        let reports = Reports::detached(1);
        reports.failed(Failure::refused("401"));
        reports.failed(Failure::broken("not linked"));
        assert_eq!(reports.pulse.take_failure(), Some(Failure::refused("401")));
    }
}
