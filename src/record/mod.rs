//! Recordings and snapshots on disk.
//!
//! ```text
//! h264 outlet ─► subscription ─► cutter ─► queue ─► thread ─► {name}.mp4
//! jpeg outlet ─────────────────────────────────────────────► {name}.jpg
//! ```
//! [`Recordings`] and [`Snapshots`] are what the APIs call. Each camera has a [`recorder`], supervised on its
//! own; nothing is encoded again. The files are the truth, [`index`] keeps the database in step with them and
//! deletes what is too old. Files are written on threads of their own, and everything that can hang on a disk
//! is waited for a limited time.

mod cutter;
mod disk;
pub mod error;
mod exif;
mod index;
mod mp4;
mod names;
mod playlist;
mod preroll;
mod recorder;
pub mod retention;
mod session;
mod snapshots;
pub mod status;
mod timelapse;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::capture::{Capture, Means};
use crate::config::Config;
use crate::config::model::{Camera, Record, RecordMode};
use crate::config::schedule::Span;
use crate::storage::Database;
use crate::storage::media::{Kind, Which};
use crate::supervision::{Timing, Vitals};
use disk::Active;
pub use error::RecordError;
use index::Index;
pub use recorder::StartOptions;
use recorder::{Recorder, Shared};
pub use retention::Retention;
pub use snapshots::Snapshots;
use status::millis;
pub use status::{
    Change, Cleanup, Happened, Page, RecordingInfo, RecordingState, RecordingStatus, SnapshotInfo,
    StorageInfo,
};
use timelapse::{Timelapse, With};
pub use timelapse::{TimelapseOptions, TimelapseStatus};

/// Changes that a listener may lag behind before it misses some.
const CHANGES: usize = 256;
/// A page is no longer than this.
pub const PAGE: u32 = 1000;

/// Which files of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub camera: Option<String>,
    /// Those that reach beyond this,
    pub from: Option<SystemTime>,
    /// and begin before this.
    pub to: Option<SystemTime>,
    pub kept: Option<bool>,
    /// At most [`PAGE`]; `None`: that many.
    pub limit: Option<u32>,
    pub offset: u64,
}

impl Filter {
    fn which(&self) -> Which {
        Which {
            camera: self.camera.clone(),
            from: self.from.map(millis),
            to: self.to.map(millis),
            kept: self.kept,
        }
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE).min(PAGE)
    }
}

