//! What a camera says about itself: one snapshot, made without waiting for anything, that health,
//! metrics, pages and API all show.

use serde::Serialize;
use utoipa::ToSchema;

use super::outlet::OutletCounters;
use crate::supervision::lifecycle::Snapshot;

/// One camera now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CameraStatus {
    pub id: String,
    pub name: String,
    /// Kind of source: `libcamera`, `v4l2`, `rtsp`, `http`, `file`, `test`, `auto`.
    pub source: &'static str,
    #[serde(flatten)]
    pub lifecycle: Snapshot,
    /// Pictures per second from the source, measured over the last seconds.
    pub fps: f64,
    /// Pictures from the source since the service started.
    pub frames: u64,
    /// Age of the newest picture from the source in seconds; `null` before the first.
    pub frame_age_seconds: Option<f64>,
    /// What the source gives, in words: `H.264 1280x720`, `raw NV12 640x480`; `null` until known.
    pub format: Option<String>,
    /// Width and height of the source's pictures, `1280x720`; `null` until known.
    pub resolution: Option<String>,
    /// What a person should know: what is re-encoded and why.
    pub notes: Vec<String>,
    pub jpeg: OutletStatus,
    pub h264: OutletStatus,
    /// H.264 for WebRTC: as `h264`, except for a camera that sends B-frames.
    pub realtime: OutletStatus,
}

/// One outlet of a camera now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OutletStatus {
    /// What feeds it: `passthrough`, an encoder's element name, or `null` while nothing does.
    pub encoder: Option<String>,
    #[serde(flatten)]
    pub lifecycle: Snapshot,
    #[serde(flatten)]
    pub counters: OutletCounters,
}
