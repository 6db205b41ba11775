//! When and with which timestamps the start of a stream is sent.
//!
//! A viewer starts from the kept group of pictures, up to several hundred kilobytes at once. Their
//! timestamps are squeezed to about a millisecond apart, so that the decoder runs through them and later
//! pictures are not shown later; and they are sent at a bounded rate, because a burst of that size does not
//! survive WiFi. Live pictures queue behind, in order.

use std::time::{Duration, Instant};

/// Bytes that may leave at once: more than an ordinary keyframe.
const BURST: f64 = 120_000.0;
/// 48 Mbit/s: 400 kB in 67 ms.
const RATE: f64 = 6_000_000.0;
/// The least time worth waiting for.
pub const STEP: Duration = Duration::from_millis(2);

/// A token bucket for one viewer. It is only asked while something waits.
#[derive(Debug)]
pub struct Pacer {
    tokens: f64,
    at: Instant,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// How many bytes may leave now. One packet may overdraw it.
    pub fn budget(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * RATE).min(BURST);
        self.tokens.max(0.0) as usize
    }

    pub fn spent(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }
}

/// Timestamps for `count` pictures that were taken earlier and end at `live`: about 1 ms (90 ticks) apart.
/// They come after `last`, the newest timestamp that the viewer has had, even if that means to go beyond
/// `live` by less than `interval`, the distance to the next live picture.
pub fn squeeze(count: usize, last: Option<i64>, live: i64, interval: i64) -> impl Iterator<Item = i64> {
    let spaces = i64::try_from(count.max(1)).unwrap_or(i64::MAX);
    let (first, space) = match last {
        Some(last) if last + spaces * 90 > live => {
            let room = (live - last).max(0) + interval * 9 / 10;
            let space = (room / spaces).clamp(1, 90);
            (last + space, space)
        }
        _ => (live - (spaces - 1) * 90, 90),
    };
    (0..count as i64).map(move |n| first + n * space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_viewer_gets_the_group_one_millisecond_apart_up_to_the_live_picture() {
        assert_eq!(squeeze(4, None, 10_000, 3000).collect::<Vec<_>>(), [9730, 9820, 9910, 10_000]);
        assert_eq!(squeeze(1, None, 10_000, 3000).collect::<Vec<_>>(), [10_000]);
        assert_eq!(squeeze(0, None, 10_000, 3000).count(), 0);
    }

    #[test]
    fn a_repeated_group_comes_after_what_the_viewer_has_and_before_the_next_picture() {
        let times: Vec<_> = squeeze(60, Some(10_000), 10_000, 3000).collect();
        assert_eq!(times.len(), 60);
        assert!(times[0] > 10_000 && times[59] < 13_000, "{times:?}");
    }

    proptest! {
        #[test]
        fn squeezed_timestamps_always_increase_and_follow_the_last(
            count in 1usize..500, last in proptest::option::of(-1000i64..200_000), live in 0i64..200_000,
        ) {
            let times: Vec<_> = squeeze(count, last, live, 3000).collect();
            prop_assert!(times.is_sorted_by(|a, b| a < b));
            prop_assert!(last.is_none_or(|last| times[0] > last));
        }
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let mut sent = 0;
        let mut now = start;
        while sent < 500_000 {
            let budget = pacer.budget(now);
            pacer.spent(budget);
            sent += budget;
            now += Duration::from_millis(1);
        }
        let took = now - start;
        assert!((60..75).contains(&took.as_millis()), "380 kB at 6 kB a millisecond: {took:?}");
    }
}
