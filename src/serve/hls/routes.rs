//! What HLS answers: which file, which headers, how long to wait. What cannot be given is a [`Refusal`];
//! `api` writes it as an error of the one schema. CORS and mounting belong to `api` too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use warp::http::StatusCode;
use warp::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use warp::http::header::{HeaderName, HeaderValue};
use warp::reply::Response;

use super::body;
use super::playlist::{self, Container};
use super::request::{Asset, BadDirective, ByteRange, VERY_LARGE, Wanted, byte_range, wanted};
use super::ring::{Progress, View};
use super::stream::{Stream, Watching};
use super::timing::seconds;
use super::{Hls, Waits};
use crate::capture::Capture;
use crate::serve::ready::{self, NotReady};

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
/// Names of segments and parts are never used twice: what they hold does not change.
const KEEP: &str = "public, max-age=60";
const NO_STORE: &str = "no-store";
/// How often a wait for the first segment looks whether the camera has failed.
const LOOK: Duration = Duration::from_millis(500);

/// One request for a file of a camera, GET or HEAD.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub file: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// The `Range` header.
    pub range: Option<&'a str>,
    /// Only the head of the answer is wanted.
    pub head: bool,
    /// The oldest picture that is shown as live; a refusal says whether the camera has one.
    pub max_frame_age: Duration,
}

/// Why a file is not given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("HLS is off for camera {0:?}: set outputs.hls = true in its configuration")]
    Disabled(String),
    #[error("low-latency HLS is off: use stream.m3u8, or set hls.low_latency = true")]
    LowLatencyDisabled(String),
    #[error(
        "camera {camera:?} has no HLS file {file:?}: begin with stream.m3u8, stream_ll.m3u8 or stream_ll_fmp4.m3u8"
    )]
    NoFile { camera: String, file: String },
    #[error(
        "camera {camera:?} has no HLS file {file:?} now: it left the playlist, or was never in it; load the playlist again"
    )]
    Gone { camera: String, file: String },
    #[error("{} {}", .0.key, .0.problem)]
    Directive(BadDirective),
    #[error("the range begins past the end: HLS file {file:?} of camera {camera:?} has {length} bytes")]
    Range { camera: String, file: String, length: u64 },
    #[error("{why}")]
    NotReady { why: Box<NotReady>, waited: Duration },
}

/// The request in hand: what a refusal of it needs to know.
#[derive(Clone, Copy)]
struct Asked<'a> {
    capture: &'a Capture,
    file: &'a str,
    max_frame_age: Duration,
}

impl Asked<'_> {
    fn gone(&self) -> Refusal {
        Refusal::Gone { camera: self.capture.id().to_owned(), file: self.file.to_owned() }
    }

    fn late(&self, began: Instant) -> Refusal {
        let waited = began.elapsed();
        let why = ready::without_segment(&self.capture.status(), self.max_frame_age, waited);
        Refusal::NotReady { why: Box::new(why), waited }
    }
}

impl Hls {
    /// Answers a request. Waits, bounded, where the protocol wants it: for the first segment, for a part
    /// that a playlist promised. Needs a tokio runtime.
    pub async fn respond(&self, capture: &Capture, request: Request<'_>) -> Result<Response, Refusal> {
        let response = self.get(capture, request).await?;
        Ok(if request.head { without_body(response) } else { response })
    }

