//! What health checks ask. Every answer comes from status snapshots: nothing here waits, whatever the
//! cameras do.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{HeaderValue, StatusCode, header};

use super::AppState;
use super::answer::{self, Fault, Response};
use crate::capture::Capture;
use crate::serve::ready::{self, Cause, NotReady};
use crate::supervision::lifecycle::State;
use crate::supervision::published::Publisher;
use crate::telemetry;

/// The process runs and answers. Says nothing about cameras.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `healthy`.
    status: &'static str,
    version: &'static str,
    uptime_seconds: f64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
}

pub fn health(state: &AppState) -> Response {
    let health = Health {
        status: "healthy",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: uptime(state),
        timestamp: SystemTime::now(),
    };
    answer::json(StatusCode::OK, &health)
}

/// Seconds since the start, to the millisecond.
pub fn uptime(state: &AppState) -> f64 {
    (state.started.instant.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

/// Whether pictures flow. The first camera decides, or the one named by `?camera=`; all are listed.
///
/// A camera that is closed while nobody watches (`idle = "close"`) is ready while idle.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready`, or `not_ready` with status 503.
    status: &'static str,
    /// Why not, for programs.
    reason: Option<Cause>,
    /// Why not, for people.
    message: Option<String>,
    /// The camera that decided.
    camera: Option<String>,
    camera_active: bool,
    frames_captured: u64,
    current_fps: f64,
    last_frame_age_seconds: Option<f64>,
    max_frame_age_seconds: f64,
    uptime_seconds: f64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
    cameras: Vec<CameraReady>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CameraReady {
    id: String,
    ready: bool,
    state: State,
    reason: Option<Cause>,
    last_frame_age_seconds: Option<f64>,
    last_error: Option<String>,
}

pub fn ready(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let max_age = state.max_frame_age();
    let all = state.cameras.all();
    let chosen = match id {
        Some(id) => {
            Some(all.iter().position(|capture| capture.id() == id).ok_or_else(|| Fault::no_camera(id))?)
        }
        None => (!all.is_empty()).then_some(0),
    };
    let judged: Vec<_> = all
        .iter()
        .map(|capture| {
            let status = capture.status();
            let verdict = ready::readiness(&status, capture.camera().idle, max_age);
            (status, verdict)
        })
        .collect();
    let decisive = chosen.and_then(|index| judged.get(index));
    let refusal: Option<&NotReady> = decisive.and_then(|(_, verdict)| verdict.as_ref().err());
    // Whoever looks after others needs no camera to be ready.
    let manages = decisive.is_none() && state.fleet.is_some();
    let ready = manages || (decisive.is_some() && refusal.is_none());
    let status = decisive.map(|(status, _)| status);
    let body = Ready {
        status: if ready { "ready" } else { "not_ready" },
        reason: if manages {
            None
        } else if decisive.is_none() {
            Some(Cause::CameraNotStarted)
        } else {
            refusal.map(|refusal| refusal.reason)
        },
        message: if manages {
            None
        } else if decisive.is_none() {
            Some("no camera is configured or found; see `fanlight doctor`".to_owned())
        } else {
            refusal.map(|refusal| refusal.message.clone())
        },
        camera: status.map(|status| status.id.clone()),
        camera_active: status.is_some_and(|status| status.lifecycle.state == State::Live),
        frames_captured: status.map_or(0, |status| status.frames),
        current_fps: status.map_or(0.0, |status| status.fps),
        last_frame_age_seconds: status.and_then(|status| status.frame_age_seconds),
        max_frame_age_seconds: max_age.as_secs_f64(),
        uptime_seconds: uptime(state),
        timestamp: SystemTime::now(),
        cameras: judged
            .iter()
            .map(|(status, verdict)| CameraReady {
                id: status.id.clone(),
                ready: verdict.is_ok(),
                state: status.lifecycle.state,
                reason: verdict.as_ref().err().map(|refusal| refusal.reason),
                last_frame_age_seconds: status.frame_age_seconds,
                last_error: status.lifecycle.last_error.clone(),
            })
            .collect(),
    };
    if ready {
        return Ok(answer::json(StatusCode::OK, &body));
    }
    let mut response = answer::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    let retry = refusal.map_or(1, |refusal| refusal.retry_after(SystemTime::now()));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
    Ok(response)
}

/// The first camera and its publisher, as dashboards of the LiveKit kind read it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraStatusBody {
    /// Whether the camera gives pictures.
    running: bool,
    camera: Option<String>,
    state: Option<State>,
    fps: f64,
    resolution: Option<String>,
    last_frame_age_seconds: Option<f64>,
    last_error: Option<String>,
    /// What pushes this camera's pictures to servers elsewhere.
    publisher: Publisher,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
}

pub fn camera_status(state: &AppState) -> Response {
    let status = state.cameras.first().as_ref().map(Capture::status);
    let status = status.as_ref();
    let mut outputs = state.published.ask();
    outputs.retain(|output| status.is_some_and(|status| output.camera == status.id));
    let body = CameraStatusBody {
        running: status.is_some_and(|status| status.lifecycle.state == State::Live),
        camera: status.map(|status| status.id.clone()),
        state: status.map(|status| status.lifecycle.state),
        fps: status.map_or(0.0, |status| status.fps),
        resolution: status.and_then(|status| status.resolution.clone()),
        last_frame_age_seconds: status.and_then(|status| status.frame_age_seconds),
        last_error: status.and_then(|status| status.lifecycle.last_error.clone()),
        publisher: Publisher::of(outputs),
        timestamp: SystemTime::now(),
    };
    answer::json(StatusCode::OK, &body)
}
