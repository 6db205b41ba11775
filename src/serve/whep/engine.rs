//! The thread behind WebRTC: one owner of the media port and of all viewers of all cameras.
//!
//! It waits for the first of: a command, a picture, a datagram, a deadline; deals with it for all viewers
//! concerned in one pass; and then with what these want. A viewer whose handling panics is ended, alone.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use str0m::Candidate;
use str0m::net::Protocol;
use tokio::sync::{mpsc, oneshot};

use super::demux::{Demux, Key};
use super::feed::Feed;
use super::ports::{Ports, tcp_next};
use super::tcp::Arrival;
use super::types::{Fragment, Offer, Patched, Refusal, Session, ViewerStatus, Who};
use super::viewer::{Recipe, Viewer};
use crate::capture::Capture;
use crate::config::model::Webrtc;
use crate::frames::AccessUnit;

/// How many viewers that left on their own are remembered.
const DEPARTED: usize = 64;
/// How often limits are checked and status is published.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// An answer's way back.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

#[derive(Debug)]
pub enum Command {
    Offer { capture: Capture, offer: Offer, public: Vec<SocketAddr>, reply: Reply<Session> },
    Invite { capture: Capture, who: Who, public: Vec<SocketAddr>, reply: Reply<Session> },
    Answer { of: Of, sdp: String, reply: Reply<()> },
    Patch { of: Of, if_match: Option<String>, fragment: Fragment, reply: Reply<Patched> },
    Candidates { of: Of, reply: Reply<()> },
    End { of: Of, reply: Reply<()> },
    Abandon { of: Of, reply: Reply<()> },
    Cameras(Arc<[Capture]>),
    Settings(Webrtc),
    Stop(oneshot::Sender<()>),
}

/// A session, as its URL names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Of {
    pub camera: String,
    pub session: String,
}

/// What the thread wakes for.
enum Happened {
    Command(Command),
    Picture(String, AccessUnit),
    Readable,
    Writable,
    Tcp(Arrival),
    Time,
}

/// What others read without asking the thread.
#[derive(Debug)]
pub struct Published {
    viewers: Mutex<Arc<[ViewerStatus]>>,
    counts: Mutex<HashMap<String, usize>>,
}

impl Default for Published {
    fn default() -> Self {
        Self { viewers: Mutex::new(Arc::new([])), counts: Mutex::default() }
    }
}

