//! What the LiveKit and WHIP outputs have in common: a sink of webrtcsink's family, and the watch over it.
//!
//! Such a sink neither reconnects nor notices a peer that is silent. A picture counts when its last packet
//! goes out over a connection whose peer reports that packets arrive (RTCP receiver reports); a negotiation
//! that takes too long, a broken connection and a silent peer end the attempt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use tokio::sync::watch;

use super::mourning::Sessions;
use super::plan::Member;
use super::rooms::{Presence, Rooms};
use super::status::Counters;
use super::subject::Memory;
use super::words;
use crate::supervision::{Failure, Reports};

/// How often the peer's reports are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Without a report of arriving packets for this long, pictures no longer count.
const DOUBT_AFTER: Duration = Duration::from_secs(3);
/// Without one for this long, the peer is gone.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// A session that the server ends sooner than this was not wanted.
const SHORT: Duration = Duration::from_secs(60);
/// A room that is deleted is gone this long after its participants were sent away.
const DELETION: Duration = Duration::from_millis(250);
/// So many of them in a row, and somebody else is thought to be behind it.
const SHORT_ONES: u64 = 3;
/// Sources that a peer may report on: pictures and their repetitions, with room.
const SOURCES: usize = 8;

/// How the connection is, as the sink's threads tell it.
#[derive(Clone, Debug, PartialEq)]
enum Link {
    Negotiating,
    Connected,
    Broken(Cause),
}

#[derive(Clone, Debug, PartialEq)]
enum Cause {
    /// What the signaller said.
    Said(String),
    Failed,
    Closed,
}

/// The connection as seen from the sink's threads.
#[derive(Debug)]
pub struct Line {
    link: watch::Sender<Link>,
    /// Pictures count now.
    counts: AtomicBool,
    pub sessions: Sessions,
    /// How often the peer has reported that packets have arrived since its last report.
    arrived: AtomicU64,
    /// Source and the highest sequence number of it that the peer has reported. Repetitions are a source
    /// of their own, with numbers of their own that may stand still for minutes.
    reported: Mutex<Vec<(u32, u32)>>,
}

impl Line {
    fn new() -> Self {
        Self {
            link: watch::Sender::new(Link::Negotiating),
            counts: AtomicBool::new(false),
            sessions: Sessions::default(),
            arrived: AtomicU64::new(0),
            reported: Mutex::default(),
        }
    }

    /// Listens to a sink that has not started yet.
    pub fn of(sink: &gst::Element, reports: &Reports, counters: &Arc<Counters>) -> Arc<Self> {
        let line = Arc::new(Self::new());
        let (listening, reports, counters) = (Arc::clone(&line), reports.clone(), Arc::clone(counters));
        sink.connect("consumer-added", false, move |values| {
            let webrtcbin = values.get(2).and_then(|value| value.get::<gst::Element>().ok())?;
            let sessions = &listening.sessions;
            sessions.lock().unwrap_or_else(PoisonError::into_inner).push(webrtcbin.downgrade());
            let line = Arc::clone(&listening);
            webrtcbin.connect_notify(Some("connection-state"), move |webrtcbin, _| {
                let state = webrtcbin.property_value("connection-state");
                match gst::glib::EnumValue::from_value(&state).map(|(_, state)| state.nick()) {
                    Some("connected") => line.become_connected(),
                    Some("failed") => line.breaks(Cause::Failed),
                    Some("closed") => line.breaks(Cause::Closed),
                    _ => {}
                }
            });
            for pad in webrtcbin.sink_pads() {
                count(&pad, &listening, &reports, &counters);
            }
            let rtpbin = webrtcbin.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("rtpbin"));
            if let Some(rtpbin) = rtpbin {
                let line = Arc::clone(&listening);
                rtpbin.connect_pad_added(move |_, pad| {
                    if pad.name().starts_with("recv_rtcp_sink") {
                        listen(pad, &line);
                    }
                });
            }
            None
        });
        let removed = Arc::clone(&line);
        sink.connect("consumer-removed", false, move |_| {
            removed.breaks(Cause::Failed);
            None
        });
        line
    }

    /// Takes in what a peer has reported.
    fn heard(&self, packet: &[u8]) {
        let mut known = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, highest) in reported(packet) {
            match known.iter().position(|(other, _)| *other == source) {
                Some(at) if known[at].1 == highest => continue,
                Some(at) => known[at].1 = highest,
                None if known.len() >= SOURCES => continue,
                None => known.push((source, highest)),
            }
            self.arrived.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What stood on the bus.
    pub fn said(&self, words: String) {
        self.breaks(Cause::Said(words));
    }

    fn become_connected(&self) {
        self.link.send_if_modified(|link| {
            let news = *link == Link::Negotiating;
            if news {
                self.counts.store(true, Ordering::Relaxed);
                *link = Link::Connected;
            }
            news
        });
    }

    /// The first cause is the cause.
    fn breaks(&self, cause: Cause) {
        self.counts.store(false, Ordering::Relaxed);
        self.link.send_if_modified(|link| {
            let news = !matches!(link, Link::Broken(_));
            if news {
                *link = Link::Broken(cause);
            }
            news
        });
    }
}

