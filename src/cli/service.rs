//! The running service: puts the rooms together, listens for signals, and takes everything down again.
//!
//! One thread runs all of it; media flows in GStreamer's threads. What ends it: a signal (exit 0), a port
//! that cannot be had or a broken installation (exit 1), supervision that gave up (exit 75, for systemd
//! to start anew).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Access;
use crate::api::http::server::Server;
use crate::api::http::{Again, AppState};
use crate::cameras::pictures::Memory;
use crate::cameras::udev::Udev;
use crate::cameras::{Cameras, discovery};
use crate::capture::status::CameraStatus;
use crate::capture::{self, Means};
use crate::config::model::Config;
use crate::config::{self, Difference, Warning};
use crate::control::external::External;
use crate::fleet::registry::Registry;
use crate::fleet::registry::file::FileRegistry;
use crate::fleet::{self, Fleet};
use crate::motion::Motion;
use crate::pipelines::Library;
use crate::printers::view::PrinterHealth;
use crate::printers::{self, Printers};
use crate::publish::{self, Publishers};
use crate::record::Recordings;
use crate::serve::hls::Hls;
use crate::serve::rtsp::{Rtsp, RtspError};
use crate::serve::whep::{Whep, WhepError};
use crate::storage::external::KeptStream;
use crate::storage::{self, Database, StorageError};
use crate::supervision::published::{PublishedNow, Publisher};
use crate::supervision::systemd::Notifier;
use crate::supervision::{EXIT_FROZEN, State, Timing, Vitals, any_change, health};
use crate::telemetry::system::System;
use crate::telemetry::{self, logs};

/// Cameras have this much of a stop.
const CAMERAS_STOP_WITHIN: Duration = Duration::from_secs(3);
/// A stop is over after this long, whatever hangs.
const STOP_WITHIN: Duration = Duration::from_millis(4500);
/// How often the configuration file is looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the status line for systemd is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug)]
pub struct Start {
    pub config: Config,
    pub warnings: Vec<Warning>,
    /// Where a changed configuration comes from; `None` never reloads.
    pub reload: Option<Reload>,
    /// What to print once it listens.
    pub greet: Option<fn(SocketAddr) -> String>,
}

/// The configuration's file.
#[derive(Clone, Debug)]
pub struct Reload {
    /// As named on the command line.
    pub named: Option<PathBuf>,
    /// As read.
    pub read: Option<PathBuf>,
}

/// Runs until the end; the exit code of the process.
pub fn run(start: Start) -> anyhow::Result<u8> {
    // Kept to the end, for the last line to be written.
    let logs = logs::start(&start.config.log)?;
    gstreamer::init().context("GStreamer does not start")?;
    publish::init().map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(serve(start, logs.level()));
    // Threads that hang in a driver are left behind: the process ends here.
    runtime.shutdown_timeout(Duration::from_millis(200));
    drop(logs);
    code
}

/// Everything that a reload touches.
struct House {
    config: watch::Sender<Arc<Config>>,
    hls: watch::Sender<Hls>,
    whep: Whep,
    /// None when it is off, or its port could not be had.
    rtsp: Option<Rtsp>,
    cameras: Cameras,
    publishers: Publishers,
    recordings: Recordings,
    printers: Printers,
    means: Means,
    level: logs::Level,
    telling: Option<Telling>,
    notifier: Notifier,
    document: Document,
}

