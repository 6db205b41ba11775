//! The RTSP server: `rtsp://host:8554/{camera}`, the camera's H.264 as it is, over TCP.
//!
//! [`Rtsp`] is the handle. Behind it one thread named `rtsp` owns the port and all connections: writing to a
//! hundred readers takes its time, and HTTP must not wait for it.
//!
//! ```text
//! connection ─ input ─ session ─► fan ─ stream (packets, clock, kept group) ─► reader ─ queue ─► socket
//! ```
//! A connection's task reads requests ([`input`]) and answers them by a state machine ([`session`]). A
//! camera's [`fan`] packetizes each picture once and writes the same bytes to every reader in one pass; what
//! a socket does not take at once waits in its [`queue`] for the connection's task. Media goes interleaved
//! only: who asks for UDP gets 461, and takes TCP.

mod answer;
mod clock;
mod connection;
mod fan;
mod fans;
mod input;
mod packets;
mod queue;
mod reader;
mod sdp;
mod session;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capture::Capture;
use crate::config::model;
use crate::serve::whep::addresses;
use answer::{Answer, Status};
use connection::{Connection, House};
use fans::Fans;
use reader::Socket;

/// What the kernel keeps of a reader's pictures beyond what is on its way: all of it is latency.
const NOTSENT_LOWAT: u32 = 128 * 1024;
/// A client that vanished without a word while nothing is sent is found by these.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
const BACKLOG: i32 = 256;
/// Connections beside those that read.
const STRANGERS: usize = 64;
/// After an accept that failed for want of something (file descriptors): until some are free.
const PAUSE: Duration = Duration::from_millis(100);
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Why RTSP is not served.
#[derive(Debug, thiserror::Error)]
pub enum RtspError {
    #[error(
        "cannot serve RTSP on {0}: port already in use; stop the other program (`ss -ltnp sport = :{port}` \
         names it), set rtsp.port to a free one, or rtsp.enabled to false",
        port = .0.port()
    )]
    InUse(SocketAddr),
    #[error(
        "cannot serve RTSP on {address}: {source}; set rtsp.bind and rtsp.port to an address and a port that \
         this service may use, or rtsp.enabled to false"
    )]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the RTSP server cannot start: {0}")]
    Start(io::Error),
}

/// The handle. Clones share.
#[derive(Clone, Debug)]
pub struct Rtsp(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    house: Arc<House>,
    settings: watch::Sender<model::RtspServer>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Rtsp {
    /// Opens the port and starts the thread. `server_bind` is used when `rtsp.bind` is not set.
    pub fn start(
        settings: &model::RtspServer,
        server_bind: IpAddr,
        cameras: watch::Receiver<Arc<[Capture]>>,
    ) -> Result<Self, RtspError> {
        let address = SocketAddr::new(settings.bind.unwrap_or(server_bind), settings.port);
        let listener = listen(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => RtspError::InUse(address),
            _ => RtspError::Bind { address, source },
        })?;
        let address = listener.local_addr().map_err(RtspError::Start)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RtspError::Start)?;
        let settings = watch::Sender::new(settings.clone());
        let house = Arc::new(House {
            fans: Fans::new(cameras),
            settings: settings.subscribe(),
            sessions: Arc::new(AtomicUsize::new(0)),
            stop: CancellationToken::new(),
        });
        let serving = serve(listener, Arc::clone(&house));
        let thread = std::thread::Builder::new().name("rtsp".to_owned());
        let thread = thread.spawn(move || runtime.block_on(serving)).map_err(RtspError::Start)?;
        Ok(Self(Arc::new(Inner { address, house, settings, thread: Mutex::new(Some(thread)) })))
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where a camera is read. When every address is listened on, one that others reach.
    pub fn url(&self, camera: &str) -> String {
        let bound = self.0.address;
        let address = addresses::local(bound).into_iter().next().unwrap_or(bound);
        format!("rtsp://{address}/{camera}")
    }

    /// Readers of one camera that play.
    pub fn watching(&self, camera: &str) -> usize {
        self.0.house.fans.known(camera).map_or(0, |fan| fan.playing())
    }

    /// Pictures that slow readers of one camera lost, all together.
    pub fn lost(&self, camera: &str) -> u64 {
        self.0.house.fans.known(camera).map_or(0, |fan| fan.lost())
    }

    /// Takes over what can change while it runs: limits and timeouts. Address and port need a restart of
    /// the process.
    pub fn apply(&self, settings: &model::RtspServer) {
        self.0.settings.send_replace(settings.clone());
    }

    /// Ends all connections and the thread; returns within about a second.
    pub async fn shutdown(&self) {
        self.0.house.stop.cancel();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(STOP_WITHIN, joined).await.is_err() {
            tracing::warn!("the RTSP thread did not stop within {STOP_WITHIN:?}; it is left behind");
        }
    }
}

/// Options are set on the listening socket: Linux hands them to the sockets that it accepts.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Runs until the stop, with everything that it began.
async fn serve(listener: std::net::TcpListener, house: Arc<House>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the RTSP server cannot listen"),
    };
    let connections = TaskTracker::new();
    tokio::select! {
        () = house.stop.cancelled() => {}
        () = accept(&listener, &house, &connections) => {}
        () = async { house.fans.follow().await; house.stop.cancelled().await } => {}
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener, house: &Arc<House>, connections: &TaskTracker) {
    let mut failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client was quicker than we: nothing is wrong here.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "RTSP connections cannot be accepted; trying again every 100 ms");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        let most = house.settings.borrow().max_readers.saturating_add(STRANGERS);
        let Ok(address) = stream.local_addr() else { continue };
        if connections.len() >= most {
            // Whether it gets the answer is up to the client.
            let _ =
                stream.try_write(&Answer::new(Status::Unavailable).header("Retry-After", "5").bytes(None));
            continue;
        }
        let connection = Connection::new(Arc::clone(house), Socket::Plain(stream), address);
        connections.spawn(async move {
            let end = connection.run().await;
            tracing::debug!(%peer, "an RTSP connection ended: {end}");
        });
    }
}
