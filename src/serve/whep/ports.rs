//! The media port: the way in and out for all viewers' packets, UDP or TCP.

use std::net::SocketAddr;

use str0m::Candidate;
use str0m::net::{Protocol, Transmit};

use super::addresses;
use super::demux::Key;
use super::tcp::{Arrival, Tcp};
use super::udp::Udp;

#[derive(Debug)]
pub struct Ports {
    pub udp: Udp,
    pub tcp: Option<Tcp>,
}

impl Ports {
    /// What viewers are told: `public` addresses and those that this machine has now.
    pub fn candidates(&self, public: &[SocketAddr]) -> Vec<Candidate> {
        addresses::candidates(public, &addresses::local(self.udp.bound()), self.tcp.is_some())
    }

    /// Sends or queues one packet; how many earlier ones turned out to be lost.
    pub fn send(&mut self, packet: &Transmit) -> u64 {
        match (packet.proto, &mut self.tcp) {
            (Protocol::Udp, _) => self.udp.send(packet.source, packet.destination, &packet.contents),
            (_, Some(tcp)) => tcp.send(packet.destination, &packet.contents),
            (_, None) => 1,
        }
    }

    /// Lets go of what was queued; how many packets were lost.
    pub fn flush(&mut self) -> u64 {
        self.udp.flush() + self.tcp.as_mut().map_or(0, Tcp::flush)
    }

    /// How many more bytes that connection takes; UDP takes any.
    pub fn room(&self, protocol: Protocol, to: SocketAddr) -> usize {
        match (protocol, &self.tcp) {
            (Protocol::Udp, _) => usize::MAX,
            (_, Some(tcp)) => tcp.room(to),
            (_, None) => 0,
        }
    }

    pub fn forget(&mut self, viewer: Key) {
        if let Some(tcp) = &mut self.tcp {
            tcp.forget(viewer);
        }
    }
}

/// What arrives next over TCP; never without it.
pub async fn tcp_next(tcp: &mut Option<Tcp>) -> Arrival {
    match tcp {
        Some(tcp) => tcp.next().await,
        None => std::future::pending().await,
    }
}
