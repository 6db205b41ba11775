//! Where each value of the effective configuration came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Where one value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: Arc<Path>,
        position: Position,
    },
    /// The name of the variable.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, position } => {
                // A control character in a path must not end the comment that this stands in.
                let path = path.display().to_string();
                let path: String = path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                write!(f, "{path}:{}", position.line)
            }
            Origin::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// Key path (`server.port`, `camera.0.source.url`) to origin. What is not in it is a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn from_file(path: &Path, positions: BTreeMap<String, Position>) -> Self {
        let path: Arc<Path> = PathBuf::from(path).into();
        let origin = |position| Origin::File { path: Arc::clone(&path), position };
        Self(positions.into_iter().map(|(key, position)| (key, origin(position))).collect())
    }

    /// Where the value of this key came from.
    pub fn of(&self, key: &str) -> &Origin {
        self.0.get(key).unwrap_or(&Origin::Default)
    }

    /// Where in the file the key stands, if its value is from there.
    pub fn position(&self, key: &str) -> Option<Position> {
        match self.of(key) {
            Origin::File { position, .. } => Some(*position),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, key: &str, origin: Origin) {
        self.0.insert(key.into(), origin);
    }

    /// Forgets a key and everything below it: they are defaults now.
    pub(super) fn clear(&mut self, key: &str) {
        let below = format!("{key}.");
        self.0.retain(|path, _| path != key && !path.starts_with(&below));
    }

    pub(super) fn copy(&mut self, from: &str, to: &str) {
        let origin = self.of(from).clone();
        self.set(to, origin);
    }
}
