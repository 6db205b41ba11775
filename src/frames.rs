//! What travels through the house: one encoded picture, shared by everybody who wants it.
//!
//! Owned by nobody, made by `capture`, read by `serve` (and later `publish` and `record`). The bytes
//! are a mapped GStreamer buffer; cloning an [`AccessUnit`] clones a reference, never the picture.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

/// One encoded picture as it left an encoder or a camera.
///
/// For H.264 `data` is one access unit in Annex B byte-stream format with SPS and PPS before every
/// IDR picture; for JPEG it is one whole JPEG (every one a keyframe).
#[derive(Clone, Debug)]
pub struct AccessUnit {
    pub data: Bytes,
    /// Presentation time on the timeline of its `epoch`, which starts near zero. With B-frames,
    /// access units come in decoding order and `pts` is not monotonic.
    pub pts: Duration,
    /// IDR picture (H.264) or any JPEG: a decoder can start here.
    pub keyframe: bool,
    /// Which run of the pipeline this came from. `pts` continues only within one epoch: when it
    /// changes, a consumer has a discontinuity.
    pub epoch: u64,
    /// Wall-clock instant of capture, for people and headers.
    pub captured_at: SystemTime,
    /// The same instant on the monotonic clock, for ages and liveness.
    pub captured: Instant,
}

impl AccessUnit {
    /// How old the picture is; zero when `now` is earlier.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.captured)
    }
}

/// What an outlet gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    Jpeg,
    H264,
}

impl Codec {
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Jpeg => "jpeg",
            Codec::H264 => "h264",
        }
    }
}
