//! What is kept of cameras elsewhere that were added by API. For `control`.

use std::time::SystemTime;

use super::{Database, StorageError, time};
use crate::config::Secret;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStream {
    pub id: String,
    pub name: String,
    /// Without user and password.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub added: SystemTime,
}

type Row = (String, String, String, Option<String>, Option<String>, String);

impl Database {
    /// All of them, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn streams(&self) -> Result<Vec<KeptStream>, StorageError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, url, username, password, added FROM external_streams ORDER BY added, id",
        )
        .fetch_all(&self.pool)
        .await?;
        let stream = |(id, name, url, username, password, added): Row| KeptStream {
            id,
            name,
            url,
            username,
            password: password.map(Secret::new),
            added: time(&added),
        };
        Ok(rows.into_iter().map(stream).collect())
    }

    /// Keeps a new one.
    ///
    /// # Errors
    /// The database cannot be written, or has that id or URL already.
    pub async fn keep_stream(&self, stream: &KeptStream) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO external_streams (id, name, url, username, password, added)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(&stream.id)
        .bind(&stream.name)
        .bind(&stream.url)
        .bind(&stream.username)
        .bind(stream.password.as_ref().map(Secret::expose))
        .bind(crate::telemetry::timestamp(stream.added))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_stream(&self, id: &str) -> Result<(), StorageError> {
        sqlx::query("DELETE FROM external_streams WHERE id = ?1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// How often cameras are looked for, in seconds; 0 is never.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn scan_seconds(&self) -> Result<u32, StorageError> {
        let row = sqlx::query_scalar("SELECT seconds FROM external_scan").fetch_optional(&self.pool).await?;
        Ok(row.unwrap_or(0))
    }

    /// Keeps that.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_scan_seconds(&self, seconds: u32) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO external_scan (one, seconds) VALUES (1, ?1)
             ON CONFLICT (one) DO UPDATE SET seconds = ?1",
        )
        .bind(seconds)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn streams_and_the_interval_are_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let stream = |id: &str, url: &str, password: Option<&str>| KeptStream {
            id: id.into(),
            name: "The gate".into(),
            url: url.into(),
            username: password.map(|_| "anna".into()),
            password: password.map(Secret::new),
            added: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        assert_eq!(database.scan_seconds().await.unwrap(), 0);
        let (gate, yard) = (stream("gate", "rtsp://a/1", Some("s3cret")), stream("yard", "http://b/", None));
        database.keep_stream(&gate).await.unwrap();
        database.keep_stream(&yard).await.unwrap();
        database.keep_stream(&stream("other", "rtsp://a/1", None)).await.unwrap_err();
        database.keep_scan_seconds(60).await.unwrap();
        database.keep_scan_seconds(90).await.unwrap();
        database.close().await;

        let database = Database::open(directory.path()).await.unwrap();
        assert_eq!(database.streams().await.unwrap(), [gate.clone(), yard.clone()]);
        assert_eq!(database.scan_seconds().await.unwrap(), 90);
        database.forget_stream("gate").await.unwrap();
        assert_eq!(database.streams().await.unwrap(), [yard]);
        let leftover = std::fs::metadata(directory.path().join(super::super::FILE)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&leftover.permissions()) & 0o777, 0o600);
    }
}
