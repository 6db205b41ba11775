//! The configuration as the program uses it: typed, complete, validated. Every other room reads these
//! types; only the rest of `config` knows files, environment names and messages.
//!
//! Names here are the keys of the TOML file. Defaults are the `Default` impls; the commented
//! `fanlight.example.toml` documents each key and a test holds the two together.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::transforms::{Mask, Overlay, Transforms};

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
    pub storage: Storage,
    pub record: Record,
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
}

impl Default for Server {
    fn default() -> Self {
        Self { bind: IpAddr::from([127, 0, 0, 1]), port: 8080, cors_origins: vec!["*".into()] }
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

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Whether control needs a login though neither users nor a JWT secret are written here: by API key.
    pub required: bool,
    pub watch: Watch,
    /// What JSON Web Tokens (HS256) are signed with; at least 32 bytes.
    pub jwt_secret: Option<Secret>,
    /// A file whose first line is that secret; it is in `jwt_secret` after loading.
    pub jwt_secret_file: Option<PathBuf>,
    #[serde(rename = "user")]
    pub users: Vec<User>,
}

impl Access {
    /// Whether somebody wants logins at all.
    pub fn configured(&self) -> bool {
        self.required || self.watch == Watch::Login || self.jwt_secret.is_some() || !self.users.is_empty()
    }
}

/// Who may watch, once `[access]` is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// Everybody who reaches the port.
    #[default]
    Open,
    Login,
}

/// What somebody may do; each role may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Watches and looks at states.
    #[default]
    Viewer,
    /// Works with cameras: records, starts, restarts.
    Operator,
    /// Changes what there is: cameras, files, retention.
    Admin,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// A user who logs in by name and password (HTTP Basic, RTSP Digest).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    #[serde(default)]
    pub role: Role,
    /// A file whose first line is the password; only its hashes are kept.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// `MD5(name:fanlight:password)` in hex, instead of a password.
    #[serde(default)]
    pub ha1_md5: Option<Secret>,
    /// The same by SHA-256.
    #[serde(default)]
    pub ha1_sha256: Option<Secret>,
    /// The hashes in force, filled by loading.
    #[serde(skip)]
    pub ha1: super::Ha1,
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
    /// With this many frozen pipelines the process exits for systemd to start it anew.
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

/// Where what outlives a restart is kept: the database, recordings and snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Default: `$STATE_DIRECTORY` under systemd, else `/var/lib/fanlight` where that may be written, else
    /// `$XDG_STATE_HOME/fanlight`, else `~/.local/state/fanlight`.
    pub directory: Option<PathBuf>,
}

/// Recordings on disk. MB and GB are powers of ten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// Name of a recording without its ending: `{camera}`, `{date}` and `{time}` (UTC) are filled in.
    pub name: String,
    /// A fragment is written at least this often: what a power cut may cost.
    pub fragment_seconds: f64,
    /// A file ends at the first keyframe after this long,
    pub segment_seconds: f64,
    /// or when it is this large.
    pub segment_mb: u32,
    /// A recording begins this long before it is started. Keeps the encoder busy all the time.
    pub pre_roll_seconds: f64,
    /// And holds at most this much for it in memory, per camera.
    pub pre_roll_mb: u32,
    /// Recording stops when less than this is free.
    pub reserve_mb: u32,
    /// Whether old recordings and snapshots are deleted.
    pub retention: bool,
    /// Those older than this; 0: however old.
    pub max_age_days: f64,
    /// The oldest when all together are larger than this; 0: however large.
    pub max_size_gb: f64,
    /// The oldest while less than this is free; 0: however full.
    pub min_free_gb: f64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            name: "{camera}_{date}_{time}".into(),
            fragment_seconds: 1.0,
            segment_seconds: 3600.0,
            segment_mb: 2000,
            pre_roll_seconds: 0.0,
            pre_roll_mb: 32,
            reserve_mb: 100,
            retention: false,
            max_age_days: 0.0,
            max_size_gb: 0.0,
            min_free_gb: 1.0,
        }
    }
}

