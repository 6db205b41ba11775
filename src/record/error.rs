//! Why a recording or snapshot could not be had. Its kinds are what HTTP and JSON-RPC tell apart.

use std::io;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    #[error("there is no camera {0:?}; /api/cameras lists them")]
    NoCamera(String),
    #[error("there is no {what} {name:?}")]
    NotFound { what: &'static str, name: String },
    /// Not in this moment: already recording, not recording, just being written.
    #[error("{0}")]
    InvalidState(String),
    #[error(
        "{name:?} cannot be a file's name here: write at most 120 letters, digits, -, _ and ., not beginning with ."
    )]
    InvalidName { name: String },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    DiskFull(String),
    /// The camera, the disk or the database does not do its part.
    #[error("{0}")]
    Dependency(String),
}

impl RecordError {
    /// Of a file operation; `doing` as in `the recording cannot be deleted`.
    pub fn io(doing: &str, error: &io::Error) -> Self {
        let message = format!("{doing}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(message),
            _ => Self::Dependency(message),
        }
    }
}

impl From<crate::storage::StorageError> for RecordError {
    fn from(error: crate::storage::StorageError) -> Self {
        Self::Dependency(error.to_string())
    }
}
