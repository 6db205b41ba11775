//! From the camera's presentation times to a player's timeline: decoding times, durations, and one
//! timeline that never goes back, whatever the camera does. Pure.
//!
//! Times are ticks of 90 kHz. Access units come in decoding order. Decoding times are not transported
//! by outlets, so they are derived: with a reordering depth of `d` pictures, the decoding time of unit
//! `i` is the `(i-d)`-th smallest presentation time so far. That is strictly increasing and never
//! after the presentation time, as long as the stream keeps to its depth; one that does not is
//! corrected by a tick or two, and the depth is raised.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::frames::AccessUnit;

/// Ticks per second of MPEG-TS clocks, used for fMP4 too.
pub const TIMESCALE: u64 = 90_000;

/// Where timelines begin: room for decoding times and clock references before the first picture.
const START: i64 = 10 * TIMESCALE as i64;

/// H.264 allows no deeper reordering (MaxDpbFrames, A.3.1).
const MAX_DEPTH: usize = 16;

/// Taken when the rate cannot be told: 30 pictures per second.
const DEFAULT_FRAME: u64 = TIMESCALE / 30;

/// Probing ends with this many access units, or with two or more that span [`PROBE_TIME`].
const PROBE_UNITS: usize = 9;
const PROBE_TIME: Duration = Duration::from_millis(1500);

pub fn ticks(time: Duration) -> u64 {
    // A Duration holds at most 2^64 s; a stream's does not come near the u64 of ticks.
    u64::try_from((time.as_nanos() * 9 + 50_000) / 100_000).unwrap_or(u64::MAX)
}

pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TIMESCALE as f64
}

/// Whether these first access units are enough to tell the rate and the reordering.
pub fn enough_to_probe(units: &[AccessUnit]) -> bool {
    let pts = || units.iter().map(|unit| unit.pts);
    let span = pts().max().unwrap_or_default().saturating_sub(pts().min().unwrap_or_default());
    units.len() >= PROBE_UNITS || (units.len() >= 2 && span >= PROBE_TIME)
}

/// The usual duration of a picture: the median distance of neighbours on the screen.
pub fn frame_duration(units: &[AccessUnit]) -> u64 {
    let mut pts: Vec<u64> = units.iter().map(|unit| ticks(unit.pts)).collect();
    pts.sort_unstable();
    let mut steps: Vec<u64> = pts.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(DEFAULT_FRAME)
}

/// The deepest reordering in these access units, for streams whose SPS does not tell.
pub fn observed_depth(units: &[AccessUnit]) -> usize {
    let later = |index: usize| units[..index].iter().filter(|unit| unit.pts > units[index].pts).count();
    (0..units.len()).map(later).max().unwrap_or(0).min(MAX_DEPTH)
}

/// An access unit with its place on the player's timeline.
#[derive(Clone, Debug)]
pub struct Frame {
    pub unit: AccessUnit,
    pub pts: u64,
    /// Strictly increasing, at most `pts`.
    pub dts: u64,
    /// To the next decoding time.
    pub duration: u64,
    /// Does not continue what came before: the camera restarted, or changed its format.
    pub discontinuity: bool,
}

/// Where a timeline stopped, for the next one to go on after it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    newest: i64,
    dts: i64,
    captured: Instant,
}

/// One stream's timeline. Push every access unit; each comes out when the next one tells its duration.
#[derive(Debug)]
pub struct Timeline {
    depth: usize,
    /// Usual duration of a picture.
    frame: i64,
    /// A picture without reordering is not shown longer than this: see [`Timeline::follow`].
    longest: i64,
    /// Added to the camera's times.
    offset: i64,
    /// Time held back from the camera's timeline that later, shorter steps give back.
    owed: i64,
    newest: i64,
    waiting: BinaryHeap<Reverse<i64>>,
    dts: i64,
    last: Option<Last>,
    held: Option<Frame>,
    /// The next unit does not continue: its sequence parameter set is another one.
    changed: Option<Option<usize>>,
    overlong: u32,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    epoch: u64,
    captured: Instant,
}

