//! One viewer: its WebRTC session (str0m), what waits to be sent to it, and what is known about it.
//!
//! No I/O and no waiting: the engine feeds it datagrams, pictures and time, and hands it the [`Ports`] to
//! send by. After each of these it is polled until it has nothing more to say.

mod negotiation;
mod pictures;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::SdpPendingOffer;
use str0m::media::{Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::demux::Key;
use super::pace::{Pacer, STEP};
use super::ports::Ports;
use super::types::{ViewerState, ViewerStatus, Who};
pub use negotiation::Recipe;
use pictures::Queued;

/// Why it is gone when it closed the DTLS connection, as browsers do before they tell over HTTP.
pub const LEFT: &str = "it left";

/// Not heard of for this long: shown as disconnected. ICE checks come every 2.5 s.
const SILENT: Duration = Duration::from_secs(6);
/// Addresses of this machine that one viewer may come to.
const MOST_ADDRESSES: usize = 64;
/// Polls in a row in which str0m says "now" again. More means a bug there: it is asked again later.
const SPINS: usize = 16;

/// What the engine has to see to after a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// DTLS is up: pictures can be sent.
    pub connected: bool,
    /// It asked for a whole picture.
    pub keyframe: bool,
}

#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    retransmitted: u64,
    lost: u64,
    dropped_frames: u64,
    keyframe_requests: u64,
}

#[derive(Debug)]
pub struct Viewer {
    pub key: Key,
    pub session: String,
    pub camera: String,
    pub who: Who,
    /// Our ICE user fragment.
    pub ufrag: String,
    pub wishes: Wishes,
    /// When it wants [`Viewer::wake`].
    pub deadline: Instant,
    /// Why it is over.
    pub ended: Option<String>,
    /// The last RTCP from it.
    pub reported: Instant,
    pub begun: Instant,
    pub connected: Option<Instant>,
    name: String,
    since: SystemTime,
    heard: Instant,
    rtc: Rtc,
    /// The viewer's offer and its ICE credentials, to recognise and carry out an ICE restart.
    offer: Box<str>,
    generation: u32,
    invitation: Option<(SdpPendingOffer, Mid)>,
    /// Our addresses that ICE knows or was told later.
    reachable: Vec<(Protocol, SocketAddr)>,
    mid: Option<Mid>,
    pt: Pt,
    rtx: Option<Pt>,
    sequence: u64,
    /// Ticks of the feed's clock that are this viewer's zero.
    zero: i64,
    last_time: Option<i64>,
    started: bool,
    replayed: Option<Instant>,
    /// And not again before so long.
    replay_after: Duration,
    queue: VecDeque<Queued>,
    /// Packets of the first in the queue that have been sent.
    sent: usize,
    pacer: Pacer,
    /// Where its media goes.
    pub path: Option<(Protocol, SocketAddr)>,
    counts: Counts,
    rtt: Option<Duration>,
    loss: Option<f32>,
    first_picture: Option<Duration>,
    /// Bytes and time of the last status, and the rate since the one before.
    metered: (u64, Instant, f64),
}

impl Viewer {
    /// A datagram that may be from this viewer; whether it is.
    pub fn receive(
        &mut self,
        (protocol, source, destination): (Protocol, SocketAddr, SocketAddr),
        datagram: &[u8],
        ports: &mut Ports,
        now: Instant,
    ) -> bool {
        let Ok(receive) = Receive::new(protocol, source, destination, datagram) else { return false };
        let input = Input::Receive(now, receive);
        if !self.rtc.accepts(&input) {
            return false;
        }
        self.heard = now;
        if is_rtcp(datagram) {
            self.reported = now;
        }
        if is_stun(datagram) {
            self.be_reachable_at(protocol, destination);
        }
        if let Err(error) = self.rtc.handle_input(input) {
            self.fail(&error);
        }
        self.poll(ports, now);
        true
    }

    /// An address of this machine that was not known when the offer came: ICE takes checks only at those it
    /// was told. The check's password has been verified.
    fn be_reachable_at(&mut self, protocol: Protocol, destination: SocketAddr) {
        let address = (protocol, destination);
        if self.reachable.contains(&address) || self.reachable.len() >= MOST_ADDRESSES {
            return;
        }
        self.reachable.push(address);
        if let Ok(candidate) = Candidate::host(destination, protocol) {
            self.rtc.add_local_candidate(candidate);
        }
    }

