//! Other machines that are looked after from here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::networks::Network;

/// `APP_MODE=management`: a fleet of nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Management {
    pub enabled: bool,
    /// Where nodes are kept. Default: `/data/node-registry.json` where `/data` is a directory, else in the
    /// storage directory.
    pub registry_path: Option<PathBuf>,
    /// Nodes are probed this often, and a status this old is asked for anew.
    pub probe_seconds: f64,
    /// A probe takes no longer.
    pub probe_timeout_seconds: f64,
    /// An action that is passed on takes no longer.
    pub action_timeout_seconds: f64,
    /// Whether nodes may be in private networks, as at home.
    pub private_networks: bool,
    /// Where nodes may be in any case: loopback and other special addresses are closed otherwise. Loopback is open
    /// while this service itself listens nowhere else.
    pub allow_networks: Vec<Network>,
    /// Authorities (PEM) of nodes by https, beside those of the machine.
    pub tls_ca_file: Option<PathBuf>,
}

impl Default for Management {
    fn default() -> Self {
        Self {
            enabled: false,
            registry_path: None,
            probe_seconds: 10.0,
            probe_timeout_seconds: 3.0,
            action_timeout_seconds: 15.0,
            private_networks: true,
            allow_networks: Vec::new(),
            tls_ca_file: None,
        }
    }
}
