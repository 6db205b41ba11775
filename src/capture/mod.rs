//! One camera: its source pipeline, its encoders, its outlets.

pub mod choice;
mod jpeg;
mod knock;
pub mod outlet;
pub mod status;
mod timeline;
pub mod v4l2;

use std::sync::Arc;
use std::time::SystemTime;

use crate::config::model::Camera;
use crate::frames::Codec;
use crate::supervision::lifecycle::Snapshot;
use outlet::Outlet;
use status::{CameraStatus, OutletStatus};

/// The handle of one camera. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Capture(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    camera: Camera,
    jpeg: Arc<Outlet>,
    h264: Arc<Outlet>,
}

impl Capture {
    /// A camera without a pipeline: whoever holds it pushes pictures into its outlets.
    pub fn detached(camera: Camera) -> Self {
        Self(Arc::new(Inner { camera, jpeg: Outlet::new(Codec::Jpeg), h264: Outlet::new(Codec::H264) }))
    }

    pub fn camera(&self) -> &Camera {
        &self.0.camera
    }

    pub fn id(&self) -> &str {
        &self.0.camera.id
    }

    pub fn jpeg(&self) -> &Arc<Outlet> {
        &self.0.jpeg
    }

    pub fn h264(&self) -> &Arc<Outlet> {
        &self.0.h264
    }

    /// Tries again at once if the camera waits to be tried.
    pub fn poke(&self) {}

    /// Ends the present attempt, if there is one, and begins anew.
    pub fn restart(&self) {}

    pub fn status(&self) -> CameraStatus {
        let outlet = |outlet: &Outlet| OutletStatus {
            encoder: None,
            lifecycle: Snapshot::idle(SystemTime::now()),
            counters: outlet.counters(),
        };
        CameraStatus {
            id: self.id().to_owned(),
            name: self.camera().display_name().to_owned(),
            source: self.camera().source.kind(),
            lifecycle: Snapshot::idle(SystemTime::now()),
            fps: 0.0,
            frames: 0,
            frame_age_seconds: None,
            format: None,
            resolution: None,
            notes: Vec::new(),
            jpeg: outlet(&self.0.jpeg),
            h264: outlet(&self.0.h264),
        }
    }
}
