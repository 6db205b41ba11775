//! `POST /api/actions/{action}`: what a manager of many nodes may ask of this one. Each does what its own path does,
//! by the same functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Fault, Response};
use super::body;
use super::{AppState, Request, controls};
use crate::fleet::node::DEFAULT_ACTIONS;
use crate::record::StartOptions;
use crate::telemetry;

/// Ends the process for systemd to start anew; `None` where nobody would.
#[derive(Clone, Debug, Default)]
pub struct Again(Option<Arc<Notify>>);

impl Again {
    /// Under a supervisor that starts what has ended, as systemd does.
    pub fn supervised(environment: impl Fn(&str) -> bool) -> Self {
        Self(environment("INVOCATION_ID").then(Arc::default))
    }

    /// Resolves when it was asked for.
    pub async fn asked(&self) {
        match &self.0 {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// What goes with an action; each takes what it needs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActionBody {
    /// A camera's id or alias; default: the first one.
    camera: Option<String>,
    /// `start_recording`: it ends by itself after this long.
    duration_seconds: Option<f64>,
    /// `set_controls`: by id; `null` sets the default.
    #[schema(value_type = Object)]
    controls: BTreeMap<String, Option<i64>>,
}

/// Who this is: `identify`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Identity {
    name: &'static str,
    version: &'static str,
    hostname: String,
    #[serde(serialize_with = "telemetry::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    started: SystemTime,
    /// Ids of its cameras.
    cameras: Vec<String>,
}

pub async fn act(state: &AppState, action: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let action = action.unwrap_or_default();
    if !DEFAULT_ACTIONS.contains(&action) {
        let message =
            format!("there is no action {:?}; these are: {}", short(action), DEFAULT_ACTIONS.join(", "));
        let details = json!({ "actions": DEFAULT_ACTIONS });
        return Err(Fault::new(StatusCode::NOT_FOUND, "ACTION_NOT_FOUND", message, details));
    }
    let ActionBody { camera, duration_seconds, controls } = body::json(&request.body)?;
    let camera = || state.camera(camera.as_deref());
    tracing::info!(action, "asked for over HTTP");
    match action {
        "restart" => {
            let camera = camera()?;
            state.control.restart(camera.id()).map_err(|refusal| Fault::refused(&refusal))?;
            Ok(answer::json(StatusCode::ACCEPTED, &json!({ "action": action, "camera": camera.id() })))
        }
        "restart_service" => {
            let Some(again) = &state.again.0 else {
                let message =
                    "nobody would start this process again: it does not run as a service of systemd";
                return Err(Fault::new(StatusCode::CONFLICT, "NOT_A_SERVICE", message, json!({})));
            };
            again.notify_one();
            Ok(answer::json(StatusCode::ACCEPTED, &json!({ "action": action })))
        }
        "snapshot" => {
            let info = state.recordings.snapshots().take(camera()?.id(), None).await?;
            Ok(answer::json(StatusCode::CREATED, &info))
        }
        "start_recording" => {
            let duration = duration_seconds.map(|seconds| {
                let long = Duration::try_from_secs_f64(seconds).ok().filter(|long| !long.is_zero());
                let message = format!("{seconds} seconds is no duration");
                long.ok_or_else(|| {
                    Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
                })
            });
            let options = StartOptions { duration: duration.transpose()? };
            Ok(answer::json(StatusCode::CREATED, &state.recordings.start(camera()?.id(), options).await?))
        }
        "stop_recording" => Ok(answer::json(StatusCode::OK, &state.recordings.stop(camera()?.id()).await?)),
        "set_controls" => controls::put(state, camera()?.id(), &controls).await,
        _ => {
            let identity = Identity {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                started: state.started.at,
                cameras: state.cameras.all().iter().map(|capture| capture.id().to_owned()).collect(),
            };
            Ok(answer::json(StatusCode::OK, &identity))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