    async fn get(&self, capture: &Capture, request: Request<'_>) -> Result<Response, Refusal> {
        let Request { file, query, range, max_frame_age, .. } = request;
        let camera = || capture.id().to_owned();
        if !capture.camera().outputs.hls {
            return Err(Refusal::Disabled(camera()));
        }
        let Some(asset) = Asset::parse(file) else {
            return Err(Refusal::NoFile { camera: camera(), file: file.to_owned() });
        };
        let low_latency_only = matches!(asset, Asset::LowLatency(_)) || asset.container() == Container::Fmp4;
        if low_latency_only && !self.0.config.low_latency {
            return Err(Refusal::LowLatencyDisabled(camera()));
        }
        let asked = Asked { capture, file, max_frame_age };
        let streams = self.streams(capture);
        let stream = streams.of(asset.container());
        let waits = self.0.waits;
        match asset {
            Asset::Standard => list(asked, stream, Reload::Plain, waits, playlist::standard).await,
            Asset::LowLatency(container) => {
                let wanted = wanted(query).map_err(Refusal::Directive)?;
                let reload = wanted.map_or(Reload::Join, Reload::Blocking);
                list(asked, stream, reload, waits, |view| playlist::low_latency(view, container)).await
            }
            Asset::Segment(container, msn) => {
                let mime = match container {
                    Container::Ts => "video/mp2t",
                    Container::Fmp4 => "video/mp4",
                };
                segment(asked, stream, msn, mime, range.and_then(byte_range), waits).await
            }
            Asset::Part(number) => part(asked, stream, number, waits).await,
            Asset::Init(map) => {
                let watching = stream.visit();
                let init = stream.ring().init(map).ok_or_else(|| asked.gone())?;
                Ok(media(vec![init], "video/mp4", watching))
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
    asked: Asked<'_>,
    stream: &Arc<Stream>,
    reload: Reload,
    waits: Waits,
    render: impl Fn(&View) -> String,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let _watching = stream.watch();
    let mut progress = stream.ring().progress();
    // A failed wait is told by what the ring then says.
    match (reload, stream.ring().view()) {
        (_, None) => {
            tokio::select! {
                _ = timeout(waits.first_segment, progress.wait_for(|progress| progress.ready)) => {}
                () = failure(asked.capture) => {}
            }
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
            sensible(wanted, &view).map_err(Refusal::Directive)?;
            let there = |progress: &Progress| progress.reached(wanted.msn, wanted.part);
            let _ = timeout(waits.reload.min(patience(&view)), progress.wait_for(there)).await;
        }
    }
    let view = stream.ring().view().ok_or_else(|| asked.late(began))?;
    let response = Response::new(render(&view).into());
    Ok(with(with(response, CONTENT_TYPE, PLAYLIST), CACHE_CONTROL, NO_STORE))
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

/// RFC 8216bis, 6.2.5.2: what is too far ahead is refused at once.
fn sensible(wanted: Wanted, view: &View) -> Result<(), BadDirective> {
    let ahead_of_the_list = |key, problem| Err(BadDirective { key, problem });
    let last = view.segments.last().map_or(view.next_msn, |segment| segment.msn);
    if wanted.msn > last + 2 {
        return ahead_of_the_list("_HLS_msn", "it is more than two segments ahead of the playlist");
    }
    let open = view.open.as_ref().map_or(0, |open| open.parts.len());
    let part_target = seconds(view.part_target);
    let ahead = if part_target > 0.0 && part_target < 1.0 { (3.0 / part_target).ceil() as usize } else { 3 };
    if wanted.msn > last && wanted.part.is_some_and(|part| part > open + ahead) {
        return ahead_of_the_list("_HLS_part", "it is too far ahead of the playlist");
    }
    Ok(())
}

async fn segment(
    asked: Asked<'_>,
    stream: &Arc<Stream>,
    msn: u64,
    mime: &'static str,
    range: Option<ByteRange>,
    waits: Waits,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let watching = stream.visit();
    let ring = stream.ring();
    let mut progress = ring.progress();
    let grows = stream.running() && progress.borrow().msn == msn;
    if grows {
        let enough = match range {
            // Known only when the segment is whole.
            Some(ByteRange::Last(_)) => u64::MAX,
            Some(ByteRange::Between(_, last)) => last,
            Some(ByteRange::From(from)) => {
                return Ok(growing(stream, msn, Some(from), mime, waits, watching));
            }
            None => return Ok(growing(stream, msn, None, mime, waits, watching)),
        };
        let there =
            |_: &Progress| ring.segment(msn).is_some_and(|(segment, whole)| whole || segment.len() > enough);
        let _ = timeout(waits.part, progress.wait_for(there)).await;
    }
    let Some((segment, whole)) = ring.segment(msn) else {
        return Err(if grows { asked.late(began) } else { asked.gone() });
    };
    let length = segment.len();
    let (from, to) = match range {
        None => return Ok(media(segment.slices(0, length), mime, watching)),
        Some(ByteRange::From(from)) => (from, length),
        Some(ByteRange::Between(from, last)) => (from, (last + 1).min(length)),
        Some(ByteRange::Last(count)) => (length.saturating_sub(count), length),
    };
    if from >= to {
        if !whole {
            return Err(asked.late(began));
        }
        let (camera, file) = (asked.capture.id().to_owned(), asked.file.to_owned());
        return Err(Refusal::Range { camera, file, length });
    }
    let total = if whole { length.to_string() } else { "*".into() };
    let mut response = media(segment.slices(from, to), mime, watching);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(with(response, CONTENT_RANGE, &format!("bytes {from}-{}/{total}", to - 1)))
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

async fn part(
    asked: Asked<'_>,
    stream: &Arc<Stream>,
    number: u64,
    waits: Waits,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let watching = stream.visit();
    let mut progress = stream.ring().progress();
    let hinted = stream.running() && progress.borrow().next_part == number;
    if hinted {
        let _ = timeout(waits.part, progress.wait_for(|progress| progress.next_part > number)).await;
    }
    match stream.ring().part(number) {
        Some(part) => Ok(media(vec![part.data], "video/mp4", watching)),
        None if hinted => Err(asked.late(began)),
        None => Err(asked.gone()),
    }
}

/// A body whose length is known.
fn media(slices: Vec<bytes::Bytes>, mime: &str, watching: Watching) -> Response {
    let length: usize = slices.iter().map(bytes::Bytes::len).sum();
    let response = with(body::slices(slices, watching), CONTENT_LENGTH, &length.to_string());
    with(with(with(response, CONTENT_TYPE, mime), ACCEPT_RANGES, "bytes"), CACHE_CONTROL, KEEP)
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
