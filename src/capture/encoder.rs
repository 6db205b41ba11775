//! The subject that feeds one outlet which the source cannot feed itself: an encoder, with a decoder
//! before it where the source's pictures are encoded.
//!
//! The H.264 encoder feeds both H.264 outlets; the realtime outlet has one of its own only for a camera
//! that sends B-frames. Each is a pipeline of its own, so that it comes and goes with its viewers without
//! renegotiating the source or disturbing a neighbour. It takes the newest raw picture when it falls behind;
//! of encoded ones it loses whole access units up to an IDR picture.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::choice::{Lane, Native};
use super::dynamic::broken;
use super::outlet::{Outlet, Subscription};
use super::plan::{self, EncoderPlan};
use super::run::{Attempt, Built, OnEnd};
use super::shared::{Format, Gate, Shared};
use super::tap::{bytes_of, running_time};
use super::transforms::{self, Stage};
use crate::frames::{AccessUnit, Codec};
use crate::pipelines::{Library, build};
use crate::supervision::{Failure, Reports, Subject};

/// Raw pictures that may wait for the encoder; more, and the oldest is lost.
const RAW_WAITING: u64 = 2;
/// Encoded pictures that may wait for the decoder; more, and its subscription lags instead.
const ENCODED_WAITING: u64 = 8;
/// An IDR picture that is this late is asked for: a camera's rate may drop below the one announced.
const GOP_GRACE: Duration = Duration::from_millis(250);

/// Feeds one outlet.
#[derive(Debug)]
pub struct EncoderSubject {
    shared: Arc<Shared>,
    library: Arc<Library>,
    graphs: Option<PathBuf>,
    lane: Lane,
    newest: Newest,
    /// With the epoch of its pictures.
    attempt: Option<(Attempt, u64)>,
}

