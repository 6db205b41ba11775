//! What the parts of one camera share: its outlets, what the source gives, and who takes raw pictures.
//!
//! The source's streaming thread writes here; encoders, the conductor and status read. Every lock is
//! held for a few statements and never across a wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tokio::sync::watch;

use super::Located;
use super::choice::{Encoded, Lane, Native, Route, route};
use super::outlet::Outlet;
use super::transforms::{self, Built, Impact, Named, Origin, Told};
use crate::config::model::{Camera, Resolution};
use crate::config::transforms::Transforms;
use crate::frames::Codec;
use crate::supervision::Failure;

/// Two keyframe requests are at least this far apart: every viewer that joins or loses something asks.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);

/// What the source gives now.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub native: Native,
    pub caps: gst::Caps,
    pub size: Option<Resolution>,
    /// Pictures per second as announced, if they are.
    pub fps: Option<f64>,
    pub epoch: u64,
    /// H.264 in which B-frames were seen.
    pub b_frames: bool,
}

impl Format {
    pub fn of_caps(caps: &gst::CapsRef, epoch: u64) -> Option<Self> {
        let structure = caps.structure(0)?;
        let native = match structure.name().as_str() {
            "video/x-raw" => Native::Raw,
            "video/x-h264" => Native::Encoded(Encoded::H264),
            "video/x-h265" => Native::Encoded(Encoded::H265),
            "image/jpeg" => Native::Encoded(Encoded::Jpeg),
            _ => return None,
        };
        let side = |field| structure.get::<i32>(field).ok().and_then(|side| u32::try_from(side).ok());
        let size = side("width").zip(side("height")).map(|(width, height)| Resolution { width, height });
        let fraction = structure.get::<gst::Fraction>("framerate").ok();
        let fps = fraction.filter(|f| f.numer() > 0 && f.denom() > 0);
        let fps = fps.map(|f| f64::from(f.numer()) / f64::from(f.denom()));
        Some(Self { native, caps: caps.to_owned(), size, fps, epoch, b_frames: false })
    }

    /// How its pictures get into an outlet, when they are `changed` on the way or not.
    pub fn route(&self, lane: Lane, changed: bool) -> Route {
        route(self.native, self.b_frames, lane, changed)
    }

    /// `H.264 1280x720`, `raw NV12 640x480`.
    pub fn words(&self) -> String {
        let kind = match self.native {
            Native::Raw => {
                let structure = self.caps.structure(0);
                let pixels = structure.and_then(|s| s.get::<String>("format").ok()).unwrap_or_default();
                format!("raw {pixels}").trim_end().to_owned()
            }
            Native::Encoded(Encoded::H264) => "H.264".into(),
            Native::Encoded(Encoded::H265) => "H.265".into(),
            Native::Encoded(Encoded::Jpeg) => "JPEG".into(),
        };
        self.size.map_or(kind.clone(), |size| format!("{kind} {size}"))
    }
}

/// Ties the running time of the source's pipeline to the clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// The run of the source that this is about.
    pub epoch: u64,
    pub pts: Duration,
    pub wall: SystemTime,
    pub instant: Instant,
}

impl Anchor {
    /// When the picture with `pts` was captured.
    pub fn captured(&self, pts: Duration) -> (SystemTime, Instant) {
        match pts.checked_sub(self.pts) {
            Some(later) => (self.wall + later, self.instant + later),
            None => {
                let earlier = self.pts - pts;
                let instant = self.instant.checked_sub(earlier).unwrap_or(self.instant);
                (self.wall.checked_sub(earlier).unwrap_or(self.wall), instant)
            }
        }
    }
}

/// What is done to pictures now. Whoever gives a picture to an outlet holds it meanwhile: after a change no
/// picture of before it gets out.
#[derive(Debug)]
pub struct Current {
    pub transforms: Arc<Transforms>,
    /// Who said so.
    pub origin: Origin,
    /// Another one for every change that encoders begin anew for.
    pub revision: u64,
    gate: Gate,
}

/// Pictures up to this one were perhaps not masked as they are to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    pub number: u64,
    /// The run of the source.
    pub epoch: u64,
    pub pts: Duration,
}

impl Current {
    pub fn gate(&self) -> Gate {
        self.gate
    }
}

#[derive(Debug)]
pub struct Shared {
    pub camera: Camera,
    /// Where the camera is now; see [`Located`].
    pub located: Option<Located>,
    current: Mutex<Current>,
    /// The revision, for the conductor.
    pub revised: watch::Sender<u64>,
    built: Mutex<Vec<Built>>,
    /// Held by whoever changes the transforms: one at a time.
    changing: Mutex<()>,
    pub jpeg: Arc<Outlet>,
    pub h264: Arc<Outlet>,
    pub realtime: Arc<Outlet>,
    /// An encoded source's own pictures, for those who decode them.
    pub native: Arc<Outlet>,
    /// What the source gives; `None` while it gives nothing.
    pub format: watch::Sender<Option<Format>>,
    raw: Mutex<Vec<(u64, gst_app::AppSrc)>>,
    /// Of the newest picture, with the greatest time of its run: pictures may come out of their order.
    anchor: Mutex<Option<(Anchor, Duration)>>,
    next: AtomicU64,
    keyframes: Mutex<Keyframes>,
    pipelines: Mutex<Vec<gst::glib::WeakRef<gst::Pipeline>>>,
    announced: Mutex<Vec<String>>,
}

