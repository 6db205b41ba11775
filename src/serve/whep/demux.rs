//! Whose datagram is it? All viewers share one port.
//!
//! An address is learned only when a viewer's ICE agent has accepted a STUN request from it, that is when
//! the sender knew the session's password; everything else from an unknown address is dropped after a look
//! at a few bytes. So strangers cost no memory.

use std::collections::HashMap;
use std::net::SocketAddr;

use str0m::net::Protocol;

/// Addresses that one viewer may have at a time: Wi-Fi, mobile, IPv4, IPv6.
const PER_VIEWER: usize = 8;

/// A viewer's number, never used twice.
pub type Key = u64;

#[derive(Debug, Default)]
pub struct Demux {
    addresses: HashMap<(Protocol, SocketAddr), Key>,
    ufrags: HashMap<String, Key>,
}

impl Demux {
    pub fn by_address(&self, protocol: Protocol, source: SocketAddr) -> Option<Key> {
        self.addresses.get(&(protocol, source)).copied()
    }

    /// The viewer that a STUN request is for, by the user fragment of ours in its user name.
    pub fn by_request(&self, datagram: &[u8]) -> Option<Key> {
        self.ufrags.get(local_ufrag(datagram)?).copied()
    }

    pub fn expect(&mut self, ufrag: String, viewer: Key) {
        self.ufrags.insert(ufrag, viewer);
    }

    pub fn forget_ufrag(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }

    /// Remembers an address that was confirmed. When the viewer has too many, some other one of it goes.
    pub fn learn(&mut self, protocol: Protocol, source: SocketAddr, viewer: Key) {
        if self.addresses.insert((protocol, source), viewer) == Some(viewer) {
            return;
        }
        let others = || {
            self.addresses
                .iter()
                .filter(|(at, key)| **key == viewer && **at != (protocol, source))
                .map(|(at, _)| *at)
        };
        if others().count() >= PER_VIEWER
            && let Some(other) = others().next()
        {
            self.addresses.remove(&other);
        }
    }

    pub fn forget(&mut self, viewer: Key) {
        self.addresses.retain(|_, key| *key != viewer);
        self.ufrags.retain(|_, key| *key != viewer);
    }
}

/// Our user fragment in a STUN binding request (RFC 8489 section 5, RFC 8445 section 7.2.2: the user name is
/// `ours:theirs`); `None` for anything else.
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 6;
    let (header, mut attributes) = datagram.split_at_checked(20)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    while let Some((head, rest)) = attributes.split_at_checked(4) {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if kind == USERNAME {
            let name = std::str::from_utf8(rest.get(..length)?).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(username: &str) -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend_from_slice(&[7; 12]);
        request.extend_from_slice(&[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]); // SOFTWARE, padded
        request.extend_from_slice(&[0, 6, 0, username.len() as u8]);
        request.extend_from_slice(username.as_bytes());
        request
    }

    #[test]
    fn a_request_is_for_the_viewer_whose_user_fragment_it_names() {
        let mut demux = Demux::default();
        demux.expect("ours".to_owned(), 7);
        assert_eq!(demux.by_request(&request("ours:theirs")), Some(7));
        for other in ["others:theirs", "ours", ":", ""] {
            assert_eq!(demux.by_request(&request(other)), None, "{other:?}");
        }
        let mut response = request("ours:theirs");
        response[0] = 1;
        assert_eq!(demux.by_request(&response), None);
    }

    #[test]
    fn garbage_from_many_addresses_leaves_nothing_behind() {
        let demux = Demux::default();
        for port in 1..10_000 {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            assert_eq!(demux.by_address(Protocol::Udp, source), None);
            assert_eq!(demux.by_request(&request("guess:x")), None);
        }
        assert!(demux.addresses.is_empty() && demux.ufrags.is_empty());
    }

    #[test]
    fn one_viewer_keeps_a_bounded_number_of_addresses_and_leaves_with_all_of_them() {
        let mut demux = Demux::default();
        demux.learn(Protocol::Udp, SocketAddr::from(([192, 0, 2, 1], 1)), 1);
        for port in 1..100 {
            let source = SocketAddr::from(([192, 0, 2, 2], port));
            demux.learn(Protocol::Udp, source, 2);
            assert_eq!(demux.by_address(Protocol::Udp, source), Some(2), "the newest is always known");
        }
        assert!(demux.addresses.len() <= PER_VIEWER + 1);
        demux.forget(2);
        assert_eq!(demux.addresses.len(), 1);
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_it(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            local_ufrag(&tail);
            local_ufrag(&[&request("")[..20], &tail].concat());
        }
    }
}
