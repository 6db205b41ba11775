//! The configuration as the program uses it: typed, complete, validated. Every other room reads these
//! types; only the rest of `config` knows files, environment names and messages.
//!
//! Names here are the keys of the TOML file. Defaults are the `Default` impls; the commented
//! `fanlight.example.toml` documents each key and a test holds the two together.

mod access;
mod camera;
mod discovery;
mod external;
mod management;
mod printers;
mod publish;
mod stepper;
mod storage;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

pub use access::*;
pub use camera::*;
pub use discovery::*;
pub use external::*;
pub use management::*;
pub use printers::*;
pub use publish::*;
pub use stepper::*;
pub use storage::*;

/// The whole effective configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub log: Log,
    pub access: Access,
    pub rpc: Rpc,
    pub health: Health,
    pub pipelines: Pipelines,
    pub supervision: Supervision,
    pub mjpeg: Mjpeg,
    pub hls: Hls,
    pub webrtc: Webrtc,
    pub rtsp: RtspServer,
    pub livekit: LiveKit,
    pub discovery: Discovery,
    pub external: External,
    pub storage: Storage,
    pub record: Record,
    pub printers: Printers,
    pub stepper: Stepper,
    pub management: Management,
    /// What is pushed to servers elsewhere.
    #[serde(rename = "publish")]
    pub publish: Vec<Publish>,
    /// In order; the first is the one that paths without an id mean. None at all: `auto`.
    #[serde(rename = "camera")]
    pub cameras: Vec<Camera>,
}

