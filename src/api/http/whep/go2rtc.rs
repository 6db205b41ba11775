//! go2rtc's signalling: `POST /api/webrtc?src={camera}` and the WebSocket `/api/ws?src={camera}`, which is
//! what Mainsail and Fluidd use as `webrtc-go2rtc` and Home Assistant's player too.
//!
//! On the socket: `webrtc/offer` with SDP is answered by `webrtc/answer`, `webrtc` with a description by the
//! same; `webrtc/candidate` may follow. What goes wrong is said as `error`. A session that is connected goes
//! on without its socket, which go2rtc's own player closes at the first picture; any other ends with it.
//! Each socket is a task of [`AppState::sockets`], has [`OFFER_WITHIN`] to make an offer, and ends when
//! the service stops. A browser asks nobody before it opens a socket: the page's origin is checked here.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use warp::http::StatusCode;

use super::dialect::JSON;
use super::{SDP, content_type, created, fault, keep_watch, location, offer, watch, who};
use crate::access::Entered;
use crate::api::http::answer::{self, Fault, Response};
use crate::api::http::{AppState, Request, websocket};
use crate::serve::whep::{Fragment, Offer, Refusal, Session, Who};

/// From the socket's opening to its offer.
const OFFER_WITHIN: Duration = Duration::from_secs(15);
/// For one message to be taken by the client.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// Offers are some kilobytes.
const MESSAGE: usize = 64 * 1024;
/// Sockets beside those of viewers, who have a task each beside theirs: they have not made their offer yet.
const SOCKETS: usize = 32;

/// POST: WHEP as `application/sdp`, a description as JSON, or bare SDP of any other type.
pub async fn post(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    #[derive(Deserialize)]
    struct Description {
        sdp: String,
    }
    let capture = state.camera(source(request).as_deref())?;
    let kind = content_type(request.headers);
    let offer = match kind.as_deref() {
        Some(JSON) => {
            let description: Description = serde_json::from_slice(&request.body)
                .map_err(|error| super::bad(&format!("the body is no JSON with type and sdp: {error}")))?;
            Offer { sdp: description.sdp, who: who(request) }
        }
        _ => offer(request)?,
    };
    let session = state.whep.offer(&capture, offer).await.map_err(fault)?;
    keep_watch(state, request, capture.id(), &session.id);
    Ok(match kind.as_deref() {
        Some(JSON) => answer::json(StatusCode::OK, &json!({ "type": "answer", "sdp": session.sdp })),
        Some(SDP) => {
            let path = format!("/cameras/{}/whep/{}", capture.id(), session.id);
            // `/api/webrtc` is two levels deep, wherever a proxy has put it.
            let up = if location::proxied(request.headers) { ".." } else { "" };
            created(state, &session, &format!("{up}{path}"))
        }
        _ => answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", session.sdp),
    })
}

/// The camera that is asked for; without `src` the first.
fn source(request: &Request<'_>) -> Option<String> {
    request.query("src").filter(|source| !source.is_empty())
}

/// GET with an upgrade to a WebSocket (RFC 6455, 4.2).
pub fn socket(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let (upgrade, response) = websocket::handshake(request)?;
    if state.sockets.len()
        >= state.config.borrow().webrtc.max_viewers.saturating_mul(2).saturating_add(SOCKETS)
    {
        return Err(fault(Refusal::Busy));
    }
    let entered = request.entered.clone();
    let talk =
        Talk { state: state.clone(), source: source(request), who: who(request), session: None, entered };
    state.sockets.spawn(talk.run(upgrade));
    Ok(response)
}

