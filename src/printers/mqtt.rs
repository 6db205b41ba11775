//! One connection to a printer's broker: TCP, TLS with the pinned certificate, MQTT 3.1.1.
//!
//! rumqttc gives the packets and their bounds. Its own event loop is not used: it takes the address it
//! connects to as the name it greets by TLS, and a printer at an address wants to be greeted by its serial
//! number; it also begins anew by itself, which is supervision's business here.
//!
//! Everything is bounded: each step in time, each packet in size. Dropping a [`Connection`] closes it.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error as Malformed, QoS};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::link::LinkSettings;
use super::reach;
use super::report::MESSAGE_LIMIT;
use crate::reach::{Reach, ReachError};
use crate::supervision::Failure;
use crate::tls::{Fingerprint, pinned};

/// What all these machines call their only user.
const USER: &str = "bblp";
/// A packet is the message and a little around it.
const PACKET_LIMIT: usize = MESSAGE_LIMIT + 1024;
/// What a connection holds for incoming bytes; it grows with a larger report.
const BUFFER: usize = 8 * 1024;
/// For a packet to go out.
const WRITE: Duration = Duration::from_secs(5);
/// For the goodbye.
const GOODBYE: Duration = Duration::from_millis(200);
/// The number of our only subscription.
const SUBSCRIPTION: u16 = 1;

/// How far connecting came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something answers at the address.
    Reach,
    /// It speaks TLS, and has the right certificate.
    Tls,
    /// It accepts the access code.
    Code,
    /// It gives the reports of this serial number.
    Mqtt,
}

/// Why there is no connection (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub step: Step,
    pub failure: Failure,
    /// The certificate that was shown instead of the pinned one.
    pub changed: Option<Fingerprint>,
}

impl Broken {
    fn at(step: Step, failure: Failure) -> Self {
        Self { step, failure, changed: None }
    }

    /// The printer is of no use any more, though the connection may be whole.
    pub fn given_up(words: String) -> Self {
        Self::at(Step::Mqtt, Failure::broken(words))
    }

    pub fn lost(words: impl std::fmt::Display) -> Self {
        Self::at(Step::Mqtt, Failure::broken(format!("the connection broke: {words}")))
    }
}

/// An open connection, subscribed to the printer's reports.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    incoming: BytesMut,
    outgoing: BytesMut,
    reports: String,
    requests: String,
    certificate: Option<Fingerprint>,
}

impl Connection {
    /// Connects, greets, logs in and subscribes.
    ///
    /// # Errors
    /// With how far it came and why no farther.
    pub async fn open(
        settings: &LinkSettings,
        pin: Option<Fingerprint>,
        keep_alive: Duration,
        limit: Duration,
    ) -> Result<Self, Broken> {
        let (mut step, late) = (Step::Reach, limit.as_secs());
        match timeout(limit, Self::establish(settings, pin, keep_alive, &mut step)).await {
            Ok(opened) => opened,
            Err(_) => {
                let (target, port) = (&settings.host, settings.port);
                Err(Broken::at(
                    step,
                    match step {
                        Step::Reach => {
                            Failure::absent(format!("{target} port {port} does not answer for {late} s"))
                        }
                        Step::Tls => Failure::broken(format!(
                            "{target} does not finish TLS's greeting within {late} s"
                        )),
                        _ => Failure::broken(format!(
                            "{target} does not finish MQTT's greeting within {late} s"
                        )),
                    },
                ))
            }
        }
    }

