//! Printers: how all of them are treated. The printers themselves are in the database.

use std::path::PathBuf;

use super::super::networks::Network;
use serde::{Deserialize, Serialize};

/// Bambu Lab printers in LAN mode; they are added by page and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Printers {
    /// Whether the API tells access codes to those who may change printers.
    pub expose_access_code: bool,
    /// A file with 32 bytes in hex: access codes in the database are sealed with it.
    pub key_file: Option<PathBuf>,
    /// Whether printers of the network are listened for while somebody adds one.
    pub search: bool,
    /// Networks that are let through though they would be refused otherwise: loopback, link-local, this
    /// machine's own addresses.
    pub allow_networks: Vec<Network>,
    /// Where printers speak MQTT.
    pub mqtt_port: u16,
    /// Where A1 and P1 give their pictures.
    pub jpeg_port: u16,
    /// Where cameras are, in place of what printers tell: `rtsps://{host}:322/streaming/live/1`.
    pub rtsp_url: Option<String>,
    /// Whether prints are recorded.
    pub record: bool,
    /// Between two pictures of a print's timelapse; 0: none is made.
    pub timelapse_seconds: f64,
    /// Pictures per second of the timelapse.
    pub timelapse_fps: u32,
    /// A picture when a print is done, and when it fails or stops because of an error.
    pub snapshot_at_end: bool,
    pub snapshot_on_error: bool,
}

impl Default for Printers {
    fn default() -> Self {
        Self {
            expose_access_code: false,
            key_file: None,
            search: true,
            allow_networks: Vec::new(),
            mqtt_port: 8883,
            jpeg_port: 6000,
            rtsp_url: None,
            record: false,
            timelapse_seconds: 0.0,
            timelapse_fps: 30,
            snapshot_at_end: false,
            snapshot_on_error: false,
        }
    }
}
