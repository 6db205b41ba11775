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
mod login;
mod packets;
mod queue;
mod reader;
mod sdp;
mod session;
mod stream;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::capture::Capture;
use crate::config::model;
use crate::serve::whep::addresses;
use answer::{Answer, Status};
use connection::{Connection, End, House};
use fans::Fans;
use login::Doorkeeper;
use reader::Socket;
use tls::Renewed;
pub(crate) use tls::acceptor;

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
/// What an RTSPS connection that is over may take to hand out what it still has: its client may read no more.
const LAST_BYTES: Duration = Duration::from_secs(2);

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
    #[error(
        "cannot serve RTSPS: {0}; set rtsp.certificate and rtsp.key to PEM files that this service may read, or \
         leave rtsp.tls_port out"
    )]
    Certificate(String),
    #[error("the RTSP server cannot start: {0}")]
    Start(io::Error),
}

/// The handle. Clones share.
#[derive(Clone, Debug)]
pub struct Rtsp(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
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
        access: Access,
    ) -> Result<Self, RtspError> {
        let bind = settings.bind.unwrap_or(server_bind);
        let (listener, address) = listen(SocketAddr::new(bind, settings.port))?;
        let (mut tls, mut tls_address) = (None, None);
        if let Some(port) = settings.tls_port {
            let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
                return Err(RtspError::Certificate("the certificate or its key is not named".to_owned()));
            };
            let acceptor = Renewed::open(certificate, key).map_err(RtspError::Certificate)?;
            let (listener, address) = listen(SocketAddr::new(bind, port))?;
            (tls, tls_address) = (Some((listener, acceptor)), Some(address));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RtspError::Start)?;
        let settings = watch::Sender::new(settings.clone());
        let house = Arc::new(House {
            fans: Fans::new(cameras),
            door: Doorkeeper::new(access),
            settings: settings.subscribe(),
            sessions: Arc::new(AtomicUsize::new(0)),
            stop: CancellationToken::new(),
        });
        let serving = serve(listener, tls, Arc::clone(&house));
        let thread = std::thread::Builder::new().name("rtsp".to_owned());
        let thread = thread.spawn(move || runtime.block_on(serving)).map_err(RtspError::Start)?;
        Ok(Self(Arc::new(Inner { address, tls_address, house, settings, thread: Mutex::new(Some(thread)) })))
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where a camera is read. When every address is listened on, one that others reach.
    pub fn url(&self, camera: &str) -> String {
        format!("rtsp://{}/{camera}", reachable(self.0.address))
    }

    /// The same inside TLS, where that is served.
    pub fn tls_url(&self, camera: &str) -> Option<String> {
        let address = reachable(self.0.tls_address?);
        Some(format!("rtsps://{address}/{camera}"))
    }

    /// Readers of one camera that play.
    pub fn watching(&self, camera: &str) -> usize {
        self.0.house.fans.known(camera).map_or(0, |fan| fan.playing())
    }

    /// Pictures that slow readers of one camera lost, all together.
    pub fn lost(&self, camera: &str) -> u64 {
        self.0.house.fans.known(camera).map_or(0, |fan| fan.lost())
    }

    /// Takes over what can change while it runs: limits and timeouts, and who may read; call it after every
    /// reload. Address and port need a restart of the process.
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

fn reachable(bound: SocketAddr) -> SocketAddr {
    addresses::local(bound).into_iter().next().unwrap_or(bound)
}

/// Listens; with port 0 on one that is free. The real address comes with it.
fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), RtspError> {
    let listener = bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => RtspError::InUse(address),
        _ => RtspError::Bind { address, source },
    })?;
    let address = listener.local_addr().map_err(RtspError::Start)?;
    Ok((listener, address))
}

/// Options are set on the listening socket: Linux hands them to the sockets that it accepts.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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
async fn serve(
    listener: std::net::TcpListener,
    tls: Option<(std::net::TcpListener, Renewed)>,
    house: Arc<House>,
) {
    let connections = TaskTracker::new();
    let (tls, acceptor) = tls.unzip();
    tokio::select! {
        () = house.stop.cancelled() => {}
        () = accept(Some(listener), None, &house, &connections) => {}
        () = accept(tls, acceptor, &house, &connections) => {}
        () = async { house.fans.follow().await; house.stop.cancelled().await } => {}
    }
    connections.close();
    connections.wait().await;
}

/// Accepts for ever; without a listener it is never anybody's turn.
async fn accept(
    listener: Option<std::net::TcpListener>,
    mut tls: Option<Renewed>,
    house: &Arc<House>,
    connections: &TaskTracker,
) {
    let listener = match listener.map(TcpListener::from_std) {
        None => return std::future::pending().await,
        Some(Ok(listener)) => listener,
        Some(Err(error)) => {
            tracing::error!(%error, "the RTSP server cannot listen");
            return std::future::pending().await;
        }
    };
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
        if connections.len() >= most {
            // Whether it gets the answer is up to the client.
            let answer = Answer::new(Status::Unavailable).header("Retry-After", "5");
            let _ = stream.try_write(&answer.bytes(None));
            continue;
        }
        let tls = match &mut tls {
            Some(renewed) => Some(renewed.acceptor().await),
            None => None,
        };
        let house = Arc::clone(house);
        connections.spawn(async move {
            match converse(house, stream, peer, tls).await {
                Ok(end) => tracing::debug!(%peer, "an RTSP connection ended: {end}"),
                Err(error) => tracing::debug!(%peer, %error, "an RTSP connection did not begin"),
            }
        });
    }
}

/// One client, from its arrival to its end.
async fn converse(
    house: Arc<House>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> io::Result<End> {
    let address = stream.local_addr()?;
    let Some(tls) = tls else {
        return Ok(Connection::new(house, Socket::Plain(stream), address, peer).run().await);
    };
    let stop = house.stop.clone();
    let opened = tokio::select! {
        () = stop.cancelled() => return Ok(End::Stopping),
        opened = tls::open(&tls, stream) => opened,
    };
    let (socket, carry) = opened?;
    let connection = Connection::new(house, Socket::Tls(socket), address, peer);
    let carry = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = carry => {}
        }
    };
    Ok(carried(connection.run(), carry).await)
}

/// Runs both to their ends; what carries the bytes does not outlast the connection for long.
async fn carried<T>(connection: impl Future<Output = T>, carry: impl Future<Output = ()>) -> T {
    let (mut connection, mut carry) = (pin!(connection), pin!(carry));
    tokio::select! {
        () = &mut carry => connection.await,
        end = &mut connection => {
            let _ = tokio::time::timeout(LAST_BYTES, carry).await;
            end
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_no_more_does_not_keep_its_connection() {
        assert_eq!(carried(ready("stuck"), pending()).await, "stuck");
        let last = tokio::time::sleep(LAST_BYTES / 2);
        let began = tokio::time::Instant::now();
        assert_eq!(carried(ready("over"), last).await, "over");
        assert_eq!(began.elapsed(), LAST_BYTES / 2, "what it still has goes out");
    }
}
