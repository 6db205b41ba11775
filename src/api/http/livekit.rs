//! What a browser fetches before it joins a LiveKit room: where the server is, and a token that lets watch
//! and nothing else. Tokens are made here; the server is not asked.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use warp::http::{HeaderValue, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request, seconds};
use crate::config::Config;
use crate::livekit::token::{self, Issued, Viewer};
use crate::livekit::{Key, rooms, viewer};

/// A token, and who it makes of the viewer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ViewerToken {
    pub token: String,
    /// The identity that was asked for, with a random ending: two with one identity would throw each other
    /// out of the room.
    pub identity: String,
}

/// What LiveKit's clients send to a token endpoint. Only what concerns watching is taken.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct TokenRequest {
    /// Default: the first room that viewers may ask for.
    room_name: Option<String>,
    participant_identity: Option<String>,
    participant_name: Option<String>,
    participant_metadata: Option<String>,
    participant_attributes: Option<BTreeMap<String, String>>,
    /// Refused when it holds anything: viewers configure no room.
    #[schema(value_type = Option<Object>)]
    room_config: Option<Value>,
}

/// What LiveKit's clients want from a token endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerToken {
    pub server_url: String,
    pub participant_token: String,
}

/// `GET /webrtc/config`.
pub fn config(state: &AppState) -> Response {
    let config = viewer::viewer_config(&state.config(), &token::suffix(), SystemTime::now());
    answer::json(StatusCode::OK, &config)
}

/// `GET /webrtc/token`.
pub fn token(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let (room, identity) = (request.query("room"), request.query("identity"));
    let asked = Viewer { identity: identity.as_deref(), ..Viewer::default() };
    let (_, Issued { token, identity }) = issue(state, request, room.as_deref(), asked)?;
    Ok(answer::json(StatusCode::OK, &ViewerToken { token, identity }))
}

/// `POST /webrtc/token`, as LiveKit's clients do.
pub fn standard_token(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let body: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    let body: TokenRequest = serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "the body is not a token request ({error}); send JSON such as {{\"room_name\": \"name\"}}"
        );
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
    })?;
    if body.room_config.as_ref().is_some_and(|config| !is_empty(config)) {
        let message = "room_config is not possible: tokens from here are for viewers, who configure no room";
        let details = json!({ "key": "room_config" });
        return Err(Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, details));
    }
    let asked = Viewer {
        room: "",
        identity: body.participant_identity.as_deref(),
        name: body.participant_name.as_deref(),
        metadata: body.participant_metadata.as_deref(),
        attributes: body.participant_attributes.unwrap_or_default(),
    };
    let (config, issued) = issue(state, request, body.room_name.as_deref(), asked)?;
    let url = config.livekit.public_url.as_ref().or(config.livekit.url.as_ref());
    let answer =
        ServerToken { server_url: url.cloned().unwrap_or_default(), participant_token: issued.token };
    Ok(answer::json(StatusCode::CREATED, &answer))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The one door to tokens: configured, not too often, an allowed room.
fn issue(
    state: &AppState,
    request: &Request<'_>,
    room: Option<&str>,
    asked: Viewer<'_>,
) -> Result<(std::sync::Arc<Config>, Issued), Fault> {
    let config = state.config();
    let livekit = &config.livekit;
    let now = state.started.instant.elapsed();
    let taken = state.tokens.lock().unwrap_or_else(PoisonError::into_inner).take(
        request.client,
        livekit.tokens_per_minute,
        now,
    );
    if let Err(wait) = taken {
        let message = format!("this address may fetch {} tokens a minute", livekit.tokens_per_minute);
        let details = json!({ "tokens_per_minute": livekit.tokens_per_minute });
        return Err(Fault::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_TOKENS", message, details)
            .with(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1)));
    }
    let missing = viewer::missing(&config);
    let (Some(key), true) = (Key::of(livekit), missing.is_empty()) else {
        let message = format!("LiveKit is not to be had here: {}", missing.join("; "));
        let details = json!({ "notes": missing });
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "LIVEKIT_DISABLED", message, details));
    };
    let allowed = rooms(&config);
    let room = match room.map(str::trim).filter(|room| !room.is_empty()) {
        Some(room) => room,
        None => allowed.first().copied().unwrap_or_default(),
    };
    if !allowed.contains(&room) {
        // The rooms that there are stay unnamed: their names may be all that keeps people out.
        let message = "viewers may not ask for this room; rooms are listed in livekit.rooms";
        let details = json!({ "room": room });
        return Err(Fault::new(StatusCode::FORBIDDEN, "ROOM_NOT_ALLOWED", message, details));
    }
    let ttl = seconds(livekit.viewer_token_seconds);
    let issued = token::viewer(&key, &Viewer { room, ..asked }, ttl, &token::suffix()).map_err(|error| {
        let status = match error {
            token::TokenError::Signing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let code = if status.is_client_error() { "VALIDATION_ERROR" } else { "LIVEKIT_KEY" };
        Fault::new(status, code, error.to_string(), json!({}))
    })?;
    Ok((config, issued))
}
