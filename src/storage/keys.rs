//! API keys at rest. Asked by `access` and by `fanlight keys`.

use std::time::SystemTime;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Database, StorageError, time};
use crate::config::model::Role;
use crate::telemetry::timestamp;

/// What is kept of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    pub created: SystemTime,
    pub expires: Option<SystemTime>,
}

impl Database {
    pub async fn add_key(&self, key: &ApiKey) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO api_keys (id, name, role, hash, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.id)
        .bind(&key.name)
        .bind(key.role.name())
        .bind(&key.hash)
        .bind(timestamp(key.created))
        .bind(key.expires.map(timestamp))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Oldest first.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StorageError> {
        let rows = sqlx::query("SELECT * FROM api_keys ORDER BY created, id").fetch_all(&self.pool).await?;
        rows.iter().map(key).collect()
    }

    pub async fn key(&self, id: &str) -> Result<Option<ApiKey>, StorageError> {
        let row =
            sqlx::query("SELECT * FROM api_keys WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(key).transpose()
    }

    /// Whether there was one.
    pub async fn remove_key(&self, id: &str) -> Result<bool, StorageError> {
        let done = sqlx::query("DELETE FROM api_keys WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }
}

fn key(row: &SqliteRow) -> Result<ApiKey, StorageError> {
    let role: String = row.try_get("role")?;
    let expires: Option<String> = row.try_get("expires")?;
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        // A word of another version gives the least.
        role: [Role::Admin, Role::Operator].into_iter().find(|r| r.name() == role).unwrap_or(Role::Viewer),
        hash: row.try_get("hash")?,
        created: time(row.try_get("created")?),
        // What cannot be read has expired.
        expires: expires.as_deref().map(time),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_key_is_found_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let key = ApiKey {
            id: "abc".into(),
            name: "Home Assistant".into(),
            role: Role::Operator,
            hash: vec![7; 32],
            created,
            expires: Some(created + Duration::from_secs(60)),
        };
        database.add_key(&key).await.unwrap();
        assert!(database.add_key(&key).await.is_err(), "an id is given once");
        assert_eq!(database.key("abc").await.unwrap(), Some(key.clone()));
        assert_eq!(database.keys().await.unwrap(), [key]);
        assert!(database.remove_key("abc").await.unwrap());
        assert!(!database.remove_key("abc").await.unwrap());
        assert_eq!(database.key("abc").await.unwrap(), None);
    }
}
