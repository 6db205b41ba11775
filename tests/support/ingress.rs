//! LiveKit's ingress service, when `ingress` is on PATH: there is no package of it, and `go install` cannot
//! build it. It takes RTMP and WHIP, and publishes what it gets in LiveKit.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::livekit::{Ingresses, KEY, LiveKit, SECRET};
use super::{Process, free_port, get, lacks, namespace, wait_until};

#[derive(Debug)]
pub struct Ingress {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Ingress {
    /// Where `livekit` was told that it is. `None` when the test is left out because it is not on PATH.
    pub fn start(test: &str, livekit: &LiveKit, ingresses: &Ingresses) -> Option<Self> {
        if lacks(test, &[("ingress", "none; see github.com/livekit/ingress")]) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let health_port = free_port();
        let config = json!({
            "api_key": KEY,
            "api_secret": SECRET,
            "ws_url": livekit.url(),
            "redis": { "address": ingresses.redis },
            "rtmp_port": ingresses.rtmp_port,
            "whip_port": ingresses.whip_port,
            "http_relay_port": free_port(),
            "health_port": health_port,
            "rtc_config": {
                "udp_port": free_port(),
                "use_external_ip": false,
                "node_ip": namespace::ADDRESS,
                "interfaces": { "includes": [namespace::INTERFACE] },
            },
            // Cores that have to be idle, or it refuses a stream ("server capacity exceeded"). A test
            // machine is busy; less than none always is.
            "cpu_cost": {
                "rtmp_cpu_cost": -1,
                "whip_cpu_cost": -1,
                "whip_bypass_transcoding_cpu_cost": -1,
                "url_cpu_cost": -1,
                "min_idle_ratio": 0.001,
            },
        });
        let file = directory.path().join("ingress.yaml");
        std::fs::write(&file, config.to_string()).expect("its configuration");
        let mut command = Command::new("ingress");
        command.arg("--config").arg(file).current_dir(directory.path());
        let mut process = Process::spawn("ingress", &mut command);
        wait_until("ingress answers", Duration::from_secs(20), || {
            assert!(process.try_wait().is_none(), "ingress ended: {}", process.output());
            get(health_port, "/").is_ok_and(|answer| answer.status == 200)
        });
        Some(Self { process, _directory: directory })
    }

    pub fn log(&self) -> String {
        self.process.output()
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
