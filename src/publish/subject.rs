//! The subject that publishes: one attempt is one pipeline from an outlet to one peer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use gst::prelude::*;
use gstreamer as gst;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::feed::Feed;
use super::livekit_token;
use super::mediamtx::control::Api;
use super::mediamtx::{self, Hub};
use super::mourning::Mourning;
use super::plan::{Mediamtx, Member, Pass, Plan, Room, Rtmp, Way, Whip};
use super::rooms::{Presence, Rooms};
use super::rtmp;
use super::status::Counters;
use super::timeline::Order;
use super::unacked::Connections;
use super::webrtc::{Line, Watch};
use super::words;
use crate::capture::Capture;
use crate::capture::knock::{Knock, Knocker};
use crate::capture::run::{Attempt, Built, OnEnd};
use crate::config::Secret;
use crate::pipelines::{Chain, Library, Parameters, build};
use crate::supervision::{Failure, Reports, Subject};

/// The longest that a WebRTC negotiation may take.
const NEGOTIATION: Duration = Duration::from_secs(10);
/// Requests of the signaller's are given up after so many seconds: less than a stop may take.
const REQUEST_SECONDS: u32 = 4;
/// A stop that waits for a dead peer's farewell goes on by itself after this long.
const FAREWELL: Duration = Duration::from_secs(2);
/// So many may do so at once, all outputs together; one more counts as frozen.
const FAREWELLS: usize = 8;
/// After so long without a picture an output is stalled; before that, the watch over its connection has
/// found better words.
const PATIENCE: Duration = Duration::from_secs(7);
/// The longest that others are waited for that connect.
const CONNECTING: Duration = Duration::from_secs(8);
/// No token or key is longer.
const PASS_LIMIT: u64 = 16 * 1024;

/// What an output remembers from one attempt to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Somebody else took the identity over: the next attempt looks before it joins.
    pub contested: AtomicBool,
    /// The server hung up on the stream key.
    pub hung_up: AtomicBool,
    short_sessions: AtomicU64,
    /// Of the token's file as it was read.
    pub stamp: Mutex<Option<(SystemTime, u64)>>,
}

impl Memory {
    /// Counts sessions in a row that the server ended soon.
    pub fn short_session(&self, short: bool) -> u64 {
        if !short {
            self.short_sessions.store(0, Ordering::Relaxed);
            return 0;
        }
        self.short_sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn forget(&self) {
        self.contested.store(false, Ordering::Relaxed);
        self.hung_up.store(false, Ordering::Relaxed);
        self.short_sessions.store(0, Ordering::Relaxed);
    }
}

/// Whoever still says good-bye to a peer that does not answer.
#[derive(Clone, Debug)]
pub struct Farewells(Arc<Semaphore>);

impl Default for Farewells {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FAREWELLS)))
    }
}

/// What all attempts of one output share.
#[derive(Debug)]
pub struct Common {
    pub plan: Plan,
    pub library: Arc<Library>,
    pub graphs: Option<PathBuf>,
    pub counters: Arc<Counters>,
    pub memory: Arc<Memory>,
    pub farewells: Farewells,
    pub connections: Connections,
    /// What is known of a MediaMTX server.
    pub hub: Option<Hub>,
    /// An attempt without a picture after this long has failed.
    pub start_timeout: Duration,
    /// The camera that is published, as it is now.
    pub camera: watch::Receiver<Option<Capture>>,
}

/// Publishes one camera to one peer.
#[derive(Debug)]
pub struct PublisherSubject {
    common: Arc<Common>,
    knocker: Option<Arc<Knocker>>,
    attempt: Option<Attempt>,
}

impl PublisherSubject {
    pub fn new(common: Arc<Common>) -> Self {
        let knock = common.plan.peer().map(|(host, port)| Knock::Tcp { host, port });
        Self { knocker: knock.map(|knock| Arc::new(Knocker::new(knock))), common, attempt: None }
    }
}

impl Subject for PublisherSubject {
    fn name(&self) -> String {
        format!("output {}", self.common.plan.id)
    }

