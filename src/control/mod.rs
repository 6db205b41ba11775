//! What can be asked of the house, whoever asks: the operations behind REST and JSON-RPC. Each is one
//! function here, in words of the house; the doors turn answers and [`Refusal`]s into theirs.
//!
//! [`pictures`] changes them and their camera's controls; [`streams`] keeps streams running that nobody watches yet;
//! [`external`] adds cameras elsewhere and looks for them; [`Urls`] says where pictures are.

pub mod external;
pub mod pictures;
pub mod streams;
mod urls;

use std::sync::Arc;

use tokio::sync::watch;

use crate::cameras::controls::ControlError;
use crate::cameras::{Cameras, Entry, Presence};
use crate::capture::Capture;
use crate::capture::device::Description;
use crate::publish::Publishers;
use streams::Held;
pub use urls::Urls;

/// Why something that was asked for is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("there is no camera {0:?}; get_camera_list and /api/cameras list them")]
    NoCamera(String),
    #[error("there is no published output {0:?}; /api/cameras lists them")]
    NoOutput(String),
    #[error("{0:?} is a device path; name the camera by its id or as camera0, camera1, …")]
    Path(String),
    #[error("all streams of camera {0:?} are switched off; see its outputs in the configuration")]
    NoStream(String),
    #[error("no stream {0:?} was added by API; get_external_streams and /api/external-streams list them")]
    NoExternal(String),
    #[error("{0}")]
    Invalid(String),
    /// Not as things are now.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Dependency(String),
    #[error("nothing was changed, because it could not be kept: {0}")]
    NotKept(String),
}

/// The operations and what they work on. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cameras: Cameras,
    publishers: Publishers,
    held: Held,
}

/// A camera and its alias.
#[derive(Clone, Debug)]
pub struct Named {
    pub capture: Capture,
    /// `camera0`.
    pub alias: String,
    /// Whether it is plugged in; `None` where that is not known.
    pub presence: Option<Presence>,
}

impl Control {
    pub fn new(cameras: Cameras, publishers: Publishers) -> Self {
        Self(Arc::new(Inner { cameras, publishers, held: Held::default() }))
    }

    /// All cameras, the first one first.
    pub fn cameras(&self) -> Vec<Named> {
        let cameras = self.0.cameras.all();
        cameras.iter().map(|capture| self.named(capture)).collect()
    }

    /// A camera by its id or its alias; an id wins over an alias.
    pub fn camera(&self, name: &str) -> Result<Named, Refusal> {
        if name.contains('/') {
            return Err(Refusal::Path(name.to_owned()));
        }
        let found = self.0.cameras.named(name);
        found.map(|capture| self.named(&capture)).ok_or_else(|| Refusal::NoCamera(name.to_owned()))
    }

    fn named(&self, capture: &Capture) -> Named {
        let Entry { alias, presence, .. } = self.0.cameras.entry(capture.id()).unwrap_or_default();
        Named { capture: capture.clone(), alias, presence }
    }

    /// The set of cameras as it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<[Capture]>> {
        self.0.cameras.watch()
    }

    /// What the device of a camera says about itself, asked now.
    pub async fn describe(&self, id: &str) -> Result<Description, ControlError> {
        self.0.cameras.describe(id).await
    }

    /// Ends a camera's present attempt and begins anew, without waiting for a back-off.
    pub fn restart(&self, name: &str) -> Result<Named, Refusal> {
        let camera = self.camera(name)?;
        tracing::info!(camera = camera.capture.id(), "a restart is asked for");
        camera.capture.restart();
        Ok(camera)
    }

    /// Tries a published output again at once.
    pub fn retry(&self, output: &str) -> Result<(), Refusal> {
        if !self.0.publishers.retry(output) {
            return Err(Refusal::NoOutput(output.to_owned()));
        }
        tracing::info!(output, "a retry is asked for");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    fn control(ids: &[&str]) -> Control {
        let capture = |id: &&str| Capture::detached(Camera::new(*id, Source::Test {}));
        Control::new(Cameras::new(ids.iter().map(capture).collect()), Publishers::none())
    }

    #[test]
    fn cameras_are_found_by_id_and_alias_and_never_by_device_path() {
        let control = control(&["porch", "camera0"]);
        let found = |name: &str| control.camera(name).map(|camera| camera.capture.id().to_owned());
        assert_eq!(found("porch").unwrap(), "porch");
        assert_eq!(found("camera0").unwrap(), "camera0", "an id wins over an alias");
        assert_eq!(found("camera1").unwrap(), "camera0");
        for name in ["camera2", "camera", "camera-1", "camera99999999999999999999", "video0", ""] {
            assert_eq!(found(name), Err(Refusal::NoCamera(name.into())));
        }
        for name in ["/dev/video0", "../porch"] {
            assert_eq!(found(name), Err(Refusal::Path(name.into())));
        }
    }
}
