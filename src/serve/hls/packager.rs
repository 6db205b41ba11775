//! Turns one camera's access units into segments and parts in a ring. Driven by `stream`, one packager
//! per camera and container.
//!
//! It puts the pure pieces together: the first pictures are probed for rate and reordering, then a
//! session runs: timeline → segmenter → muxer → ring. A session ends when the rate falls for good,
//! since its part target may not change; the next one goes on after a discontinuity.

use std::sync::Arc;

use bytes::Bytes;

use super::fmp4::{self, ParameterSets};
use super::playlist::Container;
use super::ring::{Head, NewPart, Ring};
use super::segmenter::{After, Next, Plan, Segmenter};
use super::timing::{self, End, Frame, Timeline, seconds};
use super::ts;
use crate::frames::AccessUnit;

/// A segment is given up beyond this: a camera that sends no IDR pictures must not fill the memory.
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;

/// So many overlong pictures in a row mean that the rate fell.
const RATE_FELL: u32 = 4;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub container: Container,
    pub segment_seconds: f64,
    pub part_seconds: f64,
}

/// One camera, one container.
#[derive(Debug)]
pub struct Packager {
    camera: String,
    settings: Settings,
    ring: Arc<Ring>,
    /// The first pictures, until they tell enough.
    probe: Vec<AccessUnit>,
    session: Option<Session>,
    /// Where the last session stopped.
    end: Option<End>,
    warned_target: bool,
    warned_size: bool,
    warned_sps: bool,
}

#[derive(Debug)]
struct Session {
    plan: Plan,
    timeline: Timeline,
    segmenter: Segmenter,
    muxer: Muxer,
    /// Those of the newest IDR.
    newest_sets: Option<ParameterSets>,
    /// Those of the current initialization section.
    init_sets: Option<ParameterSets>,
    /// Set while a segment waits for its first part.
    head: Option<Head>,
    in_segment: bool,
    segment_bytes: usize,
    part_duration: u64,
    part_independent: bool,
    part_frames: usize,
    /// The segment was given up: nothing until the next IDR.
    skipping: bool,
}

#[derive(Debug)]
enum Muxer {
    Ts(ts::Muxer),
    Fmp4(fmp4::Writer),
}

impl Muxer {
    fn new(container: Container) -> Self {
        match container {
            Container::Ts => Self::Ts(ts::Muxer::new()),
            Container::Fmp4 => Self::Fmp4(fmp4::Writer::new()),
        }
    }

    fn add(&mut self, frame: &Frame) {
        match self {
            Self::Ts(muxer) => muxer.add(frame),
            Self::Fmp4(writer) => writer.add(frame),
        }
    }

    fn take(&mut self) -> Bytes {
        match self {
            Self::Ts(muxer) => muxer.take(),
            Self::Fmp4(writer) => writer.take(),
        }
    }
}

impl Packager {
    pub fn new(camera: impl Into<String>, settings: Settings, ring: Arc<Ring>) -> Self {
        Self {
            camera: camera.into(),
            settings,
            ring,
            probe: Vec::new(),
            session: None,
            end: None,
            warned_target: false,
            warned_size: false,
            warned_sps: false,
        }
    }

    /// Takes the next access unit, in decoding order, the first of each epoch an IDR.
    pub fn push(&mut self, unit: AccessUnit) {
        if unit.keyframe
            && let Some(session) = self.session.take_if(|session| session.timeline.overlong() >= RATE_FELL)
        {
            tracing::warn!(
                camera = self.camera,
                "the picture rate fell: HLS goes on with longer parts after a discontinuity"
            );
            self.finish(session);
        }
        if self.session.is_some() {
            self.feed(unit);
            return;
        }
        if self.probe.first().is_some_and(|first| first.epoch != unit.epoch) {
            self.probe.clear();
        }
        if self.probe.is_empty() && !unit.keyframe {
            return;
        }
        self.probe.push(unit);
        if timing::enough_to_probe(&self.probe) {
            let probe = std::mem::take(&mut self.probe);
            self.session = self.begin(&probe);
            for unit in probe {
                self.feed(unit);
            }
        }
    }

    fn begin(&mut self, probe: &[AccessUnit]) -> Option<Session> {
        let Settings { container, segment_seconds, part_seconds } = self.settings;
        let sets = probe.first().and_then(|unit| ParameterSets::of(&unit.data));
        let sps = sets.as_ref().and_then(ParameterSets::parse);
        if container == Container::Fmp4 && sps.is_none() {
            // Nothing can be promised without a readable SPS; the next IDR may bring one.
            if !std::mem::replace(&mut self.warned_sps, true) {
                tracing::warn!(
                    camera = self.camera,
                    "the camera's H.264 has no readable SPS: no fMP4 HLS; it is tried again at every IDR"
                );
            }
            return None;
        }
        let depth = sps.and_then(|sps| sps.reorder_depth()).unwrap_or_else(|| timing::observed_depth(probe));
        let plan = Plan::new(segment_seconds, part_seconds, timing::frame_duration(probe));
        self.ring.plan(plan.part_target);
        tracing::debug!(
            camera = self.camera,
            frame_seconds = seconds(plan.frame),
            part_target_seconds = seconds(plan.part_target),
            reorder_depth = depth,
            "HLS session begins"
        );
        Some(Session {
            plan,
            timeline: Timeline::new(plan.frame, depth, plan.part_target, self.end.take()),
            segmenter: Segmenter::new(plan),
            muxer: Muxer::new(container),
            newest_sets: sets,
            init_sets: None,
            head: None,
            in_segment: false,
            segment_bytes: 0,
            part_duration: 0,
            part_independent: false,
            part_frames: 0,
            skipping: false,
        })
    }

