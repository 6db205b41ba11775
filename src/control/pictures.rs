//! What is done to a camera's pictures, and the controls of its device: asked and set.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Control, Named, Refusal};
use crate::cameras::controls::ControlError;
use crate::cameras::pictures::TransformError;
use crate::capture::device;
use crate::capture::{Capture, Origin};
use crate::config::transforms::Transforms;

/// What is done to a camera's pictures now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pictures {
    #[serde(flatten)]
    transforms: Transforms,
    /// Whether any of it is on: a stream that the camera encodes itself is then decoded and encoded again.
    active: bool,
    set_by: SetBy,
    /// What is re-encoded and why.
    notes: Vec<String>,
    /// After a change: whether encoders began anew for it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted: Option<String>,
    /// After a change: whether it holds after the next start of the service. It does not where there is no
    /// database.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetBy {
    Configuration,
    /// By REST or JSON-RPC, over what the configuration says, until it is reset.
    Api,
    /// What was set before cannot be read: everything is covered until it is set anew. `notes` say why.
    Caution,
}

impl Pictures {
    fn of(capture: &Capture) -> Self {
        let transforms = capture.transforms();
        Self {
            active: transforms.any(),
            set_by: match capture.transforms_origin() {
                Origin::Configuration => SetBy::Configuration,
                Origin::Api => SetBy::Api,
                Origin::Caution(_) => SetBy::Caution,
            },
            transforms,
            notes: capture.status().notes,
            restarted: None,
            kept: None,
        }
    }
}

/// Why pictures or controls are not as somebody wants them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSet {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Pictures(#[from] TransformError),
    #[error(transparent)]
    Controls(#[from] ControlError),
}

impl Control {
    /// What is done to a camera's pictures now.
    ///
    /// # Errors
    /// There is no such camera.
    pub fn pictures(&self, name: &str) -> Result<(Named, Pictures), Refusal> {
        let camera = self.camera(name)?;
        let pictures = Pictures::of(&camera.capture);
        Ok((camera, pictures))
    }

    /// Replaces all of it, `None` by what the configuration says, and keeps it.
    ///
    /// # Errors
    /// There is no such camera, it is not possible, or encoders would begin anew and `restart` does not allow
    /// that.
    pub async fn set_pictures(
        &self,
        name: &str,
        transforms: Option<Transforms>,
        restart: bool,
    ) -> Result<(Named, Pictures), NotSet> {
        let camera = self.camera(name)?;
        let id = camera.capture.id().to_owned();
        let changed = self.0.cameras.transform(&id, transforms, restart).await?;
        let (camera, pictures) = self.pictures(&id)?;
        let restarted = changed.restarted.map(str::to_owned);
        Ok((camera, Pictures { restarted, kept: Some(changed.kept), ..pictures }))
    }

    /// The controls of a camera's device as they are now.
    ///
    /// # Errors
    /// There is no such camera, or its device has none or does not answer.
    pub async fn controls(&self, name: &str) -> Result<(Named, Vec<device::Control>), NotSet> {
        let camera = self.camera(name)?;
        let controls = self.0.cameras.controls(camera.capture.id()).await?;
        Ok((camera, controls))
    }

    /// Sets controls, `None` to their default, and keeps what was set; all of them as they are then.
    ///
    /// # Errors
    /// As [`Control::controls`], and what the device does not take.
    pub async fn set_controls(
        &self,
        name: &str,
        values: &BTreeMap<String, Option<i64>>,
    ) -> Result<(Named, Vec<device::Control>), NotSet> {
        let camera = self.camera(name)?;
        let controls = self.0.cameras.set_controls(camera.capture.id(), values).await?;
        tracing::info!(camera = camera.capture.id(), "controls set: {values:?}");
        Ok((camera, controls))
    }
}
