//! Every key of the file as data: its name, what it may hold, where it stands. The reader of the file,
//! the environment, `config show` and the tests walk this one table; the types that the program uses
//! are in [`super::model`], and a test holds the two together.

use super::value::Kind;

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: false }
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: true }
}

/// A duration in seconds; fractions are welcome.
const fn seconds(min: f64, max: f64) -> Kind {
    Kind::Number { min, max, unit: "seconds" }
}

/// The top of the file.
pub static ROOT: &[Key] = &[
    key("server", Kind::Section(SERVER)),
    key("log", Kind::Section(LOG)),
    key("access", Kind::Section(ACCESS)),
    key("rpc", Kind::Section(RPC)),
    key("health", Kind::Section(HEALTH)),
    key("pipelines", Kind::Section(PIPELINES)),
    key("supervision", Kind::Section(SUPERVISION)),
    key("mjpeg", Kind::Section(MJPEG)),
    key("hls", Kind::Section(HLS)),
    key("webrtc", Kind::Section(WEBRTC)),
    key("rtsp", Kind::Section(RTSP_SERVER)),
    key("livekit", Kind::Section(LIVEKIT)),
    key("discovery", Kind::Section(DISCOVERY)),
    key("external", Kind::Section(EXTERNAL)),
    key("storage", Kind::Section(STORAGE)),
    key("record", Kind::Section(RECORD)),
    key("printers", Kind::Section(PRINTERS)),
    key("stepper", Kind::Section(STEPPER)),
    key("management", Kind::Section(MANAGEMENT)),
    key("publish", Kind::Outputs),
    key("camera", Kind::Cameras),
];

const SERVER: &[Key] = &[
    key("bind", Kind::Address),
    // Port 0 lets the system choose a free one.
    key("port", Kind::Whole { min: 0, max: 65535, unit: "" }),
    key("cors_origins", Kind::Origins),
    key("hosts", Kind::List(&Kind::Text)),
];

const LOG: &[Key] = &[key("format", Kind::Choice(&["text", "json"])), key("level", Kind::LogFilter)];

const ACCESS: &[Key] = &[
    key("required", Kind::Flag),
    key("watch", Kind::Choice(&["open", "login"])),
    key("jwt_secret", Kind::Secret),
    key("jwt_secret_file", Kind::Path),
    key("user", Kind::Users),
];

/// One `[[access.user]]`.
pub static USER: &[Key] = &[
    required("name", Kind::Id),
    key("role", Kind::Choice(&["viewer", "operator", "admin"])),
    key("password_file", Kind::Path),
    key("ha1_md5", Kind::Secret),
    key("ha1_sha256", Kind::Secret),
];

const RPC: &[Key] = &[
    key("bind", Kind::Address),
    key("port", Kind::Whole { min: 0, max: 65535, unit: "" }),
    key("max_connections", Kind::Whole { min: 1, max: 100_000, unit: "" }),
    key("max_batch", Kind::Whole { min: 1, max: 1000, unit: "" }),
    key("ping_seconds", seconds(1.0, 300.0)),
    key("calls_per_second", Kind::Whole { min: 1, max: 100_000, unit: "" }),
];

const HEALTH: &[Key] = &[
    key("file", Kind::Path),
    key("file_mode", Kind::FileMode),
    key("max_frame_age_seconds", seconds(0.1, 86400.0)),
    key("publisher_file", Kind::Path),
];

const PIPELINES: &[Key] = &[key("directory", Kind::Path)];

const SUPERVISION: &[Key] = &[
    key("backoff_first_seconds", seconds(0.1, 3600.0)),
    key("backoff_max_seconds", seconds(0.1, 86400.0)),
    key("healthy_after_seconds", seconds(0.1, 3600.0)),
    key("start_timeout_seconds", seconds(0.1, 600.0)),
    key("stop_timeout_seconds", seconds(0.1, 60.0)),
    key("frozen_limit", Kind::Whole { min: 1, max: 1000, unit: "" }),
    // Never below a second: a camera that said no must not be hammered.
    key("refused_retry_seconds", seconds(1.0, 86400.0)),
];

