//! Printers: how all of them are treated. The printers themselves are in the database.

use std::path::PathBuf;

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
    /// Where printers speak MQTT.
    pub mqtt_port: u16,
}

impl Default for Printers {
    fn default() -> Self {
        Self { expose_access_code: false, key_file: None, search: true, mqtt_port: 8883 }
    }
}