async fn serve(start: Start, level: logs::Level) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let mut hangup = signal(SignalKind::hangup())?;
    for warning in &start.warnings {
        tracing::warn!("{warning}");
    }
    let config = Arc::new(start.config);
    let server = Server::bind(&config.server)?;
    let address = server.address();
    let rpc_server = Server::bind_rpc(&config)?;
    let whep = whep(&config)?;
    let notifier = Notifier::new(|name| std::env::var_os(name));
    let vitals = Vitals::new(config.supervision.frozen_limit);
    let health_path = health_path(&config);
    let means = Means {
        library: Arc::new(Library::load(&config.pipelines.directory)?),
        timing: Timing::from(&config.supervision),
        vitals: vitals.clone(),
        graphs: health_path.parent().map(ToOwned::to_owned),
        linger: capture::LINGER,
    };
    let hls = Hls::new(config.hls.clone());
    let (directory, database, memory) = storage(&config).await;
    let udev = devices(&config);
    let (streams, scan_seconds) = added(database.as_ref().ok()).await;
    let ids = expected(&streams, database.as_ref().ok()).await;
    let cameras = Cameras::open(&config, &means, memory, udev.is_some(), ids).await;
    hls.cameras(&cameras.all());
    let publishers = Publishers::start(&config, cameras.watch(), &means);
    let recordings = Recordings::begin(&config, &directory, database.clone(), cameras.watch(), &means).await;
    let stepper = config.stepper.clone();
    let motion = tokio::task::spawn_blocking(move || Motion::open(&stepper)).await?;
    let stop = CancellationToken::new();
    let config = watch::Sender::new(config);
    let printers = Printers::open(
        database.clone(),
        printers::Means {
            config: config.subscribe(),
            vitals: vitals.clone(),
            cameras: cameras.clone(),
            recordings: recordings.clone(),
            capture: means.clone(),
        },
    )
    .await;
    let hls = watch::Sender::new(hls);
    let following = {
        let (whep, list) = (whep.clone(), cameras.watch());
        let packaging = follow_hls(hls.subscribe(), cameras.clone());
        AbortOnDropHandle::new(tokio::spawn(async move { tokio::join!(whep.follow(list), packaging) }))
    };
    let discovering =
        udev.map(|udev| AbortOnDropHandle::new(tokio::spawn(discovery::run(cameras.clone(), udev))));
    let directory_of_nodes = directory.clone();
    let (system, _reading) = System::watch(directory);
    let access = Access::new(config.subscribe(), database.clone());
    let rtsp = rtsp(&config.borrow(), &cameras, &access)?;
    let watching = AbortOnDropHandle::new(tokio::spawn(access.clone().watch()));
    let mut state =
        AppState::new(cameras.clone(), config.subscribe(), hls.subscribe(), whep.clone(), stop.clone());
    state.system = system;
    state.access = access;
    state.rtsp = rtsp.clone();
    state.external =
        External::new(cameras.clone(), config.subscribe(), database.clone(), streams, scan_seconds);
    state.external.begin().await;
    let scanning = AbortOnDropHandle::new(tokio::spawn(state.external.clone().scan(stop.clone())));
    state.recordings = recordings.clone();
    state.printers = printers.clone();
    state.motion = motion.clone();
    state.fleet = fleet(&state.config.borrow(), &directory_of_nodes).await?;
    state.again = Again::supervised(|name| std::env::var_os(name).is_some());
    let again = state.again.clone();
    let probing = state.fleet.clone().map(|fleet| {
        let every = Duration::try_from_secs_f64(state.config.borrow().management.probe_seconds);
        AbortOnDropHandle::new(tokio::spawn(fleet.watch(every.unwrap_or(Duration::from_secs(10)))))
    });
    let state = state.publishing(publishers.clone());
    let keeping = AbortOnDropHandle::new(tokio::spawn(state.control.clone().keep_streams()));
    let document = Document {
        cameras: cameras.clone(),
        publishers: publishers.clone(),
        recordings: recordings.clone(),
        printers: printers.clone(),
        published: state.published.clone(),
        rtsp: rtsp.clone(),
        vitals: vitals.clone(),
        started: state.started.at,
    };
    let telling = Telling::begin(&config.borrow(), &document, &notifier);
    let external = state.external.clone();
    let mut house = House {
        config,
        hls,
        whep,
        rtsp,
        cameras,
        publishers,
        recordings,
        printers,
        means,
        level,
        telling: Some(telling),
        notifier: notifier.clone(),
        document,
    };

    let serving_rpc = rpc_server.map(|server| {
        tracing::info!("JSON-RPC listens on ws://{}/ws as well", server.address());
        tokio::spawn(server.run_rpc(state.clone(), address))
    });
    let serving = tokio::spawn(server.run(state));
    let watchdog = {
        let (notifier, vitals) = (notifier.clone(), vitals.clone());
        AbortOnDropHandle::new(tokio::spawn(async move { notifier.feed_watchdog(&vitals).await }))
    };
    tracing::info!("fanlight {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    if let Some(rtsp) = &house.rtsp {
        tracing::info!("RTSP: rtsp://{}/CAMERA", rtsp.address());
    }
    if let Some(greet) = start.greet {
        println!("{}", greet(address));
    }

    let mut file = FileWatch::new(start.reload.as_ref());
    let code = loop {
        tokio::select! {
            name = signals.end() => {
                tracing::info!("{name}: stopping");
                break 0;
            }
            _ = hangup.recv() => {}
            () = file.changed() => {}
            () = again.asked() => {
                tracing::warn!("asked to begin anew; exit {EXIT_FROZEN}");
                break EXIT_FROZEN;
            }
            doom = vitals.doomed() => {
                tracing::error!("{doom}; exit {EXIT_FROZEN}");
                break EXIT_FROZEN;
            }
        }
        // Taking a camera down may take seconds; being told to stop does not wait for that.
        tokio::select! {
            () = async { file.look().await; house.reload(start.reload.as_ref()).await } => {}
            name = signals.end() => {
                tracing::info!("{name}: stopping");
                break 0;
            }
        }
    };

    notifier.stopping();
    drop((watchdog, probing, following, keeping, discovering, scanning, watching));
    stop.cancel();
    let over = async {
        // A camera that hangs does not keep the health file from saying how it ended.
        let cameras = tokio::time::timeout(CAMERAS_STOP_WITHIN, async {
            external.finish().await;
            house.cameras.shutdown().await;
        });
        let outputs = tokio::time::timeout(CAMERAS_STOP_WITHIN, house.publishers.shutdown());
        let recordings = tokio::time::timeout(CAMERAS_STOP_WITHIN, house.recordings.shutdown());
        let printers = tokio::time::timeout(CAMERAS_STOP_WITHIN, house.printers.shutdown());
        let rpc = async {
            if let Some(serving) = serving_rpc {
                let _ = serving.await;
            }
        };
        let rtsp = async {
            if let Some(rtsp) = &house.rtsp {
                rtsp.shutdown().await;
            }
        };
        let _ = tokio::join!(
            cameras,
            outputs,
            recordings,
            printers,
            serving,
            rpc,
            house.whep.shutdown(),
            rtsp,
            motion.shutdown()
        );
        if let Some(telling) = house.telling.take() {
            telling.end().await;
        }
        if let Ok(database) = database {
            database.close().await;
        }
    };
    tokio::select! {
        ended = tokio::time::timeout(STOP_WITHIN, over) => {
            if ended.is_err() {
                tracing::warn!("not everything stopped within {STOP_WITHIN:?}; leaving it behind");
            }
        }
        name = signals.end() => tracing::warn!("{name} again: leaving at once"),
    }
    tracing::info!("stopped");
    Ok(code)
}

