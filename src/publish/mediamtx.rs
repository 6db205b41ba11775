//! MediaMTX: published by RTSP (RECORD over TCP) or SRT (MPEG-TS), and driven by its control API ([`control`]).
//!
//! The stream does not depend on the API: where that does not answer, the output goes on and says so. What
//! the API adds: the path is there before the stream comes and again after the server lost it, recording is
//! as configured, and whether anything arrives is asked instead of believed.

pub mod control;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use serde::Serialize;
use utoipa::ToSchema;

use super::plan::Mediamtx;
use super::status::Counters;
use super::words;
use crate::config::Secret;
use crate::pipelines::{Parameters, Value};
use crate::supervision::{Failure, Reports};
use control::{Api, Trouble};

/// How often the server is asked how it is.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Pictures that go out for this long and do not arrive are lost.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// A sink that takes nothing for this long, while there is something to take, hangs.
pub const STUCK_AFTER: Duration = Duration::from_secs(12);

/// What is known of the server, for the output's status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct MediamtxStatus {
    /// The path at the server.
    pub path: String,
    /// `ok`, what is wrong with the control API in words, or `null` without one.
    pub control: Option<String>,
    /// When the server started, as it says.
    pub started: Option<String>,
    /// Whether the server says that the stream is there.
    pub online: Option<bool>,
    /// Bytes that arrived at the server.
    pub inbound_bytes: Option<u64>,
    /// Whether the server records the path.
    pub recording: Option<bool>,
    /// Where the server gives the stream, by protocol: `rtsp`, `hls`, `webrtc`, `whep`, `rtmp`, `srt`.
    pub urls: BTreeMap<String, String>,
}

/// What all attempts of one output know of the server.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<MediamtxStatus>>);

impl Hub {
    pub fn of(plan: &Mediamtx) -> Self {
        Self(Arc::new(Mutex::new(MediamtxStatus {
            path: plan.path.clone(),
            urls: [match plan.by_srt() {
                true => ("srt".to_owned(), plan.srt_for_readers()),
                false => ("rtsp".to_owned(), plan.shown()),
            }]
            .into(),
            ..MediamtxStatus::default()
        })))
    }

    pub fn status(&self) -> MediamtxStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, MediamtxStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path as it has to be; how that went. Blocks for a few seconds at most.
    pub fn reconcile(&self, api: &Api, plan: &Mediamtx) -> Result<(), Trouble> {
        let settled = api.reconcile(&plan.path, plan.record);
        let mut status = self.lock();
        match &settled {
            Ok(settled) => {
                status.control = Some("ok".into());
                status.started = Some(settled.started.clone());
                status.recording = Some(settled.recording);
                status.urls.extend(settled.urls(plan));
            }
            Err(trouble) => status.control = Some(trouble.to_string()),
        }
        settled.map(|_| ())
    }
}

/// Forgets, when an attempt ends, what was true of it only.
#[derive(Debug)]
pub struct Parting(pub Hub);

impl Drop for Parting {
    fn drop(&mut self) {
        let mut status = self.0.lock();
        (status.online, status.inbound_bytes) = (None, None);
    }
}

pub fn fragment(plan: &Mediamtx) -> &'static str {
    if plan.by_srt() { "outputs/mediamtx-srt" } else { "outputs/mediamtx" }
}

/// What the fragment is filled with.
///
/// # Errors
/// User or password cannot be told the server.
pub fn parameters(plan: &Mediamtx, password: Option<&Secret>) -> Result<Parameters, Failure> {
    let login = plan.username.as_deref().zip(password.map(Secret::expose));
    if plan.by_srt() {
        if login.is_some_and(|(user, password)| user.contains(':') || password.contains(':')) {
            let words =
                "SRT puts colons between path, user and password: one with a colon in it cannot be used";
            return Err(Failure::refused(format!("{}: {words}", plan.shown())));
        }
        let address = plan.srt_address(login);
        return Ok([("url", Value::Secret(address.expose().to_owned()))].into());
    }
    let tls = if plan.any_certificate { "0" } else { "validate-all" };
    let mut parameters: Parameters =
        [("url", Value::Secret(plan.address().expose().to_owned())), ("tls", Value::Flags(tls.into()))]
            .into();
    if let Some((username, password)) = login {
        parameters.insert("username", Value::Text(username.to_owned()));
        parameters.insert("password", Value::Secret(password.to_owned()));
    }
    Ok(parameters)
}

