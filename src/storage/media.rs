//! The index of recordings and snapshots, and what was set for them by API. Used by `record`, which knows
//! the files; nothing here touches them.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Database, StorageError};

/// What sort of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Recording,
    Snapshot,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Recording, Kind::Snapshot];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Recording => "recording",
            Kind::Snapshot => "snapshot",
        }
    }
}

/// One file. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub name: String,
    /// Empty when nothing tells.
    pub camera: String,
    pub started: i64,
    /// Milliseconds; of a snapshot 0.
    pub duration: i64,
    pub bytes: i64,
    pub width: i64,
    pub height: i64,
    pub kept: bool,
    pub modified: i64,
}

/// How a file was when it was read: another one means to read it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub bytes: i64,
    pub modified: i64,
    pub kept: bool,
}

/// A file that is not kept, as far as retention is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removable {
    pub kind: Kind,
    pub name: String,
    pub started: i64,
    pub duration: i64,
    pub bytes: i64,
}

/// Which ones; `None` is any. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    pub camera: Option<String>,
    /// Those that reach beyond this,
    pub from: Option<i64>,
    /// and begin before this.
    pub to: Option<i64>,
    pub kept: Option<bool>,
}

impl Which {
    const SQL: &'static str = "kind = ?1 AND (?2 IS NULL OR camera = ?2) \
        AND (?3 IS NULL OR started + duration >= ?3) AND (?4 IS NULL OR started < ?4) \
        AND (?5 IS NULL OR kept = ?5)";
}

impl Database {
    /// The newest first, and how many there are in all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn media(
        &self,
        kind: Kind,
        which: &Which,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Media>, u64), StorageError> {
        let sql = format!("SELECT count(*) FROM media WHERE {}", Which::SQL);
        let total: i64 = sqlx::query_scalar(&sql)
            .bind(kind.name())
            .bind(which.camera.as_deref())
            .bind(which.from)
            .bind(which.to)
            .bind(which.kept)
            .fetch_one(&self.pool)
            .await?;
        let sql = format!(
            "SELECT * FROM media WHERE {} ORDER BY started DESC, name DESC LIMIT ?6 OFFSET ?7",
            Which::SQL
        );
        let rows = sqlx::query(&sql)
            .bind(kind.name())
            .bind(which.camera.as_deref())
            .bind(which.from)
            .bind(which.to)
            .bind(which.kept)
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        let media = rows.iter().map(media).collect::<Result<_, _>>()?;
        Ok((media, total.unsigned_abs()))
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn one_media(&self, kind: Kind, name: &str) -> Result<Option<Media>, StorageError> {
        let sql = "SELECT * FROM media WHERE kind = ? AND name = ?";
        let row = sqlx::query(sql).bind(kind.name()).bind(name).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(media).transpose()?)
    }

    /// How all files of a kind were, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seen_media(&self, kind: Kind) -> Result<HashMap<String, Seen>, StorageError> {
        let sql = "SELECT name, bytes, modified, kept FROM media WHERE kind = ?";
        let mut rows = sqlx::query_as(sql).bind(kind.name()).fetch(&self.pool);
        let mut seen = HashMap::new();
        while let Some(row) = rows.next().await {
            let (name, bytes, modified, kept): (String, i64, i64, bool) = row?;
            seen.insert(name, Seen { bytes, modified, kept });
        }
        Ok(seen)
    }

    /// The oldest files that are not kept, of all kinds; those after this one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn removable_media(
        &self,
        after: Option<&Removable>,
        limit: u32,
    ) -> Result<Vec<Removable>, StorageError> {
        let sql = "SELECT kind, name, started, duration, bytes FROM media INDEXED BY media_oldest \
                   WHERE kept = 0 AND (started, kind, name) > (?, ?, ?) ORDER BY started, kind, name LIMIT ?";
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(sql)
            .bind(after.map_or(i64::MIN, |after| after.started))
            .bind(after.map_or("", |after| after.kind.name()))
            .bind(after.map_or("", |after| after.name.as_str()))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        let removable = |(kind, name, started, duration, bytes): (String, String, i64, i64, i64)| {
            // What another version keeps here is not ours to delete.
            let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
            Some(Removable { kind, name, started, duration, bytes })
        };
        Ok(rows.into_iter().filter_map(removable).collect())
    }

    /// Writes these down, over what is there of the same names; all or none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_media(&self, kind: Kind, list: &[Media]) -> Result<(), StorageError> {
        let mut change = self.pool.begin().await?;
        for media in list {
            sqlx::query("INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(kind.name())
                .bind(&media.name)
                .bind(&media.camera)
                .bind(media.started)
                .bind(media.duration)
                .bind(media.bytes)
                .bind(media.width)
                .bind(media.height)
                .bind(media.kept)
                .bind(media.modified)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_media(&self, kind: Kind, names: &[String]) -> Result<(), StorageError> {
        let mut change = self.pool.begin().await?;
        for name in names {
            sqlx::query("DELETE FROM media WHERE kind = ? AND name = ?")
                .bind(kind.name())
                .bind(name)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// How many there are, and their bytes together.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn media_size(&self, kind: Kind) -> Result<(u64, u64), StorageError> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM media WHERE kind = ?";
        let (count, bytes): (i64, i64) = sqlx::query_as(sql).bind(kind.name()).fetch_one(&self.pool).await?;
        Ok((count.unsigned_abs(), bytes.unsigned_abs()))
    }

    /// What was set under this name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StorageError> {
        let sql = "SELECT value FROM settings WHERE name = ?";
        Ok(sqlx::query_scalar(sql).bind(name).fetch_optional(&self.pool).await?)
    }

    /// # Errors
    /// When the database cannot be written.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), StorageError> {
        let sql = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)";
        sqlx::query(sql).bind(name).bind(value).execute(&self.pool).await?;
        Ok(())
    }
}

