//! Viewers of WebRTC for tests and benchmarks, many in one process: str0m as the other side, which sends
//! receiver reports and asks for what it missed (NACK) as Chromium does. Counts whole pictures, gaps that
//! stayed, and when pictures were complete; loses packets on order; goes without a word when dropped.
//!
//! Signalling is the caller's: [`watch`] hands the offer to a function that brings the answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// Or keyframes to many viewers overflow the client and it loses what the server sent.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;
/// A gap that is open for longer stays one.
const GIVE_UP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Received RTP packets that are thrown away.
    pub lose_percent: f64,
    pub tcp: bool,
    /// Reads nothing for this long once pictures have come (TCP).
    pub stall: Option<Duration>,
}

/// What one viewer has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub connected: bool,
    /// Why it is over.
    pub ended: Option<String>,
    /// Whole pictures.
    pub pictures: u64,
    pub keyframes: u64,
    /// Whether the first one was a keyframe.
    pub began_with_keyframe: bool,
    pub packets: u64,
    /// Thrown away on order.
    pub thrown: u64,
    /// Packets that were not repaired in time.
    pub missing: u64,
    /// Pictures that were never whole.
    pub broken: u64,
    /// From the offer to the last packet of the first picture.
    pub first: Option<Duration>,
    /// From the offer to the last packet of the first keyframe: what a decoder can show.
    pub first_keyframe: Option<Duration>,
    pub whole: Vec<Picture>,
}

/// One whole picture.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// RTP timestamp.
    pub time: u32,
    /// When its last packet came.
    pub at: Instant,
    /// Its last bytes, to tell it from others.
    pub tail: u64,
}

/// The last eight bytes of a picture.
pub fn tail(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take(8).rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte))
}

/// A viewer. Dropped, it is gone without a word.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watcher {
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("seen").clone()
    }

    pub fn pictures(&self) -> u64 {
        self.seen.lock().expect("seen").pictures
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch. `signal` takes the offer and brings the answer.
pub async fn watch<S, F>(options: Options, signal: S) -> Result<Watcher, String>
where
    S: FnOnce(String) -> F,
    F: Future<Output = Result<String, String>>,
{
    let began = Instant::now();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(words)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER).map_err(words)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).map_err(words)?;
    socket.set_nonblocking(true).map_err(words)?;
    let udp = UdpSocket::from_std(socket.into()).map_err(words)?;
    let local = udp.local_addr().map_err(words)?;

    let mut rtc: Rtc = RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_h264(true).build(began);
    if !options.tcp {
        rtc.add_local_candidate(Candidate::host(local, "udp").map_err(words)?);
    }
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().ok_or("no offer")?;
    let answer = signal(offer.to_sdp_string()).await?;
    let parsed = SdpAnswer::from_sdp_string(&answer).map_err(words)?;
    rtc.sdp_api().accept_answer(pending, parsed).map_err(words)?;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let state = State {
        rtc,
        options,
        order: Order::default(),
        seen: Arc::clone(&seen),
        began,
        random: u64::from(local.port()) | 1,
    };
    let task = if options.tcp {
        let server = tcp_candidate(&answer).ok_or("the answer has no TCP candidate")?;
        let stream = tokio::net::TcpSocket::new_v4().map_err(words)?;
        if options.stall.is_some() {
            // What the server and its kernel keep is tested, so the client's own buffer stays small.
            stream.set_recv_buffer_size(16 * 1024).map_err(words)?;
        }
        let stream = stream.connect(server).await.map_err(words)?;
        tokio::spawn(state.over_tcp(stream))
    } else {
        tokio::spawn(state.over_udp(udp, local))
    };
    Ok(Watcher { seen, task })
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `a=candidate:… 1 tcp … 127.0.0.1 8189 typ host tcptype passive`
fn tcp_candidate(answer: &str) -> Option<SocketAddr> {
    answer.lines().find_map(|line| {
        let fields: Vec<&str> = line.strip_prefix("a=candidate:")?.split(' ').collect();
        let address = || Some(SocketAddr::new(fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?));
        fields.get(2)?.eq_ignore_ascii_case("tcp").then(address)?
    })
}

