//! `/api/cameras/{id}/controls` and `/capabilities`: what a V4L2 camera can do, and setting its controls; and
//! `PATCH` and `DELETE /api/cameras/{id}` for discovered cameras, the latter of which forgets a camera that is away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Fault, Response};
use super::{AppState, Request, transforms};
use crate::cameras::Presence;
use crate::cameras::controls::ControlError;
use crate::capture::device::Control;
use crate::capture::v4l2::Mode;
use crate::control::Named;
use crate::control::pictures::NotSet;

/// The controls of a camera as they are now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ControlList {
    camera: String,
    controls: Vec<Control>,
}

/// Controls to set, by their ids; `null` sets the default and forgets what was set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlValues {
    controls: BTreeMap<String, Option<i64>>,
}

/// What a camera's device says about itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Capabilities {
    camera: String,
    /// `uvcvideo`.
    driver: String,
    /// What the device calls itself.
    card: String,
    /// Formats, sizes and rates; of a range of sizes, its two ends.
    #[schema(value_type = Vec<Object>)]
    modes: Vec<Mode>,
    controls: Vec<Control>,
}

pub async fn list(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    view(capture.id(), state.control.controls(capture.id()).await)
}

pub async fn set(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let values: ControlValues = serde_json::from_slice(&request.body).map_err(|error| {
        let message = format!("{error}; send {{\"controls\": {{\"brightness\": 10}}}}");
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
    })?;
    put(state, capture.id(), &values.controls).await
}

/// Sets controls, for whoever asks.
pub async fn put(
    state: &AppState,
    id: &str,
    values: &BTreeMap<String, Option<i64>>,
) -> Result<Response, Fault> {
    view(id, state.control.set_controls(id, values).await)
}

fn view(id: &str, answer: Result<(Named, Vec<Control>), NotSet>) -> Result<Response, Fault> {
    let (camera, controls) = answer.map_err(|error| not_set(id, &error))?;
    let camera = camera.capture.id().to_owned();
    Ok(answer::json(StatusCode::OK, &ControlList { camera, controls }))
}

pub async fn capabilities(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let device = state.control.describe(capture.id()).await.map_err(|error| fault(capture.id(), &error))?;
    let body = Capabilities {
        camera: capture.id().to_owned(),
        driver: device.driver,
        card: device.card,
        modes: device.modes,
        controls: device.controls,
    };
    Ok(answer::json(StatusCode::OK, &body))
}

pub async fn forget(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let id = capture.id();
    if state.cameras.forget(id).await {
        tracing::info!(camera = id, "forgotten over HTTP");
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    let entry = state.cameras.entry(id).unwrap_or_default();
    let message = match entry.presence {
        _ if state.external.has(id).await => added_by_api(id),
        _ if !entry.discovered => format!("camera {id} stands in the configuration; take it out there"),
        Some(Presence::Present) => {
            format!("camera {id} is plugged in; unplug it first, or name it in discovery.deny")
        }
        _ => format!("camera {id} cannot be forgotten"),
    };
    Err(Fault::new(StatusCode::CONFLICT, "CAMERA_IN_USE", message, json!({ "camera": id })))
}

/// Changes the settings of a discovered camera: those of the configuration are changed there.
pub async fn change(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let id = capture.id();
    let invalid = |message: String| {
        let message = format!("{message}; name, resolution, fps and idle can be changed");
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({ "camera": id }))
    };
    let change = serde_json::from_slice(&request.body).map_err(|error| invalid(error.to_string()))?;
    if !state.cameras.change(id, &change).await.map_err(invalid)? {
        let message = match state.external.has(id).await {
            true => added_by_api(id),
            false => format!("camera {id} stands in the configuration; change it there"),
        };
        return Err(Fault::new(StatusCode::CONFLICT, "CAMERA_CONFIGURED", message, json!({ "camera": id })));
    }
    tracing::info!(camera = id, "settings changed over HTTP");
    Ok(answer::json(StatusCode::OK, &super::cameras::view(state, &state.camera(Some(id))?)))
}

fn added_by_api(id: &str) -> String {
    format!("camera {id} was added by API; DELETE /api/external-streams/{id} removes it")
}

/// What REST says to something that was not set.
pub fn not_set(id: &str, error: &NotSet) -> Fault {
    match error {
        NotSet::Refused(refusal) => Fault::refused(refusal),
        NotSet::Pictures(error) => transforms::fault(id, error),
        NotSet::Controls(error) => fault(id, error),
    }
}

fn fault(id: &str, error: &ControlError) -> Fault {
    let details = json!({ "camera": id });
    let (status, code) = match error {
        ControlError::NoCamera(_) => return Fault::no_camera(id),
        ControlError::None(_) => (StatusCode::NOT_IMPLEMENTED, "CONTROLS_UNSUPPORTED"),
        ControlError::Away(_) => (StatusCode::CONFLICT, "CAMERA_AWAY"),
        ControlError::Invalid(wrong) => {
            let details = json!({ "camera": id, "wrong": wrong });
            let message = format!("nothing was set, or not all: {error}");
            return Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, details);
        }
        ControlError::Slow(_) => (StatusCode::GATEWAY_TIMEOUT, "CAMERA_SILENT"),
        ControlError::NotKept(_) => (StatusCode::INTERNAL_SERVER_ERROR, "NOT_KEPT"),
        ControlError::Device(_) => (StatusCode::SERVICE_UNAVAILABLE, "CAMERA_NOT_OPEN"),
    };
    Fault::new(status, code, error.to_string(), details)
}
