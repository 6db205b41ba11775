//! `/api/recordings`, `/api/snapshots`, `/api/storage` and the recording of a camera: what `record` does,
//! over REST.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use warp::http::{HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request, body};
use crate::record::{
    Filter, RecordError, RecordingInfo, Retention, SnapshotInfo, StartOptions, StorageInfo, TimelapseOptions,
};

/// Longer than any recording that ends by itself: 30 days.
const LONGEST: f64 = 30.0 * 86_400.0;

/// One page of recordings, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordingList {
    recordings: Vec<RecordingInfo>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u64,
}

/// One page of snapshots, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotList {
    snapshots: Vec<SnapshotInfo>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u64,
}

/// The disk, and what is deleted by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageView {
    #[serde(flatten)]
    info: StorageInfo,
    retention: Retention,
}

/// How to record.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StartRecording {
    /// It ends by itself after this long; default: when it is stopped.
    duration_seconds: Option<f64>,
}

/// What timelapse to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTimelapse {
    /// Between two pictures: 1 to 86400.
    interval_seconds: f64,
    /// Pictures per second of the video, 1 to 60; default: 25.
    #[serde(default = "usual_fps")]
    fps: u32,
    /// It ends by itself with so many; default: when it is stopped.
    #[serde(default)]
    pictures: Option<u64>,
}

fn usual_fps() -> u32 {
    25
}

/// How to store a picture.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TakeSnapshot {
    /// Default: by camera and time.
    filename: Option<String>,
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        let message = error.to_string();
        match error {
            RecordError::NoCamera(camera) => Self::no_camera(&camera),
            RecordError::NotFound { name, .. } => {
                Self::new(StatusCode::NOT_FOUND, "FILE_NOT_FOUND", message, json!({ "name": name }))
            }
            RecordError::InvalidName { name } => {
                Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({ "name": name }))
            }
            RecordError::Invalid(_) => {
                Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
            }
            RecordError::InvalidState(_) => {
                Self::new(StatusCode::CONFLICT, "INVALID_STATE", message, json!({}))
            }
            RecordError::DiskFull(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "DISK_FULL", message, json!({}))
            }
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "DEPENDENCY_FAILED", message, json!({}))
                .with(header::RETRY_AFTER, 5),
        }
    }
}

pub async fn list(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let page = state.recordings.list(&filter(request)?).await?;
    let body =
        RecordingList { recordings: page.items, total: page.total, limit: page.limit, offset: page.offset };
    Ok(answer::json(StatusCode::OK, &body))
}

