//! What is done to cameras' pictures (masks, rotation, flip, overlay), and the controls of their devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::cameras::Device;
use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, method, params};
use crate::capture::device;
use crate::config::transforms::Transforms;
use crate::control::Named;
use crate::control::pictures::Pictures;

pub fn methods() -> Vec<Method> {
    let (viewer, operator, admin) = (Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin));
    vec![
        method(
            "get_camera_transforms",
            viewer,
            "What is done to a camera's pictures: masks, rotation, flip, overlay.",
            transforms,
        ),
        method(
            "set_camera_transforms",
            admin,
            "Replaces all of it, what is left out is off, and keeps it until it is reset.",
            set_transforms,
        ),
        method(
            "reset_camera_transforms",
            admin,
            "Goes back to what the configuration says about a camera's pictures.",
            reset_transforms,
        ),
        method(
            "get_camera_controls",
            viewer,
            "The controls of a V4L2 camera and how they are set.",
            controls,
        ),
        method(
            "set_camera_controls",
            operator,
            "Sets controls, at once and again whenever the camera comes back.",
            set_controls,
        ),
    ]
}

params! {
    SetTransforms {
        /// `camera0`, `camera1`, … or the camera's id.
        device: String,
        transforms: Transforms,
        /// Whether encoders may begin anew for it, a gap of about a second; without it that is an error (-32020)
        /// and nothing is changed.
        restart: Option<bool>,
    }
}

params! {
    ResetTransforms {
        /// `camera0`, `camera1`, … or the camera's id.
        device: String,
        /// As in `set_camera_transforms`.
        restart: Option<bool>,
    }
}

params! {
    SetControls {
        /// `camera0`, `camera1`, … or the camera's id.
        device: String,
        /// Values by the controls' ids; null sets the default and forgets what was set.
        controls: BTreeMap<String, Option<i64>>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraTransforms {
    device: String,
    /// The camera's own id.
    id: String,
    #[serde(flatten)]
    pictures: Pictures,
}

impl From<(Named, Pictures)> for CameraTransforms {
    fn from((camera, pictures): (Named, Pictures)) -> Self {
        Self { id: camera.capture.id().to_owned(), device: camera.alias, pictures }
    }
}

async fn transforms(session: Arc<Session>, params: Device) -> Result<CameraTransforms, Error> {
    Ok(session.rpc.house().control.pictures(&params.device)?.into())
}

async fn set_transforms(session: Arc<Session>, params: SetTransforms) -> Result<CameraTransforms, Error> {
    let SetTransforms { device, transforms, restart } = params;
    let control = &session.rpc.house().control;
    Ok(control.set_pictures(&device, Some(transforms), restart == Some(true)).await?.into())
}

async fn reset_transforms(session: Arc<Session>, params: ResetTransforms) -> Result<CameraTransforms, Error> {
    let control = &session.rpc.house().control;
    Ok(control.set_pictures(&params.device, None, params.restart == Some(true)).await?.into())
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraControls {
    device: String,
    /// The camera's own id.
    id: String,
    controls: Vec<device::Control>,
}

impl From<(Named, Vec<device::Control>)> for CameraControls {
    fn from((camera, controls): (Named, Vec<device::Control>)) -> Self {
        Self { id: camera.capture.id().to_owned(), device: camera.alias, controls }
    }
}

async fn controls(session: Arc<Session>, params: Device) -> Result<CameraControls, Error> {
    Ok(session.rpc.house().control.controls(&params.device).await?.into())
}

async fn set_controls(session: Arc<Session>, params: SetControls) -> Result<CameraControls, Error> {
    let control = &session.rpc.house().control;
    Ok(control.set_controls(&params.device, &params.controls).await?.into())
}