    async fn establish(
        settings: &LinkSettings,
        pin: Option<Fingerprint>,
        keep_alive: Duration,
        step: &mut Step,
    ) -> Result<Self, Broken> {
        let LinkSettings { host, port, serial, access_code, .. } = settings;
        let host = host.trim_matches(['[', ']']);
        let away = |words: String| Broken::at(Step::Reach, Failure::absent(words));
        let tcp = match &settings.confined {
            None => TcpStream::connect((host, *port)).await,
            Some(networks) => {
                let found = reach::resolve(&Reach::new(networks.clone()), host, *port).await;
                let found = found.map_err(|error| match error {
                    ReachError::Refused(..) => {
                        Broken::at(Step::Reach, Failure::refused(reach::words(&error)))
                    }
                    error => away(error.to_string()),
                })?;
                // Not to the name: it could mean another address by now.
                TcpStream::connect(found.as_slice()).await
            }
        };
        let tcp = tcp.map_err(|error| away(format!("{host} port {port}: {error}")))?;
        // Packets are small and somebody waits for each.
        let _ = tcp.set_nodelay(true);
        *step = Step::Tls;
        let broken = |words: String| Broken::at(Step::Tls, Failure::broken(words));
        let (config, seen) = pinned(pin).map_err(|error| broken(format!("TLS: {error}")))?;
        // Of digits alone, a serial number is no name for TLS, and none is said.
        let address = tcp.peer_addr().map_err(|error| broken(error.to_string()))?.ip();
        let name = ServerName::try_from(serial.clone()).unwrap_or_else(|_| ServerName::from(address));
        let greeted = TlsConnector::from(config).connect(name, tcp).await;
        let stream = greeted.map_err(|error| match (pin, seen.get()) {
            (Some(pin), Some(shown)) if pin != shown => Broken {
                step: Step::Tls,
                failure: Failure::refused(format!(
                    "{host} shows another certificate (SHA-256 {shown}) than before ({pin}): accept it if the \
                     printer was replaced, reset or updated; otherwise something else answers at its address"
                )),
                changed: Some(shown),
            },
            _ => broken(format!("{host} port {port} does not speak TLS as a printer does: {error}")),
        })?;
        let mut connection = Self {
            stream,
            incoming: BytesMut::with_capacity(BUFFER),
            outgoing: BytesMut::new(),
            reports: format!("device/{serial}/report"),
            requests: format!("device/{serial}/request"),
            certificate: seen.get(),
        };
        *step = Step::Code;
        let mut hello = Connect::new(format!("fanlight-{:016x}", rand::random::<u64>()));
        // The printer hangs up after one and a half of it.
        hello.keep_alive = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX).max(1);
        hello.clean_session = true;
        hello.set_login(USER, access_code.expose());
        connection
            .send(&Packet::Connect(hello))
            .await
            .map_err(|broken| Broken { step: Step::Code, ..broken })?;
        connection.logged_in(host).await?;
        *step = Step::Mqtt;
        let mut subscribe = Subscribe::new(connection.reports.clone(), QoS::AtMostOnce);
        subscribe.pkid = SUBSCRIPTION;
        connection.send(&Packet::Subscribe(subscribe)).await?;
        connection.subscribed(serial).await?;
        Ok(connection)
    }

    async fn logged_in(&mut self, host: &str) -> Result<(), Broken> {
        let at = |failure| Broken::at(Step::Code, failure);
        let packet = self.packet().await.map_err(|broken| {
            let words = broken.failure.message;
            at(Failure::broken(format!(
                "{host} hung up instead of letting us in: is the access code right? {words}"
            )))
        })?;
        let Packet::ConnAck(answer) = packet else {
            return Err(at(Failure::broken(format!("{host} does not speak MQTT as a printer does"))));
        };
        match answer.code {
            ConnectReturnCode::Success => Ok(()),
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                Err(at(Failure::refused(format!(
                    "{host} refuses the access code: it is on the printer's screen (Settings, LAN Only or \
                     Network) and changes when it is refreshed there"
                ))))
            }
            other => Err(at(Failure::broken(format!("{host} does not let us in: {other:?}")))),
        }
    }

    async fn subscribed(&mut self, serial: &str) -> Result<(), Broken> {
        // A broker may send reports before it confirms.
        for _ in 0..32 {
            match self.packet().await? {
                Packet::SubAck(answer) if answer.pkid == SUBSCRIPTION => {
                    return match answer.return_codes.first() {
                        Some(SubscribeReasonCode::Success(_)) => Ok(()),
                        _ => Err(Broken::at(
                            Step::Mqtt,
                            Failure::refused(format!(
                                "the printer does not give the reports of {serial}: is that its serial number?"
                            )),
                        )),
                    };
                }
                _ => {}
            }
        }
        Err(Broken::lost("it does not confirm the subscription"))
    }

    /// What the peer showed.
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.certificate
    }

    /// The next packet. Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// When there will be none.
    pub async fn packet(&mut self) -> Result<Packet, Broken> {
        loop {
            match Packet::read(&mut self.incoming, PACKET_LIMIT) {
                Ok(packet) => return Ok(packet),
                Err(Malformed::InsufficientBytes(missing)) => self.incoming.reserve(missing),
                Err(error) => return Err(Broken::lost(format!("no MQTT: {error}"))),
            }
            match self.stream.read_buf(&mut self.incoming).await {
                Ok(0) => return Err(Broken::lost("the printer hung up")),
                Ok(_) => {}
                // One that loses power says no goodbye.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(Broken::lost("the printer hung up"));
                }
                Err(error) => return Err(Broken::lost(error)),
            }
        }
    }

    /// Whether this is a report of the printer's.
    pub fn is_report(&self, publish: &Publish) -> bool {
        publish.topic == self.reports
    }

    /// Sends a request to the printer.
    ///
    /// # Errors
    /// When it does not go out.
    pub async fn request(&mut self, payload: String) -> Result<(), Broken> {
        let publish = Publish::new(self.requests.clone(), QoS::AtMostOnce, payload);
        self.send(&Packet::Publish(publish)).await
    }

    /// Sends any packet.
    ///
    /// # Errors
    /// When it does not go out.
    pub async fn send(&mut self, packet: &Packet) -> Result<(), Broken> {
        self.outgoing.clear();
        packet.write(&mut self.outgoing, PACKET_LIMIT).map_err(Broken::lost)?;
        let sending = async {
            self.stream.write_all(&self.outgoing).await?;
            self.stream.flush().await
        };
        match timeout(WRITE, sending).await {
            Ok(sent) => sent.map_err(Broken::lost),
            Err(_) => Err(Broken::lost("the printer takes nothing in")),
        }
    }

    /// Says goodbye, if that is quickly done.
    pub async fn close(mut self) {
        let _ = timeout(GOODBYE, async {
            let _ = self.send(&Packet::Disconnect).await;
            let _ = self.stream.shutdown().await;
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All packets in these bytes, as [`Connection::packet`] would take them.
    fn packets(bytes: &[u8]) -> (usize, bool) {
        let mut incoming = BytesMut::from(bytes);
        for count in 0.. {
            match Packet::read(&mut incoming, PACKET_LIMIT) {
                Ok(_) => {}
                Err(Malformed::InsufficientBytes(missing)) => {
                    assert!(missing <= PACKET_LIMIT + 5, "{missing}");
                    return (count, true);
                }
                Err(_) => return (count, false),
            }
        }
        unreachable!()
    }

    fn some_packet() -> impl Strategy<Value = Vec<u8>> {
        let publish = ("[a-z/]{0,12}", prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(topic, payload)| Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload)));
        let others = prop::sample::select(vec![Packet::PingResp, Packet::PingReq, Packet::Disconnect]);
        prop_oneof![publish, others].prop_map(|packet| {
            let mut bytes = BytesMut::new();
            packet.write(&mut bytes, PACKET_LIMIT).unwrap();
            bytes.to_vec()
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            packets(&bytes);
        }

        #[test]
        fn any_damage_to_packets_is_survived(
            good in prop::collection::vec(some_packet(), 1..6),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = good.concat();
            if damage.is_empty() {
                prop_assert_eq!(packets(&bytes), (good.len(), true));
            }
            for (index, byte) in damage {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            packets(&bytes);
        }
    }

    #[test]
    fn a_packet_larger_than_any_report_ends_the_connection() {
        // Two mebibytes to come.
        assert_eq!(packets(&[0x30, 0x80, 0x80, 0x80, 0x01]), (0, false));
    }
}