/// The newest attempt: the epoch of its pictures, and the element that encodes. An older one that was given up
/// may end long after it began. Cloning it clones a reference.
#[derive(Clone, Debug, Default)]
pub struct Newest(Arc<Mutex<Option<(u64, &'static str)>>>);

impl Newest {
    /// The name of the element that encodes, once one was chosen.
    pub fn element(&self) -> Option<&'static str> {
        self.lock().map(|(_, element)| element)
    }

    /// Ends the attempt with this epoch, by `last` unless a newer one has begun.
    fn end(&self, epoch: u64, last: impl FnOnce()) {
        let mut newest = self.lock();
        if newest.is_none_or(|(newest, _)| newest == epoch) {
            *newest = None;
            last();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, &'static str)>> {
        // Whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncoderSubject {
    pub fn new(shared: Arc<Shared>, library: Arc<Library>, graphs: Option<PathBuf>, lane: Lane) -> Self {
        Self { shared, library, graphs, lane, newest: Newest::default(), attempt: None }
    }

    /// For status.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }
}

impl Subject for EncoderSubject {
    fn name(&self) -> String {
        format!("camera {} {} encoder", self.shared.camera.id, self.lane.name())
    }

    fn begin(&mut self, reports: Reports) {
        *self.newest.lock() = None;
        let Some(format) = self.shared.format.borrow().clone() else {
            return reports.failed(Failure::absent("the camera gives nothing"));
        };
        let (transforms, revision) = {
            let current = self.shared.current();
            (Arc::clone(&current.transforms), current.revision)
        };
        let planned = plan::encoder(&self.library, &self.shared.camera, &transforms, self.lane, &format);
        let plan = match planned {
            Ok(Some(plan)) => plan,
            // Passed through meanwhile: nothing to encode.
            Ok(None) => return,
            Err(failure) => return reports.failed(failure),
        };
        let (shared, lane) = (Arc::clone(&self.shared), self.lane);
        let epoch = shared.unique();
        *self.newest.lock() = Some((epoch, plan.element));
        let runtime = tokio::runtime::Handle::current();
        let reporting = reports.clone();
        let attempt = Attempt::begin(self.name(), reports, self.graphs.clone(), move || {
            let run = Run { lane, epoch, revision };
            assemble(&shared, run, &format, &plan, &reporting, &runtime)
        });
        self.attempt = Some((attempt, epoch));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let (attempt, newest) = (self.attempt.take(), self.newest.clone());
        let outlets = fed(&self.shared, self.lane);
        Box::pin(async move {
            let Some((attempt, epoch)) = attempt else { return };
            attempt.end().await;
            for outlet in &outlets {
                outlet.end_stream(epoch);
            }
            newest.end(epoch, || {
                // Nobody waits for the next picture: the last one grows old while the camera lives on.
                for outlet in outlets.iter().filter(|outlet| outlet.counters().demand == 0) {
                    outlet.clear();
                }
            });
        })
    }

    fn expected_fps(&self) -> Option<f64> {
        self.shared.format.borrow().as_ref().and_then(|format| format.fps)
    }
}

/// The outlets that an encoder feeds.
fn fed(shared: &Shared, lane: Lane) -> Vec<Arc<Outlet>> {
    let mut outlets = vec![Arc::clone(shared.outlet(lane))];
    if lane == Lane::H264 {
        // It makes no B-frames: its pictures are good for both.
        outlets.push(Arc::clone(&shared.realtime));
    }
    outlets
}

/// One run of an encoder.
#[derive(Clone, Copy, Debug)]
struct Run {
    lane: Lane,
    /// Of its pictures.
    epoch: u64,
    /// Of what is done to them.
    revision: u64,
}

/// All bins, and which of them are stages.
type Bins = (Vec<gst::Bin>, Vec<(Stage, gst::Bin)>);

/// The chain as bins, in their order: what comes before, the stages, the encoder. A stage that nobody needs
/// yet and that cannot be built is left out.
fn bins(plan: &EncoderPlan) -> Result<Bins, Failure> {
    let mut bins = Vec::new();
    let mut stages = Vec::new();
    if !plan.before.syntax().is_empty() {
        bins.push(build::bin(&plan.before)?);
    }
    for stage in &plan.stages {
        match build::bin(&stage.chain) {
            Ok(bin) => {
                stages.push((stage.stage, bin.clone()));
                bins.push(bin);
            }
            Err(error) if stage.needed => return Err(error.into()),
            Err(error) => tracing::debug!("{:?} cannot be switched on later: {error}", stage.stage),
        }
    }
    bins.push(build::bin(&plan.encoder)?);
    Ok((bins, stages))
}

fn assemble(
    shared: &Arc<Shared>,
    run: Run,
    format: &Format,
    plan: &EncoderPlan,
    reports: &Reports,
    runtime: &tokio::runtime::Handle,
) -> Result<Built, Failure> {
    let lane = run.lane;
    let pipeline = gst::Pipeline::with_name(&format!("camera-{}-{}", shared.camera.id, lane.name()));
    shared.watch_pipeline(&pipeline);
    let raw = format.native == Native::Raw;
    let source = gst_app::AppSrc::builder()
        .caps(&format.caps)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .max_buffers(if raw { RAW_WAITING } else { ENCODED_WAITING })
        .leaky_type(if raw { gst_app::AppLeakyType::Downstream } else { gst_app::AppLeakyType::None })
        .build();
    let (bins, stages) = bins(plan)?;
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .max_buffers(4)
        .enable_last_sample(false)
        .build();
    let mut chain: Vec<&gst::Element> = vec![source.upcast_ref()];
    chain.extend(bins.iter().map(|bin| bin.upcast_ref::<gst::Element>()));
    chain.push(sink.upcast_ref());
    pipeline.add_many(&chain).map_err(broken)?;
    gst::Element::link_many(&chain).map_err(broken)?;
    // Before the first picture: without its masks nothing begins.
    shared.built(transforms::Built::new(&pipeline, &stages))?;

    let encoder = bins.last().and_then(|bin| bin.by_name("encoder"));
    if lane.codec() == Codec::H264 {
        shared.set_encoder(encoder.as_ref());
    }
    let mut exit = Exit::new(shared, run, format.epoch, reports.clone());
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| exit.take(sink).map(|()| gst::FlowSuccess::Ok))
            .build(),
    );
    let keep: Box<dyn Send> = if raw {
        Box::new(shared.take_raw(source))
    } else {
        let room = Arc::new(Notify::new());
        let wake = Arc::clone(&room);
        source.set_callbacks(
            gst_app::AppSrcCallbacks::builder().need_data(move |_, _| wake.notify_one()).build(),
        );
        let pictures = shared.native.subscribe();
        Box::new(AbortOnDropHandle::new(runtime.spawn(feed(pictures, format.epoch, source, room))))
    };
    Ok(Built {
        pipeline,
        target: plan.element.to_owned(),
        keep,
        on_end: OnEnd::Fail("the encoder ended the stream"),
        on_error: None,
    })
}

/// Hands encoded pictures to the decoder as it has room for them.
async fn feed(mut pictures: Subscription, epoch: u64, source: gst_app::AppSrc, room: Arc<Notify>) {
    while let Some(unit) = pictures.next().await {
        // The source began anew: so does the encoder, with a timeline of its own.
        if unit.epoch != epoch {
            return;
        }
        while source.current_level_buffers() >= ENCODED_WAITING {
            room.notified().await;
        }
        let mut buffer = gst::Buffer::from_slice(unit.data);
        if let Some(header) = buffer.get_mut() {
            header.set_pts(gst::ClockTime::try_from(unit.pts).ok());
            if !unit.keyframe {
                header.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if source.push_buffer(buffer).is_err() {
            return;
        }
    }
}

/// Up to which picture of the source's run `source` nothing passes a gate; `None`: all do.
fn closed(gate: Gate, source: u64) -> Option<Duration> {
    match gate.epoch.cmp(&source) {
        // It was there before the run began.
        Ordering::Less => None,
        Ordering::Equal => Some(gate.pts),
        // The run is over: all that is still to come of it is older.
        Ordering::Greater => Some(Duration::MAX),
    }
}

/// The end of an encoder: makes access units of its pictures.
#[derive(Debug)]
struct Exit {
    shared: Arc<Shared>,
    outlets: Vec<Arc<Outlet>>,
    reports: Reports,
    run: Run,
    /// The run of the source that is encoded.
    source: u64,
    /// The last gate that was seen, and the pictures up to which nothing passes it.
    gate: u64,
    closed: Option<Duration>,
    /// Where IDR pictures are asked for when they are late, and how often they are due.
    gop: Duration,
    last_keyframe: Duration,
}

impl Exit {
    fn new(shared: &Arc<Shared>, run: Run, source: u64, reports: Reports) -> Self {
        Self {
            outlets: fed(shared, run.lane),
            reports,
            run,
            source,
            gate: 0,
            closed: None,
            gop: Duration::try_from_secs_f64(shared.camera.h264.gop_seconds)
                .unwrap_or(Duration::from_secs(2)),
            last_keyframe: Duration::ZERO,
            shared: Arc::clone(shared),
        }
    }

    fn take(&mut self, sink: &gst_app::AppSink) -> Result<(), gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer_owned() else { return Ok(()) };
        let Some(pts) = running_time(&sample) else { return Ok(()) };
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let now = Instant::now();
        let captured = self.shared.anchor(self.source).map(|anchor| anchor.captured(pts));
        let (captured_at, captured) = captured.unwrap_or_else(|| (std::time::SystemTime::now(), now));
        let Some(data) = bytes_of(buffer) else { return Ok(()) };
        self.reports.frame();
        if keyframe {
            self.last_keyframe = pts;
        } else if pts.saturating_sub(self.last_keyframe) > self.gop + GOP_GRACE {
            self.shared.request_keyframe(now);
        }
        let unit = AccessUnit { data, pts, keyframe, epoch: self.run.epoch, captured_at, captured };
        let shared = Arc::clone(&self.shared);
        let current = shared.current();
        if self.passes(&unit, current.revision, current.gate()) {
            for outlet in &self.outlets {
                outlet.push(unit.clone());
            }
        } else {
            drop(current);
            self.shared.request_keyframe(now);
        }
        Ok(())
    }

    /// Whether a picture is as it is to be now, and decodable by those who had none before it.
    fn passes(&mut self, unit: &AccessUnit, revision: u64, gate: Gate) -> bool {
        if revision != self.run.revision {
            return false;
        }
        if gate.number != self.gate {
            self.gate = gate.number;
            self.closed = closed(gate, self.source);
        }
        if self.closed.is_some_and(|until| unit.pts <= until || !unit.keyframe) {
            return false;
        }
        self.closed = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    #[test]
    fn a_gate_closes_the_run_it_was_put_into_and_those_before_it() {
        let pts = Duration::from_secs(5);
        let gate = Gate { number: 1, epoch: 4, pts };
        assert_eq!(closed(gate, 3), Some(Duration::MAX), "what is left of an earlier run");
        assert_eq!(closed(gate, 4), Some(pts));
        assert_eq!(closed(gate, 5), None, "a run that began with it");
        assert_eq!(closed(Gate::default(), 1), None);
    }

    #[tokio::test]
    async fn an_attempt_that_was_given_up_and_ends_late_takes_nothing_from_the_next_one() {
        let camera = Camera::new("porch", Source::Test {});
        let told = transforms::Told::configured(&camera);
        let shared = Shared::new(camera, None, told);
        let library = Arc::new(Library::embedded());
        let mut subject = EncoderSubject::new(Arc::clone(&shared), library, None, Lane::Jpeg);
        let newest = subject.newest();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = move || {
            let _ = held.recv();
            Err(Failure::broken("it hung"))
        };
        let mut attempt = |epoch, element, build: Box<dyn FnOnce() -> Result<Built, Failure> + Send>| {
            *newest.lock() = Some((epoch, element));
            let reports = Reports::detached(epoch);
            subject.attempt = Some((Attempt::begin("porch".into(), reports, None, build), epoch));
            subject.end()
        };
        let late = attempt(1, "first", Box::new(hangs));
        let next = attempt(2, "second", Box::new(|| Err(Failure::broken("over"))));
        let (pts, now) = (Duration::ZERO, Instant::now());
        let data = bytes::Bytes::from_static(&[0; 10]);
        let captured_at = std::time::SystemTime::now();
        let unit = AccessUnit { data, pts, keyframe: true, epoch: 2, captured_at, captured: now };
        shared.jpeg.push(unit);

        release.send(()).unwrap();
        late.await;
        assert_eq!(newest.element(), Some("second"));
        assert!(shared.jpeg.latest().borrow().is_some(), "the next one's picture");
        next.await;
        assert_eq!(newest.element(), None);
        assert!(shared.jpeg.latest().borrow().is_none(), "nobody waits for another");
    }
}