const MJPEG: &[Key] = &[key("max_streams", Kind::Whole { min: 1, max: 100_000, unit: "" })];

const HLS: &[Key] = &[
    // Not below half a second: the default part (0.333 s) must fit into every segment.
    key("segment_seconds", seconds(0.5, 10.0)),
    key("segments", Kind::Whole { min: 6, max: 10, unit: "" }),
    key("low_latency", Kind::Flag),
    key("part_seconds", seconds(0.1, 2.0)),
    key("fmp4_part_seconds", seconds(0.1, 2.0)),
    key("idle_seconds", seconds(0.1, 3600.0)),
    key("output_dir", Kind::Path),
];

const WEBRTC: &[Key] = &[
    key("bind", Kind::Address),
    key("port", Kind::Whole { min: 0, max: 65535, unit: "" }),
    key("tcp", Kind::Flag),
    key("public_addresses", Kind::List(&Kind::PublicAddress)),
    key("ice_servers", Kind::List(&Kind::IceServer)),
    key("max_viewers", Kind::Whole { min: 1, max: 100_000, unit: "" }),
    key("connect_timeout_seconds", seconds(1.0, 300.0)),
    key("idle_timeout_seconds", seconds(1.0, 3600.0)),
];

const DISCOVERY: &[Key] = &[
    key("enabled", Kind::Flag),
    key("allow", Kind::List(&Kind::Text)),
    key("deny", Kind::List(&Kind::Text)),
    key("resolution", Kind::Resolution),
    key("fps", Kind::Whole { min: 0, max: 120, unit: "" }),
    key("idle", Kind::Choice(&["open", "close"])),
];

const EXTERNAL: &[Key] = &[
    key("allow_networks", Kind::List(&Kind::Network)),
    key("max_streams", Kind::Whole { min: 0, max: 1000, unit: "" }),
];

const RTSP_SERVER: &[Key] = &[
    key("enabled", Kind::Flag),
    key("bind", Kind::Address),
    key("port", Kind::Whole { min: 0, max: 65535, unit: "" }),
    key("max_readers", Kind::Whole { min: 1, max: 100_000, unit: "" }),
    key("session_timeout_seconds", seconds(1.0, 3600.0)),
    key("tls_port", Kind::Whole { min: 0, max: 65535, unit: "" }),
    key("certificate", Kind::Path),
    key("key", Kind::Path),
];

/// Where LiveKit's server is; both forms name the same port.
const LIVEKIT_URL: Kind = Kind::PlainUrl(&["ws", "wss", "http", "https"]);

const LIVEKIT: &[Key] = &[
    key("url", LIVEKIT_URL),
    key("public_url", LIVEKIT_URL),
    key("api_key", Kind::Text),
    key("api_secret", Kind::Secret),
    key("api_secret_file", Kind::Path),
    key("rooms", Kind::List(&Kind::Text)),
    key("ice_servers", Kind::List(&Kind::IceServer)),
    key("turn_static_secret", Kind::Secret),
    key("turn_static_secret_file", Kind::Path),
    // A browser needs some of it to join; a token that leaks is good for the rest.
    key("viewer_token_seconds", seconds(30.0, 86400.0)),
    key("tokens_per_minute", Kind::Whole { min: 1, max: 100_000, unit: "" }),
];

const STORAGE: &[Key] = &[key("directory", Kind::Path), key("database", Kind::Database)];

const PRINTERS: &[Key] = &[
    key("expose_access_code", Kind::Flag),
    key("key_file", Kind::Path),
    key("search", Kind::Flag),
    key("allow_networks", Kind::List(&Kind::Network)),
    key("mqtt_port", Kind::Whole { min: 1, max: 65535, unit: "" }),
    key("jpeg_port", Kind::Whole { min: 1, max: 65535, unit: "" }),
    key("rtsp_url", Kind::Url(&["rtsp", "rtsps"])),
    key("record", Kind::Flag),
    key("timelapse_seconds", seconds(0.0, 3600.0)),
    key("timelapse_fps", Kind::Whole { min: 1, max: 60, unit: "" }),
    key("snapshot_at_end", Kind::Flag),
    key("snapshot_on_error", Kind::Flag),
];

