//! One viewer: its WebRTC session (str0m), what waits to be sent to it, and what is known about it.
//!
//! No I/O and no waiting: the engine feeds it datagrams, pictures and time, and hands it the [`Ports`] to
//! send by. After each of these it is polled until it has nothing more to say.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{Extension, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig};

use super::demux::Key;
use super::feed::{Clock, Gop, Unit};
use super::pace::{Pacer, STEP, squeeze};
use super::ports::Ports;
use super::sdp::{self, Choice};
use super::types::{Patched, Refusal, ViewerState, ViewerStatus, Who};

/// Why it is gone when it closed the DTLS connection, as browsers do before they tell over HTTP.
pub const LEFT: &str = "it left";

/// Sent packets that can be sent again: about as long as a viewer waits for one.
const RESEND_PACKETS: usize = 1024;
const RESEND_AGE: Duration = Duration::from_millis(1500);
/// Repetitions may be this share of all bytes.
const RESEND_SHARE: Option<f32> = Some(0.5);
/// How often str0m tells round trip and loss.
const STATS_EVERY: Duration = Duration::from_secs(2);
/// A whole group of pictures is sent again to one viewer at most this often.
const REPLAY_EVERY: Duration = Duration::from_secs(1);
/// The more often it is asked for, the longer this becomes; so much at most, and back when there was peace
/// for that long.
const REPLAY_RARELY: Duration = Duration::from_secs(16);
const REPLAY_CALM: Duration = Duration::from_secs(20);
/// Groups larger than this are not sent to a joining viewer: the next keyframe is sooner.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// Live pictures that wait longer than this for a slow connection are dropped.
const WAIT: Duration = Duration::from_secs(1);
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

/// What all sessions are made with.
#[derive(Clone, Debug)]
pub struct Recipe {
    config: RtcConfig,
}

impl Recipe {
    /// One certificate for the process. `None` when OpenSSL cannot make one.
    pub fn new() -> Option<Self> {
        let provider = super::srtp::provider();
        let certificate = provider.dtls_provider.generate_certificate()?;
        let config = RtcConfig::new()
            .set_crypto_provider(provider)
            .set_dtls_cert(certificate)
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_stats_interval(Some(STATS_EVERY))
            // Without transport-wide congestion control a fifth of the packets comes in. The MID tells
            // bundled sections apart.
            .clear_extension_map()
            .set_extension(4, Extension::RtpMid)
            .clear_codecs();
        Some(Self { config })
    }

    fn build(&self, choices: &[Choice], candidates: &[Candidate], now: Instant) -> (Rtc, String) {
        let mut config = self.config.clone();
        for choice in choices {
            let rtx = choice.rtx.map(Pt::from);
            config.codec_config().add_h264(choice.pt.into(), rtx, choice.mode_1, choice.profile_level_id);
        }
        let credentials = IceCreds { ufrag: random(8), pass: random(24) };
        let ufrag = credentials.ufrag.clone();
        let mut rtc = config.set_local_ice_credentials(credentials).build(now);
        for candidate in candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        (rtc, ufrag)
    }
}

/// `length` characters from `[0-9a-f]`, at most 32.
pub fn random(length: usize) -> String {
    let mut text = format!("{:032x}", rand::random::<u128>());
    text.truncate(length);
    text
}

#[derive(Debug)]
struct Queued {
    unit: Arc<Unit>,
    time: i64,
    /// Not part of the start: it counts as dropped when it cannot be sent.
    live: bool,
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
    fn new(
        key: Key,
        camera: &str,
        who: Who,
        (rtc, ufrag): (Rtc, String),
        candidates: &[Candidate],
        now: Instant,
    ) -> Self {
        Self {
            key,
            session: random(32),
            camera: camera.to_owned(),
            who,
            ufrag,
            wishes: Wishes::default(),
            deadline: now,
            ended: None,
            reported: now,
            begun: now,
            connected: None,
            name: random(8),
            since: SystemTime::now(),
            heard: now,
            rtc,
            offer: Box::default(),
            generation: 0,
            invitation: None,
            reachable: candidates.iter().map(|candidate| (candidate.proto(), candidate.addr())).collect(),
            mid: None,
            pt: Pt::from(0),
            rtx: None,
            // Below 2^15, so that the first wrap is far (RFC 3711 3.3.1).
            sequence: u64::from(rand::random::<u16>() >> 1),
            zero: 0,
            last_time: None,
            started: false,
            replayed: None,
            replay_after: REPLAY_EVERY,
            queue: VecDeque::new(),
            sent: 0,
            pacer: Pacer::new(now),
            path: None,
            counts: Counts::default(),
            rtt: None,
            loss: None,
            first_picture: None,
            metered: (0, now, 0.0),
        }
    }