    fn feed(&mut self, unit: AccessUnit) {
        let Some(session) = &mut self.session else { return };
        if unit.keyframe
            && let Some(sets) = ParameterSets::of(&unit.data)
            && session.newest_sets.as_ref() != Some(&sets)
        {
            // Another size or profile: players have to begin anew.
            let depth = sets.parse().and_then(|sps| sps.reorder_depth());
            session.timeline.change(depth);
            session.newest_sets = Some(sets);
        }
        let Some(frame) = session.timeline.push(unit) else { return };
        let next = session.timeline.held().map_or(Next::default(), |held| Next {
            keyframe: held.unit.keyframe,
            discontinuity: held.discontinuity,
        });
        self.place(&frame, next);
    }

    /// Puts out what the session still holds and remembers where it stopped.
    fn finish(&mut self, session: Session) {
        let Session { timeline, .. } = session;
        let placeholder = Timeline::new(session.plan.frame, 0, session.plan.part_target, None);
        let (held, end) = timeline.finish();
        self.session = Some(Session { timeline: placeholder, ..session });
        if let Some(frame) = held {
            self.place(&frame, Next { keyframe: true, discontinuity: true });
        }
        self.session = None;
        self.end = end;
    }

    fn place(&mut self, frame: &Frame, next: Next) {
        let Some(session) = &mut self.session else { return };
        let mut discontinuity = frame.discontinuity;
        if session.skipping {
            if !frame.unit.keyframe {
                return;
            }
            session.skipping = false;
            discontinuity = true;
        }
        let cut = session.segmenter.place(frame.duration, next);
        if cut.before {
            self.publish(false);
        }
        let Some(session) = &mut self.session else { return };
        if !session.in_segment {
            session.begin_segment(frame, discontinuity, self.settings.container);
        }
        if session.part_frames == 0 {
            session.part_independent = frame.unit.keyframe;
        }
        session.muxer.add(frame);
        session.part_frames += 1;
        session.part_duration += frame.duration;
        session.segment_bytes += frame.unit.data.len();
        match cut.after {
            After::Segment => self.publish(true),
            _ if session.segment_bytes > SEGMENT_BYTES => {
                session.skipping = true;
                session.segmenter = Segmenter::new(session.plan);
                if !std::mem::replace(&mut self.warned_size, true) {
                    tracing::warn!(
                        camera = self.camera,
                        "no IDR picture in {} MiB: HLS leaves pictures out until the next one; \
                         give the camera a shorter keyframe interval",
                        SEGMENT_BYTES / 1024 / 1024
                    );
                }
                self.publish(true);
            }
            After::Part => self.publish(false),
            After::Nothing => {}
        }
    }

    /// Publishes the open part.
    fn publish(&mut self, last: bool) {
        let Some(session) = &mut self.session else { return };
        if last {
            session.in_segment = false;
            session.segment_bytes = 0;
        }
        let raised = self.ring.publish(NewPart {
            head: session.head.take(),
            data: session.muxer.take(),
            duration: std::mem::take(&mut session.part_duration),
            independent: session.part_independent,
            last,
        });
        session.part_frames = 0;
        if let Some(raised) = raised
            && !std::mem::replace(&mut self.warned_target, true)
        {
            tracing::warn!(
                camera = self.camera,
                "an HLS segment came out longer than promised: the target duration goes from {} s to {} s; \
                 give the camera a keyframe interval that does not vary",
                raised.from,
                raised.to
            );
        }
    }
}

impl Session {
    fn begin_segment(&mut self, frame: &Frame, discontinuity: bool, container: Container) {
        self.in_segment = true;
        let mut init = None;
        if container == Container::Fmp4 {
            let sets = ParameterSets::of(&frame.unit.data).or_else(|| self.newest_sets.clone());
            if let Some(sets) = sets
                && (discontinuity || self.init_sets.as_ref() != Some(&sets))
                && let Some(sps) = sets.parse()
            {
                init = Some(fmp4::init(&sets, &sps));
                self.init_sets = Some(sets);
            }
        }
        self.head = Some(Head { discontinuity, began: frame.unit.captured_at, init });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime};

    use proptest::prelude::*;