/// Whom to ask for an IDR picture, and when that was done last.
#[derive(Debug, Default)]
struct Keyframes {
    encoder: Option<gst::glib::WeakRef<gst::Element>>,
    asked: Option<Instant>,
}

impl Shared {
    pub fn new(camera: Camera, located: Option<Located>, told: Told) -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::new(Current {
                transforms: Arc::new(told.transforms),
                origin: told.origin,
                revision: 0,
                gate: Gate::default(),
            }),
            revised: watch::Sender::new(0),
            built: Mutex::default(),
            changing: Mutex::default(),
            camera,
            located,
            jpeg: Outlet::new(Codec::Jpeg),
            h264: Outlet::new(Codec::H264),
            realtime: Outlet::new(Codec::H264),
            native: Outlet::new(Codec::H264),
            format: watch::Sender::new(None),
            raw: Mutex::default(),
            anchor: Mutex::default(),
            next: AtomicU64::new(1),
            keyframes: Mutex::default(),
            pipelines: Mutex::default(),
            announced: Mutex::default(),
        })
    }

    pub fn current(&self) -> MutexGuard<'_, Current> {
        lock(&self.current)
    }

    pub fn named(&self) -> Named {
        Named { id: self.camera.id.clone(), name: self.camera.display_name().to_owned() }
    }

    /// Remembers an encoder's stages, and sets on them what is to be done now: it may have changed since the
    /// encoder was planned. Before its first picture.
    ///
    /// # Errors
    /// They cannot do what they have to.
    pub fn built(&self, built: Built) -> Result<(), Failure> {
        {
            let mut all = lock(&self.built);
            all.retain(Built::lives);
            all.push(built.clone());
        }
        self.settle(|transforms| built.set(transforms, &self.named()))
    }

    /// Sets what is to be done until it is still that afterwards: a change may come in between, and be set before
    /// this sets what was. Not under `changing`, whose holder may wait for an encoder that hangs.
    fn settle(&self, mut set: impl FnMut(&Transforms) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let transforms = Arc::clone(&self.current().transforms);
            let done = set(&transforms);
            if Arc::ptr_eq(&transforms, &self.current().transforms) {
                return done;
            }
        }
    }

    /// What going over to `new` would do.
    pub fn impact(&self, new: &Transforms) -> Impact {
        let old = Arc::clone(&self.current().transforms);
        let native = self.format.borrow().as_ref().map(|format| format.native);
        let fit = lock(&self.built).iter().filter(|built| built.lives()).all(|built| built.takes(new));
        transforms::impact(&old, new, native, fit)
    }

    /// Goes over to `new`. When it returns, nothing leaves that is not as it says.
    ///
    /// # Errors
    /// Encoders would have to begin anew, and `restart` does not allow that; nothing has changed.
    pub fn transform(&self, told: Told, restart: bool) -> Result<Impact, Impact> {
        let Told { transforms: new, origin } = told;
        let _one = lock(&self.changing);
        let mut impact = self.impact(&new);
        if matches!(impact, Impact::Restart(_)) && !restart {
            return Err(impact);
        }
        let new = Arc::new(new);
        let hides = {
            let mut current = self.current();
            let hides = current.transforms.rectangles() != new.rectangles();
            current.transforms = Arc::clone(&new);
            current.origin = origin;
            hides
        };
        // Never with the lock above: streaming threads hold what elements lock while they wait for it.
        let running: Vec<Built> = lock(&self.built).iter().filter(|built| built.lives()).cloned().collect();
        if running.iter().any(|built| built.set(&new, &self.named()).is_err()) {
            impact = Impact::Restart("a running encoder does not take it");
        }
        let mut current = self.current();
        if matches!(impact, Impact::Restart(_)) {
            current.revision += 1;
        }
        if hides || matches!(impact, Impact::Restart(_)) {
            let anchor = *lock(&self.anchor);
            let number = current.gate.number + 1;
            current.gate = match anchor {
                Some((Anchor { epoch, .. }, pts)) => Gate { number, epoch, pts },
                None => Gate { number, ..Gate::default() },
            };
            for outlet in [&self.jpeg, &self.h264, &self.realtime] {
                outlet.retract();
            }
        }
        self.revised.send_replace(current.revision);
        Ok(impact)
    }

    /// Remembers a pipeline without keeping it alive.
    pub fn watch_pipeline(&self, pipeline: &gst::Pipeline) {
        let mut pipelines = lock(&self.pipelines);
        pipelines.retain(|weak| weak.upgrade().is_some());
        pipelines.push(pipeline.downgrade());
    }

    /// The pipelines that exist now: the source's and the encoders'.
    pub fn pipelines(&self) -> Vec<gst::Pipeline> {
        lock(&self.pipelines).iter().filter_map(|weak| weak.upgrade()).collect()
    }

    /// Notes a stream that the source offers, taken or not: `audio MPEG4-GENERIC`.
    pub fn announce(&self, stream: String) {
        let mut announced = lock(&self.announced);
        // A camera offers a handful; no peer makes this grow.
        if announced.len() < 16 && !announced.contains(&stream) {
            announced.push(stream);
        }
    }

    /// What the source offers, since it was first opened.
    pub fn announced(&self) -> Vec<String> {
        lock(&self.announced).clone()
    }

    pub fn outlet(&self, lane: Lane) -> &Arc<Outlet> {
        match lane {
            Lane::Jpeg => &self.jpeg,
            Lane::H264 => &self.h264,
            Lane::Realtime => &self.realtime,
        }
    }

    /// A number that this camera has not used: for epochs and for takers of raw pictures.
    pub fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands raw pictures to `appsrc` until the guard is dropped.
    pub fn take_raw(self: &Arc<Self>, appsrc: gst_app::AppSrc) -> RawGuard {
        let key = self.unique();
        lock(&self.raw).push((key, appsrc));
        RawGuard { shared: Arc::clone(self), key }
    }

    /// Gives one raw picture to everybody who takes them. Only references are copied.
    pub fn give_raw(&self, buffer: &gst::Buffer, caps: &gst::CapsRef) {
        for (_, appsrc) in lock(&self.raw).iter() {
            if appsrc.caps().is_none_or(|have| *have != *caps) {
                appsrc.set_caps(Some(&caps.to_owned()));
            }
            // A taker that is being stopped answers flushing: its picture is nobody's loss.
            let _ = appsrc.push_buffer(buffer.clone());
        }
    }

    pub fn set_anchor(&self, anchor: Anchor) {
        let mut held = lock(&self.anchor);
        let before = held.filter(|(before, _)| before.epoch == anchor.epoch);
        *held = Some((anchor, before.map_or(anchor.pts, |(_, greatest)| greatest.max(anchor.pts))));
    }

    /// The anchor of that run of the source, while it is the present one.
    pub fn anchor(&self, epoch: u64) -> Option<Anchor> {
        lock(&self.anchor).map(|(anchor, _)| anchor).filter(|anchor| anchor.epoch == epoch)
    }

    pub fn set_encoder(&self, encoder: Option<&gst::Element>) {
        lock(&self.keyframes).encoder = encoder.map(ObjectExt::downgrade);
    }

    /// Asks the H.264 encoder for an IDR picture. A passed-through camera has its own rhythm.
    pub fn request_keyframe(&self, now: Instant) {
        let encoder = {
            let mut keyframes = lock(&self.keyframes);
            if keyframes.asked.is_some_and(|asked| now.saturating_duration_since(asked) < KEYFRAME_INTERVAL) {
                return;
            }
            let Some(encoder) = keyframes.encoder.as_ref().and_then(|weak| weak.upgrade()) else { return };
            keyframes.asked = Some(now);
            encoder
        };
        // To the encoder's own pad: an event sent through the element would go to the source as well.
        if let Some(pad) = encoder.static_pad("src") {
            pad.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
    }
}

