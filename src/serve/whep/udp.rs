//! The UDP side of the media port: one socket for everybody, with the address that each datagram was sent
//! to, and many packets a call where the kernel can (segmentation offload).

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Reports and ICE checks are small; the kernel may join as many as fit.
const READ: usize = 32 * 1024;
const READS: usize = 8;
/// Calls to read before others get their turn.
const ROUNDS: usize = 4;
/// One call may carry 64 kB; what the kernel adds is left free.
const MOST: usize = 60_000;
/// What the kernel is asked to buffer; it gives less if it is told to (`net.core.wmem_max`).
const SEND_BUFFER: usize = 4 * 1024 * 1024;
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// What may wait here when the kernel's buffer is full, which a keyframe for several viewers does easily:
/// about 0.3 s of a 100 Mbit/s link. More is lost.
const WAITING: usize = 4 * 1024 * 1024;

/// Opens the port. For `[::]` it serves IPv4 as well.
pub fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Smaller buffers lose packets under load, which is repaired: no reason not to start.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    bound: SocketAddr,
    buffers: Vec<u8>,
    batch: Batch,
    /// What the kernel would not take yet, in order.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
}

/// Packets of equal size (the last may be smaller) from and to the same addresses.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    count: u64,
    between: Option<(SocketAddr, SocketAddr)>,
    /// The last one was smaller: nothing fits behind it.
    full: bool,
}

impl Udp {
    /// Call it inside the runtime that is to read.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        let socket = UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            socket,
            state,
            bound,
            buffers: vec![0; READ * READS],
            batch: Batch::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        })
    }

    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    pub async fn readable(&self) {
        // An error here means a runtime that is gone, and with it this future's owner.
        let _ = self.socket.readable().await;
    }

    /// The kernel takes more of what waits; never while nothing does.
    pub async fn writable(&self) {
        if self.waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        let _ = self.socket.writable().await;
    }

    /// Sends of what waits as much as the kernel takes.
    pub fn drain(&mut self) {
        while let Some(batch) = self.waiting.front() {
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                self.transmit(batch).ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            if sent.is_err() {
                return;
            }
            self.waiting_bytes -= batch.bytes.len();
            self.waiting.pop_front();
        }
    }

    /// Hands out what has arrived: from where, to which of our addresses, what.
    pub fn receive(&mut self, mut each: impl FnMut(SocketAddr, SocketAddr, &[u8])) {
        let mut meta = [RecvMeta::default(); READS];
        for _ in 0..ROUNDS {
            let mut slices: Vec<IoSliceMut<'_>> =
                self.buffers.chunks_mut(READ).map(IoSliceMut::new).collect();
            let (socket, state) = (&self.socket, &self.state);
            let read =
                socket.try_io(Interest::READABLE, || state.recv(socket.into(), &mut slices, &mut meta));
            drop(slices);
            let Ok(count) = read else { return };
            for (meta, buffer) in meta.iter().zip(self.buffers.chunks(READ)).take(count) {
                let source = canonical(meta.addr);
                let ip = meta.dst_ip.filter(|_| self.bound.ip().is_unspecified());
                let ip = ip.map_or(self.bound.ip(), |ip| ip.to_canonical());
                let destination = SocketAddr::new(ip, self.bound.port());
                let bytes = &buffer[..meta.len.min(READ)];
                for datagram in bytes.chunks(meta.stride.max(1)) {
                    each(source, destination, datagram);
                }
            }
            if count < READS {
                return;
            }
        }
    }

    /// Puts a packet behind those that wait for [`Udp::flush`]. Returns how many of the earlier ones were
    /// lost, if they had to leave now.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> u64 {
        let batch = &self.batch;
        let fits = batch.between == Some((from, to))
            && !batch.full
            && datagram.len() <= batch.segment
            && batch.count < self.state.max_gso_segments() as u64
            && batch.bytes.len() + datagram.len() <= MOST;
        let lost = if fits { 0 } else { self.flush() };
        let batch = &mut self.batch;
        if batch.count == 0 {
            batch.segment = datagram.len();
            batch.between = Some((from, to));
        }
        batch.full = datagram.len() < batch.segment;
        batch.bytes.extend_from_slice(datagram);
        batch.count += 1;
        lost
    }

    /// Sends what was put together; how many packets are lost, because the kernel refuses them or too many
    /// wait for it already. The viewers ask for them again.
    pub fn flush(&mut self) -> u64 {
        if self.batch.between.is_none() {
            return 0;
        }
        if self.waiting.is_empty()
            && let Some(lost) = self.transmit(&self.batch)
        {
            self.batch = Batch { bytes: std::mem::take(&mut self.batch.bytes), ..Batch::default() };
            self.batch.bytes.clear();
            return lost;
        }
        let batch = std::mem::take(&mut self.batch);
        if self.waiting_bytes + batch.bytes.len() > WAITING {
            return batch.count;
        }
        self.waiting_bytes += batch.bytes.len();
        self.waiting.push_back(batch);
        0
    }

    /// Hands a batch to the kernel; how many packets of it were refused. `None`: not now.
    fn transmit(&self, batch: &Batch) -> Option<u64> {
        let Some((from, to)) = batch.between else { return Some(0) };
        let source = self.bound.ip().is_unspecified().then(|| from.ip());
        let one = |contents: &[u8], segment: Option<usize>| {
            let transmit = Transmit {
                destination: self.mapped(to),
                ecn: None,
                contents,
                segment_size: segment,
                src_ip: source.map(|ip| self.mapped(SocketAddr::new(ip, 0)).ip()),
            };
            self.state.try_send((&self.socket).into(), &transmit)
        };
        match one(&batch.bytes, (batch.count > 1).then_some(batch.segment)) {
            Ok(()) => Some(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The offload was refused: one by one, from now on.
            Err(_) if batch.count > 1 => {
                let datagrams = batch.bytes.chunks(batch.segment);
                Some(datagrams.filter(|datagram| one(datagram, None).is_err()).count() as u64)
            }
            Err(_) => Some(batch.count),
        }
    }

    /// An IPv4 address as an IPv6 socket wants it.
    fn mapped(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.bound.is_ipv6() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}