    use super::super::playlist;
    use super::super::ring::{Numbers, View};

    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];

    fn unit(ms: u64, keyframe: bool, epoch: u64, captured: Instant) -> AccessUnit {
        let mut data = if keyframe { [SPS, PPS].concat() } else { Vec::new() };
        data.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x9a, 1, 2, 3]);
        AccessUnit {
            data: data.into(),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch,
            captured_at: SystemTime::UNIX_EPOCH,
            captured,
        }
    }

    /// What a low-latency playlist hints at: segment, byte, number of the part.
    fn hint(view: &View) -> (u64, u64, u64) {
        let (msn, at) = view.open.as_ref().map_or((view.next_msn, 0), |open| (open.msn, open.len()));
        (msn, at, view.next_part)
    }

    #[test]
    fn a_camera_without_idr_pictures_does_not_fill_the_memory() {
        let ring = Arc::new(Ring::new(6, 2.0, Numbers::default()));
        let settings = Settings { container: Container::Ts, segment_seconds: 2.0, part_seconds: 0.333 };
        let mut packager = Packager::new("cam", settings, Arc::clone(&ring));
        let now = Instant::now();
        // One frame of 1 MiB, shared by all: 200 would make 200 MiB of segment.
        let mut big = vec![0, 0, 0, 1, 0x41, 0x9a];
        big.resize(1024 * 1024, 0x55);
        let big = Bytes::from(big);
        for index in 0..200 {
            let small = unit(index * 40, index == 0, 1, now);
            packager.push(if index == 0 { small } else { AccessUnit { data: big.clone(), ..small } });
        }
        let view = ring.view().expect("the segment was closed");
        assert_eq!(view.segments.len(), 1);
        assert!(view.open.is_none());
        assert!(view.segments[0].len() < 2 * SEGMENT_BYTES as u64);
        // The next IDR begins anew, behind a discontinuity.
        for index in 200..320 {
            packager.push(unit(index * 40, index % 50 == 0, 1, now));
        }
        let view = ring.view().unwrap();
        assert!(view.segments[1].discontinuity && !view.segments[2].discontinuity);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever cameras do, lists keep their promises.
        #[test]
        fn lists_keep_their_promises(
            fmp4 in any::<bool>(),
            frame_ms in 16u64..600,
            // Runs of the camera: groups of pictures, pause before it, and whether time starts anew.
            runs in proptest::collection::vec(
                (proptest::collection::vec(1u64..90, 1..8), 0u64..20_000, any::<bool>()), 1..6),
        ) {
            let container = if fmp4 { Container::Fmp4 } else { Container::Ts };
            let settings = Settings { container, segment_seconds: 2.0, part_seconds: 0.333 };
            let ring = Arc::new(Ring::new(6, 2.0, Numbers { msn: 50, part: 500 }));
            let mut packager = Packager::new("cam", settings, Arc::clone(&ring));
            let (mut wall, mut epoch, mut ms) = (Instant::now(), 1, 0);
            let mut before: Option<View> = None;
            for (groups, pause, anew) in runs {
                wall += Duration::from_millis(pause);
                if anew {
                    epoch += 1;
                    ms = 0;
                } else {
                    ms += pause;
                }
                for group in groups {
                    for index in 0..group {
                        packager.push(unit(ms, index == 0, epoch, wall));
                        ms += frame_ms;
                        wall += Duration::from_millis(frame_ms);
                        let Some(view) = ring.view() else { continue };
                        check(&view, container)?;
                        if let Some(before) = before.replace(view.clone()) {
                            compare(&before, &view, &ring)?;
                        }
                    }
                }
            }
        }
    }

    fn check(view: &View, container: Container) -> Result<(), TestCaseError> {
        let text = playlist::low_latency(view, container);
        let target: f64 = text.split("PART-TARGET=").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        for part in text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:DURATION=")) {
            let duration: f64 = part.split(',').next().unwrap().parse().unwrap();
            prop_assert!(duration <= target && duration > 0.0, "{part} {target}");
        }
        for segment in view.segments.iter().chain(&view.open) {
            prop_assert!(segment.parts[0].independent, "segments begin with an IDR");
            prop_assert!(container == Container::Ts || segment.map.is_some());
        }
        for pair in view.segments.windows(2) {
            prop_assert_eq!(pair[0].msn + 1, pair[1].msn);
        }
        for segment in &view.segments {
            let rounded = (segment.duration() as f64 / 90_000.0).round() as u64;
            prop_assert!(rounded <= view.target_duration);
        }
        Ok(())
    }

    fn compare(before: &View, now: &View, ring: &Ring) -> Result<(), TestCaseError> {
        prop_assert!(now.target_duration >= before.target_duration);
        prop_assert!(now.next_msn >= before.next_msn && now.next_part >= before.next_part);
        // A tag that left the list is counted, and nothing else is.
        let first = now.segments[0].msn;
        let left = before.segments.iter().filter(|old| old.msn < first && old.discontinuity).count() as u64;
        prop_assert_eq!(now.discontinuity_sequence, before.discontinuity_sequence + left);
        // What was hinted at is there as soon as anything new is.
        if now.next_part > before.next_part {
            let (msn, at, number) = hint(before);
            let (segment, _) = ring.segment(msn).unwrap();
            let part = segment.parts.iter().find(|part| part.number == number);
            prop_assert_eq!(part.map(|part| part.offset), Some(at));
        } else {
            prop_assert_eq!(hint(before), hint(now));
        }
        Ok(())
    }
}
