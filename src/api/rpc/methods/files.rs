//! Recordings and snapshots: starting and stopping, what is on disk, and what is deleted by itself. The
//! files themselves are fetched over HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use super::cameras::Device;
use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, Nothing, method, params};
use crate::control::Named;
use crate::record::{
    Filter, Page, RecordingInfo, RecordingState, RecordingStatus, SnapshotInfo, StartOptions,
};
use crate::telemetry;

/// Longer than any recording that ends by itself: 30 days.
const LONGEST: f64 = 30.0 * 86_400.0;
/// How many a list has when nobody says.
const LIMIT: u32 = 100;

pub fn methods() -> Vec<Method> {
    let (viewer, operator, admin) = (Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin));
    vec![
        method("take_snapshot", operator, "Takes a picture and stores it.", take),
        method(
            "start_recording",
            operator,
            "Records a camera into a fragmented MP4, as it is, until `stop_recording` or for a time.",
            start,
        ),
        method("stop_recording", operator, "Ends a recording; answers when its file is closed.", stop),
        method("list_recordings", viewer, "Recordings on disk, the newest first.", recordings),
        method("list_snapshots", viewer, "Snapshots on disk, the newest first.", snapshots),
        method("get_recording_info", viewer, "One recording.", recording),
        method("get_snapshot_info", viewer, "One snapshot.", snapshot),
        method(
            "delete_recording",
            admin,
            "Deletes a recording, but not one that is being written.",
            delete_recording,
        ),
        method("delete_snapshot", admin, "Deletes a snapshot.", delete_snapshot),
        method("get_storage_info", viewer, "What is kept, and what room there is.", storage),
        method(
            "set_retention_policy",
            admin,
            "Sets by what files are deleted; what is left out stays as it is. Holds over a restart.",
            set_retention,
        ),
        method("cleanup_old_files", admin, "Deletes what retention does not want, now.", cleanup),
    ]
}

fn camera(session: &Session, device: &str) -> Result<Named, Error> {
    Ok(session.rpc.house().control.camera(device)?)
}

