//! What is known of a printer, as everybody reads it: one value that is replaced as a whole when something
//! changes. The reducer ([`super::reducer`]) makes it; API, camera and hooks read it.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::hms::Fault;
use super::models::{Lamp, Model};

/// Everything that is known of a printer. What it has not said, or does not have, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrinterState {
    /// The link is up: the printer lets us in and its reports are subscribed to.
    pub connected: bool,
    /// What is shown is old: it has been silent for 60 s, or is not connected.
    pub stale: bool,
    /// Why it is not connected, in words.
    pub trouble: Option<String>,
    /// When the newest report came.
    pub last_update: Option<SystemTime>,
    pub model: Model,
    /// `gcode_state` as the machine says it: IDLE, PREPARE, RUNNING, PAUSE, FINISH, FAILED, …
    pub job_state: Option<String>,
    pub percent: Option<u8>,
    pub remaining_minutes: Option<u32>,
    pub nozzle_c: Option<f64>,
    pub nozzle_target_c: Option<f64>,
    pub bed_c: Option<f64>,
    pub bed_target_c: Option<f64>,
    /// `None` on machines without a sensor, whatever they report.
    pub chamber_c: Option<f64>,
    pub chamber_target_c: Option<f64>,
    /// Whether the chamber's light is on.
    pub light: Option<bool>,
    /// `ipcam.rtsp_url` as told: an address, or `disable`. Its host may be wrong.
    pub rtsp_url: Option<String>,
    /// Tells one print from the next: `subtask_id`, or what stands for it.
    pub task: Option<String>,
    /// Bits of `print_error`; zero is none.
    pub print_error_bits: u32,
    pub details: Details,
}

/// What people like to know beside that, in the API's own form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The print's name, or that of its file.
    pub file: Option<String>,
    pub layer: Option<u32>,
    pub layers: Option<u32>,
    /// What it does at present, in words.
    pub stage: Option<String>,
    /// 1 silent, 2 standard, 3 sport, 4 ludicrous.
    pub speed_level: Option<u8>,
    pub speed_percent: Option<u32>,
    pub fans: Fans,
    /// Of a machine with several nozzles, each.
    pub nozzles: Vec<Nozzle>,
    pub lights: Vec<Light>,
    pub ams: Vec<AmsUnit>,
    /// On the holder outside of any AMS.
    pub external_spool: Option<Tray>,
    /// What the machine complains of.
    pub hms: Vec<Fault>,
    /// Why the print was paused or failed.
    pub print_error: Option<Fault>,
    pub wifi_dbm: Option<i32>,
    pub firmware: Option<String>,
    /// Whether commands are obeyed. `None`: this firmware does not say.
    pub developer_mode: Option<bool>,
}

/// In per cent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fans {
    pub part: Option<u8>,
    pub auxiliary: Option<u8>,
    pub chamber: Option<u8>,
    pub heatbreak: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nozzle {
    pub id: u32,
    pub celsius: f64,
    pub target_celsius: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Light {
    /// `chamber_light`, `work_light`, …
    pub node: String,
    /// `on`, `off`, `flashing`.
    pub mode: String,
}

/// A box of spools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmsUnit {
    pub id: String,
    /// 1 (wet) to 5 (dry).
    pub humidity_level: Option<u8>,
    pub humidity_percent: Option<u8>,
    pub celsius: Option<f64>,
    /// Minutes that it goes on drying.
    pub drying_minutes: Option<u32>,
    pub trays: Vec<Tray>,
}

/// A place for one spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tray {
    pub id: String,
    pub empty: bool,
    /// `PLA`, `PETG`, …
    pub material: Option<String>,
    /// The maker's name for it.
    pub name: Option<String>,
    /// `#RRGGBBAA`.
    pub colour: Option<String>,
    pub remaining_percent: Option<u8>,
    /// It is in the nozzle.
    pub active: bool,
}

/// What a printer is doing, of what decisions hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// It has not said.
    Unknown,
    /// Nothing to pause: idle, finished, failed, starting up.
    Idle,
    /// On the way to printing: preparing, slicing.
    Preparing,
    Printing,
    Paused,
    Finished,
    Failed,
}

impl Job {
    /// Whether there is a print under way.
    pub fn active(self) -> bool {
        matches!(self, Job::Preparing | Job::Printing | Job::Paused)
    }
}

impl PrinterState {
    pub fn job(&self) -> Job {
        match self.job_state.as_deref() {
            None | Some("" | "OFFLINE" | "UNKNOWN") => Job::Unknown,
            Some("PREPARE" | "SLICING") => Job::Preparing,
            Some("RUNNING") => Job::Printing,
            Some("PAUSE") => Job::Paused,
            Some("FINISH") => Job::Finished,
            Some("FAILED") => Job::Failed,
            Some(_) => Job::Idle,
        }
    }

    /// Whether it has this lamp: it reports it, or all of its kind have it.
    pub fn has_lamp(&self, lamp: Lamp) -> bool {
        self.model.lamps().contains(&lamp)
            || self.details.lights.iter().any(|light| light.node == lamp.node())
    }
}
