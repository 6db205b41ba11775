//! HTTP: routes, answers, the accept loop. The only place that knows warp.
//!
//! [`routes`] is the table of all paths; [`service`] lets a request in and answers it by that table, [`dispatch`] has
//! the function of each path. Areas have a file each:
//! [`streams`] (MJPEG, snapshots), [`whep`] (WebRTC signalling), [`livekit`], [`login`], [`system`], [`probes`],
//! [`metrics`], [`cameras`], [`controls`], [`recordings`], [`files`], [`transforms`], [`stepper`], [`printers`],
//! [`fleet`], [`actions`], [`events`], [`external`], [`assets`] (the dashboard),
//! [`page`] (the plain one), [`openapi`]; [`door`] asks who comes in.
//! Nothing here waits for a camera except MJPEG, snapshot and WebRTC requests, which are bounded.

mod actions;
mod answer;
mod assets;
mod body;
mod cameras;
mod controls;
mod cors;
mod dispatch;
mod door;
mod events;
mod external;
mod files;
mod fleet;
mod hosts;
mod livekit;
mod login;
mod metrics;
mod openapi;
mod page;
mod printers;
mod probes;
mod recordings;
pub mod routes;
mod rpc;
pub mod server;
mod stepper;
mod streams;
mod system;
mod transforms;
mod websocket;
mod whep;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::{Filter, Reply as _};

use crate::access::limit::Limiter;
use crate::access::{Access, Entered};
use crate::api::rpc::{House, Rpc};
use crate::cameras::Cameras;
use crate::capture::Capture;
use crate::config::Config;
use crate::control::Control;
use crate::control::external::External;
use crate::fleet::Fleet;
use crate::motion::Motion;
use crate::printers::Printers;
use crate::publish::Publishers;
use crate::record::Recordings;
use crate::serve::hls::Hls;
use crate::serve::mjpeg::Mjpeg;
use crate::serve::rtsp::Rtsp;
use crate::serve::snapshot::Snapshots;
use crate::serve::whep::Whep;
use crate::supervision::published::PublishedNow;
use crate::telemetry::system::System;
pub use actions::Again;
use answer::{Fault, Response};
use dispatch::dispatch;
pub use events::Events;
use routes::{Found, Target};

/// What routes are handed. Cloning it clones references.
#[derive(Clone, Debug)]
pub struct AppState {
    pub cameras: Cameras,
    /// The effective configuration; a reload sends a new one.
    pub config: watch::Receiver<Arc<Config>>,
    /// What can be asked of the house.
    pub control: Control,
    /// Cameras that are added by API.
    pub external: External,
    /// The connections of JSON-RPC.
    pub rpc: Rpc,
    /// Who may do what.
    pub access: Access,
    /// Cancelled when the service stops: streams end, waits give up, no connection is accepted.
    pub stop: CancellationToken,
    pub mjpeg: Mjpeg,
    pub snapshots: Snapshots,
    /// HLS of the cameras; a reload of its settings sends a new one.
    pub hls: watch::Receiver<Hls>,
    pub whep: Whep,
    /// None when it is off, or its port could not be had.
    pub rtsp: Option<Rtsp>,
    /// Open WebSockets, each a task that ends at the stop.
    pub sockets: TaskTracker,
    /// The state of the house, pushed to pages.
    pub events: Events,
    /// How often each address fetched a token for LiveKit. Never held for longer than a look.
    pub tokens: Arc<Mutex<Limiter>>,
    /// The nodes that are looked after from here; `None` without management.
    pub fleet: Option<Fleet>,
    /// Ends the process for systemd to start anew.
    pub again: actions::Again,
    /// The motor that turns the camera, and how often each address asked something of it.
    pub motion: Motion,
    pub steps: Arc<Mutex<Limiter>>,
    /// How the machine is.
    pub system: System,
    /// How the published outputs are.
    pub published: PublishedNow,
    pub publishers: Publishers,
    pub recordings: Recordings,
    pub printers: Printers,
    /// Places for clients that follow a printer.
    pub printer_streams: Arc<Semaphore>,
    pub started: Started,
    /// What the machine is called.
    machine: Arc<str>,
    /// Set by the server that runs.
    pub entrance: Entrance,
}

/// By which port a request came.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// The address that is listened on.
    pub listens: SocketAddr,
    /// That of HTTP, which may be another.
    pub http: SocketAddr,
    /// Whether it is JSON-RPC's own.
    pub rpc_only: bool,
}

/// When the service started, for people and for durations.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub at: SystemTime,
    pub instant: Instant,
}

