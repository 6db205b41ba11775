//! How a printer is shown: by REST, JSON-RPC, events and the health file alike. Names are those that clients of
//! printers know, so they are in camel case. No access code is in here but where the registry puts it.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::Entry;
use super::models::{Lamp, Limits};
use super::state::{Details, PrinterState};
use crate::supervision::State;
use crate::telemetry;
use crate::tls::Fingerprint;

/// A printer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrinterView {
    /// Also the id of its camera: `/hls/1/stream.m3u8`.
    pub id: i64,
    pub name: String,
    pub host: String,
    pub serial: String,
    /// Null unless `printers.expose_access_code` is on and an admin asks.
    pub access_code: Option<String>,
    /// Whether there is one that can be used: it may be sealed with a key file that is lost.
    pub has_access_code: bool,
    /// Null: what the printer says.
    pub rtsp_url: Option<String>,
    /// With `?full=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraView>,
    /// With `?full=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// With `?full=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusView>,
}

/// What a printer is doing. Null is what it has not said or does not have.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// Whether it is connected and has said something within a minute.
    pub connected: bool,
    /// `IDLE`, `PREPARE`, `SLICING`, `RUNNING`, `PAUSE`, `FINISH`, `FAILED`, …: as the printer says it.
    pub job_state: Option<String>,
    pub percent: Option<u8>,
    pub remaining_minutes: Option<u32>,
    pub nozzle_c: Option<f64>,
    pub bed_c: Option<f64>,
    /// Null on machines without a sensor.
    pub chamber_c: Option<f64>,
    /// `on` or `off`: the chamber's.
    #[schema(value_type = Option<String>)]
    pub light: Option<&'static str>,
    /// When the newest report came.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    pub last_update: Option<SystemTime>,
    /// With `?full=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<DetailsView>>,
}

/// What people like to know beside that.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DetailsView {
    /// What is shown is old: it has been silent for a minute, or is not connected.
    pub stale: bool,
    /// Why it is not connected, in words.
    pub error: Option<String>,
    /// `X1C`, `A1 mini`, `unknown`, …
    pub model: String,
    /// How the connection is; null when the access code is not known.
    pub state: Option<State>,
    pub nozzle_target_c: Option<f64>,
    pub bed_target_c: Option<f64>,
    pub chamber_target_c: Option<f64>,
    /// What `nozzle_target` and `bed_target` may be at most.
    pub nozzle_limit_c: f64,
    pub bed_limit_c: f64,
    /// What `light` may name.
    pub lamps: Vec<Lamp>,
    #[serde(flatten)]
    pub details: Details,
}

/// Where a printer's pictures are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PrinterCamera)]
pub struct CameraView {
    /// The id of its camera, in `/cameras/{id}` and `/hls/{id}`; null: it has none now.
    pub id: Option<String>,
    /// Why it has none, and what to do.
    pub error: Option<String>,
}

/// By which a printer is known again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PrinterCertificate)]
pub struct Certificate {
    /// SHA-256 of the one that is trusted, in hex; null before the first connection.
    #[schema(value_type = Option<String>)]
    pub known: Option<Fingerprint>,
    /// Of another one that the printer shows now: nobody connects until it is accepted.
    #[schema(value_type = Option<String>)]
    pub offered: Option<Fingerprint>,
}

/// A printer in the health file.
#[derive(Clone, Debug, Serialize)]
pub struct PrinterHealth {
    id: i64,
    name: String,
    connected: bool,
    /// Of the connection; null when the access code is not known.
    state: Option<State>,
    attempts: u64,
    /// Why it is not connected.
    error: Option<String>,
    job_state: Option<String>,
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    last_update: Option<SystemTime>,
}

impl PrinterHealth {
    pub fn of(entry: &Entry) -> Self {
        let (state, lifecycle) = (entry.state(), entry.lifecycle());
        Self {
            id: entry.printer.id,
            name: entry.printer.name.clone(),
            connected: state.connected && !state.stale,
            state: lifecycle.as_ref().map(|lifecycle| lifecycle.state),
            attempts: lifecycle.map_or(0, |lifecycle| lifecycle.attempts),
            error: entry.locked.clone().or_else(|| state.trouble.clone()),
            job_state: state.job_state.clone(),
            last_update: state.last_update,
        }
    }
}

impl PrinterView {
    /// `expose`: with its access code. `full`: with its status and that with details.
    pub fn of(entry: &Entry, expose: bool, full: bool) -> Self {
        let printer = &entry.printer;
        let code = printer.access_code.expose();
        Self {
            id: printer.id,
            name: printer.name.clone(),
            host: printer.host.clone(),
            serial: printer.serial.clone(),
            access_code: (expose && entry.locked.is_none()).then(|| code.to_owned()),
            has_access_code: entry.locked.is_none(),
            rtsp_url: printer.rtsp_url.clone(),
            camera: full.then(|| {
                let camera = entry.camera();
                CameraView { id: camera.as_ref().ok().cloned(), error: camera.err() }
            }),
            certificate: full.then(|| Certificate { known: printer.pin, offered: entry.offered() }),
            status: full.then(|| StatusView::of(entry, true)),
        }
    }
}

impl StatusView {
    pub fn of(entry: &Entry, full: bool) -> Self {
        Self::at(entry, &entry.state(), full)
    }

    /// Of a state that was seen.
    pub fn at(entry: &Entry, state: &PrinterState, full: bool) -> Self {
        Self {
            connected: state.connected && !state.stale,
            job_state: state.job_state.clone(),
            percent: state.percent,
            remaining_minutes: state.remaining_minutes,
            nozzle_c: state.nozzle_c,
            bed_c: state.bed_c,
            chamber_c: state.chamber_c,
            light: state.light.map(|on| if on { "on" } else { "off" }),
            last_update: state.last_update,
            details: full.then(|| Box::new(DetailsView::of(entry, state))),
        }
    }
}

impl DetailsView {
    fn of(entry: &Entry, state: &PrinterState) -> Self {
        let Limits { nozzle, bed } = state.model.limits();
        Self {
            stale: state.stale,
            error: entry.locked.clone().or_else(|| state.trouble.clone()),
            model: state.model.name().to_owned(),
            state: entry.lifecycle().map(|lifecycle| lifecycle.state),
            nozzle_target_c: state.nozzle_target_c,
            bed_target_c: state.bed_target_c,
            chamber_target_c: state.chamber_target_c,
            nozzle_limit_c: nozzle,
            bed_limit_c: bed,
            lamps: Lamp::ALL.iter().copied().filter(|lamp| state.has_lamp(*lamp)).collect(),
            details: state.details.clone(),
        }
    }
}
