//! Cameras: what there is, how each is, what it can do.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Role;
use crate::api::rpc::Rpc;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, Nothing, method, params};
use crate::cameras::Presence;
use crate::cameras::controls::ControlError;
use crate::capture::device::Control;
use crate::capture::status::OutletStatus;
use crate::capture::v4l2::Mode;
use crate::control::{Named, Urls};
use crate::supervision::State;

pub fn methods() -> Vec<Method> {
    let viewer = Some(Role::Viewer);
    vec![
        method("get_camera_list", viewer, "All cameras, the first one first.", list),
        method("get_camera_status", viewer, "One camera, in detail.", status),
        method(
            "get_camera_capabilities",
            viewer,
            "What a camera gives and which outputs it has.",
            capabilities,
        ),
    ]
}

params! {
    /// One camera.
    Device {
        /// `camera0`, `camera1`, … or the camera's id. Device paths are refused.
        device: String,
    }
}

/// How a camera is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It gives pictures, or would if somebody watched.
    Connected,
    /// It gives none; it is tried again by itself, or when it is plugged in.
    Disconnected,
    /// It refuses the credentials.
    Error,
}

impl Status {
    pub fn of(camera: &Named) -> Self {
        Self::when(camera.capture.status().lifecycle.state, camera.presence)
    }

    fn when(state: State, presence: Option<Presence>) -> Self {
        match state {
            // Whatever its pipeline does: nobody gets pictures of it.
            _ if presence == Some(Presence::Away) => Status::Disconnected,
            State::Live | State::Idle => Status::Connected,
            State::Starting | State::Stalled | State::BackingOff | State::Stopping => Status::Disconnected,
            State::Refused => Status::Error,
        }
    }
}

/// What must be the same for nothing to have changed, with the rate of pictures beside it.
#[derive(Clone, Debug)]
pub struct Essence {
    device: String,
    id: String,
    status: Status,
    state: State,
    presence: Option<Presence>,
    name: String,
    resolution: Option<String>,
    fps: f64,
    streams: Urls,
    last_error: Option<String>,
}

impl PartialEq for Essence {
    fn eq(&self, other: &Self) -> bool {
        let of = |e: &Self| {
            (e.device.clone(), e.status, e.state, e.presence, e.name.clone(), e.resolution.clone())
        };
        of(self) == of(other) && self.streams == other.streams
    }
}

impl Essence {
    pub fn of(rpc: &Rpc, camera: &Named) -> Self {
        let status = camera.capture.status();
        Self {
            device: camera.alias.clone(),
            streams: Urls::of(
                &camera.capture,
                rpc.house().config.borrow().hls.low_latency,
                rpc.house().rtsp.as_ref(),
            ),
            status: Status::when(status.lifecycle.state, camera.presence),
            state: status.lifecycle.state,
            presence: camera.presence,
            id: status.id,
            name: status.name,
            resolution: status.resolution,
            fps: rounded(status.fps),
            last_error: status.lifecycle.last_error,
        }
    }

    /// The same of a camera that was taken away.
    pub fn gone(&self) -> Self {
        Self { status: Status::Disconnected, state: State::Stopping, fps: 0.0, ..self.clone() }
    }
}

/// One camera. Also the parameters of the notification `camera_status_update`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraUpdate {
    /// `camera0`
    device: String,
    /// The camera's own id.
    id: String,
    status: Status,
    /// The same in the words of health and REST.
    state: State,
    /// Whether its device is plugged in; null where that is not known.
    presence: Option<Presence>,
    name: String,
    /// `1280x720`; null until known.
    resolution: Option<String>,
    /// Pictures per second, measured.
    fps: f64,
    /// Addresses of its streams; null is one that is switched off.
    streams: Urls,
    /// The newest failure in words; kept after recovery.
    last_error: Option<String>,
}

impl CameraUpdate {
    pub fn of(essence: &Essence, base: &str) -> Self {
        let Essence { device, id, status, state, presence, name, resolution, fps, streams, last_error } =
            essence.clone();
        let streams = streams.at(base);
        Self { device, id, status, state, presence, name, resolution, fps, streams, last_error }
    }
}

