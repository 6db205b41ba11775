//! The set of cameras: who is here, in which order, under which id.

use std::sync::Arc;

use tokio::sync::watch;

use crate::capture::Capture;

/// All cameras, first one first. Cloning it clones a reference; a reload swaps the list.
#[derive(Clone, Debug)]
pub struct Cameras(Arc<watch::Sender<Arc<[Capture]>>>);

impl Cameras {
    pub fn new(list: Vec<Capture>) -> Self {
        Self(Arc::new(watch::Sender::new(list.into())))
    }

    pub fn all(&self) -> Arc<[Capture]> {
        Arc::clone(&self.0.borrow())
    }

    /// The list and its changes, for those who outlive them.
    pub fn watch(&self) -> watch::Receiver<Arc<[Capture]>> {
        self.0.subscribe()
    }

    /// The camera that paths without an id mean.
    pub fn first(&self) -> Option<Capture> {
        self.0.borrow().first().cloned()
    }

    pub fn get(&self, id: &str) -> Option<Capture> {
        self.0.borrow().iter().find(|capture| capture.id() == id).cloned()
    }
}
