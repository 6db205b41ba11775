//! Public addresses of the media port (`webrtc.public_addresses`) and the URLs of STUN and TURN
//! servers, as they are written. Pure text work: no name is looked up here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use url::Host;

/// What viewers are told instead of a local address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    pub host: PublicHost,
    /// None is the media port's own.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicHost {
    Ip(IpAddr),
    /// A name to look up.
    Name(String),
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (PublicHost::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
            (PublicHost::Ip(ip), None) => write!(f, "{ip}"),
            (PublicHost::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (PublicHost::Name(name), None) => f.write_str(name),
        }
    }
}

/// The text is none of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write {}", PublicAddress::ALLOWED)]
pub struct NoAddress;

impl PublicAddress {
    pub const ALLOWED: &'static str =
        "addresses or host names, with a port or without: 203.0.113.7, [2001:db8::1]:9000, cam.example.org";
}

impl FromStr for PublicAddress {
    type Err = NoAddress;

    /// `203.0.113.7`, `203.0.113.7:9000`, `2001:db8::1`, `[2001:db8::1]:9000`, `host`, `host:9000`.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Self::ip(ip, None);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::ip(address.ip(), Some(address.port()));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::ip(inner.parse::<Ipv6Addr>().map_err(|_| NoAddress)?.into(), None);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(whole_port(port)?)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err(NoAddress);
        }
        Ok(Self { host: PublicHost::Name(name.into()), port })
    }
}

impl PublicAddress {
    fn ip(ip: IpAddr, port: Option<u16>) -> Result<Self, NoAddress> {
        // Nobody can be reached at these.
        if ip.is_unspecified() || ip.is_multicast() || port == Some(0) {
            return Err(NoAddress);
        }
        Ok(Self { host: PublicHost::Ip(ip), port })
    }
}

/// Whether a browser takes this as the URL of an ICE server (RFC 7064, RFC 7065), without a query but
/// `?transport=udp` or `tcp`.
pub fn is_ice_server(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let turn = match scheme {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return false,
    };
    let authority = match rest.split_once('?') {
        Some((authority, "transport=udp" | "transport=tcp")) if turn => authority,
        Some(_) => return false,
        None => rest,
    };
    authority.parse::<PublicAddress>().is_ok()
}

/// Whether the URL is that of a TURN server, which wants credentials.
pub fn is_turn(url: &str) -> bool {
    url.starts_with("turn:") || url.starts_with("turns:")
}

fn whole_port(text: &str) -> Result<u16, NoAddress> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(NoAddress),
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    // `Host` reads `1.2.3` and `0x7f` as addresses, as browsers do; those are slips here.
    (1..=253).contains(&text.len())
        && text.bytes().all(plain)
        && matches!(Host::parse(text), Ok(Host::Domain(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_public_address_is_read_and_written_again() {
        let table = [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:9000", "203.0.113.7:9000"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
            ("cam.example.org", "cam.example.org"),
            ("cam:443", "cam:443"),
        ];
        for (text, again) in table {
            assert_eq!(text.parse::<PublicAddress>().map(|address| address.to_string()), Ok(again.into()));
        }
        for bad in [
            "",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "1.2.3.4:0",
            "1.2.3.4:99999",
            "1.2.3",
            "cam:",
            "cam:x",
            "cam:+1",
            "cam:0",
            "a b",
            "http://cam",
            "cam/x",
            "u@cam",
            "[cam]",
            "[::1",
            ":80",
            "1.2.3.4/24",
        ] {
            assert_eq!(bad.parse::<PublicAddress>(), Err(NoAddress), "{bad}");
        }
    }

    #[test]
    fn an_ice_server_is_a_url_that_a_browser_takes() {
        for good in [
            "stun:stun.example.org",
            "stun:192.0.2.1:3478",
            "turn:turn.example.org:3478?transport=udp",
            "turns:turn.example.org:5349?transport=tcp",
            "turn:[2001:db8::1]:3478",
        ] {
            assert!(is_ice_server(good), "{good}");
        }
        for bad in [
            "stun.example.org",
            "stun://stun.example.org",
            "turn:u:p@turn.example.org",
            "turn:turn.example.org?transport=sctp",
            "stun:stun.example.org?transport=udp",
            "http://stun.example.org",
            "turn:",
            "turn:a b",
        ] {
            assert!(!is_ice_server(bad), "{bad}");
        }
    }
}
