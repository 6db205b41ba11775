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
