//! The segments of one stream in memory: what playlists list, a few more that slow players may still
//! fetch, and the one that grows. Written by one packager, read by every request.
//!
//! One lock guards plain data and is held for moments, never while anybody is told: the news goes out
//! afterwards through a `watch` of [`Progress`]. A last part and the end of its segment become
//! visible together, so no reader sees a full segment that is still open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;

use super::timing::{TIMESCALE, seconds};

/// Segments that have left the playlist and can still be fetched.
const EVICTED: usize = 4;

/// One part of a segment.
#[derive(Clone, Debug)]
pub struct Part {
    pub data: Bytes,
    /// Ticks.
    pub duration: u64,
    /// Begins with an IDR.
    pub independent: bool,
    /// Where it begins in its segment, in bytes.
    pub offset: u64,
    /// Counts through the whole stream; names fMP4 parts.
    pub number: u64,
}

/// One segment, growing or whole.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Media sequence number.
    pub msn: u64,
    /// Does not continue the segment before it.
    pub discontinuity: bool,
    /// The initialization section it needs, if it needs one.
    pub map: Option<u64>,
    /// Wall-clock time of its first picture.
    pub began: SystemTime,
    pub parts: Vec<Part>,
}

impl Segment {
    /// Ticks.
    pub fn duration(&self) -> u64 {
        self.parts.iter().map(|part| part.duration).sum()
    }

    pub fn len(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.offset + part.data.len() as u64)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from `from` up to, without, `to`, as slices of the parts: nothing is copied.
    pub fn slices(&self, from: u64, to: u64) -> Vec<Bytes> {
        let cut = |part: &Part| {
            let length = part.data.len() as u64;
            let begin = from.saturating_sub(part.offset).min(length) as usize;
            let end = to.saturating_sub(part.offset).min(length) as usize;
            (begin < end).then(|| part.data.slice(begin..end))
        };
        self.parts.iter().filter_map(cut).collect()
    }
}

/// How a segment begins.
#[derive(Clone, Debug)]
pub struct Head {
    pub discontinuity: bool,
    pub began: SystemTime,
    /// A new initialization section; `None`: the one before goes on.
    pub init: Option<Bytes>,
}

/// A part to publish.
#[derive(Clone, Debug)]
pub struct NewPart {
    /// Set when it begins a segment.
    pub head: Option<Head>,
    pub data: Bytes,
    pub duration: u64,
    pub independent: bool,
    /// The segment ends with it.
    pub last: bool,
}

/// How far the stream is, for those who wait for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The segment that grows, or will.
    pub msn: u64,
    /// How many parts it has.
    pub parts: usize,
    /// How many parts the one before it had.
    pub parts_before: usize,
    /// Number of the next part.
    pub next_part: u64,
    /// At least one whole segment can be listed.
    pub ready: bool,
}

impl Progress {
    /// Whether a playlist with this part (of this segment, or what comes after its end) can be given.
    /// RFC 8216bis, 6.2.5.2: a part past the end of its segment means part 0 of the next.
    pub fn reached(&self, msn: u64, part: Option<usize>) -> bool {
        match part {
            None => self.msn > msn,
            Some(part) if self.msn == msn => self.parts > part,
            Some(part) if self.msn == msn + 1 => self.parts_before > part || self.parts > 0,
            Some(_) => self.msn > msn,
        }
    }
}

/// What playlists are rendered from: one moment of the ring.
#[derive(Clone, Debug)]
pub struct View {
    /// Whole segments that are listed, oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// The one that grows, if it has begun.
    pub open: Option<Arc<Segment>>,
    pub next_msn: u64,
    pub next_part: u64,
    pub discontinuity_sequence: u64,
    /// Seconds.
    pub target_duration: u64,
    /// Ticks.
    pub part_target: u64,
}

/// Where numbers begin. They never go back for a camera, not even over a restart of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub msn: u64,
    pub part: u64,
}

/// 2025-01-01 in seconds since 1970.
const YEAR_2025: u64 = 1_735_689_600;

impl Numbers {
    /// Numbers that grow with the clock faster than segments and parts do, so that players that stayed
    /// through a restart of the service see them rise, and no name is used twice.
    pub fn at(now: SystemTime, segment_seconds: f64) -> Self {
        let passed = now
            .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_2025))
            .unwrap_or_default()
            .as_secs();
        Self { msn: (passed as f64 / segment_seconds.max(0.1)) as u64, part: passed * 32 }
    }
}

