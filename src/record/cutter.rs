//! Where a recording is cut: access units in, files and their fragments out. Pure; driven by `session`.
//!
//! A file begins with a keyframe, is opened as soon as that is there, and ends at one that comes after the segment's time or size, or when the
//! stream's format changes. A restart of the camera is only a gap in the file's timeline, as long as the
//! format stays: times in a file are those of the day. A fragment is whole and can be written when it is
//! as long as wanted, or before a keyframe.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::frames::AccessUnit;
use crate::h264::Sps;
use crate::mux::fmp4::{self, ParameterSets, Writer};
use crate::mux::timing::{self, Frame, TIMESCALE, Timeline};

/// A fragment is cut before it is larger, however short it is.
const FRAGMENT_BYTES: usize = 4 * 1024 * 1024;
/// A fragment that begins with a keyframe ends before the next one when it holds at least this part of its
/// length; one that does not ends before any, so that there is a fragment to seek to for each.
const KEYFRAME_CUT: u64 = 5;
/// No picture stands longer on a timeline.
const LONGEST: u64 = 7 * 86_400 * TIMESCALE;

/// The lengths to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    pub fragment: Duration,
    pub segment: Duration,
    pub segment_bytes: u64,
}

/// What is to be done with the disk.
#[derive(Clone, Debug)]
pub enum Step {
    /// A file begins.
    Open(Head),
    Fragment(Fragment),
    /// The file ends.
    Close,
}

/// A file's beginning.
#[derive(Clone, Debug)]
pub struct Head {
    /// The initialization section.
    pub init: Bytes,
    pub width: u32,
    pub height: u32,
    /// When its first picture was taken.
    pub began: SystemTime,
}

#[derive(Clone, Debug)]
pub struct Fragment {
    pub data: Bytes,
    /// Whether it can be decoded by itself.
    pub keyframe: bool,
    pub pictures: u32,
    /// Where in the file it ends.
    pub end: Duration,
}

#[derive(Debug)]
pub struct Cutter {
    lengths: Lengths,
    /// The first pictures, until they tell rate and reordering.
    probe: Vec<AccessUnit>,
    stream: Option<Stream>,
    file: Option<File>,
    steps: Vec<Step>,
}

/// Pictures of one format.
#[derive(Debug)]
struct Stream {
    sets: ParameterSets,
    sps: Sps,
    timeline: Timeline,
}

#[derive(Debug)]
struct File {
    writer: Writer,
    /// Decoding time of the stream at which the file begins; known with its first picture.
    base: Option<u64>,
    bytes: u64,
    fragment: Open,
}

/// The fragment that is being filled.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    begins: u64,
    ends: u64,
    bytes: usize,
    pictures: u32,
    keyframe: bool,
}

impl Cutter {
    pub fn new(lengths: Lengths) -> Self {
        Self { lengths, probe: Vec::new(), stream: None, file: None, steps: Vec::new() }
    }

    /// Takes the next access unit, in decoding order.
    pub fn push(&mut self, unit: AccessUnit) -> Vec<Step> {
        self.take(unit);
        std::mem::take(&mut self.steps)
    }

    /// No more pictures are needed to tell rate and reordering.
    pub fn settle(&mut self) -> Vec<Step> {
        let probe = std::mem::take(&mut self.probe);
        if !probe.is_empty() {
            self.begin(probe);
        }
        std::mem::take(&mut self.steps)
    }

    /// Nothing has come for a while: what is there is given out.
    pub fn flush(&mut self) -> Vec<Step> {
        self.cut();
        std::mem::take(&mut self.steps)
    }

    /// The end: everything is given out, and the file closed.
    pub fn finish(&mut self) -> Vec<Step> {
        let mut steps = self.settle();
        self.end_stream();
        self.close();
        steps.append(&mut self.steps);
        steps
    }

