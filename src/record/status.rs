//! What recordings say about themselves, for API, pages and health.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use super::disk::Written;
use crate::storage::media::Media;
use crate::supervision::lifecycle::Snapshot;
use crate::telemetry;

/// How a camera's recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Not wanted.
    Off,
    /// Wanted, and the camera gives no pictures.
    Waiting,
    Recording,
    /// Wanted, and the disk does not do; tried again by itself.
    Failed,
}

/// One camera's recording now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RecordingStatus {
    pub camera: String,
    pub state: RecordingState,
    /// The file that is being written; after a stop, the one that was.
    pub name: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    pub started_at: Option<SystemTime>,
    /// Of that file, as far as it is on the disk.
    pub duration_seconds: f64,
    pub bytes: u64,
    /// Whether the configuration wants it all the time.
    pub continuous: bool,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    pub until: Option<SystemTime>,
    /// Of all its files, since the service started.
    pub bytes_written: u64,
    /// Times that the disk did not do, since the service started.
    pub failures: u64,
    /// Pictures that the disk was too slow for, since the service started.
    pub lost_pictures: u64,
    /// Why it is not recording although it should, in words.
    pub error: Option<String>,
    pub lifecycle: Snapshot,
}

/// A recording on disk.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RecordingInfo {
    pub name: String,
    /// Empty for a file that was put there by hand.
    pub camera: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub started_at: SystemTime,
    pub duration_seconds: f64,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    /// Retention leaves it alone.
    pub kept: bool,
    /// It is being written.
    pub recording: bool,
    /// Where to fetch it.
    pub url: String,
}

impl RecordingInfo {
    /// As the index has it; of one that is being written, as it is.
    pub(super) fn of(media: Media, written: Option<Written>) -> Self {
        let number = |value: i64| value.max(0).unsigned_abs();
        let size = |value: i64| u32::try_from(value).unwrap_or_default();
        let recording = written.is_some();
        let (started_at, duration, bytes) = match written {
            Some(written) => (written.began, written.duration, written.bytes),
            None => (time(media.started), Duration::from_millis(number(media.duration)), number(media.bytes)),
        };
        Self {
            url: format!("/files/recordings/{}", media.name),
            name: media.name,
            camera: media.camera,
            started_at,
            duration_seconds: duration.as_secs_f64(),
            bytes,
            width: size(media.width),
            height: size(media.height),
            kept: media.kept,
            recording,
        }
    }
}

/// A snapshot on disk.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SnapshotInfo {
    pub name: String,
    /// Empty for a file that was put there by hand.
    pub camera: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub taken_at: SystemTime,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    /// Retention leaves it alone.
    pub kept: bool,
    /// Where to fetch it.
    pub url: String,
}

impl From<Media> for SnapshotInfo {
    fn from(media: Media) -> Self {
        let size = |value: i64| u32::try_from(value).unwrap_or_default();
        Self {
            url: format!("/files/snapshots/{}", media.name),
            name: media.name,
            camera: media.camera,
            taken_at: time(media.started),
            bytes: media.bytes.max(0).unsigned_abs(),
            width: size(media.width),
            height: size(media.height),
            kept: media.kept,
        }
    }
}

/// One page of a list, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
    pub limit: u32,
    pub offset: u64,
}

/// What is kept where, and what room there is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StorageInfo {
    pub directory: String,
    /// Of the file system.
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub available_bytes: u64,
    pub used_percent: f64,
    pub recordings: Share,
    pub snapshots: Share,
    /// Less is free than recording leaves alone: nothing is recorded.
    pub low_space: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Share {
    pub count: u64,
    pub bytes: u64,
}

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cleanup {
    pub recordings: Vec<String>,
    pub snapshots: Vec<String>,
    pub freed_bytes: u64,
}

/// What happened to a camera's recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A file began by a start.
    Started,
    /// The next file of the same recording began.
    Continued,
    /// The camera gives no pictures; the recording goes on when it does.
    Waiting,
    /// The disk does not do; tried again by itself.
    Failed,
    Stopped,
}

/// Told to everybody who listens.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Change {
    pub camera: String,
    pub status: Happened,
    pub filename: Option<String>,
    /// Of the file, in seconds.
    pub duration: f64,
    /// In words, when something is wrong.
    pub message: Option<String>,
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis.max(0).unsigned_abs())).unwrap_or(UNIX_EPOCH)
}