impl Config {
    /// The camera that an output publishes; the first one when it names none.
    pub fn published_camera(&self, output: &Publish) -> Option<&Camera> {
        match &output.camera {
            Some(id) => self.cameras.iter().find(|camera| camera.id == *id),
            None => self.cameras.first(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on. Anything but loopback is for networks that you trust.
    pub bind: IpAddr,
    /// 0 lets the system choose a free one.
    pub port: u16,
    /// `*`, or origins such as `https://dash.example.org`; none at all: no other site may read.
    pub cors_origins: Vec<String>,
    /// Names that this machine is asked by, beside its own.
    pub hosts: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            cors_origins: vec!["*".into()],
            hosts: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// A level (`info`) or a `tracing` filter (`info,fanlight::capture=debug`).
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

/// JSON-RPC over WebSocket: `/ws`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rpc {
    /// Address of the own port. Default: that of `[server]`.
    pub bind: Option<IpAddr>,
    /// A port of its own beside that of `[server]`; 0 lets the system choose. Default: none.
    pub port: Option<u16>,
    pub max_connections: usize,
    /// Requests in one batch.
    pub max_batch: usize,
    /// Calls of one connection, over a while; twice as many at once.
    pub calls_per_second: u32,
    /// A connection that is silent is asked this often; it is cut after two and a half times that.
    pub ping_seconds: f64,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            bind: None,
            port: None,
            max_connections: 1200,
            max_batch: 50,
            calls_per_second: 100,
            ping_seconds: 20.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Where the health file goes. Default: `$RUNTIME_DIRECTORY/health.json` under systemd, else
    /// `$XDG_RUNTIME_DIR/fanlight/health.json`, else `/run/fanlight/health.json`.
    pub file: Option<PathBuf>,
    /// Permission bits of the health file, `0600` to `0644`.
    pub file_mode: FileMode,
    /// Older than this, a picture is not shown as live: snapshot and readiness answer 503.
    pub max_frame_age_seconds: f64,
    /// Where the publisher's part of the health is written as well, for those who look for it there:
    /// `/tmp/publisher_health.json`. Default: nowhere.
    pub publisher_file: Option<PathBuf>,
}

impl Default for Health {
    fn default() -> Self {
        Self { file: None, file_mode: FileMode(0o644), max_frame_age_seconds: 10.0, publisher_file: None }
    }
}

/// Permission bits, written as an octal string: `"0640"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pipelines {
    /// Fragments here replace the embedded ones of the same name, or add to them.
    pub directory: PathBuf,
}

impl Default for Pipelines {
    fn default() -> Self {
        Self { directory: "/etc/fanlight/pipelines".into() }
    }
}

/// How long things may take, and how patiently they are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// The first wait of the back-off; it doubles from there.
    pub backoff_first_seconds: f64,
    pub backoff_max_seconds: f64,
    /// Real frames for this long set the back-off to its first wait again.
    pub healthy_after_seconds: f64,
    /// An attempt without a first picture after this long has failed.
    pub start_timeout_seconds: f64,
    /// A pipeline that has not stopped after this long is frozen: counted and given up.
    pub stop_timeout_seconds: f64,
    /// With this many pipelines that are frozen at once the process exits for systemd to start it anew.
    pub frozen_limit: u32,
    /// After a wrong password or key, the next try comes this much later.
    pub refused_retry_seconds: f64,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            backoff_first_seconds: 1.0,
            backoff_max_seconds: 60.0,
            healthy_after_seconds: 30.0,
            start_timeout_seconds: 10.0,
            stop_timeout_seconds: 5.0,
            frozen_limit: 3,
            refused_retry_seconds: 300.0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mjpeg {
    /// Streams open at once, all cameras together; one more gets 429.
    pub max_streams: usize,
}

impl Default for Mjpeg {
    fn default() -> Self {
        Self { max_streams: 200 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hls {
    pub segment_seconds: f64,
    /// Segments that a playlist lists, 6 to 10.
    pub segments: usize,
    /// Whether `stream_ll.m3u8` and `stream_ll_fmp4.m3u8` exist.
    pub low_latency: bool,
    /// Parts of the TS playlist.
    pub part_seconds: f64,
    /// Parts of the fMP4 playlist.
    pub fmp4_part_seconds: f64,
    /// Packaging ends this long after the last request.
    pub idle_seconds: f64,
    /// Also write the standard playlist and its segments under `<directory>/<camera>/`.
    pub output_dir: Option<PathBuf>,
}

impl Default for Hls {
    fn default() -> Self {
        Self {
            segment_seconds: 2.0,
            segments: 7,
            low_latency: true,
            part_seconds: 0.333,
            fmp4_part_seconds: 0.2,
            idle_seconds: 30.0,
            output_dir: None,
        }
    }
}

/// WebRTC that viewers fetch from here by WHEP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webrtc {
    /// Address of the media port; default: `server.bind`.
    pub bind: Option<IpAddr>,
    /// UDP, and TCP with `tcp`; 0 lets the system choose a free one.
    pub port: u16,
    /// Whether media may also come over TCP, for networks that let no UDP through.
    pub tcp: bool,
    /// What viewers are told before the local addresses, behind NAT or in a container: addresses or
    /// host names, each with a port of its own or not: `203.0.113.7`, `[2001:db8::1]:9000`.
    pub public_addresses: Vec<String>,
    /// `stun:` and `turn:` URLs that viewers are told.
    pub ice_servers: Vec<String>,
    /// Viewers at once, all cameras together.
    pub max_viewers: usize,
    /// A session that is not connected by then is gone.
    pub connect_timeout_seconds: f64,
    /// A connected viewer that reports nothing for this long is gone.
    pub idle_timeout_seconds: f64,
}

impl Default for Webrtc {
    fn default() -> Self {
        Self {
            bind: None,
            port: 8189,
            tcp: false,
            public_addresses: Vec::new(),
            ice_servers: Vec::new(),
            max_viewers: 100,
            connect_timeout_seconds: 15.0,
            idle_timeout_seconds: 30.0,
        }
    }
}

/// RTSP that readers fetch from here; not to be confused with a camera's source of type `rtsp`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtspServer {
    pub enabled: bool,
    /// Address to listen on; default: `server.bind`.
    pub bind: Option<IpAddr>,
    /// 0 lets the system choose a free one.
    pub port: u16,
    /// Sessions at once, all cameras together.
    pub max_readers: usize,
    /// A client that sends nothing for this long is gone.
    pub session_timeout_seconds: f64,
    /// RTSPS as well, on this port; 0 lets the system choose a free one. Needs the two below.
    pub tls_port: Option<u16>,
    /// The certificate, or chain of them, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

impl Default for RtspServer {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: None,
            port: 8554,
            max_readers: 200,
            session_timeout_seconds: 60.0,
            tls_port: None,
            certificate: None,
            key: None,
        }
    }
}

/// The LiveKit server: for viewers' tokens, and where publishers of type `livekit` go by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveKit {
    /// `ws(s)://` or `http(s)://`; without it LiveKit is off.
    pub url: Option<String>,
    /// What browsers are told; default: `url`.
    pub public_url: Option<String>,
    pub api_key: Option<String>,
    pub api_secret: Option<Secret>,
    /// A file whose first line is the secret; it is in `api_secret` after loading.
    pub api_secret_file: Option<PathBuf>,
    /// Rooms that viewers may ask for, beside those that cameras are published into.
    pub rooms: Vec<String>,
    /// `stun:`, `turn:` and `turns:` URLs that viewers are told.
    pub ice_servers: Vec<String>,
    /// Shared with the TURN server: viewers get short-lived credentials made from it.
    pub turn_static_secret: Option<Secret>,
    /// A file whose first line is that secret; it is in `turn_static_secret` after loading.
    pub turn_static_secret_file: Option<PathBuf>,
    /// How long a viewer's token is good for joining.
    pub viewer_token_seconds: f64,
    /// Tokens that one client address may fetch in a minute.
    pub tokens_per_minute: u32,
}

impl Default for LiveKit {
    fn default() -> Self {
        Self {
            url: None,
            public_url: None,
            api_key: None,
            api_secret: None,
            api_secret_file: None,
            rooms: Vec::new(),
            ice_servers: Vec::new(),
            turn_static_secret: None,
            turn_static_secret_file: None,
            viewer_token_seconds: 600.0,
            tokens_per_minute: 60,
        }
    }
}