/// A segment came out longer than the playlist had promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetRaised {
    pub from: u64,
    pub to: u64,
}

#[derive(Debug)]
struct State {
    /// Whole segments, evicted ones first.
    whole: VecDeque<Arc<Segment>>,
    open: Option<Arc<Segment>>,
    inits: VecDeque<(u64, Bytes)>,
    numbers: Numbers,
    parts_before: usize,
    discontinuity_sequence: u64,
    /// TARGETDURATION is at least this, seconds.
    least_target: u64,
    target_duration: Option<u64>,
    part_target: u64,
}

/// The ring of one stream.
#[derive(Debug)]
pub struct Ring {
    listed: usize,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

impl Ring {
    /// `listed`: whole segments in a playlist; `segment_seconds`: what they are meant to last.
    pub fn new(listed: usize, segment_seconds: f64, numbers: Numbers) -> Self {
        let progress = Progress { msn: numbers.msn, next_part: numbers.part, ..Progress::default() };
        Self {
            listed: listed.max(3),
            state: Mutex::new(State {
                whole: VecDeque::new(),
                open: None,
                inits: VecDeque::new(),
                numbers,
                parts_before: 0,
                discontinuity_sequence: 0,
                least_target: (segment_seconds.ceil() as u64).max(1),
                target_duration: None,
                part_target: 0,
            }),
            progress: watch::Sender::new(progress),
        }
    }

    /// Sets what parts are measured by from now on, in ticks.
    pub fn plan(&self, part_target: u64) {
        self.state().part_target = part_target;
    }

    /// Segments may get this long: TARGETDURATION allows for it if it is not fixed yet.
    pub fn expect(&self, longest: Duration) {
        let mut state = self.state();
        state.least_target = state.least_target.max(longest.as_secs_f64().round() as u64);
    }

    /// Adds a part, and ends its segment when it is the last one.
    pub fn publish(&self, new: NewPart) -> Option<TargetRaised> {
        let mut state = self.state();
        let raised = state.publish(new, self.listed);
        let progress = state.progress();
        drop(state);
        self.progress.send_replace(progress);
        raised
    }

