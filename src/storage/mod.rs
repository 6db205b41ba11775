//! The database: one SQLite file in the state directory, opened once and handed to whoever keeps
//! something. The only place that knows SQL; each area has a file here with the questions it asks.
//!
//! Migrations stand in `migrations/` and are part of the binary. The file is in WAL mode, so that readers
//! never wait for a writer. What can go wrong: a directory that cannot be written, a file that is not a
//! database, a disk that is full.

pub mod cameras;
pub mod external;
mod keys;
pub mod media;
mod printers;
mod transforms;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlitePool, migrate::MigrateError, migrate::Migrator};

pub use keys::ApiKey;
pub use printers::{KeptCode, KeptPrinter};
pub use transforms::left_behind;

/// The database's file in the state directory, where `storage.database` names no other.
pub const FILE: &str = "fanlight.db";

/// A writer waits this long for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite has one writer at a time; the others read.
const CONNECTIONS: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    #[error("{}: the directory cannot be made or written: {source}; see storage.directory and storage.database", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{}: the database cannot be opened: {source}; see storage.directory and storage.database", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("{}: the database cannot be brought to this version: {source}", path.display())]
    Migrate { path: PathBuf, source: MigrateError },
    #[error("the database: {0}")]
    Query(#[from] sqlx::Error),
}

/// Where state may be kept, the best place first: the one that is configured, else that of the service, else
/// one of the user's own. `environment` as in [`std::env::var`].
pub fn places(configured: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    if let Some(directory) = configured {
        return vec![directory.to_owned()];
    }
    let absolute = |text: String| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
    // systemd separates several directories by colons; the first one is meant.
    let given = environment("STATE_DIRECTORY").and_then(|text| absolute(text.split(':').next()?.to_owned()));
    if let Some(directory) = given {
        return vec![directory];
    }
    let own = environment("XDG_STATE_HOME")
        .and_then(absolute)
        .or_else(|| environment("HOME").and_then(absolute).map(|home| home.join(".local/state")));
    [Some("/var/lib/fanlight".into()), own.map(|own| own.join("fanlight"))].into_iter().flatten().collect()
}

/// The first of these places that this user may write; it is made when it is not there.
///
/// # Errors
/// With the first of them, when none can be written.
pub fn first_writable(places: &[PathBuf]) -> Result<PathBuf, StorageError> {
    let mut first = None;
    for place in places {
        let writable = std::fs::create_dir_all(place).and_then(|()| {
            use rustix::fs::{Access, access};
            Ok(access(place, Access::WRITE_OK | Access::EXEC_OK)?)
        });
        match writable {
            Ok(()) => return Ok(place.clone()),
            Err(source) => {
                first.get_or_insert(StorageError::Directory { path: place.clone(), source });
            }
        }
    }
    Err(first.unwrap_or_else(|| {
        let source = std::io::ErrorKind::NotFound.into();
        StorageError::Directory { path: PathBuf::new(), source }
    }))
}

/// The open database. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Database {
    pool: SqlitePool,
}

impl Database {
    /// Opens the database of this directory, makes it when there is none, and brings it up to date.
    ///
    /// # Errors
    /// With the path and the mend.
    pub async fn open(directory: &Path) -> Result<Self, StorageError> {
        Self::open_file(directory.join(FILE)).await
    }

    /// The same with its file wherever that is to be.
    ///
    /// # Errors
    /// With the path and the mend.
    pub async fn open_file(path: PathBuf) -> Result<Self, StorageError> {
        let directory = path.parent().unwrap_or(Path::new(""));
        if !directory.as_os_str().is_empty() {
            tokio::fs::create_dir_all(directory)
                .await
                .map_err(|source| StorageError::Directory { path: directory.to_owned(), source })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // Nobody asked for each statement in the log.
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
        let pool = pool.map_err(|source| StorageError::Open { path: path.clone(), source })?;
        // Addresses of cameras may have passwords in them.
        let private = std::fs::Permissions::from_mode(0o600);
        tokio::fs::set_permissions(&path, private)
            .await
            .map_err(|error| StorageError::Open { path: path.clone(), source: error.into() })?;
        MIGRATIONS.run(&pool).await.map_err(|source| StorageError::Migrate { path, source })?;
        Ok(Self { pool })
    }

    /// Closes it: everything is in the file afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A time as the tables keep it; one that cannot be read is long ago.
fn time(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>().map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_directory_gets_a_database_that_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("state/of/it");
        for _ in 0..2 {
            let database = Database::open(&inside).await.unwrap();
            let mode: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&database.pool).await.unwrap();
            assert_eq!(mode, "wal");
            database.close().await;
        }
        assert!(inside.join(FILE).exists());
    }

    #[test]
    fn state_is_kept_where_it_is_configured_else_where_the_service_manager_or_the_user_has_it() {
        let places = |configured: Option<&str>, set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, it)| it.to_string());
            let found = super::places(configured.map(Path::new), value);
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let user = [("HOME", "/home/u")];
        assert_eq!(places(Some("/srv/x"), &user), ["/srv/x"]);
        assert_eq!(places(None, &[("STATE_DIRECTORY", "/srv/state:/more")]), ["/srv/state"]);
        assert_eq!(places(None, &user), ["/var/lib/fanlight", "/home/u/.local/state/fanlight"]);
        assert_eq!(places(None, &[("XDG_STATE_HOME", "/s")])[1], "/s/fanlight");
        assert_eq!(places(None, &[("HOME", "relative")]), ["/var/lib/fanlight"]);
    }

    #[test]
    fn the_first_place_that_can_be_written_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (impossible, good) = (file.join("state"), directory.path().join("good/state"));
        assert_eq!(first_writable(&[impossible.clone(), good.clone()]).unwrap(), good);
        let error = first_writable(std::slice::from_ref(&impossible)).unwrap_err().to_string();
        assert!(error.contains(&impossible.display().to_string()) && error.contains("storage.directory"));
    }

    #[tokio::test]
    async fn what_is_no_database_is_refused_with_its_path_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let text = "this is not a database, and longer than the header of one ".repeat(40);
        std::fs::write(&path, &text).unwrap();
        let error = Database::open(directory.path()).await.unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