/// One recording: looked at, or deleted.
pub async fn one(state: &AppState, name: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let name = name.unwrap_or_default();
    if *request.method == Method::DELETE {
        state.recordings.delete(name).await?;
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    Ok(answer::json(StatusCode::OK, &state.recordings.info(name).await?))
}

/// POST marks it to be kept, DELETE takes the mark away.
pub async fn keep(state: &AppState, name: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let kept = *request.method == Method::POST;
    Ok(answer::json(StatusCode::OK, &state.recordings.keep(name.unwrap_or_default(), kept).await?))
}

/// The recording of a camera: GET looks at it, POST starts it, DELETE stops it.
pub async fn camera(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let id = state.camera(id)?.id().to_owned();
    let (status, recording) = match *request.method {
        Method::POST => {
            let StartRecording { duration_seconds } = body::json(&request.body)?;
            let duration = duration_seconds.map(duration).transpose()?;
            (StatusCode::CREATED, state.recordings.start(&id, StartOptions { duration }).await?)
        }
        Method::DELETE => (StatusCode::OK, state.recordings.stop(&id).await?),
        _ => (StatusCode::OK, state.recordings.status(&id)?),
    };
    Ok(answer::json(status, &recording))
}

/// The timelapse of a camera: GET looks at it, POST starts one, DELETE stops it.
pub async fn timelapse(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let id = state.camera(id)?.id().to_owned();
    let (status, timelapse) = match *request.method {
        Method::POST => {
            let StartTimelapse { interval_seconds, fps, pictures } = body::json(&request.body)?;
            // What is no duration is none that is allowed either.
            let interval = Duration::try_from_secs_f64(interval_seconds).unwrap_or_default();
            let options = TimelapseOptions { interval, fps, pictures };
            (StatusCode::CREATED, state.recordings.start_timelapse(&id, options)?)
        }
        Method::DELETE => (StatusCode::OK, state.recordings.stop_timelapse(&id).await?),
        _ => (StatusCode::OK, state.recordings.timelapse(&id)?),
    };
    Ok(answer::json(status, &timelapse))
}

/// Takes a picture and stores it.
pub async fn take(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let id = state.camera(id)?.id().to_owned();
    let TakeSnapshot { filename } = body::json(&request.body)?;
    let info = state.recordings.snapshots().take(&id, filename.as_deref()).await?;
    let mut response = answer::json(StatusCode::CREATED, &info);
    if let Ok(url) = HeaderValue::from_str(&info.url) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    Ok(response)
}

pub async fn snapshots(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let page = state.recordings.snapshots().list(&filter(request)?).await?;
    let body =
        SnapshotList { snapshots: page.items, total: page.total, limit: page.limit, offset: page.offset };
    Ok(answer::json(StatusCode::OK, &body))
}

/// One snapshot: looked at, or deleted.
pub async fn snapshot(
    state: &AppState,
    name: Option<&str>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    let (name, snapshots) = (name.unwrap_or_default(), state.recordings.snapshots());
    if *request.method == Method::DELETE {
        snapshots.delete(name).await?;
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    Ok(answer::json(StatusCode::OK, &snapshots.info(name).await?))
}

pub async fn storage(state: &AppState) -> Result<Response, Fault> {
    let info = state.recordings.storage_info().await?;
    let body = StorageView { info, retention: state.recordings.retention() };
    Ok(answer::json(StatusCode::OK, &body))
}

/// GET shows what is deleted by itself, PATCH changes what it names.
pub async fn retention(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    if *request.method == Method::PATCH {
        let mut present = serde_json::to_value(state.recordings.retention()).unwrap_or_default();
        let changes: serde_json::Map<String, Value> = body::json(&request.body)?;
        if let Value::Object(present) = &mut present {
            present.extend(changes);
        }
        let retention = serde_json::from_value(present).map_err(|error| body::wrong(&error))?;
        state.recordings.set_retention(retention).await?;
    }
    Ok(answer::json(StatusCode::OK, &state.recordings.retention()))
}

pub async fn cleanup(state: &AppState) -> Result<Response, Fault> {
    Ok(answer::json(StatusCode::OK, &state.recordings.cleanup().await?))
}

fn duration(seconds: f64) -> Result<Duration, Fault> {
    let fits = seconds > 0.0 && seconds <= LONGEST;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|_| fits);
    duration.ok_or_else(|| {
        Fault::invalid("duration_seconds", &seconds.to_string(), "a number above 0, at most 2592000")
    })
}

fn filter(request: &Request<'_>) -> Result<Filter, Fault> {
    let number = |key: &'static str| match request.query(key) {
        Some(text) => match text.parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Fault::invalid(key, &text, "a whole number")),
        },
        None => Ok(None),
    };
    let time = |key: &'static str| match request.query(key) {
        Some(text) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Some(SystemTime::from(time))),
            Err(_) => Err(Fault::invalid(key, &text, "a time such as 2026-11-28T23:40:04Z")),
        },
        None => Ok(None),
    };
    let kept = match request.query("kept").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => return Err(Fault::invalid("kept", other, "true or false")),
    };
    Ok(Filter {
        camera: request.query("camera"),
        from: time("from")?,
        to: time("to")?,
        kept,
        limit: Some(number("limit")?.unwrap_or(100)),
        offset: u64::from(number("offset")?.unwrap_or(0)),
    })
}
