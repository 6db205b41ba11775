//! What is kept of cameras: who was seen, their aliases, their controls. For `cameras`.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{Database, StorageError};

/// A discovered camera as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCamera {
    pub id: String,
    pub name: String,
    pub model: String,
    pub serial: Option<String>,
    pub port: String,
    /// JSON: what was changed over the defaults.
    pub settings: String,
}

impl Database {
    /// All that were seen, in the order in which they were first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cameras(&self) -> Result<Vec<KeptCamera>, StorageError> {
        let rows = sqlx::query(
            "SELECT id, name, model, serial, port, settings FROM cameras ORDER BY first_seen, id",
        )
        .fetch_all(&self.pool)
        .await?;
        let camera = |row: &sqlx::sqlite::SqliteRow| {
            Ok(KeptCamera {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                model: row.try_get("model")?,
                serial: row.try_get("serial")?,
                port: row.try_get("port")?,
                settings: row.try_get("settings")?,
            })
        };
        Ok(rows.iter().map(camera).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Keeps a camera that is here at `now` (RFC 3339).
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_camera(&self, camera: &KeptCamera, now: &str) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO cameras (id, name, model, serial, port, first_seen, last_seen, settings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET port = ?5, last_seen = ?6, settings = ?7",
        )
        .bind(&camera.id)
        .bind(&camera.name)
        .bind(&camera.model)
        .bind(&camera.serial)
        .bind(&camera.port)
        .bind(now)
        .bind(&camera.settings)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a camera, its alias and its controls.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_camera(&self, id: &str) -> Result<(), StorageError> {
        let mut all = self.pool.begin().await?;
        for forget in [
            "DELETE FROM cameras WHERE id = ?1",
            "DELETE FROM aliases WHERE camera = ?1",
            "DELETE FROM controls WHERE camera = ?1",
        ] {
            sqlx::query(forget).bind(id).execute(&mut *all).await?;
        }
        all.commit().await?;
        Ok(())
    }

    /// The number of every camera's alias, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn aliases(&self) -> Result<BTreeMap<String, u32>, StorageError> {
        let rows: Vec<(String, u32)> =
            sqlx::query_as("SELECT camera, number FROM aliases").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// Keeps these aliases and no others.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_aliases(&self, aliases: &BTreeMap<String, u32>) -> Result<(), StorageError> {
        let mut all = self.pool.begin().await?;
        sqlx::query("DELETE FROM aliases").execute(&mut *all).await?;
        for (camera, number) in aliases {
            sqlx::query("INSERT INTO aliases (camera, number) VALUES (?1, ?2)")
                .bind(camera)
                .bind(number)
                .execute(&mut *all)
                .await?;
        }
        all.commit().await?;
        Ok(())
    }

    /// What was set for every camera, by its id and the control's name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn controls(&self) -> Result<BTreeMap<String, BTreeMap<String, i64>>, StorageError> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT camera, name, value FROM controls").fetch_all(&self.pool).await?;
        let mut controls: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for (camera, name, value) in rows {
            controls.entry(camera).or_default().insert(name, value);
        }
        Ok(controls)
    }

    /// Keeps what is set for one camera; `None` goes back to its default.
    ///
    /// # Errors
    /// The database cannot be written: nothing is kept then.
    pub async fn keep_controls(
        &self,
        camera: &str,
        controls: &[(String, Option<i64>)],
    ) -> Result<(), StorageError> {
        let mut all = self.pool.begin().await?;
        for (name, value) in controls {
            let query = match value {
                Some(value) => sqlx::query(
                    "INSERT INTO controls (camera, name, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (camera, name) DO UPDATE SET value = ?3",
                )
                .bind(camera)
                .bind(name)
                .bind(value),
                None => sqlx::query("DELETE FROM controls WHERE camera = ?1 AND name = ?2")
                    .bind(camera)
                    .bind(name),
            };
            query.execute(&mut *all).await?;
        }
        all.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(id: &str, port: &str) -> KeptCamera {
        KeptCamera {
            id: id.into(),
            name: "Acme".into(),
            model: "1234:5678".into(),
            serial: None,
            port: port.into(),
            settings: "{}".into(),
        }
    }

    #[tokio::test]
    async fn what_is_kept_of_a_camera_is_there_after_a_restart_and_gone_when_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        database.keep_camera(&camera("b", "p1"), "2026-01-01T00:00:00Z").await.unwrap();
        database.keep_camera(&camera("a", "p2"), "2026-01-02T00:00:00Z").await.unwrap();
        database.keep_camera(&camera("b", "p3"), "2026-01-03T00:00:00Z").await.unwrap();
        let aliases = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 0)]);
        database.keep_aliases(&BTreeMap::from([("a".to_owned(), 0)])).await.unwrap();
        database.keep_aliases(&aliases).await.unwrap();
        let set = |name: &str, value| (name.to_owned(), value);
        database.keep_controls("a", &[set("gain", Some(4)), set("hue", Some(-2))]).await.unwrap();
        database.keep_controls("a", &[set("gain", Some(5)), set("hue", None)]).await.unwrap();
        database.close().await;

        let database = Database::open(directory.path()).await.unwrap();
        assert_eq!(database.cameras().await.unwrap(), [camera("b", "p3"), camera("a", "p2")]);
        assert_eq!(database.aliases().await.unwrap(), aliases);
        let gain = BTreeMap::from([("gain".to_owned(), 5)]);
        assert_eq!(database.controls().await.unwrap(), BTreeMap::from([("a".to_owned(), gain)]));

        database.forget_camera("a").await.unwrap();
        assert_eq!(database.cameras().await.unwrap(), [camera("b", "p3")]);
        assert_eq!(database.aliases().await.unwrap(), BTreeMap::from([("b".to_owned(), 0)]));
        assert!(database.controls().await.unwrap().is_empty());
    }
}
