//! Where a stream is cut: segments at IDR pictures, parts by time. Pure; used by `packager`.
//!
//! A segment ends at the first IDR at which it is long enough, or at a discontinuity; never elsewhere,
//! so a camera with long groups of pictures simply has long segments. The part target is fixed from
//! the rate when a session begins (RFC 8216bis, 4.4.3.7): a part of `N` usual pictures, and a tenth
//! more for a rate that wavers. A part is closed when it holds as much as `N` pictures, or before a
//! picture that would make it longer than the target.

use std::time::Duration;

use super::timing::TIMESCALE;
use crate::capture::outlet::Rhythm;

/// Keyframes whose distances differ by less than this part of them come regularly.
const REGULAR: f64 = 0.1;

/// The lengths of one session, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Usual duration of a picture.
    pub frame: u64,
    /// Segments end at the first IDR from here on.
    pub segment: u64,
    /// PART-TARGET: no part is longer.
    pub part_target: u64,
    /// A part that holds this much is closed. At least 85 % of the target (RFC 8216bis, 4.4.4.9).
    pub part_enough: u64,
}

impl Plan {
    pub fn new(segment_seconds: f64, part_seconds: f64, frame: u64) -> Self {
        let frame = frame.max(1);
        let ticks = |seconds: f64| (seconds * TIMESCALE as f64).round() as u64;
        let frames = ((ticks(part_seconds) + frame / 2) / frame).max(1);
        let part_target = (frames * frame * 11).div_ceil(10);
        let part_enough = (part_target * 85).div_ceil(100).max(frames * frame - frame / 2);
        Self { frame, segment: ticks(segment_seconds), part_target, part_enough }
    }
}

/// How long segments may get when they are cut at the first IDR from `target` on and IDRs keep to this
/// rhythm: TARGETDURATION may not rise later (RFC 8216bis, 4.4.3.1).
pub fn longest_segment(target: Duration, rhythm: Rhythm) -> Duration {
    let Rhythm { shortest, longest } = rhythm;
    if longest.is_zero() {
        return target;
    }
    if (longest - shortest).as_secs_f64() < longest.as_secs_f64() * REGULAR {
        let groups = (target.as_secs_f64() / longest.as_secs_f64() - REGULAR).ceil().max(1.0);
        return longest.mul_f64(groups);
    }
    target + longest
}

/// What is known of the access unit after the one that is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    pub keyframe: bool,
    pub discontinuity: bool,
}

/// What to close, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Close the part before this access unit goes in.
    pub before: bool,
    /// What ends with it.
    pub after: After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Nothing,
    Part,
    /// The part and its segment.
    Segment,
}

/// Follows one session.
#[derive(Debug)]
pub struct Segmenter {
    plan: Plan,
    segment: u64,
    part: u64,
}

impl Segmenter {
    pub fn new(plan: Plan) -> Self {
        Self { plan, segment: 0, part: 0 }
    }

