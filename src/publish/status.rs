//! What an output says about itself, for health, metrics, pages and API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::mediamtx::MediamtxStatus;
use crate::supervision::lifecycle::Snapshot;

/// A rate is that of at least this long.
const SPAN: Duration = Duration::from_secs(2);

/// One published output now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OutputStatus {
    pub id: String,
    /// The camera that is published.
    pub camera: String,
    /// `livekit`, `whip`, `rtmp` or `mediamtx`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it goes; nothing secret is in it.
    pub target: String,
    #[serde(flatten)]
    pub lifecycle: Snapshot,
    /// Pictures per second that the peer takes.
    pub fps: f64,
    /// Pictures that went out since the service started.
    pub frames: u64,
    /// Bytes that went out, with what the protocol adds.
    pub bytes: u64,
    /// Pictures that were not sent because the peer was too slow.
    pub dropped: u64,
    pub bitrate_kbps: f64,
    /// Always `shared`: no output has an encoder of its own.
    pub encoder: &'static str,
    /// The LiveKit room, where it is one.
    pub room: Option<String>,
    pub identity: Option<String>,
    /// Of a MediaMTX server: its path, its URLs, whether it records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediamtx: Option<MediamtxStatus>,
    /// Why it does not try, while it does not: its camera gives no pictures.
    pub note: Option<String>,
}

/// Counts of all attempts of one output.
#[derive(Debug, Default)]
pub struct Counters {
    pub bytes: AtomicU64,
    pub dropped: AtomicU64,
    meter: Mutex<Meter>,
}

impl Counters {
    /// Kilobits per second over the last seconds before `now`.
    pub fn bitrate_kbps(&self, now: Instant) -> f64 {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).read(now, bytes)
    }
}

/// A rate from a count that is looked at now and then.
#[derive(Debug, Default)]
struct Meter {
    /// Older and newer looks, at least [`SPAN`] apart.
    looks: Option<[(Instant, u64); 2]>,
}

impl Meter {
    fn read(&mut self, now: Instant, bytes: u64) -> f64 {
        let [old, new] = self.looks.get_or_insert([(now, bytes); 2]);
        if now.saturating_duration_since(new.0) >= SPAN {
            *old = std::mem::replace(new, (now, bytes));
        }
        let seconds = now.saturating_duration_since(old.0).as_secs_f64();
        if seconds > 0.0 { bytes.saturating_sub(old.1) as f64 * 8.0 / 1000.0 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitrate_is_that_of_the_last_seconds_however_often_it_is_asked_for() {
        let (mut meter, began) = (Meter::default(), Instant::now());
        let mut last = 0.0;
        // 1000 kbit/s for ten seconds, then nothing for ten.
        for tenth in 0..200_u64 {
            last = meter.read(began + Duration::from_millis(tenth * 100), 12_500 * tenth.min(100));
            if (1..=100).contains(&tenth) {
                assert!((last - 1000.0).abs() < 1.0, "{last} after {tenth} tenths");
            }
        }
        assert_eq!(last, 0.0);
    }
}