params! {
    TakeSnapshot {
        /// `camera0`, … or the camera's id.
        device: String,
        /// Default: by camera and time.
        filename: Option<String>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct SnapshotTaken {
    device: String,
    /// Always `SUCCESS`: anything else is an error.
    #[schema(value_type = String)]
    status: &'static str,
    #[serde(flatten)]
    snapshot: Snapshot,
}

/// A snapshot on disk.
#[derive(Debug, Serialize, ToSchema)]
struct Snapshot {
    filename: String,
    /// The id of its camera.
    camera: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
    /// Bytes.
    file_size: u64,
    /// `1280x720`
    resolution: String,
    download_url: String,
}

impl Snapshot {
    fn of(info: SnapshotInfo, session: &Session) -> Self {
        Self {
            download_url: format!("{}{}", session.from.base, info.url),
            filename: info.name,
            camera: info.camera,
            timestamp: info.taken_at,
            file_size: info.bytes,
            resolution: format!("{}x{}", info.width, info.height),
        }
    }
}

async fn take(session: Arc<Session>, params: TakeSnapshot) -> Result<SnapshotTaken, Error> {
    let camera = camera(&session, &params.device)?;
    let snapshots = session.rpc.house().recordings.snapshots();
    let info = snapshots.take(camera.capture.id(), params.filename.as_deref()).await?;
    Ok(SnapshotTaken { device: camera.alias, status: "SUCCESS", snapshot: Snapshot::of(info, &session) })
}

params! {
    StartRecording {
        /// `camera0`, … or the camera's id.
        device: String,
        /// Seconds until it ends by itself; default: when it is stopped.
        duration: Option<f64>,
        /// `mp4`, which is the default and the only one.
        format: Option<String>,
    }
}

/// How a recording is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum RecordingWord {
    Recording,
    /// Wanted, and the camera gives no pictures; it begins when it does.
    Waiting,
    /// Wanted, and the disk does not do; tried again by itself.
    Failed,
    Stopped,
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraRecording {
    device: String,
    /// The file that is being written; after a stop, the one that was.
    filename: Option<String>,
    status: RecordingWord,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    start_time: Option<SystemTime>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    end_time: Option<SystemTime>,
    /// Seconds on disk.
    duration: f64,
    /// Bytes on disk.
    file_size: u64,
    /// Always `mp4`.
    #[schema(value_type = String)]
    format: &'static str,
    /// Why it is not recording although it should.
    error: Option<String>,
}

impl CameraRecording {
    fn of(device: String, status: RecordingStatus, end_time: Option<SystemTime>) -> Self {
        Self {
            device,
            filename: status.name,
            status: match status.state {
                RecordingState::Off => RecordingWord::Stopped,
                RecordingState::Waiting => RecordingWord::Waiting,
                RecordingState::Recording => RecordingWord::Recording,
                RecordingState::Failed => RecordingWord::Failed,
            },
            start_time: status.started_at,
            end_time: end_time.or(status.until),
            duration: status.duration_seconds,
            file_size: status.bytes,
            format: "mp4",
            error: status.error,
        }
    }
}

async fn start(session: Arc<Session>, params: StartRecording) -> Result<CameraRecording, Error> {
    let camera = camera(&session, &params.device)?;
    if let Some(format) = params.format.filter(|format| format != "mp4") {
        return Err(Error::unsupported(format!(
            "recordings are mp4, fragmented; {format:?} is not to be had"
        )));
    }
    let duration = params.duration.map(duration).transpose()?;
    let recordings = &session.rpc.house().recordings;
    let status = recordings.start(camera.capture.id(), StartOptions { duration }).await?;
    Ok(CameraRecording::of(camera.alias, status, None))
}

fn duration(seconds: f64) -> Result<Duration, Error> {
    let fits = seconds > 0.0 && seconds <= LONGEST;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|_| fits);
    duration.ok_or_else(|| Error::params(format!("duration is above 0 and at most {LONGEST} seconds")))
}

async fn stop(session: Arc<Session>, params: Device) -> Result<CameraRecording, Error> {
    let camera = camera(&session, &params.device)?;
    let status = session.rpc.house().recordings.stop(camera.capture.id()).await?;
    Ok(CameraRecording::of(camera.alias, status, Some(SystemTime::now())))
}

params! {
    /// Which part of a list.
    Part {
        /// At most this many, up to 1000; default 100.
        limit: Option<u32>,
        /// Without the first so many; default 0.
        offset: Option<u64>,
    }
}

impl Part {
    fn filter(&self) -> Filter {
        let limit = Some(self.limit.unwrap_or(LIMIT));
        Filter { limit, offset: self.offset.unwrap_or_default(), ..Filter::default() }
    }
}

/// A recording on disk.
#[derive(Debug, Serialize, ToSchema)]
struct Recording {
    filename: String,
    /// The id of its camera.
    camera: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    created_time: SystemTime,
    /// Seconds.
    duration: f64,
    /// Bytes.
    file_size: u64,
    /// `1280x720`
    resolution: String,
    /// Whether it is being written.
    recording: bool,
    /// Whether retention leaves it alone.
    kept: bool,
    download_url: String,
}

impl Recording {
    fn of(info: RecordingInfo, session: &Session) -> Self {
        Self {
            download_url: format!("{}{}", session.from.base, info.url),
            filename: info.name,
            camera: info.camera,
            created_time: info.started_at,
            duration: info.duration_seconds,
            file_size: info.bytes,
            resolution: format!("{}x{}", info.width, info.height),
            recording: info.recording,
            kept: info.kept,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct RecordingList {
    files: Vec<Recording>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u64,
}

async fn recordings(session: Arc<Session>, params: Part) -> Result<RecordingList, Error> {
    let Page { items, total, limit, offset } = session.rpc.house().recordings.list(&params.filter()).await?;
    let files = items.into_iter().map(|info| Recording::of(info, &session)).collect();
    Ok(RecordingList { files, total, limit, offset })
}

#[derive(Debug, Serialize, ToSchema)]
struct SnapshotList {
    files: Vec<Snapshot>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u64,
}

async fn snapshots(session: Arc<Session>, params: Part) -> Result<SnapshotList, Error> {
    let snapshots = session.rpc.house().recordings.snapshots();
    let Page { items, total, limit, offset } = snapshots.list(&params.filter()).await?;
    let files = items.into_iter().map(|info| Snapshot::of(info, &session)).collect();
    Ok(SnapshotList { files, total, limit, offset })
}

params! {
    /// One file.
    File {
        /// As the list has it: a name, no path.
        filename: String,
    }
}

async fn recording(session: Arc<Session>, params: File) -> Result<Recording, Error> {
    let info = session.rpc.house().recordings.info(&params.filename).await?;
    Ok(Recording::of(info, &session))
}

async fn snapshot(session: Arc<Session>, params: File) -> Result<Snapshot, Error> {
    let info = session.rpc.house().recordings.snapshots().info(&params.filename).await?;
    Ok(Snapshot::of(info, &session))
}

#[derive(Debug, Serialize, ToSchema)]
struct Deleted {
    filename: String,
    /// Always true: anything else is an error.
    deleted: bool,
}

async fn delete_recording(session: Arc<Session>, params: File) -> Result<Deleted, Error> {
    session.rpc.house().recordings.delete(&params.filename).await?;
    Ok(Deleted { filename: params.filename, deleted: true })
}

async fn delete_snapshot(session: Arc<Session>, params: File) -> Result<Deleted, Error> {
    session.rpc.house().recordings.snapshots().delete(&params.filename).await?;
    Ok(Deleted { filename: params.filename, deleted: true })
}

/// Sizes in bytes.
#[derive(Debug, Serialize, ToSchema)]
struct Storage {
    /// Of the file system.
    total_space: u64,
    used_space: u64,
    available_space: u64,
    /// 0 to 100.
    usage_percentage: f64,
    recordings_size: u64,
    recordings_count: u64,
    snapshots_size: u64,
    snapshots_count: u64,
    /// Less is free than recording leaves alone: nothing is recorded.
    low_space_warning: bool,
}

async fn storage(session: Arc<Session>, _: Nothing) -> Result<Storage, Error> {
    let info = session.rpc.house().recordings.storage_info().await?;
    Ok(Storage {
        total_space: info.total_bytes,
        used_space: info.used_bytes,
        available_space: info.available_bytes,
        usage_percentage: info.used_percent,
        recordings_size: info.recordings.bytes,
        recordings_count: info.recordings.count,
        snapshots_size: info.snapshots.bytes,
        snapshots_count: info.snapshots.count,
        low_space_warning: info.low_space,
    })
}

/// What decides: the other limit is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyType {
    /// `max_age_days`
    Age,
    /// `max_size_gb`
    Size,
}

params! {
    RetentionPolicy {
        /// Delete by age or by size alone; left out, by whatever limits there are.
        policy_type: Option<PolicyType>,
        /// Files older than this go.
        max_age_days: Option<f64>,
        /// The oldest go while all together are larger than this.
        max_size_gb: Option<f64>,
        /// Whether anything is deleted by itself.
        enabled: Option<bool>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Policy {
    policy_type: Option<PolicyType>,
    enabled: bool,
    max_age_days: Option<f64>,
    max_size_gb: Option<f64>,
    /// The oldest go while less than this is free.
    min_free_gb: Option<f64>,
}

async fn set_retention(session: Arc<Session>, params: RetentionPolicy) -> Result<Policy, Error> {
    let recordings = &session.rpc.house().recordings;
    let mut retention = recordings.retention();
    retention.max_age_days = params.max_age_days.or(retention.max_age_days);
    retention.max_size_gb = params.max_size_gb.or(retention.max_size_gb);
    retention.enabled = params.enabled.unwrap_or(retention.enabled);
    match params.policy_type {
        Some(PolicyType::Age) => retention.max_size_gb = None,
        Some(PolicyType::Size) => retention.max_age_days = None,
        None => {}
    }
    let missing = match params.policy_type {
        Some(PolicyType::Age) if retention.max_age_days.is_none() => Some("max_age_days"),
        Some(PolicyType::Size) if retention.max_size_gb.is_none() => Some("max_size_gb"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(Error::params(format!("this policy needs {missing}")));
    }
    recordings.set_retention(retention.clone()).await?;
    Ok(Policy {
        policy_type: params.policy_type,
        enabled: retention.enabled,
        max_age_days: retention.max_age_days,
        max_size_gb: retention.max_size_gb,
        min_free_gb: retention.min_free_gb,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct CleanedUp {
    cleanup_executed: bool,
    files_deleted: usize,
    /// Bytes.
    space_freed: u64,
    /// Their names.
    recordings: Vec<String>,
    snapshots: Vec<String>,
}

async fn cleanup(session: Arc<Session>, _: Nothing) -> Result<CleanedUp, Error> {
    let done = session.rpc.house().recordings.cleanup().await?;
    Ok(CleanedUp {
        cleanup_executed: true,
        files_deleted: done.recordings.len() + done.snapshots.len(),
        space_freed: done.freed_bytes,
        recordings: done.recordings,
        snapshots: done.snapshots,
    })
}

/// A camera's recording began, waits, failed or ended: parameters of `recording_status_update`.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordingUpdate {
    /// `camera0`; the id of a camera that is gone.
    pub device: String,
    /// The camera's own id.
    pub id: String,
    pub status: crate::record::Happened,
    pub filename: Option<String>,
    /// Of the file, in seconds.
    pub duration: f64,
    /// In words, when something is wrong.
    pub message: Option<String>,
}