impl Published {
    pub fn viewers(&self) -> Arc<[ViewerStatus]> {
        Arc::clone(&self.viewers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count(&self, camera: &str) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(camera).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
pub struct Engine {
    settings: Webrtc,
    recipe: Recipe,
    ports: Ports,
    demux: Demux,
    viewers: HashMap<Key, Box<Viewer>>,
    feeds: HashMap<String, Feed>,
    /// Sessions whose viewer closed the connection lately, and may still say so over HTTP.
    departed: VecDeque<Of>,
    next: Key,
    /// Zero of the RTP clocks, before anything that is kept was captured.
    origin: Instant,
    housekeeping: Instant,
    published: Arc<Published>,
}

impl Engine {
    pub fn new(settings: Webrtc, recipe: Recipe, ports: Ports, published: Arc<Published>) -> Self {
        let now = Instant::now();
        let origin = now.checked_sub(Duration::from_secs(60)).unwrap_or(now);
        Self {
            settings,
            recipe,
            ports,
            demux: Demux::default(),
            viewers: HashMap::new(),
            feeds: HashMap::new(),
            departed: VecDeque::new(),
            next: 1,
            origin,
            housekeeping: now,
            published,
        }
    }

    /// Runs until it is told to stop or nobody can tell it anything any more.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let deadline = self.deadline();
            let happened = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None => break self.stop(),
                    Some(Command::Stop(done)) => {
                        self.stop();
                        let _ = done.send(());
                        break;
                    }
                    Some(command) => Happened::Command(command),
                },
                (camera, unit) = next_unit(&mut self.feeds) => Happened::Picture(camera, unit),
                () = self.ports.udp.readable() => Happened::Readable,
                () = self.ports.udp.writable() => Happened::Writable,
                arrival = tcp_next(&mut self.ports.tcp) => Happened::Tcp(arrival),
                () = tokio::time::sleep_until(deadline.into()) => Happened::Time,
            };
            if catch_unwind(AssertUnwindSafe(|| self.deal_with(happened))).is_err() {
                // Better all viewers come anew than none ever again.
                tracing::error!(
                    "WebRTC begins anew: its thread came to something unforeseen; please report it"
                );
                self.viewers.clear();
                self.feeds.clear();
                self.demux = Demux::default();
                self.count();
            }
        }
    }

    fn deal_with(&mut self, happened: Happened) {
        match happened {
            Happened::Command(command) => self.obey(command, Instant::now()),
            Happened::Picture(camera, unit) => self.show(&camera, &unit),
            Happened::Readable => self.receive(),
            Happened::Writable => self.ports.udp.drain(),
            Happened::Tcp(arrival) => self.arrive(arrival),
            Happened::Time => {}
        }
        self.attend(Instant::now());
    }

    fn deadline(&self) -> Instant {
        let viewers = self.viewers.values().map(|viewer| viewer.deadline);
        let now = Instant::now();
        let feeds = self.feeds.values().filter_map(|feed| feed.keyframes.deadline(now));
        viewers.chain(feeds).min().map_or(self.housekeeping, |first| first.min(self.housekeeping))
    }

    /// One picture to all viewers of its camera.
    fn show(&mut self, camera: &str, unit: &AccessUnit) {
        let Some(feed) = self.feeds.get_mut(camera) else { return };
        let Some(unit) = feed.take(unit) else { return };
        for viewer in self.viewers.values_mut().filter(|viewer| viewer.camera == camera) {
            let ports = &mut self.ports;
            guarded(viewer, |viewer| viewer.show(&unit, ports, Instant::now()));
        }
    }

    fn receive(&mut self) {
        // Answers go out by the same port that is being read.
        let mut arrived: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = Vec::new();
        self.ports.udp.receive(|source, destination, datagram| {
            arrived.push((source, destination, datagram.to_vec()));
        });
        let now = Instant::now();
        for (source, destination, datagram) in arrived {
            self.datagram((Protocol::Udp, source, destination), &datagram, now);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Packet { source, destination, packet } => {
                self.datagram((Protocol::Tcp, source, destination), &packet, Instant::now());
            }
            Arrival::Closed { source } => {
                let closed = Some((Protocol::Tcp, source));
                for viewer in self.viewers.values_mut().filter(|viewer| viewer.path == closed) {
                    viewer.end("it closed its connection");
                }
            }
        }
    }

    fn datagram(&mut self, path: (Protocol, SocketAddr, SocketAddr), datagram: &[u8], now: Instant) {
        let (protocol, source, _) = path;
        let known = self.demux.by_address(protocol, source);
        let ports = &mut self.ports;
        if let Some(viewer) = known.and_then(|key| self.viewers.get_mut(&key))
            && guarded(viewer, |viewer| viewer.receive(path, datagram, ports, now)).unwrap_or(true)
        {
            return;
        }
        // A new address, or one that another viewer has taken over: only a STUN request that holds the
        // session's password tells.
        let named = self.demux.by_request(datagram).filter(|key| Some(*key) != known);
        if let Some(viewer) = named.and_then(|key| self.viewers.get_mut(&key))
            && guarded(viewer, |viewer| viewer.receive(path, datagram, ports, now)) == Some(true)
        {
            self.demux.learn(protocol, source, viewer.key);
            if let Some(tcp) = self.ports.tcp.as_mut().filter(|_| protocol != Protocol::Udp) {
                tcp.belongs(source, viewer.key);
            }
        }
    }

    /// Everything that became due or was asked for.
    fn attend(&mut self, now: Instant) {
        for viewer in self.viewers.values_mut() {
            if viewer.deadline <= now {
                let ports = &mut self.ports;
                guarded(viewer, |viewer| viewer.wake(ports, now));
            }
            let wishes = std::mem::take(&mut viewer.wishes);
            if wishes.connected {
                tracing::info!("{viewer} watches");
            }
            let Some(feed) = self.feeds.get_mut(&viewer.camera) else { continue };
            // Our own encoder makes a keyframe; of a camera's own pictures the kept ones are sent again.
            let ask = if wishes.connected || (wishes.keyframe && !feed.encodes(now)) {
                let ports = &mut self.ports;
                let started = guarded(viewer, |viewer| viewer.replay(&feed.gop, &feed.clock, ports, now));
                if started == Some(false) && wishes.connected {
                    viewer.await_keyframe(&feed.clock, now);
                }
                started == Some(false)
            } else {
                wishes.keyframe
            };
            if ask {
                feed.keyframes.ask();
            }
        }
        for feed in self.feeds.values_mut() {
            if feed.keyframes.due(now) {
                feed.capture.request_keyframe();
            }
        }
        if self.housekeeping <= now {
            self.housekeeping = now + HOUSEKEEPING;
            self.keep_house(now);
        }
        self.remove_ended(now);
    }

    fn keep_house(&mut self, now: Instant) {
        let connect = seconds(self.settings.connect_timeout_seconds);
        let idle = seconds(self.settings.idle_timeout_seconds);
        for viewer in self.viewers.values_mut() {
            match viewer.connected {
                None if now.saturating_duration_since(viewer.begun) > connect => viewer.end(&format!(
                    "it did not connect within {connect:?}: does its network let it reach the WebRTC port \
                     (webrtc.port, webrtc.public_addresses)?"
                )),
                Some(_) if now.saturating_duration_since(viewer.reported) > idle => {
                    viewer.end(&format!("it reported nothing for {idle:?}"));
                }
                _ => {}
            }
        }
        if let Some(tcp) = &mut self.ports.tcp {
            tcp.sweep(now);
        }
        let status: Arc<[ViewerStatus]> =
            self.viewers.values_mut().map(|viewer| viewer.status(now)).collect();
        *self.published.viewers.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn remove_ended(&mut self, now: Instant) {
        let ended: Vec<Key> = self.viewers.values().filter(|v| v.ended.is_some()).map(|v| v.key).collect();
        if ended.is_empty() {
            return;
        }
        for key in ended {
            let Some(mut viewer) = self.viewers.remove(&key) else { continue };
            self.demux.forget(key);
            let ports = &mut self.ports;
            guarded(&mut viewer, |viewer| viewer.farewell(ports, now));
            self.ports.forget(key);
            let reason = viewer.ended.as_deref().unwrap_or_default();
            let lasted = now.saturating_duration_since(viewer.begun).as_secs_f64();
            tracing::info!("{viewer} is gone after {lasted:.1} s: {reason}; {}", viewer.summary());
            if reason == super::viewer::LEFT {
                self.departed.truncate(DEPARTED - 1);
                let of = Of { camera: viewer.camera.clone(), session: viewer.session.clone() };
                self.departed.push_front(of);
            }
        }
        // Without viewers nobody wants the camera's pictures.
        self.feeds.retain(|camera, _| self.viewers.values().any(|viewer| viewer.camera == *camera));
        self.count();
        self.keep_house(now);
    }

    fn count(&self) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for viewer in self.viewers.values() {
            *counts.entry(viewer.camera.clone()).or_default() += 1;
        }
        *self.published.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Offer { capture, offer, public, reply } => {
                let made = self.admit(&capture, &public, now, |key, camera, recipe, candidates| {
                    Viewer::of_offer(key, camera, (&offer.sdp, offer.who), recipe, candidates, now)
                });
                answer(reply, made);
            }
            Command::Invite { capture, who, public, reply } => {
                let made = self.admit(&capture, &public, now, |key, camera, recipe, candidates| {
                    Viewer::of_invitation(key, camera, who, recipe, candidates, now)
                });
                answer(reply, made);
            }
            Command::Answer { of, sdp, reply } => answer(reply, self.find(&of, |viewer| viewer.answer(&sdp))),
            Command::Patch { of, if_match, fragment, reply } => {
                answer(reply, self.patch(&of, if_match.as_deref(), &fragment));
            }
            // With ICE-lite they are not needed: the viewer checks us, and its addresses show then.
            Command::Candidates { of, reply } => answer(reply, self.find(&of, |_| Ok(()))),
            Command::End { of, reply } if self.departed.contains(&of) => {
                self.departed.retain(|departed| *departed != of);
                answer(reply, Ok(()));
            }
            Command::End { of, reply } => answer(
                reply,
                self.find(&of, |viewer| {
                    viewer.end("it ended the session");
                    Ok(())
                }),
            ),
            Command::Abandon { of, reply } => answer(
                reply,
                self.find(&of, |viewer| {
                    if viewer.connected.is_none() {
                        viewer.end("it left before it was connected");
                    }
                    Ok(())
                }),
            ),
            Command::Cameras(cameras) => self.follow(&cameras),
            Command::Settings(settings) => self.settings = settings,
            Command::Stop(_) => {}
        }
    }

    /// Makes a session if there is room; `make` does it.
    fn admit(
        &mut self,
        capture: &Capture,
        public: &[SocketAddr],
        now: Instant,
        make: impl FnOnce(Key, (&str, Option<u8>), &Recipe, &[Candidate]) -> Result<(Viewer, String), Refusal>,
    ) -> Result<Session, Refusal> {
        let max = self.settings.max_viewers;
        if self.viewers.len() >= max {
            return Err(Refusal::Full { max });
        }
        if self.feeds.get(capture.id()).is_some_and(|feed| !feed.is_of(capture)) {
            self.retire(capture.id());
            self.remove_ended(now);
        }
        // Not kept if the offer turns out to be unusable.
        let mut fresh = None;
        let profile = match self.feeds.get(capture.id()) {
            Some(feed) => feed.profile,
            None => {
                let mut feed = Feed::new(capture, self.origin);
                feed.catch_up();
                let profile = feed.profile;
                fresh = Some(feed);
                profile
            }
        };
        let candidates = self.ports.candidates(public);
        if candidates.is_empty() {
            tracing::warn!(
                "WebRTC viewers cannot be told where to connect: no usable address on this machine"
            );
        }
        let key = self.next;
        let recipe = &self.recipe;
        let made = catch_unwind(AssertUnwindSafe(|| make(key, (capture.id(), profile), recipe, &candidates)));
        let (viewer, sdp) =
            made.unwrap_or_else(|_| Err(Refusal::BadSdp("it cannot be understood".to_owned())))?;
        self.next += 1;
        if let Some(feed) = fresh {
            self.feeds.insert(capture.id().to_owned(), feed);
        }
        self.demux.expect(viewer.ufrag.clone(), key);
        let session = Session { id: viewer.session.clone(), sdp, etag: viewer.etag() };
        self.viewers.insert(key, Box::new(viewer));
        self.count();
        Ok(session)
    }

    /// Does something with a session; one that panics is over.
    fn find<T>(
        &mut self,
        of: &Of,
        act: impl FnOnce(&mut Viewer) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut viewers = self.viewers.values_mut();
        let viewer = viewers.find(|v| v.session == of.session && v.camera == of.camera && v.ended.is_none());
        let viewer = viewer.ok_or(Refusal::NoSession)?;
        viewer.deadline = Instant::now();
        let done = guarded(viewer, act);
        done.unwrap_or_else(|| Err(Refusal::BadSdp("it cannot be understood".to_owned())))
    }

    fn patch(&mut self, of: &Of, if_match: Option<&str>, fragment: &Fragment) -> Result<Patched, Refusal> {
        let (patched, ufrags) = self.find(of, |viewer| {
            let etag = viewer.etag();
            match if_match {
                None => return Err(Refusal::EtagMissing),
                Some(tags) if !matches(tags, &etag) => return Err(Refusal::EtagWrong),
                Some(_) => {}
            }
            let same = |ufrag: &str| viewer.remote_credentials().is_none_or(|(known, _)| known == ufrag);
            match (&fragment.ufrag, &fragment.pwd) {
                (Some(ufrag), Some(pwd)) if !same(ufrag) => {
                    let before = viewer.ufrag.clone();
                    let patched = viewer.restart(ufrag, pwd)?;
                    Ok((patched, Some((before, viewer.ufrag.clone(), viewer.key))))
                }
                _ => Ok((Patched::Trickled, None)),
            }
        })?;
        if let Some((before, after, key)) = ufrags {
            self.demux.forget_ufrag(&before);
            self.demux.expect(after, key);
        }
        Ok(patched)
    }

    /// Ends the viewers of cameras that are gone or have been replaced.
    fn follow(&mut self, cameras: &[Capture]) {
        let gone = |feed: &Feed| !cameras.iter().any(|capture| feed.is_of(capture));
        let gone: Vec<String> =
            self.feeds.iter().filter(|(_, feed)| gone(feed)).map(|(camera, _)| camera.clone()).collect();
        for camera in gone {
            self.retire(&camera);
        }
    }

    fn retire(&mut self, camera: &str) {
        for viewer in self.viewers.values_mut().filter(|viewer| viewer.camera == camera) {
            viewer.end("the camera was removed or its configuration changed");
        }
    }

    fn stop(&mut self) {
        for viewer in self.viewers.values_mut() {
            viewer.end("the service stops");
        }
        self.remove_ended(Instant::now());
    }
}

