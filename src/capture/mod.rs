//! One camera: its source, its tee, its encoders, its outlets.
//!
//! ```text
//! source pipeline ─► tap ─┬─ raw ────────► encoder pipeline ─► outlet
//!    (fragment, tail)     ├─ passed through ─────────────────► outlet
//!                         └─ encoded ─► decoder + encoder ───► outlet
//! ```
//! Source and encoders are supervised each on its own; the [`conductor`] tells them when they are wanted.
//! [`Capture`] is what the rest of the house holds. It outlives every pipeline behind it.

mod bambu;
pub mod choice;
mod conductor;
mod container;
pub mod device;
pub mod discover;
mod dynamic;
mod encoder;
mod jpeg;
pub(crate) mod knock;
pub mod outlet;
mod pin;
pub mod plan;
mod poll;
pub(crate) mod run;
mod shared;
mod skew;
mod source;
pub mod status;
mod tap;
mod timeline;
pub mod transforms;
pub mod v4l2;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gstreamer::prelude::*;
use tokio_util::task::AbortOnDropHandle;

use crate::config::model::{Camera, Source};
use crate::config::transforms::Transforms;
use crate::pipelines::Library;
use crate::supervision::{self, Handle, Snapshot, Timing, Vitals};
pub use conductor::LINGER;

use choice::{Encoded, Lane, Native, Route};
use encoder::{EncoderSubject, Newest};
use outlet::Outlet;
use shared::Shared;
use source::SourceSubject;
use status::{CameraStatus, OutletStatus};
pub use transforms::{Impact, Origin, Told};

/// Where a camera that comes and goes is to be opened: the source to use now, `None` while it is away. It
/// stands in for the source of the camera's settings, so that the camera outlives its device's number.
pub type Located = tokio::sync::watch::Receiver<Option<Source>>;

/// The handle of one camera. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Capture(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// None for a camera without a pipeline behind it.
    engine: Option<Engine>,
}

#[derive(Debug)]
struct Engine {
    source: Handle,
    jpeg: Encoder,
    h264: Encoder,
    /// For a camera with B-frames only.
    realtime: Encoder,
    _conductor: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Encoder {
    handle: Handle,
    newest: Newest,
}

/// What captures are made with.
#[derive(Clone, Debug)]
pub struct Means {
    pub library: Arc<Library>,
    pub timing: Timing,
    pub vitals: Vitals,
    /// Where DOT graphs of failed pipelines are left.
    pub graphs: Option<PathBuf>,
    /// How long an encoder goes on after its last consumer left; usually [`LINGER`].
    pub linger: Duration,
}

impl Capture {
    /// Starts to supervise `camera`. Call it inside the runtime.
    pub fn start(camera: Camera, means: &Means) -> Self {
        let told = Told::configured(&camera);
        Self::start_told(camera, None, told, means)
    }

    /// The same for one that comes and goes, where it is `located`, and with its pictures as it is `told`,
    /// from the first one on.
    pub fn start_told(camera: Camera, located: Option<Located>, told: Told, means: &Means) -> Self {
        Self::begin(Shared::new(camera, located, told), means)
    }

    fn begin(shared: Arc<Shared>, means: &Means) -> Self {
        let camera = &shared.camera;
        let (transforms, origin) = {
            let current = shared.current();
            (Arc::clone(&current.transforms), current.origin.clone())
        };
        if let Origin::Caution(why) = origin {
            tracing::error!(camera = camera.id, "the whole picture is covered: {why}");
        } else if let Some(words) = transforms::words(&transforms) {
            tracing::info!(
                camera = camera.id,
                "pictures are changed by {words}: a stream that comes encoded is decoded and encoded again"
            );
        }
        let spawn_encoder = |lane| {
            let (library, graphs) = (Arc::clone(&means.library), means.graphs.clone());
            let subject = EncoderSubject::new(Arc::clone(&shared), library, graphs, lane);
            let newest = subject.newest();
            let handle = supervision::spawn(subject, means.timing.clone(), &means.vitals);
            Encoder { handle, newest }
        };
        let [jpeg, h264, realtime] = [Lane::Jpeg, Lane::H264, Lane::Realtime].map(spawn_encoder);
        let (library, graphs) = (Arc::clone(&means.library), means.graphs.clone());
        let subject = SourceSubject::new(Arc::clone(&shared), library, graphs);
        let source = supervision::spawn(subject, means.timing.clone(), &means.vitals);
        let conductor = conductor::run(
            Arc::clone(&shared),
            source.clone(),
            [(Lane::Jpeg, &jpeg), (Lane::H264, &h264), (Lane::Realtime, &realtime)]
                .map(|(lane, encoder)| (lane, encoder.handle.clone())),
            means.linger,
        );
        let conductor = AbortOnDropHandle::new(tokio::spawn(conductor));
        let engine = Engine { source, jpeg, h264, realtime, _conductor: conductor };
        Self(Arc::new(Inner { shared, engine: Some(engine) }))
    }

