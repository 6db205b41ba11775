//! go2rtc as a peer, where it is installed: `GO2RTC=PATH`, or on the PATH.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::service::STARTS;
use crate::support::{Process, free_port, wait_until};

pub fn go2rtc() -> Option<PathBuf> {
    let named = std::env::var_os("GO2RTC").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| {
        std::env::split_paths(&path).map(|directory| directory.join("go2rtc")).find(|p| p.is_file())
    })
}

/// go2rtc with one MJPEG camera, its HTTP alone and on loopback.
#[derive(Debug)]
pub struct Go2rtc {
    pub process: Process,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl Go2rtc {
    pub const PATH: &str = "/api/stream.mjpeg?src=cam";

    pub fn start(executable: &PathBuf, camera: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, file) = (free_port(), directory.path().join("go2rtc.yaml"));
        let config = format!(
            "app:\n  modules: [api, http, mjpeg]\napi:\n  listen: \"127.0.0.1:{port}\"\n\
             log:\n  level: error\nstreams:\n  cam: {camera}\n"
        );
        std::fs::write(&file, config).expect("go2rtc's configuration");
        let mut command = Command::new(executable);
        command.arg("-config").arg(&file).current_dir(directory.path());
        let process = Process::spawn("go2rtc", &mut command);
        wait_until("go2rtc listens", STARTS, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, _directory: directory }
    }
}
