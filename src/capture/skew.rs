//! A camera's own clock against ours. Pure: the running time of arrival is passed in.
//!
//! An RTSP camera's timestamps are even but drift, by seconds a day; their arrival here does not drift
//! but wavers. The timestamps are kept as they are and moved, too slowly to be seen, so that their
//! quickest arrival stays the same. After a freeze without catching up, and when the camera's clock jumps
//! far ahead, they are moved at once.

use std::time::Duration;

/// The quickest arrival is looked for over this time.
const WINDOW: i64 = 10 * SECOND;
/// A picture this much later than the quickest ones, and everything after it for [`STEP_AFTER`], is not
/// late: the camera's clock stood still.
const STEP: i64 = SECOND;
const STEP_AFTER: i64 = SECOND;
/// A picture this much quicker than the quickest one is none: the camera's clock was set ahead. The old
/// pictures with which a camera begins, or which a network held back, come one after the other and are
/// each only a little quicker.
const LEAP: i64 = 30 * SECOND;
/// Timestamps are moved by at most this part of the time that passes: five in a thousand, where a bad
/// crystal is off by one in ten thousand.
const SLEW: i64 = 200;
const SECOND: i64 = 1_000_000_000;

/// Follows one stream. Times in nanoseconds.
#[derive(Debug, Default)]
pub struct Skew {
    /// Arrival minus timestamp of the quickest pictures: now, and when timestamps were last right.
    floor: Option<i64>,
    base: Option<i64>,
    /// The present window: when it began, and its quickest.
    window: Option<(i64, i64)>,
    /// Pictures are late since then; the quickest of them.
    late: Option<(i64, i64)>,
    correction: i64,
    last_arrival: i64,
}

/// Where a picture stands on our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub pts: Duration,
    /// How much longer than the quickest it took to get here.
    pub late: Duration,
}

impl Skew {
    pub fn place(&mut self, pts: Duration, arrival: Duration) -> Placed {
        let (pts, arrival) = (nanos(pts), nanos(arrival));
        let delay = arrival - pts;
        let passed = (arrival - std::mem::replace(&mut self.last_arrival, arrival)).max(0);
        let known = self.floor.unwrap_or(delay);
        let leap = (delay < known - LEAP).then_some(delay - known);
        let mut floor = if leap.is_some() { known } else { known.min(delay) };
        if let Some(step) = leap.or_else(|| self.step(delay, floor, arrival)) {
            self.late = None;
            floor += step;
            self.correction += step;
            self.base = self.base.map(|base| base + step);
            self.window = None;
        }
        let (began, quickest) = self.window.unwrap_or((arrival, delay));
        self.window = Some((began, quickest.min(delay)));
        if arrival - began >= WINDOW {
            floor = quickest.min(delay);
            // What came before the first window's end was the start's burst.
            self.base.get_or_insert(floor);
            self.window = Some((arrival, delay));
        }
        self.floor = Some(floor);
        if let Some(base) = self.base {
            // Whole steps were taken into the base: what is left is drift.
            let drift = floor - base;
            let most = passed / SLEW;
            let moved = drift.clamp(-most, most);
            self.correction += moved;
            self.base = Some(base + moved);
        }
        Placed { pts: duration(pts + self.correction), late: duration(delay - floor) }
    }