impl House {
    /// Reads the configuration again and brings the house to it. A bad one is refused whole.
    async fn reload(&mut self, from: Option<&Reload>) {
        let Some(from) = from else { return };
        let named = from.named.clone();
        let read = tokio::task::spawn_blocking(move || {
            let loaded = config::load(named.as_deref(), config::process_environment)?;
            anyhow::Ok((Library::load(&loaded.config.pipelines.directory)?, loaded))
        });
        let (library, loaded) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                return tracing::error!("the configuration is not taken, the old one goes on:\n{error:#}");
            }
            Err(panic) => return tracing::error!("the configuration could not be read: {panic}"),
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let old = Arc::clone(&self.config.borrow());
        let new = Arc::new(loaded.config);
        let difference = Difference::between(&old, &new);
        if difference.is_empty() {
            return tracing::info!("the configuration was read again: nothing changed");
        }
        tracing::info!(
            "the configuration changed: cameras added {:?}, removed {:?}, changed {:?}, untouched {:?}; \
             taken over at once {:?}",
            difference.added,
            difference.removed,
            difference.changed,
            difference.unchanged,
            difference.live
        );
        for key in &difference.needs_process_restart {
            tracing::warn!("{key} changed: it takes effect when the service is restarted");
        }
        if new.log.level != old.log.level
            && let Err(error) = self.level.set(&new.log.level)
        {
            tracing::error!("{error}");
        }
        self.means.library = Arc::new(library);
        self.means.timing = Timing::from(&new.supervision);
        self.config.send_replace(Arc::clone(&new));
        self.cameras.apply(&difference, &new, &self.means).await;
        self.publishers.apply(&new, &self.means).await;
        self.recordings.apply(&new);
        if new.hls != old.hls {
            self.hls.send_replace(Hls::new(new.hls.clone()));
        }
        self.hls.borrow().cameras(&self.cameras.all());
        if new.webrtc != old.webrtc {
            self.whep.apply(&new.webrtc);
        }
        if let Some(rtsp) = &self.rtsp {
            rtsp.apply(&new.rtsp);
        }
        if new.health != old.health {
            // The old file has its last word before the new one begins: they may be the same.
            if let Some(telling) = self.telling.take() {
                telling.end().await;
            }
            self.telling = Some(Telling::begin(&new, &self.document, &self.notifier));
        }
    }
}

