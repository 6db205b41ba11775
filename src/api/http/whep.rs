//! WebRTC signalling over HTTP: WHEP (draft-ietf-wish-whep with the rules of RFC 9725 that it takes over)
//! and, in [`dialect`] and [`go2rtc`], what older viewers speak. The media side is [`crate::serve::whep`].
//!
//! POST of an offer makes a session, PATCH trickles candidates or restarts ICE, DELETE ends it. A session
//! is known by its unguessable id alone. Never answered: 406, which in WHEP means a counter-offer.
//! Opening a session is watching: the pages that may read streams may do it ([`cors::may_watch`]).

pub mod dialect;
mod fragment;
pub mod go2rtc;
mod location;
pub mod viewers;

use std::time::{Duration, SystemTime};

use serde_json::json;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::routes::{Params, Target};
use super::{AppState, Request};
use crate::access::Entered;
use crate::livekit::token;
use crate::livekit::turn::{self, IceServer};
use crate::serve::whep::{Fragment, Offer, Patched, Refusal, Session, Who};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// For a viewer that finds no room: others leave.
const RETRY_WHEN_FULL: u64 = 5;
/// How often it is looked whether a session is still there.
const LOOK: Duration = Duration::from_secs(10);
/// The media thread is behind by milliseconds, not seconds.
const RETRY_WHEN_BUSY: u64 = 1;

/// POST: an offer as SDP, or as the JSON of older viewers.
pub async fn post(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    match content_type(request.headers).as_deref() {
        Some(SDP) => {
            let capture = state.camera(id)?;
            let session = state.whep.offer(&capture, offer(request)?).await.map_err(fault)?;
            keep_watch(state, request, capture.id(), &session.id);
            let location = location::of(request.path, request.headers, &session.id);
            Ok(created(state, &session, &location))
        }
        Some(dialect::JSON) => dialect::post(state, id, request).await,
        other => Err(unsupported(other, &[SDP, dialect::JSON]).with(ACCEPT_POST, static_value(SDP))),
    }
}

/// Ends a session when its viewer would not be let in any more. A task that ends with the session.
fn keep_watch(state: &AppState, request: &Request<'_>, camera: &str, session: &str) {
    if let Some(entered) = request.entered.clone() {
        let (camera, session) = (camera.to_owned(), session.to_owned());
        state.sockets.spawn(watch(state.clone(), entered, camera, session));
    }
}

async fn watch(state: AppState, entered: Entered, camera: String, session: String) {
    let over = async {
        loop {
            tokio::time::sleep(LOOK).await;
            // Without an ETag it is only asked for.
            let asked = state.whep.patch(&camera, &session, None, Fragment::default()).await;
            if matches!(asked, Err(Refusal::NoSession | Refusal::Stopping)) {
                return;
            }
        }
    };
    tokio::select! {
        () = state.stop.cancelled() => {}
        () = over => {}
        () = state.access.clone().ended(entered) => {
            tracing::info!(camera, "a viewer's login has ended, and its session with it");
            // It may have ended by itself.
            let _ = state.whep.end(&camera, &session).await;
        }
    }
}

/// PATCH of a session.
pub async fn patch(state: &AppState, params: Params<'_>, request: &Request<'_>) -> Result<Response, Fault> {
    let (capture, session) = (state.camera(params.id)?, params.session.unwrap_or_default());
    let kind = content_type(request.headers);
    if kind.as_deref() != Some(FRAGMENT) {
        return Err(unsupported(kind.as_deref(), &[FRAGMENT]).with(ACCEPT_PATCH, static_value(FRAGMENT)));
    }
    let fragment = fragment::parse(text(request)?)
        .map_err(|why| bad(&format!("the body is no {FRAGMENT} (RFC 8840): {why}")))?;
    // Values that are no text match no ETag.
    let if_match = request.headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default());
    // Without the header nothing may happen to the session, but one that is gone is told apart.
    let fragment = if if_match.is_some() { fragment } else { Default::default() };
    let patched = state.whep.patch(capture.id(), session, if_match, fragment).await.map_err(fault)?;
    match patched {
        _ if if_match.is_none() => Err(fault(Refusal::EtagMissing)),
        Patched::Trickled => Ok(answer::empty(StatusCode::NO_CONTENT)),
        Patched::Restarted { sdp_fragment, etag } => {
            let mut response = answer::bytes(StatusCode::OK, FRAGMENT, sdp_fragment);
            set(response.headers_mut(), header::ETAG, &format!("\"{etag}\""));
            Ok(response)
        }
    }
}

/// DELETE of a session.
pub async fn delete(state: &AppState, params: Params<'_>) -> Result<Response, Fault> {
    let capture = state.camera(params.id)?;
    state.whep.end(capture.id(), params.session.unwrap_or_default()).await.map_err(fault)?;
    Ok(answer::empty(StatusCode::OK))
}

/// Which ICE servers to use, before an offer.
pub fn servers(state: &AppState, target: Target, headers: &mut HeaderMap) {
    if matches!(target, Target::Whep | Target::Go2rtc) {
        links(state, headers);
    }
}

/// What OPTIONS says beside who may ask: what is taken.
pub fn options(target: Target, headers: &mut HeaderMap) {
    match target {
        Target::Whep | Target::Go2rtc => {
            headers.insert(ACCEPT_POST, static_value(SDP));
        }
        Target::WhepSession => {
            headers.insert(ACCEPT_PATCH, static_value(FRAGMENT));
        }
        Target::Signalling => {
            headers.insert(ACCEPT_POST, static_value(dialect::JSON));
        }
        _ => {}
    }
}

