//! The RTSP camera of `examples/rtsp_camera`, as a process that tests kill, stop and give orders.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Process;

const STARTS: Duration = Duration::from_secs(20);
const OBEYS: Duration = Duration::from_secs(5);

/// What the camera shows and whom it lets in. Default: the clip, no password.
#[derive(Clone, Debug, Default)]
pub struct CameraOptions {
    arguments: Vec<String>,
    file: Option<PathBuf>,
    user: Option<(String, String)>,
    tls: bool,
}

impl CameraOptions {
    /// The clip in a loop.
    pub fn clip() -> Self {
        Self { file: Some(super::bikes()), ..Self::default() }
    }

    /// Another clip in a loop.
    pub fn file(path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..Self::default() }
    }

    /// A live pattern, `640x360@25`, with a keyframe every second.
    pub fn pattern(shape: &str) -> Self {
        Self::default().with(&["--test-pattern", shape])
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn digest(self, user: &str, password: &str) -> Self {
        self.login("digest", user, password)
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        self.login("basic", user, password)
    }

    fn login(mut self, kind: &str, user: &str, password: &str) -> Self {
        self.user = Some((user.to_owned(), password.to_owned()));
        self.with(&["--auth", kind, "--user", user, "--password", password])
    }

    pub fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.tls = true;
        self.with(&["--tls", &format!("{},{}", certificate.display(), key.display())])
    }

    pub fn start(self) -> RtspCamera {
        RtspCamera::start(self)
    }
}

#[derive(Debug)]
pub struct RtspCamera {
    options: CameraOptions,
    process: Option<Process>,
    port: u16,
}

impl RtspCamera {
    pub fn start(options: CameraOptions) -> Self {
        let mut camera = Self { options, process: None, port: 0 };
        camera.come_back();
        camera
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// Its address behind a relay that listens on `port`.
    pub fn url_through(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}/cam", if self.options.tls { "rtsps" } else { "rtsp" })
    }

    /// Its `source = { … }` for a configuration file, credentials included.
    pub fn source(&self) -> String {
        self.source_through(self.port)
    }

    pub fn source_through(&self, port: u16) -> String {
        let login = self.options.user.as_ref().map_or(String::new(), |(user, password)| {
            format!(", username = {user:?}, password = {password:?}")
        });
        format!("source = {{ type = \"rtsp\", url = {:?}{login} }}", self.url_through(port))
    }

    /// SIGKILL. Its port refuses connections afterwards.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port; returns once it accepts connections.
    pub fn come_back(&mut self) {
        let mut command = Command::new(executable());
        command.args(["--port", &self.port.to_string()]).args(&self.options.arguments);
        if let Some(file) = &self.options.file {
            command.arg("--file").arg(file);
        }
        let process = Process::spawn("the test camera", &mut command);
        self.port = process
            .wait_line("listens", 0, STARTS, |line| line.strip_prefix("listening ")?.trim().parse().ok());
        self.process = Some(process);
    }

    /// Gives an order (`freeze`, `thaw`, `password NEW`, `refuse`, `accept`) and waits until it is obeyed.
    #[track_caller]
    pub fn order(&mut self, order: &str) {
        let process = self.process.as_mut().expect("the camera runs");
        let from = process.line_count();
        process.write_line(order);
        let done = format!("ok {order}");
        process.wait_line(&format!("obeys {order:?}"), from, OBEYS, |line| (line == done).then_some(()));
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the camera runs")
    }
}

fn executable() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // target/debug/deps/test-… → target/debug/examples/rtsp_camera
    let path = test.ancestors().nth(2).expect("a target directory").join("examples/rtsp_camera");
    assert!(path.exists(), "{} is missing: cargo build --example rtsp_camera", path.display());
    path
}