/// Cameras that were added by API before, and how often others are looked for.
async fn added(database: Option<&Database>) -> (Vec<KeptStream>, u32) {
    let Some(database) = database else { return Default::default() };
    let read = async { Ok::<_, StorageError>((database.streams().await?, database.scan_seconds().await?)) };
    read.await.unwrap_or_else(|error| {
        tracing::error!("cameras that were added by API are not known: {error}");
        Default::default()
    })
}

/// Takes up the nodes that are looked after from here, where that is wanted.
async fn fleet(config: &Config, directory: &Path) -> anyhow::Result<Option<Fleet>> {
    let management = &config.management;
    if !management.enabled {
        return Ok(None);
    }
    let path = management.registry_path.clone().unwrap_or_else(|| {
        // The contract's place, where there is one: a container's volume.
        let data = Path::new("/data");
        if data.is_dir() { data } else { directory }.join("node-registry.json")
    });
    let tls = fleet::tls::client(management.tls_ca_file.as_deref())?;
    let client = fleet::client::Client::new(fleet::reach::rule(management, config.server.bind), tls);
    let opened = tokio::task::spawn_blocking(move || {
        FileRegistry::open(&path).map(|file| Box::new(file) as Box<dyn Registry>)
    });
    let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
    let (within, fresh) = (seconds(management.probe_timeout_seconds), seconds(management.probe_seconds));
    let fleet = Fleet::open(opened.await?, client, within, fresh).await;
    Ok(Some(fleet))
}

/// The cameras that other rooms are going to add.
async fn expected(streams: &[KeptStream], database: Option<&Database>) -> Vec<String> {
    let mut ids: Vec<String> = streams.iter().map(|stream| stream.id.clone()).collect();
    if let Some(database) = database {
        // One that cannot be read is told of by the printers' own room.
        let printers = database.printers().await.unwrap_or_default();
        ids.extend(printers.iter().flat_map(|(id, _)| printers::camera_ids(*id)));
    }
    ids
}

/// Where devices are told of, if they are to be discovered and can be.
fn devices(config: &Config) -> Option<Udev> {
    if !config.discovery.enabled {
        return None;
    }
    Udev::open().inspect_err(|words| tracing::info!("{words}")).ok()
}

/// Tells HLS of cameras that come and go.
async fn follow_hls(hls: watch::Receiver<Hls>, cameras: Cameras) {
    let mut list = cameras.watch();
    while list.changed().await.is_ok() {
        let present = Arc::clone(&list.borrow_and_update());
        hls.borrow().cameras(&present);
    }
}

/// Opens what outlives a restart: its directory, and the database in it. Without them cameras stream all the
/// same, covered if there is one that cannot be read.
async fn storage(config: &Config) -> (PathBuf, Result<Database, String>, Memory) {
    let places = storage::places(config.storage.directory.as_deref(), config::process_environment);
    let best = places.first().cloned().unwrap_or_default();
    let named = config.storage.database.clone();
    let files = match &named {
        Some(file) => vec![file.clone()],
        None => places.iter().map(|place| place.join(storage::FILE)).collect(),
    };
    let order = Order(files.clone());
    // Looked for before there is one anew.
    let found = move || (storage::left_behind(&files), storage::first_writable(&places));
    let (left, opened) = match tokio::task::spawn_blocking(found).await {
        Ok((left, Ok(directory))) => {
            let file = named.unwrap_or_else(|| directory.join(storage::FILE));
            let opened = Database::open_file(file.clone()).await;
            if let (Some(other), Ok(database)) =
                (left.as_ref().filter(|left| order.passed_by(left, &file)), &opened)
            {
                let words = format!("{} is not this user's to write", other.display());
                tracing::error!(
                    "{words}: what was set for cameras' pictures may be in it, so they are covered"
                );
                return (directory, Ok(database.clone()), Memory::Unreadable(words));
            }
            (left, opened.map(|database| (directory, database)))
        }
        Ok((left, Err(error))) => (left, Err(error)),
        Err(panic) => return (best, Err(panic.to_string()), Memory::Unreadable(panic.to_string())),
    };
    match opened {
        Ok((directory, database)) => (directory, Ok(database.clone()), Memory::Database(database)),
        Err(error) => {
            tracing::error!(
                "{error}; cameras are served, without a list of recordings and without a memory of what was set, and \
                 no API key is known"
            );
            let memory = left.map_or(Memory::Nothing, |_| Memory::Unreadable(error.to_string()));
            (best, Err(error.to_string()), memory)
        }
    }
}

