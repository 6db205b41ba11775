//! Cameras elsewhere that are added by API.

use serde::{Deserialize, Serialize};

use super::super::networks::Network;

/// Cameras elsewhere that are added by API, and where they may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct External {
    /// Networks that are let through though they would be refused otherwise: this machine's own addresses,
    /// loopback, link-local.
    pub allow_networks: Vec<Network>,
    /// As many may be added.
    pub max_streams: usize,
}

impl Default for External {
    fn default() -> Self {
        Self { allow_networks: Vec::new(), max_streams: 32 }
    }
}
