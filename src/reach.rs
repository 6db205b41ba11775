//! Where an address that was given by API may lead. Whoever may add a camera could otherwise make this service
//! ask what only this machine can: services on loopback, the metadata of a cloud.
//!
//! [`Reach::permits`] is pure. A name is looked up when a connection is about to be made, what is not permitted
//! is left out, and the connection goes to one of the addresses that were looked at: not to the name, which
//! could mean another one a moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use url::Url;

use crate::config::Network;

/// Metadata services of clouds, where they are not link-local.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    /// What is let through in any case.
    allow: Vec<Network>,
}

/// Why an address is not gone to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    #[error(
        "{0} is {1}; name it in external.allow_networks (a printer: printers.allow_networks) if that is meant"
    )]
    Refused(IpAddr, &'static str),
    #[error("{0:?} cannot be looked up: {1}")]
    Lookup(String, String),
    #[error("{0:?} is no address of a host")]
    NoHost(String),
}

impl Reach {
    pub fn new(allow: Vec<Network>) -> Self {
        Self { allow }
    }

    /// What is let through in any case.
    pub fn networks(&self) -> &[Network] {
        &self.allow
    }

    /// Whether this address may be gone to; `own` are those of this machine.
    ///
    /// # Errors
    /// With what it is.
    pub fn permits(&self, ip: IpAddr, own: &[IpAddr]) -> Result<(), ReachError> {
        let ip = ip.to_canonical();
        if self.allow.iter().any(|network| network.contains(ip)) {
            return Ok(());
        }
        let what = match ip {
            IpAddr::V4(ip) => special_v4(ip),
            IpAddr::V6(ip) => special_v6(ip),
        };
        let metadata = METADATA.contains(&ip).then_some("the metadata of a cloud");
        let here = own.iter().any(|own| own.to_canonical() == ip).then_some("this machine itself");
        match metadata.or(what).or(here) {
            Some(what) => Err(ReachError::Refused(ip, what)),
            None => match ip {
                IpAddr::V6(v6) => embedded(v6).map_or(Ok(()), |v4| self.permits(v4.into(), own)),
                IpAddr::V4(_) => Ok(()),
            },
        }
    }

