//! What was before the start: whole groups of pictures in memory, bounded in time and bytes. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::frames::AccessUnit;

/// How much to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub time: Duration,
    pub bytes: usize,
}

/// The newest pictures, the first of them a keyframe.
#[derive(Debug, Default)]
pub struct PreRoll {
    units: VecDeque<AccessUnit>,
    bytes: usize,
}

impl PreRoll {
    /// Takes the next picture in, and lets the oldest groups go that are not needed for the time, or are too
    /// much for the memory.
    pub fn keep(&mut self, unit: AccessUnit, most: Most) {
        if self.units.is_empty() && !unit.keyframe {
            return;
        }
        self.bytes += unit.data.len();
        self.units.push_back(unit);
        while self.bytes > most.bytes || self.second_group_is_old_enough(most.time) {
            self.drop_first_group();
        }
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Hands over what is of use now: no group of pictures that ended before `time`.
    pub fn take(&mut self, time: Duration, now: Instant) -> VecDeque<AccessUnit> {
        while self.first_group_ended().is_some_and(|ended| now.saturating_duration_since(ended) > time) {
            self.drop_first_group();
        }
        self.bytes = 0;
        std::mem::take(&mut self.units)
    }

    fn first_group_ended(&self) -> Option<Instant> {
        let rest = self.units.iter().skip(1).take_while(|unit| !unit.keyframe).count();
        self.units.get(rest).map(|last| last.captured)
    }

    fn second_group_is_old_enough(&self, time: Duration) -> bool {
        let second = self.units.iter().skip(1).find(|unit| unit.keyframe);
        let (Some(second), Some(newest)) = (second, self.units.back()) else { return false };
        newest.captured.saturating_duration_since(second.captured) >= time
    }

    fn drop_first_group(&mut self) {
        let first = self.units.pop_front();
        self.bytes -= first.map_or(0, |unit| unit.data.len());
        while self.units.front().is_some_and(|unit| !unit.keyframe) {
            let next = self.units.pop_front();
            self.bytes -= next.map_or(0, |unit| unit.data.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn unit(ms: u64, keyframe: bool, bytes: usize, began: Instant) -> AccessUnit {
        AccessUnit {
            data: vec![0; bytes].into(),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch: 1,
            captured_at: SystemTime::now(),
            captured: began + Duration::from_millis(ms),
        }
    }

    #[test]
    fn at_least_the_wanted_time_is_held_from_a_keyframe_on() {
        let (mut roll, began) = (PreRoll::default(), Instant::now());
        let most = Most { time: Duration::from_secs(3), bytes: usize::MAX };
        (0..1000).for_each(|n| roll.keep(unit(n * 40, n.is_multiple_of(50), 100, began), most));
        let units = roll.take(most.time, began + Duration::from_millis(39_960));
        // Newest at 39.96 s; keyframes every 2 s: the last one at least 3 s before is at 36 s.
        assert!(units[0].keyframe);
        assert_eq!(units[0].pts, Duration::from_secs(36));
        assert!(roll.take(most.time, began).is_empty());
    }

    #[test]
    fn what_a_camera_gave_before_it_was_away_is_not_handed_over() {
        let (mut roll, began) = (PreRoll::default(), Instant::now());
        let most = Most { time: Duration::from_secs(3), bytes: usize::MAX };
        let before = (0..100).map(|n| unit(n * 40, n.is_multiple_of(50), 100, began));
        let after = (0..25).map(|n| unit(60_000 + n * 40, n == 0, 100, began));
        before.clone().chain(after).for_each(|unit| roll.keep(unit, most));
        let units = roll.take(most.time, began + Duration::from_secs(61));
        assert_eq!((units[0].pts, units.len()), (Duration::from_secs(60), 25));
        before.for_each(|unit| roll.keep(unit, most));
        assert!(roll.take(most.time, began + Duration::from_secs(60)).is_empty());
        assert_eq!(roll.bytes, 0);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_begins_without_a_keyframe(
            units in proptest::collection::vec((any::<bool>(), 0usize..500), 0..300),
        ) {
            let (mut roll, began) = (PreRoll::default(), Instant::now());
            let most = Most { time: Duration::from_secs(2), bytes: 4000 };
            for (n, (keyframe, bytes)) in units.into_iter().enumerate() {
                roll.keep(unit(n as u64 * 100, keyframe, bytes, began), most);
                prop_assert!(roll.bytes <= most.bytes);
                prop_assert!(roll.units.front().is_none_or(|unit| unit.keyframe));
                let held: usize = roll.units.iter().map(|unit| unit.data.len()).sum();
                prop_assert_eq!(held, roll.bytes);
            }
        }
    }
}
