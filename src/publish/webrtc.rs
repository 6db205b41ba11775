//! What the LiveKit and WHIP outputs have in common: a sink of webrtcsink's family, and the watch over it.
//!
//! Such a sink neither reconnects nor notices a peer that is silent. A picture counts when its last packet
//! goes out over a connection whose peer reports that packets arrive (RTCP receiver reports); a negotiation
//! that takes too long, a broken connection and a silent peer end the attempt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
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
/// So many of them in a row, and somebody else is thought to be behind it.
const SHORT_ONES: u64 = 3;

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
    /// One more than the highest sequence number that the peer has reported; 0 before the first report.
    arrived: AtomicU64,
}

impl Line {
    /// Listens to a sink that has not started yet.
    pub fn of(sink: &gst::Element, reports: &Reports, counters: &Arc<Counters>) -> Arc<Self> {
        let line = Arc::new(Self {
            link: watch::Sender::new(Link::Negotiating),
            counts: AtomicBool::new(false),
            sessions: Sessions::default(),
            arrived: AtomicU64::new(0),
        });
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
        let own = match own {
            Presence::Present(sid) => Some(sid),
            _ => None,
        };
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
    async fn after(&self, cause: Option<Cause>, own: Option<String>, lived: Duration) -> Failure {
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
            match (self.presence().await, own) {
                (Presence::Present(sid), Some(own)) if sid != own => {
                    self.memory.contested.store(true, Ordering::Relaxed);
                    return words::contested(identity, room);
                }
                (Presence::NoRoom, _) => {
                    return Failure::broken(format!(
                        "{target}: room {room:?} is gone: it was deleted, or the server started anew"
                    ));
                }
                (Presence::Absent, _) => {
                    return Failure::broken(format!(
                        "{target}: the server removed {identity:?} from room {room:?}"
                    ));
                }
                _ => {}
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

/// Notes what the peer reports through a pad on which RTCP arrives.
fn listen(pad: &gst::Pad, line: &Arc<Line>) {
    let line = Arc::clone(line);
    let packet = move |buffer: &gst::BufferRef| {
        if let Ok(bytes) = buffer.map_readable()
            && let Some(highest) = reported(&bytes)
        {
            line.arrived.store(u64::from(highest) + 1, Ordering::Relaxed);
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

/// The extended highest sequence number that has arrived, from a compound RTCP packet (RFC 3550, 6.4).
fn reported(mut bytes: &[u8]) -> Option<u32> {
    let mut highest = None;
    while let [first, kind, high, low, ..] = *bytes {
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let packet = bytes.get(..length)?;
        // Sender reports have 20 bytes about the sender before the blocks.
        let blocks = match kind {
            200 => packet.get(28..)?,
            201 => packet.get(8..)?,
            _ => &[],
        };
        let blocks = blocks.chunks_exact(24).take(usize::from(first & 0x1f));
        for block in blocks {
            let number = u32::from_be_bytes([block[8], block[9], block[10], block[11]]);
            highest = highest.max(Some(number));
        }
        bytes = &bytes[length..];
    }
    highest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(kind: u8, numbers: &[u32]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 7];
        if kind == 200 {
            body.extend([0; 20]);
        }
        for number in numbers {
            body.extend([0, 0, 0, 1, 0, 0, 0, 0]);
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
        assert_eq!(reported(&report(201, &[70_000])), Some(70_000));
        assert_eq!(reported(&report(200, &[5, 9])), Some(9));
        assert_eq!(reported(&report(201, &[])), None);
        let mut compound = report(201, &[3]);
        compound.extend(report(202, &[]));
        compound.extend(report(201, &[4]));
        assert_eq!(reported(&compound), Some(4));
    }

    proptest! {
        #[test]
        fn no_packet_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = reported(&bytes);
        }
    }
}