/// To a tenth: more is noise.
fn rounded(fps: f64) -> f64 {
    (fps * 10.0).round() / 10.0
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraList {
    cameras: Vec<CameraUpdate>,
    total: usize,
    connected: usize,
}

async fn list(session: Arc<Session>, _: Nothing) -> Result<CameraList, Error> {
    let cameras = session.rpc.house().control.cameras();
    let of = |camera| CameraUpdate::of(&Essence::of(&session.rpc, camera), &session.from.base);
    let cameras: Vec<CameraUpdate> = cameras.iter().map(of).collect();
    let connected = cameras.iter().filter(|camera| camera.status == Status::Connected).count();
    Ok(CameraList { total: cameras.len(), connected, cameras })
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraDetail {
    #[serde(flatten)]
    camera: CameraUpdate,
    metrics: CameraMetrics,
    /// What a person should know: what is re-encoded and why.
    notes: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraMetrics {
    /// Pictures from the source since the service started.
    frames: u64,
    /// Of the newest picture.
    frame_age_seconds: Option<f64>,
    /// Times it was live and had to begin again.
    restarts: u64,
    attempts: u64,
    /// MJPEG, WebRTC and RTSP.
    readers: usize,
    /// Encoded, H.264 and JPEG together.
    bytes: u64,
}

async fn status(session: Arc<Session>, params: Device) -> Result<CameraDetail, Error> {
    let house = session.rpc.house();
    let camera = house.control.camera(&params.device)?;
    let status = camera.capture.status();
    let id = camera.capture.id();
    Ok(CameraDetail {
        camera: CameraUpdate::of(&Essence::of(&session.rpc, &camera), &session.from.base),
        metrics: CameraMetrics {
            frames: status.frames,
            frame_age_seconds: status.frame_age_seconds,
            restarts: status.lifecycle.restarts,
            attempts: status.lifecycle.attempts,
            readers: house.mjpeg.viewers_of(id)
                + house.whep.watching(id)
                + house.rtsp.as_ref().map_or(0, |rtsp| rtsp.watching(id)),
            bytes: status.h264.counters.bytes + status.jpeg.counters.bytes,
        },
        notes: status.notes,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct Capabilities {
    device: String,
    id: String,
    /// Kind of source: `libcamera`, `v4l2`, `rtsp`, `http`, `file`, `test`, `auto`.
    source: String,
    /// What the device calls itself; null where there is none that says.
    card: Option<String>,
    /// What the device offers (`YUYV`, `mjpeg`); of others what the stream is now, in words:
    /// `H.264 1280x720`. Empty before the first picture.
    formats: Vec<String>,
    /// The device's sizes, of a range its two ends; of other cameras those that are known: of the pictures now,
    /// and the configured one.
    resolutions: Vec<String>,
    /// The device's highest rates; of other cameras the configured rate, or the measured one.
    fps_options: Vec<f64>,
    /// `confirmed` once the device answered or pictures came, else `none`.
    #[schema(value_type = String)]
    validation_status: &'static str,
    /// Why the device does not say more, where it has something to say.
    message: Option<String>,
    /// What of the device can be set.
    controls: Vec<Control>,
    /// Outputs that are switched on.
    #[schema(value_type = Vec<String>)]
    outputs: Vec<&'static str>,
    h264: OutletStatus,
    jpeg: OutletStatus,
}

async fn capabilities(session: Arc<Session>, params: Device) -> Result<Capabilities, Error> {
    let house = session.rpc.house();
    let camera = house.control.camera(&params.device)?;
    let (told, message) = match house.control.describe(camera.capture.id()).await {
        Ok(told) => (Some(told), None),
        Err(ControlError::None(_)) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let status = camera.capture.status();
    let configured = camera.capture.camera();
    let known = told.is_some() || status.format.is_some();
    let offers = match &told {
        Some(told) => Offers::of(&told.modes),
        None => Offers {
            formats: status.format.into_iter().collect(),
            resolutions: unique(status.resolution.into_iter().chain([configured.resolution.to_string()])),
            rates: match configured.fps {
                0 => vec![rounded(status.fps)],
                fps => vec![f64::from(fps)],
            },
        },
    };
    let outputs = &configured.outputs;
    let on = [
        (outputs.mjpeg, "mjpeg"),
        (outputs.snapshot, "snapshot"),
        (outputs.hls, "hls"),
        (outputs.whep, "whep"),
        (outputs.rtsp && house.rtsp.is_some(), "rtsp"),
    ];
    let (card, controls) = told.map(|told| (told.card, told.controls)).unzip();
    Ok(Capabilities {
        device: camera.alias.clone(),
        source: status.source.to_owned(),
        card,
        formats: offers.formats,
        resolutions: offers.resolutions,
        fps_options: offers.rates.into_iter().filter(|fps| *fps > 0.0).collect(),
        validation_status: if known { "confirmed" } else { "none" },
        message,
        controls: controls.unwrap_or_default(),
        outputs: on.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect(),
        h264: status.h264,
        jpeg: status.jpeg,
        id: status.id,
    })
}

/// What a camera can give, each once.
#[derive(Debug, PartialEq)]
struct Offers {
    formats: Vec<String>,
    resolutions: Vec<String>,
    rates: Vec<f64>,
}

impl Offers {
    fn of(modes: &[Mode]) -> Self {
        let format = |mode: &Mode| match mode.pixels.as_str() {
            "" => serde_json::to_value(mode.kind).ok().and_then(|kind| Some(kind.as_str()?.to_owned())),
            pixels => Some(pixels.to_owned()),
        };
        Self {
            formats: unique(modes.iter().filter_map(format)),
            resolutions: unique(modes.iter().map(|mode| mode.size.to_string())),
            rates: unique(modes.iter().map(|mode| rounded(mode.max_fps))),
        }
    }
}

fn unique<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2::{Kind, Offer};

    #[test]
    fn each_format_size_and_rate_of_a_device_is_told_once() {
        let mode = |kind, pixels: &str, size: &str, max_fps| Mode {
            kind,
            pixels: pixels.into(),
            size: size.parse().unwrap(),
            max_fps,
            offer: Offer::default(),
        };
        let modes = [
            mode(Kind::Raw, "YUY2", "640x480", 30.0),
            mode(Kind::Raw, "YUY2", "1280x720", 10.0),
            mode(Kind::Mjpeg, "", "1280x720", 29.97),
        ];
        let offers = Offers::of(&modes);
        assert_eq!(offers.formats, ["YUY2", "mjpeg"]);
        assert_eq!(offers.resolutions, ["640x480", "1280x720"]);
        assert_eq!(offers.rates, [30.0, 10.0]);
    }

    #[test]
    fn a_camera_that_is_unplugged_is_disconnected_also_while_nobody_watches() {
        let (here, away) = (Some(Presence::Present), Some(Presence::Away));
        for (state, presence, status) in [
            (State::Idle, None, Status::Connected),
            (State::Idle, here, Status::Connected),
            (State::Idle, away, Status::Disconnected),
            (State::Live, here, Status::Connected),
            (State::Live, away, Status::Disconnected),
            (State::BackingOff, here, Status::Disconnected),
            (State::Refused, None, Status::Error),
        ] {
            assert_eq!(Status::when(state, presence), status, "{state:?} {presence:?}");
        }
    }
}
