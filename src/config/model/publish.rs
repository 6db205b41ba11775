//! Published outputs: what is pushed to servers elsewhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

/// One published output: a camera pushed to one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Letters, digits, `-` and `_`, at most 64.
    pub id: String,
    /// The camera's id; default: the first one.
    #[serde(default)]
    pub camera: Option<String>,
    #[serde(flatten)]
    pub target: Target,
}

/// Where a published output goes: `type = "livekit"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Target {
    Livekit(PublishLiveKit),
    Whip(PublishWhip),
    Rtmp(PublishRtmp),
    Mediamtx(PublishMediamtx),
}

impl Target {
    pub const fn kind(&self) -> &'static str {
        match self {
            Target::Livekit(_) => "livekit",
            Target::Whip(_) => "whip",
            Target::Rtmp(_) => "rtmp",
            Target::Mediamtx(_) => "mediamtx",
        }
    }
}

/// A LiveKit room, joined directly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishLiveKit {
    /// Default: `livekit.url`, with its key.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub api_key: Option<String>,
    #[serde(default)]
    pub api_secret: Option<Secret>,
    /// A file whose first line is the secret; it is in `api_secret` after loading.
    #[serde(default)]
    pub api_secret_file: Option<PathBuf>,
    /// A file with a ready-made token, read anew for every attempt; instead of key and secret.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    pub room: String,
    /// Default: the camera's id.
    #[serde(default)]
    pub identity: Option<String>,
    /// For people; default: the camera's name.
    #[serde(default)]
    pub name: Option<String>,
    /// `stun://host:port`; none is asked by default.
    #[serde(default)]
    pub stun_server: Option<String>,
}

/// A WHIP server (RFC 9725); with a `room`, LiveKit's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishWhip {
    /// `http(s)://`; with a `room` the default is `/whip/v1` of `livekit.url`.
    #[serde(default)]
    pub url: Option<String>,
    /// The bearer token or stream key.
    #[serde(default)]
    pub token: Option<Secret>,
    /// A file whose first line is the token, read anew for every attempt.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A fresh token for this room is made for every attempt, with the key of `[livekit]`.
    #[serde(default)]
    pub room: Option<String>,
    #[serde(default)]
    pub identity: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub stun_server: Option<String>,
}

/// An RTMP server: LiveKit's ingress by its stream key, or any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishRtmp {
    /// `rtmp://` or `rtmps://`; loading takes a stream key after its path out into the key below.
    pub url: String,
    #[serde(default)]
    pub stream_key: Option<Secret>,
    /// A file whose first line is the stream key, read anew for every attempt.
    #[serde(default)]
    pub stream_key_file: Option<PathBuf>,
    /// Where LiveKit's ingress brings it, for viewers to find: the room and the identity there.
    #[serde(default)]
    pub room: Option<String>,
    /// Default: the camera's id.
    #[serde(default)]
    pub identity: Option<String>,
}

/// A MediaMTX server, by RTSP or SRT; any other that takes RECORD, without `api`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishMediamtx {
    /// `rtsp(s)://host:8554/path` or `srt://host:8890/path`: the path is that of the stream there.
    pub url: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file whose first line is the password, read anew for every attempt.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// For rtsps: `system` checks its certificate, `any` takes every one.
    #[serde(default)]
    pub tls: PublishTls,
    /// `http(s)://host:9997`: its control API.
    #[serde(default)]
    pub api: Option<String>,
    /// Whether the server records the path; default: as it is configured there. Needs `api`.
    #[serde(default)]
    pub record: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PublishTls {
    #[default]
    System,
    Any,
}
