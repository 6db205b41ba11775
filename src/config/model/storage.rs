//! What is kept on disk: where, recordings.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where what outlives a restart is kept: the database, recordings and snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Default: `$STATE_DIRECTORY` under systemd, else `/var/lib/fanlight` where that may be written, else
    /// `$XDG_STATE_HOME/fanlight`, else `~/.local/state/fanlight`.
    pub directory: Option<PathBuf>,
    /// The database's file. Default: `fanlight.db` in the directory.
    pub database: Option<PathBuf>,
}

/// Recordings on disk. MB and GB are powers of ten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// Name of a recording without its ending: `{camera}`, `{date}` and `{time}` (UTC) are filled in.
    pub name: String,
    /// A fragment is written at least this often: what a power cut may cost.
    pub fragment_seconds: f64,
    /// A file ends at the first keyframe after this long,
    pub segment_seconds: f64,
    /// or when it is this large.
    pub segment_mb: u32,
    /// A recording begins this long before it is started. Keeps the encoder busy all the time.
    pub pre_roll_seconds: f64,
    /// And holds at most this much for it in memory, per camera.
    pub pre_roll_mb: u32,
    /// Recording stops when less than this is free.
    pub reserve_mb: u32,
    /// Whether old recordings and snapshots are deleted.
    pub retention: bool,
    /// Those older than this; 0: however old.
    pub max_age_days: f64,
    /// The oldest when all together are larger than this; 0: however large.
    pub max_size_gb: f64,
    /// The oldest while less than this is free; 0: however full.
    pub min_free_gb: f64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            name: "{camera}_{date}_{time}".into(),
            fragment_seconds: 1.0,
            segment_seconds: 3600.0,
            segment_mb: 2000,
            pre_roll_seconds: 0.0,
            pre_roll_mb: 32,
            reserve_mb: 100,
            retention: false,
            max_age_days: 0.0,
            max_size_gb: 0.0,
            min_free_gb: 1.0,
        }
    }
}