impl AppState {
    pub fn new(
        cameras: Cameras,
        config: watch::Receiver<Arc<Config>>,
        hls: watch::Receiver<Hls>,
        whep: Whep,
        stop: CancellationToken,
    ) -> Self {
        let recordings = Recordings::none(cameras.watch());
        let printers = Printers::none(config.clone());
        let mjpeg = Mjpeg::new(cameras.watch(), stop.clone());
        let started = Started { at: SystemTime::now(), instant: Instant::now() };
        let control = Control::new(cameras.clone(), Publishers::none());
        let none = || "this service has no database".to_owned();
        let access = Access::new(config.clone(), Err(none()));
        let external = External::new(cameras.clone(), config.clone(), Err(none()), Vec::new(), 0);
        let house = House {
            control: control.clone(),
            external: external.clone(),
            access: access.clone(),
            config: config.clone(),
            mjpeg: mjpeg.clone(),
            whep: whep.clone(),
            rtsp: None,
            recordings: recordings.clone(),
            printers: printers.clone(),
            motion: Motion::none(),
            published: PublishedNow::default(),
            system: System::none(),
            started: (started.at, started.instant),
            stop: stop.clone(),
        };
        Self {
            control,
            external,
            access,
            rpc: Rpc::new(house),
            hls,
            whep,
            rtsp: None,
            sockets: TaskTracker::new(),
            mjpeg,
            snapshots: Snapshots::new(stop.clone()),
            events: Events::default(),
            tokens: Arc::default(),
            motion: Motion::none(),
            fleet: None,
            again: actions::Again::default(),
            steps: Arc::default(),
            system: System::none(),
            published: PublishedNow::default(),
            publishers: Publishers::none(),
            recordings,
            printers,
            printer_streams: Arc::new(Semaphore::new(printers::STREAMS)),
            started,
            machine: hosts::machine().into(),
            entrance: Entrance { listens: NOWHERE, http: NOWHERE, rpc_only: false },
            cameras,
            config,
            stop,
        }
    }

    /// Takes in the publishers, and hands what there is now to JSON-RPC: the last step of making one.
    pub fn publishing(mut self, publishers: Publishers) -> Self {
        let statuses = publishers.clone();
        self.published = PublishedNow::new(move || statuses.statuses().into_iter().map(Into::into).collect());
        self.control = Control::new(self.cameras.clone(), publishers.clone());
        self.publishers = publishers;
        self.rpc = Rpc::new(House {
            control: self.control.clone(),
            external: self.external.clone(),
            access: self.access.clone(),
            config: self.config.clone(),
            mjpeg: self.mjpeg.clone(),
            whep: self.whep.clone(),
            rtsp: self.rtsp.clone(),
            recordings: self.recordings.clone(),
            printers: self.printers.clone(),
            motion: self.motion.clone(),
            published: self.published.clone(),
            system: self.system.clone(),
            started: (self.started.at, self.started.instant),
            stop: self.stop.clone(),
        });
        self
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    fn max_frame_age(&self) -> Duration {
        seconds(self.config.borrow().health.max_frame_age_seconds)
    }

    /// The camera that the path names; the first one when it names none.
    fn camera(&self, id: Option<&str>) -> Result<Capture, Fault> {
        match id {
            Some(name) => self.cameras.named(name).ok_or_else(|| Fault::no_camera(name)),
            None => self.cameras.first().ok_or_else(Fault::no_cameras),
        }
    }
}

/// Configuration is validated; should a nonsensical number get here, it is no wait at all.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// Where a service listens that does not yet.
const NOWHERE: SocketAddr = SocketAddr::new(crate::access::LOOPBACK, 0);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// One request, as the routes see it.
#[derive(Debug)]
struct Request<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    /// Who asks, as far as can be known: see [`body::client`].
    client: Option<IpAddr>,
    /// Empty for methods without one.
    body: Bytes,
    /// There when the client wants another protocol on this connection.
    upgrade: Option<OnUpgrade>,
    /// By what whoever asks was let in; nothing before that, and where nothing is needed.
    entered: Option<Entered>,
}

impl Request<'_> {
    /// The first value of a query key. Unknown keys are nobody's business.
    fn query(&self, key: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
    }
}

