//! The accept loop.
//!
//! warp's own can set neither TCP options nor hyper's buffers, and both matter: without them a client
//! that stalls gets seconds of old pictures afterwards, and one that never reads stays for ever. Every
//! connection is a task of a set that is owned here: it ends with [`Server::run`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{AppState, Entrance, answer};
use crate::config::model;

/// What the kernel keeps of a client's pictures beyond what is on its way: about one.
const NOTSENT_LOWAT: u32 = 128 * 1024;
/// A client that takes nothing for this long is cut.
const USER_TIMEOUT: Duration = Duration::from_secs(8);
/// A client that vanished without a word while nothing is sent is found by these.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
/// hyper's buffer of a connection, its smallest: with the default it holds four pictures.
const BUFFER: usize = 8 * 1024;
/// For the head of a request, and how long a connection may stay open between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const BACKLOG: i32 = 1024;
/// Connections beside those of MJPEG streams.
const CONNECTIONS: usize = 256;
/// After the stop, this long for answers that are under way.
const GRACE: Duration = Duration::from_secs(1);
/// After an accept that failed for want of something (file descriptors): until some are free.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {0}: port already in use; stop the other program (`ss -ltnp sport = :{port}` \
         names it) or set server.port (environment: FANLIGHT_PORT) to a free one",
        port = .0.port()
    )]
    InUse(SocketAddr),
    #[error(
        "cannot listen on {0}: ports below 1024 need the right to them; set server.port to 1024 or above, \
         or give the service CAP_NET_BIND_SERVICE"
    )]
    Denied(SocketAddr),
    #[error(
        "cannot listen on {0}: this machine has no such address; set server.bind (environment: FANLIGHT_BIND) \
         to one that `ip address` lists, to 127.0.0.1, or to 0.0.0.0 for all"
    )]
    NoSuchAddress(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            io::ErrorKind::PermissionDenied => BindError::Denied(address),
            io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress(address),
            _ => BindError::Other { address, source },
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens; with port 0 on one that is free. To be called within the runtime that runs it.
    pub fn bind(config: &model::Server) -> Result<Self, BindError> {
        Self::listen(SocketAddr::new(config.bind, config.port))
    }

    /// Listens for JSON-RPC alone, if it has a port of its own.
    pub fn bind_rpc(config: &model::Config) -> Result<Option<Self>, BindError> {
        let address = |port| SocketAddr::new(config.rpc.bind.unwrap_or(config.server.bind), port);
        config.rpc.port.map(|port| Self::listen(address(port))).transpose()
    }

    fn listen(address: SocketAddr) -> Result<Self, BindError> {
        let listener = listen(address).map_err(|error| BindError::new(address, error))?;
        let address = listener.local_addr().map_err(|error| BindError::new(address, error))?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `state.stop` is cancelled and at most [`GRACE`] longer.
    pub async fn run(self, mut state: AppState) {
        state.entrance = Entrance { listens: self.address, http: self.address, rpc_only: false };
        let _events = AbortOnDropHandle::new(tokio::spawn(super::events::produce(state.clone())));
        let _news = AbortOnDropHandle::new(tokio::spawn(state.rpc.clone().tell()));
        self.serve(state).await;
    }

    /// The same for JSON-RPC's own port; `http` is where the rest is.
    pub async fn run_rpc(self, mut state: AppState, http: SocketAddr) {
        state.entrance = Entrance { listens: self.address, http, rpc_only: true };
        self.serve(state).await;
    }

    async fn serve(self, state: AppState) {
        let Self { listener, .. } = self;
        let stop = state.stop.clone();
        let config = state.config.clone();
        let sockets = state.sockets.clone();
        let rpc = state.rpc.clone();
        let service = warp::service(super::service(state));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
        let mut connections = JoinSet::new();
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    let most = config.borrow().mjpeg.max_streams.saturating_add(CONNECTIONS);
                    if connections.len() >= most {
                        refuse(&stream);
                        continue;
                    }
                    let service = TowerToHyperService::new(service.clone());
                    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
                        request.extensions_mut().insert(super::Peer(peer));
                        service.call(request)
                    });
                    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                    connections.spawn(serve(connection, stop.clone()));
                }
                // The client was quicker than we: nothing is wrong here.
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "connections cannot be accepted; trying again every 100 ms");
                    }
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
        drop(listener);
        sockets.close();
        let all_ended = async {
            while connections.join_next().await.is_some() {}
            sockets.wait().await;
            rpc.ended().await;
        };
        if tokio::time::timeout(GRACE, all_ended).await.is_err() {
            tracing::debug!(connections = connections.len(), "connections that did not end are dropped");
            connections.shutdown().await;
        }
    }
}

/// Options are set on the listening socket: Linux hands them to the sockets that it accepts.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Listen again right after a restart, while connections of the last run linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

type Connection<S> = http1::UpgradeableConnection<TokioIo<TcpStream>, S>;

/// One connection, from its first request to its end. Its errors are the client's and not worth a line:
/// it went away, took too long, or does not speak HTTP.
async fn serve<S, B>(connection: Connection<S>, stop: CancellationToken)
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended");
    }
}

/// The answer to one connection too many: written in one go, never waited for.
fn refuse(stream: &TcpStream) {
    let message = "as many connections are open as this service takes; close some or raise mjpeg.max_streams";
    let body = answer::error_body("TOO_MANY_CONNECTIONS", message);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Retry-After: 5\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whether it gets the answer is up to the client.
    let _ = stream.try_write(answer.as_bytes());
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the others go on");
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn on(bind: [u8; 4], port: u16) -> model::Server {
        model::Server { bind: IpAddr::from(bind), port, ..model::Server::default() }
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_with_the_address_and_what_to_do() {
        let first = Server::bind(&on([127, 0, 0, 1], 0)).unwrap();
        let port = first.address().port();
        let error = Server::bind(&on([127, 0, 0, 1], port)).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)));
        let message = error.to_string();
        for part in [&format!("127.0.0.1:{port}"), "port already in use", "server.port"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[tokio::test]
    async fn an_address_that_the_machine_does_not_have_is_said() {
        // TEST-NET-3, RFC 5737: nobody has it.
        let error = Server::bind(&on([203, 0, 113, 1], 0)).unwrap_err();
        assert!(matches!(error, BindError::NoSuchAddress(_)), "{error}");
        assert!(error.to_string().contains("server.bind"));
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_options_of_the_listening_one() {
        let server = Server::bind(&on([127, 0, 0, 1], 0)).unwrap();
        let _client = TcpStream::connect(server.address()).await.unwrap();
        let (stream, _) = server.listener.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
