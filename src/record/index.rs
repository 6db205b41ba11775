//! The index of what is on disk, kept in step with the files, and the deletion of what is too old.
//!
//! The files are the truth: every so often the directories are compared with the index, so that a lost
//! database, a file that was added or removed by hand and one that a power cut left unfinished are all mended
//! the same way. Retention runs after that.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, Notify, watch};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::disk::{self, Active, Stamp, Written};
use super::error::RecordError;
use super::retention::{Retention, Sweep, Verdict};
use super::status::{Cleanup, Share, StorageInfo, millis, time};
use super::{exif, mp4, names};
use crate::config::model::Record;
use crate::storage::media::{Kind, Media, Seen};
use crate::storage::{Database, StorageError};

/// How often files and index are compared, and retention runs.
const EVERY: Duration = Duration::from_secs(60);
/// When a disk was full, retention comes at most this often.
const SOON: Duration = Duration::from_secs(2);
/// A file that was changed within this time may still be written by somebody else: it is not mended yet.
const SETTLED: Duration = Duration::from_secs(5);
/// Rows that retention asks for at once.
const PAGE: u32 = 256;
/// How long a disk is waited for, or a row.
const DISK: Duration = Duration::from_secs(4);
/// Under which the retention that was set by API is kept.
const SETTING: &str = "retention";

/// Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Index(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    recordings: PathBuf,
    snapshots: PathBuf,
    /// Why there is none, in words.
    database: Result<Database, String>,
    active: Active,
    settings: watch::Receiver<Arc<Record>>,
    /// What was set by API; goes before the configuration.
    retention: RwLock<Option<Retention>>,
    /// Held while files and index are compared: one at a time.
    tidying: Mutex<()>,
    full: Notify,
}

impl Index {
    pub fn new(
        directory: &Path,
        database: Result<Database, String>,
        active: Active,
        settings: watch::Receiver<Arc<Record>>,
    ) -> Self {
        Self(Arc::new(Inner {
            recordings: directory.join("recordings"),
            snapshots: directory.join("snapshots"),
            database,
            active,
            settings,
            retention: RwLock::default(),
            tidying: Mutex::default(),
            full: Notify::new(),
        }))
    }

    pub fn recordings(&self) -> &Path {
        &self.0.recordings
    }

    pub fn snapshots(&self) -> &Path {
        &self.0.snapshots
    }

