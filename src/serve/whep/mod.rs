//! WebRTC viewers of the cameras: the media side of WHEP. The HTTP side (`api`) hands in offers and
//! patches and writes the [`Refusal`]s as statuses; this room knows nothing of routes.
//!
//! [`Whep`] is the handle. Behind it one thread named `webrtc` owns the media port (UDP, and TCP when
//! asked for) and all viewers of all cameras (`engine`). Commands reach it through a bounded queue and are
//! answered each through a channel of its own; a thread that is gone answers [`Refusal::Stopping`].
//!
//! A picture is packetized once (`feed`) and shared by all viewers (`viewer`); str0m does ICE,
//! DTLS, SRTP and repetitions. ICE-lite: viewers check us, so their candidates are not needed and not kept.

pub(super) mod addresses;
mod demux;
mod engine;
mod feed;
mod pace;
mod ports;
mod sdp;
mod srtp;
mod tcp;
mod types;
mod udp;
mod viewer;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::capture::Capture;
use crate::config::model::Webrtc;
use crate::serve::ready;

use addresses::Public;
use engine::{Command, Engine, Of, Published, Reply};
use ports::Ports;
use tcp::Tcp;
use udp::Udp;
use viewer::Recipe;

pub use types::{Fragment, Offer, Patched, Refusal, Session, ViewerState, ViewerStatus, Who};

/// Commands that may wait for the thread.
const WAITING: usize = 64;
/// The thread answers in milliseconds; if not, something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Older pictures are not shown as live.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Why the media port is not served.
#[derive(Debug, thiserror::Error)]
pub enum WhepError {
    #[error(
        "the WebRTC port {address} cannot be opened: {error}; choose another one (webrtc.port, webrtc.bind)"
    )]
    Bind { address: SocketAddr, error: std::io::Error },
    #[error("WebRTC cannot start: {0}")]
    Start(String),
}

