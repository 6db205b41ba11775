//! The way out for a viewer's packets, UDP or TCP.

use std::net::SocketAddr;

use str0m::Candidate;
use str0m::net::{Protocol, Transmit};

use super::addresses;
use super::udp::Udp;

#[derive(Debug)]
pub struct Ports {
    pub udp: Udp,
}

impl Ports {
    /// What viewers are told: `public` addresses and those that this machine has now.
    pub fn candidates(&self, public: &[SocketAddr]) -> Vec<Candidate> {
        addresses::candidates(public, &addresses::local(self.udp.bound()), false)
    }

    /// Sends or queues one packet; how many earlier ones turned out to be lost.
    pub fn send(&mut self, packet: &Transmit) -> u64 {
        match packet.proto {
            Protocol::Udp => self.udp.send(packet.source, packet.destination, &packet.contents),
            _ => 0,
        }
    }

    pub fn flush(&mut self) -> u64 {
        self.udp.flush()
    }

    /// How many more bytes that connection takes; UDP takes any.
    pub fn room(&self, _protocol: Protocol, _to: SocketAddr) -> usize {
        usize::MAX
    }
}