/// Packets and where they go.
type Outgoing = Vec<(SocketAddr, Vec<u8>)>;

struct State {
    rtc: Rtc,
    options: Options,
    order: Order,
    seen: Arc<Mutex<Seen>>,
    began: Instant,
    random: u64,
}

impl State {
    async fn over_udp(mut self, udp: UdpSocket, local: SocketAddr) {
        let mut buffer = vec![0; 2048];
        let send = |packets: Outgoing| {
            for (to, bytes) in packets {
                let _ = udp.try_send_to(&bytes, to);
            }
        };
        let ended = loop {
            let deadline = match self.drain() {
                Ok((packets, deadline)) => {
                    send(packets);
                    deadline
                }
                Err(reason) => break reason,
            };
            tokio::select! {
                _ = udp.readable() => {
                    // str0m holds one RTP packet: it is emptied after each datagram.
                    let mut failed = None;
                    while let Ok((length, source)) = udp.try_recv_from(&mut buffer) {
                        let taken = self.take(Protocol::Udp, source, local, &buffer[..length]);
                        match taken.and_then(|()| self.drain()) {
                            Ok((packets, _)) => send(packets),
                            Err(reason) => failed = Some(reason),
                        }
                    }
                    if let Some(reason) = failed {
                        break reason;
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    if let Err(error) = self.rtc.handle_input(Input::Timeout(Instant::now())) {
                        break error.to_string();
                    }
                }
            }
        };
        self.end(ended);
    }

    async fn over_tcp(mut self, stream: TcpStream) {
        if let Err(reason) = self.try_over_tcp(stream).await {
            self.end(reason);
        }
    }

    async fn try_over_tcp(&mut self, mut stream: TcpStream) -> Result<(), String> {
        let (local, remote) = (stream.local_addr().map_err(words)?, stream.peer_addr().map_err(words)?);
        let candidate = Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build();
        self.rtc.add_local_candidate(candidate.map_err(words)?);
        let (mut reader, mut writer) = stream.split();
        let (mut pending, mut chunk) = (Vec::<u8>::new(), vec![0; 16 * 1024]);
        loop {
            let (packets, deadline) = self.drain()?;
            for (_, bytes) in packets {
                let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
                writer.write_all(&framed).await.map_err(words)?;
            }
            if self.options.stall.is_some() && self.seen.lock().expect("seen").pictures > 5 {
                tokio::time::sleep(self.options.stall.take().unwrap_or_default()).await;
            }
            tokio::select! {
                read = reader.read(&mut chunk) => match read.map_err(words)? {
                    0 => return Err("closed".to_owned()),
                    length => pending.extend_from_slice(&chunk[..length]),
                },
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(words)?;
                }
            }
            while let [high, low, rest @ ..] = pending.as_slice() {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let Some(packet) = rest.get(..length) else { break };
                let packet = packet.to_vec();
                pending.drain(..2 + length);
                self.take(Protocol::Tcp, remote, local, &packet)?;
                for (_, bytes) in self.drain()?.0 {
                    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
                    writer.write_all(&framed).await.map_err(words)?;
                }
            }
        }
    }

    fn end(&self, reason: String) {
        self.seen.lock().expect("seen").ended = Some(reason);
    }

    fn take(
        &mut self,
        proto: Protocol,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), String> {
        let is_rtp =
            matches!(bytes, [first, second, ..] if first >> 6 == 2 && !(64..96).contains(&(second & 0x7f)));
        if is_rtp && self.options.lose_percent > 0.0 && self.chance() * 100.0 < self.options.lose_percent {
            self.seen.lock().expect("seen").thrown += 1;
            return Ok(());
        }
        let Ok(receive) = Receive::new(proto, from, to, bytes) else { return Ok(()) };
        self.rtc.handle_input(Input::Receive(Instant::now(), receive)).map_err(words)?;
        Ok(())
    }

