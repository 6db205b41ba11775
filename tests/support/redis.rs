//! A Redis with nothing on disk, which LiveKit wants before it knows ingresses.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::{Process, free_port, lacks, wait_until};

#[derive(Debug)]
pub struct Redis {
    port: u16,
    process: Process,
    _directory: tempfile::TempDir,
}

impl Redis {
    /// On a free port of 127.0.0.1. `None` when the test is left out because it is not installed.
    pub fn start(test: &str) -> Option<Self> {
        if lacks(test, &[("redis-server", "redis-server")]) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(directory.path());
        let mut process = Process::spawn("redis-server", &mut command);
        wait_until("Redis takes connections", Duration::from_secs(10), || {
            assert!(process.try_wait().is_none(), "Redis ended: {}", process.output());
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
        });
        Some(Self { port, process, _directory: directory })
    }

    /// `host:port`, as LiveKit's configuration wants it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