/// Where the database may be, the best place first.
struct Order(Vec<PathBuf>);

impl Order {
    /// Whether a database in a better place was passed by, because this user may not write there.
    fn passed_by(&self, left: &Path, opened: &Path) -> bool {
        let place = |file: &Path| self.0.iter().position(|known| known == file);
        place(left).is_some_and(|left| place(opened).is_none_or(|opened| left < opened))
    }
}

/// Opens the media port. One that was chosen must be free; when the one of the defaults is taken, by a second
/// Fanlight perhaps, another is: viewers are told which.
fn whep(config: &Config) -> Result<Whep, WhepError> {
    let (settings, bind) = (&config.webrtc, config.server.bind);
    match Whep::start(settings, bind) {
        Err(WhepError::Bind { error, .. })
            if error.kind() == std::io::ErrorKind::AddrInUse
                && settings.port == config::model::Webrtc::default().port =>
        {
            let whep = Whep::start(&config::model::Webrtc { port: 0, ..settings.clone() }, bind)?;
            tracing::warn!(
                "the WebRTC port {} is in use; WebRTC goes by {} this time: a firewall or router that lets \
                 only the first through keeps viewers out. Set webrtc.port to a free one",
                settings.port,
                whep.port()
            );
            Ok(whep)
        }
        started => started,
    }
}

/// Opens the RTSP port. One that was chosen must be free; when the one of the defaults is taken, by another
/// media server perhaps, everything else goes on without RTSP: on another port nobody would look for it.
fn rtsp(config: &Config, cameras: &Cameras, access: &Access) -> Result<Option<Rtsp>, RtspError> {
    let settings = &config.rtsp;
    if !settings.enabled {
        return Ok(None);
    }
    match Rtsp::start(settings, config.server.bind, cameras.watch(), access.clone()) {
        Err(error @ RtspError::InUse(_)) if settings.port == config::model::RtspServer::default().port => {
            tracing::warn!("{error}; everything else goes on");
            Ok(None)
        }
        started => started.map(Some),
    }
}

/// The health file's content.
#[derive(Clone, Debug)]
struct Document {
    cameras: Cameras,
    publishers: Publishers,
    recordings: Recordings,
    printers: Printers,
    published: PublishedNow,
    rtsp: Option<Rtsp>,
    vitals: Vitals,
    started: SystemTime,
}

impl Document {
    fn json(&self) -> serde_json::Value {
        let cameras: Vec<CameraStatus> = self.cameras.all().iter().map(|c| c.status()).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started": telemetry::timestamp(self.started),
            "updated": telemetry::timestamp(SystemTime::now()),
            "status": words(&cameras),
            "frozen": self.vitals.frozen(),
            // Null when it is off, or its port could not be had.
            "rtsp": self.rtsp.as_ref().map(Rtsp::address),
            "cameras": cameras,
            "outputs": self.publishers.statuses(),
            "recordings": self.recordings.statuses(),
            "printers": self.printers.list().iter().map(PrinterHealth::of).collect::<Vec<_>>(),
        })
    }

    /// The publisher's part alone, for those who look for it in a file of its own.
    fn publisher(&self) -> serde_json::Value {
        let Publisher { state, message, outputs } = Publisher::of(self.published.ask());
        json!({
            "state": state,
            "message": message,
            "outputs": outputs,
            "pid": std::process::id(),
            "updated": telemetry::timestamp(SystemTime::now()),
        })
    }
}

fn health_path(config: &Config) -> PathBuf {
    config.health.file.clone().unwrap_or_else(|| health::default_path(|name| std::env::var_os(name)))
}

/// What tells the outside: the health file, the publisher's own when one is wanted, and systemd.
struct Telling {
    health: health::Writer,
    publisher: Option<health::Writer>,
    task: AbortOnDropHandle<()>,
}