/// Ends the hand-out of raw pictures when dropped.
#[derive(Debug)]
pub struct RawGuard {
    shared: Arc<Shared>,
    key: u64,
}

impl Drop for RawGuard {
    fn drop(&mut self) {
        lock(&self.shared.raw).retain(|(key, _)| *key != self.key);
    }
}

/// The data under these locks is whole after every statement: a panic elsewhere cannot have torn it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::transforms::Stage;
    use crate::config::model::Source;
    use crate::config::transforms::Mask;
    use crate::pipelines::{Library, build};

    #[test]
    fn an_encoder_that_is_being_built_while_a_mask_is_set_has_the_mask() {
        gst::init().unwrap();
        let camera = Camera::new("porch", Source::Test {});
        let told = Told::configured(&camera);
        let shared = Shared::new(camera, None, told.clone());
        let named = shared.named();
        let chain = Stage::Mask.chain(&Library::embedded(), &told.transforms, &named).unwrap().unwrap();
        let bin = build::bin(&chain).unwrap();
        let pipeline = gst::Pipeline::new();
        let built = Built::new(&pipeline, &[(Stage::Mask, bin.clone())]);
        shared.built(built.clone()).unwrap();
        let rectangles = || bin.by_name("mask").unwrap().property::<Option<String>>("rectangles");
        assert_eq!(rectangles().unwrap_or_default(), "");

        let mask = Mask { name: None, enabled: true, x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
        let mut masked = Some(Transforms { masks: vec![mask], ..Transforms::default() });
        let settled = shared.settle(|transforms| {
            // What is to be done was read; now somebody sets the mask, and is told that it holds.
            if let Some(masked) = masked.take() {
                assert_eq!(shared.transform(Told::by_api(masked), false), Ok(Impact::Live));
                assert_eq!(rectangles().as_deref(), Some("0,0,0.5,0.5"));
            }
            built.set(transforms, &named)
        });
        settled.unwrap();
        assert_eq!(rectangles().as_deref(), Some("0,0,0.5,0.5"));
    }
}