/// 201: the answer, where the session is, and with which servers it is reached.
fn created(state: &AppState, session: &Session, location: &str) -> Response {
    let mut response = answer::bytes(StatusCode::CREATED, SDP, session.sdp.clone());
    let headers = response.headers_mut();
    set(headers, header::LOCATION, location);
    set(headers, header::ETAG, &format!("\"{}\"", session.etag));
    headers.insert(ACCEPT_PATCH, static_value(FRAGMENT));
    links(state, headers);
    response
}

/// `webrtc.ice_servers`, with credentials where they need some: a browser refuses all of them when one TURN
/// server has none.
fn ice_servers(state: &AppState) -> Vec<IceServer> {
    let config = state.config();
    let secret = config.livekit.turn_static_secret.as_ref();
    turn::ice_servers(&config.webrtc.ice_servers, secret, &token::suffix(), SystemTime::now())
}

/// The ICE servers in the form that Mainsail and Fluidd pick apart: `<stun:…>; rel="ice-server"`
/// (RFC 9725, 4.6).
fn links(state: &AppState, headers: &mut HeaderMap) {
    for IceServer { urls, username, credential } in ice_servers(state) {
        let login = match (username, credential) {
            (Some(username), Some(credential)) => format!(
                "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
            ),
            _ => String::new(),
        };
        for url in urls {
            if let Ok(link) = HeaderValue::from_str(&format!("<{url}>; rel=\"ice-server\"{login}")) {
                headers.append(header::LINK, link);
            }
        }
    }
}

/// Names and values are ours; one that were not writable would be left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const fn static_value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

/// The media type without its parameters, in small letters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn text<'a>(request: &'a Request<'_>) -> Result<&'a str, Fault> {
    std::str::from_utf8(&request.body).map_err(|_| bad("the body is not UTF-8 text"))
}

fn offer(request: &Request<'_>) -> Result<Offer, Fault> {
    let sdp = text(request)?;
    if sdp.trim().is_empty() {
        return Err(bad(
            "the body is empty: the viewer makes the offer here (WHEP since its third draft); POST its SDP",
        ));
    }
    Ok(Offer { sdp: sdp.to_owned(), who: who(request) })
}

fn who(request: &Request<'_>) -> Who {
    let agent = request.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    // A line in a list, whatever a client sends.
    let user_agent = agent.map(|agent| agent.chars().take(200).collect());
    Who { client: request.client, user_agent }
}

fn bad(message: &str) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "BAD_SDP", message, json!({}))
}

fn unsupported(kind: Option<&str>, takes: &[&str]) -> Fault {
    let message = match kind {
        Some(kind) => format!("Content-Type {kind} is not taken here, only {}", takes.join(" or ")),
        None => format!("there is no Content-Type; it is to be {}", takes.join(" or ")),
    };
    let details = json!({ "content_type": kind, "accepted": takes });
    Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message, details)
}

/// The engine's refusal as the status that WHEP has for it.
fn fault(refusal: Refusal) -> Fault {
    let message = refusal.to_string();
    let plain = |status, code| Fault::new(status, code, message.clone(), json!({}));
    match refusal {
        Refusal::BadSdp(_) => plain(StatusCode::BAD_REQUEST, "BAD_SDP"),
        Refusal::NoVideo => plain(StatusCode::BAD_REQUEST, "NO_VIDEO"),
        Refusal::NoH264(_) => plain(StatusCode::BAD_REQUEST, "NO_H264"),
        Refusal::Full { max } => {
            { plain(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_VIEWERS").detail("max_viewers", max) }
                .with(header::RETRY_AFTER, RETRY_WHEN_FULL)
        }
        Refusal::Disabled(camera) => Fault::disabled(&camera, "whep", message),
        Refusal::NotReady(not_ready) => Fault::not_ready(&not_ready).status(StatusCode::CONFLICT),
        Refusal::NoSession => plain(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"),
        Refusal::EtagMissing => plain(StatusCode::PRECONDITION_REQUIRED, "IF_MATCH_MISSING"),
        Refusal::EtagWrong => plain(StatusCode::PRECONDITION_FAILED, "IF_MATCH_MISMATCH"),
        Refusal::Stopping => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "STOPPING").with(header::RETRY_AFTER, RETRY_WHEN_FULL)
        }
        Refusal::Busy => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "BUSY").with(header::RETRY_AFTER, RETRY_WHEN_BUSY)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_status_that_whep_gives_it() {
        let table = [
            (Refusal::BadSdp("no m-line".into()), 400, false),
            (Refusal::NoVideo, 400, false),
            (Refusal::NoH264("VP8".into()), 400, false),
            (Refusal::Full { max: 2 }, 503, true),
            (Refusal::Disabled("porch".into()), 404, false),
            (Refusal::NoSession, 404, false),
            (Refusal::EtagMissing, 428, false),
            (Refusal::EtagWrong, 412, false),
            (Refusal::Stopping, 503, true),
            (Refusal::Busy, 503, true),
        ];
        for (refusal, status, again) in table {
            let name = format!("{refusal:?}");
            let response = fault(refusal).into_response();
            assert_eq!(response.status().as_u16(), status, "{name}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), again, "{name}");
        }
    }

    #[test]
    fn a_media_type_is_known_with_parameters_and_in_any_case() {
        let of = |value: &'static str| {
            content_type(&std::iter::once((header::CONTENT_TYPE, static_value(value))).collect())
        };
        for value in
            ["application/sdp", "Application/SDP", "application/sdp; charset=utf-8", " application/sdp ;x"]
        {
            assert_eq!(of(value).as_deref(), Some(SDP), "{value}");
        }
        assert_eq!(of("application/sdpx").as_deref(), Some("application/sdpx"));
        assert_eq!(content_type(&HeaderMap::new()), None);
    }
}
