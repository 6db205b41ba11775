//! `/api/cameras/{id}/viewers`: who watches one camera by WebRTC, and how well it reaches them.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use crate::api::http::AppState;
use crate::api::http::answer::{self, Fault, Response};
use crate::serve::whep::ViewerStatus;

#[derive(Debug, Serialize, ToSchema)]
pub struct ViewerList {
    viewers: Vec<ViewerView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ViewerView {
    /// Always `webrtc`: streams over HTTP are counted, not listed.
    kind: &'static str,
    #[serde(flatten)]
    status: ViewerStatus,
}

pub fn list(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let all = state.whep.viewers();
    let viewers = all.iter().filter(|viewer| viewer.camera == capture.id());
    let viewers = viewers.map(|status| ViewerView { kind: "webrtc", status: status.clone() }).collect();
    Ok(answer::json(StatusCode::OK, &ViewerList { viewers }))
}
