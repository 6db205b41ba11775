//! Published outputs: cameras pushed to servers elsewhere, over LiveKit, WHIP, RTMP or RTSP (MediaMTX).
//!
//! ```text
//! outlet ─► subscription ─► appsrc ─► fragment (packetizer or muxer, sink) ─► peer
//! ```
//! Each output is supervised on its own, with a pipeline, a back-off, a knock and counters of its own, and
//! takes what the camera's encoder makes anyway. A peer that is dead, slow or refusing costs that output its
//! pictures and nobody else anything. While the camera gives nothing, nothing is tried.

mod feed;
pub mod livekit_token;
pub mod mediamtx;
mod mourning;
mod plan;
mod rooms;
mod rtmp;
pub mod status;
mod subject;
mod timeline;
mod unacked;
mod webrtc;
mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::capture::{Capture, Means};
use crate::config::Config;
use crate::supervision::published::Published;
use crate::supervision::{self, Handle, State, any_change};
use mediamtx::Hub;
use plan::{Plan, Way};
use status::{Counters, OutputStatus};
use subject::{Common, Farewells, Memory, PublisherSubject};
use unacked::Connections;

/// A camera that gives nothing for this long is waited for, and its outputs with it.
const CAMERA_GRACE: Duration = Duration::from_millis(1500);
/// How often the file of a refused token is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the elements known that are linked into this program. After GStreamer was started; again is no harm.
///
/// # Errors
/// In words.
pub fn init() -> Result<(), String> {
    crate::tls::install();
    // At finer levels they write stream keys, and GST_DEBUG is switched on by people who do not know.
    gstreamer::log::set_threshold_for_name("rtmp*", gstreamer::DebugLevel::Warning);
    for name in ["rtspclientsink", "srt*"] {
        gstreamer::log::set_threshold_for_name(name, gstreamer::DebugLevel::None);
    }
    gstrswebrtc::plugin_register_static()
        .map_err(|error| format!("the WebRTC elements cannot be registered: {error}"))
}

/// All outputs. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Publishers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    list: watch::Sender<Arc<[Arc<Output>]>>,
    cameras: watch::Receiver<Arc<[Capture]>>,
    farewells: Farewells,
    connections: Connections,
}

#[derive(Debug)]
struct Output {
    plan: Plan,
    handle: Handle,
    counters: Arc<Counters>,
    memory: Arc<Memory>,
    hub: Option<Hub>,
    note: Arc<Mutex<Option<String>>>,
    _tending: AbortOnDropHandle<()>,
}

impl Publishers {
    /// No outputs, for a house without any.
    pub fn none() -> Self {
        let list = watch::Sender::new(Arc::from([]));
        let cameras = watch::Sender::new(Arc::from([])).subscribe();
        Self(Arc::new(Inner {
            list,
            cameras,
            farewells: Farewells::default(),
            connections: Connections::default(),
        }))
    }

    /// Starts all outputs of a configuration; `cameras` is the list of cameras as it changes. Call it
    /// inside the runtime.
    pub fn start(config: &Config, cameras: watch::Receiver<Arc<[Capture]>>, means: &Means) -> Self {
        let list = watch::Sender::new(Arc::from([]));
        let publishers = Self(Arc::new(Inner {
            list,
            cameras,
            farewells: Farewells::default(),
            connections: Connections::default(),
        }));
        let list = config.publish.iter().map(|publish| publishers.output(Plan::of(publish, config), means));
        publishers.0.list.send_replace(list.collect());
        publishers
    }

    /// Brings the outputs to another configuration: what is equal goes on undisturbed.
    pub async fn apply(&self, config: &Config, means: &Means) {
        let present = self.all();
        let plans: Vec<Plan> = config.publish.iter().map(|publish| Plan::of(publish, config)).collect();
        let gone = present.iter().filter(|output| !plans.contains(&output.plan));
        futures_util::future::join_all(gone.map(|output| output.handle.shutdown())).await;
        let list = plans.into_iter().map(|plan| {
            let kept = present.iter().find(|output| output.plan == plan);
            kept.map_or_else(|| self.output(plan, means), Arc::clone)
        });
        self.0.list.send_replace(list.collect());
    }

