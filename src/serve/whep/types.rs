//! What is said between the media engine and those who signal for viewers (the HTTP side): offers,
//! sessions, refusals, status.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::ready::NotReady;

/// Who wants to watch, for logs and status.
#[derive(Clone, Debug, Default)]
pub struct Who {
    pub client: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// A viewer's offer.
#[derive(Clone, Debug)]
pub struct Offer {
    pub sdp: String,
    pub who: Who,
}

/// A session that was made. `sdp` is the answer to an offer, or the offer of an invitation.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unguessable: 128 random bits in hex.
    pub id: String,
    pub sdp: String,
    /// Without quotes; changes with each ICE restart.
    pub etag: String,
}

/// `application/trickle-ice-sdpfrag` (RFC 8840), taken apart.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    pub ufrag: Option<String>,
    pub pwd: Option<String>,
    /// `candidate:…` lines, with or without `a=` before them.
    pub candidates: Vec<String>,
}

/// What a PATCH did.
#[derive(Clone, Debug)]
pub enum Patched {
    /// Candidates were taken in: 204.
    Trickled,
    /// ICE began anew: 200 with this body and a new ETag.
    Restarted { sdp_fragment: String, etag: String },
}

/// Why there is no session, or why it does not change. The HTTP status that WHEP wants is in brackets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// [400]
    #[error("the SDP cannot be used: {0}")]
    BadSdp(String),
    /// [400]
    #[error(
        "the offer has no video section that receives: offer a video transceiver with direction recvonly"
    )]
    NoVideo,
    /// [400]
    #[error(
        "the offer has no H.264 with packetization-mode=1 ({0}): this camera is served as H.264 only; \
         offer H264/90000 with packetization-mode=1"
    )]
    NoH264(String),
    /// [503]
    #[error("{max} viewers watch already, which is the limit (webrtc.max_viewers)")]
    Full { max: usize },
    /// [404]
    #[error("camera {0:?} has its WHEP output switched off")]
    Disabled(String),
    /// [409, with Retry-After from `NotReady::retry_after`]
    #[error(transparent)]
    NotReady(Box<NotReady>),
    /// [404]
    #[error("there is no such session (any more)")]
    NoSession,
    /// [428]
    #[error("an ICE restart needs an If-Match header with the session's ETag, or *")]
    EtagMissing,
    /// [412]
    #[error("the If-Match header does not match the session's ETag")]
    EtagWrong,
    /// [503]
    #[error("the service is being stopped")]
    Stopping,
    /// [503] More is asked at once than the media thread can take in.
    #[error("too many requests at once; try again")]
    Busy,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewerState {
    /// Invited, and has not answered yet.
    Invited,
    /// ICE or DTLS is under way.
    Connecting,
    /// Connected; the camera has given it no picture yet.
    Waiting,
    /// Pictures are sent.
    Live,
    /// It has not been heard of for some seconds.
    Disconnected,
}

/// One viewer now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ViewerStatus {
    /// For lists and logs; it is not the session's id, which is a secret.
    pub id: String,
    pub camera: String,
    /// Where the request came from.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    pub user_agent: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "crate::telemetry::rfc3339")]
    pub since: SystemTime,
    pub state: ViewerState,
    /// Round trip in milliseconds, from the viewer's receiver reports; `null` before the first.
    pub rtt_ms: Option<f64>,
    /// Share of packets that the viewer missed in its last report, 0 to 1; repaired ones may count.
    pub loss: Option<f64>,
    /// Over the last seconds.
    pub bitrate_kbps: f64,
    /// RTP packets sent, repetitions included.
    pub packets: u64,
    /// Bytes sent, headers of RTP included.
    pub bytes: u64,
    /// Packets sent again because the viewer missed them.
    pub retransmitted: u64,
    /// Packets that this machine's network would not take.
    pub lost_here: u64,
    /// Pictures that were not sent because its connection would not take them.
    pub dropped_frames: u64,
    /// Times it asked for a whole picture (PLI and FIR).
    pub keyframe_requests: u64,
    /// Where its media goes: `udp 192.0.2.1:5000`.
    pub candidate: Option<String>,
    /// From its request to the last packet of its first picture.
    pub first_picture_ms: Option<f64>,
}
