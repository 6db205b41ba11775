//! The TCP side of the media port, for networks that let no UDP through: passive ICE-TCP (RFC 6544) with a
//! two-byte length before each packet (RFC 4571).
//!
//! Each connection has a task that reads and writes; what waits to be written is bounded, and a connection
//! that takes nothing makes its viewer lose whole pictures, not this thread its time. Connections that have
//! not shown a session's password soon are closed, and there are only so many of them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::demux::Key;

/// Bytes that may wait for one connection.
const WAITING: usize = 256 * 1024;
/// What the kernel may hold beside that: all of it is latency.
const KERNEL: usize = 128 * 1024;
/// Chunks that may wait for one connection.
const CHUNKS: usize = 512;
/// Packets of all connections that may wait to be looked at.
const ARRIVED: usize = 256;
/// Connections in all, and those that have not shown that they are a viewer's.
const MOST: usize = 512;
const STRANGERS: usize = 64;
/// How long a stranger may stay one.
const STRANGER: Duration = Duration::from_secs(10);
/// What viewers send is small: ICE, DTLS, reports.
const LARGEST: usize = 4096;

/// Opens the port.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[derive(Debug)]
pub enum Arrival {
    Packet { source: SocketAddr, destination: SocketAddr, packet: Vec<u8> },
    Closed { source: SocketAddr },
}

#[derive(Debug)]
pub struct Tcp {
    listener: TcpListener,
    arrivals: mpsc::Receiver<Arrival>,
    arrived: mpsc::Sender<Arrival>,
    connections: HashMap<SocketAddr, Connection>,
    /// Packets for the connection to this address that wait for [`Tcp::flush`].
    batch: Option<(SocketAddr, Vec<u8>, u64)>,
}

#[derive(Debug)]
struct Connection {
    queue: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    since: Instant,
    viewer: Option<Key>,
    _task: AbortOnDropHandle<()>,
}

impl Tcp {
    /// Call it inside the runtime that is to read.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let (arrived, arrivals) = mpsc::channel(ARRIVED);
        Ok(Self { listener, arrivals, arrived, connections: HashMap::new(), batch: None })
    }

    /// What arrives next. Accepts connections meanwhile. Safe to cancel.
    pub async fn next(&mut self) -> Arrival {
        loop {
            tokio::select! {
                Some(arrival) = self.arrivals.recv() => {
                    if let Arrival::Closed { source } = arrival {
                        self.connections.remove(&source);
                    }
                    return arrival;
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, source)) => self.accept(stream, source),
                    // No descriptors left, most likely: later.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, source: SocketAddr) {
        let strangers = self.connections.values().filter(|connection| connection.viewer.is_none()).count();
        let Ok(destination) = stream.local_addr() else { return };
        if self.connections.len() >= MOST || strangers >= STRANGERS {
            return;
        }
        // Without these it is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_send_buffer_size(KERNEL);
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let (queue, queued) = (mpsc::channel(CHUNKS), Arc::new(AtomicUsize::new(0)));
        let task = serve(stream, source, destination, self.arrived.clone(), queue.1, Arc::clone(&queued));
        let connection = Connection {
            queue: queue.0,
            queued,
            since: Instant::now(),
            viewer: None,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        };
        self.connections.insert(source, connection);
    }

    /// This connection is that viewer's.
    pub fn belongs(&mut self, source: SocketAddr, viewer: Key) {
        if let Some(connection) = self.connections.get_mut(&source) {
            connection.viewer = Some(viewer);
        }
    }

    /// Closes a viewer's connections. What waits to be written is lost.
    pub fn forget(&mut self, viewer: Key) {
        self.connections.retain(|_, connection| connection.viewer != Some(viewer));
    }

    /// Closes those that stayed strangers.
    pub fn sweep(&mut self, now: Instant) {
        self.connections.retain(|_, connection| {
            connection.viewer.is_some() || now.saturating_duration_since(connection.since) < STRANGER
        });
    }

    pub fn room(&self, to: SocketAddr) -> usize {
        let queued = |connection: &Connection| connection.queued.load(Ordering::Relaxed);
        self.connections.get(&to).map_or(0, |connection| WAITING.saturating_sub(queued(connection)))
    }

    pub fn send(&mut self, to: SocketAddr, packet: &[u8]) -> u64 {
        let lost = match &self.batch {
            Some((other, ..)) if *other != to => self.flush(),
            _ => 0,
        };
        let Ok(length) = u16::try_from(packet.len()) else { return lost + 1 };
        let (_, bytes, packets) = self.batch.get_or_insert_with(|| (to, Vec::new(), 0));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(packet);
        *packets += 1;
        lost
    }

    /// Hands over what waits; how many packets the connection did not take.
    pub fn flush(&mut self) -> u64 {
        let Some((to, bytes, packets)) = self.batch.take() else { return 0 };
        let Some(connection) = self.connections.get(&to) else { return packets };
        let length = bytes.len();
        // Twice the bound: repetitions and reports come on top of the pictures that were measured.
        if connection.queued.load(Ordering::Relaxed) + length > 2 * WAITING {
            return packets;
        }
        connection.queued.fetch_add(length, Ordering::Relaxed);
        if connection.queue.try_send(bytes).is_err() {
            connection.queued.fetch_sub(length, Ordering::Relaxed);
            return packets;
        }
        0
    }
}

async fn serve(
    stream: TcpStream,
    source: SocketAddr,
    destination: SocketAddr,
    arrived: mpsc::Sender<Arrival>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
) {
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        loop {
            let Ok(length) = reader.read_u16().await else { return };
            let mut packet = vec![0; usize::from(length)];
            if packet.len() > LARGEST || reader.read_exact(&mut packet).await.is_err() {
                return;
            }
            if arrived.send(Arrival::Packet { source, destination, packet }).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some(bytes) = queue.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    let _ = arrived.send(Arrival::Closed { source }).await;
}
