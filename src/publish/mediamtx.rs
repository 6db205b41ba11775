//! MediaMTX: published by RTSP (RECORD over TCP), and driven by its control API ([`control`]).
//!
//! The stream does not depend on the API: where that does not answer, the output goes on and says so. What
//! the API adds: the path is there before the stream comes and again after the server lost it, recording is
//! as configured, and whether anything arrives is asked instead of believed.

pub mod control;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
            urls: [("rtsp".to_owned(), plan.shown())].into(),
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

pub fn parameters(plan: &Mediamtx, password: Option<&Secret>) -> Parameters {
    let tls = if plan.any_certificate { "0" } else { "validate-all" };
    let mut parameters: Parameters =
        [("url", Value::Secret(plan.address().expose().to_owned())), ("tls", Value::Flags(tls.into()))]
            .into();
    if let (Some(username), Some(password)) = (&plan.username, password) {
        parameters.insert("username", Value::Text(username.clone()));
        parameters.insert("password", Value::Secret(password.expose().to_owned()));
    }
    parameters
}

/// Counts what the sink takes. It holds the first picture back until the server has agreed to take the
/// stream: the second says that it did.
#[derive(Debug, Default)]
pub struct Line {
    taken: AtomicU64,
}

impl Line {
    pub fn of(sink: &gst::Element, reports: &Reports, counters: &Arc<Counters>) -> Arc<Self> {
        let line = Arc::<Self>::default();
        let Some(pad) = sink.sink_pads().into_iter().next() else { return line };
        let (counting, reports, counters) = (Arc::clone(&line), reports.clone(), Arc::clone(counters));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let size = info.buffer().map_or(0, |buffer| buffer.size());
            if counting.taken.fetch_add(1, Ordering::Relaxed) > 0 {
                counters.bytes.fetch_add(size as u64, Ordering::Relaxed);
                reports.frame();
            }
            gst::PadProbeReturn::Ok
        });
        line
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

/// The failure that an error of the sink is.
pub fn failure(error: &gst::message::Error, target: &str, secrets: &[Secret]) -> Failure {
    let details = words::hidden(&error.debug().unwrap_or_default(), secrets);
    let said = words::hidden(error.error().message(), secrets);
    tracing::debug!("{target}: {said} ({details})");
    // What the server said stands in the last line of the details.
    let last = details.lines().last().filter(|line| !line.contains(".c(")).unwrap_or(&said);
    words::of_rtsp(target, &error.error(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

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
