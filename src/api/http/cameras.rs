//! `/api/cameras`: what cameras there are, how each is, and the restart of one.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::AppState;
use super::answer::{self, Fault, Response};
use crate::cameras::Entry;
use crate::capture::Capture;
use crate::capture::status::CameraStatus;
use crate::publish::status::OutputStatus;
use crate::record::RecordingStatus;
use crate::serve::rtsp::Rtsp;
use crate::supervision::State;
use crate::telemetry;

#[derive(Debug, Serialize, ToSchema)]
pub struct CameraList {
    cameras: Vec<CameraView>,
}

/// One camera: its status and where its pictures are.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraView {
    #[serde(flatten)]
    status: CameraStatus,
    #[serde(flatten)]
    entry: Entry,
    /// Open MJPEG streams.
    mjpeg_viewers: usize,
    viewers: Viewers,
    /// Paths of the outputs that are switched on.
    urls: Urls,
    /// What is published of it to servers elsewhere.
    outputs: Vec<OutputStatus>,
    /// Whether it is being recorded.
    recording: Option<RecordingStatus>,
    /// The LiveKit rooms that it is published into.
    livekit: Vec<LiveKitRoom>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LiveKitRoom {
    room: String,
    /// Under this identity.
    identity: String,
    /// Whether pictures go there now.
    live: bool,
}

impl LiveKitRoom {
    fn of(output: &OutputStatus) -> Option<Self> {
        let (room, identity) = (output.room.clone()?, output.identity.clone()?);
        Some(Self { room, identity, live: output.lifecycle.state == State::Live })
    }
}

/// How many watch, by the way they do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Viewers {
    mjpeg: usize,
    /// Those that are connected; `/api/cameras/{id}/viewers` lists those that still connect too.
    webrtc: usize,
    rtsp: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Urls {
    pub stream: Option<String>,
    pub snapshot: Option<String>,
    pub hls: Option<String>,
    /// Low-latency HLS, TS.
    pub hls_ll: Option<String>,
    /// Low-latency HLS, fMP4: what Safari wants.
    pub hls_ll_fmp4: Option<String>,
    /// WebRTC by WHEP.
    pub whep: Option<String>,
    /// The whole URL: it is another port.
    pub rtsp: Option<String>,
    /// The same inside TLS.
    pub rtsps: Option<String>,
}

impl Urls {
    pub fn of(capture: &Capture, low_latency: bool, rtsp: Option<&Rtsp>) -> Self {
        let (id, outputs) = (capture.id(), &capture.camera().outputs);
        let low_latency = outputs.hls && low_latency;
        Self {
            stream: outputs.mjpeg.then(|| format!("/cameras/{id}/stream.mjpg")),
            snapshot: outputs.snapshot.then(|| format!("/cameras/{id}/snapshot.jpg")),
            hls: outputs.hls.then(|| format!("/hls/{id}/stream.m3u8")),
            hls_ll: low_latency.then(|| format!("/hls/{id}/stream_ll.m3u8")),
            hls_ll_fmp4: low_latency.then(|| format!("/hls/{id}/stream_ll_fmp4.m3u8")),
            whep: outputs.whep.then(|| format!("/cameras/{id}/whep")),
            rtsp: rtsp.filter(|_| outputs.rtsp).map(|rtsp| rtsp.url(id)),
            rtsps: rtsp.filter(|_| outputs.rtsp).and_then(|rtsp| rtsp.tls_url(id)),
        }
    }
}

pub fn view(state: &AppState, capture: &Capture) -> CameraView {
    let mut outputs = state.publishers.statuses();
    outputs.retain(|output| output.camera == capture.id());
    let mjpeg = state.mjpeg.viewers_of(capture.id());
    CameraView {
        livekit: outputs.iter().filter_map(LiveKitRoom::of).collect(),
        outputs,
        recording: state.recordings.status(capture.id()).ok(),
        status: capture.status(),
        entry: state.cameras.entry(capture.id()).unwrap_or_default(),
        mjpeg_viewers: mjpeg,
        viewers: Viewers {
            mjpeg,
            webrtc: state.whep.watching(capture.id()),
            rtsp: state.rtsp.as_ref().map_or(0, |rtsp| rtsp.watching(capture.id())),
        },
        urls: Urls::of(capture, state.config.borrow().hls.low_latency, state.rtsp.as_ref()),
    }
}

pub fn list(state: &AppState) -> Response {
    let cameras = state.cameras.all().iter().map(|capture| view(state, capture)).collect();
    answer::json(StatusCode::OK, &CameraList { cameras })
}

pub fn one(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    Ok(answer::json(StatusCode::OK, &view(state, &capture)))
}

/// The answer to a restart: it has been asked for, `/api/cameras/{id}` shows how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restarting {
    camera: String,
    /// Always `restarting`.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
}

pub fn restart(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    tracing::info!(camera = capture.id(), "restart asked for over HTTP");
    capture.restart();
    let camera = capture.id().to_owned();
    let body = Restarting { camera, status: "restarting", timestamp: SystemTime::now() };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

/// The answer to a retry: it has been asked for, `/api/cameras` shows how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retrying {
    output: String,
    /// Always `retrying`.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
}

pub fn retry(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let id = id.unwrap_or_default();
    if !state.publishers.retry(id) {
        return Err(Fault::no_output(id));
    }
    tracing::info!(output = id, "retry asked for over HTTP");
    let body = Retrying { output: id.to_owned(), status: "retrying", timestamp: SystemTime::now() };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}