impl Timeline {
    /// `frame` and `longest` in ticks; `after`: the timeline that this one continues.
    pub fn new(frame: u64, depth: usize, longest: u64, after: Option<End>) -> Self {
        Self {
            depth: depth.min(MAX_DEPTH),
            frame: signed(frame).max(1),
            longest: signed(longest),
            offset: 0,
            owed: 0,
            newest: after.map_or(START, |end| end.newest),
            waiting: BinaryHeap::new(),
            dts: after.map_or(0, |end| end.dts),
            // An epoch that no outlet has: the first unit begins with a discontinuity.
            last: after.map(|end| Last { epoch: u64::MAX, captured: end.captured }),
            held: None,
            changed: None,
            overlong: 0,
        }
    }

    /// The next unit is of another sequence, with this reordering depth; `None`: not told, the depth
    /// stays.
    pub fn change(&mut self, depth: Option<usize>) {
        self.changed = Some(depth.map(|depth| depth.min(MAX_DEPTH)));
    }

    /// The unit that waits for the next one to tell its duration.
    pub fn held(&self) -> Option<&Frame> {
        self.held.as_ref()
    }

    /// How many times in a row a picture stood longer than the timeline shows it: the rate fell.
    pub fn overlong(&self) -> u32 {
        self.overlong
    }

    /// Ends the timeline: the unit that was held, with the usual duration, and where to go on.
    pub fn finish(mut self) -> (Option<Frame>, Option<End>) {
        let frame = self.frame;
        let held = self.held.take().map(|held| Frame { duration: frame as u64, ..held });
        let end = self.last.map(|last| End { newest: self.newest, dts: self.dts, captured: last.captured });
        (held, end)
    }

    /// Takes the next access unit and gives the one before it.
    pub fn push(&mut self, unit: AccessUnit) -> Option<Frame> {
        let raw = signed(ticks(unit.pts));
        let discontinuity = match self.last {
            None => {
                self.restart(raw, self.newest);
                false
            }
            Some(last) => {
                let back = unit.keyframe && raw + self.offset <= self.newest;
                let changed = self.changed.take();
                let discontinuity = changed.is_some() || last.epoch != unit.epoch || back;
                if discontinuity {
                    self.depth = changed.flatten().unwrap_or(self.depth);
                    let elapsed = unit.captured.saturating_duration_since(last.captured);
                    // Room for the decoding times that lie before the first picture.
                    let least = self.frame * (signed(self.depth as u64) + 1);
                    self.restart(raw, self.newest + signed(ticks(elapsed)).max(least));
                } else {
                    self.follow(raw, unit.keyframe);
                }
                discontinuity
            }
        };
        self.last = Some(Last { epoch: unit.epoch, captured: unit.captured });
        let dts = self.decoding_time(raw + self.offset);
        let pts = (raw + self.offset).max(dts);
        self.newest = self.newest.max(pts);
        let next = Frame { unit, pts: pts as u64, dts: dts as u64, duration: 0, discontinuity };
        let frame = self.frame;
        self.held.replace(next).map(|held| {
            let duration = if discontinuity { frame as u64 } else { dts as u64 - held.dts };
            Frame { duration, ..held }
        })
    }

    /// Maps the camera's `raw` to `at` and forgets the reordering of what came before.
    fn restart(&mut self, raw: i64, at: i64) {
        self.offset = at - raw;
        self.owed = 0;
        self.overlong = 0;
        self.waiting = (1..=signed(self.depth as u64)).map(|k| Reverse(at - k * self.frame)).collect();
        self.newest = at;
    }

