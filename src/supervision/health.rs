//! The health file: one JSON document, replaced atomically, for scripts and monitors that read files.
//!
//! Main makes one [`Writer`] with a function that gives the document. It writes on every change (many
//! at once become one) and at least every [`EVERY`]; files are touched on a blocking thread, one write
//! at a time. A directory that is missing or a disk that is full is warned about once and tried again
//! with the next write; the file that was there stays whole.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::config::model::FileMode;

/// The file is never older than this while the service runs.
const EVERY: Duration = Duration::from_secs(5);
/// Changes closer together than this become one write.
const COALESCE: Duration = Duration::from_millis(200);
/// How long the last write may take.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Why the file could not be replaced.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("cannot create the directory {}: {source}; create it or set health.file", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}; free space or check the permissions of its directory", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// `$RUNTIME_DIRECTORY/health.json` under systemd, else `$XDG_RUNTIME_DIR/fanlight/health.json`, else
/// `/run/fanlight/health.json`.
pub fn default_path(env: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let directory = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories by colons; the first one is meant.
    let first = |path: PathBuf| {
        let path = path.into_os_string().into_string().ok()?;
        path.split(':').next().map(PathBuf::from)
    };
    if let Some(runtime) = directory("RUNTIME_DIRECTORY").and_then(first) {
        return runtime.join("health.json");
    }
    let base = directory("XDG_RUNTIME_DIR").unwrap_or_else(|| "/run".into());
    base.join("fanlight").join("health.json")
}

/// Keeps the health file. Dropping it ends the writing without a last word; see [`Writer::stop`].
#[derive(Debug)]
pub struct Writer {
    changed: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Tells the writer of changes. Cloning clones a reference.
#[derive(Clone, Debug)]
pub struct Changed(Arc<Notify>);

impl Changed {
    /// The document is not what it was.
    pub fn notify(&self) {
        self.0.notify_one();
    }
}

impl Writer {
    /// Starts to keep `path`. `document` is called on the runtime and returns at once.
    pub fn spawn(
        path: PathBuf,
        mode: FileMode,
        document: impl Fn() -> serde_json::Value + Send + 'static,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep(path, mode, document, Arc::clone(&changed), stopped));
        Self { changed, stop, task: Some(task) }
    }

    pub fn changed(&self) -> Changed {
        Changed(Arc::clone(&self.changed))
    }