    /// A camera without a pipeline: whoever holds it pushes pictures into its outlets.
    pub fn detached(camera: Camera) -> Self {
        let told = Told::configured(&camera);
        Self(Arc::new(Inner { shared: Shared::new(camera, None, told), engine: None }))
    }

    pub fn camera(&self) -> &Camera {
        &self.0.shared.camera
    }

    pub fn id(&self) -> &str {
        &self.0.shared.camera.id
    }

    /// Whether both are the same camera, not only one of the same id.
    pub fn same(&self, other: &Capture) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether its source is the one of its settings, wherever that is plugged in.
    pub fn is_fixed(&self) -> bool {
        self.0.shared.located.is_none()
    }

    pub fn jpeg(&self) -> &Arc<Outlet> {
        &self.0.shared.jpeg
    }

    pub fn h264(&self) -> &Arc<Outlet> {
        &self.0.shared.h264
    }

    /// H.264 without B-frames: what WebRTC can take. The same pictures as [`Capture::h264`] unless the
    /// camera sends B-frames; then they are encoded again, for this outlet only.
    pub fn realtime(&self) -> &Arc<Outlet> {
        &self.0.shared.realtime
    }

    /// What is done to its pictures now.
    pub fn transforms(&self) -> Transforms {
        (*self.0.shared.current().transforms).clone()
    }

    /// Who said so.
    pub fn transforms_origin(&self) -> Origin {
        self.0.shared.current().origin.clone()
    }

    /// Changes what is done to its pictures. When it returns, no picture leaves that is not as it is told.
    /// Takes locks of running elements: not for an asynchronous task itself.
    ///
    /// # Errors
    /// Encoders would have to begin anew, and `restart` does not allow that; nothing has changed.
    pub fn transform(&self, told: Told, restart: bool) -> Result<Impact, Impact> {
        let done = self.0.shared.transform(told, restart)?;
        let words = transforms::words(&self.transforms()).unwrap_or_else(|| "nothing".into());
        match done {
            Impact::Live => tracing::info!(camera = self.id(), "pictures are changed by {words}"),
            Impact::Restart(why) => {
                tracing::info!(
                    camera = self.id(),
                    "pictures are changed by {words}; encoders begin anew: {why}"
                );
            }
        }
        Ok(done)
    }

    /// Tries again at once if the camera waits to be tried.
    pub fn poke(&self) {
        if let Some(engine) = &self.0.engine {
            engine.source.poke();
        }
    }

    /// Ends the present attempt, if there is one, and begins anew.
    pub fn restart(&self) {
        if let Some(engine) = &self.0.engine {
            engine.source.restart();
        }
    }

    /// Asks the H.264 encoder for an IDR picture, at most every 300 ms. A passed-through camera is not
    /// asked.
    pub fn request_keyframe(&self) {
        self.0.shared.request_keyframe(Instant::now());
    }

    /// Ends everything of this camera; returns when it is gone or given up. Its viewers' streams stay
    /// silent from here on.
    pub async fn shutdown(&self) {
        if let Some(engine) = &self.0.engine {
            tokio::join!(
                engine.source.shutdown(),
                engine.jpeg.handle.shutdown(),
                engine.h264.handle.shutdown(),
                engine.realtime.handle.shutdown()
            );
        }
    }

    /// The source's lifecycle as it changes; `None` without a pipeline.
    pub fn changes(&self) -> Option<tokio::sync::watch::Receiver<Snapshot>> {
        Some(self.0.engine.as_ref()?.source.changes())
    }