/// Counts what goes in, once the server has agreed to take the stream.
#[derive(Debug)]
pub struct Line {
    taken: AtomicU64,
    agreed: AtomicBool,
    began: Instant,
}

/// A server that ends an SRT connection sooner has refused it; one that is not there is given up later.
const REFUSES_WITHIN: Duration = Duration::from_millis(2500);

impl Line {
    pub fn of(
        plan: &Mediamtx,
        pipeline: &gst::Pipeline,
        sink: &gst::Element,
        reports: &Reports,
        counters: &Arc<Counters>,
    ) -> Arc<Self> {
        let line = Arc::new(Self {
            taken: AtomicU64::new(0),
            agreed: AtomicBool::new(false),
            began: Instant::now(),
        });
        // Where a picture is one buffer.
        let element = if plan.by_srt() { pipeline.by_name("mux") } else { Some(sink.clone()) };
        let Some(pad) = element.and_then(|element| element.sink_pads().into_iter().next()) else {
            return line;
        };
        let (counting, reports, counters) = (Arc::clone(&line), reports.clone(), Arc::clone(counters));
        let srt = plan.by_srt().then(|| sink.downgrade());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let size = info.buffer().map_or(0, |buffer| buffer.size());
            let before = counting.taken.fetch_add(1, Ordering::Relaxed);
            let agreed = counting.agreed()
                || match &srt {
                    Some(sink) => sink.upgrade().is_some_and(|sink| confirms(&sink)),
                    // It holds the first picture back until then.
                    None => before > 0,
                };
            if agreed {
                counting.agreed.store(true, Ordering::Relaxed);
                counters.bytes.fetch_add(size as u64, Ordering::Relaxed);
                reports.frame();
            }
            gst::PadProbeReturn::Ok
        });
        line
    }

    fn agreed(&self) -> bool {
        self.agreed.load(Ordering::Relaxed)
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Watches one attempt: that the sink takes pictures, and that they arrive.
#[derive(Debug)]
pub struct Watch {
    pub line: Arc<Line>,
    pub fed: Arc<AtomicU64>,
    pub reports: Reports,
    pub target: String,
    pub plan: Mediamtx,
    pub hub: Hub,
    /// None without a control API.
    pub api: Option<Arc<Api>>,
}

impl Watch {
    /// Until something is wrong, which it reports.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut taken, mut moved) = (0, Instant::now());
        let mut arrival = Arrival::new(Instant::now());
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let (fed, took) = (self.fed.load(Ordering::Relaxed), self.line.taken());
            if took != taken || took >= fed {
                moved = now;
            }
            let sending = took > taken;
            taken = took;
            if now.duration_since(moved) >= STUCK_AFTER {
                let seconds = STUCK_AFTER.as_secs();
                let words = format!("{}: the server has taken nothing for {seconds} s", self.target);
                return self.reports.failed(Failure::absent(words));
            }
            let Some(api) = &self.api else { continue };
            let (api, hub, plan) = (Arc::clone(api), self.hub.clone(), self.plan.clone());
            let Ok(found) = tokio::task::spawn_blocking(move || look(&api, &hub, &plan)).await else {
                return;
            };
            if let Some((online, inbound)) = found
                && arrival.is_lost(Instant::now(), sending, online, inbound)
            {
                let words = format!(
                    "{}: pictures go out, and the server says that none arrive at path {:?}",
                    self.target, self.plan.path
                );
                return self.reports.failed(Failure::broken(words));
            }
        }
    }
}