    /// Writes the document once more, so that the file tells how it ended, and is over. Bounded.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(mut task) = self.task.take()
            && timeout(STOP_WITHIN, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!("the health file could not be written within {STOP_WITHIN:?} at the end");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn keep(
    path: PathBuf,
    mode: FileMode,
    document: impl Fn() -> serde_json::Value + Send + 'static,
    changed: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let mut lost = false;
    loop {
        let ending = *stop.borrow();
        let begun = Instant::now();
        let result = write(&path, mode, &document()).await;
        match result {
            Ok(()) if lost => tracing::info!("the health file {} is written again", path.display()),
            Err(ref error) if !lost => tracing::warn!("health file: {error}"),
            _ => {}
        }
        lost = result.is_err();
        if ending {
            return;
        }
        let stopped = async {
            // An error means that the writer is gone, and this task with it.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stopped);
        tokio::select! {
            () = &mut stopped => continue,
            // On a change, or when it is time.
            _ = timeout_at(begun + EVERY, changed.notified()) => {}
        }
        // A change right after a write waits, so that those that follow it come along.
        tokio::select! {
            () = stopped => {}
            () = sleep_until(begun + COALESCE) => {}
        }
    }
}

async fn write(path: &Path, mode: FileMode, document: &serde_json::Value) -> Result<(), HealthError> {
    let failed = |source| HealthError::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(document).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    let target = path.to_owned();
    let written = tokio::task::spawn_blocking(move || replace(&target, mode.0, |file| file.write_all(&text)));
    written.await.unwrap_or_else(|error| Err(failed(io::Error::other(error))))
}

/// Writes beside the file and renames over it: a reader sees the old document or the new one, never
/// half of one.
fn replace(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> Result<(), HealthError> {
    let failed = |source| HealthError::Write { path: path.to_owned(), source };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file")));
    };
    if !directory.as_os_str().is_empty() && !directory.exists() {
        // One level only: a whole missing tree is more likely a typing error or a missing mount.
        fs::create_dir(directory)
            .map_err(|source| HealthError::Directory { path: directory.to_owned(), source })?;
    }
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = directory.join(beside);
    // What a killed process of the same number left; `create_new` follows no link in its place.
    let _ = fs::remove_file(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        // The umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(mode))?;
        fill(&mut file)?;
        drop(file);
        fs::rename(&beside, path)
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        failed(source)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const MODE: FileMode = FileMode(0o640);

    fn read(path: &Path) -> Option<serde_json::Value> {
        Some(serde_json::from_slice(&fs::read(path).ok()?).expect("whole JSON"))
    }

    async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(std::time::Instant::now() < deadline, "{what} did not happen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A document that counts how often it was asked for.
    fn counted() -> (Arc<AtomicU64>, impl Fn() -> serde_json::Value + Send + 'static) {
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        (asked, move || serde_json::json!({ "written": count.fetch_add(1, Ordering::SeqCst) + 1 }))
    }

    #[test]
    fn the_file_goes_where_the_system_wants_it() {
        let path = |vars: &[(&str, &str)]| {
            default_path(|name| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        let runtime = ("RUNTIME_DIRECTORY", "/run/fanlight:/run/other");
        let xdg = ("XDG_RUNTIME_DIR", "/run/user/1000");
        for (vars, expected) in [
            (vec![runtime, xdg], "/run/fanlight/health.json"),
            (vec![xdg], "/run/user/1000/fanlight/health.json"),
            (vec![("XDG_RUNTIME_DIR", "")], "/run/fanlight/health.json"),
            (vec![("RUNTIME_DIRECTORY", "relative"), xdg], "/run/user/1000/fanlight/health.json"),
            (vec![], "/run/fanlight/health.json"),
        ] {
            assert_eq!(path(&vars), PathBuf::from(expected), "{vars:?}");
        }
    }

    #[test]
    fn the_file_has_the_mode_that_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.json");
        for mode in [0o600, 0o644, 0o640] {
            replace(&path, mode, |file| file.write_all(b"{}")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.json");
        replace(&path, 0o644, |file| file.write_all(b"{\"old\":true}")).unwrap();
        let error = replace(&path, 0o644, |file| {
            file.write_all(b"{\"ne")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(error.unwrap_err().to_string().contains("free space"));
        assert_eq!(fs::read(&path).unwrap(), b"{\"old\":true}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the half-written one is gone");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = dir.path().join("health.json");
        let beside = dir.path().join(format!(".health.json.{}.tmp", std::process::id()));
        std::os::unix::fs::symlink(&victim, &beside).unwrap();
        replace(&path, 0o600, |file| file.write_all(b"{}")).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }

    #[test]
    fn one_missing_directory_is_made_and_a_missing_tree_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &Path| replace(path, 0o644, |file| file.write_all(b"{}"));
        write(&dir.path().join("fanlight/health.json")).unwrap();
        let error = write(&dir.path().join("no/such/health.json")).unwrap_err().to_string();
        assert!(error.contains("no/such") && error.contains("health.file"), "{error}");
    }

    #[tokio::test]
    async fn a_change_is_written_soon_and_a_burst_is_one_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.json");
        let (asked, document) = counted();
        let begun = std::time::Instant::now();
        let writer = Writer::spawn(path.clone(), MODE, document);
        until("the first write", || read(&path).is_some()).await;
        let changed = writer.changed();
        for _ in 0..100 {
            changed.notify();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        until("the last change", || asked.load(Ordering::SeqCst) > 2).await;
        let most = begun.elapsed().as_millis() as u64 / 200 + 2;
        let writes = asked.load(Ordering::SeqCst);
        assert!(writes <= most, "{writes} writes");
        writer.stop().await;
        assert_eq!(read(&path).unwrap()["written"], asked.load(Ordering::SeqCst), "the last word is in it");
    }

    #[tokio::test]
    async fn readers_never_see_half_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.json");
        replace(&path, 0o644, |file| file.write_all(b"{}")).unwrap();
        let target = path.clone();
        let writing = std::thread::spawn(move || {
            for n in 0..500_usize {
                let text = serde_json::json!({ "fill": "x".repeat(n * 50) }).to_string();
                replace(&target, 0o644, |file| file.write_all(text.as_bytes())).unwrap();
            }
        });
        while !writing.is_finished() {
            assert!(read(&path).is_some());
        }
        writing.join().unwrap();
    }

    #[tokio::test]
    async fn it_recovers_when_the_directory_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("mount");
        let path = mount.join("fanlight/health.json");
        let (asked, document) = counted();
        let writer = Writer::spawn(path.clone(), MODE, document);
        until("the first try", || asked.load(Ordering::SeqCst) > 0).await;
        fs::create_dir(&mount).unwrap();
        writer.changed().notify();
        until("the file", || read(&path).is_some()).await;
        writer.stop().await;
    }

    #[tokio::test]
    async fn without_changes_it_is_written_every_five_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.json");
        let (_, document) = counted();
        let writer = Writer::spawn(path.clone(), MODE, document);
        until("the first write", || read(&path).is_some()).await;
        let since = std::time::Instant::now();
        until("the second write", || read(&path).unwrap()["written"] == 2).await;
        let took = since.elapsed();
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(6), "{took:?}");
        drop(writer);
    }
}