    /// The addresses of a host that may be gone to. Looks names up, and blocks for that long.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ReachError> {
        let host = host.trim_matches(['[', ']']);
        let lookup = |words: String| ReachError::Lookup(host.to_owned(), words);
        self.those(host, (host, port).to_socket_addrs().map_err(|error| lookup(error.to_string()))?)
    }

    /// Those of the addresses that `host` was found to have that may be gone to.
    ///
    /// # Errors
    /// When there is none.
    pub fn those(
        &self,
        host: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ReachError> {
        let none = || ReachError::Lookup(host.to_owned(), "it has no address".to_owned());
        self.permitted(found, &own()).unwrap_or_else(|| Err(none()))
    }

    /// Those of `found` that may be gone to, or why the first one may not. `None`: there is none at all.
    fn permitted(
        &self,
        found: impl Iterator<Item = SocketAddr>,
        own: &[IpAddr],
    ) -> Option<Result<Vec<SocketAddr>, ReachError>> {
        let (mut good, mut refused) = (Vec::new(), None);
        for address in found {
            match self.permits(address.ip(), own) {
                Ok(()) => good.push(address),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if good.is_empty() { refused.map(Err) } else { Some(Ok(good)) }
    }

    /// The same URL with an address that may be gone to instead of its host. Looks names up, and blocks for
    /// that long. An HTTPS URL keeps its name: its certificate is checked against it, before anything is asked.
    ///
    /// # Errors
    /// When there is no such address.
    pub fn pinned(&self, url: &str) -> Result<String, ReachError> {
        let no_host = || ReachError::NoHost(crate::config::redact_url(url));
        let parsed = Url::parse(url).map_err(|_| no_host())?;
        let port = port(&parsed);
        let found = self.resolve(parsed.host_str().ok_or_else(no_host)?, port)?;
        let start = url.find("://").ok_or_else(no_host)? + 3;
        if parsed.scheme() == "https" {
            return Ok(url.to_owned());
        }
        let end = url[start..].find(['/', '?', '#', '\\']).map_or(url.len(), |end| start + end);
        // The rest stays as it is written: cameras have paths that a parser would spoil.
        let address = SocketAddr::new(found.first().ok_or_else(no_host)?.ip(), port);
        Ok(format!("{}{address}{}", &url[..start], &url[end..]))
    }
}

/// The port of a URL of a camera.
pub fn port(url: &Url) -> u16 {
    url.port().unwrap_or(match url.scheme() {
        "rtsp" => 554,
        "rtsps" => 322,
        "http" => 80,
        _ => 443,
    })
}

/// The addresses of this machine as they are now.
pub fn own() -> Vec<IpAddr> {
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(address).collect()
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let first = ip.octets()[0];
    Some(match () {
        () if ip.is_loopback() => "loopback",
        () if ip.is_link_local() => "link-local, as the metadata of clouds is",
        // 0.0.0.0 is this machine.
        () if first == 0 => "no address of a camera",
        () if ip.is_multicast() || first >= 240 => "no address of one host",
        () => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    Some(match () {
        () if ip.is_loopback() => "loopback",
        () if ip.is_unicast_link_local() => "link-local",
        () if ip.is_unspecified() => "no address of a camera",
        () if ip.is_multicast() => "no address of one host",
        // Where in it the IPv4 address is, only the translator knows (RFC 8215).
        () if ip.segments()[..3] == [0x64, 0xff9b, 1] => "an IPv4 address that is translated here",
        () => return None,
    })
}

/// The IPv4 address that an IPv6 one leads to: NAT64 (RFC 6052), 6to4 (RFC 3056), the old compatible form.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = || Ipv4Addr::from_bits(ip.to_bits() as u32);
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => Some(last()),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reach(allow: &[&str]) -> Reach {
        Reach::new(allow.iter().map(|network| network.parse().unwrap()).collect())
    }

    const OWN: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2))];

    #[test]
    fn cameras_are_reached_and_what_only_this_machine_can_reach_is_not() {
        for (ip, good) in [
            ("192.168.1.7", true),
            ("10.0.0.1", true),
            ("172.20.1.1", true),
            ("100.64.3.4", true),
            ("93.184.216.34", true),
            ("fd12:3456::1", true),
            ("2001:db8::7", true),
            ("192.168.1.2", false),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false),
            ("169.254.1.1", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("224.0.0.1", false),
            ("239.255.255.250", false),
            ("255.255.255.255", false),
            ("240.0.0.1", false),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("fd00:ec2::254", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2002:7f00:1::1", false),
            ("64:ff9b::c0a8:107", true),
            // This machine, and metadata.
            ("64:ff9b::c0a8:102", false),
            ("2002:c0a8:102::1", false),
            ("64:ff9b::6464:64c8", false),
            ("2002:a83f:8110::1", false),
            ("64:ff9b:1::c0a8:107", false),
            ("64:ff9b:1:a9fe:a9:fe00::", false),
        ] {
            assert_eq!(reach(&[]).permits(ip.parse().unwrap(), &OWN).is_ok(), good, "{ip}");
        }
    }

    #[test]
    fn what_is_configured_is_let_through_and_no_more() {
        let reach = reach(&["127.0.0.0/8", "192.168.1.2"]);
        for (ip, good) in
            [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("192.168.1.2", true), ("::1", false)]
        {
            assert_eq!(reach.permits(ip.parse().unwrap(), &OWN).is_ok(), good, "{ip}");
        }
        let words = reach.permits("::1".parse().unwrap(), &[]).unwrap_err().to_string();
        assert!(words.contains("loopback") && words.contains("external.allow_networks"), "{words}");
    }

    #[test]
    fn a_url_is_pinned_to_an_address_and_otherwise_left_as_it_was_written() {
        let reach = reach(&["127.0.0.0/8", "::1"]);
        for (url, expected) in [
            ("rtsp://192.168.1.7/a//b?c=%2f#d", "rtsp://192.168.1.7:554/a//b?c=%2f#d"),
            ("rtsp://[fd00::7]:8554/x", "rtsp://[fd00::7]:8554/x"),
            ("rtsps://127.0.0.1", "rtsps://127.0.0.1:322"),
            ("http://127.0.0.1:81?action=stream", "http://127.0.0.1:81?action=stream"),
            ("https://127.0.0.1/x", "https://127.0.0.1/x"),
            // As a resolver reads them.
            ("rtsp://2130706433/x", "rtsp://127.0.0.1:554/x"),
        ] {
            assert_eq!(reach.pinned(url).as_deref(), Ok(expected), "{url}");
        }
        let closed = Reach::default();
        for url in [
            "rtsp://localhost/x",
            "rtsp://2130706433/x",
            "rtsp://0x7f.1/x",
            "rtsp://0177.0.0.1/x",
            "http://127.1/",
            "https://[::1]/",
            "http://[::ffff:7f00:1]/",
            "rtsp://169.254.169.254/",
        ] {
            let error = closed.pinned(url).unwrap_err();
            assert!(matches!(error, ReachError::Refused(..)), "{url}: {error}");
        }
        assert!(matches!(closed.pinned("rtsp://nobody.invalid/"), Err(ReachError::Lookup(..))));
    }

    #[test]
    fn of_several_addresses_only_those_are_taken_that_are_permitted() {
        let of = |ips: &[&str]| {
            let found = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 554));
            Reach::default().permitted(found, &OWN)
        };
        let good = of(&["fe80::1", "192.168.1.7", "127.0.0.1"]).unwrap().unwrap();
        assert_eq!(good, ["192.168.1.7:554".parse().unwrap()]);
        assert!(of(&["fe80::1", "127.0.0.1"]).unwrap().is_err());
        assert!(of(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_way_of_writing_a_loopback_or_link_local_address_is_permitted(bits in any::<u32>(), way in 0..4) {
            let v4 = Ipv4Addr::from_bits(bits);
            let v6 = |prefix: u128| IpAddr::V6(Ipv6Addr::from_bits(prefix | u128::from(bits)));
            let ip = match way {
                0 => IpAddr::V4(v4),
                1 => IpAddr::V6(v4.to_ipv6_mapped()),
                2 => v6(0x0064_ff9b << 96),
                _ => IpAddr::V6(Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80)),
            };
            if v4.is_loopback() || v4.is_link_local() {
                prop_assert!(Reach::default().permits(ip, &[]).is_err());
            }
        }
    }
}
