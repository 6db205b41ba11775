//! Looks for cameras on the network: asks ONVIF devices by WS-Discovery, and knocks at RTSP's ports of hosts that
//! are named, or of the neighbours. Finds addresses; what is at them has to be added by somebody.
//!
//! Polite and bounded: one question, twice, into each network; two ports of at most [`HOSTS`] hosts, one
//! connection each, [`AT_ONCE`] at a time. Nothing is asked of an address that [`Reach`] does not permit, and
//! nobody who is there is believed to be elsewhere.

mod neighbours;
mod wsd;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use serde::Serialize;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::ToSchema;

use crate::capture::knock::answers_rtsp;
use crate::reach::{self, Reach};
use crate::telemetry;

/// Where WS-Discovery listens.
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 3702);
/// For answers: devices wait up to half a second before theirs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The question is asked again after this: it is one packet, and those get lost.
const AGAIN: Duration = Duration::from_millis(150);
/// Answers that are read.
const ANSWERS: usize = 256;
/// Networks that are asked.
const NETWORKS: usize = 8;
/// Hosts that are knocked at.
pub const HOSTS: usize = 128;
const AT_ONCE: usize = 32;
/// RTSP's own port, and that of most who are not root.
const PORTS: [u16; 2] = [554, 8554];

/// A device that may be a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FoundCamera)]
pub struct Found {
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// It says that it is an ONVIF camera.
    pub onvif: bool,
    /// What it calls itself.
    pub name: Option<String>,
    pub hardware: Option<String>,
    /// Where its ONVIF service is.
    pub service: Option<String>,
    /// The port that answers RTSP.
    pub rtsp_port: Option<u16>,
    /// How its streams' address begins; the path is the camera's own.
    pub stream_url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub last_seen: SystemTime,
}

impl Found {
    fn new(address: IpAddr) -> Self {
        Self {
            address,
            onvif: false,
            name: None,
            hardware: None,
            service: None,
            rtsp_port: None,
            stream_url: None,
            last_seen: SystemTime::now(),
        }
    }
}

/// Looks once. Hosts are addresses, perhaps with a port; none at all are the neighbours, and only then ONVIF
/// devices are asked for. Takes up to about ten seconds.
pub async fn look(hosts: &[SocketAddr], reach: &Reach) -> Vec<Found> {
    let own = reach::own();
    let permitted = |ip: IpAddr| reach.permits(ip, &own).is_ok();
    let mut found: BTreeMap<IpAddr, Found> = BTreeMap::new();
    let mut doors: Vec<SocketAddr> = Vec::new();
    if hosts.is_empty() {
        for (address, device) in ask(&own).await {
            if permitted(address) {
                let wsd::Device { name, hardware, service } = device;
                let one = Found { onvif: true, name, hardware, service, ..Found::new(address) };
                found.insert(address, one);
            }
        }
        let neighbours = neighbours::now(HOSTS).await.into_iter().map(IpAddr::V4);
        let mut all: Vec<IpAddr> = found.keys().copied().chain(neighbours).collect();
        all.sort_unstable();
        all.dedup();
        doors.extend(all.iter().flat_map(|ip| PORTS.map(|port| SocketAddr::new(*ip, port))));
    } else {
        let of = |host: &SocketAddr| match host.port() {
            0 => PORTS.map(|port| SocketAddr::new(host.ip(), port)).to_vec(),
            _ => vec![*host],
        };
        doors.extend(hosts.iter().flat_map(of));
    }
    doors.retain(|door| permitted(door.ip()));
    doors.truncate(HOSTS * PORTS.len());
    let knocks = doors.into_iter().map(|door| async move { answers_rtsp(door).await.then_some(door) });
    let answered: Vec<SocketAddr> =
        futures_util::stream::iter(knocks).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    for door in answered {
        let one = found.entry(door.ip()).or_insert_with(|| Found::new(door.ip()));
        if one.rtsp_port.is_none() {
            one.rtsp_port = Some(door.port());
            one.stream_url = Some(format!("rtsp://{door}/"));
        }
    }
    found.into_values().collect()
}

/// Asks in every network of this machine.
async fn ask(own: &[IpAddr]) -> BTreeMap<IpAddr, wsd::Device> {
    let networks = own.iter().filter_map(|ip| match ip {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_link_local() => Some(*ip),
        _ => None,
    });
    let asked = networks.take(NETWORKS).map(|network| async move {
        // A network that is going away, or lets no such packet out, has nobody to find.
        let answers = ask_in(network).await;
        answers.inspect_err(|error| tracing::debug!(%network, %error, "WS-Discovery")).unwrap_or_default()
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

async fn ask_in(network: Ipv4Addr) -> std::io::Result<BTreeMap<IpAddr, wsd::Device>> {
    let socket = UdpSocket::bind((network, 0)).await?;
    SockRef::from(&socket).set_multicast_if_v4(&network)?;
    let id = uuid();
    let question = wsd::probe(&id);
    let until = Instant::now() + ANSWERS_WITHIN;
    let asking = async {
        socket.send_to(question.as_bytes(), GROUP).await?;
        sleep(AGAIN).await;
        socket.send_to(question.as_bytes(), GROUP).await
    };
    let mut devices = BTreeMap::new();
    let listening = async {
        let mut datagram = vec![0; wsd::LARGEST];
        for _ in 0..ANSWERS {
            let Ok(Ok((length, from))) = timeout_at(until, socket.recv_from(&mut datagram)).await else {
                break;
            };
            if let Some(device) = wsd::answer(&datagram[..length], &id, from.ip()) {
                devices.entry(from.ip()).or_insert(device);
            }
        }
    };
    let (asked, ()) = tokio::join!(asking, listening);
    asked.map(|_| devices)
}

/// RFC 9562, version 4.
fn uuid() -> String {
    let bits: u128 = rand::random();
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_uuid_is_one_of_version_four() {
        for _ in 0..100 {
            let id = uuid();
            assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[tokio::test]
    async fn hosts_that_are_named_are_knocked_at_where_that_is_permitted() {
        let camera = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = camera.local_addr().unwrap();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = other.local_addr().unwrap();
        drop(other);
        let serving = tokio::spawn(async move {
            let (mut stream, _) = camera.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"RTSP/1.0 200 OK\r\n\r\n").await.unwrap();
        });
        assert_eq!(look(&[address], &Reach::default()).await, [], "not on loopback");
        let open = Reach::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let found = look(&[nobody, address], &open).await;
        serving.await.unwrap();
        let expected = (Some(address.port()), Some(format!("rtsp://{address}/")), false);
        let one = |found: &Found| (found.rtsp_port, found.stream_url.clone(), found.onvif);
        assert_eq!(found.iter().map(one).collect::<Vec<_>>(), [expected]);
    }
}