    fn begin(&mut self, reports: Reports) {
        let Some(capture) = self.common.camera.borrow().clone() else {
            return reports
                .failed(Failure::absent(format!("there is no camera {:?}", self.common.plan.camera)));
        };
        let job = Job {
            common: Arc::clone(&self.common),
            capture,
            reports: reports.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        self.attempt =
            Some(Attempt::begin(self.name(), reports, self.common.graphs.clone(), move || job.assemble()));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let (attempt, farewells) = (self.attempt.take(), self.common.farewells.clone());
        Box::pin(async move {
            let Some(attempt) = attempt else { return };
            // The task is not dropped with this future: a LiveKit session says good-bye to its server, and
            // waits until a dead one's connection has timed out. Media has stopped by then.
            let mut ending = tokio::spawn(attempt.end());
            if tokio::time::timeout(FAREWELL, &mut ending).await.is_ok() {
                return;
            }
            match Arc::clone(&farewells.0).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(async move {
                        let _ = ending.await;
                        drop(permit);
                    });
                }
                Err(_) => {
                    let _ = ending.await;
                }
            }
        })
    }

    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        let knocker = Arc::clone(self.knocker.as_ref()?);
        Some(Box::pin(async move { knocker.present().await }))
    }

    fn expected_fps(&self) -> Option<f64> {
        // Ten intervals without a picture are a stall.
        let patience = match self.common.plan.way {
            Ok(Way::Rtmp(_)) => rtmp::STUCK_AFTER + Duration::from_secs(2),
            Ok(Way::Mediamtx(_)) => mediamtx::STUCK_AFTER + Duration::from_secs(3),
            _ => PATIENCE,
        };
        Some(10.0 / patience.as_secs_f64())
    }
}

/// One attempt to be.
struct Job {
    common: Arc<Common>,
    capture: Capture,
    reports: Reports,
    runtime: tokio::runtime::Handle,
}

impl Job {
    /// Builds the pipeline. On a blocking thread: it reads files, and may ask the server.
    fn assemble(self) -> Result<Built, Failure> {
        let plan = &self.common.plan;
        match &plan.way {
            Ok(Way::Livekit(room)) => self.livekit(room),
            Ok(Way::Whip(whip)) => self.whip(whip),
            Ok(Way::Rtmp(rtmp)) => self.rtmp(rtmp),
            Ok(Way::Mediamtx(mediamtx)) => self.mediamtx(mediamtx),
            Err(words) => Err(Failure::unsupported(format!("output {}: {words}", plan.id))),
        }
    }

    fn livekit(&self, room: &Room) -> Result<Built, Failure> {
        let rooms = rooms(&room.pass, &room.server);
        let token = self.token(&room.pass, Some(&room.member), true)?;
        self.look_first(rooms.as_ref(), Some(&room.member))?;
        let address = room.server.as_str().replacen("http", "ws", 1);
        let (pipeline, sink, feed) = self.pipeline("outputs/livekit", &Parameters::new(), Order::Shown)?;
        let signaller = signaller(&sink)?;
        signaller.set_property("ws-url", address.trim_end_matches('/'));
        signaller.set_property("auth-token", token.expose());
        signaller.set_property("room-name", &room.member.room);
        signaller.set_property("identity", &room.member.identity);
        signaller.set_property("participant-name", &room.member.name);
        signaller.set_property("timeout", NEGOTIATION.as_secs() as u32);
        let parts = Parts { pipeline, sink, feed, token: Some(token), stun: room.stun.clone() };
        self.over_webrtc(parts, Some(room.member.clone()), rooms)
    }

    fn whip(&self, whip: &Whip) -> Result<Built, Failure> {
        let member = whip.livekit.as_ref().map(|(_, member)| member);
        let rooms = whip.livekit.as_ref().and_then(|(server, _)| rooms(&whip.pass, server));
        let token = match whip.pass {
            Pass::None => None,
            _ => Some(self.token(&whip.pass, member, false)?),
        };
        self.look_first(rooms.as_ref(), member)?;
        let (pipeline, sink, feed) = self.pipeline("outputs/whip", &Parameters::new(), Order::Shown)?;
        let signaller = signaller(&sink)?;
        signaller.set_property("whip-endpoint", whip.endpoint.as_str());
        signaller.set_property("auth-token", token.as_ref().map(Secret::expose));
        signaller.set_property("timeout", REQUEST_SECONDS);
        let parts = Parts { pipeline, sink, feed, token, stun: whip.stun.clone() };
        self.over_webrtc(parts, member.cloned(), rooms)
    }