    /// Places an access unit of this duration.
    pub fn place(&mut self, duration: u64, next: Next) -> Cut {
        let before = self.part > 0 && self.part + duration > self.plan.part_target;
        self.part = if before { duration } else { self.part + duration };
        self.segment += duration;
        // Half a picture of tolerance: rates such as 29.97 make a group a little short of its time.
        let long_enough = self.segment + self.plan.frame / 2 >= self.plan.segment;
        let after = if next.discontinuity || (next.keyframe && long_enough) {
            After::Segment
        } else if self.part >= self.plan.part_enough {
            After::Part
        } else {
            After::Nothing
        };
        match after {
            After::Nothing => {}
            After::Part => self.part = 0,
            After::Segment => (self.part, self.segment) = (0, 0),
        }
        Cut { before, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plans_follow_the_rate() {
        // part seconds, frames per second, frames in a part, part target in ms (rounded)
        let table = [
            (0.333, 30.0, 10, 367),
            (0.333, 25.0, 8, 352),
            (0.333, 15.0, 5, 367),
            (0.2, 30.0, 6, 220),
            (0.2, 25.0, 5, 220),
            (0.333, 60.0, 20, 367),
            (0.333, 2.0, 1, 550),
            (0.333, 1.0, 1, 1100),
            (0.2, 0.5, 1, 2200),
        ];
        for (part, fps, frames, target) in table {
            let frame = (90_000.0 / fps) as u64;
            let plan = Plan::new(2.0, part, frame);
            assert_eq!((plan.part_target + 45) / 90, target, "{fps}");
            assert!(plan.part_enough <= frames * frame, "{fps}: {frames} pictures fill a part");
            assert!(plan.part_enough > (frames - 1) * frame, "{fps}: fewer do not");
            assert!(plan.part_enough * 100 >= plan.part_target * 85);
        }
    }

    #[test]
    fn a_two_second_group_at_30_gives_six_parts_and_one_segment() {
        let mut segmenter = Segmenter::new(Plan::new(2.0, 0.333, 3000));
        let cuts: Vec<Cut> = (1..=60)
            .map(|next| segmenter.place(3000, Next { keyframe: next % 60 == 0, discontinuity: false }))
            .collect();
        for (index, cut) in cuts.iter().enumerate() {
            let expected = match index + 1 {
                60 => After::Segment,
                n if n % 10 == 0 => After::Part,
                _ => After::Nothing,
            };
            assert_eq!(*cut, Cut { before: false, after: expected }, "{index}");
        }
    }

    #[test]
    fn segments_wait_for_an_idr_and_take_several_short_groups() {
        // IDR every half second: four groups make two seconds.
        let mut segmenter = Segmenter::new(Plan::new(2.0, 0.333, 3000));
        let ends: Vec<usize> = (1..=180)
            .filter(|next| {
                let next = Next { keyframe: next % 15 == 0, discontinuity: false };
                segmenter.place(3000, next).after == After::Segment
            })
            .collect();
        assert_eq!(ends, [60, 120, 180]);
        // IDR every five seconds: the segment is five seconds long.
        let mut segmenter = Segmenter::new(Plan::new(2.0, 0.333, 3000));
        let ends: Vec<usize> = (1..=300)
            .filter(|next| {
                let next = Next { keyframe: next % 150 == 0, discontinuity: false };
                segmenter.place(3000, next).after == After::Segment
            })
            .collect();
        assert_eq!(ends, [150, 300]);
    }

    #[test]
    fn the_longest_segment_follows_from_the_rhythm_of_keyframes() {
        let seconds = Duration::from_secs_f64;
        for (shortest, longest, expected) in [
            (2.0, 2.0, 2.0),
            (0.5, 0.5, 2.0),
            (1.5, 1.5, 3.0),
            (1.98, 2.02, 2.02),
            (10.0, 10.0, 10.0),
            (0.32, 2.44, 4.44),
            (0.0, 0.0, 2.0),
        ] {
            let rhythm = Rhythm { shortest: seconds(shortest), longest: seconds(longest) };
            let got = longest_segment(seconds(2.0), rhythm).as_secs_f64();
            assert!((got - expected).abs() < 1e-6, "{shortest} to {longest}: {got}");
        }
    }

    proptest! {
        #[test]
        fn parts_keep_to_the_target_and_segments_begin_with_an_idr(
            fps in 1.0f64..60.0,
            part_seconds in 0.1f64..1.0,
            steps in proptest::collection::vec((0.9f64..1.1, 0u8..30), 1..400),
        ) {
            let frame = (90_000.0 / fps) as u64;
            let plan = Plan::new(2.0, part_seconds, frame);
            let mut segmenter = Segmenter::new(plan);
            let (mut part, mut segment) = (0, 0);
            for (factor, kind) in steps {
                let duration = ((frame as f64 * factor) as u64).min(plan.part_target);
                let next = Next { keyframe: kind < 2, discontinuity: kind == 0 };
                let cut = segmenter.place(duration, next);
                if cut.before {
                    prop_assert!(part > 0);
                    prop_assert!(part + duration > plan.part_target);
                    part = 0;
                }
                part += duration;
                segment += duration;
                prop_assert!(part <= plan.part_target);
                match cut.after {
                    After::Nothing => prop_assert!(part < plan.part_enough),
                    After::Part => {
                        prop_assert!(part * 100 >= plan.part_target * 85);
                        part = 0;
                    }
                    After::Segment => {
                        prop_assert!(next.keyframe);
                        prop_assert!(next.discontinuity || segment + frame / 2 >= plan.segment);
                        (part, segment) = (0, 0);
                    }
                }
            }
        }
    }
}