    fn take(&mut self, unit: AccessUnit) {
        if unit.keyframe
            && let Some(stream) = &self.stream
            && let Some(sets) = ParameterSets::of(&unit.data)
            && sets != stream.sets
        {
            self.end_stream();
        }
        if let Some(stream) = &mut self.stream {
            if let Some(frame) = stream.timeline.push(unit) {
                self.place(frame);
            }
            return;
        }
        if self.probe.first().is_some_and(|first| first.epoch != unit.epoch) {
            let probe = std::mem::take(&mut self.probe);
            self.begin(probe);
            return self.take(unit);
        }
        if self.probe.is_empty() {
            // Without a readable SPS nothing can be written; the next keyframe may bring one.
            let sets = ParameterSets::of(&unit.data).filter(|_| unit.keyframe);
            let Some((sets, sps)) = sets.and_then(|sets| sets.parse().map(|sps| (sets, sps))) else { return };
            self.open(&sets, &sps, unit.captured_at);
        }
        self.probe.push(unit);
        if timing::enough_to_probe(&self.probe) {
            let probe = std::mem::take(&mut self.probe);
            self.begin(probe);
        }
    }

    /// Begins a stream with its first pictures.
    fn begin(&mut self, probe: Vec<AccessUnit>) {
        let Some(sets) = probe.first().and_then(|unit| ParameterSets::of(&unit.data)) else { return };
        let Some(sps) = sets.parse() else { return };
        let depth = sps.reorder_depth().unwrap_or_else(|| timing::observed_depth(&probe));
        let timeline = Timeline::new(timing::frame_duration(&probe), depth, LONGEST, None);
        self.stream = Some(Stream { sets, sps, timeline });
        probe.into_iter().for_each(|unit| self.take(unit));
    }

    fn end_stream(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let Stream { sets, sps, timeline } = stream;
        let (held, _) = timeline.finish();
        if let Some(frame) = held {
            if self.file.is_none() {
                self.open(&sets, &sps, frame.unit.captured_at);
            }
            self.add(frame);
        }
        self.close();
    }

    fn place(&mut self, frame: Frame) {
        if frame.unit.keyframe
            && let Some(file) = &self.file
        {
            let length = file.base.map_or(0, |base| frame.dts.saturating_sub(base));
            let bytes = file.bytes + file.fragment.bytes as u64;
            if length >= timing::ticks(self.lengths.segment) || bytes >= self.lengths.segment_bytes {
                self.close();
            }
        }
        let Some(stream) = &self.stream else { return };
        if self.file.is_none() {
            if !frame.unit.keyframe {
                return;
            }
            let (sets, sps) = (stream.sets.clone(), stream.sps);
            self.open(&sets, &sps, frame.unit.captured_at);
        }
        self.add(frame);
    }

    fn open(&mut self, sets: &ParameterSets, sps: &Sps, began: SystemTime) {
        let init = fmp4::init(sets, sps);
        let file =
            File { writer: Writer::new(), base: None, bytes: init.len() as u64, fragment: Open::default() };
        self.file = Some(file);
        self.steps.push(Step::Open(Head { init, width: sps.width, height: sps.height, began }));
    }

    fn add(&mut self, frame: Frame) {
        let limit = timing::ticks(self.lengths.fragment);
        let Some(file) = &mut self.file else { return };
        let base = *file.base.get_or_insert(frame.dts);
        let dts = frame.dts.saturating_sub(base);
        let open = file.fragment;
        let long = dts + frame.duration > open.begins + limit;
        let keyframe = frame.unit.keyframe && (!open.keyframe || dts >= open.begins + limit / KEYFRAME_CUT);
        let large = open.bytes + frame.unit.data.len() > FRAGMENT_BYTES;
        if open.pictures > 0 && (long || keyframe || large || frame.discontinuity) {
            self.cut();
        }
        let Some(file) = &mut self.file else { return };
        let open = &mut file.fragment;
        if open.pictures == 0 {
            *open = Open { begins: dts, keyframe: frame.unit.keyframe, ..Open::default() };
        }
        open.ends = dts + frame.duration;
        open.bytes += frame.unit.data.len();
        open.pictures += 1;
        let pts = frame.pts.saturating_sub(base);
        file.writer.add(&Frame { pts, dts, ..frame });
    }

