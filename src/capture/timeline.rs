//! Where a picture stands in time. Pure: the running time of arrival is passed in.
//!
//! A source's timestamps are believed while they make sense; those of a camera with a clock of its own are
//! kept in step with ours (see `skew`). Some cameras never advance theirs, some
//! give none, some jump by hours; then the time of arrival takes over for the rest of the run. A file
//! that begins again continues where it ended.

use std::time::Duration;

use super::skew::{Placed, Skew};

/// Equal timestamps over this much arrival time, or on so many pictures over a little of it: the source's
/// clock stands still.
const STUCK: Duration = Duration::from_secs(1);
const STUCK_TIMES: u32 = 5;
const STUCK_LEAST: Duration = Duration::from_millis(100);
/// Timestamps that differ by no more than this are equal: some clocks creep.
const EQUAL: Duration = Duration::from_millis(1);
/// Between pictures with equal timestamps, so that time always rises.
const LEAST_STEP: Duration = Duration::from_millis(1);
/// A timestamp this far from its arrival means nothing.
const ASTRAY: Duration = Duration::from_secs(30);

/// Nothing is shown for less: 120 pictures a second.
const SHORTEST: Duration = Duration::from_millis(8);

#[derive(Debug, Default)]
pub struct Timeline {
    /// Added to the source's timestamps; grows with each pass of a file.
    offset: Duration,
    /// Subtracted from them: where the present pass of a file begins.
    began: Option<Duration>,
    seen: Option<Seen>,
    by_arrival: bool,
    /// Where arrival times are counted from: a place, and the arrival that belongs to it.
    anchor: (Duration, Duration),
    /// The latest time given out, the last one, and the shortest step between two: the length of a last
    /// picture.
    latest: Duration,
    previous: Option<Duration>,
    step: Option<Duration>,
    looped: bool,
    /// For a camera with a clock of its own.
    skew: Option<Skew>,
}

/// The timestamp last believed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pts: Duration,
    /// When it was seen first, and where that picture was placed.
    since: Duration,
    placed: Duration,
    times: u32,
}

impl Timeline {
    /// For a source whose timestamps come from another machine's clock.
    pub fn remote() -> Self {
        Self { skew: Some(Skew::default()), ..Self::default() }
    }

    /// The time of a picture with timestamp `pts` that arrived at running time `arrival`, and how long
    /// before its arrival it was captured as far as can be known.
    pub fn place(&mut self, pts: Option<Duration>, arrival: Duration) -> Placed {
        let believed = pts.filter(|_| !self.by_arrival).and_then(|pts| self.believe(pts, arrival));
        let Placed { pts: placed, late } = believed.unwrap_or_else(|| self.place_by_arrival(arrival));
        // In decoding order with B-frames, neighbours in time are neighbours here now and then.
        let step = self.previous.replace(placed).map(|previous| placed.abs_diff(previous));
        if let Some(step) = step.filter(|step| !step.is_zero()) {
            self.step = Some(self.step.map_or(step, |shortest| shortest.min(step)));
        }
        self.latest = self.latest.max(placed);
        Placed { pts: placed, late }
    }

    /// The file begins again: its next picture follows the last one, which is shown for as long as is
    /// given back. A file of a single picture shows it for a second.
    pub fn begin_again(&mut self) -> Duration {
        let shown = self.step.unwrap_or(Duration::from_secs(1)).clamp(SHORTEST, Duration::from_secs(1));
        self.offset = self.latest + shown;
        self.anchor = (self.offset, Duration::ZERO);
        self.began = None;
        self.seen = None;
        self.previous = None;
        self.looped = true;
        shown
    }

    /// Where the source's timestamp puts the picture; `None` when it makes no sense.
    fn believe(&mut self, pts: Duration, arrival: Duration) -> Option<Placed> {
        if self.looped {
            // The pipeline's own clock began again too: the pass begins at its first picture.
            self.began.get_or_insert(pts);
        }
        if let Some(seen) = self.seen.as_mut().filter(|seen| seen.pts.abs_diff(pts) <= EQUAL) {
            (seen.pts, seen.times) = (pts, seen.times + 1);
            let stood = arrival.saturating_sub(seen.since);
            let stuck = stood >= STUCK || seen.times >= STUCK_TIMES && stood >= STUCK_LEAST;
            return (!stuck).then(|| Placed { pts: self.latest + LEAST_STEP, late: Duration::ZERO });
        }
        let placed = match &mut self.skew {
            // Another machine's clock may be anywhere; how it moves is for `skew`.
            Some(skew) => skew.place(pts, arrival),
            None if arrival.abs_diff(pts) >= ASTRAY => return None,
            None => Placed {
                pts: self.offset + pts.saturating_sub(*self.began.get_or_insert(Duration::ZERO)),
                late: arrival.saturating_sub(pts),
            },
        };
        self.seen = Some(Seen { pts, since: arrival, placed: placed.pts, times: 1 });
        Some(placed)
    }

