//! A camera: its source, what its pictures are to be, what is made of them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::networks::Network;
use super::super::secret::Secret;
use super::super::transforms::{Mask, Overlay, Transforms};
use crate::tls::Fingerprint;

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
    /// Added by API: it is only gone to where [`crate::reach`] permits it, these networks included.
    #[serde(skip)]
    pub confined: Option<Vec<Network>>,
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
            confined: None,
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
    #[serde(rename = "bambu-jpeg")]
    BambuJpeg(BambuJpeg),
    File(File),
}

impl Source {
    /// A camera elsewhere, by what its URL begins with: `rtsp` or `http`.
    pub fn network(url: String, username: Option<String>, password: Option<Secret>) -> Self {
        if url.to_ascii_lowercase().starts_with("rtsp") {
            return Source::Rtsp(Rtsp::at(url, username, password));
        }
        Source::Http(Http { url, mode: HttpMode::default(), username, password, password_file: None })
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Source::Auto {} => "auto",
            Source::Test {} => "test",
            Source::Libcamera(_) => "libcamera",
            Source::V4l2(_) => "v4l2",
            Source::Rtsp(_) => "rtsp",
            Source::Http(_) => "http",
            Source::BambuJpeg(_) => "bambu-jpeg",
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
    /// For rtsps: `any` takes every certificate (cameras sign their own), `pin` only the one of
    /// `fingerprint`, `system` checks it against the machine's authorities, `file` against `tls_ca_file`.
    #[serde(default)]
    pub tls: TlsCheck,
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// SHA-256 of the certificate, for `pin`.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
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
    Pin,
    System,
    File,
}

impl Rtsp {
    /// With the defaults for everything but these.
    pub fn at(url: String, username: Option<String>, password: Option<Secret>) -> Self {
        Self {
            url,
            username,
            password,
            password_file: None,
            transport: Transport::default(),
            latency_ms: default_latency_ms(),
            tls: TlsCheck::default(),
            tls_ca_file: None,
            fingerprint: None,
        }
    }
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

/// The camera of a Bambu Lab A1 or P1: JPEGs over TLS on a port of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BambuJpeg {
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    #[serde(default = "default_bambu_port")]
    pub port: u16,
    /// What the printer shows on its screen.
    #[serde(default)]
    pub access_code: Option<Secret>,
    /// A file whose first line is the code; it is in `access_code` after loading.
    #[serde(default)]
    pub access_code_file: Option<PathBuf>,
    /// SHA-256 of the only certificate that is taken; without it any is, for printers sign their own.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
}

const fn default_bambu_port() -> u16 {
    6000
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
