//! The HTTP answers of HLS: which status, which headers, how long to wait. CORS and mounting belong to
//! `api`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::time::timeout;
use warp::Reply;
use warp::http::header::{ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use warp::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::body;
use super::playlist::{self, Container};
use super::request::{Asset, ByteRange, VERY_LARGE, Wanted, byte_range, wanted};
use super::ring::{Progress, View};
use super::stream::{Stream, Watching};
use super::timing::seconds;
use super::{Hls, Waits};
use crate::capture::Capture;
use crate::capture::status::CameraStatus;
use crate::serve::ready;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
/// Names of segments and parts are never used twice: what they hold does not change.
const KEEP: &str = "public, max-age=60";
const NO_STORE: &str = "no-store";
/// How often a wait for the first segment looks whether the camera has failed.
const LOOK: Duration = Duration::from_millis(500);

impl Hls {
    /// Answers a request for `file` of this camera. `query` without the question mark; `range` is the
    /// `Range` header. Waits, bounded, where the protocol wants it: for the first segment, for a part
    /// that a playlist promised. Needs a tokio runtime.
    pub async fn respond(
        &self,
        capture: &Capture,
        file: &str,
        query: &str,
        range: Option<&str>,
        method: &Method,
    ) -> Response {
        if method != Method::GET && method != Method::HEAD {
            let text = "HLS files can only be read: use GET or HEAD";
            let response = error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", text, json!({}));
            return with(response, ALLOW, "GET, HEAD");
        }
        let response = self.get(capture, file, query, range).await;
        if method == Method::HEAD { without_body(response) } else { response }
    }

    async fn get(&self, capture: &Capture, file: &str, query: &str, range: Option<&str>) -> Response {
        let id = capture.id();
        if !capture.camera().outputs.hls {
            let text = format!("HLS is off for camera {id}: set outputs.hls = true in its configuration");
            return error(StatusCode::NOT_FOUND, "OUTPUT_DISABLED", &text, json!({ "camera": id }));
        }
        let Some(asset) = Asset::parse(file) else {
            let text = format!(
                "camera {id} has no HLS file {file:?}: begin with stream.m3u8, stream_ll.m3u8 or stream_ll_fmp4.m3u8"
            );
            return error(StatusCode::NOT_FOUND, "NOT_FOUND", &text, json!({ "camera": id }));
        };
        let low_latency_only = matches!(asset, Asset::LowLatency(_)) || asset.container() == Container::Fmp4;
        if low_latency_only && !self.0.config.low_latency {
            let text = "low-latency HLS is off: use stream.m3u8, or set hls.low_latency = true";
            return error(StatusCode::NOT_FOUND, "OUTPUT_DISABLED", text, json!({ "camera": id }));
        }
        let streams = self.streams(capture);
        let stream = streams.of(asset.container());
        let waits = self.0.waits;
        match asset {
            Asset::Standard => list(capture, stream, Reload::Plain, waits, playlist::standard).await,
            Asset::LowLatency(container) => match wanted(query) {
                Ok(wanted) => {
                    let reload = wanted.map_or(Reload::Join, Reload::Blocking);
                    list(capture, stream, reload, waits, |view| playlist::low_latency(view, container)).await
                }
                Err(text) => bad_directive(id, text),
            },
            Asset::Segment(container, msn) => {
                let mime = match container {
                    Container::Ts => "video/mp2t",
                    Container::Fmp4 => "video/mp4",
                };
                segment(id, stream, msn, mime, range.and_then(byte_range), waits).await
            }
            Asset::Part(number) => part(id, stream, number, waits).await,
            Asset::Init(map) => {
                let watching = stream.visit();
                match stream.ring().init(map) {
                    Some(init) => media(vec![init], "video/mp4", watching),
                    None => gone(id),
                }
            }
        }
    }
}

/// What a playlist is asked for.
#[derive(Clone, Copy, Debug)]
enum Reload {
    /// As it is.
    Plain,
    /// By a low-latency player that joins. It places itself by the end of this list and stays at that
    /// distance, so it is answered when the end is fresh: right after the next part.
    Join,
    /// With what is wanted in it.
    Blocking(Wanted),
}

/// A playlist, when it holds what is wanted or waiting any longer would not help.
async fn list(
    capture: &Capture,
    stream: &Arc<Stream>,
    reload: Reload,
    waits: Waits,
    render: impl Fn(&View) -> String,
) -> Response {
    let id = capture.id();
    let _watching = stream.watch();
    let mut progress = stream.ring().progress();
    let mut waited = Duration::ZERO;
    // A failed wait is told by what the ring then says.
    match (reload, stream.ring().view()) {
        (_, None) => {
            let began = Instant::now();
            tokio::select! {
                _ = timeout(waits.first_segment, progress.wait_for(|progress| progress.ready)) => {}
                () = failure(capture) => {}
            }
            waited = began.elapsed();
        }
        (Reload::Plain, Some(_)) => {}
        (Reload::Join, Some(view)) => {
            // hls.js starts well from a list that ends with parts, not from one that ends with a whole
            // segment.
            let before = progress.borrow_and_update().next_part;
            let fresh = |progress: &Progress| progress.next_part > before && progress.parts > 0;
            let two_parts = Duration::from_secs_f64(2.0 * seconds(view.part_target));
            let _ = timeout(waits.join.min(two_parts), progress.wait_for(fresh)).await;
        }
        (Reload::Blocking(wanted), Some(view)) => {
            if let Err(text) = sensible(wanted, &view) {
                return bad_directive(id, text);
            }
            let there = |progress: &Progress| progress.reached(wanted.msn, wanted.part);
            let _ = timeout(waits.reload.min(patience(&view)), progress.wait_for(there)).await;
        }
    }
    match stream.ring().view() {
        Some(view) => {
            let response = Response::new(render(&view).into());
            with(with(response, CONTENT_TYPE, PLAYLIST), CACHE_CONTROL, NO_STORE)
        }
        None => {
            let why = why(&capture.status());
            let waited = waited.as_secs_f64();
            let text = format!("camera {id} gave no whole HLS segment within {waited:.1} s: {why}");
            not_ready(&text, json!({ "camera": id, "waited_seconds": waited }))
        }
    }
}

/// How long hls.js waits for a blocking reload, max(3 parts, 0.8 target durations), less a quarter for
/// the way.
fn patience(view: &View) -> Duration {
    Duration::from_secs_f64(0.75 * (3.0 * seconds(view.part_target)).max(0.8 * view.target_duration as f64))
}

/// Resolves when waiting on is in vain for now: the camera or its encoder has failed. A failure from before
/// the request is tried again first, because the request pokes.
async fn failure(capture: &Capture) {
    loop {
        tokio::time::sleep(LOOK).await;
        let status = capture.status();
        if ready::failed(&status, &status.h264).is_some() {
            return;
        }
    }
}

/// Why there is no segment, in words.
fn why(status: &CameraStatus) -> String {
    let failed = ready::failed(status, &status.h264);
    let error = failed.and_then(|(_, lifecycle)| lifecycle.last_error.clone());
    error.unwrap_or_else(|| "it is starting, or away; try again".to_owned())
}

/// RFC 8216bis, 6.2.5.2: what is too far ahead is refused at once.
fn sensible(wanted: Wanted, view: &View) -> Result<(), &'static str> {
    let last = view.segments.last().map_or(view.next_msn, |segment| segment.msn);
    if wanted.msn > last + 2 {
        return Err("_HLS_msn is more than two segments ahead of the playlist");
    }
    let open = view.open.as_ref().map_or(0, |open| open.parts.len());
    let part_target = seconds(view.part_target);
    let ahead = if part_target > 0.0 && part_target < 1.0 { (3.0 / part_target).ceil() as usize } else { 3 };
    if wanted.msn > last && wanted.part.is_some_and(|part| part > open + ahead) {
        return Err("_HLS_part is too far ahead of the playlist");
    }
    Ok(())
}