fn media(row: &SqliteRow) -> Result<Media, sqlx::Error> {
    Ok(Media {
        name: row.try_get("name")?,
        camera: row.try_get("camera")?,
        started: row.try_get("started")?,
        duration: row.try_get("duration")?,
        bytes: row.try_get("bytes")?,
        width: row.try_get("width")?,
        height: row.try_get("height")?,
        kept: row.try_get("kept")?,
        modified: row.try_get("modified")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(name: &str, camera: &str, started: i64, kept: bool) -> Media {
        Media {
            name: name.into(),
            camera: camera.into(),
            started,
            duration: 100,
            bytes: 1000,
            width: 640,
            height: 480,
            kept,
            modified: 7,
        }
    }

    async fn names(database: &Database, which: Which, limit: u32, offset: u64) -> (Vec<String>, u64) {
        let (list, total) = database.media(Kind::Recording, &which, limit, offset).await.unwrap();
        (list.into_iter().map(|media| media.name).collect(), total)
    }

    #[tokio::test]
    async fn files_are_found_by_camera_and_time_newest_first_and_page_by_page() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let list = [
            recording("a", "front", 1000, false),
            recording("b", "front", 2000, true),
            recording("c", "yard", 3000, false),
        ];
        database.put_media(Kind::Recording, &list).await.unwrap();
        assert_eq!(names(&database, Which::default(), 2, 0).await, (vec!["c".into(), "b".into()], 3));
        assert_eq!(names(&database, Which::default(), 2, 2).await, (vec!["a".into()], 3));
        let front = Which { camera: Some("front".into()), ..Which::default() };
        assert_eq!(names(&database, front, 9, 0).await, (vec!["b".into(), "a".into()], 2));
        let within = Which { from: Some(1050), to: Some(3000), ..Which::default() };
        assert_eq!(names(&database, within, 9, 0).await.0, ["b", "a"]);
        let kept = Which { kept: Some(true), ..Which::default() };
        assert_eq!(names(&database, kept, 9, 0).await.0, ["b"]);
        assert_eq!(database.media_size(Kind::Recording).await.unwrap(), (3, 3000));
        database.forget_media(Kind::Recording, &["b".into()]).await.unwrap();
        assert_eq!(database.one_media(Kind::Recording, "b").await.unwrap(), None);
        assert_eq!(database.one_media(Kind::Recording, "a").await.unwrap(), Some(list[0].clone()));
        assert_eq!(database.one_media(Kind::Snapshot, "a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn retention_is_given_the_oldest_that_are_not_kept_one_page_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let list = [("c", 3, false), ("a", 1, false), ("b", 2, true)]
            .map(|(name, started, kept)| recording(name, "front", started, kept));
        database.put_media(Kind::Recording, &list).await.unwrap();
        let list = [("a", 1), ("d", 4)].map(|(name, started)| recording(name, "front", started, false));
        database.put_media(Kind::Snapshot, &list).await.unwrap();
        let mut found: Vec<Removable> = Vec::new();
        loop {
            let page = database.removable_media(found.last(), 3).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.kind)).collect();
        let (recording, snapshot) = (Kind::Recording, Kind::Snapshot);
        assert_eq!(found, [("a", recording), ("a", snapshot), ("c", recording), ("d", snapshot)]);
        let seen = database.seen_media(Kind::Recording).await.unwrap();
        assert_eq!((seen.len(), seen["b"]), (3, Seen { bytes: 1000, modified: 7, kept: true }));
    }

    #[tokio::test]
    async fn a_setting_is_what_was_set_last() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        assert_eq!(database.setting("x").await.unwrap(), None);
        for value in ["1", "2"] {
            database.set_setting("x", value).await.unwrap();
        }
        assert_eq!(database.setting("x").await.unwrap().as_deref(), Some("2"));
    }
}
