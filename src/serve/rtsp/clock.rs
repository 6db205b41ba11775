//! The RTP clock of one camera's stream. It follows `pts` within one run of the camera, B-frames included
//! (they go back a little), and the wall clock from run to run.

use std::time::{Duration, Instant};

/// Ticks per second: the RTP clock of video.
pub const RATE: i64 = 90_000;
/// The clock may differ this much from the wall before it is set anew: far more than B-frames reorder.
const SKEW: i64 = 3 * RATE;

#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    anchor: Option<Anchor>,
    newest: i64,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    epoch: u64,
    pts: Duration,
    ticks: i64,
}

impl Clock {
    /// `origin` is zero.
    pub fn new(origin: Instant) -> Self {
        Self { origin, anchor: None, newest: -1 }
    }

    /// When a picture is to be shown, in ticks.
    pub fn place(&mut self, epoch: u64, pts: Duration, captured: Instant) -> i64 {
        let wall = ticks(captured.saturating_duration_since(self.origin));
        let by_pts = self.anchor.filter(|anchor| anchor.epoch == epoch).and_then(|anchor| {
            let placed = anchor.ticks + ticks(pts) - ticks(anchor.pts);
            (placed.abs_diff(wall) <= SKEW.unsigned_abs()).then_some(placed)
        });
        let placed = by_pts.unwrap_or_else(|| {
            let ticks = wall.max(self.newest + 1);
            self.anchor = Some(Anchor { epoch, pts, ticks });
            ticks
        });
        self.newest = self.newest.max(placed);
        placed
    }
}

/// A duration in ticks.
pub fn ticks(duration: Duration) -> i64 {
    let ticks = duration.as_nanos() * RATE.unsigned_abs() as u128 / 1_000_000_000;
    i64::try_from(ticks).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// Pulls the pictures of a kept group together, for somebody who joins: all that were shown before the
/// newest come a tick of [`STEP`] apart right before it, in the same order, so that a player is at once
/// where the live pictures are. `times` are in decoding order; of the newest to be shown, `reorder` keep
/// their own time, because pictures that come later are still to be shown between them.
pub fn squeeze(times: &[i64], reorder: usize) -> Vec<i64> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|&at| times[at]);
    // How far pictures were seen to come before their turn.
    let seen = order.iter().enumerate().map(|(rank, &at)| rank.saturating_sub(at)).max().unwrap_or(0);
    let live = order.len().saturating_sub(1 + reorder.max(seen));
    let mut squeezed = times.to_vec();
    let Some(&first_live) = order.get(live) else { return squeezed };
    let end = times[first_live];
    for (rank, &at) in order[..live].iter().enumerate() {
        squeezed[at] = end - STEP * (live - rank) as i64;
    }
    squeezed
}

/// One millisecond.
const STEP: i64 = RATE / 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rtp_time_follows_pts_within_a_run_and_the_wall_from_run_to_run() {
        let origin = Instant::now();
        let mut clock = Clock::new(origin);
        // (run, pts, captured, expected): capture instants jitter, pts do not.
        for (epoch, pts, captured, expected) in [
            (1, 500, 10_000, 900_000),
            (1, 620, 10_047, 910_800),
            (1, 540, 10_079, 903_600), // a B-frame
            (1, 580, 10_099, 907_200),
            (2, 0, 15_000, 1_350_000), // a restart: five seconds later
            (2, 40, 15_040, 1_353_600),
            (2, 9_000_000, 15_080, 1_357_200), // pts that jump are not followed
            (3, 0, 15_000, 1_357_201),         // another run is never before the last one
        ] {
            assert_eq!(clock.place(epoch, ms(pts), origin + ms(captured)), expected, "{epoch} {pts}");
        }
    }

    #[test]
    fn a_kept_group_is_pulled_together_right_before_its_newest_picture() {
        assert_eq!(squeeze(&[0, 3000, 6000, 9000], 0), [9000 - 270, 9000 - 180, 9000 - 90, 9000]);
        assert_eq!(squeeze(&[5], 0), [5]);
        assert_eq!(squeeze(&[], 3), [0i64; 0]);
    }

    #[test]
    fn pictures_that_come_before_their_turn_keep_their_time_for_those_between() {
        // I P B B P, shown I B B P P: one more B may come between the two last.
        let times = [0, 9000, 3000, 6000, 18_000];
        assert_eq!(squeeze(&times, 2), [6000 - 180, 9000, 6000 - 90, 6000, 18_000], "seen by itself");
        assert_eq!(squeeze(&[0, 9000], 0), [9000 - 90, 9000], "nothing known of reordering");
        assert_eq!(squeeze(&[0, 9000], 2), [0, 9000], "the stream says that two may come");
    }

    proptest! {
        #[test]
        fn squeezing_keeps_the_order_and_never_goes_beyond_the_newest(
            times in proptest::collection::vec(-1_000_000i64..1_000_000, 0..60), reorder in 0usize..5
        ) {
            let squeezed = squeeze(&times, reorder);
            for (i, a) in times.iter().enumerate() {
                for (j, b) in times.iter().enumerate() {
                    prop_assert!(a >= b || squeezed[i] < squeezed[j]);
                }
            }
            prop_assert_eq!(times.iter().max(), squeezed.iter().max());
        }
    }
}
