//! RTMP and RTMPS: FLV over one TCP connection.
//!
//! `rtmp2sink` takes a picture only when the server has taken those before it, up to what the sockets hold:
//! what passes into it counts. The watch reads its byte counts, less what the server's kernel has not
//! confirmed: they stand still when the server is a black hole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::plan::Rtmp;
use super::status::Counters;
use super::unacked::Own;
use super::words;
use crate::config::Secret;
use crate::pipelines::{Parameters, Value};
use crate::supervision::{Failure, Reports};

/// How often the byte counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes that wait for this long are not taken any more. A slow link takes them in bursts: the kernel wants
/// more only when a third of its buffer is free, which may be a megabyte.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);
/// A server that has not agreed to take the stream by then does not answer.
const AGREES_WITHIN: Duration = Duration::from_secs(6);
/// A server that does not like the key hangs up about as soon as it has heard it: pictures count when the
/// connection has lasted longer.
const PROBATION: Duration = Duration::from_millis(300);

pub fn parameters(rtmp: &Rtmp, key: &Secret) -> Parameters {
    let mut parameters: Parameters = [
        ("host", Value::Text(rtmp.host.clone())),
        ("port", Value::Int(rtmp.port.into())),
        ("scheme", Value::Word(if rtmp.tls { "rtmps" } else { "rtmp" }.into())),
        ("application", Value::Secret(rtmp.application.expose().to_owned())),
        ("stream", Value::Secret(key.expose().to_owned())),
    ]
    .into();
    if let Some((user, password)) = &rtmp.login {
        parameters.insert("username", Value::Text(user.clone()));
        parameters.insert("password", Value::Secret(password.expose().to_owned()));
    }
    parameters
}

/// The sink's threads tell here what they take.
#[derive(Debug)]
pub struct Line {
    /// When the first picture went in: the server has agreed to take the stream.
    agreed: Mutex<Option<Instant>>,
    kept: AtomicBool,
    taken: AtomicU64,
}

impl Line {
    /// Counts the pictures that go into `sink`.
    pub fn of(sink: &gst::Element, reports: &Reports) -> Arc<Self> {
        let line = Arc::new(Self {
            agreed: Mutex::default(),
            kept: AtomicBool::new(false),
            taken: AtomicU64::new(0),
        });
        let Some(pad) = sink.static_pad("sink") else { return line };
        let (counting, reports) = (Arc::clone(&line), reports.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            // The headers go in while it still connects; the one after them waits for the server.
            if !buffer.flags().contains(gst::BufferFlags::HEADER) {
                counting.take(Instant::now(), &reports);
            }
            gst::PadProbeReturn::Ok
        });
        line
    }

    fn take(&self, now: Instant, reports: &Reports) {
        // That this one comes says that the one before it was taken.
        if self.taken.fetch_add(1, Ordering::Relaxed) == 0 {
            return;
        }
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *agreed.get_or_insert(now);
        drop(agreed);
        if now.saturating_duration_since(since) >= PROBATION {
            self.kept.store(true, Ordering::Relaxed);
            reports.frame();
        }
    }

    fn agreed(&self) -> bool {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the server took pictures for a while.
    pub fn kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }
}

/// The failure that an error of the pipeline is. `hung_up` remembers from attempt to attempt that the
/// server hung up on the key.
pub fn failure(
    error: &gst::message::Error,
    target: &str,
    line: &Line,
    secrets: &[Secret],
    hung_up: &AtomicBool,
) -> Failure {
    let said = words::hidden(error.error().message(), secrets);
    let details = words::hidden(&error.debug().unwrap_or_default(), secrets);
    tracing::debug!("{target}: {said} ({details})");
    let kept = line.kept();
    let failure = words::of_rtmp(target, &error.error(), &said, kept, hung_up.load(Ordering::Relaxed));
    hung_up.store(!kept && failure.kind != crate::supervision::FailureKind::Absent, Ordering::Relaxed);
    failure
}

/// Watches until the server has taken nothing for too long, which it reports.
pub async fn watch(
    line: Arc<Line>,
    sink: gst::glib::WeakRef<gst::Element>,
    fed: Arc<AtomicU64>,
    counters: Arc<Counters>,
    reports: Reports,
    target: String,
    mut own: Own,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut given) = ((0, Instant::now()), 0);
    loop {
        ticks.tick().await;
        let sink = sink.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let sent = sink.upgrade().map(|sink| confirmed(&sink, &mut own));
            (own, sent)
        });
        let Ok((again, Some(sent))) = looked.await else { return };
        own = again;
        // What is read a moment later may hold more: it never counts back.
        let sent = sent.max(seen.0);
        counters.bytes.fetch_add(sent.saturating_sub(seen.0), Ordering::Relaxed);
        let fed = fed.load(Ordering::Relaxed);
        // Without anything to send, nothing is stuck; with a full queue, nothing more is given.
        let idle = fed == given && line.taken.load(Ordering::Relaxed) >= fed;
        if sent != seen.0 || idle {
            seen = (sent, Instant::now());
        }
        given = fed;
        let limit = if line.agreed() { STUCK_AFTER } else { AGREES_WITHIN };
        if seen.1.elapsed() >= limit {
            let seconds = STUCK_AFTER.as_secs();
            return reports.failed(Failure::absent(if line.agreed() {
                format!(
                    "{target}: the server has taken nothing for {seconds} s: the network is gone, or it hangs"
                )
            } else {
                format!("{target}: it takes the connection and does not answer")
            }));
        }
    }
}

/// The bytes that have arrived at the server, or a few less; while nothing tells which connection is its own,
/// those that the kernel has taken.
fn confirmed(sink: &gst::Element, own: &mut Own) -> u64 {
    let sent = sink.property::<gst::Structure>("stats").get::<u64>("out-bytes-total").unwrap_or(0);
    sent.saturating_sub(own.unacknowledged().unwrap_or(0))
}
