//! `/api/cameras/{id}/transforms`: rotation, flip, overlay and privacy masks of a camera, while it runs.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Fault, Response};
use super::controls::not_set;
use super::{AppState, Request};
use crate::cameras::pictures::TransformError;
use crate::config::transforms::Transforms;
use crate::control::Named;
use crate::control::pictures::Pictures;

/// What is done to a camera's pictures now.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransformsView {
    camera: String,
    #[serde(flatten)]
    pictures: Pictures,
}

pub fn show(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    Ok(view(state.control.pictures(capture.id()).map_err(|refusal| Fault::refused(&refusal))?))
}

/// Replaces all of them.
pub async fn change(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let new: Transforms = serde_json::from_slice(&request.body).map_err(|error| {
        let message = format!("the body is not a JSON object of transforms: {error}");
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({ "camera": capture.id() }))
    })?;
    set(state, capture.id(), Some(new), request).await
}

/// Goes back to what the configuration says.
pub async fn reset(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    set(state, capture.id(), None, request).await
}

async fn set(
    state: &AppState,
    id: &str,
    new: Option<Transforms>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    let restart = request.query("restart").as_deref() == Some("true");
    let set = state.control.set_pictures(id, new, restart).await;
    set.map(view).map_err(|error| not_set(id, &error))
}

fn view((camera, pictures): (Named, Pictures)) -> Response {
    let camera = camera.capture.id().to_owned();
    answer::json(StatusCode::OK, &TransformsView { camera, pictures })
}

pub fn fault(id: &str, error: &TransformError) -> Fault {
    let details = json!({ "camera": id });
    let (status, code) = match error {
        TransformError::NoCamera(_) => return Fault::no_camera(id),
        TransformError::Invalid(wrong) => {
            let details = json!({ "camera": id, "wrong": wrong });
            return Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", error.to_string(), details);
        }
        TransformError::Restart { why, .. } => {
            let details = json!({ "camera": id, "reason": why });
            return Fault::new(StatusCode::CONFLICT, "RESTART_NEEDED", error.to_string(), details);
        }
        TransformError::NotKept(_) => (StatusCode::INTERNAL_SERVER_ERROR, "NOT_KEPT"),
        TransformError::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    };
    Fault::new(status, code, error.to_string(), details)
}