    fn cut(&mut self) {
        let Some(file) = &mut self.file else { return };
        let open = std::mem::take(&mut file.fragment);
        if open.pictures == 0 {
            return;
        }
        let data = file.writer.take();
        file.bytes += data.len() as u64;
        let end = Duration::from_secs_f64(timing::seconds(open.ends));
        let Open { keyframe, pictures, .. } = open;
        self.steps.push(Step::Fragment(Fragment { data, keyframe, pictures, end }));
    }

    fn close(&mut self) {
        self.cut();
        if self.file.take().is_some() {
            self.steps.push(Step::Close);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    const PPS: [u8; 8] = [0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
    /// 1280x720, and 640x480.
    const LARGE: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];
    const SMALL: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x40];

    fn lengths() -> Lengths {
        Lengths {
            fragment: Duration::from_secs(1),
            segment: Duration::from_secs(10),
            segment_bytes: u64::MAX,
        }
    }

    fn unit(ms: u64, keyframe: bool, epoch: u64, sps: &[u8], at: Instant) -> AccessUnit {
        let mut data = if keyframe { [sps, &PPS].concat() } else { Vec::new() };
        data.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x9a, 1, 2, 3]);
        AccessUnit {
            data: data.into(),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch,
            captured_at: SystemTime::UNIX_EPOCH,
            captured: at,
        }
    }

    /// 25 pictures a second, a keyframe every two seconds.
    fn run(cutter: &mut Cutter, from: u64, count: u64, epoch: u64, sps: &[u8], at: Instant) -> Vec<Step> {
        let index = |n: u64| {
            unit((from + n) * 40, n.is_multiple_of(50), epoch, sps, at + Duration::from_millis(n * 40))
        };
        (0..count).flat_map(|n| cutter.push(index(n))).collect()
    }

    fn ends(steps: &[Step]) -> Vec<u128> {
        let end = |step: &Step| match step {
            Step::Fragment(fragment) => Some(fragment.end.as_millis()),
            _ => None,
        };
        steps.iter().filter_map(end).collect()
    }

    fn files(steps: &[Step]) -> (usize, usize) {
        let opened = steps.iter().filter(|step| matches!(step, Step::Open(_))).count();
        (opened, steps.iter().filter(|step| matches!(step, Step::Close)).count())
    }

    #[test]
    fn fragments_are_as_long_as_wanted_and_the_first_begins_at_zero() {
        let mut cutter = Cutter::new(lengths());
        let mut steps = run(&mut cutter, 0, 100, 1, LARGE, Instant::now());
        assert!(matches!(&steps[0], Step::Open(head) if (head.width, head.height) == (1280, 720)));
        steps.extend(cutter.finish());
        assert_eq!(ends(&steps), [1000, 2000, 3000, 4000]);
        assert_eq!(files(&steps), (1, 1));
    }

    #[test]
    fn a_file_ends_at_the_first_keyframe_after_its_time() {
        let mut cutter = Cutter::new(Lengths { segment: Duration::from_secs(3), ..lengths() });
        let mut steps = run(&mut cutter, 0, 300, 1, LARGE, Instant::now());
        steps.extend(cutter.finish());
        // 12 s of two-second groups: 4 s, 4 s, 4 s.
        assert_eq!(files(&steps), (3, 3));
        assert_eq!(ends(&steps), [1000, 2000, 3000, 4000, 1000, 2000, 3000, 4000, 1000, 2000, 3000, 4000]);
    }

    #[test]
    fn a_restart_of_the_camera_is_a_gap_in_the_same_file() {
        let (mut cutter, now) = (Cutter::new(lengths()), Instant::now());
        let mut steps = run(&mut cutter, 0, 50, 1, LARGE, now);
        steps.extend(run(&mut cutter, 0, 50, 2, LARGE, now + Duration::from_millis(1960 + 3000)));
        steps.extend(cutter.finish());
        assert_eq!(files(&steps), (1, 1));
        assert_eq!(ends(&steps), [1000, 2000, 5960, 6960]);
    }

    #[test]
    fn another_format_is_another_file() {
        let (mut cutter, now) = (Cutter::new(lengths()), Instant::now());
        let mut steps = run(&mut cutter, 0, 50, 1, LARGE, now);
        steps.extend(run(&mut cutter, 50, 50, 1, SMALL, now + Duration::from_secs(2)));
        steps.extend(cutter.finish());
        assert_eq!(files(&steps), (2, 2));
        assert_eq!(ends(&steps), [1000, 2000, 1000, 2000]);
    }

    #[test]
    fn a_keyframe_that_comes_late_begins_a_fragment_all_the_same() {
        let (mut cutter, now) = (Cutter::new(lengths()), Instant::now());
        // One picture more than a fragment holds from keyframe to keyframe.
        let mut steps: Vec<Step> = (0..78)
            .flat_map(|n| {
                let at = now + Duration::from_millis(n * 40);
                cutter.push(unit(n * 40, n.is_multiple_of(26), 1, LARGE, at))
            })
            .collect();
        steps.extend(cutter.finish());
        assert_eq!(ends(&steps), [1000, 1040, 2040, 2080, 3080, 3120]);
    }

    #[test]
    fn what_waits_is_given_out_when_nothing_comes() {
        let mut cutter = Cutter::new(lengths());
        let steps = run(&mut cutter, 0, 20, 1, LARGE, Instant::now());
        assert_eq!(ends(&steps), [0; 0]);
        // The newest picture waits for the next one to tell its duration.
        assert_eq!(ends(&cutter.flush()), [760]);
        assert!(cutter.flush().is_empty());
    }

    #[test]
    fn nothing_before_a_keyframe_is_recorded() {
        let mut cutter = Cutter::new(lengths());
        let now = Instant::now();
        assert!((0..40).all(|n| cutter.push(unit(n * 40, false, 1, LARGE, now)).is_empty()));
        assert!(cutter.finish().is_empty());
    }

    proptest! {
        #[test]
        fn every_picture_from_the_first_keyframe_on_is_in_exactly_one_fragment(
            groups in proptest::collection::vec((1u64..120, any::<bool>(), any::<bool>()), 1..12),
            frame_ms in 16u64..700,
            segment in 5u64..20,
        ) {
            let mut cutter = Cutter::new(Lengths { segment: Duration::from_secs(segment), ..lengths() });
            let (mut ms, mut epoch, mut at, mut count) = (0, 1, Instant::now(), 0);
            let (mut steps, mut keyframes) = (Vec::new(), Vec::new());
            for (pictures, anew, small) in groups {
                if anew {
                    (ms, epoch) = (0, epoch + 1);
                    at += Duration::from_secs(7);
                }
                for index in 0..pictures {
                    let sps = if small { SMALL } else { LARGE };
                    steps.extend(cutter.push(unit(ms, index == 0, epoch, sps, at)));
                    ms += frame_ms;
                    at += Duration::from_millis(frame_ms);
                    keyframes.push(index == 0);
                    count += 1;
                }
            }
            steps.extend(cutter.finish());
            let (mut open, mut last, mut seen) = (false, Duration::ZERO, 0usize);
            for step in steps {
                match step {
                    Step::Open(_) => {
                        prop_assert!(!open);
                        (open, last) = (true, Duration::ZERO);
                    }
                    Step::Fragment(fragment) => {
                        prop_assert!(open && fragment.end > last);
                        prop_assert!(last > Duration::ZERO || fragment.keyframe, "a file begins with a keyframe");
                        last = fragment.end;
                        let pictures = &keyframes[seen..][..fragment.pictures as usize];
                        prop_assert_eq!(fragment.keyframe, pictures.contains(&true), "each can be sought");
                        seen += pictures.len();
                    }
                    Step::Close => {
                        prop_assert!(open && last > Duration::ZERO);
                        open = false;
                    }
                }
            }
            prop_assert!(!open);
            prop_assert_eq!(seen, count);
        }
    }
}