    /// Ends all; returns when each is gone or given up.
    pub async fn shutdown(&self) {
        let all = self.all();
        futures_util::future::join_all(all.iter().map(|output| output.handle.shutdown())).await;
    }

    pub fn statuses(&self) -> Vec<OutputStatus> {
        self.all().iter().map(|output| output.status()).collect()
    }

    /// Tries an output again at once, because a person asks for it: one that left its identity to somebody
    /// else takes it back. Whether there is such an output.
    pub fn retry(&self, id: &str) -> bool {
        let all = self.all();
        let Some(output) = all.iter().find(|output| output.plan.id == id) else { return false };
        output.memory.forget();
        output.handle.restart();
        true
    }

    /// Resolves when some output has changed its state, or the list of outputs is another one.
    pub async fn changed(&self) {
        let mut list = self.0.list.subscribe();
        list.mark_unchanged();
        let all = self.all();
        let any = any_change(all.iter().map(|output| output.handle.changes()));
        tokio::select! {
            () = any => {}
            _ = list.changed() => {}
        }
    }

    fn all(&self) -> Arc<[Arc<Output>]> {
        Arc::clone(&self.0.list.borrow())
    }

    fn output(&self, plan: Plan, means: &Means) -> Arc<Output> {
        let (camera, present) = watch::channel(None);
        let (counters, memory) = (Arc::<Counters>::default(), Arc::<Memory>::default());
        let hub = match &plan.way {
            Ok(Way::Mediamtx(mediamtx)) => Some(Hub::of(mediamtx)),
            _ => None,
        };
        let common = Common {
            hub: hub.clone(),
            plan: plan.clone(),
            library: Arc::clone(&means.library),
            graphs: means.graphs.clone(),
            counters: Arc::clone(&counters),
            memory: Arc::clone(&memory),
            farewells: self.0.farewells.clone(),
            connections: self.0.connections.clone(),
            start_timeout: means.timing.start_timeout,
            camera: present,
        };
        let subject = PublisherSubject::new(Arc::new(common));
        let handle = supervision::spawn(subject, means.timing.clone(), &means.vitals);
        let note = Arc::default();
        let tending = Tending {
            plan: plan.clone(),
            cameras: self.0.cameras.clone(),
            camera,
            handle: handle.clone(),
            memory: Arc::clone(&memory),
            note: Arc::clone(&note),
        };
        let tending = AbortOnDropHandle::new(tokio::spawn(tending.run()));
        Arc::new(Output { plan, handle, counters, memory, hub, note, _tending: tending })
    }
}

