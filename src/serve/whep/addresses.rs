//! Where viewers can reach this machine: its own addresses as they are now, and what the configuration says
//! the outside sees.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use str0m::Candidate;
use str0m::net::TcpType;

/// How long a looked-up host name is believed, and a look-up waited for.
const KNOWN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(2);

/// The addresses that a socket bound to `bound` is reached at. Loopback only counts when there is no other.
pub fn local(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    usable(all, bound)
}

fn usable(all: impl Iterator<Item = IpAddr>, bound: SocketAddr) -> Vec<SocketAddr> {
    let (mut outer, mut loopback) = (Vec::new(), Vec::new());
    for ip in all.filter(|ip| ip.is_ipv4() || bound.is_ipv6()) {
        let link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let list = if ip.is_loopback() { &mut loopback } else { &mut outer };
        let address = SocketAddr::new(ip, bound.port());
        if !link_local && !ip.is_unspecified() && !ip.is_multicast() && !list.contains(&address) {
            list.push(address);
        }
    }
    if outer.is_empty() { loopback } else { outer }
}

/// ICE candidates, the best first: public before local, UDP before TCP.
pub fn candidates(public: &[SocketAddr], local: &[SocketAddr], tcp: bool) -> Vec<Candidate> {
    let mut all: Vec<SocketAddr> = public.to_vec();
    all.extend(local.iter().filter(|address| !public.contains(address)));
    let udp = all.iter().filter_map(|address| Candidate::host(*address, "udp").ok());
    let tcp = all.iter().filter(|_| tcp).filter_map(|address| {
        Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build().ok()
    });
    udp.chain(tcp).collect()
}

/// `webrtc.public_addresses`, resolved.
#[derive(Debug, Default)]
pub struct Public {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: Vec<String>,
    addresses: Vec<SocketAddr>,
    at: Option<Instant>,
}

impl Public {
    /// The addresses, looked up when the last look-up is too old; those without a port get `port`. A name
    /// that does not resolve in time is left out and logged.
    pub async fn resolve(&self, names: &[String], port: u16) -> Vec<SocketAddr> {
        if names.is_empty() {
            return Vec::new();
        }
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.names == names {
                if known.at.is_some_and(|at| at.elapsed() < KNOWN) {
                    return known.addresses.clone();
                }
                // One asks; who comes meanwhile gets what was known.
                known.at = Some(Instant::now());
            }
        }
        let mut addresses = Vec::new();
        for name in names {
            if let Some(address) = literal(name, port) {
                addresses.push(address);
                continue;
            }
            let host = if name.contains(':') { name.clone() } else { format!("{name}:{port}") };
            match tokio::time::timeout(PATIENCE, tokio::net::lookup_host(host)).await {
                Ok(Ok(found)) => addresses.extend(found.take(4)),
                Ok(Err(error)) => {
                    tracing::warn!(
                        "the public address {name:?} (webrtc.public_addresses) does not resolve: {error}"
                    );
                }
                Err(_) => tracing::warn!(
                    "the public address {name:?} (webrtc.public_addresses) did not resolve within {PATIENCE:?}"
                ),
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known { names: names.to_vec(), addresses: addresses.clone(), at: Some(Instant::now()) };
        addresses
    }
}

/// An address without a name: `203.0.113.7`, `203.0.113.7:9000`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:9000`.
fn literal(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let ip = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    ip.parse().ok().map(|ip| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(all: &[&str]) -> impl Iterator<Item = IpAddr> {
        all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>().into_iter()
    }

    fn texts(addresses: &[SocketAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_addresses_of_the_bound_family_are_offered_and_loopback_only_when_alone() {
        let all = ["127.0.0.1", "192.0.2.5", "192.0.2.5", "169.254.3.3", "::1", "2001:db8::5", "fe80::1"];
        let v4: SocketAddr = "0.0.0.0:8189".parse().unwrap();
        let both: SocketAddr = "[::]:8189".parse().unwrap();
        assert_eq!(texts(&usable(ips(&all), v4)), ["192.0.2.5:8189"]);
        assert_eq!(texts(&usable(ips(&all), both)), ["192.0.2.5:8189", "[2001:db8::5]:8189"]);
        assert_eq!(texts(&usable(ips(&["127.0.0.1", "fe80::1"]), v4)), ["127.0.0.1:8189"]);
        assert_eq!(texts(&local("127.0.0.1:8189".parse().unwrap())), ["127.0.0.1:8189"]);
        assert!(!local(both).is_empty());
    }

    #[test]
    fn public_candidates_stand_before_local_ones_and_tcp_ones_are_passive() {
        let public = ["203.0.113.7:9000".parse().unwrap()];
        let local = ["192.0.2.5:8189".parse().unwrap()];
        let lines: Vec<String> = candidates(&public, &local, true).iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains(" udp ") && lines[0].contains(" 203.0.113.7 9000 typ host"), "{lines:?}");
        assert!(lines[1].contains(" udp ") && lines[1].contains(" 192.0.2.5 8189 typ host"), "{lines:?}");
        assert!(
            lines[2].contains(" tcp ") && lines[2].ends_with("9000 typ host tcptype passive"),
            "{lines:?}"
        );
        assert_eq!(candidates(&public, &local, false).len(), 2);
        assert_eq!(candidates(&local, &local, false).len(), 1, "no address twice");
    }

    #[tokio::test]
    async fn public_addresses_may_be_addresses_with_or_without_ports_and_names() {
        let public = Public::default();
        let names = [
            "203.0.113.7",
            "203.0.113.7:9000",
            "2001:db8::1",
            "[2001:db8::1]",
            "[2001:db8::1]:9000",
            "localhost",
        ];
        let found = public.resolve(&names.map(str::to_owned), 8189).await;
        let expected = [
            "203.0.113.7:8189",
            "203.0.113.7:9000",
            "[2001:db8::1]:8189",
            "[2001:db8::1]:8189",
            "[2001:db8::1]:9000",
        ];
        assert_eq!(texts(&found[..5]), expected);
        assert!(found[5..].iter().all(|address| address.ip().is_loopback() && address.port() == 8189));
        assert!(found.len() > 5);
    }
}
