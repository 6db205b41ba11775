//! The fans of all cameras, made when somebody first asks for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::fan::Fan;
use crate::capture::Capture;

#[derive(Debug)]
pub struct Fans {
    cameras: watch::Receiver<Arc<[Capture]>>,
    known: Mutex<HashMap<String, Arc<Fan>>>,
}

impl Fans {
    pub fn new(cameras: watch::Receiver<Arc<[Capture]>>) -> Self {
        Self { cameras, known: Mutex::default() }
    }

    /// The fan of a camera; no name means the first one.
    pub fn find(&self, camera: &str) -> Option<Arc<Fan>> {
        let cameras = Arc::clone(&self.cameras.borrow());
        let named = |capture: &&Capture| camera.is_empty() || capture.id() == camera;
        let capture = cameras.iter().find(named).filter(|capture| capture.camera().outputs.rtsp)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fan) = known.get(capture.id())
            && fan.capture().same(capture)
        {
            return Some(Arc::clone(fan));
        }
        let fan = Fan::new(capture.clone(), rand::random());
        if let Some(replaced) = known.insert(capture.id().to_owned(), Arc::clone(&fan)) {
            // Nobody else knows of it any more.
            replaced.end();
        }
        Some(fan)
    }

    /// A camera's fan, if somebody ever asked for it.
    pub fn known(&self, camera: &str) -> Option<Arc<Fan>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(camera).cloned()
    }

    /// Ends the readers of cameras that are removed or replaced, from here on.
    pub async fn follow(&self) {
        let mut cameras = self.cameras.clone();
        while cameras.changed().await.is_ok() {
            let present = Arc::clone(&cameras.borrow_and_update());
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, fan| {
                let stays = present.iter().any(|capture| capture.same(fan.capture()));
                if !stays {
                    fan.end();
                }
                stays
            });
        }
    }
}