    fn rtmp(&self, rtmp: &Rtmp) -> Result<Built, Failure> {
        let key = self.token(&rtmp.key, None, false)?;
        let order = Order::Decoded;
        let (pipeline, sink, feed) = self.pipeline("outputs/rtmp", &rtmp::parameters(rtmp, &key), order)?;
        let target = rtmp.shown();
        let line = rtmp::Line::of(&sink, &self.reports);
        let mut secrets = vec![key];
        secrets.extend(rtmp.login.as_ref().map(|(_, password)| password.clone()));
        let expect = self.common.connections.expect(rtmp.port);
        let own = self.runtime.block_on(tokio::time::timeout(CONNECTING, expect));
        let own = own.map_err(|_| Failure::absent(format!("{target}: others still connect to theirs")))?;
        let watch = rtmp::watch(
            Arc::clone(&line),
            sink.downgrade(),
            feed.fed(),
            Arc::clone(&self.common.counters),
            self.reports.clone(),
            target.clone(),
            own,
        );
        let watch = AbortOnDropHandle::new(self.runtime.spawn(watch));
        let pictures = self.capture.h264().subscribe();
        let feeding = feed.begin(&self.runtime, pictures, Arc::clone(&self.common.counters));
        let (shown, memory) = (target.clone(), Arc::clone(&self.common.memory));
        Ok(Built {
            pipeline,
            target,
            keep: Box::new((feeding, watch)),
            on_end: OnEnd::Fail("the stream ended"),
            on_error: Some(Box::new(move |error| {
                Some(rtmp::failure(error, &shown, &line, &secrets, &memory.hung_up))
            })),
        })
    }

    fn mediamtx(&self, plan: &Mediamtx) -> Result<Built, Failure> {
        let password = match plan.pass {
            Pass::None => None,
            _ => Some(self.token(&plan.pass, None, false)?),
        };
        let target = plan.shown();
        let hub = self.common.hub.clone().unwrap_or_default();
        let login = plan.username.clone().zip(password.clone());
        let api = plan.api.as_ref().map(|base| Arc::new(Api::new(base, login)));
        // The path has to be there before the stream; where the API does not answer, it may be all the same.
        if let Some(api) = &api
            && let Err(trouble) = hub.reconcile(api, plan)
        {
            tracing::warn!("output {}: {}: {trouble}", self.common.plan.id, api.shown());
        }
        let parameters = mediamtx::parameters(plan, password.as_ref())?;
        let fragment = mediamtx::fragment(plan);
        let (pipeline, sink, feed) = self.pipeline(fragment, &parameters, Order::Decoded)?;
        let line = mediamtx::Line::of(plan, &pipeline, &sink, &self.reports, &self.common.counters);
        let watch = mediamtx::Watch {
            line: Arc::clone(&line),
            fed: feed.fed(),
            reports: self.reports.clone(),
            target: target.clone(),
            plan: plan.clone(),
            hub: hub.clone(),
            api,
        };
        let watch = AbortOnDropHandle::new(self.runtime.spawn(watch.run()));
        let pictures = self.capture.h264().subscribe();
        let feeding = feed.begin(&self.runtime, pictures, Arc::clone(&self.common.counters));
        let secrets: Vec<Secret> = password.into_iter().chain(plan.query.clone()).collect();
        let (shown, plan) = (target.clone(), plan.clone());
        Ok(Built {
            pipeline,
            target,
            keep: Box::new((feeding, watch, mediamtx::Parting(hub))),
            on_end: OnEnd::Fail("the stream ended"),
            on_error: Some(Box::new(move |error| {
                Some(mediamtx::failure(error, &plan, &shown, &line, &secrets))
            })),
        })
    }

    fn over_webrtc(
        &self,
        parts: Parts,
        member: Option<Member>,
        rooms: Option<Rooms>,
    ) -> Result<Built, Failure> {
        let Parts { pipeline, sink, feed, token, stun } = parts;
        // Its default is a public server.
        sink.set_property("stun-server", stun);
        let common = &self.common;
        let target = common.plan.target();
        let line = Line::of(&sink, &self.reports, &common.counters);
        let watch = Watch {
            line: Arc::clone(&line),
            reports: self.reports.clone(),
            target: target.clone(),
            limit: NEGOTIATION.min(common.start_timeout.mul_f64(0.9)),
            member,
            rooms,
            memory: Arc::clone(&common.memory),
            fed: feed.fed(),
        };
        let watch = AbortOnDropHandle::new(self.runtime.spawn(watch.run()));
        let mourning = Mourning::of(sink, Arc::clone(&line.sessions), self.runtime.clone());
        let pictures = self.capture.realtime().subscribe();
        let feeding = feed.begin(&self.runtime, pictures, Arc::clone(&common.counters));
        let secrets: Vec<Secret> = token.into_iter().chain(common.plan.address_secret()).collect();
        let name = common.plan.id.clone();
        Ok(Built {
            pipeline,
            target,
            keep: Box::new((feeding, watch, mourning)),
            on_end: OnEnd::Fail("the session ended"),
            on_error: Some(Box::new(move |error| {
                let said = words::hidden(error.error().message(), &secrets);
                let details = words::hidden(&error.debug().unwrap_or_default(), &secrets);
                tracing::debug!("output {name}: {said} ({details})");
                // The signaller's words stand in the details.
                let words =
                    details.lines().find(|line| line.starts_with("Signalling error")).unwrap_or(&said);
                line.said(words.to_owned());
                None
            })),
        })
    }

