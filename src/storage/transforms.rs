//! What was set by API about cameras' pictures, as JSON by camera. For `cameras`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Database, StorageError};

impl Database {
    /// All of it, by camera.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transforms(&self) -> Result<BTreeMap<String, String>, StorageError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT camera, value FROM transforms").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// Keeps it for one camera; `None` forgets it. It is on the disk when this returns: a mask that was
    /// answered for is there after a power cut.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_transforms(&self, camera: &str, value: Option<&str>) -> Result<(), StorageError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("PRAGMA synchronous = FULL").execute(&mut *connection).await?;
        let query = match value {
            Some(value) => sqlx::query("INSERT OR REPLACE INTO transforms (camera, value) VALUES (?1, ?2)")
                .bind(camera)
                .bind(value),
            None => sqlx::query("DELETE FROM transforms WHERE camera = ?1").bind(camera),
        };
        let written = query.execute(&mut *connection).await;
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await?;
        written?;
        Ok(())
    }
}

/// The first of these databases that is there, perhaps another user's: what an earlier run kept may be in it.
pub fn left_behind(files: &[PathBuf]) -> Option<PathBuf> {
    files.iter().find(|file| exists(file)).cloned()
}

/// What cannot be looked at may be there.
fn exists(file: &Path) -> bool {
    match std::fs::symlink_metadata(file) {
        Ok(_) => true,
        Err(error) => {
            !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_of_a_cameras_pictures_is_the_last_and_gone_when_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        for (camera, value) in [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None)] {
            database.keep_transforms(camera, value).await.unwrap();
        }
        database.close().await;
        let database = Database::open(directory.path()).await.unwrap();
        let kept = BTreeMap::from([("a".to_owned(), "3".to_owned())]);
        assert_eq!(database.transforms().await.unwrap(), kept);
        database.forget_camera("a").await.unwrap();
        assert_eq!(database.transforms().await.unwrap(), kept, "only who says so forgets a mask");
    }

    #[test]
    fn a_database_is_left_behind_where_there_is_one_or_nobody_can_look() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).join("fanlight.db");
        std::fs::create_dir(directory.path().join("with")).unwrap();
        std::fs::write(place("with"), "").unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(left_behind(&[place("none"), place("file"), place("with")]), Some(place("with")));
        assert_eq!(left_behind(&[place("none"), place("file")]), None);
        // A name that is too long stands for all that cannot be looked at: tests may run as root.
        assert!(left_behind(&[place(&"x".repeat(300))]).is_some());
    }
}