const RECORD: &[Key] = &[
    key("name", Kind::Text),
    key("fragment_seconds", seconds(0.2, 2.0)),
    key("segment_seconds", seconds(5.0, 86400.0)),
    key("segment_mb", Kind::Whole { min: 1, max: 1_000_000, unit: "MB" }),
    key("pre_roll_seconds", seconds(0.0, 300.0)),
    key("pre_roll_mb", Kind::Whole { min: 1, max: 4096, unit: "MB" }),
    key("reserve_mb", Kind::Whole { min: 0, max: 1_000_000, unit: "MB" }),
    key("retention", Kind::Flag),
    key("max_age_days", Kind::Number { min: 0.0, max: 36_500.0, unit: "days" }),
    key("max_size_gb", Kind::Number { min: 0.0, max: 1_000_000.0, unit: "GB" }),
    key("min_free_gb", Kind::Number { min: 0.0, max: 1_000_000.0, unit: "GB" }),
];

/// A line of a GPIO chip.
const LINE: Kind = Kind::Whole { min: 0, max: 1023, unit: "" };
const DEGREES: Kind = Kind::Number { min: -36_000.0, max: 36_000.0, unit: "degrees" };

const STEPPER: &[Key] = &[
    key("driver", Kind::Choice(&["none", "simulated", "step_dir", "four_phase"])),
    key("chip", Kind::Path),
    key("step_pin", LINE),
    key("direction_pin", LINE),
    key("enable_pin", LINE),
    key("enable_high", Kind::Flag),
    key("phase_pins", Kind::List(&LINE)),
    key("invert", Kind::Flag),
    key("steps_per_degree", Kind::Number { min: 0.001, max: 10_000.0, unit: "" }),
    key("max_speed", Kind::Number { min: 0.001, max: 10_000.0, unit: "degrees per second" }),
    key("acceleration", Kind::Number { min: 0.001, max: 100_000.0, unit: "degrees per second squared" }),
    key("min", DEGREES),
    key("max", DEGREES),
    key("home_pin", LINE),
    key("home_high", Kind::Flag),
    key("home_position", DEGREES),
    key("home_speed", Kind::Number { min: 0.001, max: 10_000.0, unit: "degrees per second" }),
    key("idle_off_seconds", seconds(0.0, 86400.0)),
    key("jog_timeout_seconds", seconds(0.1, 5.0)),
    key("presets", Kind::List(&Kind::Text)),
];

const MANAGEMENT: &[Key] = &[
    key("enabled", Kind::Flag),
    key("registry_path", Kind::Path),
    key("probe_seconds", seconds(1.0, 3600.0)),
    key("probe_timeout_seconds", seconds(0.1, 60.0)),
    key("action_timeout_seconds", seconds(0.1, 300.0)),
    key("private_networks", Kind::Flag),
    key("allow_networks", Kind::List(&Kind::Network)),
    key("tls_ca_file", Kind::Path),
];

/// The types of `[[publish]]` with the keys of each, beside `type`.
pub static TARGETS: &[(&str, &[Key])] = &[
    ("livekit", PUBLISH_LIVEKIT),
    ("whip", PUBLISH_WHIP),
    ("rtmp", PUBLISH_RTMP),
    ("mediamtx", PUBLISH_MEDIAMTX),
];

const PUBLISH_LIVEKIT: &[Key] = &[
    required("id", Kind::Id),
    key("camera", Kind::Id),
    key("url", LIVEKIT_URL),
    key("api_key", Kind::Text),
    key("api_secret", Kind::Secret),
    key("api_secret_file", Kind::Path),
    key("token_file", Kind::Path),
    required("room", Kind::Text),
    key("identity", Kind::Text),
    key("name", Kind::Text),
    key("stun_server", Kind::PlainUrl(&["stun"])),
];

const PUBLISH_WHIP: &[Key] = &[
    required("id", Kind::Id),
    key("camera", Kind::Id),
    key("url", Kind::PlainUrl(&["http", "https"])),
    key("token", Kind::Secret),
    key("token_file", Kind::Path),
    key("room", Kind::Text),
    key("identity", Kind::Text),
    key("name", Kind::Text),
    key("stun_server", Kind::PlainUrl(&["stun"])),
];