impl Telling {
    fn begin(config: &Config, document: &Document, notifier: &Notifier) -> Self {
        let content = document.clone();
        let health =
            health::Writer::spawn(health_path(config), config.health.file_mode, move || content.json());
        let publisher = config.health.publisher_file.clone().map(|path| {
            let content = document.clone();
            health::Writer::spawn(path, config.health.file_mode, move || content.publisher())
        });
        let changed = [Some(&health), publisher.as_ref()].into_iter().flatten().map(health::Writer::changed);
        let task = tell(document.clone(), notifier.clone(), changed.collect());
        Self { health, publisher, task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    async fn end(self) {
        drop(self.task);
        let publisher = async {
            if let Some(publisher) = self.publisher {
                publisher.stop().await;
            }
        };
        tokio::join!(self.health.stop(), publisher);
    }
}

/// Tells systemd and the health file how the cameras are, whenever that changes.
async fn tell(document: Document, notifier: Notifier, changed: Vec<health::Changed>) {
    let Document { cameras, publishers, recordings, .. } = document;
    let mut recorded = recordings.changes();
    let mut list = cameras.watch();
    let mut last = String::new();
    loop {
        let present = cameras.all();
        let statuses: Vec<CameraStatus> = present.iter().map(|capture| capture.status()).collect();
        // The first camera is live or has definitely failed: whoever waits for the service may go on.
        let settled = |status: &CameraStatus| status.lifecycle.state != State::Starting;
        if statuses.first().is_none_or(|first| settled(first) && begun(first, &present[0])) {
            notifier.ready();
        }
        let words = words(&statuses);
        if words != last {
            notifier.status(&words);
            last = words;
        }
        changed.iter().for_each(health::Changed::notify);
        let any = any_change(present.iter().filter_map(|capture| capture.changes()));
        tokio::select! {
            () = any => {}
            () = publishers.changed() => {}
            _ = recorded.recv() => {}
            _ = list.changed() => {}
            () = tokio::time::sleep(STATUS_EVERY) => {}
        }
    }
}

/// Whether a camera has been tried, or is not to be tried before somebody watches.
fn begun(status: &CameraStatus, capture: &crate::capture::Capture) -> bool {
    status.lifecycle.state != State::Idle
        || status.lifecycle.attempts > 0
        || capture.camera().idle == config::model::Idle::Close
}

/// All cameras in one line: `2 cameras: porch live, 25 fps; yard backing off: connection refused`.
fn words(cameras: &[CameraStatus]) -> String {
    let camera = |status: &CameraStatus| match status.lifecycle.state {
        State::Live => format!("{} live, {:.0} fps", status.id, status.fps),
        State::Idle => format!("{} idle", status.id),
        state => {
            let error = status.lifecycle.last_error.as_deref().unwrap_or("no pictures yet");
            let state = format!("{state:?}");
            format!("{} {}: {error}", status.id, spaced(&state))
        }
    };
    let each: Vec<String> = cameras.iter().map(camera).collect();
    let noun = if cameras.len() == 1 { "camera" } else { "cameras" };
    format!("{} {noun}: {}", cameras.len(), each.join("; "))
}

/// `BackingOff` as `backing off`.
fn spaced(state: &str) -> String {
    let mut words = String::new();
    for c in state.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// A signal to stop; its name.
    async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Looks at the configuration file for a change. A file that is missing for a moment, as editors do, is
/// no change.
struct FileWatch {
    path: Option<PathBuf>,
    seen: Option<(SystemTime, u64)>,
}

impl FileWatch {
    fn new(reload: Option<&Reload>) -> Self {
        let path = reload.and_then(|reload| reload.read.clone());
        let seen = path.as_ref().and_then(|path| stamp(&std::fs::metadata(path).ok()?));
        Self { path, seen }
    }

    /// Resolves when the file is another one than last seen.
    async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.look().await {
                return;
            }
        }
    }

    /// Takes in how the file is now; whether that is another one than before.
    async fn look(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        let found = tokio::fs::metadata(path).await.ok().and_then(|metadata| stamp(&metadata));
        let changed = found.is_some() && found != self.seen;
        if changed {
            self.seen = found;
        }
        changed
    }
}

fn stamp(metadata: &std::fs::Metadata) -> Option<(SystemTime, u64)> {
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_was_passed_by_is_one_in_a_better_place() {
        let order = Order(["/var/a.db", "/home/a.db"].map(PathBuf::from).into());
        for (left, opened, expected) in [
            ("/var/a.db", "/var/a.db", false),
            ("/var/a.db", "/home/a.db", true),
            ("/home/a.db", "/var/a.db", false),
            ("/home/a.db", "/home/a.db", false),
        ] {
            assert_eq!(order.passed_by(Path::new(left), Path::new(opened)), expected, "{left} {opened}");
        }
    }
}
