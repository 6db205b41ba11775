//! An RTMP server: Debian's nginx with its RTMP module, read back by ffprobe. It has three applications:
//! `live` takes any stream, `refusing` takes none, and RTMPS leads to the same with a certificate of
//! 127.0.0.1's own.
//!
//! For a network in trouble put a [`super::Relay`] before [`RtmpServer::port`].

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Process, SelfSigned, free_port, lacks, skipped, wait_until};

const STARTS: Duration = Duration::from_secs(10);
/// Where Debian puts nginx's modules.
const MODULES: &str = "/usr/lib/nginx/modules";

#[derive(Debug)]
pub struct RtmpServer {
    port: u16,
    tls_port: u16,
    process: Process,
    certificate: SelfSigned,
    directory: tempfile::TempDir,
}

/// What ffprobe makes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    pub codec: String,
    pub profile: String,
    pub width: u64,
    pub height: u64,
    /// Pictures that were decoded, of those asked for.
    pub frames: u64,
}

impl RtmpServer {
    /// On free ports of 127.0.0.1. `None` when the test is left out because something is not installed.
    pub fn start(test: &str) -> Option<Self> {
        if lacks(test, &[("nginx", "nginx-light"), ("ffprobe", "ffmpeg"), ("openssl", "openssl")]) {
            return None;
        }
        for (module, package) in
            [("ngx_rtmp_module.so", "libnginx-mod-rtmp"), ("ngx_stream_module.so", "libnginx-mod-stream")]
        {
            if !Path::new(MODULES).join(module).exists() {
                skipped(test, &format!("{MODULES}/{module} is missing (package {package})"));
                return None;
            }
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificate = SelfSigned::new();
        let (port, tls_port) = (free_port(), free_port());
        let config = config(directory.path(), port, tls_port, &certificate);
        std::fs::write(directory.path().join("nginx.conf"), config).expect("its configuration");
        let process = spawn(directory.path());
        let mut server = Self { port, tls_port, process, certificate, directory };
        server.wait_answering();
        Some(server)
    }

    fn wait_answering(&mut self) {
        wait_until("nginx listens", STARTS, || {
            if let Some(status) = self.process.try_wait() {
                panic!("nginx ended by itself: {status}");
            }
            // A TCP handshake with nobody who speaks RTMP is logged and forgotten.
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the RTMPS front.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// The application that takes any stream; a stream key follows after a `/`.
    pub fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.port)
    }

    /// The same over TLS, with [`RtmpServer::certificate`].
    pub fn tls_url(&self) -> String {
        format!("rtmps://127.0.0.1:{}/live", self.tls_port)
    }

    /// The application that denies each publisher.
    pub fn refusing_url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/refusing", self.port)
    }

    pub fn certificate(&self) -> &SelfSigned {
        &self.certificate
    }

    /// For signals: [`Process::stop`] makes it a peer that hangs.
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A new server where the killed one was.
    pub fn come_back(&mut self) {
        self.process.kill();
        self.process = spawn(self.directory.path());
        self.wait_answering();
    }

    /// How often this stream was begun to be published, over all restarts.
    pub fn publishes(&self, key: &str) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!("publish: name='{key}'"))).count()
    }

    /// Reads and decodes so many pictures of a stream of `live`. `None` when the stream is not there, or
    /// sends nothing for five seconds.
    pub fn read_back(&self, key: &str, frames: u64) -> Option<ReadBack> {
        read_back(&format!("{}/{key}", self.url()), frames)
    }
}

/// Reads and decodes so many pictures of the video at this address, whatever ffprobe can read.
pub fn read_back(url: &str, frames: u64) -> Option<ReadBack> {
    let answer = Command::new("ffprobe")
        .args("-v error -of json -show_streams -select_streams v:0 -count_frames".split(' '))
        // Microseconds: of silence, and to wait for an audio stream that never comes.
        .args("-rw_timeout 5000000 -analyzeduration 1000000".split(' '))
        .args(["-read_intervals", &format!("%+#{frames}"), url])
        .output()
        .expect("ffprobe can be run");
    if !answer.status.success() {
        return None;
    }
    let told: serde_json::Value = serde_json::from_slice(&answer.stdout).expect("JSON of ffprobe");
    let video = told["streams"].get(0)?;
    let text = |name: &str| video[name].as_str().unwrap_or_default().to_owned();
    Some(ReadBack {
        codec: text("codec_name"),
        profile: text("profile"),
        width: video["width"].as_u64()?,
        height: video["height"].as_u64()?,
        frames: text("nb_read_frames").parse().unwrap_or(0),
    })
}

/// One process, not a master with workers: it ends with its guard, and root in a namespace may not become
/// another user.
fn config(directory: &Path, port: u16, tls_port: u16, certificate: &SelfSigned) -> String {
    let directory = directory.display();
    let (cert, key) = (certificate.certificate(), certificate.key());
    let (cert, key) = (cert.display(), key.display());
    format!(
        "load_module {MODULES}/ngx_rtmp_module.so;
load_module {MODULES}/ngx_stream_module.so;
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 256; }}
rtmp {{
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    # Or a publisher that went without a word holds its key for a minute and a half.
    ping 5s;
    ping_timeout 5s;
    application live {{ live on; idle_streams off; }}
    application refusing {{ live on; deny publish all; }}
  }}
}}
stream {{
  server {{
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    proxy_pass 127.0.0.1:{port};
  }}
}}
"
    )
}

fn spawn(directory: &Path) -> Process {
    let mut command = Command::new("nginx");
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    // `-e`: its errors until it has read the configuration.
    command.env("PATH", path).arg("-e").arg(directory.join("error.log"));
    command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
    Process::spawn("nginx", &mut command)
}