const PUBLISH_RTMP: &[Key] = &[
    required("id", Kind::Id),
    key("camera", Kind::Id),
    required("url", Kind::PlainUrl(&["rtmp", "rtmps"])),
    key("stream_key", Kind::Secret),
    key("stream_key_file", Kind::Path),
    key("room", Kind::Text),
    key("identity", Kind::Text),
];

const PUBLISH_MEDIAMTX: &[Key] = &[
    required("id", Kind::Id),
    key("camera", Kind::Id),
    required("url", Kind::PlainUrl(&["rtsp", "rtsps", "srt"])),
    key("username", Kind::Text),
    key("password", Kind::Secret),
    key("password_file", Kind::Path),
    key("tls", Kind::Choice(&["system", "any"])),
    key("api", Kind::PlainUrl(&["http", "https"])),
    key("record", Kind::Flag),
];

/// One `[[camera]]`.
pub static CAMERA: &[Key] = &[
    required("id", Kind::Id),
    key("name", Kind::Text),
    required("source", Kind::Source),
    key("resolution", Kind::Resolution),
    key("fps", Kind::Whole { min: 0, max: 120, unit: "" }),
    key("rotation", Kind::Rotation),
    key("flip", Kind::Choice(&["none", "horizontal", "vertical"])),
    key("overlay", Kind::Section(OVERLAY)),
    key("mask", Kind::Masks),
    key("idle", Kind::Choice(&["open", "close"])),
    key("record", Kind::Choice(&["on_demand", "continuous", "scheduled"])),
    key("schedule", Kind::List(&Kind::Span)),
    key("jpeg", Kind::Section(JPEG)),
    key("h264", Kind::Section(H264)),
    key("outputs", Kind::Section(OUTPUTS)),
];

const OVERLAY: &[Key] = &[
    key("enabled", Kind::Flag),
    key("text", Kind::Text),
    key("time_format", Kind::Text),
    key("position", Kind::Choice(&["top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right"])),
    key("size", Kind::Whole { min: 4, max: 200, unit: "points" }),
];

/// A share of the picture's width or height.
const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0, unit: "of the picture" };

/// One `[[camera.mask]]`.
pub static MASK: &[Key] = &[
    key("name", Kind::Text),
    key("enabled", Kind::Flag),
    required("x", SHARE),
    required("y", SHARE),
    required("width", SHARE),
    required("height", SHARE),
];

const JPEG: &[Key] = &[key("quality", Kind::Whole { min: 1, max: 100, unit: "" })];

const H264: &[Key] = &[
    key("encoder", Kind::Choice(&["auto", "v4l2h264enc", "vah264enc", "x264enc", "openh264enc"])),
    key("bitrate_kbps", Kind::Whole { min: 50, max: 100_000, unit: "kbit/s" }),
    key("gop_seconds", seconds(0.2, 60.0)),
];

const OUTPUTS: &[Key] = &[
    key("mjpeg", Kind::Flag),
    key("snapshot", Kind::Flag),
    key("hls", Kind::Flag),
    key("whep", Kind::Flag),
    key("rtsp", Kind::Flag),
];

/// The types of source with the keys of each, beside `type`.
pub static SOURCES: &[(&str, &[Key])] = &[
    ("auto", &[]),
    ("test", &[]),
    ("libcamera", LIBCAMERA),
    ("v4l2", V4L2),
    ("rtsp", RTSP),
    ("http", HTTP),
    ("bambu-jpeg", BAMBU_JPEG),
    ("file", FILE),
];

// The ranges of the controls are libcamera's (control_ids_core.yaml); a sensor may offer less.
const LIBCAMERA: &[Key] = &[
    key("camera", Kind::Text),
    key("sensor_mode", Kind::Resolution),
    key("exposure_time_us", Kind::Whole { min: 1, max: 1_000_000_000, unit: "microseconds" }),
    key("analogue_gain", Kind::Number { min: 1.0, max: 1000.0, unit: "" }),
    key("brightness", Kind::Number { min: -1.0, max: 1.0, unit: "" }),
    key("contrast", Kind::Number { min: 0.0, max: 32.0, unit: "" }),
    key("saturation", Kind::Number { min: 0.0, max: 32.0, unit: "" }),
    key("sharpness", Kind::Number { min: 0.0, max: 16.0, unit: "" }),
    key("autofocus", Kind::Choice(&["manual", "auto", "continuous"])),
];

