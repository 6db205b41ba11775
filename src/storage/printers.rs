//! What is kept of printers. For `printers`, which alone opens the access codes that are sealed.

use std::fmt;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Database, StorageError};

/// A printer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPrinter {
    pub name: String,
    pub host: String,
    pub serial: String,
    pub code: KeptCode,
    pub rtsp_url: Option<String>,
    /// SHA-256 of its certificate in hex.
    pub pin: Option<String>,
}

/// An access code as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum KeptCode {
    Plain(String),
    Sealed(Vec<u8>),
}

impl fmt::Debug for KeptCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl KeptCode {
    fn columns(&self) -> (&[u8], bool) {
        match self {
            KeptCode::Plain(text) => (text.as_bytes(), false),
            KeptCode::Sealed(bytes) => (bytes, true),
        }
    }
}

impl Database {
    /// All with their ids, in the order in which they were added.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn printers(&self) -> Result<Vec<(i64, KeptPrinter)>, StorageError> {
        let rows = sqlx::query(
            "SELECT id, name, host, serial, code, sealed, rtsp_url, pin FROM printers ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        let printer = |row: &SqliteRow| {
            let code: Vec<u8> = row.try_get("code")?;
            let code = match row.try_get("sealed")? {
                true => KeptCode::Sealed(code),
                false => KeptCode::Plain(String::from_utf8_lossy(&code).into_owned()),
            };
            let kept = KeptPrinter {
                name: row.try_get("name")?,
                host: row.try_get("host")?,
                serial: row.try_get("serial")?,
                code,
                rtsp_url: row.try_get("rtsp_url")?,
                pin: row.try_get("pin")?,
            };
            Ok((row.try_get("id")?, kept))
        };
        Ok(rows.iter().map(printer).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Keeps a new printer; its id.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn add_printer(&self, printer: &KeptPrinter) -> Result<i64, StorageError> {
        let (code, sealed) = printer.code.columns();
        let added = sqlx::query(
            "INSERT INTO printers (name, host, serial, code, sealed, rtsp_url, pin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(&printer.name)
        .bind(&printer.host)
        .bind(&printer.serial)
        .bind(code)
        .bind(sealed)
        .bind(&printer.rtsp_url)
        .bind(&printer.pin)
        .execute(&self.pool)
        .await?;
        Ok(added.last_insert_rowid())
    }

    /// Keeps another state of a printer that is kept.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_printer(&self, id: i64, printer: &KeptPrinter) -> Result<(), StorageError> {
        let (code, sealed) = printer.code.columns();
        sqlx::query(
            "UPDATE printers SET name = ?2, host = ?3, serial = ?4, code = ?5, sealed = ?6,
                                 rtsp_url = ?7, pin = ?8
             WHERE id = ?1",
        )
        .bind(id)
        .bind(&printer.name)
        .bind(&printer.host)
        .bind(&printer.serial)
        .bind(code)
        .bind(sealed)
        .bind(&printer.rtsp_url)
        .bind(&printer.pin)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database cannot be written.
    pub async fn forget_printer(&self, id: i64) -> Result<(), StorageError> {
        sqlx::query("DELETE FROM printers WHERE id = ?1").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printer(serial: &str, code: KeptCode) -> KeptPrinter {
        KeptPrinter {
            name: "Studio".into(),
            host: format!("{serial}.lan"),
            serial: serial.into(),
            code,
            rtsp_url: None,
            pin: None,
        }
    }

    #[tokio::test]
    async fn a_printer_is_kept_changed_and_forgotten_and_its_id_is_never_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let plain = printer("A", KeptCode::Plain("12345678".into()));
        let sealed = printer("B", KeptCode::Sealed(vec![0, 159, 7]));
        let first = database.add_printer(&plain).await.unwrap();
        let second = database.add_printer(&sealed).await.unwrap();
        assert_eq!(database.printers().await.unwrap(), [(first, plain.clone()), (second, sealed.clone())]);
        let changed = KeptPrinter { pin: Some("ab".into()), rtsp_url: Some("rtsps://x".into()), ..sealed };
        database.keep_printer(second, &changed).await.unwrap();
        database.forget_printer(first).await.unwrap();
        assert_eq!(database.printers().await.unwrap(), [(second, changed)]);
        database.forget_printer(second).await.unwrap();
        assert!(database.add_printer(&plain).await.unwrap() > second);
        assert!(database.add_printer(&plain).await.is_err(), "no two with the same serial");
    }

    #[test]
    fn a_kept_code_is_not_seen_when_it_is_printed() {
        let text = format!("{:?}", printer("A", KeptCode::Plain("12345678".into())));
        assert!(!text.contains("12345678"), "{text}");
    }
}
