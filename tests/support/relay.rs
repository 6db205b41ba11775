//! A TCP relay between the service and its camera that plays a network in trouble, and counts how often
//! the service really tried.
//!
//! A relay in user space cannot lose single packets: what it holds back arrives, whole and in order, when
//! the network is well again, as it would after TCP's own retransmissions. [`Relay::cut`] ends the
//! connections as a camera does that was switched off meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How often threads look at the mode.
const LOOK: Duration = Duration::from_millis(20);
/// A connection attempt that takes longer on loopback is not answered at all.
const UNANSWERED: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// All is well.
    Pass,
    /// Connections are refused; those there were are cut.
    Refuse,
    /// Connections are taken and then nothing is heard; those there were fall silent.
    Silent,
    /// Nobody answers at all, not even to a connection attempt; those there were fall silent.
    BlackHole,
}

#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    network: Mutex<Network>,
    open: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
    connections: AtomicU64,
    spoken: AtomicU64,
}

impl Relay {
    /// To the camera at this port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = listen(0, 128).expect("a port to listen on");
        let port_here = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            target: SocketAddr::from(([127, 0, 0, 1], port)),
            network: Mutex::new(Network::Pass),
            open: Mutex::new(Vec::new()),
            over: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            spoken: AtomicU64::new(0),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(listener, port_here, &shared)
        });
        Self { port: port_here, shared, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the network. Returns when new connections already meet the new one.
    pub fn set(&self, network: Network) {
        *self.shared.network.lock().expect("network") = network;
        if network == Network::Refuse {
            self.cut();
        }
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let met = || match (network, TcpStream::connect_timeout(&address, UNANSWERED)) {
            (Network::Pass | Network::Silent, outcome) => outcome.is_ok(),
            (Network::Refuse, outcome) => {
                outcome.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            }
            (Network::BlackHole, outcome) => outcome.is_err_and(|error| error.kind() == ErrorKind::TimedOut),
        };
        super::wait_until(&format!("the relay is {network:?}"), Duration::from_secs(10), met);
    }

    /// Ends all connections there are.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("open").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connections over which the service said something: real attempts. One that is opened and closed
    /// again without a word (a knock) is not among them.
    pub fn attempts(&self) -> u64 {
        self.shared.spoken.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn network(&self) -> Network {
        *self.network.lock().expect("network")
    }

    /// Whether bytes are held back now.
    fn holds(&self) -> bool {
        matches!(self.network(), Network::Silent | Network::BlackHole)
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// The door: a listening socket, none, or one whose queue is full.
enum Door {
    Open(TcpListener),
    Closed,
    Full { _listener: TcpListener, _crowd: Vec<TcpStream> },
}

fn accept(listener: TcpListener, port: u16, shared: &Arc<Shared>) {
    let mut door = Door::Open(listener);
    while !shared.over() {
        door = match (door, shared.network()) {
            (Door::Open(listener), Network::Pass | Network::Silent) => {
                while let Ok((stream, _)) = listener.accept() {
                    relay(stream, shared);
                }
                Door::Open(listener)
            }
            (door @ Door::Closed, Network::Refuse) | (door @ Door::Full { .. }, Network::BlackHole) => door,
            (old, network) => {
                drop(old);
                match network {
                    Network::Pass | Network::Silent => listen(port, 128).map_or(Door::Closed, Door::Open),
                    Network::Refuse => Door::Closed,
                    Network::BlackHole => full(port).unwrap_or(Door::Closed),
                }
            }
        };
        std::thread::sleep(LOOK);
    }
}

fn listen(port: u16, backlog: i32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Linux drops connection attempts to a socket whose queue is full: a black hole on loopback.
fn full(port: u16) -> std::io::Result<Door> {
    let listener = listen(port, 0)?;
    let address = listener.local_addr()?;
    let mut crowd = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, UNANSWERED) {
        crowd.push(stream);
    }
    Ok(Door::Full { _listener: listener, _crowd: crowd })
}

fn relay(service: TcpStream, shared: &Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        // The camera is called only once the network lets the call through.
        while shared.network() != Network::Pass {
            if shared.over() || shared.network() == Network::Refuse {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let Ok(camera) = TcpStream::connect_timeout(&shared.target, Duration::from_secs(2)) else { return };
        let copies = [&service, &camera].map(|stream| {
            stream.set_nonblocking(false).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(LOOK)).ok()?;
            stream.try_clone().ok()
        });
        let [Some(service_copy), Some(camera_copy)] = copies else { return };
        {
            let mut open = shared.open.lock().expect("open");
            open.extend([&service, &camera].iter().filter_map(|stream| stream.try_clone().ok()));
        }
        let back = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || pump(camera_copy, service_copy, &shared, || {})
        });
        let mut spoken = false;
        pump(service, camera, &shared, || {
            if !std::mem::replace(&mut spoken, true) {
                shared.spoken.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _ = back.join();
    });
}

/// Moves bytes one way while the network is well.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, mut moved: impl FnMut()) {
    let mut buffer = [0; 32 * 1024];
    while !shared.over() {
        if shared.holds() {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                moved();
                // The network may have fallen silent while this was read.
                while shared.holds() && !shared.over() {
                    std::thread::sleep(LOOK);
                }
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
