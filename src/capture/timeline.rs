//! Where a picture stands in time. Pure: the running time of arrival is passed in.
//!
//! A source's timestamps are believed while they make sense; those of a camera with a clock of its own are
//! kept in step with ours (see `skew`). Some cameras never advance theirs, some
//! give none, some jump by hours; then the time of arrival takes over for the rest of the run. A file
//! that begins again continues where it ended.

use std::time::Duration;

use super::skew::{Placed, Skew};

/// Equal timestamps over this much arrival time: the source's clock stands still.
const STUCK: Duration = Duration::from_secs(1);
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
    /// The timestamp last seen, and the arrival at which it was first seen.
    last_seen: Option<(Duration, Duration)>,
    by_arrival: bool,
    /// The latest time given out, the last one, and the shortest step between two: the length of a last
    /// picture.
    latest: Duration,
    previous: Option<Duration>,
    step: Option<Duration>,
    looped: bool,
    /// For a camera with a clock of its own.
    skew: Option<Skew>,
}

impl Timeline {
    /// For a source whose timestamps come from another machine's clock.
    pub fn remote() -> Self {
        Self { skew: Some(Skew::default()), ..Self::default() }
    }

    /// The time of a picture with timestamp `pts` that arrived at running time `arrival`, and how long
    /// before its arrival it was captured as far as can be known.
    pub fn place(&mut self, pts: Option<Duration>, arrival: Duration) -> Placed {
        let Placed { pts: placed, late } = match pts {
            Some(pts) if !self.by_arrival && self.makes_sense(pts, arrival) => match &mut self.skew {
                Some(skew) => skew.place(pts, arrival),
                None => Placed {
                    pts: self.offset + pts.saturating_sub(*self.began.get_or_insert(Duration::ZERO)),
                    late: arrival.saturating_sub(pts),
                },
            },
            _ => {
                self.by_arrival = true;
                // Strictly rising, whatever the clock of this machine does.
                let pts = (self.offset + arrival).max(self.latest + Duration::from_millis(1));
                Placed { pts, late: Duration::ZERO }
            }
        };
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
        self.began = None;
        self.last_seen = None;
        self.previous = None;
        self.looped = true;
        shown
    }

    fn makes_sense(&mut self, pts: Duration, arrival: Duration) -> bool {
        if self.looped {
            // The pipeline's own clock began again too: the pass begins at its first picture.
            self.began.get_or_insert(pts);
        }
        let since = match self.last_seen {
            Some((seen, since)) if seen == pts => since,
            _ => arrival,
        };
        self.last_seen = Some((pts, since));
        // Another machine's clock may be anywhere; how it moves is for `skew`.
        let astray = self.skew.is_none() && arrival.abs_diff(pts) >= ASTRAY;
        arrival.saturating_sub(since) < STUCK && !astray
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
