//! Cameras that other rooms bring: streams added by API, a printer's camera. They are cameras like any other for
//! as long as their owner wants them; the owner remembers them, nothing is kept of them here but their alias.
//!
//! What is written down or was discovered goes before them: an id that is taken is refused, and one that a new
//! configuration takes hides the added camera until it is free again.

use super::super::Cameras;
use super::{Due, Keeping, Shown};
use crate::capture::Capture;
use crate::config::model::Camera;

/// The id belongs to a camera that was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is another camera {0:?}; choose another id, or take that one out of the configuration")]
pub struct Taken(pub String);

impl Cameras {
    /// Adds a camera, or brings one that was added before to other settings: it starts anew with them, and one
    /// whose settings are the same goes on undisturbed.
    ///
    /// # Errors
    /// The id is another camera's. Nothing has changed then.
    pub async fn add(&self, camera: Camera) -> Result<(), Taken> {
        let mut keeping = self.0.keeping.lock().await;
        if let Some((list, entries)) = keeping.add(camera, &self.all()).await? {
            self.show(list, entries);
            drop(keeping);
            self.persist().await;
        }
        Ok(())
    }

    /// Takes an added camera away for a while: its viewers' streams end; its alias, and what was set for it, wait
    /// for its return. Whether there was one.
    pub async fn withdraw(&self, id: &str) -> bool {
        let mut keeping = self.0.keeping.lock().await;
        let Some((list, entries)) = keeping.withdraw(id, &self.all()).await else { return false };
        self.show(list, entries);
        drop(keeping);
        self.persist().await;
        true
    }

    /// Whether a camera of this id is there or may come back.
    pub async fn expects(&self, id: &str) -> bool {
        self.0.keeping.lock().await.expected.contains(id)
    }

    /// Takes an added camera away for good, withdrawn or not, and forgets what was set for it. Whether it was known.
    pub async fn remove(&self, id: &str) -> bool {
        let mut keeping = self.0.keeping.lock().await;
        let Some((list, entries)) = keeping.remove(id, &self.all()).await else { return false };
        self.show(list, entries);
        drop(keeping);
        self.persist().await;
        true
    }
}

impl Keeping {
    /// The added cameras that nobody else's id hides.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Camera> {
        self.added.iter().filter(|camera| !self.taken(&camera.id))
    }

    fn taken(&self, id: &str) -> bool {
        self.own.contains(id) || self.configured.iter().any(|camera| camera.id == id)
    }

    async fn add(&mut self, camera: Camera, present: &[Capture]) -> Result<Option<Shown>, Taken> {
        if self.taken(&camera.id) {
            return Err(Taken(camera.id));
        }
        let id = camera.id.clone();
        match self.added.iter_mut().find(|added| added.id == id) {
            Some(added) if *added == camera => return Ok(None),
            Some(added) => *added = camera,
            None => self.added.push(camera),
        }
        // Its alias is its own until it is removed, also while another camera hides it.
        self.expected.insert(id.clone());
        Ok(Some(self.without(&id, present).await))
    }

    async fn withdraw(&mut self, id: &str, present: &[Capture]) -> Option<Shown> {
        let place = self.added.iter().position(|added| added.id == id)?;
        self.added.remove(place);
        if self.taken(id) {
            return Some((present.to_vec(), self.entries()));
        }
        Some(self.without(id, present).await)
    }

    async fn remove(&mut self, id: &str, present: &[Capture]) -> Option<Shown> {
        let added = self.added.len();
        self.added.retain(|camera| camera.id != id);
        let known = self.expected.remove(id) || self.added.len() < added;
        if !known || self.taken(id) {
            return known.then(|| (present.to_vec(), self.entries()));
        }
        self.pictures.forget(id);
        self.due.extend([Due::Forget(id.to_owned()), Due::Uncover(id.to_owned())]);
        Some(self.without(id, present).await)
    }

    /// The list once the capture of `id` has ended; it begins anew where it is still wanted.
    async fn without(&mut self, id: &str, present: &[Capture]) -> Shown {
        let (ending, kept): (Vec<Capture>, Vec<Capture>) =
            present.iter().cloned().partition(|capture| capture.id() == id);
        futures_util::future::join_all(ending.iter().map(Capture::shutdown)).await;
        let list = self.list(&kept);
        (list, self.entries())
    }
}
