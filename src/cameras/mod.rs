//! The set of cameras: who is here, in which order, under which id; and its change when the
//! configuration changes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::capture::{Capture, Means};
use crate::config::Difference;
use crate::config::model::Camera;

/// All cameras, first one first. Cloning it clones a reference; a reload swaps the list.
#[derive(Clone, Debug)]
pub struct Cameras(Arc<watch::Sender<Arc<[Capture]>>>);

impl Cameras {
    pub fn new(list: Vec<Capture>) -> Self {
        Self(Arc::new(watch::Sender::new(list.into())))
    }

    /// Starts every camera of a configuration.
    pub fn start(cameras: &[Camera], means: &Means) -> Self {
        Self::new(cameras.iter().map(|camera| Capture::start(camera.clone(), means)).collect())
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

    /// Brings the set to `cameras`: ends what is gone or changed, starts what is new or changed, and
    /// leaves the rest and its viewers alone. A device is given up before it is opened anew.
    pub async fn apply(&self, difference: &Difference, cameras: &[Camera], means: &Means) {
        let present = self.all();
        let keep = |capture: &&Capture| difference.unchanged.iter().any(|id| id == capture.id());
        let kept: HashMap<&str, &Capture> = present.iter().filter(keep).map(|c| (c.id(), c)).collect();
        let ending = present.iter().filter(|capture| !kept.contains_key(capture.id()));
        futures_util::future::join_all(ending.map(Capture::shutdown)).await;
        let list = cameras.iter().map(|camera| match kept.get(camera.id.as_str()) {
            Some(capture) => (*capture).clone(),
            None => Capture::start(camera.clone(), means),
        });
        self.0.send_replace(list.collect());
    }

    /// Ends all; returns when each is gone or given up.
    pub async fn shutdown(&self) {
        futures_util::future::join_all(self.all().iter().map(Capture::shutdown)).await;
    }
}