/// Cameras that are found by themselves, beside those that are written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    pub enabled: bool,
    /// Only these; none at all: every one. See [`Discovery::takes`] for what may stand there.
    pub allow: Vec<String>,
    /// Never these, whatever `allow` says.
    pub deny: Vec<String>,
    /// What discovered cameras are set to.
    pub resolution: Resolution,
    pub fps: u32,
    pub idle: Idle,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            deny: Vec::new(),
            resolution: Resolution::default(),
            fps: 0,
            // Nobody has asked for this camera yet: it is dark until somebody watches.
            idle: Idle::Close,
        }
    }
}

impl Discovery {
    /// Whether a device is to be taken, by any of the words it is known by. `*` stands for anything, and
    /// upper and lower case are the same.
    pub fn takes(&self, words: &[&str]) -> bool {
        let any = |patterns: &[String]| {
            patterns.iter().any(|pattern| words.iter().any(|word| matches(pattern, word)))
        };
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    /// A discovered camera with the settings from here.
    pub fn camera(&self, id: &str, name: &str, source: Source) -> Camera {
        Camera {
            name: Some(name.to_owned()),
            resolution: self.resolution,
            fps: self.fps,
            idle: self.idle,
            ..Camera::new(id, source)
        }
    }
}

/// Whether `text` is `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// One published output: a camera pushed to one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Letters, digits, `-` and `_`, at most 64.
    pub id: String,
    /// The camera's id; default: the first one.
    #[serde(default)]
    pub camera: Option<String>,
    #[serde(flatten)]
    pub target: Target,
}

/// Where a published output goes: `type = "livekit"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Target {
    Livekit(PublishLiveKit),
    Whip(PublishWhip),
    Rtmp(PublishRtmp),
    Mediamtx(PublishMediamtx),
}

impl Target {
    pub const fn kind(&self) -> &'static str {
        match self {
            Target::Livekit(_) => "livekit",
            Target::Whip(_) => "whip",
            Target::Rtmp(_) => "rtmp",
            Target::Mediamtx(_) => "mediamtx",
        }
    }
}

/// A LiveKit room, joined directly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishLiveKit {
    /// Default: `livekit.url`, with its key.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub api_key: Option<String>,
    #[serde(default)]
    pub api_secret: Option<Secret>,
    /// A file whose first line is the secret; it is in `api_secret` after loading.
    #[serde(default)]
    pub api_secret_file: Option<PathBuf>,
    /// A file with a ready-made token, read anew for every attempt; instead of key and secret.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    pub room: String,
    /// Default: the camera's id.
    #[serde(default)]
    pub identity: Option<String>,
    /// For people; default: the camera's name.
    #[serde(default)]
    pub name: Option<String>,
    /// `stun://host:port`; none is asked by default.
    #[serde(default)]
    pub stun_server: Option<String>,
}

/// A WHIP server (RFC 9725); with a `room`, LiveKit's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishWhip {
    /// `http(s)://`; with a `room` the default is `/whip/v1` of `livekit.url`.
    #[serde(default)]
    pub url: Option<String>,
    /// The bearer token or stream key.
    #[serde(default)]
    pub token: Option<Secret>,
    /// A file whose first line is the token, read anew for every attempt.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A fresh token for this room is made for every attempt, with the key of `[livekit]`.
    #[serde(default)]
    pub room: Option<String>,
    #[serde(default)]
    pub identity: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub stun_server: Option<String>,
}

/// An RTMP server: LiveKit's ingress by its stream key, or any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishRtmp {
    /// `rtmp://` or `rtmps://`; loading takes a stream key after its path out into the key below.
    pub url: String,
    #[serde(default)]
    pub stream_key: Option<Secret>,
    /// A file whose first line is the stream key, read anew for every attempt.
    #[serde(default)]
    pub stream_key_file: Option<PathBuf>,
    /// Where LiveKit's ingress brings it, for viewers to find: the room and the identity there.
    #[serde(default)]
    pub room: Option<String>,
    /// Default: the camera's id.
    #[serde(default)]
    pub identity: Option<String>,
}