/// All recordings. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Recordings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Why nothing can be recorded here.
    possible: Result<(), RecordError>,
    shared: Shared,
    settings: watch::Sender<Arc<Record>>,
    recorders: Mutex<BTreeMap<String, Arc<Recorder>>>,
    /// Those that run, and the last one of each camera.
    timelapses: Mutex<BTreeMap<String, Arc<Timelapse>>>,
    /// What the configuration wants recorded by itself.
    planned: watch::Sender<Vec<Planned>>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Recordings {
    /// Begins to record what is to be recorded all the time, and to keep the index. `cameras` is the list of
    /// cameras as it changes; without a database there are recordings, and no list of them. Call it inside
    /// the runtime.
    pub async fn begin(
        config: &Config,
        directory: &Path,
        database: Result<Database, String>,
        cameras: watch::Receiver<Arc<[Capture]>>,
        means: &Means,
    ) -> Self {
        let settings = watch::Sender::new(Arc::new(config.record.clone()));
        let active = Active::default();
        let index = Index::new(directory, database, active.clone(), settings.subscribe());
        let shared = Shared {
            index: index.clone(),
            active,
            changes: broadcast::Sender::new(CHANGES),
            cameras,
            settings: settings.subscribe(),
            timing: means.timing.clone(),
            vitals: means.vitals.clone(),
        };
        let recordings = Self(Arc::new(Inner {
            possible: Ok(()),
            shared,
            settings,
            recorders: Mutex::default(),
            timelapses: Mutex::default(),
            planned: watch::Sender::new(planned(config)),
            tasks: Mutex::default(),
        }));
        index.load().await;
        let following = tokio::spawn(follow(Arc::downgrade(&recordings.0)));
        let keeping = tokio::spawn(index.keep());
        *recordings.tasks() = [following, keeping].map(AbortOnDropHandle::new).into();
        recordings
    }

    /// None at all, for a house without storage.
    pub fn none(cameras: watch::Receiver<Arc<[Capture]>>) -> Self {
        let settings = watch::Sender::new(Arc::new(Record::default()));
        let active = Active::default();
        let why = "this service has no storage".to_owned();
        let none = Err(why.clone());
        let shared = Shared {
            index: Index::new(Path::new("/nonexistent"), none, active.clone(), settings.subscribe()),
            active,
            changes: broadcast::Sender::new(1),
            cameras,
            settings: settings.subscribe(),
            timing: Timing::default(),
            vitals: Vitals::new(1),
        };
        Self(Arc::new(Inner {
            possible: Err(RecordError::Dependency(why)),
            shared,
            settings,
            recorders: Mutex::default(),
            timelapses: Mutex::default(),
            planned: watch::Sender::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Brings recordings to another configuration.
    pub fn apply(&self, config: &Config) {
        self.0.settings.send_if_modified(|present| {
            let other = **present != config.record;
            if other {
                *present = Arc::new(config.record.clone());
            }
            other
        });
        self.0.planned.send_if_modified(|present| {
            let wanted = planned(config);
            let other = *present != wanted;
            *present = wanted;
            other
        });
    }

    /// Closes all files; bounded.
    pub async fn shutdown(&self) {
        self.tasks().clear();
        let recorders: Vec<_> = std::mem::take(&mut *self.recorders()).into_values().collect();
        let timelapses: Vec<_> = std::mem::take(&mut *self.timelapses()).into_values().collect();
        tokio::join!(
            futures_util::future::join_all(recorders.iter().map(|recorder| recorder.end())),
            futures_util::future::join_all(timelapses.iter().map(|timelapse| timelapse.end()))
        );
    }

    /// Snapshots of the same cameras, into the directory beside.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.0.shared.index.clone(), self.0.shared.cameras.clone())
    }

    /// Starts to record a camera. Answers when the file has begun, or after 3 seconds that it waits for
    /// pictures.
    ///
    /// # Errors
    /// When there is no such camera, it is being recorded already, or the disk is full.
    pub async fn start(&self, camera: &str, options: StartOptions) -> Result<RecordingStatus, RecordError> {
        self.recorder(camera)?.start(options, false).await
    }

    /// Stops it; answers when the file is closed.
    ///
    /// # Errors
    /// When there is no such camera, or it is not being recorded.
    pub async fn stop(&self, camera: &str) -> Result<RecordingStatus, RecordError> {
        self.recorder(camera)?.stop().await
    }

    /// Starts to record a camera for somebody who is to stop this recording and no other, with the same ticket.
    /// Dropping this does not undo it.
    ///
    /// # Errors
    /// Those of [`Recordings::start`].
    pub async fn start_own(&self, camera: &str, ticket: u64) -> Result<RecordingStatus, RecordError> {
        self.recorder(camera)?.start_own(ticket).await
    }

    /// Stops the recording that was started with this ticket, also one whose start is still under way; another
    /// one goes on.
    ///
    /// # Errors
    /// When there is no such camera.
    pub async fn stop_own(&self, camera: &str, ticket: u64) -> Result<(), RecordError> {
        self.recorder(camera)?.stop_own(ticket).await
    }

    /// How the recording of a camera is.
    ///
    /// # Errors
    /// When there is no such camera.
    pub fn status(&self, camera: &str) -> Result<RecordingStatus, RecordError> {
        Ok(self.recorder(camera)?.status())
    }

    /// Begins a timelapse of a camera: a recording with a picture every so often.
    ///
    /// # Errors
    /// When there is no such camera, one is being made of it, or the options make no sense.
    pub fn start_timelapse(
        &self,
        camera: &str,
        options: TimelapseOptions,
    ) -> Result<TimelapseStatus, RecordError> {
        self.recorder(camera)?;
        let mut timelapses = self.timelapses();
        if timelapses.get(camera).is_some_and(|timelapse| timelapse.status().running) {
            let words = format!("a timelapse of camera {camera} is being made already; stop that first");
            return Err(RecordError::InvalidState(words));
        }
        let shared = &self.0.shared;
        let with = With {
            index: shared.index.clone(),
            active: shared.active.clone(),
            cameras: shared.cameras.clone(),
            template: shared.settings.borrow().name.clone(),
        };
        let timelapse = Timelapse::begin(camera, options, with)?;
        let status = timelapse.status();
        timelapses.insert(camera.to_owned(), Arc::new(timelapse));
        Ok(status)
    }

    /// Ends the timelapse of a camera; answers when its file is closed.
    ///
    /// # Errors
    /// When none is being made.
    pub async fn stop_timelapse(&self, camera: &str) -> Result<TimelapseStatus, RecordError> {
        let timelapse = self.timelapses().get(camera).cloned();
        match timelapse.filter(|timelapse| timelapse.status().running) {
            Some(timelapse) => Ok(timelapse.end().await),
            None => Err(RecordError::InvalidState(format!("no timelapse of camera {camera} is being made"))),
        }
    }

    /// The timelapse of a camera that runs, or its last one since the service started.
    ///
    /// # Errors
    /// When there was none.
    pub fn timelapse(&self, camera: &str) -> Result<TimelapseStatus, RecordError> {
        let timelapse = self.timelapses().get(camera).map(|timelapse| timelapse.status());
        timelapse
            .ok_or_else(|| RecordError::NotFound { what: "timelapse of camera", name: camera.to_owned() })
    }

    /// How all are, in the order of the cameras' ids.
    pub fn statuses(&self) -> Vec<RecordingStatus> {
        self.recorders().values().map(|recorder| recorder.status()).collect()
    }

    /// One page of what is on disk, the newest first.
    ///
    /// # Errors
    /// When the index does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Page<RecordingInfo>, RecordError> {
        let index = &self.0.shared.index;
        let (which, limit, offset) = (filter.which(), filter.limit(), filter.offset);
        let (list, total) = index.database()?.media(Kind::Recording, &which, limit, offset).await?;
        let info = |media: crate::storage::media::Media| {
            let written = self.0.shared.active.get(&media.name);
            RecordingInfo::of(media, written)
        };
        Ok(Page { items: list.into_iter().map(info).collect(), total, limit, offset })
    }

    /// # Errors
    /// When there is no such recording, or the index does not answer.
    pub async fn info(&self, name: &str) -> Result<RecordingInfo, RecordError> {
        self.path(name)?;
        let media = self.0.shared.index.database()?.one_media(Kind::Recording, name).await?;
        let media = media.ok_or_else(|| not_found(name))?;
        let written = self.0.shared.active.get(&media.name);
        Ok(RecordingInfo::of(media, written))
    }

    /// Deletes a recording, kept or not, but not one that is being written.
    ///
    /// # Errors
    /// When there is no such recording, it is being written, or it cannot be deleted.
    pub async fn delete(&self, name: &str) -> Result<(), RecordError> {
        if self.info(name).await?.recording {
            let words = format!("{name} is being written; stop the recording first");
            return Err(RecordError::InvalidState(words));
        }
        self.0.shared.index.remove(Kind::Recording, name).await?;
        tracing::info!("recording {name} was deleted on request");
        Ok(())
    }

    /// Marks a recording to be left alone by retention, or no longer.
    ///
    /// # Errors
    /// When there is no such recording, or its file cannot be marked.
    pub async fn keep(&self, name: &str, kept: bool) -> Result<RecordingInfo, RecordError> {
        let path = self.path(name)?;
        let index = &self.0.shared.index;
        let media = index.database()?.one_media(Kind::Recording, name).await?;
        let mut media = media.ok_or_else(|| not_found(name))?;
        let marked = async {
            let mut permissions = tokio::fs::metadata(&path).await?.permissions();
            let mode = permissions.mode();
            permissions.set_mode(if kept { mode & !0o222 } else { mode | 0o200 });
            tokio::fs::set_permissions(&path, permissions).await
        };
        marked.await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_found(name),
            _ => RecordError::io(&format!("{name} cannot be marked"), &error),
        })?;
        media.kept = kept;
        index.database()?.put_media(Kind::Recording, std::slice::from_ref(&media)).await?;
        let written = self.0.shared.active.get(name);
        Ok(RecordingInfo::of(media, written))
    }

    /// What happens to recordings, from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.shared.changes.subscribe()
    }

    /// What is kept where, and what room there is.
    ///
    /// # Errors
    /// When disk or index do not answer.
    pub async fn storage_info(&self) -> Result<StorageInfo, RecordError> {
        self.0.shared.index.storage_info().await
    }

    /// What is deleted by itself.
    pub fn retention(&self) -> Retention {
        self.0.shared.index.retention()
    }

    /// Sets it for good, over the configuration.
    ///
    /// # Errors
    /// When a limit makes no sense, or it cannot be stored.
    pub async fn set_retention(&self, retention: Retention) -> Result<(), RecordError> {
        self.0.shared.index.set_retention(retention).await
    }

    /// Deletes what retention does not want, now.
    ///
    /// # Errors
    /// When retention is off, or disk or index do not do.
    pub async fn cleanup(&self) -> Result<Cleanup, RecordError> {
        self.0.shared.index.cleanup().await
    }

    /// Brings the index to what is on disk, now rather than within a minute.
    ///
    /// # Errors
    /// When disk or index do not answer.
    pub async fn rescan(&self) -> Result<(), RecordError> {
        self.0.shared.index.compare().await
    }

    /// Where the file of this name is, if there is one.
    ///
    /// # Errors
    /// When this can be no recording's name.
    pub fn path(&self, name: &str) -> Result<PathBuf, RecordError> {
        if !names::is_safe_with(name, names::RECORDING) {
            return Err(RecordError::InvalidName { name: name.to_owned() });
        }
        Ok(self.0.shared.index.recordings().join(name))
    }

    /// An HLS playlist of a recording, as seen from `{name}/index.m3u8`.
    ///
    /// # Errors
    /// When there is no such recording, it is no fragmented MP4, or it cannot be read.
    pub async fn playlist(&self, name: &str) -> Result<String, RecordError> {
        let path = self.path(name)?;
        let grows = self.is_written(name);
        let read = move || mp4::read(&mut std::fs::File::open(path)?);
        let read = tokio::task::spawn_blocking(read).await;
        let contents = read.map_err(|error| RecordError::Dependency(error.to_string()))?;
        let contents = contents.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_found(name),
            _ => RecordError::io(&format!("{name} cannot be read"), &error),
        })?;
        if contents.fragments.is_empty() {
            let words = format!("{name} is no fragmented MP4: there is no playlist of it, only the file");
            return Err(RecordError::InvalidState(words));
        }
        Ok(playlist::playlist(&contents, &format!("../{name}"), grows))
    }

    /// Whether the file of this name is being written.
    pub fn is_written(&self, name: &str) -> bool {
        self.0.shared.active.holds(name)
    }

    fn recorder(&self, camera: &str) -> Result<Arc<Recorder>, RecordError> {
        self.0.possible.clone()?;
        self.meet();
        self.recorders().get(camera).cloned().ok_or_else(|| RecordError::NoCamera(camera.to_owned()))
    }

    /// Makes a recorder for each camera that has none, and forgets those whose camera is gone and not to be
    /// recorded.
    fn meet(&self) {
        let list = Arc::clone(&self.0.shared.cameras.borrow());
        let mut recorders = self.recorders();
        for capture in list.iter() {
            let make = || Arc::new(Recorder::new(capture.id(), self.0.shared.clone()));
            recorders.entry(capture.id().to_owned()).or_insert_with(make);
        }
        // Whoever holds one is about to start it.
        let held = |recorder: &Arc<Recorder>| Arc::strong_count(recorder) > 1;
        recorders.retain(|id, recorder| {
            recorder.wanted() || held(recorder) || list.iter().any(|capture| capture.id() == id)
        });
    }

    fn recorders(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Recorder>>> {
        // Whole after every statement.
        self.0.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timelapses(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Timelapse>>> {
        self.0.timelapses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortOnDropHandle<()>>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(name: &str) -> RecordError {
    RecordError::NotFound { what: "recording", name: name.to_owned() }
}

/// A camera that is recorded by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    camera: String,
    /// At these times; none at all: always.
    spans: Vec<Span>,
}

impl Planned {
    fn holds(&self, now: &jiff::Zoned) -> bool {
        let day = usize::from(now.weekday().to_monday_zero_offset().unsigned_abs());
        let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
        self.spans.is_empty() || self.spans.iter().any(|span| span.holds(day, minute))
    }
}

fn planned(config: &Config) -> Vec<Planned> {
    let plan = |camera: &Camera| {
        let spans = match camera.record {
            RecordMode::OnDemand => return None,
            RecordMode::Continuous => Vec::new(),
            RecordMode::Scheduled => camera.schedule.iter().filter_map(|text| Span::parse(text)).collect(),
        };
        // A schedule without times is never.
        let never = camera.record == RecordMode::Scheduled && spans.is_empty();
        (!never).then(|| Planned { camera: camera.id.clone(), spans })
    };
    config.cameras.iter().filter_map(plan).collect()
}

/// Follows the cameras, the configuration and the clock: whoever is to be recorded by itself is.
async fn follow(inner: std::sync::Weak<Inner>) {
    let (mut cameras, mut planned) = {
        let Some(inner) = inner.upgrade() else { return };
        (inner.shared.cameras.clone(), inner.planned.subscribe())
    };
    // Those that were started from here: one that somebody stopped stays so until its next time.
    let mut begun: Vec<String> = Vec::new();
    let mut starting = JoinSet::new();
    loop {
        let list = Arc::clone(&cameras.borrow_and_update());
        let now = jiff::Zoned::now();
        let wanted: Vec<String> = planned
            .borrow_and_update()
            .iter()
            .filter(|planned| planned.holds(&now))
            .map(|planned| planned.camera.clone())
            .collect();
        let Some(recordings) = inner.upgrade().map(Recordings) else { return };
        recordings.meet();
        for id in wanted.iter().filter(|id| list.iter().any(|capture| capture.id() == **id)) {
            if begun.contains(id) {
                continue;
            }
            let Ok(recorder) = recordings.recorder(id) else { continue };
            // Somebody records it: looked at again.
            if recorder.wanted() {
                continue;
            }
            begun.push(id.clone());
            let id = id.clone();
            starting.spawn(async move { (id, recorder.start(StartOptions::default(), true).await.is_ok()) });
        }
        for id in begun.extract_if(.., |id| !wanted.contains(id)) {
            let Ok(recorder) = recordings.recorder(&id) else { continue };
            tokio::spawn(async move { recorder.stop_continuous().await });
        }
        drop(recordings);
        // A little after the minute has changed.
        let next_minute = Duration::from_millis(60_050 - u64::from(now.second().unsigned_abs()) * 1000);
        let next_minute = tokio::time::sleep(next_minute);
        tokio::pin!(next_minute);
        loop {
            tokio::select! {
                // Somebody was quicker: looked at again as well.
                Some(started) = starting.join_next() => {
                    if let Ok((id, false)) = started {
                        begun.retain(|begun| *begun != id);
                    }
                }
                Ok(()) = cameras.changed() => break,
                Ok(()) = planned.changed() => break,
                () = &mut next_minute => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::model::Source;

    use super::*;

    #[test]
    fn a_schedule_is_kept_in_the_machines_own_time() {
        let mut camera = Camera::new("front", Source::Test {});
        camera.record = RecordMode::Scheduled;
        camera.schedule = vec!["mon-fri 08:00-18:00".into()];
        let config = Config { cameras: vec![camera.clone()], ..Config::default() };
        let plan = planned(&config).remove(0);
        // Friday, 7 in the morning in London, 8 in Berlin.
        let at: jiff::Timestamp = "2026-11-27T07:00:00Z".parse().unwrap();
        assert!(!plan.holds(&at.to_zoned(jiff::tz::TimeZone::UTC)));
        let berlin = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
        assert!(plan.holds(&at.to_zoned(berlin)));
        camera.schedule.clear();
        assert_eq!(planned(&Config { cameras: vec![camera], ..Config::default() }), []);
    }
}