const V4L2: &[Key] =
    &[required("device", Kind::Path), key("format", Kind::Choice(&["auto", "raw", "mjpeg", "h264"]))];

const RTSP: &[Key] = &[
    required("url", Kind::Url(&["rtsp", "rtsps"])),
    key("username", Kind::Text),
    key("password", Kind::Secret),
    key("password_file", Kind::Path),
    key("transport", Kind::Choice(&["tcp", "udp", "auto"])),
    key("latency_ms", Kind::Whole { min: 0, max: 10_000, unit: "milliseconds" }),
    key("tls", Kind::Choice(&["any", "pin", "system", "file"])),
    key("tls_ca_file", Kind::Path),
    key("fingerprint", Kind::Fingerprint),
];

const HTTP: &[Key] = &[
    required("url", Kind::Url(&["http", "https"])),
    key("mode", Kind::Choice(&["mjpeg", "jpeg"])),
    key("username", Kind::Text),
    key("password", Kind::Secret),
    key("password_file", Kind::Path),
];

const BAMBU_JPEG: &[Key] = &[
    required("host", Kind::Host),
    key("port", Kind::Whole { min: 1, max: 65535, unit: "" }),
    key("access_code", Kind::Secret),
    key("access_code_file", Kind::Path),
    key("fingerprint", Kind::Fingerprint),
];

const FILE: &[Key] = &[required("path", Kind::Path)];

/// The keys of a source of this type.
pub fn source(kind: &str) -> Option<&'static [Key]> {
    SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys)
}

/// The keys of a published output of this type.
pub fn target(kind: &str) -> Option<&'static [Key]> {
    TARGETS.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys)
}

/// The kind at a path such as `server.port` or `camera.0.jpeg.quality` (not inside a source or a
/// published output).
pub fn kind_at(path: &str) -> Option<&'static Kind> {
    let mut keys = ROOT;
    let mut found = None;
    for step in path.split('.') {
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let kind = &keys.iter().find(|key| key.name == step)?.kind;
        match kind {
            Kind::Section(inner) => keys = inner,
            Kind::Cameras => keys = CAMERA,
            Kind::Masks => keys = MASK,
            Kind::Users => keys = USER,
            _ => keys = &[],
        }
        found = Some(kind);
    }
    found
}

/// Where else a key of this name stands, in words: for one that was written in the wrong place, at the
/// path `place`. Near places come first: many of them have a `url`.
pub fn home_of(name: &str, place: &str) -> Option<String> {
    let section = |keys: &'static [Key], label: &dyn Fn(&str) -> String| {
        keys.iter().find_map(|outer| match outer.kind {
            Kind::Section(inner) if inner.iter().any(|key| key.name == name) => Some(label(outer.name)),
            _ => None,
        })
    };
    let top = || section(ROOT, &|outer| format!("[{outer}]"));
    let camera = || {
        let here = CAMERA.iter().any(|key| key.name == name).then(|| "[[camera]]".to_string());
        here.or_else(|| section(CAMERA, &|outer| format!("[camera.{outer}]"))).or_else(|| {
            types_with(SOURCES, name).map(|kinds| format!("the source of a [[camera]] of type {kinds}"))
        })
    };
    let output = || types_with(TARGETS, name).map(|kinds| format!("a [[publish]] of type {kinds}"));
    match place.split('.').next() {
        Some("camera") => camera().or_else(top).or_else(output),
        Some("publish") => output().or_else(top).or_else(camera),
        _ => top().or_else(camera).or_else(output),
    }
}

fn types_with(types: &[(&'static str, &[Key])], name: &str) -> Option<String> {
    let kinds: Vec<_> = types
        .iter()
        .filter(|(_, keys)| keys.iter().any(|key| key.name == name))
        .map(|(kind, _)| *kind)
        .collect();
    (!kinds.is_empty()).then(|| kinds.join(" or "))
}