    /// Its deadline has come.
    pub fn wake(&mut self, ports: &mut Ports, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(&error);
        }
        self.poll(ports, now);
        self.pump(ports, now);
    }

    /// Takes everything out of str0m.
    fn poll(&mut self, ports: &mut Ports, now: Instant) {
        let mut spins = 0;
        while self.ended.is_none() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) if at > now => {
                    self.deadline = at;
                    break;
                }
                Ok(Output::Timeout(_)) if spins < SPINS => {
                    spins += 1;
                    if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                        self.fail(&error);
                    }
                }
                Ok(Output::Timeout(_)) => {
                    self.deadline = now + STEP;
                    break;
                }
                Ok(Output::Transmit(packet)) => self.transmit(&packet, ports),
                Ok(Output::Event(event)) => self.event(event, now),
                Err(error) => self.fail(&error),
            }
        }
        self.counts.lost += ports.flush();
        if !self.queue.is_empty() {
            self.deadline = self.deadline.min(now + STEP);
        }
    }

    fn transmit(&mut self, packet: &Transmit, ports: &mut Ports) {
        let bytes: &[u8] = &packet.contents;
        if let Some(kind) = rtp_kind(bytes) {
            self.counts.packets += 1;
            self.counts.bytes += bytes.len() as u64;
            if self.rtx.is_some_and(|rtx| *rtx == kind) {
                self.counts.retransmitted += 1;
            }
        }
        self.path = Some((packet.proto, packet.destination));
        self.counts.lost += ports.send(packet);
    }

    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => {
                self.connected = Some(now);
                self.reported = now;
                self.wishes.connected = true;
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.end("it vanished");
            }
            Event::KeyframeRequest(_) => {
                self.counts.keyframe_requests += 1;
                self.wishes.keyframe = true;
            }
            Event::MediaEgressStats(stats) => {
                self.rtt = stats.rtt.or(self.rtt);
                self.loss = stats.loss.or(self.loss);
            }
            Event::Closed => self.end(LEFT),
            _ => {}
        }
    }

    pub fn end(&mut self, reason: &str) {
        self.ended.get_or_insert_with(|| reason.to_owned());
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        self.end(&format!("its connection failed: {error}"));
    }

    /// Tells the viewer that it is over, as well as that goes.
    pub fn farewell(&mut self, ports: &mut Ports, now: Instant) {
        if self.rtc.close().is_err() {
            return;
        }
        let _ = self.rtc.handle_input(Input::Timeout(now));
        for _ in 0..SPINS {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(packet)) => self.transmit(&packet, ports),
                Ok(Output::Event(_)) => {}
                _ => break,
            }
        }
        ports.flush();
    }

    fn state(&self, now: Instant) -> ViewerState {
        match self.connected {
            None if self.invitation.is_some() => ViewerState::Invited,
            None => ViewerState::Connecting,
            Some(_) if now.saturating_duration_since(self.heard) > SILENT => ViewerState::Disconnected,
            Some(_) if self.first_picture.is_none() => ViewerState::Waiting,
            Some(_) => ViewerState::Live,
        }
    }

    /// Also measures the bit rate: asked for once a second.
    pub fn status(&mut self, now: Instant) -> ViewerStatus {
        let (bytes, at, _) = self.metered;
        let passed = now.saturating_duration_since(at).as_secs_f64();
        if passed >= 0.5 {
            let rate = (self.counts.bytes - bytes) as f64 * 8.0 / 1000.0 / passed;
            self.metered = (self.counts.bytes, now, rate);
        }
        ViewerStatus {
            id: self.name.clone(),
            camera: self.camera.clone(),
            client: self.who.client,
            user_agent: self.who.user_agent.clone(),
            since: self.since,
            state: self.state(now),
            rtt_ms: self.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            loss: self.loss.map(f64::from),
            bitrate_kbps: self.metered.2,
            packets: self.counts.packets,
            bytes: self.counts.bytes,
            retransmitted: self.counts.retransmitted,
            lost_here: self.counts.lost,
            dropped_frames: self.counts.dropped_frames,
            keyframe_requests: self.counts.keyframe_requests,
            candidate: self.path.map(|(protocol, to)| format!("{protocol} {to}")),
            first_picture_ms: self.first_picture.map(|took| took.as_secs_f64() * 1000.0),
        }
    }
}

impl Viewer {
    /// What it has had, for the log.
    pub fn summary(&self) -> String {
        let Counts { packets, retransmitted, lost, dropped_frames, .. } = self.counts;
        let mut words = format!("{packets} packets, {retransmitted} of them again");
        if lost > 0 {
            words.push_str(&format!("; {lost} were lost before they left this machine"));
        }
        if dropped_frames > 0 {
            words.push_str(&format!("; {dropped_frames} pictures were too many for its connection"));
        }
        words
    }
}

impl std::fmt::Display for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "camera {}: the WebRTC viewer {}", self.camera, self.name)?;
        match (self.path, self.who.client) {
            (Some((protocol, to)), _) => write!(f, " at {protocol} {to}"),
            (None, Some(client)) => write!(f, " at {client}"),
            (None, None) => Ok(()),
        }
    }
}

/// RFC 7983 and RFC 5761: how packets on one port are told apart.
fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, second, ..] if first >> 6 == 2 && (64..96).contains(&(second & 0x7f)))
}

/// The payload type of an RTP packet.
fn rtp_kind(datagram: &[u8]) -> Option<u8> {
    match datagram {
        [first, second, ..] if first >> 6 == 2 && !is_rtcp(datagram) => Some(second & 0x7f),
        _ => None,
    }
}