    /// The names of all elements in this camera's pipelines, each with its pipeline: `camera-porch/h264parse`.
    pub fn elements(&self) -> Vec<String> {
        let mut names = Vec::new();
        for pipeline in self.0.shared.pipelines() {
            for element in pipeline.iterate_recurse().into_iter().flatten() {
                let factory = element.factory().map(|factory| factory.name().to_string());
                names.extend(factory.map(|factory| format!("{}/{factory}", pipeline.name())));
            }
        }
        names
    }

    /// The streams that the camera offers, taken or not: `video H264`, `audio MPEG4-GENERIC`. Empty for
    /// sources that have only one.
    pub fn announced(&self) -> Vec<String> {
        self.0.shared.announced()
    }

    pub fn status(&self) -> CameraStatus {
        let shared = &self.0.shared;
        let format = shared.format.borrow().clone();
        let engine = self.0.engine.as_ref();
        let idle = || Snapshot::idle(SystemTime::now());
        let source = engine.map(|engine| &engine.source);
        let snapshot = source.map_or_else(idle, Handle::snapshot);
        let (transforms, origin) = {
            let current = shared.current();
            (Arc::clone(&current.transforms), current.origin.clone())
        };
        let route = |lane| format.as_ref().map(|format| format.route(lane, transforms.any()));
        let outlet = |lane: Lane, encoder: Option<&Encoder>| {
            let passed = route(lane) == Some(Route::Passthrough);
            let element = encoder.and_then(|encoder| encoder.newest.element());
            let (lifecycle, encoder) = match encoder {
                _ if passed => (snapshot.clone(), Some("passthrough".to_owned())),
                Some(encoder) => (encoder.handle.snapshot(), element.map(str::to_owned)),
                None => (idle(), None),
            };
            OutletStatus { encoder, lifecycle, counters: shared.outlet(lane).counters() }
        };
        let h264 = outlet(Lane::H264, engine.map(|engine| &engine.h264));
        let realtime = match route(Lane::Realtime) {
            None | Some(Route::Shared) => {
                OutletStatus { counters: shared.realtime.counters(), ..h264.clone() }
            }
            Some(_) => outlet(Lane::Realtime, engine.map(|engine| &engine.realtime)),
        };
        CameraStatus {
            id: shared.camera.id.clone(),
            name: shared.camera.display_name().to_owned(),
            source: shared.camera.source.kind(),
            fps: source.map_or(0.0, Handle::fps),
            frames: source.map_or(0, Handle::frames),
            frame_age_seconds: source
                .and_then(|source| source.frame_age(Instant::now()))
                .map(|age| age.as_secs_f64()),
            format: format.as_ref().map(shared::Format::words),
            resolution: format.as_ref().and_then(|f| f.size).map(|size| size.to_string()),
            notes: notes(&transforms, &origin, format.as_ref()),
            jpeg: outlet(Lane::Jpeg, engine.map(|engine| &engine.jpeg)),
            h264,
            realtime,
            lifecycle: snapshot,
        }
    }
}

/// What is re-encoded, and why; what to know about a stream that is not.
fn notes(transforms: &Transforms, origin: &Origin, format: Option<&shared::Format>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Origin::Caution(why) = origin {
        notes.push(format!("Its whole picture is covered: {why}."));
    }
    let Some((Native::Encoded(encoded), b_frames)) = format.map(|format| (format.native, format.b_frames))
    else {
        return notes;
    };
    let changes = transforms::words(transforms);
    match encoded {
        Encoded::H265 => {
            notes.push("The camera sends H.265: it is re-encoded to H.264 for HLS and WebRTC.".to_owned())
        }
        Encoded::H264 => {}
        Encoded::Jpeg => {
            notes.push(
                "The camera sends JPEGs: they are encoded to H.264 for HLS and WebRTC while somebody watches."
                    .to_owned(),
            );
        }
    }
    if let Some(changes) = &changes {
        notes.push(format!("Its stream is decoded and encoded again for {changes}."));
    } else if encoded == Encoded::H264 && b_frames {
        notes.push("The camera sends B-frames: HLS passes them through.".to_owned());
        notes.push(
            "WebRTC cannot carry B-frames: the camera is re-encoded for it while somebody watches; switch \
             B-frames off in the camera (often called H.264 profile baseline) to save that."
                .to_owned(),
        );
    }
    notes
}
