//! `/api/cameras/{id}/transforms`: rotation, flip, overlay and privacy masks of a camera, while it runs.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Fault, Response};
use super::{AppState, Request};
use crate::capture::{Capture, Impact};
use crate::config::transforms::Transforms;

/// What is done to a camera's pictures now.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransformsView {
    camera: String,
    #[serde(flatten)]
    transforms: Transforms,
    /// Whether any of it is on: a stream that the camera encodes itself is then decoded and encoded again.
    active: bool,
    /// What is re-encoded and why.
    notes: Vec<String>,
    /// After a change: whether encoders began anew for it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted: Option<String>,
}

impl TransformsView {
    fn of(capture: &Capture, restarted: Option<String>) -> Self {
        let transforms = capture.transforms();
        Self {
            camera: capture.id().to_owned(),
            active: transforms.any(),
            transforms,
            notes: capture.status().notes,
            restarted,
        }
    }
}

pub fn show(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    Ok(answer::json(StatusCode::OK, &TransformsView::of(&capture, None)))
}

/// Replaces all of them.
pub async fn change(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let new: Transforms = serde_json::from_slice(&request.body).map_err(|error| {
        let message = format!("the body is not a JSON object of transforms: {error}");
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({ "camera": capture.id() }))
    })?;
    let wrong = new.check(capture.id(), capture.camera().display_name());
    if !wrong.is_empty() {
        let words: Vec<String> = wrong.iter().map(|(key, words)| format!("{key}: {words}")).collect();
        let details = json!({ "camera": capture.id(), "wrong": words });
        return Err(Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", words.join("; "), details));
    }
    apply(capture, new, request.query("restart").as_deref() == Some("true")).await
}

/// Goes back to what the configuration says.
pub async fn reset(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let configured = Transforms::of(capture.camera());
    apply(capture, configured, request.query("restart").as_deref() == Some("true")).await
}

async fn apply(capture: Capture, new: Transforms, restart: bool) -> Result<Response, Fault> {
    let changing = capture.clone();
    // It waits for locks of running elements.
    let changed = tokio::task::spawn_blocking(move || changing.transform(new, restart)).await;
    let id = capture.id();
    match changed {
        Ok(Ok(Impact::Live)) => Ok(answer::json(StatusCode::OK, &TransformsView::of(&capture, None))),
        Ok(Ok(Impact::Restart(why))) => {
            Ok(answer::json(StatusCode::OK, &TransformsView::of(&capture, Some(why.to_owned()))))
        }
        Ok(Err(impact)) => {
            let why = match impact {
                Impact::Restart(why) => why,
                Impact::Live => "",
            };
            let message = format!(
                "nothing was changed: encoders of camera {id:?} would begin anew, and its streams stop for about a \
                 second, because {why}; ask again with ?restart=true"
            );
            let details = json!({ "camera": id, "reason": why });
            Err(Fault::new(StatusCode::CONFLICT, "RESTART_NEEDED", message, details))
        }
        Err(panic) => {
            let message = format!("the change of camera {id:?} broke off: {panic}");
            Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message, json!({})))
        }
    }
}