/// The handle. Clones share.
#[derive(Clone, Debug)]
pub struct Whep(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    commands: mpsc::Sender<Command>,
    published: Arc<Published>,
    settings: Mutex<Webrtc>,
    public: Public,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Whep {
    /// Opens the media port and starts the thread. `server_bind` is used when `webrtc.bind` is not set.
    pub fn start(settings: &Webrtc, server_bind: IpAddr) -> Result<Self, WhepError> {
        let address = SocketAddr::new(settings.bind.unwrap_or(server_bind), settings.port);
        let failed = |error| WhepError::Bind { address, error };
        let socket = udp::bind(address).map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        let recipe =
            Recipe::new().ok_or_else(|| WhepError::Start("OpenSSL cannot make a certificate".to_owned()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| WhepError::Start(error.to_string()))?;
        // The same number for both, also when the system chose it.
        let listener = settings.tcp.then(|| tcp::bind(SocketAddr::new(address.ip(), port)));
        let listener = listener.transpose().map_err(failed)?;
        let ports = {
            let _inside = runtime.enter();
            let tcp = listener.map(Tcp::new).transpose().map_err(failed)?;
            Ports { udp: Udp::new(socket).map_err(failed)?, tcp }
        };
        let published = Arc::new(Published::default());
        let (commands, receiver) = mpsc::channel(WAITING);
        let engine = Engine::new(settings.clone(), recipe, ports, Arc::clone(&published));
        let thread = std::thread::Builder::new().name("webrtc".to_owned());
        let thread = thread.spawn(move || runtime.block_on(engine.run(receiver)));
        let thread = thread.map_err(|error| WhepError::Start(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            port,
            commands,
            published,
            settings: Mutex::new(settings.clone()),
            public: Public::default(),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// The media port, UDP and TCP.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Ends the viewers of cameras that are removed or replaced, from here on. Runs until the list's
    /// sender or the thread is gone: spawn it once.
    pub async fn follow(&self, mut cameras: watch::Receiver<Arc<[Capture]>>) {
        while cameras.changed().await.is_ok() {
            let list = Arc::clone(&cameras.borrow_and_update());
            if self.0.commands.send(Command::Cameras(list)).await.is_err() {
                return;
            }
        }
    }

    /// Takes a viewer's offer (WHEP); the answer holds all candidates.
    pub async fn offer(&self, capture: &Capture, offer: Offer) -> Result<Session, Refusal> {
        self.admissible(capture)?;
        let (capture, public) = (capture.clone(), self.public().await);
        self.ask(|reply| Command::Offer { capture, offer, public, reply }).await
    }

    /// Makes the offer itself, for viewers that want to answer (camera-streamer's signalling).
    pub async fn invite(&self, capture: &Capture, who: Who) -> Result<Session, Refusal> {
        self.admissible(capture)?;
        let (capture, public) = (capture.clone(), self.public().await);
        self.ask(|reply| Command::Invite { capture, who, public, reply }).await
    }

    /// The answer to an invitation; once. A session whose answer cannot be used is over.
    pub async fn answer(&self, camera: &str, session: &str, sdp: String) -> Result<(), Refusal> {
        let of = of(camera, session);
        self.ask(|reply| Command::Answer { of, sdp, reply }).await
    }

    /// Candidates, or an ICE restart when the fragment has another user fragment than the session.
    /// `if_match` is the header as it came: quoted, unquoted, listed or `*`.
    pub async fn patch(
        &self,
        camera: &str,
        session: &str,
        if_match: Option<&str>,
        fragment: Fragment,
    ) -> Result<Patched, Refusal> {
        let (of, if_match) = (of(camera, session), if_match.map(ToOwned::to_owned));
        self.ask(|reply| Command::Patch { of, if_match, fragment, reply }).await
    }

    /// Candidates of an invited viewer; they may come before its answer.
    pub async fn candidates(
        &self,
        camera: &str,
        session: &str,
        _candidates: Vec<String>,
    ) -> Result<(), Refusal> {
        let of = of(camera, session);
        self.ask(|reply| Command::Candidates { of, reply }).await
    }

    /// Ends a session at the viewer's wish.
    pub async fn end(&self, camera: &str, session: &str) -> Result<(), Refusal> {
        let of = of(camera, session);
        self.ask(|reply| Command::End { of, reply }).await
    }

    /// The signalling of a session is gone. One that is connected goes on without it; any other never will be.
    pub async fn abandon(&self, camera: &str, session: &str) -> Result<(), Refusal> {
        let of = of(camera, session);
        self.ask(|reply| Command::Abandon { of, reply }).await
    }

    /// All viewers as of at most a second ago.
    pub fn viewers(&self) -> Arc<[ViewerStatus]> {
        self.0.published.viewers()
    }

    /// Viewers of one camera now, those that still connect included.
    pub fn count(&self, camera: &str) -> usize {
        self.0.published.count(camera)
    }

    /// Viewers of one camera that are connected, as of at most a second ago.
    pub fn watching(&self, camera: &str) -> usize {
        let connected = |viewer: &&ViewerStatus| {
            viewer.camera == camera && matches!(viewer.state, ViewerState::Waiting | ViewerState::Live)
        };
        self.viewers().iter().filter(connected).count()
    }

    /// Takes over what can change while it runs: limits, timeouts, public addresses. Address, port and
    /// TCP need a restart of the process.
    pub fn apply(&self, settings: &Webrtc) {
        *self.0.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        if self.0.commands.try_send(Command::Settings(settings.clone())).is_err() {
            tracing::warn!("the WebRTC thread did not take the new settings over; reload once more");
        }
    }

    /// Ends all viewers and the thread; returns within about a second.
    pub async fn shutdown(&self) {
        let (done, stopped) = oneshot::channel();
        let stop = async {
            if self.0.commands.send(Command::Stop(done)).await.is_ok() {
                let _ = stopped.await;
            }
        };
        let stopped = tokio::time::timeout(STOP_WITHIN, stop).await;
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (stopped, thread) {
            // It has said its last word: joining takes no time.
            (Ok(()), Some(thread)) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            (Err(_), _) => {
                tracing::warn!("the WebRTC thread did not stop within {STOP_WITHIN:?}; it is left behind")
            }
            (Ok(()), None) => {}
        }
    }

    fn admissible(&self, capture: &Capture) -> Result<(), Refusal> {
        if !capture.camera().outputs.whep {
            return Err(Refusal::Disabled(capture.id().to_owned()));
        }
        ready::realtime(capture, MAX_AGE).map_err(|not_ready| Refusal::NotReady(Box::new(not_ready)))
    }

    async fn public(&self) -> Vec<SocketAddr> {
        let names = {
            let settings = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
            settings.public_addresses.clone()
        };
        self.0.public.resolve(&names, self.0.port).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.commands.send(command(reply)).await.map_err(|_| Refusal::Stopping)?;
            answer.await.unwrap_or(Err(Refusal::Stopping))
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Refusal::Busy))
    }
}

fn of(camera: &str, session: &str) -> Of {
    Of { camera: camera.to_owned(), session: session.to_owned() }
}