impl Output {
    fn status(&self) -> OutputStatus {
        let member = self.plan.member();
        OutputStatus {
            id: self.plan.id.clone(),
            camera: self.plan.camera.clone(),
            kind: self.plan.kind,
            target: self.plan.target(),
            lifecycle: self.handle.snapshot(),
            fps: self.handle.fps(),
            frames: self.handle.frames(),
            bytes: self.counters.bytes.load(std::sync::atomic::Ordering::Relaxed),
            dropped: self.counters.dropped.load(std::sync::atomic::Ordering::Relaxed),
            bitrate_kbps: self.counters.bitrate_kbps(Instant::now()),
            encoder: "shared",
            room: member.map(|member| member.room.clone()),
            identity: member.map(|member| member.identity.clone()),
            mediamtx: self.hub.as_ref().map(Hub::status),
            note: self.note.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl From<OutputStatus> for Published {
    fn from(status: OutputStatus) -> Self {
        let OutputStatus { id, camera, kind, lifecycle, .. } = status;
        Self { id, camera, kind, lifecycle }
    }
}

/// Keeps an output wanted while its camera gives pictures, whichever camera that is after a reload.
struct Tending {
    plan: Plan,
    cameras: watch::Receiver<Arc<[Capture]>>,
    camera: watch::Sender<Option<Capture>>,
    handle: Handle,
    memory: Arc<Memory>,
    note: Arc<Mutex<Option<String>>>,
}

impl Tending {
    async fn run(mut self) {
        loop {
            let list = Arc::clone(&self.cameras.borrow_and_update());
            let capture = list.iter().find(|capture| capture.id() == self.plan.camera).cloned();
            drop(list);
            self.camera.send_replace(capture.clone());
            let others = self.cameras.clone();
            tokio::select! {
                () = self.tend(capture.as_ref()) => {}
                () = another(others, &self.plan.camera, capture.as_ref()) => {}
            }
            self.want(false, Some("its camera is being changed"));
            if self.cameras.has_changed().is_err() {
                return;
            }
        }
    }

    /// Follows one camera for ever.
    async fn tend(&self, capture: Option<&Capture>) {
        let Some(capture) = capture else {
            self.want(false, Some("its camera does not exist"));
            return std::future::pending().await;
        };
        let outlet = match self.plan.way {
            Ok(Way::Rtmp(_) | Way::Mediamtx(_)) => capture.h264(),
            _ => capture.realtime(),
        };
        // Whoever publishes always wants pictures: that opens a camera which is closed when nobody looks.
        let _permit = outlet.demand();
        let watching = async {
            loop {
                self.want(false, Some("it waits for pictures from its camera"));
                let since = Instant::now();
                let mut latest = outlet.latest();
                let fresh = latest.wait_for(|unit| unit.as_ref().is_some_and(|unit| unit.captured >= since));
                if fresh.await.is_err() {
                    return std::future::pending().await;
                }
                drop(latest);
                self.want(true, None);
                gone(capture).await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = self.look_at_the_pass() => {}
        }
    }

    /// A refused output tries again when its token's file is another one.
    async fn look_at_the_pass(&self) {
        let Some(path) = self.plan.pass_file().cloned() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.handle.snapshot().state != State::Refused {
                continue;
            }
            let looked = path.clone();
            let Ok(stamp) = tokio::task::spawn_blocking(move || subject::stamp(&looked)).await else {
                continue;
            };
            let mut read = self.memory.stamp.lock().unwrap_or_else(PoisonError::into_inner);
            if stamp.is_some() && stamp != *read {
                *read = stamp;
                drop(read);
                tracing::info!("output {}: {} has changed: trying again", self.plan.id, path.display());
                self.memory.forget();
                self.handle.restart();
            }
        }
    }

    fn want(&self, wanted: bool, note: Option<&str>) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note.map(str::to_owned);
        self.handle.demand(wanted);
    }
}

/// Resolves when `id` is another camera than this one, or the list is gone.
async fn another(mut cameras: watch::Receiver<Arc<[Capture]>>, id: &str, present: Option<&Capture>) {
    loop {
        if cameras.changed().await.is_err() {
            return std::future::pending().await;
        }
        let list = cameras.borrow_and_update();
        let found = list.iter().find(|capture| capture.id() == id);
        let same = match (found, present) {
            (Some(found), Some(present)) => found.same(present),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return;
        }
    }
}

/// Resolves when the camera has given nothing for a while.
async fn gone(capture: &Capture) {
    let Some(mut changes) = capture.changes() else { return std::future::pending().await };
    loop {
        if changes.wait_for(|snapshot| snapshot.state != State::Live).await.is_err() {
            return std::future::pending().await;
        }
        let back = changes.wait_for(|snapshot| snapshot.state == State::Live);
        let over = tokio::time::timeout(CAMERA_GRACE, back).await.map(|back| back.is_err());
        match over {
            Ok(false) => {}
            Ok(true) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
