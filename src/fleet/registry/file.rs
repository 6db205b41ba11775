//! The registry as a JSON file: `{ "nodes": [Node, …] }`, mode 0600 because tokens are in it. Written beside and
//! renamed over, synced to the disk before and after, so that a power cut leaves the old file or the new one. A lock
//! beside it keeps a second process out for as long as this one holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError};
use crate::fleet::node::Node;

/// A file that is larger is none of ours.
const LARGEST: u64 = 64 << 20;

#[derive(Debug)]
pub struct FileRegistry {
    path: PathBuf,
    /// Held while it is open.
    _lock: File,
}

#[derive(Deserialize)]
struct Read {
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Written<'n> {
    nodes: &'n [Node],
}

impl FileRegistry {
    /// Takes hold of the file; it need not be there yet.
    ///
    /// # Errors
    /// Another process has it, or its directory cannot be written.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let write = |error: std::io::Error| RegistryError::Write {
            path: path.display().to_string(),
            words: error.to_string(),
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(write)?;
        }
        let beside = beside(path, "lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(write)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(RegistryError::Locked { path: path.display().to_string() })
            }
            Err(error) => Err(write(error.into())),
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn corrupt(&self, words: String) -> RegistryError {
        let aside = beside(&self.path, "damaged");
        if let Err(error) = fs::copy(&self.path, &aside) {
            tracing::warn!("{} cannot be copied to {}: {error}", self.name(), aside.display());
        }
        RegistryError::Corrupt { path: self.name(), words, aside: aside.display().to_string() }
    }

    fn replace(&self, text: &[u8]) -> std::io::Result<()> {
        let new = beside(&self.path, "new");
        let _ = fs::remove_file(&new);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        // The name is on the disk as well, or a power cut could bring the old one back.
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Registry for FileRegistry {
    fn load(&self) -> Result<Vec<Node>, RegistryError> {
        let unread =
            |error: std::io::Error| RegistryError::Read { path: self.name(), words: error.to_string() };
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(LARGEST + 1).read_to_end(&mut text).map_err(unread)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unread(error)),
        };
        if text.len() as u64 > LARGEST {
            return Err(self.corrupt(format!("it is larger than {LARGEST} bytes")));
        }
        let Read { nodes } =
            serde_json::from_slice(&text).map_err(|error| self.corrupt(error.to_string()))?;
        let mut ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.corrupt(format!("node {:?} is in it twice", twice[0])));
        }
        Ok(nodes)
    }

    fn store(&self, nodes: &[Node]) -> Result<(), RegistryError> {
        let failed = |words: String| RegistryError::Write { path: self.name(), words };
        let mut text =
            serde_json::to_vec_pretty(&Written { nodes }).map_err(|error| failed(error.to_string()))?;
        text.push(b'\n');
        self.replace(&text).map_err(|error| failed(error.to_string()))
    }
}

/// `node-registry.json.lock`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    fn node(id: &str) -> Node {
        let node = json!({
            "id": id, "name": id, "base_url": "http://192.168.1.20:8080",
            "auth": { "type": "bearer", "token": "fl_secret" }, "labels": {},
            "last_seen": "2026-01-18T20:15:00Z", "capabilities": [], "transport": "http",
        });
        Node::new(node.as_object().unwrap()).unwrap()
    }

    #[test]
    fn what_is_stored_is_there_again_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/node-registry.json");
        let registry = FileRegistry::open(&path).unwrap();
        assert_eq!(registry.load().unwrap(), []);
        registry.store(&[node("a"), node("b")]).unwrap();
        assert_eq!(registry.load().unwrap(), [node("a"), node("b")]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_process_is_kept_out_while_the_first_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        let registry = FileRegistry::open(&path).unwrap();
        assert!(matches!(FileRegistry::open(&path), Err(RegistryError::Locked { .. })));
        drop(registry);
        FileRegistry::open(&path).unwrap();
    }

    #[test]
    fn a_damaged_file_is_told_and_left_with_a_copy_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        let twice = serde_json::to_string(&json!({ "nodes": [node("a"), node("a")] })).unwrap();
        for text in ["{\"nodes\": [", "[]", "", twice.as_str()] {
            fs::write(&path, text).unwrap();
            let registry = FileRegistry::open(&path).unwrap();
            let words = registry.load().unwrap_err().to_string();
            assert!(words.contains("damaged"), "{words}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::read_to_string(directory.path().join("nodes.json.damaged")).unwrap(), text);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        let registry = FileRegistry::open(&path).unwrap();
        registry.store(&[node("a")]).unwrap();
        // In the place of the new file stands something that cannot be replaced.
        fs::create_dir(directory.path().join("nodes.json.new")).unwrap();
        assert!(registry.store(&[]).unwrap_err().to_string().contains("nothing was changed"));
        assert_eq!(registry.load().unwrap(), [node("a")]);
    }
}