    /// The fragment behind an appsrc that is not yet fed.
    fn pipeline(
        &self,
        fragment: &str,
        parameters: &Parameters,
        order: Order,
    ) -> Result<(gst::Pipeline, gst::Element, Feed), Failure> {
        let chain: Chain = self.common.library.fill(fragment, parameters)?;
        let bin = build::bin(&chain)?;
        let feed = Feed::new(order, &self.capture);
        let pipeline = gst::Pipeline::with_name(&format!("output-{}", self.common.plan.id));
        let broken = |error: gst::glib::BoolError| Failure::unsupported(format!("{fragment}: {error}"));
        pipeline.add_many([feed.source.upcast_ref(), bin.upcast_ref::<gst::Element>()]).map_err(broken)?;
        feed.source.link(&bin).map_err(broken)?;
        let sink = bin
            .by_name("sink")
            .ok_or_else(|| Failure::unsupported(format!("{fragment} has no element named sink")))?;
        Ok((pipeline, sink, feed))
    }

    /// After the identity was taken over, the peer is only looked at until it is free again.
    fn look_first(&self, rooms: Option<&Rooms>, member: Option<&Member>) -> Result<(), Failure> {
        let memory = &self.common.memory;
        let (Some(rooms), Some(member)) = (rooms, member) else {
            memory.contested.store(false, Ordering::Relaxed);
            return Ok(());
        };
        if !memory.contested.load(Ordering::Relaxed) {
            return Ok(());
        }
        match rooms.presence(member, &self.runtime) {
            Presence::Present { .. } => Err(words::contested(&member.identity, &member.room)),
            Presence::Unknown => Err(Failure::absent(format!(
                "{}: the server does not say whether identity {:?} is free again",
                self.common.plan.target(),
                member.identity
            ))),
            Presence::Absent { .. } | Presence::NoRoom => {
                memory.contested.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Token or stream key of this attempt. `native`: a ready-made one is a LiveKit token for the room.
    fn token(&self, pass: &Pass, member: Option<&Member>, native: bool) -> Result<Secret, Failure> {
        match (pass, member) {
            (Pass::Key { key, secret }, Some(member)) => livekit_token::make(key, secret, member),
            (Pass::Text(text), _) => Ok(text.clone()),
            (Pass::File(path), _) => {
                *self.common.memory.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp(path);
                let token = first_line(path)?;
                if let (true, Some(member)) = (native, member) {
                    livekit_token::judge(&token, &path.display().to_string(), member, SystemTime::now())?;
                }
                Ok(token)
            }
            (Pass::Key { .. } | Pass::None, _) => {
                Err(Failure::unsupported(format!("output {} has no token to show", self.common.plan.id)))
            }
        }
    }
}

struct Parts {
    pipeline: gst::Pipeline,
    sink: gst::Element,
    feed: Feed,
    token: Option<Secret>,
    stun: Option<String>,
}

fn rooms(pass: &Pass, server: &url::Url) -> Option<Rooms> {
    match pass {
        Pass::Key { key, secret } => {
            Some(Rooms { server: server.clone(), key: key.clone(), secret: secret.clone() })
        }
        _ => None,
    }
}

fn signaller(sink: &gst::Element) -> Result<gst::glib::Object, Failure> {
    match sink.find_property("signaller") {
        Some(_) => Ok(sink.property("signaller")),
        None => Err(Failure::unsupported("the fragment's element named sink has no signaller")),
    }
}

/// When a file was last changed, and its size.
pub fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The first line of a file with a token or key.
fn first_line(path: &Path) -> Result<Secret, Failure> {
    use std::io::Read;
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Failure::refused(format!("{shown} cannot be read: {error}; it is read again when it changes"))
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(PASS_LIMIT).read_to_string(&mut text).map_err(unreadable)?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(Failure::refused(format!("{shown} is empty; put the token or key on its first line"))),
    }
}