    fn chance(&mut self) -> f64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Takes everything out of str0m: what is to be sent, and when to come back.
    fn drain(&mut self) -> Result<(Outgoing, Instant), String> {
        let mut packets = Vec::new();
        loop {
            let now = Instant::now();
            match self.rtc.poll_output().map_err(words)? {
                Output::Timeout(at) if at > now => return Ok((packets, at)),
                Output::Timeout(_) => self.rtc.handle_input(Input::Timeout(now)).map_err(words)?,
                Output::Transmit(packet) => packets.push((packet.destination, packet.contents.to_vec())),
                Output::Event(Event::Connected) => self.seen.lock().expect("seen").connected = true,
                Output::Event(Event::Closed) => return Err("the server said goodbye".to_owned()),
                Output::Event(Event::RtpPacket(packet)) => {
                    let mut seen = self.seen.lock().expect("seen");
                    self.order.take(&packet, &mut seen, now, self.began);
                }
                Output::Event(_) => {}
            }
        }
    }
}

/// Puts packets in order and finds whole pictures.
#[derive(Default)]
struct Order {
    /// The sequence number that is due; none before the first packet.
    due: Option<u64>,
    waiting: BTreeMap<u64, (RtpPacketFacts, Instant)>,
    /// The present picture has a hole.
    broken: bool,
    keyframe: bool,
}

#[derive(Clone, Copy)]
struct RtpPacketFacts {
    time: u32,
    marker: bool,
    keyframe: bool,
    tail: u64,
}

impl Order {
    fn take(&mut self, packet: &RtpPacket, seen: &mut Seen, now: Instant, began: Instant) {
        seen.packets += 1;
        let number = *packet.seq_no;
        let facts = RtpPacketFacts {
            time: packet.header.timestamp,
            marker: packet.header.marker,
            keyframe: starts_keyframe(&packet.payload),
            tail: tail(&packet.payload),
        };
        if number < *self.due.get_or_insert(number) {
            return;
        }
        self.waiting.insert(number, (facts, now));
        while let Some((&next, &(facts, came))) = self.waiting.first_key_value() {
            let due = self.due.unwrap_or(next);
            if next > due {
                // Everything behind the hole waits for its repair, but not for ever.
                if now.saturating_duration_since(came) < GIVE_UP {
                    return;
                }
                seen.missing += next - due;
                self.broken = true;
            }
            self.waiting.pop_first();
            self.due = Some(next + 1);
            self.keyframe |= facts.keyframe;
            if facts.marker {
                if self.broken {
                    seen.broken += 1;
                } else {
                    if seen.pictures == 0 {
                        seen.began_with_keyframe = self.keyframe;
                        seen.first = Some(now.saturating_duration_since(began));
                    }
                    seen.pictures += 1;
                    seen.keyframes += u64::from(self.keyframe);
                    if self.keyframe {
                        seen.first_keyframe.get_or_insert(now.saturating_duration_since(began));
                    }
                    // Whole when the last of its packets was, which need not be the one with the marker.
                    seen.whole.push(Picture { time: facts.time, at: now, tail: facts.tail });
                }
                self.broken = false;
                self.keyframe = false;
            }
        }
    }
}

/// Whether a payload holds an SPS or (the beginning of) an IDR slice.
fn starts_keyframe(payload: &[u8]) -> bool {
    match payload {
        [first, rest @ ..] => match first & 0x1f {
            5 | 7 => true,
            24 => rest.get(2).is_some_and(|nal| matches!(nal & 0x1f, 5 | 7)),
            28 => rest.first().is_some_and(|fu| fu & 0x1f == 5),
            _ => false,
        },
        [] => false,
    }
}
