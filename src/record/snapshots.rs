//! Snapshots on disk: the newest JPEG of a camera, stored with the time it was taken.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::error::RecordError;
use super::index::Index;
use super::status::{Page, SnapshotInfo, millis};
use super::{Filter, disk, exif, names};
use crate::capture::Capture;
use crate::frames::AccessUnit;
use crate::storage::media::{Kind, Media};

/// How long a picture is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A picture younger than this is taken as it is.
const NOW: Duration = Duration::from_secs(1);
/// How long the disk may take.
const DISK: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 1000;

/// Cloning it clones references.
#[derive(Clone, Debug)]
pub struct Snapshots {
    index: Index,
    cameras: watch::Receiver<Arc<[Capture]>>,
}

impl Snapshots {
    pub(super) fn new(index: Index, cameras: watch::Receiver<Arc<[Capture]>>) -> Self {
        Self { index, cameras }
    }

    /// Takes a picture now and stores it, under this name or one by camera and time.
    ///
    /// # Errors
    /// When there is no such camera or no picture of it, the name is no good or taken, or the disk is full.
    pub async fn take(&self, camera: &str, filename: Option<&str>) -> Result<SnapshotInfo, RecordError> {
        self.index.database()?;
        let filename = filename.map(named).transpose()?;
        let list = Arc::clone(&self.cameras.borrow());
        let capture = list.iter().find(|capture| capture.id() == camera).cloned();
        let capture = capture.ok_or_else(|| RecordError::NoCamera(camera.to_owned()))?;
        let unit = picture(&capture).await?;
        let jpeg = exif::stamp(&unit.data, camera, unit.captured_at);
        let (width, height) = exif::read(&jpeg).size.unwrap_or_default();
        let stem = names::fill("{camera}_{date}_{time}", camera, unit.captured_at);
        let (directory, reserve) = (self.index.snapshots().to_owned(), self.index.reserve());
        let bytes = jpeg.len();
        let shown = directory.display().to_string();
        let storing = tokio::task::spawn_blocking(move || store(directory, reserve, filename, &stem, &jpeg));
        // What is stored later all the same gets into the index by itself.
        let stored = tokio::time::timeout(DISK, storing).await.map_err(|_| {
            RecordError::Dependency(format!("{shown}: the disk takes longer than {DISK:?} for a snapshot"))
        })?;
        let (name, modified) = stored.map_err(|error| RecordError::Dependency(error.to_string()))??;
        let media = Media {
            name,
            camera: camera.to_owned(),
            started: millis(unit.captured_at),
            duration: 0,
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            width: i64::from(width),
            height: i64::from(height),
            kept: false,
            modified,
        };
        self.index.put(Kind::Snapshot, media.clone()).await;
        Ok(media.into())
    }

    /// # Errors
    /// When the index does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Page<SnapshotInfo>, RecordError> {
        let (which, limit, offset) = (filter.which(), filter.limit(), filter.offset);
        let (list, total) = self.index.database()?.media(Kind::Snapshot, &which, limit, offset).await?;
        Ok(Page { items: list.into_iter().map(Into::into).collect(), total, limit, offset })
    }

    /// # Errors
    /// When there is no such snapshot, or the index does not answer.
    pub async fn info(&self, name: &str) -> Result<SnapshotInfo, RecordError> {
        self.path(name)?;
        let media = self.index.database()?.one_media(Kind::Snapshot, name).await?;
        media.map(Into::into).ok_or_else(|| not_found(name))
    }

    /// # Errors
    /// When there is no such snapshot, or it cannot be deleted.
    pub async fn delete(&self, name: &str) -> Result<(), RecordError> {
        self.info(name).await?;
        self.index.remove(Kind::Snapshot, name).await?;
        tracing::info!("snapshot {name} was deleted on request");
        Ok(())
    }

    /// Where the file of this name is, if there is one.
    ///
    /// # Errors
    /// When this can be no snapshot's name.
    pub fn path(&self, name: &str) -> Result<PathBuf, RecordError> {
        if !names::is_safe_with(name, names::SNAPSHOT) {
            return Err(RecordError::InvalidName { name: name.to_owned() });
        }
        Ok(self.index.snapshots().join(name))
    }
}

fn not_found(name: &str) -> RecordError {
    RecordError::NotFound { what: "snapshot", name: name.to_owned() }
}

/// The name that somebody wants, with its ending.
fn named(name: &str) -> Result<String, RecordError> {
    let stem = [".jpg", ".jpeg"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let whole = format!("{stem}.{}", names::SNAPSHOT);
    if !names::is_safe_with(&whole, names::SNAPSHOT) {
        return Err(RecordError::InvalidName { name: name.to_owned() });
    }
    Ok(whole)
}

/// A picture of now.
async fn picture(capture: &Capture) -> Result<AccessUnit, RecordError> {
    let outlet = Arc::clone(capture.jpeg());
    let _permit = outlet.demand();
    let asked = Instant::now();
    let mut latest = outlet.latest();
    let fresh = latest.wait_for(|unit| {
        unit.as_ref().is_some_and(|unit| asked.saturating_duration_since(unit.captured) < NOW)
    });
    match tokio::time::timeout(PATIENCE, fresh).await {
        Ok(Ok(unit)) => unit.clone().ok_or_else(|| no_picture(capture)),
        Ok(Err(_)) | Err(_) => Err(no_picture(capture)),
    }
}

fn no_picture(capture: &Capture) -> RecordError {
    let error = capture.status().lifecycle.last_error;
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    RecordError::Dependency(format!("camera {} gives no picture within {PATIENCE:?}{why}", capture.id()))
}

/// Stores a picture under a name that is free, picture and name on the medium; the name, and when it was
/// written.
fn store(
    directory: PathBuf,
    reserve: u64,
    filename: Option<String>,
    stem: &str,
    jpeg: &Bytes,
) -> Result<(String, i64), RecordError> {
    let failed = |error: io::Error| RecordError::io("the snapshot cannot be stored", &error);
    if !disk::has_room(&directory, reserve.saturating_add(jpeg.len() as u64)).map_err(failed)? {
        let words =
            format!("{}: less than the reserve of {} MB is free", directory.display(), reserve / 1_000_000);
        return Err(RecordError::DiskFull(words));
    }
    std::fs::create_dir_all(&directory).map_err(failed)?;
    for attempt in 0..ATTEMPTS {
        let name = filename.clone().unwrap_or_else(|| names::numbered(stem, attempt, names::SNAPSHOT));
        let path = directory.join(&name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = match options.write(true).create_new(true).mode(0o640).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match filename {
                Some(name) => {
                    return Err(RecordError::InvalidState(format!("there is a snapshot {name:?} already")));
                }
                None => continue,
            },
            Err(error) => return Err(failed(error)),
        };
        let written = file.write_all(jpeg).and_then(|()| {
            file.sync_all()?;
            // So that the name survives as well.
            File::open(&directory)?.sync_all()?;
            file.metadata()?.modified()
        });
        return match written {
            Ok(modified) => Ok((name, millis(modified))),
            Err(error) => {
                let _ = std::fs::remove_file(path);
                Err(failed(error))
            }
        };
    }
    Err(RecordError::InvalidState(format!("there are {ATTEMPTS} snapshots of this second already")))
}