/// Counts what passes a pad on its way out: packets, the last of each picture with the marker bit.
fn count(pad: &gst::Pad, line: &Arc<Line>, reports: &Reports, counters: &Arc<Counters>) {
    let (line, reports, counters) = (Arc::clone(line), reports.clone(), Arc::clone(counters));
    let packet = move |buffer: &gst::BufferRef| {
        if !line.counts.load(Ordering::Relaxed) {
            return;
        }
        counters.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
        if buffer.flags().contains(gst::BufferFlags::MARKER) {
            reports.frame();
        }
    };
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        if let Some(buffer) = info.buffer() {
            packet(buffer);
        } else if let Some(list) = info.buffer_list() {
            list.iter().for_each(&packet);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The watch over one attempt.
pub struct Watch {
    pub line: Arc<Line>,
    pub reports: Reports,
    pub target: String,
    /// A negotiation that takes longer has failed.
    pub limit: Duration,
    /// Who it is in which room, and how to ask about it.
    pub member: Option<Member>,
    pub rooms: Option<Rooms>,
    pub memory: Arc<Memory>,
    pub fed: Arc<AtomicU64>,
}

impl Watch {
    /// Watches until the attempt has failed, which it reports, or is dropped.
    pub async fn run(self) {
        let failure = self.watched().await;
        self.line.counts.store(false, Ordering::Relaxed);
        self.reports.failed(failure);
    }

    async fn watched(&self) -> Failure {
        let mut link = self.line.link.subscribe();
        let negotiated = link.wait_for(|link| *link != Link::Negotiating);
        match tokio::time::timeout(self.limit, negotiated).await {
            Ok(Ok(link)) => {
                if let Link::Broken(cause) = &*link {
                    let cause = cause.clone();
                    drop(link);
                    return self.before(cause);
                }
            }
            Ok(Err(_)) => return Failure::broken("the watch over the connection ended"),
            Err(_) => return self.never_connected(),
        }
        let connected = Instant::now();
        let own = self.presence().await;
        let broken = async {
            let broken = link.wait_for(|link| matches!(link, Link::Broken(_))).await;
            broken.ok().map(|link| link.clone())
        };
        let cause = tokio::select! {
            link = broken => match link {
                Some(Link::Broken(cause)) => Some(cause),
                _ => None,
            },
            () = self.until_silent() => None,
        };
        self.after(cause, own, connected.elapsed()).await
    }

    /// It broke before there was a connection.
    fn before(&self, cause: Cause) -> Failure {
        match cause {
            Cause::Said(said) => words::of_signalling(&self.target, &said).unwrap_or_else(|| {
                Failure::broken(format!(
                    "{}: the server ended the session before media flowed; can its UDP port be reached from here?",
                    self.target
                ))
            }),
            Cause::Failed | Cause::Closed => self.no_way(),
        }
    }

    fn never_connected(&self) -> Failure {
        if self.fed.load(Ordering::Relaxed) == 0 {
            return Failure::broken("the camera gave no H.264 to publish");
        }
        self.no_way()
    }

    fn no_way(&self) -> Failure {
        Failure::absent(format!(
            "{}: no media connection within {:.0} s: the server was not reached, or no UDP gets through to it",
            self.target,
            self.limit.as_secs_f64()
        ))
    }

    /// A connection that was there is gone. `cause`: none when it fell silent.
    async fn after(&self, cause: Option<Cause>, own: Presence, lived: Duration) -> Failure {
        let target = &self.target;
        let sent_away = match &cause {
            Some(Cause::Said(said)) => match words::of_signalling(target, said) {
                Some(failure) => return failure,
                None => true,
            },
            Some(Cause::Closed) => true,
            Some(Cause::Failed) | None => false,
        };
        if let Some(member) = &self.member {
            let (room, identity) = (&member.room, &member.identity);
            let mut now = self.presence().await;
            if matches!(now, Presence::Absent { .. }) {
                // A room that is being deleted sends everybody away first.
                tokio::time::sleep(DELETION).await;
                now = self.presence().await;
            }
            match fate(&own, &now) {
                Fate::TakenOver => {
                    self.memory.contested.store(true, Ordering::Relaxed);
                    return words::contested(identity, room);
                }
                Fate::RoomGone => {
                    return Failure::broken(format!(
                        "{target}: room {room:?} is gone: it was deleted, or the server started anew"
                    ));
                }
                Fate::Removed => {
                    return Failure::broken(format!(
                        "{target}: the server removed {identity:?} from room {room:?}"
                    ));
                }
                Fate::Unclear => {}
            }
            if sent_away && self.rooms.is_none() {
                let short = self.memory.short_session(lived < SHORT);
                if short >= SHORT_ONES {
                    self.memory.contested.store(true, Ordering::Relaxed);
                    return Failure::refused(format!(
                        "{target}: the server ends the session again and again; does another publisher use \
                         identity {identity:?} in room {room:?}?"
                    ));
                }
            }
        }
        match cause {
            Some(Cause::Said(_) | Cause::Closed) => {
                Failure::broken(format!("{target}: the server ended the session"))
            }
            Some(Cause::Failed) => Failure::absent(format!("{target}: the media connection broke")),
            None => Failure::absent(format!(
                "{target}: the server has reported no packets for {} s: the network between is gone, or it hangs",
                SILENT_AFTER.as_secs()
            )),
        }
    }

    async fn presence(&self) -> Presence {
        let (Some(rooms), Some(member)) = (self.rooms.clone(), self.member.clone()) else {
            return Presence::Unknown;
        };
        let runtime = tokio::runtime::Handle::current();
        let asked = tokio::task::spawn_blocking(move || rooms.presence(&member, &runtime));
        asked.await.unwrap_or(Presence::Unknown)
    }

    /// Resolves when packets go out and the peer reports none of them for too long.
    async fn until_silent(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = (0, Instant::now());
        let mut sent = 0;
        loop {
            ticks.tick().await;
            let arrived = self.line.arrived.load(Ordering::Relaxed);
            let fed = self.fed.load(Ordering::Relaxed);
            // A camera that gives nothing leaves nothing to report.
            if arrived != seen.0 || fed == sent {
                seen = (arrived, Instant::now());
            }
            sent = fed;
            let quiet = seen.1.elapsed();
            self.line.counts.store(quiet < DOUBT_AFTER, Ordering::Relaxed);
            if quiet >= SILENT_AFTER {
                return;
            }
        }
    }
}

/// What has become of a session, by what the server knew of it when it began and knows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    TakenOver,
    RoomGone,
    Removed,
    Unclear,
}

fn fate(began: &Presence, now: &Presence) -> Fate {
    // Who comes back first makes a deleted room anew: another room of the same name.
    if let (Some(old), Some(new)) = (began.room(), now.room())
        && old != new
    {
        return Fate::RoomGone;
    }
    match (began, now) {
        (Presence::Present { sid: old, .. }, Presence::Present { sid: new, .. }) if old != new => {
            Fate::TakenOver
        }
        (_, Presence::NoRoom) => Fate::RoomGone,
        (_, Presence::Absent { .. }) => Fate::Removed,
        _ => Fate::Unclear,
    }
}

/// Notes what the peer reports through a pad on which RTCP arrives.
fn listen(pad: &gst::Pad, line: &Arc<Line>) {
    let line = Arc::clone(line);
    let packet = move |buffer: &gst::BufferRef| {
        if let Ok(bytes) = buffer.map_readable() {
            line.heard(&bytes);
        }
    };
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        if let Some(buffer) = info.buffer() {
            packet(buffer);
        } else if let Some(list) = info.buffer_list() {
            list.iter().for_each(&packet);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Sources and their extended highest sequence numbers that have arrived, from a compound RTCP packet
/// (RFC 3550, 6.4). What is cut off is left out.
fn reported(mut bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    while let [first, kind, high, low, ..] = *bytes {
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let Some(packet) = bytes.get(..length) else { break };
        // Sender reports have 20 bytes about the sender before the blocks.
        let blocks = match kind {
            200 => packet.get(28..),
            201 => packet.get(8..),
            _ => None,
        };
        let blocks = blocks.unwrap_or_default().chunks_exact(24).take(usize::from(first & 0x1f));
        for block in blocks {
            let word =
                |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            found.push((word(0), word(8)));
        }
        bytes = &bytes[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_became_of_a_session_is_told_by_the_room_and_who_is_in_it() {
        let present = |room: &str, sid: &str| Presence::Present { room: room.into(), sid: sid.into() };
        let absent = |room: &str| Presence::Absent { room: room.into() };
        let own = present("RM_1", "PA_1");
        for (began, now, expected) in [
            (own.clone(), present("RM_1", "PA_2"), Fate::TakenOver),
            (own.clone(), absent("RM_1"), Fate::Removed),
            (own.clone(), Presence::NoRoom, Fate::RoomGone),
            (own.clone(), absent("RM_2"), Fate::RoomGone),
            (own.clone(), present("RM_2", "PA_2"), Fate::RoomGone),
            (own.clone(), own.clone(), Fate::Unclear),
            (own.clone(), Presence::Unknown, Fate::Unclear),
            (Presence::Unknown, absent("RM_1"), Fate::Removed),
            (Presence::Unknown, Presence::NoRoom, Fate::RoomGone),
            (Presence::Unknown, present("RM_1", "PA_2"), Fate::Unclear),
        ] {
            assert_eq!(fate(&began, &now), expected, "{began:?} → {now:?}");
        }
    }

    fn report(kind: u8, numbers: &[(u32, u32)]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 7];
        if kind == 200 {
            body.extend([0; 20]);
        }
        for (source, number) in numbers {
            body.extend(source.to_be_bytes());
            body.extend([0; 4]);
            body.extend(number.to_be_bytes());
            body.extend([0; 12]);
        }
        let words = (body.len() / 4) as u16;
        let mut packet = vec![0x80 | numbers.len() as u8, kind];
        packet.extend(words.to_be_bytes());
        packet.extend(body);
        packet
    }

    #[test]
    fn what_arrived_is_read_from_reports_of_receivers_and_senders() {
        assert_eq!(reported(&report(201, &[(1, 70_000)])), [(1, 70_000)]);
        assert_eq!(reported(&report(200, &[(1, 5), (2, 9)])), [(1, 5), (2, 9)]);
        assert_eq!(reported(&report(201, &[])), []);
        let mut compound = report(201, &[(1, 3)]);
        compound.extend(report(202, &[]));
        compound.extend(report(201, &[(1, 4)]));
        assert_eq!(reported(&compound), [(1, 3), (1, 4)]);
        compound.pop();
        assert_eq!(reported(&compound), [(1, 3)]);
    }

    #[test]
    fn pictures_arrive_though_repetitions_with_higher_numbers_do_not() {
        let line = Line::new();
        let arrived = || line.arrived.load(Ordering::Relaxed);
        line.heard(&report(201, &[(1, 100), (2, 60_000)]));
        let before = arrived();
        line.heard(&report(201, &[(1, 200), (2, 60_000)]));
        assert_eq!(arrived(), before + 1);
        // A peer that reports each source in a packet of its own, and that nothing more of either came.
        line.heard(&report(201, &[(1, 200)]));
        line.heard(&report(201, &[(2, 60_000)]));
        assert_eq!(arrived(), before + 1);
        for source in 10..100 {
            line.heard(&report(201, &[(source, 1)]));
        }
        assert_eq!(line.reported.lock().unwrap().len(), SOURCES, "what a peer makes up has its bounds");
    }

    proptest! {
        #[test]
        fn no_packet_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = reported(&bytes);
        }
    }
}