    /// Goes on within an epoch. A picture that stood longer than `longest` would break the limit on
    /// parts. One hiccup up to twice that long is shown for `longest`, and the rest is taken from
    /// later steps; a longer one is left out of the timeline, since a player that waited for it must
    /// not wait again.
    fn follow(&mut self, raw: i64, keyframe: bool) {
        let step = raw + self.offset - self.newest;
        if step > self.longest && (self.depth == 0 || keyframe) {
            self.overlong += 1;
            let shown = if step > 2 * self.longest || self.depth > 0 { self.frame } else { self.longest };
            self.owed = if shown == self.longest { self.owed + step - shown } else { 0 };
            self.offset -= step - shown;
        } else if step > 0 {
            self.overlong = 0;
            if self.depth == 0 {
                let repaid = self.owed.min(self.longest - step);
                self.offset += repaid;
                self.owed -= repaid;
            }
        }
    }

    fn decoding_time(&mut self, pts: i64) -> i64 {
        self.waiting.push(Reverse(pts));
        let smallest = if self.waiting.len() > self.depth { self.waiting.pop() } else { None };
        self.dts = match smallest {
            Some(Reverse(dts)) if dts > self.dts => dts,
            Some(_) => {
                // Reordered deeper than it said: keep one more back from now on.
                self.depth = (self.depth + 1).min(MAX_DEPTH);
                self.dts + 1
            }
            None => self.dts + 1,
        };
        self.dts
    }
}

