//! go2rtc and MediaMTX as peers, where they are installed: `GO2RTC=PATH`, `MEDIAMTX=PATH`, or on the PATH.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::service::STARTS;
use crate::support::{Process, free_port, wait_until};

pub fn go2rtc() -> Option<PathBuf> {
    find("GO2RTC", "go2rtc")
}

pub fn mediamtx() -> Option<PathBuf> {
    find("MEDIAMTX", "mediamtx")
}

fn find(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|directory| directory.join(name)).find(|p| p.is_file()))
}

/// A peer that serves one RTSP camera, `cam`, to WebRTC viewers, on loopback.
#[derive(Debug)]
pub struct WhepPeer {
    pub process: Process,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl WhepPeer {
    pub fn go2rtc(executable: &PathBuf, camera: &str) -> Self {
        let media = free_port();
        Self::start("go2rtc", executable, &["-config"], |port| {
            format!(
                "app:\n  modules: [api, http, rtsp, webrtc]\napi:\n  listen: \"127.0.0.1:{port}\"\n\
                 rtsp:\n  listen: \"\"\nlog:\n  level: error\n\
                 webrtc:\n  listen: \"127.0.0.1:{media}\"\n  candidates: [\"127.0.0.1:{media}\"]\n\
                 streams:\n  cam: {camera}\n"
            )
        })
    }

    pub fn mediamtx(executable: &PathBuf, camera: &str) -> Self {
        let media = free_port();
        Self::start("MediaMTX", executable, &[], |port| {
            format!(
                "logLevel: error\nrtsp: no\nrtmp: no\nhls: no\nsrt: no\nmoq: no\nwebrtc: yes\n\
                 webrtcAddress: 127.0.0.1:{port}\nwebrtcLocalUDPAddress: 127.0.0.1:{media}\n\
                 webrtcIPsFromInterfaces: no\nwebrtcAdditionalHosts: [127.0.0.1]\n\
                 paths:\n  cam:\n    source: {camera}\n    rtspTransport: tcp\n"
            )
        })
    }

    fn start(name: &str, executable: &PathBuf, before: &[&str], config: impl FnOnce(u16) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, file) = (free_port(), directory.path().join("peer.yml"));
        std::fs::write(&file, config(port)).expect("the peer's configuration");
        let mut command = Command::new(executable);
        command.args(before).arg(&file).current_dir(directory.path());
        let process = Process::spawn(name, &mut command);
        wait_until(&format!("{name} listens"), STARTS, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, _directory: directory }
    }
}

/// go2rtc with one RTSP camera, `cam`, its RTSP alone and on loopback.
#[derive(Debug)]
pub struct RtspPeer {
    pub process: Process,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl RtspPeer {
    pub fn go2rtc(executable: &PathBuf, camera: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, file) = (free_port(), directory.path().join("go2rtc.yaml"));
        let config = format!(
            "app:\n  modules: [rtsp]\nrtsp:\n  listen: \"127.0.0.1:{port}\"\nlog:\n  level: error\n\
             streams:\n  cam: {camera}\n"
        );
        std::fs::write(&file, config).expect("go2rtc's configuration");
        let mut command = Command::new(executable);
        command.arg("-config").arg(&file).current_dir(directory.path());
        let process = Process::spawn("go2rtc", &mut command);
        wait_until("go2rtc listens", STARTS, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, _directory: directory }
    }
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