/// A MediaMTX server, by RTSP; any other that takes RECORD, without `api`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishMediamtx {
    /// `rtsp(s)://host:8554/path`: the path is that of the stream there.
    pub url: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file whose first line is the password, read anew for every attempt.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// For rtsps: `system` checks its certificate, `any` takes every one.
    #[serde(default)]
    pub tls: PublishTls,
    /// `http(s)://host:9997`: its control API.
    #[serde(default)]
    pub api: Option<String>,
    /// Whether the server records the path; default: as it is configured there. Needs `api`.
    #[serde(default)]
    pub record: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PublishTls {
    #[default]
    System,
    Any,
}

/// One camera: something that can be captured, with a stable id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Letters, digits, `-` and `_`, at most 64: it stands in paths.
    pub id: String,
    /// For people; default: the id.
    #[serde(default)]
    pub name: Option<String>,
    pub source: Source,
    /// `1280x720`; default 640x480. Sources that arrive encoded keep their own unless re-encoded.
    #[serde(default)]
    pub resolution: Resolution,
    /// Pictures per second, 1 to 120; 0 is what the camera gives by itself.
    #[serde(default)]
    pub fps: u32,
    #[serde(default)]
    pub rotation: Rotation,
    #[serde(default)]
    pub flip: Flip,
    /// A line of text in the picture.
    #[serde(default)]
    pub overlay: Option<Overlay>,
    /// What nobody gets to see.
    #[serde(default, rename = "mask")]
    pub masks: Vec<Mask>,
    /// Whether the camera is closed while nobody watches.
    #[serde(default)]
    pub idle: Idle,
    /// When it is recorded.
    #[serde(default)]
    pub record: RecordMode,
    /// When, in the machine's own time: `mon-fri 08:00-18:00`. For `record = "scheduled"`.
    #[serde(default)]
    pub schedule: Vec<String>,
    #[serde(default)]
    pub jpeg: Jpeg,
    #[serde(default)]
    pub h264: H264,
    #[serde(default)]
    pub outputs: Outputs,
}

impl Camera {
    pub fn new(id: impl Into<String>, source: Source) -> Self {
        Self {
            id: id.into(),
            name: None,
            source,
            resolution: Resolution::default(),
            fps: 0,
            rotation: Rotation::None,
            flip: Flip::None,
            overlay: None,
            masks: Vec::new(),
            idle: Idle::Open,
            record: RecordMode::OnDemand,
            schedule: Vec::new(),
            jpeg: Jpeg::default(),
            h264: H264::default(),
            outputs: Outputs::default(),
        }
    }

    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// Whether its pictures are changed, which an encoded stream cannot be without decoding it.
    pub fn transformed(&self) -> bool {
        Transforms::of(self).any()
    }
}

/// Where pictures come from: `source = { type = "rtsp", url = "rtsp://…" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// The first camera that exists: libcamera, then V4L2.
    Auto {},
    /// A moving pattern with a burnt-in clock.
    Test {},
    Libcamera(Libcamera),
    V4l2(V4l2),
    Rtsp(Rtsp),
    Http(Http),
    File(File),
}

impl Source {
    pub const fn kind(&self) -> &'static str {
        match self {
            Source::Auto {} => "auto",
            Source::Test {} => "test",
            Source::Libcamera(_) => "libcamera",
            Source::V4l2(_) => "v4l2",
            Source::Rtsp(_) => "rtsp",
            Source::Http(_) => "http",
            Source::File(_) => "file",
        }
    }
}