/// The next picture of any camera.
async fn next_unit(feeds: &mut HashMap<String, Feed>) -> (String, AccessUnit) {
    poll_fn(|context| {
        for (camera, feed) in feeds.iter_mut() {
            if let Poll::Ready(unit) = feed.poll_next(context) {
                return Poll::Ready((camera.clone(), unit));
            }
        }
        Poll::Pending
    })
    .await
}

/// A panic while `act` is at one viewer ends that viewer and nobody else.
fn guarded<T>(viewer: &mut Viewer, act: impl FnOnce(&mut Viewer) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| act(viewer)));
    if done.is_err() {
        viewer.end("something unforeseen went wrong with it; please report this with the log");
    }
    done.ok()
}

fn answer<T>(reply: Reply<T>, result: Result<T, Refusal>) {
    // Whoever asked may have gone away meanwhile; what was made expires by itself.
    let _ = reply.send(result);
}

/// Whether an `If-Match` header names this ETag (RFC 9110 13.1.1).
fn matches(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == etag
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_quoted_unquoted_weak_and_listed_tags_and_a_star() {
        for header in ["\"a-1\"", "a-1", "W/\"a-1\"", "\"x\", \"a-1\"", "*"] {
            assert!(matches(header, "a-1"), "{header}");
        }
        for header in ["", "\"a-0\"", "a"] {
            assert!(!matches(header, "a-1"), "{header}");
        }
    }
}
