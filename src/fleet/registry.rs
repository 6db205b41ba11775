//! Where nodes are kept, behind one trait: a JSON file (the contract's) or the database. Reading and writing block:
//! whoever calls sees to that.

use std::fmt;

use super::node::Node;

pub mod file;

/// Keeps nodes. What it holds is written when a call returns.
pub trait Registry: Send + fmt::Debug {
    /// All nodes, in the order in which they were added.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&self) -> Result<Vec<Node>, RegistryError>;

    /// Replaces all of them at once.
    ///
    /// # Errors
    /// Nothing was written: what was there is there still.
    fn store(&self, nodes: &[Node]) -> Result<(), RegistryError>;
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{path}: another process has this registry open; stop it, or choose another NODE_REGISTRY_PATH")]
    Locked { path: String },
    #[error("{path} cannot be read: {words}")]
    Read { path: String, words: String },
    #[error(
        "{path} is damaged ({words}); it is left as it is, with a copy in {aside}. Mend it or put a backup in its \
         place and start again; remove it to begin with no nodes"
    )]
    Corrupt { path: String, words: String, aside: String },
    #[error("{path} cannot be written: {words}; nothing was changed")]
    Write { path: String, words: String },
}
