//! Where a picture belongs on the timeline of an output's pipeline. Pure: times come in.
//!
//! The camera's timeline begins anew with each run of it (an epoch); an output's goes on, because peers
//! stumble over time that goes back. What was kept from before the output began is squeezed into its
//! first moments, so that it never plays behind for having begun with an old keyframe.

use std::time::Duration;

/// What pictures that have to be squeezed are apart.
const STEP: Duration = Duration::from_millis(1);
/// Further ahead of the clock than this, a picture would be held back by the sink: the timeline is tied anew.
const AHEAD: Duration = Duration::from_millis(100);

/// In which order access units come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Times only grow.
    Shown,
    /// B-frames: times go forth and back.
    Decoded,
}

#[derive(Debug)]
pub struct Timeline {
    order: Order,
    /// The run of the camera, and nanoseconds from its time to the output's.
    run: Option<(u64, i128)>,
    /// The latest time given.
    last: Option<Duration>,
}

impl Timeline {
    pub fn new(order: Order) -> Self {
        Self { order, run: None, last: None }
    }

    /// The time of a picture with `pts` in run `epoch` of the camera, of this age, when the output's clock
    /// says `now`.
    pub fn place(&mut self, epoch: u64, pts: Duration, age: Duration, now: Duration) -> Duration {
        let floor = self.last.map_or(Duration::ZERO, |last| last + STEP);
        let offset = match self.run {
            Some((present, offset)) if present == epoch => offset,
            _ => {
                let captured = nanos(now) - nanos(age);
                let at = match self.order {
                    Order::Shown => captured,
                    // There is no squeezing what does not come in order.
                    Order::Decoded => captured.max(nanos(floor)),
                };
                at - nanos(pts)
            }
        };
        self.run = Some((epoch, offset));
        let at = u64::try_from((nanos(pts) + offset).max(0)).map_or(Duration::MAX, Duration::from_nanos);
        if self.order == Order::Decoded {
            self.last = self.last.max(Some(at));
            return at;
        }
        let mut at = at.max(floor);
        if at > now + AHEAD {
            at = now.max(floor);
            self.run = Some((epoch, nanos(at) - nanos(pts)));
        }
        self.last = Some(at);
        at
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn live_pictures_keep_their_distances() {
        let mut timeline = Timeline::new(Order::Shown);
        let at = |t: &mut Timeline, pts, now| t.place(1, ms(pts), ms(5), ms(now));
        assert_eq!(at(&mut timeline, 1000, 50), ms(45));
        assert_eq!(at(&mut timeline, 1040, 97), ms(85), "late, and yet where it belongs");
        assert_eq!(at(&mut timeline, 1080, 130), ms(125));
    }

    #[test]
    fn a_kept_group_of_pictures_is_squeezed_and_the_live_ones_follow_in_time() {
        let mut timeline = Timeline::new(Order::Shown);
        let kept: Vec<_> =
            (0..4).map(|n| timeline.place(1, ms(n * 500), ms(2000 - n * 500), ms(10))).collect();
        assert_eq!(kept, [ms(0), ms(1), ms(2), ms(3)]);
        assert_eq!(timeline.place(1, ms(2000), ms(0), ms(11)), ms(10));
        assert_eq!(timeline.place(1, ms(2500), ms(0), ms(511)), ms(510));
    }

    #[test]
    fn a_camera_that_begins_anew_goes_on_after_the_gap() {
        for order in [Order::Shown, Order::Decoded] {
            let mut timeline = Timeline::new(order);
            timeline.place(1, ms(90_000), ms(0), ms(10));
            assert_eq!(timeline.place(2, ms(0), ms(0), ms(5_000)), ms(5_000));
            assert_eq!(timeline.place(2, ms(40), ms(0), ms(5_040)), ms(5_040));
        }
    }

    #[test]
    fn b_frames_keep_their_places() {
        let mut timeline = Timeline::new(Order::Decoded);
        let placed: Vec<_> =
            [0, 120, 40, 80, 240].map(|pts| timeline.place(1, ms(pts), ms(500), ms(pts))).into();
        assert_eq!(placed, [ms(0), ms(120), ms(40), ms(80), ms(240)]);
    }

    proptest! {
        #[test]
        fn times_only_grow_and_are_never_far_ahead(
            units in prop::collection::vec((0_u64..3, 0_u64..100_000, 0_u64..3_000, 0_u64..200), 1..100)
        ) {
            let mut timeline = Timeline::new(Order::Shown);
            let (mut now, mut last) = (ms(0), None);
            for (epoch, pts, age, passed) in units {
                now += ms(passed);
                let at = timeline.place(epoch, ms(pts), ms(age), now);
                prop_assert!(Some(at) > last, "{at:?} after {last:?}");
                prop_assert!(at <= now + AHEAD + ms(100), "{at:?} at {now:?}");
                last = Some(at);
            }
        }
    }
}