/// All routes as one warp service.
pub fn service(
    state: AppState,
) -> impl Filter<Extract = (Response,), Error = std::convert::Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let head = warp::method().and(warp::path::full()).and(query).and(warp::header::headers_cloned());
    let connection = warp::ext::optional::<Peer>().and(warp::ext::optional::<OnUpgrade>());
    let answered = head.and(connection).and(warp::body::stream()).then(
        move |method: Method,
              path: warp::path::FullPath,
              query: String,
              headers: HeaderMap,
              peer: Option<Peer>,
              upgrade: Option<OnUpgrade>,
              body| {
            let state = state.clone();
            async move {
                let client = body::client(peer, &headers);
                let (body, fault) = match body::read(&method, body).await {
                    Ok(body) => (body, None),
                    Err(fault) => (Bytes::new(), Some(fault)),
                };
                let (path, query) = (path.as_str(), query.as_str());
                let (method, headers, entered) = (&method, &headers, None);
                let request = Request { method, path, query, headers, client, body, upgrade, entered };
                handle(&state, path, request, fault).await
            }
        },
    );
    // A body is there to be read once, which is what happens here: no request is rejected.
    let never = |_| async { Ok(answer::empty(StatusCode::INTERNAL_SERVER_ERROR)) };
    answered.recover(never).unify()
}

/// `fault` is what was wrong with the request before it was looked at.
async fn handle(state: &AppState, path: &str, mut request: Request<'_>, fault: Option<Fault>) -> Response {
    let origins = state.config().server.cors_origins.clone();
    // Whatever comes before a printer's command is told as the command's own answers are.
    let commands = matches!(routes::find(&Method::POST, path), Found::Route(Target::PrinterCommand, _));
    let told = if commands { printers::command_refused } else { Fault::into_response };
    let mut response = match routes::find(request.method, path) {
        Found::Route(..) if fault.is_some() => fault.map(told).unwrap_or_default(),
        Found::Route(target, _) if state.entrance.rpc_only && target != Target::Rpc => {
            told(Fault::no_path(path))
        }
        Found::Route(target, params) => match enter(state, target, &request).await {
            Ok(entered) => {
                request.entered = entered;
                let answered = dispatch(state, target, params, &request, &origins).await;
                answered.map(|response| guarded(state, &request, response))
            }
            Err(fault) => Err(fault),
        }
        .unwrap_or_else(told),
        Found::Preflight { allow, target } => {
            let mut response = answer::empty(StatusCode::NO_CONTENT);
            cors::preflight(response.headers_mut(), &allow);
            // ICE servers come with credentials: who may not watch gets none.
            let watches =
                door::enter(&state.access, target, &Method::GET, request.headers, request.client).await;
            whep::options(target, response.headers_mut());
            if watches.is_ok() && !state.entrance.rpc_only {
                whep::servers(state, target, response.headers_mut());
            }
            response
        }
        Found::WrongMethod { allow } => told(Fault::wrong_method(request.method, path, &allow)),
        Found::Nothing => Fault::no_path(path).into_response(),
    };
    cors::apply(response.headers_mut(), request.headers, &origins);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer that goes on, as streams do, ends when whoever asked for it would not be let in any more.
fn guarded(state: &AppState, request: &Request<'_>, response: Response) -> Response {
    let Some(entered) = request.entered.clone() else { return response };
    if *request.method == Method::HEAD || response.body().size_hint().exact().is_some() {
        return response;
    }
    let ended = AbortOnDropHandle::new(tokio::spawn(state.access.clone().ended(entered)));
    let (head, body) = response.into_parts();
    let body = warp::reply::stream(body.into_data_stream().take_until(ended)).into_response().into_body();
    Response::from_parts(head, body)
}

/// While nobody has to log in, only a name of this machine opens more than a look; see [`hosts`].
fn known_host(state: &AppState, target: Target, request: &Request<'_>) -> Result<(), Fault> {
    let looks = matches!(*request.method, Method::GET | Method::HEAD);
    let talks = matches!(
        target,
        // What there is on the network is told to nobody from outside it.
        Target::Rpc | Target::Go2rtcSocket | Target::FoundPrinters | Target::ExternalStreams
    );
    if looks && !talks { Ok(()) } else { named_here(state, request) }
}

/// Whether a name of this machine is asked, while nobody has to log in.
fn named_here(state: &AppState, request: &Request<'_>) -> Result<(), Fault> {
    let config = state.config.borrow();
    if config.access.configured() {
        return Ok(());
    }
    hosts::known(request.headers, &state.machine, &config.server.hosts)
}

/// The door, open for the dashboard's page: one can log in there.
async fn enter(state: &AppState, target: Target, request: &Request<'_>) -> Result<Option<Entered>, Fault> {
    known_host(state, target, request)?;
    if target == Target::Page && assets::built() && request.query("action").is_none() {
        return Ok(None);
    }
    door::enter(&state.access, target, request.method, request.headers, request.client).await
}
