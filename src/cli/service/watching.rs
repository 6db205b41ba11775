//! What the service hears of while it runs: signals to stop, and a configuration file that changed.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use super::Reload;

/// How often the configuration file is looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// A signal to stop; its name.
    pub(super) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Looks at the configuration file for a change. A file that is missing for a moment, as editors do, is
/// no change.
pub(super) struct FileWatch {
    path: Option<PathBuf>,
    seen: Option<(SystemTime, u64)>,
}

impl FileWatch {
    pub(super) fn new(reload: Option<&Reload>) -> Self {
        let path = reload.and_then(|reload| reload.read.clone());
        let seen = path.as_ref().and_then(|path| stamp(&std::fs::metadata(path).ok()?));
        Self { path, seen }
    }

    /// Resolves when the file is another one than last seen.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.look().await {
                return;
            }
        }
    }

    /// Takes in how the file is now; whether that is another one than before.
    pub(super) async fn look(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        let found = tokio::fs::metadata(path).await.ok().and_then(|metadata| stamp(&metadata));
        let changed = found.is_some() && found != self.seen;
        if changed {
            self.seen = found;
        }
        changed
    }
}

pub(super) fn stamp(metadata: &std::fs::Metadata) -> Option<(SystemTime, u64)> {
    Some((metadata.modified().ok()?, metadata.len()))
}
