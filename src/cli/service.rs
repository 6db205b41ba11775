//! The running service: puts the rooms together, listens for signals, and takes everything down again.
//!
//! One thread runs all of it; media flows in GStreamer's threads. What ends it: a signal (exit 0), a port
//! that cannot be had or a broken installation (exit 1), supervision that gave up (exit 75, for systemd
//! to start anew).

mod opening;
mod telling;
mod watching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Access;
use crate::api::http::server::Server;
use crate::api::http::{Again, AppState};
use crate::cameras::{Cameras, discovery};
use crate::capture::{self, Means};
use crate::config::model::Config;
use crate::config::{self, Difference, Warning};
use crate::control::external::External;
use crate::motion::Motion;
use crate::pipelines::Library;
use crate::printers::{self, Printers};
use crate::publish::{self, Publishers};
use crate::record::Recordings;
use crate::serve::hls::Hls;
use crate::serve::rtsp::Rtsp;
use crate::serve::whep::Whep;
use crate::supervision::systemd::Notifier;
use crate::supervision::{EXIT_FROZEN, Timing, Vitals};
use crate::telemetry::logs;
use crate::telemetry::system::System;
use opening::{added, devices, expected, fleet, follow_hls, rtsp, storage, whep};
use telling::{Document, Telling, health_path};
use watching::{FileWatch, Signals};

/// Cameras have this much of a stop.
const CAMERAS_STOP_WITHIN: Duration = Duration::from_secs(3);
/// A stop is over after this long, whatever hangs.
const STOP_WITHIN: Duration = Duration::from_millis(4500);

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
