//! The database: one SQLite file in the state directory, opened once and handed to whoever keeps
//! something. The only place that knows SQL; each area has a file here with the questions it asks.
//!
//! Migrations stand in `migrations/` and are part of the binary. The file is in WAL mode, so that readers
//! never wait for a writer. What can go wrong: a directory that cannot be written, a file that is not a
//! database, a disk that is full.

pub mod cameras;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlitePool, migrate::MigrateError, migrate::Migrator};

/// The database's file in the state directory.
pub const FILE: &str = "fanlight.db";

/// A writer waits this long for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite has one writer at a time; the others read.
const CONNECTIONS: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    #[error("{}: the directory cannot be made: {source}; see storage.directory", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{}: the database cannot be opened: {source}; see storage.directory", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("{}: the database cannot be brought to this version: {source}", path.display())]
    Migrate { path: PathBuf, source: MigrateError },
    #[error("the database: {0}")]
    Query(#[from] sqlx::Error),
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
        tokio::fs::create_dir_all(directory)
            .await
            .map_err(|source| StorageError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
        let pool = pool.map_err(|source| StorageError::Open { path: path.clone(), source })?;
        MIGRATIONS.run(&pool).await.map_err(|source| StorageError::Migrate { path, source })?;
        Ok(Self { pool })
    }

    /// The same; where that cannot be had, a database in memory: cameras go on, and what is set is forgotten at
    /// the next start, which is said.
    ///
    /// # Errors
    /// Not even memory.
    pub async fn open_or_forget(directory: &Path) -> Result<Self, StorageError> {
        let error = match Self::open(directory).await {
            Ok(database) => return Ok(database),
            Err(error) => error,
        };
        tracing::warn!("{error}; what is set by API is forgotten at the next start");
        // One connection that stays: each has a memory of its own.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(SqliteConnectOptions::new().in_memory(true)).await?;
        let path = PathBuf::from(":memory:");
        MIGRATIONS.run(&pool).await.map_err(|source| StorageError::Migrate { path, source })?;
        Ok(Self { pool })
    }

    /// Closes it: everything is in the file afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
    }
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

    #[tokio::test]
    async fn a_directory_that_cannot_be_had_costs_only_the_memory_of_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let database = Database::open_or_forget(&file.join("below")).await.unwrap();
        database.keep_controls("porch", &[("gain".into(), Some(3))]).await.unwrap();
        assert_eq!(database.controls().await.unwrap()["porch"]["gain"], 3);
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