fn signed(ticks: u64) -> i64 {
    i64::try_from(ticks).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    use bytes::Bytes;
    use proptest::prelude::*;

    fn unit(ms: u64, keyframe: bool, epoch: u64, captured: Instant) -> AccessUnit {
        AccessUnit {
            data: Bytes::new(),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch,
            captured_at: SystemTime::UNIX_EPOCH,
            captured,
        }
    }

    fn run(timeline: &mut Timeline, units: impl IntoIterator<Item = AccessUnit>) -> Vec<Frame> {
        units.into_iter().filter_map(|unit| timeline.push(unit)).collect()
    }

    #[test]
    fn without_reordering_decoding_time_is_presentation_time() {
        let now = Instant::now();
        let mut timeline = Timeline::new(3600, 0, 33_000, None);
        let frames = run(&mut timeline, (0..20).map(|i| unit(i * 40, i == 0, 1, now)));
        assert_eq!(frames.len(), 19);
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!((frame.pts, frame.dts), (frame.dts, START as u64 + index as u64 * 3600));
            assert_eq!(frame.duration, 3600);
        }
        assert!(!frames[0].discontinuity);
    }

    #[test]
    fn b_frames_get_decoding_times_before_their_presentation() {
        // Decoding order I0 P3 B1 B2 P6 B4 B5 …, depth 1 (no pyramid), 25 fps.
        let now = Instant::now();
        let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11];
        let units: Vec<_> = order.iter().map(|i| unit(i * 40, *i == 0, 1, now)).collect();
        assert_eq!(observed_depth(&units), 1);
        assert_eq!(frame_duration(&units), 3600);
        let mut timeline = Timeline::new(3600, 1, 33_000, None);
        let frames = run(&mut timeline, units);
        let start = START as u64;
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.dts, start - 3600 + index as u64 * 3600);
            assert_eq!(frame.pts, start + order[index] * 3600);
            assert_eq!(frame.duration, 3600);
        }
    }

    #[test]
    fn a_restart_goes_on_after_the_time_that_passed() {
        let now = Instant::now();
        let mut timeline = Timeline::new(3600, 0, 33_000, None);
        let before = (0..10).map(|i| unit(i * 40, i == 0, 1, now + Duration::from_millis(i * 40)));
        let later = now + Duration::from_millis(360 + 5_000);
        let after = (0..10).map(|i| unit(i * 40, i == 0, 2, later + Duration::from_millis(i * 40)));
        let frames = run(&mut timeline, before.chain(after));
        assert_eq!(frames[9].duration, 3600, "the last picture does not stand through the outage");
        assert!(frames[10].discontinuity && !frames[11].discontinuity);
        assert_eq!(frames[10].pts - frames[9].pts, 5 * TIMESCALE);
    }

    #[test]
    fn a_long_hiccup_is_left_out_and_a_short_one_is_given_back() {
        let now = Instant::now();
        let longest = 2 * 3600;
        let steps = |ms: &[u64]| {
            let mut timeline = Timeline::new(3600, 0, longest, None);
            run(&mut timeline, ms.iter().map(|ms| unit(*ms, *ms == 0, 1, now)))
                .iter()
                .map(|frame| frame.duration)
                .collect::<Vec<_>>()
        };
        // 40 ms, then 5 s, then 40 ms.
        assert_eq!(steps(&[0, 40, 5_040, 5_080, 5_120]), [3600, 3600, 3600, 3600]);
        // 120 ms is shown as 80, the other 40 come with the next two steps.
        assert_eq!(steps(&[0, 40, 160, 180, 220, 260]), [3600, 7200, 1800 + 3600, 3600, 3600]);
    }

    #[test]
    fn a_rate_that_fell_is_noticed() {
        let now = Instant::now();
        let mut timeline = Timeline::new(3000, 0, 33_000, None);
        run(&mut timeline, (0..5).map(|i| unit(i * 1000, i == 0, 1, now)));
        assert_eq!(timeline.overlong(), 4);
    }

    #[test]
    fn rates_are_told_from_the_first_pictures() {
        let now = Instant::now();
        let at = |ms: &[u64]| ms.iter().map(|ms| unit(*ms, false, 1, now)).collect::<Vec<_>>();
        assert_eq!(frame_duration(&at(&[0, 33, 67, 100, 133, 167, 500])), 2970 + 90);
        assert_eq!(frame_duration(&at(&[0, 1000])), 90_000);
        assert_eq!(frame_duration(&at(&[0])), DEFAULT_FRAME);
        assert!(!enough_to_probe(&at(&[0, 40, 80])));
        assert!(enough_to_probe(&at(&[0, 40, 80, 120, 160, 200, 240, 280, 320])));
        assert!(!enough_to_probe(&at(&[0, 1000])));
        assert!(enough_to_probe(&at(&[0, 1000, 2000])));
    }

    proptest! {
        #[test]
        fn decoding_times_rise_and_never_pass_presentation(
            // Pieces of a stream: pictures, B-frames between two others, restarts, times gone mad.
            pieces in proptest::collection::vec((1usize..12, 0usize..4, any::<bool>(), 0u64..4000), 1..12),
            depth in 0usize..3,
            jitter in proptest::collection::vec(0u64..30, 16),
        ) {
            let now = Instant::now();
            let (mut units, mut wall) = (Vec::new(), now);
            for (epoch, (groups, b, same_epoch, gap)) in pieces.iter().enumerate() {
                let epoch = if *same_epoch { 0 } else { epoch as u64 };
                wall += Duration::from_millis(*gap);
                let mut at = *gap;
                for group in 0..*groups {
                    // The reference picture first, then the ones shown before it.
                    let size = if group == 0 { 1 } else { *b as u64 + 1 };
                    at += 40 * size;
                    for k in 0..size {
                        let ms = if k == 0 { at } else { at - 40 * (size - k) };
                        let ms = ms + jitter[(group + k as usize) % jitter.len()];
                        wall += Duration::from_millis(40);
                        units.push(unit(ms, group == 0, epoch, wall));
                    }
                }
            }
            let mut timeline = Timeline::new(3600, depth, 33_000, None);
            let mut frames = run(&mut timeline, units);
            frames.extend(timeline.finish().0);
            for frame in &frames {
                prop_assert!(frame.dts <= frame.pts);
                prop_assert!(frame.duration > 0);
            }
            for pair in frames.windows(2) {
                prop_assert!(pair[0].dts < pair[1].dts);
                if !pair[1].discontinuity {
                    prop_assert_eq!(pair[0].dts + pair[0].duration, pair[1].dts);
                }
                if depth == 0 && pair[1].unit.keyframe {
                    prop_assert!(pair[1].pts > pair[0].pts, "time went back");
                }
            }
        }
    }
}
