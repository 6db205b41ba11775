//! `/api/external-streams`: cameras elsewhere, added, removed and looked for.

use serde::Deserialize;
use utoipa::ToSchema;
use warp::http::{HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request, body};

/// Where to look; nothing: in this machine's networks.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LookFor {
    /// At most 128: `192.168.1.7`, `camera.local:8554`.
    hosts: Vec<String>,
}

/// GET lists what was added and found, POST adds.
pub async fn all(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    if *request.method != Method::POST {
        return Ok(answer::json(StatusCode::OK, &state.external.list().await));
    }
    let added = state.external.add(body::json(&request.body)?).await?;
    let mut response = answer::json(StatusCode::CREATED, &added);
    if let Ok(url) = HeaderValue::from_str(&format!("/api/external-streams/{}", added.id)) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    Ok(response)
}

/// GET shows one, DELETE removes it.
pub async fn one(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let id = id.unwrap_or_default();
    if *request.method == Method::DELETE {
        state.external.remove(id).await?;
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    Ok(answer::json(StatusCode::OK, &state.external.get(id).await?))
}

/// Looks around now.
pub async fn discover(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let LookFor { hosts } = body::json(&request.body)?;
    Ok(answer::json(StatusCode::OK, &state.external.discover(&hosts).await?))
}

/// How often it happens by itself; PUT sets it.
pub async fn interval(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let interval = match *request.method {
        Method::PUT => state.external.set_interval(body::json(&request.body)?).await?,
        _ => state.external.interval(),
    };
    Ok(answer::json(StatusCode::OK, &interval))
}