/// A Raspberry Pi camera, or whatever libcamera knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Libcamera {
    /// libcamera's own name (`/base/soc/i2c0mux/i2c@1/imx708@1a`) or an index; none is the first one.
    pub camera: Option<String>,
    /// Sensor mode as `2304x1296`, to choose binning or the whole field of view.
    pub sensor_mode: Option<Resolution>,
    pub exposure_time_us: Option<u32>,
    pub analogue_gain: Option<f64>,
    pub brightness: Option<f64>,
    pub contrast: Option<f64>,
    pub saturation: Option<f64>,
    pub sharpness: Option<f64>,
    /// `manual`, `auto` or `continuous`.
    pub autofocus: Option<Autofocus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Autofocus {
    Manual,
    Auto,
    Continuous,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V4l2 {
    /// `/dev/video0` or, better, a link in `/dev/v4l/by-id/`.
    pub device: PathBuf,
    #[serde(default)]
    pub format: V4l2Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum V4l2Format {
    /// The one that spares the most work for the outlets in use.
    #[default]
    Auto,
    Raw,
    Mjpeg,
    H264,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtsp {
    /// `rtsp://` or `rtsps://`; loading takes a user and password in it out into the two keys below.
    pub url: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file whose first line is the password; it is in `password` after loading.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub transport: Transport,
    #[serde(default = "default_latency_ms")]
    pub latency_ms: u32,
    /// For rtsps: `any` takes every certificate (cameras sign their own), `system` checks it against
    /// the machine's authorities, `file` against `tls_ca_file`.
    #[serde(default)]
    pub tls: TlsCheck,
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
}

fn default_latency_ms() -> u32 {
    100
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Tcp,
    Udp,
    /// UDP first, TCP when nothing arrives.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum TlsCheck {
    #[default]
    Any,
    System,
    File,
}

/// A camera that gives MJPEG, or one JPEG at a time, over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// `http://` or `https://`; loading takes a user and password in it out into the keys below.
    pub url: String,
    #[serde(default)]
    pub mode: HttpMode,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum HttpMode {
    /// `multipart/x-mixed-replace`, passed through.
    #[default]
    Mjpeg,
    /// A JPEG fetched `fps` times a second (default 1).
    Jpeg,
}

/// A video file, played over and over in real time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: PathBuf,
}

/// `1280x720`, at most 4096x4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    pub width: u32,
    pub height: u32,
}

impl Resolution {
    pub const MAX: u32 = 4096;
}

impl Default for Resolution {
    fn default() -> Self {
        Self { width: 640, height: 480 }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Degrees clockwise; written as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rotation {
    #[default]
    None,
    Clockwise90,
    Half,
    Clockwise270,
}

impl Rotation {
    pub const fn degrees(self) -> u16 {
        match self {
            Rotation::None => 0,
            Rotation::Clockwise90 => 90,
            Rotation::Half => 180,
            Rotation::Clockwise270 => 270,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    #[default]
    None,
    Horizontal,
    Vertical,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// The camera stays open; only encoders stop.
    #[default]
    Open,
    /// The camera is closed too.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// When somebody starts it.
    #[default]
    OnDemand,
    /// From the start of the service on.
    Continuous,
    /// At the times of `schedule`.
    Scheduled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jpeg {
    /// 1 to 100. A camera's own JPEGs are passed through as they are.
    pub quality: u8,
}

impl Default for Jpeg {
    fn default() -> Self {
        Self { quality: 100 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct H264 {
    /// `auto` or an element's name.
    pub encoder: H264Encoder,
    /// Default: by resolution and rate.
    pub bitrate_kbps: Option<u32>,
    /// Seconds between IDR pictures.
    pub gop_seconds: f64,
}

impl Default for H264 {
    fn default() -> Self {
        Self { encoder: H264Encoder::Auto, bitrate_kbps: None, gop_seconds: 2.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum H264Encoder {
    #[default]
    Auto,
    V4l2h264enc,
    Vah264enc,
    X264enc,
    Openh264enc,
}

/// Which outputs this camera has. One that is off answers 404.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outputs {
    pub mjpeg: bool,
    pub snapshot: bool,
    pub hls: bool,
    /// WebRTC by WHEP.
    pub whep: bool,
    pub rtsp: bool,
}

impl Outputs {
    /// Whether anything of this camera needs H.264.
    pub const fn h264(&self) -> bool {
        self.hls || self.whep || self.rtsp
    }
}

impl Default for Outputs {
    fn default() -> Self {
        Self { mjpeg: true, snapshot: true, hls: true, whep: true, rtsp: true }
    }
}