    /// From a viewer's offer; with the answer.
    pub fn of_offer(
        key: Key,
        camera: (&str, Option<u8>),
        (offer, who): (&str, Who),
        recipe: &Recipe,
        candidates: &[Candidate],
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        if offer.len() > sdp::MAX_SDP {
            return Err(Refusal::BadSdp(format!("it is longer than {} bytes", sdp::MAX_SDP)));
        }
        let choice = sdp::choose(offer, camera.1)?;
        let offer = sdp::without_candidates(offer);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| bad(&error))?;
        let mut viewer =
            Self::new(key, camera.0, who, recipe.build(&[choice], candidates, now), candidates, now);
        let answer = viewer.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad(&error))?;
        let answer = answer.to_sdp_string();
        viewer.settle(sdp::video_mid(&offer, &answer).map(Mid::from).ok_or(Refusal::NoVideo)?)?;
        let answer = sdp::polish(&answer, Some(&offer));
        viewer.offer = offer.into();
        Ok((viewer, answer))
    }

    /// With an offer of ours, to be answered.
    pub fn of_invitation(
        key: Key,
        camera: (&str, Option<u8>),
        who: Who,
        recipe: &Recipe,
        candidates: &[Candidate],
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        // The camera's own profile first, as in an answer.
        let mut profiles = [0x42_e01f_u32, 0x4d_001f, 0x64_001f, 0x42_001f];
        profiles.sort_by_key(|id| Some((id >> 16) as u8) != camera.1);
        let choices: Vec<Choice> = (96..)
            .step_by(2)
            .zip(profiles)
            .map(|(pt, profile_level_id)| Choice { pt, rtx: Some(pt + 1), profile_level_id, mode_1: true })
            .collect();
        let mut viewer =
            Self::new(key, camera.0, who, recipe.build(&choices, candidates, now), candidates, now);
        let mut api = viewer.rtc.sdp_api();
        let stream = Some(camera.0.to_owned());
        let mid = api.add_media(MediaKind::Video, Direction::SendOnly, stream, None, None);
        let (offer, pending) =
            api.apply().ok_or_else(|| Refusal::BadSdp("there is nothing to offer".to_owned()))?;
        viewer.invitation = Some((pending, mid));
        Ok((viewer, sdp::polish(&offer.to_sdp_string(), None)))
    }

    /// The answer to an invitation.
    pub fn answer(&mut self, answer: &str) -> Result<(), Refusal> {
        if answer.len() > sdp::MAX_SDP {
            return Err(Refusal::BadSdp(format!("it is longer than {} bytes", sdp::MAX_SDP)));
        }
        let parsed =
            SdpAnswer::from_sdp_string(&sdp::without_candidates(answer)).map_err(|error| bad(&error))?;
        let Some((pending, mid)) = self.invitation.take() else {
            return Err(Refusal::BadSdp("this session has been answered already".to_owned()));
        };
        let taken = self.rtc.sdp_api().accept_answer(pending, parsed).map_err(|error| bad(&error));
        let taken = taken.and_then(|()| self.settle(mid));
        if let Err(refusal) = &taken {
            self.ended = Some(format!("its answer cannot be used: {refusal}"));
        }
        taken
    }

    /// Finds what was agreed on for that section.
    fn settle(&mut self, mid: Mid) -> Result<(), Refusal> {
        let media =
            self.rtc.media(mid).filter(|media| media.direction().is_sending()).ok_or(Refusal::NoVideo)?;
        let offered = media.remote_pts().to_vec();
        let agreed = self.rtc.codec_config().params().iter().find(|params| {
            // Only what was chosen from the offer, or offered by us, is in this list.
            params.spec().codec == Codec::H264 && offered.contains(&params.pt())
        });
        let Some(agreed) = agreed else {
            return Err(Refusal::NoH264("none that both sides know".to_owned()));
        };
        (self.pt, self.rtx) = (agreed.pt(), agreed.resend());
        self.mid = Some(mid);
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, RESEND_SHARE);
        }
        Ok(())
    }

    pub fn etag(&self) -> String {
        format!("{}-{}", self.name, self.generation)
    }

    /// An ICE restart: the viewer has new credentials. The media goes on meanwhile.
    pub fn restart(&mut self, ufrag: &str, pwd: &str) -> Result<Patched, Refusal> {
        if self.offer.is_empty() {
            return Err(Refusal::BadSdp(
                "an invited session cannot restart ICE: ask for a new one".to_owned(),
            ));
        }
        if !sdp::are_credentials(ufrag, pwd) {
            return Err(Refusal::BadSdp("the fragment's ice-ufrag or ice-pwd is malformed".to_owned()));
        }
        let offer = sdp::with_credentials(&self.offer, ufrag, pwd);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| bad(&error))?;
        let answer = self.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad(&error))?;
        let answer = sdp::polish(&answer.to_sdp_string(), Some(&offer));
        self.offer = offer.into();
        self.ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        self.generation += 1;
        Ok(Patched::Restarted { sdp_fragment: sdp::fragment(&answer), etag: self.etag() })
    }

    /// The viewer's ICE credentials as known; `None` while an invitation is not answered.
    pub fn remote_credentials(&self) -> Option<(&str, &str)> {
        sdp::credentials(&self.offer)
    }

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

    /// Sends a picture of now, or queues it behind those that wait.
    pub fn show(&mut self, unit: &Arc<Unit>, ports: &mut Ports, now: Instant) {
        if self.connected.is_none() || self.ended.is_some() {
            return;
        }
        if !self.started {
            if !unit.keyframe {
                return;
            }
            self.started = true;
        }
        let time = self.after_last(unit.ticks as i64 - self.zero);
        self.last_time = Some(time);
        if self.queue.is_empty() && self.room(ports) >= unit.bytes + unit.bytes / 8 {
            self.write(unit, time, 0, usize::MAX, now);
            self.advance(ports, now);
            self.picture_sent(now);
        } else {
            self.queue.push_back(Queued { unit: Arc::clone(unit), time, live: true });
            self.pump(ports, now);
        }
    }

    /// Starts from a kept group of pictures, or begins again with it; whether that was done.
    pub fn replay(&mut self, gop: &Gop, clock: &Clock, ports: &mut Ports, now: Instant) -> bool {
        if self.connected.is_none() || self.ended.is_some() || gop.bytes() > REPLAY_BYTES {
            return false;
        }
        let since = self.replayed.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < self.replay_after) {
            return false;
        }
        let Some(units) = gop.fresh(now) else { return false };
        // A connection that keeps losing pictures would lose more of a whole group at a time.
        let again = since.is_some_and(|since| since < REPLAY_CALM);
        self.replay_after = if again { (self.replay_after * 2).min(REPLAY_RARELY) } else { REPLAY_EVERY };
        self.align(clock, now);
        // What waits would repeat the end of the group; only a picture that has begun is finished.
        self.queue.truncate(usize::from(self.sent > 0));
        let units: Vec<_> = units.cloned().collect();
        let live = units.last().map_or(0, |unit| unit.ticks as i64) - self.zero;
        let times = squeeze(units.len(), self.last_time, live, gop.interval() as i64);
        for (unit, time) in units.into_iter().zip(times) {
            self.last_time = Some(time);
            self.queue.push_back(Queued { unit, time, live: false });
        }
        self.started = true;
        self.replayed = Some(now);
        self.pump(ports, now);
        true
    }

    /// Sets this viewer's zero to now: str0m's first sender report says "RTP time 0 is now" if it leaves
    /// before the first packet, and that is then true. Once something was sent it stays: a viewer that
    /// lost pictures and begins again would see its time stand still until the new zero has caught up.
    fn align(&mut self, clock: &Clock, now: Instant) {
        if self.last_time.is_none() {
            self.zero = clock.wall(now) as i64;
        }
    }

    /// The next keyframe is the start: nothing is kept.
    pub fn await_keyframe(&mut self, clock: &Clock, now: Instant) {
        self.align(clock, now);
    }

    fn after_last(&self, time: i64) -> i64 {
        self.last_time.map_or(time, |last| time.max(last + 1))
    }

    fn room(&self, ports: &Ports) -> usize {
        self.path.map_or(usize::MAX, |(protocol, to)| ports.room(protocol, to))
    }

    /// Sends of the queue what may leave now.
    fn pump(&mut self, ports: &mut Ports, now: Instant) {
        if self.queue.is_empty() || self.ended.is_some() {
            return;
        }
        self.drop_late(now);
        let mut finished = 0;
        let mut budget = self.pacer.budget(now).min(self.room(ports));
        while budget > 0
            && let Some(Queued { unit, time, .. }) = self.queue.front()
        {
            let (unit, time) = (Arc::clone(unit), *time);
            let (packets, bytes) = self.write(&unit, time, self.sent, budget, now);
            self.pacer.spent(bytes);
            budget = budget.saturating_sub(bytes);
            self.sent += packets;
            if self.sent >= unit.packets.len() {
                self.queue.pop_front();
                self.sent = 0;
                finished += 1;
            }
        }
        if finished > 0 || self.sent > 0 {
            self.advance(ports, now);
        }
        if finished > 0 {
            self.picture_sent(now);
        }
        if !self.queue.is_empty() {
            self.deadline = self.deadline.min(now + STEP);
        }
    }

    /// A connection that does not take the pictures loses whole ones, up to the next keyframe.
    fn drop_late(&mut self, now: Instant) {
        let late =
            |queued: &Queued| queued.live && now.saturating_duration_since(queued.unit.captured) > WAIT;
        if !self.queue.iter().any(late) {
            return;
        }
        // The rest of a picture that has begun stays: half of one is worse than a late one.
        let keep = usize::from(self.sent > 0);
        self.counts.dropped_frames +=
            self.queue.iter().skip(keep).filter(|queued| queued.live).count() as u64;
        self.queue.truncate(keep);
        self.started = false;
        self.wishes.keyframe = true;
    }

    /// Gives str0m packets of a picture, from the one numbered `from` on, until `budget` bytes are spent.
    fn write(&mut self, unit: &Unit, time: i64, from: usize, budget: usize, now: Instant) -> (usize, usize) {
        let Some(mid) = self.mid else { return (usize::MAX / 2, 0) };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else { return (usize::MAX / 2, 0) };
        let last = unit.packets.len().saturating_sub(1);
        // For sender reports: when the instant `time` stands for was. A squeezed picture is not that old.
        let live = unit.ticks as i64 - self.zero;
        let squeezed = super::feed::duration(time.saturating_sub(live));
        let wallclock = (unit.captured + squeezed).min(now);
        let (mut packets, mut bytes) = (0, 0);
        for (index, payload) in unit.packets.iter().enumerate().skip(from) {
            if bytes >= budget {
                break;
            }
            let packet =
                RtpWrite::new(self.pt, self.sequence.into(), time as u32, wallclock, Arc::clone(payload));
            stream.write_rtp(packet.marker(index == last).nackable(true));
            self.sequence += 1;
            packets += 1;
            bytes += payload.len();
        }
        (packets, bytes)
    }

    /// Has str0m make packets of what was written.
    fn advance(&mut self, ports: &mut Ports, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(&error);
        }
        self.poll(ports, now);
    }

    fn picture_sent(&mut self, now: Instant) {
        self.first_picture.get_or_insert_with(|| now.saturating_duration_since(self.begun));
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

fn bad(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::BadSdp(error.to_string())
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
