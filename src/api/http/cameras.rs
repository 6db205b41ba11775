//! `/api/cameras`: what cameras there are, how each is, and the restart of one.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::AppState;
use super::answer::{self, Fault, Response};
use crate::cameras::Entry;
use crate::capture::Capture;
use crate::capture::status::CameraStatus;
use crate::control::Urls;
use crate::publish::status::OutputStatus;
use crate::record::RecordingStatus;
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
    let asked = state.control.restart(id.unwrap_or_default())?;
    let camera = asked.capture.id().to_owned();
    let body = Restarting { camera, status: "restarting", timestamp: SystemTime::now() };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

/// Whether a camera's stream is kept running though nobody watches.
#[derive(Debug, Serialize, ToSchema)]
pub struct Streaming {
    camera: String,
    streaming: bool,
    /// Since when, or since when it was until now.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    since: Option<SystemTime>,
}

/// GET says, POST begins, DELETE ends.
pub fn streaming(state: &AppState, id: Option<&str>, method: &Method) -> Result<Response, Fault> {
    let (id, control) = (id.unwrap_or_default(), &state.control);
    let (camera, streaming, since) = match *method {
        Method::POST => {
            let (camera, since) = control.start_streaming(id)?;
            (camera, true, Some(since))
        }
        Method::DELETE => {
            let (camera, since) = control.stop_streaming(id)?;
            (camera, false, since)
        }
        _ => {
            let camera = control.camera(id)?;
            let since = control.streaming(camera.capture.id());
            (camera, since.is_some(), since)
        }
    };
    let body = Streaming { camera: camera.capture.id().to_owned(), streaming, since };
    Ok(answer::json(StatusCode::OK, &body))
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
    state.control.retry(id)?;
    let body = Retrying { output: id.to_owned(), status: "retrying", timestamp: SystemTime::now() };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}