    /// From here on, time passes as pictures arrive; it goes on from where it was.
    fn place_by_arrival(&mut self, arrival: Duration) -> Placed {
        self.by_arrival = true;
        if let Some(seen) = self.seen.take() {
            self.anchor = (seen.placed, seen.since);
        }
        let (placed, since) = self.anchor;
        // Strictly rising, whatever the clock of this machine does.
        let pts = (placed + arrival.saturating_sub(since)).max(self.latest + LEAST_STEP);
        Placed { pts, late: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn timestamps_that_make_sense_are_kept_as_they_are() {
        let mut timeline = Timeline::default();
        // Decoding order with B-frames: not monotonic.
        for pts in [0, 120, 40, 80, 240, 160, 200] {
            assert_eq!(timeline.place(Some(ms(pts)), ms(pts + 5)).pts, ms(pts));
        }
    }

    #[test]
    fn without_timestamps_the_arrival_counts_and_always_rises() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(None, ms(40)).pts, ms(40));
        assert_eq!(timeline.place(None, ms(40)).pts, ms(41));
        assert_eq!(timeline.place(None, ms(30)).pts, ms(42));
        assert_eq!(timeline.place(None, ms(90)).pts, ms(90));
    }

    #[test]
    fn a_clock_that_stands_still_is_given_up_for_the_arrival() {
        let mut timeline = Timeline::default();
        let placed: Vec<_> = (0..40).map(|n| timeline.place(Some(ms(500)), ms(500 + n * 40)).pts).collect();
        assert_eq!(placed[0], ms(500));
        assert_eq!(placed[30], ms(500 + 30 * 40), "after a second the arrival counts");
        assert!(placed[25..].windows(2).all(|pair| pair[0] < pair[1]), "{placed:?}");
    }

    #[test]
    fn a_clock_that_stands_still_or_creeps_is_noticed_within_a_few_pictures() {
        // From the start and later; exactly equal, and by a tick of 90 kHz a picture; near and hours ahead.
        for (good, creep, ahead) in
            [(0, 0, 0), (50, 0, 0), (0, 11, 0), (50, 11, 9_000_000), (0, 0, 9_000_000)]
        {
            let mut timeline = Timeline::remote();
            let placed: Vec<_> = (0..200)
                .map(|n: u64| {
                    let pts =
                        ms(ahead + n.min(good) * 40) + Duration::from_micros(n.saturating_sub(good) * creep);
                    timeline.place(Some(pts), ms(20 + n * 40)).pts
                })
                .collect();
            assert!(placed.windows(2).all(|pair| pair[0] < pair[1]), "{good} {creep} {ahead}: {placed:?}");
            // As time went on before it stood still, it goes on after it was noticed.
            let expected = |n: u64| ms(ahead + n * 40);
            for (n, placed) in placed.iter().enumerate().skip(usize::try_from(good).unwrap() + 5) {
                let away = placed.abs_diff(expected(n.try_into().unwrap()));
                assert!(away <= ms(3), "{good} {creep} {ahead} {n}: {placed:?}");
            }
        }
    }

    #[test]
    fn a_burst_of_pictures_with_one_timestamp_is_no_clock_that_stands_still() {
        let mut timeline = Timeline::remote();
        for burst in 0..20 {
            // Four slices of time, each given as eight pictures at once.
            for n in 0..8 {
                timeline.place(Some(ms(burst * 40)), ms(burst * 40 + n));
            }
        }
        assert!(!timeline.by_arrival);
    }

    #[test]
    fn a_timestamp_hours_away_is_given_up_for_the_arrival() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(Some(ms(0)), ms(0)).pts, ms(0));
        assert_eq!(timeline.place(Some(ms(9_000_000)), ms(40)).pts, ms(40));
        assert_eq!(timeline.place(Some(ms(9_000_040)), ms(80)).pts, ms(80));
    }

    #[test]
    fn a_file_that_begins_again_continues_without_a_gap() {
        let mut timeline = Timeline::default();
        let mut given = Vec::new();
        for _pass in 0..3 {
            for pts in [80, 200, 120, 160] {
                given.push(timeline.place(Some(ms(pts)), ms(pts)).pts.as_millis());
            }
            assert_eq!(timeline.begin_again(), ms(40));
        }
        // The first pass as it is; each next one a picture's length (40 ms here) after the latest.
        assert_eq!(given[..4], [80, 200, 120, 160]);
        assert!(given[4] > 200 && given[4] <= 280, "{given:?}");
        let later: Vec<_> = given[4..8].iter().map(|pts| pts - given[4]).collect();
        assert_eq!(later, [0, 120, 40, 80]);
        assert!(given[8] > given[5], "{given:?}");
    }
}