    /// By how much the camera's clock has fallen behind for good, once that is certain.
    fn step(&mut self, delay: i64, floor: i64, arrival: i64) -> Option<i64> {
        if delay - floor < STEP {
            self.late = None;
            return None;
        }
        let (since, quickest) = self.late.unwrap_or((arrival, delay));
        let quickest = quickest.min(delay);
        self.late = Some((since, quickest));
        if arrival - since < STEP_AFTER {
            return None;
        }
        Some(quickest - floor)
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 40_000_000;

    fn ns(nanos: u64) -> Duration {
        Duration::from_nanos(nanos)
    }

    /// Some wavering of the network: 0 to 30 ms.
    fn jitter(n: u64) -> u64 {
        (n * 7919 % 31) * 1_000_000
    }

    #[test]
    fn even_timestamps_stay_even_however_they_arrive() {
        let mut skew = Skew::default();
        for n in 0..5_000 {
            let placed = skew.place(ns(n * FRAME), ns(n * FRAME + 5_000_000 + jitter(n)));
            assert!(placed.pts.abs_diff(ns(n * FRAME)) < Duration::from_millis(2), "{n}: {placed:?}");
            assert!(placed.late <= Duration::from_millis(30), "{n}: {placed:?}");
        }
    }

    #[test]
    fn a_clock_that_drifts_is_followed_unseen() {
        for per_mille in [998_u64, 1002] {
            let mut skew = Skew::default();
            let mut last = None;
            for n in 0..90_000_u64 {
                // An hour of a camera that is two in a thousand off.
                let arrival = ns(n * FRAME + 50_000_000 + jitter(n));
                let placed = skew.place(ns(n * FRAME * per_mille / 1000), arrival);
                if n > 1000 {
                    let away = arrival.abs_diff(placed.pts);
                    assert!(away < Duration::from_millis(150), "{per_mille} {n}: {away:?}");
                    let step = placed.pts.saturating_sub(last.unwrap());
                    assert!(step.abs_diff(ns(FRAME)) < Duration::from_micros(400), "{n}: {step:?}");
                }
                last = Some(placed.pts);
            }
        }
    }

    #[test]
    fn a_camera_that_froze_and_goes_on_with_its_old_clock_is_moved_at_once() {
        let mut skew = Skew::default();
        let frozen = 20 * 1_000_000_000;
        for n in 0..500 {
            skew.place(ns(n * FRAME), ns(n * FRAME));
        }
        let placed: Vec<_> = (500..600).map(|n| skew.place(ns(n * FRAME), ns(n * FRAME + frozen))).collect();
        let last = placed[99];
        assert_eq!(last.late, Duration::ZERO);
        assert!(last.pts.abs_diff(ns(599 * FRAME + frozen)) < Duration::from_millis(5), "{last:?}");
        assert!(placed.windows(2).all(|pair| pair[0].pts < pair[1].pts));
    }

    #[test]
    fn a_camera_whose_clock_jumps_far_ahead_is_moved_back_at_once() {
        let hours = 13 * 3_600_000_000_000;
        for jump in [31_000_000_000, hours] {
            // In the first window and after it.
            for at in [10, 500_u64] {
                let mut skew = Skew::default();
                let mut last = None;
                for n in 0..2000 {
                    let ahead = if n < at { 0 } else { jump };
                    let placed = skew.place(ns(n * FRAME + ahead), ns(n * FRAME + jitter(n)));
                    let away = placed.pts.abs_diff(ns(n * FRAME));
                    assert!(away < Duration::from_millis(60), "{jump} {at} {n}: {placed:?}");
                    assert!(placed.late <= Duration::from_millis(60), "{jump} {at} {n}: {placed:?}");
                    assert!(last < Some(placed.pts), "{jump} {at} {n}: {placed:?} after {last:?}");
                    last = Some(placed.pts);
                }
            }
        }
    }

    #[test]
    fn a_network_that_stalls_and_catches_up_moves_nothing() {
        let mut skew = Skew::default();
        for n in 0..500 {
            skew.place(ns(n * FRAME), ns(n * FRAME));
        }
        // Three seconds of pictures at once, then in time again.
        for n in 500..1000_u64 {
            let placed = skew.place(ns(n * FRAME), ns(n * FRAME).max(ns(575 * FRAME + n)));
            assert!(placed.pts.abs_diff(ns(n * FRAME)) < Duration::from_millis(2), "{n}: {placed:?}");
        }
    }

    #[test]
    fn a_burst_of_old_pictures_at_the_start_is_no_drift() {
        // Two and twenty seconds of pictures at once.
        for burst in [50, 500] {
            let mut skew = Skew::default();
            for n in 0..2000_u64 {
                let placed = skew.place(ns(n * FRAME), ns((n * FRAME).saturating_sub(burst * FRAME) + n));
                assert!(placed.pts.abs_diff(ns(n * FRAME)) < Duration::from_millis(2), "{n}: {placed:?}");
            }
        }
        // All but the last of them lost: a jump, but not a far one.
        let mut skew = Skew::default();
        skew.place(ns(0), ns(0));
        for n in 500..2000_u64 {
            let placed = skew.place(ns(n * FRAME), ns((n - 499) * FRAME));
            assert!(placed.pts.abs_diff(ns(n * FRAME)) < Duration::from_millis(2), "{n}: {placed:?}");
        }
    }
}