/// A message of either side.
#[derive(Debug, Deserialize)]
struct Word {
    r#type: String,
    #[serde(default)]
    value: Value,
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// One open socket.
struct Talk {
    state: AppState,
    source: Option<String>,
    who: Who,
    /// Camera and session, once there is one.
    session: Option<(String, String)>,
    entered: Option<Entered>,
}

impl Talk {
    async fn run(mut self, upgrade: OnUpgrade) {
        let Ok(Ok(upgraded)) = timeout(SEND_WITHIN, upgrade).await else { return };
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let stop = self.state.stop.clone();
        let (access, entered) = (self.state.access.clone(), self.entered.clone());
        let ended = async {
            match entered {
                Some(entered) => access.ended(entered).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended => {}
            () = self.talk(&mut socket) => {}
        }
        if let Some((camera, session)) = self.session.take() {
            // It may have ended by itself.
            let _ = self.state.whep.abandon(&camera, &session).await;
        }
        let _ = timeout(SEND_WITHIN, socket.close(None)).await;
    }

    /// Until one side has enough.
    async fn talk(&mut self, socket: &mut Socket) {
        let late = Instant::now() + OFFER_WITHIN;
        loop {
            let next = tokio::select! {
                next = socket.next() => next,
                () = tokio::time::sleep_until(late), if self.session.is_none() => return,
            };
            let reply = match next {
                Some(Ok(Message::Text(text))) => self.take(text.as_str()).await,
                Some(Ok(Message::Binary(_))) => Some(said("error", "this socket takes text")),
                // Pings are answered by the next write; the end is seen by the next read.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            };
            if let Some(reply) = reply
                && !matches!(timeout(SEND_WITHIN, socket.send(Message::text(reply))).await, Ok(Ok(())))
            {
                return;
            }
        }
    }

    /// What to answer to a message, if anything.
    async fn take(&mut self, text: &str) -> Option<String> {
        let word: Word = match serde_json::from_str(text) {
            Ok(word) => word,
            Err(error) => return Some(said("error", &format!("this is no message: {error}"))),
        };
        let answered = match (word.r#type.as_str(), &word.value) {
            ("webrtc/offer", Value::String(sdp)) => {
                self.offer(sdp).await.map(|session| Some(said("webrtc/answer", &session.sdp)))
            }
            ("webrtc", Value::Object(description)) => {
                let sdp = description.get("sdp").and_then(Value::as_str).unwrap_or_default();
                let value = |sdp: String| json!({ "type": "answer", "sdp": sdp });
                self.offer(sdp)
                    .await
                    .map(|session| Some(json!({ "type": "webrtc", "value": value(session.sdp) }).to_string()))
            }
            ("webrtc/candidate", Value::String(candidate)) => {
                self.candidate(candidate).await;
                Ok(None)
            }
            _ => Err("only webrtc, webrtc/offer and webrtc/candidate are taken here".to_owned()),
        };
        answered.unwrap_or_else(|why| Some(said("error", &format!("{}: {why}", word.r#type))))
    }

    async fn offer(&mut self, sdp: &str) -> Result<Session, String> {
        let capture = match &self.source {
            Some(id) => self.state.cameras.get(id).ok_or_else(|| format!("there is no camera {id:?}"))?,
            None => self.state.cameras.first().ok_or("there is no camera")?,
        };
        if let Some((camera, session)) = self.session.take() {
            let _ = self.state.whep.end(&camera, &session).await;
        }
        let offer = Offer { sdp: sdp.to_owned(), who: self.who.clone() };
        let session = self.state.whep.offer(&capture, offer).await.map_err(|refusal| refusal.to_string())?;
        self.session = Some((capture.id().to_owned(), session.id.clone()));
        if let Some(entered) = self.entered.clone() {
            let (camera, id) = (capture.id().to_owned(), session.id.clone());
            self.state.sockets.spawn(watch(self.state.clone(), entered, camera, id));
        }
        Ok(session)
    }

    /// A candidate more or less: the viewer reaches us, not we the viewer. Nothing is said about it.
    async fn candidate(&self, candidate: &str) {
        let Some((camera, session)) = &self.session else { return };
        if candidate.is_empty() {
            return;
        }
        let fragment = Fragment { candidates: vec![candidate.to_owned()], ..Fragment::default() };
        if let Err(refusal) = self.state.whep.patch(camera, session, Some("*"), fragment).await {
            tracing::debug!(camera, %refusal, "a viewer's candidate is not used");
        }
    }
}

fn said(kind: &str, value: &str) -> String {
    json!({ "type": kind, "value": value }).to_string()
}
