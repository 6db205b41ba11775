//! Signalling as JSON: camera-streamer's, which Mainsail and Fluidd speak as `webrtc-camerastreamer`, and
//! OctoPrint's, which is its `offer` alone.
//!
//! camera-streamer: `request` is answered with our offer, then the viewer POSTs its `answer` and, before or
//! after it, its candidates, all to the same URL. Mainsail sends the first without a JSON Content-Type and
//! begins anew at any status but 200.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{fault, keep_watch, unsupported, who};
use crate::api::http::answer::{self, Fault, Response};
use crate::api::http::{AppState, Request};
use crate::livekit::turn::IceServer;
use crate::serve::whep::{Offer, Session};

pub const JSON: &str = "application/json";

/// What a viewer says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Make an offer. `iceServers` of the viewer are not needed: it is the viewer who connects.
    Request {},
    /// To our offer.
    Answer { id: String, sdp: String },
    /// Where the viewer may be reached.
    RemoteCandidate { id: String, candidates: Vec<Candidate> },
    /// The viewer's own offer.
    Offer { sdp: String },
}

/// A browser's `RTCIceCandidate`, or its text alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Candidate {
    Text(String),
    Init { candidate: String },
}

/// What we say: an offer, or an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// The session.
    id: String,
    /// `offer` or `answer`.
    r#type: &'static str,
    sdp: String,
    /// `webrtc.ice_servers`.
    ice_servers: Vec<IceServer>,
}

/// POST to `…/webrtc`: JSON, whatever it says that it is.
pub async fn signalling(
    state: &AppState,
    id: Option<&str>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    if super::content_type(request.headers).as_deref() == Some(super::SDP) {
        return Err(unsupported(Some(super::SDP), &[JSON]));
    }
    post(state, id, request).await
}

pub async fn post(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let message: Message = serde_json::from_slice(&request.body).map_err(|error| {
        let message = format!(
            "the body is no signalling message ({error}): JSON with type request, answer, remote_candidate \
             or offer is"
        );
        Fault::new(StatusCode::BAD_REQUEST, "BAD_MESSAGE", message, json!({}))
    })?;
    let capture = state.camera(id)?;
    match message {
        Message::Request {} => {
            let session = state.whep.invite(&capture, who(request)).await.map_err(fault)?;
            keep_watch(state, request, capture.id(), &session.id);
            Ok(described(state, "offer", session))
        }
        Message::Offer { sdp } => {
            let offer = Offer { sdp, who: who(request) };
            let session = state.whep.offer(&capture, offer).await.map_err(fault)?;
            keep_watch(state, request, capture.id(), &session.id);
            Ok(described(state, "answer", session))
        }
        Message::Answer { id, sdp } => {
            state.whep.answer(capture.id(), &id, sdp).await.map_err(fault)?;
            Ok(done())
        }
        Message::RemoteCandidate { id, candidates } => {
            let text = |candidate| match candidate {
                Candidate::Text(text) | Candidate::Init { candidate: text } => text,
            };
            // An empty one is the end of candidates.
            let candidates = candidates.into_iter().map(text).filter(|text| !text.is_empty()).collect();
            state.whep.candidates(capture.id(), &id, candidates).await.map_err(fault)?;
            Ok(done())
        }
    }
}

fn described(state: &AppState, r#type: &'static str, session: Session) -> Response {
    let ice_servers = super::ice_servers(state);
    let Session { id, sdp, .. } = session;
    answer::json(StatusCode::OK, &Description { id, r#type, sdp, ice_servers })
}

fn done() -> Response {
    answer::json(StatusCode::OK, &json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_mainsail_fluidd_and_octoprint_send_is_understood() {
        assert!(matches!(parse(r#"{"type":"request","iceServers":null}"#).unwrap(), Message::Request {}));
        let with_stun = r#"{"type":"request","iceServers":[{"urls":["stun:x:1"]}],"timeout_s":30}"#;
        assert!(matches!(parse(with_stun).unwrap(), Message::Request {}));
        let answer = parse(r#"{"type":"answer","id":"7","sdp":"v=0"}"#).unwrap();
        assert!(matches!(answer, Message::Answer { id, sdp } if id == "7" && sdp == "v=0"));
        let candidates = r#"{"id":"7","type":"remote_candidate","candidates":[
            {"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x"},"candidate:2"]}"#;
        let Message::RemoteCandidate { id, candidates } = parse(candidates).unwrap() else { panic!() };
        assert_eq!((id.as_str(), candidates.len()), ("7", 2));
        let offer = parse(r#"{"sdp":"v=0","type":"offer"}"#).unwrap();
        assert!(matches!(offer, Message::Offer { sdp } if sdp == "v=0"));
    }

    #[test]
    fn a_message_without_what_its_type_needs_is_named() {
        for (text, missing) in [
            ("{}", "type"),
            (r#"{"type":"answer","sdp":"v=0"}"#, "id"),
            (r#"{"type":"offer"}"#, "sdp"),
            (r#"{"type":"dance"}"#, "dance"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(missing), "{text}");
        }
        assert!(parse("").is_err());
    }
}