    pub fn directory(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Recording => &self.0.recordings,
            Kind::Snapshot => &self.0.snapshots,
        }
    }

    pub fn database(&self) -> Result<&Database, RecordError> {
        self.0.database.as_ref().map_err(|why| RecordError::Dependency(why.clone()))
    }

    pub fn reserve(&self) -> u64 {
        u64::from(self.0.settings.borrow().reserve_mb) * 1_000_000
    }

    /// Takes in what was set by API before a restart.
    pub async fn load(&self) {
        let Ok(database) = self.database() else { return };
        match database.setting(SETTING).await {
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(retention) => self.set(Some(retention)),
                Err(error) => {
                    tracing::warn!("the stored retention is not readable, the configured one holds: {error}");
                }
            },
            Ok(None) => {}
            Err(error) => tracing::warn!("the stored retention cannot be read: {error}"),
        }
    }

    /// Keeps index and files in step, and the disk from filling, until it is dropped.
    pub async fn keep(self) {
        let mut failing = false;
        loop {
            match self.tidy().await {
                Ok(_) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!("recordings and their index cannot be compared: {error}");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.0.full.notified() => tokio::time::sleep(SOON).await,
            }
        }
    }

    /// A disk is full: retention should not wait for its time.
    pub fn clean_soon(&self) {
        self.0.full.notify_one();
    }

    /// Brings the index to the files, then deletes what retention does not want.
    async fn tidy(&self) -> Result<Cleanup, RecordError> {
        self.compare().await?;
        match self.retention() {
            retention if retention.enabled => self.clean(&retention).await,
            _ => Ok(Cleanup::default()),
        }
    }

    /// Brings the index to what is on disk.
    ///
    /// # Errors
    /// When directory or database cannot be read.
    pub async fn compare(&self) -> Result<(), RecordError> {
        let database = self.database()?;
        let _one_at_a_time = self.0.tidying.lock().await;
        for kind in Kind::ALL {
            let known = database.seen_media(kind).await?;
            let (directory, active) = (self.directory(kind).to_owned(), self.0.active.clone());
            let looked =
                tokio::task::spawn_blocking(move || differences(kind, &directory, known, &active)).await;
            let directory = self.directory(kind).display();
            let found = looked
                .map_err(|error| RecordError::Dependency(error.to_string()))?
                .map_err(|error| RecordError::io(&format!("{directory} cannot be read"), &error))?;
            if !found.new.is_empty() || !found.gone.is_empty() {
                tracing::debug!(
                    "{directory}: {} files are new or changed, {} are gone",
                    found.new.len(),
                    found.gone.len()
                );
                database.put_media(kind, &found.new).await?;
                database.forget_media(kind, &found.gone).await?;
            }
        }
        Ok(())
    }

    pub fn retention(&self) -> Retention {
        let set = self.0.retention.read().unwrap_or_else(PoisonError::into_inner).clone();
        set.unwrap_or_else(|| Retention::from(&**self.0.settings.borrow()))
    }

    fn set(&self, retention: Option<Retention>) {
        *self.0.retention.write().unwrap_or_else(PoisonError::into_inner) = retention;
    }

    /// Sets it for good, over the configuration.
    ///
    /// # Errors
    /// When a limit makes no sense, or it cannot be stored.
    pub async fn set_retention(&self, retention: Retention) -> Result<(), RecordError> {
        retention.check()?;
        let text = serde_json::to_string(&retention).unwrap_or_default();
        self.database()?.set_setting(SETTING, &text).await?;
        tracing::info!("retention is now {text}");
        self.set(Some(retention));
        Ok(())
    }

    /// Deletes what retention does not want, now.
    ///
    /// # Errors
    /// When retention is off, or directory or database do not do.
    pub async fn cleanup(&self) -> Result<Cleanup, RecordError> {
        if !self.retention().enabled {
            let words = "retention is off, so nothing is deleted; enable it first, with a limit";
            return Err(RecordError::InvalidState(words.into()));
        }
        self.tidy().await
    }

    async fn clean(&self, retention: &Retention) -> Result<Cleanup, RecordError> {
        let database = self.database()?;
        let _one_at_a_time = self.0.tidying.lock().await;
        let mut total = 0;
        for kind in Kind::ALL {
            total += database.media_size(kind).await?.1;
        }
        let (_, free) = self.space().await?;
        let mut sweep = Sweep::new(retention, SystemTime::now(), total, free);
        let mut cleanup = Cleanup::default();
        let mut page = database.removable_media(None, PAGE).await?;
        'pages: while let Some(last) = page.last().cloned() {
            for media in page {
                let (began, ended) = (media.started, media.started.saturating_add(media.duration));
                match sweep.verdict(time(began), time(ended)) {
                    Verdict::Enough => break 'pages,
                    Verdict::Stays => continue,
                    Verdict::Goes if self.is_untouchable(media.kind, &media.name).await => continue,
                    Verdict::Goes => {}
                }
                let bytes = media.bytes.max(0).unsigned_abs();
                // One that cannot be deleted is no reason to delete others in its place.
                sweep.gone(bytes);
                if let Err(error) = self.remove(media.kind, &media.name).await {
                    tracing::warn!("retention: {error}");
                    continue;
                }
                cleanup.freed_bytes += bytes;
                match media.kind {
                    Kind::Recording => cleanup.recordings.push(media.name),
                    Kind::Snapshot => cleanup.snapshots.push(media.name),
                }
            }
            page = database.removable_media(Some(&last), PAGE).await?;
        }
        if cleanup != Cleanup::default() {
            tracing::info!(
                "retention deleted {} recordings and {} snapshots, {} bytes",
                cleanup.recordings.len(),
                cleanup.snapshots.len(),
                cleanup.freed_bytes
            );
        }
        Ok(cleanup)
    }

    /// Whether a file is being written or kept at this moment.
    async fn is_untouchable(&self, kind: Kind, name: &str) -> bool {
        let metadata = tokio::fs::metadata(self.directory(kind).join(name)).await;
        self.0.active.holds(name) || metadata.is_ok_and(|metadata| disk::is_kept(&metadata))
    }

    /// Deletes a file and its row. The name is safe.
    pub async fn remove(&self, kind: Kind, name: &str) -> Result<(), RecordError> {
        let path = self.directory(kind).join(name);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecordError::io(&format!("{name} cannot be deleted"), &error));
            }
            _ => {}
        }
        Ok(self.database()?.forget_media(kind, &[name.to_owned()]).await?)
    }

    /// Size of the file system, and what of it is free.
    pub async fn space(&self) -> Result<(u64, u64), RecordError> {
        let directory = self.0.recordings.clone();
        let shown = directory.display().to_string();
        let look = tokio::task::spawn_blocking(move || disk::space(&directory));
        timeout(DISK, look)
            .await
            .map_err(|_| RecordError::Dependency(format!("{shown}: the disk does not answer")))?
            .map_err(|error| RecordError::Dependency(error.to_string()))?
            .map_err(|error| RecordError::io(&format!("{shown} cannot be looked at"), &error))
    }

    pub async fn storage_info(&self) -> Result<StorageInfo, RecordError> {
        let (total, available) = self.space().await?;
        let database = self.database()?;
        let (recordings, recording_bytes) = database.media_size(Kind::Recording).await?;
        let (snapshots, snapshot_bytes) = database.media_size(Kind::Snapshot).await?;
        let used = total.saturating_sub(available);
        Ok(StorageInfo {
            directory: self.0.recordings.parent().unwrap_or(&self.0.recordings).display().to_string(),
            total_bytes: total,
            used_bytes: used,
            available_bytes: available,
            used_percent: if total > 0 { used as f64 * 100.0 / total as f64 } else { 0.0 },
            recordings: Share { count: recordings, bytes: recording_bytes },
            snapshots: Share { count: snapshots, bytes: snapshot_bytes },
            low_space: available < self.reserve(),
        })
    }

    /// Takes a file that was begun into the index.
    pub async fn opened(&self, written: &Written) {
        self.put(Kind::Recording, row(written, None)).await;
    }

    /// Takes a file that is whole into the index; one that stayed empty was removed.
    pub async fn closed(&self, written: &Written, stamp: Option<Stamp>) {
        if written.duration.is_zero() {
            let Ok(database) = self.database() else { return };
            let name = std::slice::from_ref(&written.name);
            let forget = database.forget_media(Kind::Recording, name);
            if let Some(why) = not_done(timeout(DISK, forget).await) {
                tracing::warn!("{} is still in the index: {why}", written.name);
            }
            return;
        }
        self.put(Kind::Recording, row(written, stamp)).await;
    }

    /// A row that cannot be written, or not soon, is made from the file later.
    pub async fn put(&self, kind: Kind, media: Media) {
        let Ok(database) = self.database() else { return };
        let put = database.put_media(kind, std::slice::from_ref(&media));
        if let Some(why) = not_done(timeout(DISK, put).await) {
            tracing::warn!("{} is not in the index yet: {why}", media.name);
        }
    }
}