async fn segment(
    id: &str,
    stream: &Arc<Stream>,
    msn: u64,
    mime: &'static str,
    range: Option<ByteRange>,
    waits: Waits,
) -> Response {
    let watching = stream.visit();
    let ring = stream.ring();
    let mut progress = ring.progress();
    let grows = stream.running() && progress.borrow().msn == msn;
    if grows {
        let enough = match range {
            // Known only when the segment is whole.
            Some(ByteRange::Last(_)) => u64::MAX,
            Some(ByteRange::Between(_, last)) => last,
            Some(ByteRange::From(from)) => return growing(stream, msn, Some(from), mime, waits, watching),
            None => return growing(stream, msn, None, mime, waits, watching),
        };
        let there =
            |_: &Progress| ring.segment(msn).is_some_and(|(segment, whole)| whole || segment.len() > enough);
        let _ = timeout(waits.part, progress.wait_for(there)).await;
    }
    let Some((segment, whole)) = ring.segment(msn) else {
        return if grows { late(id) } else { gone(id) };
    };
    let length = segment.len();
    let (from, to) = match range {
        None => return media(segment.slices(0, length), mime, watching),
        Some(ByteRange::From(from)) => (from, length),
        Some(ByteRange::Between(from, last)) => (from, (last + 1).min(length)),
        Some(ByteRange::Last(count)) => (length.saturating_sub(count), length),
    };
    if from >= to {
        if !whole {
            return late(id);
        }
        let text = format!("the segment has {length} bytes");
        let response = error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", &text, json!({}));
        return with(response, CONTENT_RANGE, &format!("bytes */{length}"));
    }
    let total = if whole { length.to_string() } else { "*".into() };
    let mut response = media(segment.slices(from, to), mime, watching);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    with(response, CONTENT_RANGE, &format!("bytes {from}-{}/{total}", to - 1))
}