    /// Forgets every segment: packaging ended, and what comes later has nothing to do with them.
    pub fn clear(&self) {
        let mut state = self.state();
        if state.whole.is_empty() && state.open.is_none() {
            return;
        }
        let listed = state.whole.len().min(self.listed);
        let gone = state.whole.iter().rev().take(listed).chain(&state.open);
        // What begins later continues nothing: one discontinuity more.
        state.discontinuity_sequence += gone.filter(|segment| segment.discontinuity).count() as u64 + 1;
        if state.open.take().is_some() {
            state.numbers.msn += 1;
        }
        state.whole.clear();
        state.inits.clear();
        state.target_duration = None;
        state.parts_before = 0;
        let progress = state.progress();
        drop(state);
        self.progress.send_replace(progress);
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The numbers that the next segment and part will have.
    pub fn numbers(&self) -> Numbers {
        self.state().next_numbers()
    }

    /// `None` until there is a whole segment.
    pub fn view(&self) -> Option<View> {
        let state = self.state();
        let target_duration = state.target_duration?;
        let evicted = state.whole.len().saturating_sub(self.listed);
        Some(View {
            segments: state.whole.iter().skip(evicted).cloned().collect(),
            open: state.open.clone(),
            next_msn: state.numbers.msn + u64::from(state.open.is_some()),
            next_part: state.numbers.part,
            discontinuity_sequence: state.discontinuity_sequence,
            target_duration,
            part_target: state.part_target,
        })
    }

    /// A segment and whether it is whole.
    pub fn segment(&self, msn: u64) -> Option<(Arc<Segment>, bool)> {
        let state = self.state();
        let whole = state.whole.iter().find(|segment| segment.msn == msn).map(|found| (found.clone(), true));
        whole.or_else(|| state.open.clone().filter(|open| open.msn == msn).map(|open| (open, false)))
    }

    pub fn part(&self, number: u64) -> Option<Part> {
        let state = self.state();
        let segments = state.open.iter().chain(state.whole.iter().rev());
        let holds = |segment: &&Arc<Segment>| segment.parts.first().is_some_and(|part| part.number <= number);
        let segment = segments.into_iter().find(holds)?;
        segment.parts.iter().find(|part| part.number == number).cloned()
    }

    pub fn init(&self, map: u64) -> Option<Bytes> {
        self.state().inits.iter().find(|(id, _)| *id == map).map(|(_, init)| init.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Publishing does not panic half-way; a poisoned lock still guards whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_numbers(&self) -> Numbers {
        Numbers { msn: self.numbers.msn + u64::from(self.open.is_some()), ..self.numbers }
    }

    fn progress(&self) -> Progress {
        Progress {
            msn: self.numbers.msn,
            parts: self.open.as_ref().map_or(0, |open| open.parts.len()),
            parts_before: self.parts_before,
            next_part: self.numbers.part,
            ready: self.target_duration.is_some(),
        }
    }

    fn publish(&mut self, new: NewPart, listed: usize) -> Option<TargetRaised> {
        let msn = self.numbers.msn;
        if let Some(head) = new.head {
            if let Some(init) = head.init {
                self.inits.push_back((msn, init));
            }
            let map = self.inits.back().map(|(id, _)| *id);
            let Head { discontinuity, began, .. } = head;
            self.open = Some(Arc::new(Segment { msn, discontinuity, map, began, parts: Vec::new() }));
        }
        let open = self.open.as_mut()?;
        let part = Part {
            offset: open.len(),
            number: self.numbers.part,
            data: new.data,
            duration: new.duration,
            independent: new.independent,
        };
        // A reader that still looks at the segment keeps its own copy of the list, not of the bytes.
        Arc::make_mut(open).parts.push(part);
        self.numbers.part += 1;
        if !new.last {
            return None;
        }
        let whole = self.open.take()?;
        self.parts_before = whole.parts.len();
        self.numbers.msn += 1;
        // EXTINF rounded to the nearest integer must not exceed the target (RFC 8216bis, 4.4.3.1).
        let needed = seconds(whole.duration() + TIMESCALE / 2) as u64;
        let raised = match self.target_duration {
            None => {
                self.target_duration = Some(self.least_target.max(needed));
                None
            }
            Some(from) if needed > from => {
                self.target_duration = Some(needed);
                Some(TargetRaised { from, to: needed })
            }
            Some(_) => None,
        };
        self.whole.push_back(whole);
        if self.whole.len() > listed {
            // The one that just left the playlist takes its tag along.
            let left = &self.whole[self.whole.len() - listed - 1];
            self.discontinuity_sequence += u64::from(left.discontinuity);
        }
        while self.whole.len() > listed + EVICTED {
            self.whole.pop_front();
        }
        let oldest = self.whole.front().and_then(|segment| segment.map);
        while self.inits.len() > 1 && self.inits.front().map(|(id, _)| *id) < oldest {
            self.inits.pop_front();
        }
        raised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(head: Option<bool>, last: bool, ticks: u64) -> NewPart {
        NewPart {
            head: head.map(|discontinuity| Head { discontinuity, began: SystemTime::UNIX_EPOCH, init: None }),
            data: Bytes::from_static(b"0123456789"),
            duration: ticks,
            independent: head.is_some(),
            last,
        }
    }

    /// A segment of two parts.
    fn segment(ring: &Ring, discontinuity: bool, ticks: u64) -> Option<TargetRaised> {
        ring.publish(part(Some(discontinuity), false, ticks / 2));
        ring.publish(part(None, true, ticks / 2))
    }

    #[test]
    fn old_segments_leave_the_list_first_and_the_ring_later() {
        let ring = Ring::new(6, 2.0, Numbers::default());
        assert!(ring.view().is_none());
        for _ in 0..20 {
            segment(&ring, false, 180_000);
        }
        let view = ring.view().unwrap();
        assert_eq!(view.segments.iter().map(|s| s.msn).collect::<Vec<_>>(), [14, 15, 16, 17, 18, 19]);
        assert!(ring.segment(10).is_some() && ring.segment(9).is_none());
        assert_eq!(ring.part(38).unwrap().number, 38);
        assert!(ring.part(40).is_none());
    }

    #[test]
    fn the_discontinuity_sequence_counts_tags_that_left_the_list() {
        let ring = Ring::new(6, 2.0, Numbers::default());
        for index in 0..12 {
            segment(&ring, index == 2 || index == 5, 180_000);
        }
        assert_eq!(ring.view().unwrap().discontinuity_sequence, 2);
        segment(&ring, true, 180_000);
        ring.clear();
        segment(&ring, false, 180_000);
        // Two that left, the one that was listed, and the break itself.
        assert_eq!(ring.view().unwrap().discontinuity_sequence, 4);
    }

    #[test]
    fn numbers_rise_through_a_pause() {
        let ring = Ring::new(6, 2.0, Numbers { msn: 100, part: 1000 });
        segment(&ring, false, 180_000);
        ring.publish(part(Some(false), false, 30_000));
        assert_eq!(ring.numbers(), Numbers { msn: 102, part: 1003 });
        ring.clear();
        assert!(!ring.progress().borrow().ready);
        segment(&ring, false, 180_000);
        assert_eq!(ring.view().unwrap().segments[0].msn, 102);
        assert_eq!(ring.view().unwrap().segments[0].parts[0].number, 1003);
    }

    #[test]
    fn numbers_outrun_a_restarted_service() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_2025 + 1_000_000);
        let before = Numbers::at(start, 2.0);
        let after = Numbers::at(start + Duration::from_secs(3600), 2.0);
        assert_eq!(after.msn - before.msn, 1800);
        assert!(after.part - before.part > 3600 * 10);
        assert_eq!(Numbers::at(SystemTime::UNIX_EPOCH, 2.0), Numbers::default());
    }

    #[test]
    fn the_target_duration_is_that_of_the_first_segment_and_rises_only_when_it_must() {
        let table =
            [(2.0, 180_000, 2), (2.0, 270_000, 3), (1.5, 130_000, 2), (2.0, 90_000, 2), (0.5, 45_000, 1)];
        for (wanted, first, target) in table {
            let ring = Ring::new(6, wanted, Numbers::default());
            assert_eq!(segment(&ring, false, first), None);
            assert_eq!(ring.view().unwrap().target_duration, target);
        }
        let ring = Ring::new(6, 2.0, Numbers::default());
        segment(&ring, false, 180_000);
        assert_eq!(segment(&ring, false, 220_000), None);
        assert_eq!(segment(&ring, false, 450_000), Some(TargetRaised { from: 2, to: 5 }));
        assert_eq!(segment(&ring, false, 180_000), None);
        assert_eq!(ring.view().unwrap().target_duration, 5);
    }

    #[test]
    fn a_part_past_the_end_of_its_segment_means_the_first_of_the_next() {
        let now = Progress { msn: 10, parts: 3, parts_before: 6, next_part: 0, ready: true };
        let table = [
            (9, None, true),
            (10, None, false),
            (9, Some(5), true),
            (9, Some(6), true), // part 0 of 10, which is there
            (10, Some(2), true),
            (10, Some(3), false),
            (11, Some(0), false),
            (8, Some(99), true),
        ];
        for (msn, part, reached) in table {
            assert_eq!(now.reached(msn, part), reached, "{msn} {part:?}");
        }
        let fresh = Progress { parts: 0, ..now };
        assert!(fresh.reached(9, Some(5)));
        assert!(!fresh.reached(9, Some(6)));
    }

    #[test]
    fn slices_share_the_bytes_of_the_parts() {
        let ring = Ring::new(6, 2.0, Numbers::default());
        segment(&ring, false, 180_000);
        let (segment, whole) = ring.segment(0).unwrap();
        assert!(whole);
        let slices = segment.slices(8, 13);
        assert_eq!(slices, [&b"89"[..], b"012"]);
        assert_eq!(slices[0].as_ptr(), segment.parts[0].data[8..].as_ptr());
        assert_eq!(segment.slices(0, u64::MAX).concat(), b"01234567890123456789");
        assert!(segment.slices(20, 30).is_empty());
    }

    #[test]
    fn the_last_part_and_the_end_are_seen_together() {
        let ring = Ring::new(6, 2.0, Numbers::default());
        let mut progress = ring.progress();
        ring.publish(part(Some(false), false, 90_000));
        let seen = *progress.borrow_and_update();
        assert_eq!((seen.msn, seen.parts, seen.ready), (0, 1, false));
        ring.publish(part(None, true, 90_000));
        let seen = *progress.borrow_and_update();
        assert_eq!((seen.msn, seen.parts, seen.parts_before, seen.ready), (1, 0, 2, true));
        assert!(ring.view().unwrap().open.is_none());
    }
}
