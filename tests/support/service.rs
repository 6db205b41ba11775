//! The service itself: the real binary with a configuration file, on a port and in a directory of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Process, Response, free_port, get, namespace, wait_until};

/// The longest that the binary may take until it answers `/health`, on a busy machine.
pub const ANSWERS: Duration = Duration::from_secs(15);
/// The longest that a camera at hand may take to its first picture.
pub const STARTS: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Fanlight {
    process: Process,
    port: u16,
    environment: Vec<(String, String)>,
    /// What the binary is run by; empty for nothing.
    runner: Vec<OsString>,
    directory: tempfile::TempDir,
}

impl Fanlight {
    /// Starts it with this TOML and returns once it answers.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// As [`Fanlight::start`], with variables for its environment. Without a `HEALTH_FILE` among them
    /// the health file is [`Fanlight::health_file`].
    pub fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_by(config, environment, Vec::new())
    }

    /// On a machine that trusts this certificate and no other: for its eyes alone it lies where Debian
    /// keeps those of all authorities. In a namespace only.
    pub fn start_trusting(config: &str, certificate: &Path) -> Self {
        assert!(namespace::within(), "only root in a namespace may mount");
        let mount = "mount --bind \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\"";
        let runner = ["unshare", "--mount", "bash", "-c", mount].map(OsString::from);
        Self::start_by(config, &[], [runner.as_slice(), &[certificate.into()]].concat())
    }

    fn start_by(config: &str, environment: &[(&str, &str)], runner: Vec<OsString>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("fanlight.toml"), config).expect("the configuration file");
        let port = free_port();
        let environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let process = spawn(directory.path(), port, &environment, &runner);
        let mut service = Self { process, port, environment, runner, directory };
        service.wait_answering();
        service
    }

    /// Runs the binary to its end with this TOML on this port: for starts that have to fail.
    pub fn run_to_end(config: &str, port: u16, within: Duration) -> (std::process::ExitStatus, String) {
        Self::run_to_end_with(config, port, &[], within)
    }

    /// As [`Fanlight::run_to_end`], with variables for its environment.
    pub fn run_to_end_with(
        config: &str,
        port: u16,
        environment: &[(&str, &str)],
        within: Duration,
    ) -> (std::process::ExitStatus, String) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("fanlight.toml"), config).expect("the configuration file");
        let environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut process = spawn(directory.path(), port, &environment, &[]);
        let status = process.wait(within);
        (status, process.output())
    }

    #[track_caller]
    fn wait_answering(&mut self) {
        wait_until("the service answers /health", ANSWERS, || {
            if let Some(status) = self.process.try_wait() {
                panic!("the service ended by itself: {status}");
            }
            self.try_get("/health").is_some_and(|response| response.status == 200)
        });
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("fanlight.toml")
    }

    pub fn health_file(&self) -> PathBuf {
        self.directory.path().join("health.json")
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        get(self.port, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub fn try_get(&self, path: &str) -> Option<Response> {
        get(self.port, path).ok()
    }

    /// What `/api/cameras/{id}` says.
    #[track_caller]
    pub fn camera(&self, id: &str) -> Value {
        let response = self.get(&format!("/api/cameras/{id}"));
        assert_eq!(response.status, 200, "/api/cameras/{id}: {}", response.text());
        response.json()
    }

    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        self.camera(id)["state"].as_str().expect("a state").to_owned()
    }

    /// Waits until the camera is in this state and returns how long that took.
    #[track_caller]
    pub fn wait_state(&self, id: &str, state: &str, within: Duration) -> Duration {
        wait_until(&format!("camera {id} is {state}"), within, || self.state(id) == state)
    }

    /// SIGKILL and a new start with the same directory, configuration and port.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.directory.path(), self.port, &self.environment, &self.runner);
        self.wait_answering();
    }
}

fn spawn(directory: &Path, port: u16, environment: &[(String, String)], runner: &[OsString]) -> Process {
    let binary = env!("CARGO_BIN_EXE_fanlight");
    let mut command = match runner {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command
        .args(["run", "--config"])
        .arg(directory.join("fanlight.toml"))
        .current_dir(directory)
        .env("FANLIGHT_PORT", port.to_string())
        .env("STATE_DIRECTORY", directory.join("state"))
        // Any free one: the API tells which.
        .env("FANLIGHT_RTSP_PORT", "0")
        .env("HEALTH_FILE", directory.join("health.json"))
        .env("NO_COLOR", "1")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Process::spawn("fanlight", &mut command)
}
