//! Ingresses of the LiveKit server: doors for RTMP and WHIP, each with a stream key, that publish into a
//! room. Asked over the server's own interface, for the command line.

use std::time::Duration;

use livekit_api::services::ServiceError;
use livekit_api::services::ingress::{CreateIngressOptions, IngressClient, IngressListFilter};
use livekit_api::services::{ServerError, ServerErrorCode};
use livekit_protocol::{self as proto, IngressInput, IngressVideoOptions, TrackSource};
use thiserror::Error;

use super::{Key, http_url};
use crate::config::Secret;

/// For each request.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum IngressError {
    #[error(
        "LiveKit at {url} knows no ingresses: it runs without Redis; give it redis.address and \
         ingress.rtmp_base_url in its configuration (or publish natively or by WHIP, which need neither)"
    )]
    NotConnected { url: String },
    #[error("LiveKit at {url} does not answer: {error}; run `fanlight livekit check`")]
    Unreachable { url: String, error: String },
    #[error("LiveKit at {url} does not take the key; run `fanlight livekit check`")]
    Refused { url: String },
    #[error("LiveKit says {code}: {message}")]
    Server { code: String, message: String },
    #[error("{0}")]
    Other(String),
}

/// How one publishes into an ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Over TCP only; the ingress transcodes.
    Rtmp,
    /// WebRTC, passed through.
    Whip,
}

/// One ingress.
#[derive(Clone, Debug)]
pub struct Ingress {
    pub id: String,
    pub name: String,
    pub room: String,
    pub identity: String,
    /// `rtmp`, `whip` or `url`.
    pub kind: &'static str,
    pub url: String,
    pub stream_key: Secret,
    /// In words.
    pub state: String,
}

impl From<proto::IngressInfo> for Ingress {
    fn from(info: proto::IngressInfo) -> Self {
        use proto::ingress_state::Status;
        let state = match &info.state {
            None => "idle".to_owned(),
            Some(state) => match state.status() {
                Status::EndpointInactive => "idle".to_owned(),
                Status::EndpointBuffering => "starting".to_owned(),
                Status::EndpointPublishing => "live".to_owned(),
                Status::EndpointError => format!("failed: {}", state.error),
                Status::EndpointComplete => "ended".to_owned(),
            },
        };
        let kind = match info.input_type() {
            IngressInput::RtmpInput => "rtmp",
            IngressInput::WhipInput => "whip",
            IngressInput::UrlInput => "url",
        };
        Self {
            id: info.ingress_id,
            name: info.name,
            room: info.room_name,
            identity: info.participant_identity,
            kind,
            url: info.url,
            stream_key: Secret::new(info.stream_key),
            state,
        }
    }
}

/// The server's ingresses.
#[derive(Debug)]
pub struct Ingresses {
    client: IngressClient,
    url: String,
}

impl Ingresses {
    /// `url` in any of the forms that the configuration takes.
    pub fn of(url: &str, key: &Key) -> Self {
        let url = http_url(url);
        let client = IngressClient::with_api_key(&url, &key.name, key.secret.expose())
            .with_failover(false)
            .with_request_timeout(WITHIN);
        Self { client, url }
    }

    pub async fn create(
        &self,
        kind: Kind,
        room: &str,
        name: &str,
        identity: &str,
    ) -> Result<Ingress, IngressError> {
        let options = CreateIngressOptions {
            name: name.to_owned(),
            room_name: room.to_owned(),
            participant_identity: identity.to_owned(),
            participant_name: name.to_owned(),
            video: IngressVideoOptions {
                name: name.to_owned(),
                source: TrackSource::Camera.into(),
                ..IngressVideoOptions::default()
            },
            // Passing through is possible for WHIP only, and what a camera's H.264 wants.
            enable_transcoding: match kind {
                Kind::Rtmp => None,
                Kind::Whip => Some(false),
            },
            ..CreateIngressOptions::default()
        };
        let input = match kind {
            Kind::Rtmp => IngressInput::RtmpInput,
            Kind::Whip => IngressInput::WhipInput,
        };
        let info = self.client.create_ingress(input, options).await.map_err(|error| self.words(error))?;
        Ok(info.into())
    }

    /// All of them, or those of one room.
    pub async fn list(&self, room: Option<&str>) -> Result<Vec<Ingress>, IngressError> {
        let filter = room.map_or(IngressListFilter::All, |room| IngressListFilter::Room(room.to_owned()));
        let list = self.client.list_ingress(filter).await.map_err(|error| self.words(error))?;
        Ok(list.into_iter().map(Ingress::from).collect())
    }

    pub async fn delete(&self, id: &str) -> Result<(), IngressError> {
        self.client.delete_ingress(id).await.map(drop).map_err(|error| self.words(error))
    }

    fn words(&self, error: ServiceError) -> IngressError {
        let url = self.url.clone();
        match error {
            ServiceError::Twirp(ServerError::Twirp(error)) => {
                if not_connected(&error.msg) {
                    IngressError::NotConnected { url }
                } else if error.code == ServerErrorCode::UNAUTHENTICATED
                    || error.code == ServerErrorCode::PERMISSION_DENIED
                {
                    IngressError::Refused { url }
                } else {
                    IngressError::Server { code: error.code, message: error.msg }
                }
            }
            // A refusal comes in another form than the errors of the interface and is not understood.
            ServiceError::Twirp(ServerError::Request(error)) if error.is_decode() => {
                IngressError::Refused { url }
            }
            ServiceError::Twirp(ServerError::Request(error)) => {
                let error = if error.is_timeout() {
                    format!("no answer within {} s", WITHIN.as_secs())
                } else {
                    deepest(&error)
                };
                IngressError::Unreachable { url, error }
            }
            other => IngressError::Other(other.to_string()),
        }
    }
}

/// What LiveKit says when it runs without Redis.
pub(super) fn not_connected(message: &str) -> bool {
    message.contains("ingress not connected")
}

/// The cause at the bottom, which names what happened.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