/// The segment that grows, its parts as they come. A range without an end gets one that is larger than
/// anything, as RFC 8673 has it for content that is still made.
fn growing(
    stream: &Arc<Stream>,
    msn: u64,
    from: Option<u64>,
    mime: &str,
    waits: Waits,
    watching: Watching,
) -> Response {
    let ring = Arc::clone(stream.ring());
    let mut response = body::growing(ring, msn, from.unwrap_or(0), waits.part, watching);
    if let Some(from) = from {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response = with(response, CONTENT_RANGE, &format!("bytes {from}-{VERY_LARGE}/*"));
    }
    with(with(with(response, CONTENT_TYPE, mime), ACCEPT_RANGES, "bytes"), CACHE_CONTROL, NO_STORE)
}

async fn part(id: &str, stream: &Arc<Stream>, number: u64, waits: Waits) -> Response {
    let watching = stream.visit();
    let mut progress = stream.ring().progress();
    let hinted = stream.running() && progress.borrow().next_part == number;
    if hinted {
        let _ = timeout(waits.part, progress.wait_for(|progress| progress.next_part > number)).await;
    }
    match stream.ring().part(number) {
        Some(part) => media(vec![part.data], "video/mp4", watching),
        None if hinted => late(id),
        None => gone(id),
    }
}

/// A body whose length is known.
fn media(slices: Vec<bytes::Bytes>, mime: &str, watching: Watching) -> Response {
    let length: usize = slices.iter().map(bytes::Bytes::len).sum();
    let response = with(body::slices(slices, watching), CONTENT_LENGTH, &length.to_string());
    with(with(with(response, CONTENT_TYPE, mime), ACCEPT_RANGES, "bytes"), CACHE_CONTROL, KEEP)
}

fn gone(id: &str) -> Response {
    let text = format!(
        "camera {id} has no such HLS segment now: it left the playlist, or was never in it; load the playlist again"
    );
    error(StatusCode::NOT_FOUND, "NOT_FOUND", &text, json!({ "camera": id }))
}

fn late(id: &str) -> Response {
    let text = format!("camera {id} has not given this part yet: the camera may be away; try again");
    not_ready(&text, json!({ "camera": id }))
}

fn bad_directive(id: &str, text: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "BAD_REQUEST", text, json!({ "camera": id }))
}

fn not_ready(text: &str, details: Value) -> Response {
    with(error(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", text, details), RETRY_AFTER, "1")
}

/// The one schema of errors.
fn error(status: StatusCode, code: &str, message: &str, details: Value) -> Response {
    let timestamp = jiff::Timestamp::try_from(SystemTime::now()).map(|now| now.to_string()).ok();
    let body = json!({
        "error": { "code": code, "message": message, "details": details, "timestamp": timestamp }
    });
    let mut response = warp::reply::json(&body).into_response();
    *response.status_mut() = status;
    with(response, CACHE_CONTROL, NO_STORE)
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    // Every value here is printable ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// For HEAD: the same headers, with the length that the body would have had.
fn without_body(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let length = hyper::body::Body::size_hint(&body).exact();
    let mut response = Response::from_parts(parts, "".into());
    if let Some(length) = length {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response
}