fn not_done(done: Result<Result<(), StorageError>, Elapsed>) -> Option<String> {
    match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the database does not answer".to_owned()),
    }
}

fn row(written: &Written, stamp: Option<Stamp>) -> Media {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Media {
        name: written.name.clone(),
        camera: written.camera.clone(),
        started: millis(written.began),
        duration: i64::try_from(written.duration.as_millis()).unwrap_or(i64::MAX),
        bytes: number(written.bytes),
        width: i64::from(written.width),
        height: i64::from(written.height),
        kept: stamp.is_some_and(|stamp| stamp.kept),
        // No file has this: should it not be closed, it is read.
        modified: stamp.map_or(-1, |stamp| millis(stamp.modified)),
    }
}

#[derive(Debug, Default)]
struct Found {
    /// New or changed.
    new: Vec<Media>,
    gone: Vec<String>,
}

/// Compares a directory with what is known of it. On a blocking thread.
fn differences(
    kind: Kind,
    directory: &Path,
    mut known: HashMap<String, Seen>,
    active: &Active,
) -> io::Result<Found> {
    let mut found = Found::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Nothing was recorded yet, or all was removed by hand.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            found.gone = known.into_keys().collect();
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let ending = match kind {
        Kind::Recording => names::RECORDING,
        Kind::Snapshot => names::SNAPSHOT,
    };
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().filter(|name| names::is_safe_with(name, ending)) else {
            continue;
        };
        let before = known.remove(name);
        // What is being written is known to its writer. A link could lead anywhere.
        if active.holds(name) || !entry.file_type()?.is_file() {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let modified = metadata.modified().map(millis).unwrap_or_default();
        let same = |before: &Seen| {
            before.bytes.unsigned_abs() == metadata.len()
                && before.modified == modified
                && before.kept == disk::is_kept(&metadata)
        };
        if before.as_ref().is_some_and(same) {
            continue;
        }
        let read = match kind {
            Kind::Recording => recording(&entry.path(), name, &metadata),
            Kind::Snapshot => snapshot(&entry.path(), name, &metadata),
        };
        match read {
            Ok(Some(media)) => found.new.push(media),
            Ok(None) if before.is_some() => found.gone.push(name.to_owned()),
            Ok(None) => {}
            Err(error) => tracing::debug!("{name} cannot be read: {error}"),
        }
    }
    found.gone.extend(known.into_keys().filter(|name| !active.holds(name)));
    Ok(found)
}