/// Asks how the path is and mends what is not as it should be. `None`: the server did not say.
fn look(api: &Api, hub: &Hub, plan: &Mediamtx) -> Option<(bool, u64)> {
    let known = hub.lock().started.clone();
    let started = match api.started() {
        Ok(started) => started,
        Err(trouble) => {
            hub.lock().control = Some(trouble.to_string());
            return None;
        }
    };
    hub.lock().started = Some(started.clone());
    if known.as_ref().is_some_and(|known| *known != started) {
        tracing::info!("MediaMTX at {} was started anew: path {:?} is set up", api.shown(), plan.path);
    }
    if known != Some(started) || !api.is_settled(&plan.path, plan.record) {
        hub.reconcile(api, plan).ok()?;
    }
    match api.arrived(&plan.path) {
        Ok((online, inbound)) => {
            let mut status = hub.lock();
            status.control = Some("ok".into());
            (status.online, status.inbound_bytes) = (Some(online), Some(inbound));
            Some((online, inbound))
        }
        Err(trouble) => {
            hub.lock().control = Some(trouble.to_string());
            None
        }
    }
}

/// Whether what goes out arrives. Pure: times come in.
#[derive(Debug)]
struct Arrival {
    inbound: u64,
    /// When it last grew, or nothing went out.
    since: Instant,
}

impl Arrival {
    fn new(now: Instant) -> Self {
        Self { inbound: 0, since: now }
    }

    fn is_lost(&mut self, now: Instant, sending: bool, online: bool, inbound: u64) -> bool {
        if !sending || online && inbound != self.inbound {
            self.since = now;
        }
        self.inbound = inbound;
        now.saturating_duration_since(self.since) >= SILENT_FOR
    }
}

/// Whether an SRT sink's peer has confirmed anything.
fn confirms(sink: &gst::Element) -> bool {
    let stats = sink.property::<gst::Structure>("stats");
    stats.get::<i32>("packet-ack-received").is_ok_and(|count| count > 0)
}

/// The failure that an error of the sink is.
pub fn failure(
    error: &gst::message::Error,
    plan: &Mediamtx,
    target: &str,
    line: &Line,
    secrets: &[Secret],
) -> Failure {
    let details = words::hidden(&error.debug().unwrap_or_default(), secrets);
    let said = words::hidden(error.error().message(), secrets);
    tracing::debug!("{target}: {said} ({details})");
    if plan.by_srt() {
        return of_srt(target, line.agreed(), line.began.elapsed(), &said);
    }
    // What the server said stands in the last line of the details.
    let last = details.lines().last().filter(|line| !line.contains(".c(")).unwrap_or(&said);
    words::of_rtsp(target, &error.error(), last)
}

/// The sink does not say why a connection was not made: how long it took does.
fn of_srt(target: &str, agreed: bool, after: Duration, said: &str) -> Failure {
    if agreed {
        Failure::broken(format!("{target}: the connection ended: {said}"))
    } else if after < REFUSES_WITHIN {
        Failure::broken(format!(
            "{target}: it refuses the connection: user, password or passphrase are wrong, the path is not one to \
             publish at, or somebody else does; MediaMTX's log says which"
        ))
    } else {
        Failure::absent(format!("{target}: nobody answers: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::FailureKind;

    #[test]
    fn by_srt_the_time_tells_a_refusal_from_an_absence() {
        for (agreed, seconds, kind, words) in [
            (false, 0.1, FailureKind::Broken, "refuses"),
            (false, 3.0, FailureKind::Absent, "nobody answers"),
            (true, 0.1, FailureKind::Broken, "ended"),
        ] {
            let failure = of_srt("srt://h:1/p", agreed, Duration::from_secs_f64(seconds), "no connection");
            assert_eq!(failure.kind, kind, "{failure:?}");
            assert!(failure.message.contains(words), "{failure:?}");
        }
    }

    #[test]
    fn what_goes_out_and_does_not_arrive_for_a_while_is_lost() {
        let began = Instant::now();
        // seconds, sending, online, inbound, lost
        let table = [
            (0, true, true, 100, false),
            (8, true, true, 200, false),
            (16, true, true, 200, false),
            (17, false, true, 200, false),
            (26, true, true, 200, false),
            (27, true, true, 200, true),
            (28, true, true, 300, false),
            // There by its name only.
            (37, true, false, 400, false),
            (38, true, false, 500, true),
        ];
        let mut arrival = Arrival::new(began);
        for (seconds, sending, online, inbound, lost) in table {
            let now = began + Duration::from_secs(seconds);
            assert_eq!(arrival.is_lost(now, sending, online, inbound), lost, "after {seconds} s");
        }
    }
}