/// Reads a recording, and mends it if a power cut left it unfinished; `None` when nothing is in it.
fn recording(path: &Path, name: &str, metadata: &fs::Metadata) -> io::Result<Option<Media>> {
    let mut file = File::open(path)?;
    let contents = mp4::read(&mut file)?;
    let modified = metadata.modified()?;
    let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
    let mut stamp = Some(Stamp { modified, kept: disk::is_kept(metadata) });
    let mut bytes = metadata.len();
    // What makes no sense for another reason is left as it is.
    let empty = contents.fragments.is_empty() && !contents.odd;
    let unfinished = contents.whole < bytes || empty;
    if contents.origin.is_some() && unfinished && !disk::is_kept(metadata) {
        if !settled {
            // Looked at again.
            stamp = None;
        } else if empty {
            tracing::info!("{name} holds no picture: it is removed");
            fs::remove_file(path)?;
        } else {
            tracing::info!(
                "{name} was cut off while it was written: its last {} bytes go",
                bytes - contents.whole
            );
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(contents.whole)?;
            bytes = contents.whole;
            stamp = Some(Stamp { modified: file.metadata()?.modified()?, kept: false });
        }
        if empty {
            return Ok(None);
        }
    }
    let (camera, began) = match contents.origin {
        Some(origin) => (origin.camera, origin.began),
        None => (String::new(), modified.checked_sub(contents.duration).unwrap_or(modified)),
    };
    Ok(Some(row(
        &Written {
            name: name.to_owned(),
            camera,
            began,
            duration: contents.duration,
            bytes,
            width: contents.width,
            height: contents.height,
        },
        stamp,
    )))
}

fn snapshot(path: &Path, name: &str, metadata: &fs::Metadata) -> io::Result<Option<Media>> {
    use std::io::Read as _;
    let mut head = Vec::new();
    File::open(path)?.take(256 * 1024).read_to_end(&mut head)?;
    let modified = metadata.modified()?;
    let facts = exif::read(&head);
    let (width, height) = facts.size.unwrap_or_default();
    Ok(Some(row(
        &Written {
            name: name.to_owned(),
            camera: facts.camera.unwrap_or_default(),
            began: facts.taken.unwrap_or(modified),
            duration: Duration::ZERO,
            bytes: metadata.len(),
            width: u32::from(width),
            height: u32::from(height),
        },
        Some(Stamp { modified, kept: disk::is_kept(metadata) }),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mux::fmp4::boxed;

    #[test]
    fn only_what_a_power_cut_left_is_mended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("front.mp4");
        let begun = mp4::origin_box(&mp4::Origin { camera: "front".into(), began: SystemTime::UNIX_EPOCH });
        let look = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
            let found = recording(&path, "front.mp4", &file.metadata().unwrap()).unwrap();
            (found.is_some(), fs::metadata(&path).ok().map(|metadata| metadata.len()))
        };
        let mut odd = begun.clone();
        boxed(&mut odd, b"moof", |b| b.extend_from_slice(b"no sense"));
        assert_eq!(look(&odd), (false, None), "its pictures are missing, and there are no others");
        boxed(&mut odd, b"mdat", |b| b.extend_from_slice(b"pictures"));
        let whole = odd.len() as u64;
        assert_eq!(look(&odd), (true, Some(whole)), "somebody may still read it");
        boxed(&mut odd, b"moof", |b| b.extend_from_slice(b"cut off"));
        assert_eq!(look(&odd), (true, Some(whole)));
        assert_eq!(look(&begun), (false, None));
    }

    #[tokio::test]
    async fn what_is_written_or_kept_is_seen_as_such_at_the_last_moment() {
        let directory = tempfile::tempdir().unwrap();
        let settings = watch::Sender::new(Arc::new(Record::default()));
        let no_database = Err("none".to_owned());
        let index = Index::new(directory.path(), no_database, Active::default(), settings.subscribe());
        let path = index.recordings().join("front.mp4");
        fs::create_dir_all(index.recordings()).unwrap();
        fs::write(&path, "").unwrap();
        assert!(!index.is_untouchable(Kind::Recording, "front.mp4").await);
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(index.is_untouchable(Kind::Recording, "front.mp4").await);
    }
}
