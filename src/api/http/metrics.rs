//! `/metrics`: figures as JSON, or as Prometheus text for who asks for it by `Accept`.

mod printers;

use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::{self, Response};
use super::{AppState, probes};
use crate::capture::status::{CameraStatus, OutletStatus};
use crate::config::model::Camera;
use crate::publish::status::OutputStatus;
use crate::record::{RecordingState, RecordingStatus};
use crate::serve::rtsp::Rtsp;
use crate::serve::whep::Whep;
use crate::supervision::lifecycle::State;
use crate::telemetry;
use printers::PrinterMetrics;

/// The first camera's figures at the top, every camera's below.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metrics {
    /// `webcam`: this process has cameras of its own.
    app_mode: &'static str,
    version: &'static str,
    camera_active: bool,
    uptime_seconds: f64,
    current_fps: f64,
    frames_captured: u64,
    last_frame_age_seconds: Option<f64>,
    max_frame_age_seconds: f64,
    /// The pictures' size, or the configured one before the first picture.
    resolution: Option<String>,
    /// Open MJPEG streams, all cameras together.
    mjpeg_viewers: usize,
    mjpeg_max_streams: usize,
    /// JPEGs written as parts of MJPEG streams: one a picture, however many viewers.
    mjpeg_parts: u64,
    /// The first camera's configuration.
    config: Option<CameraConfig>,
    cameras: Vec<CameraMetrics>,
    /// What is published to servers elsewhere.
    outputs: Vec<OutputStatus>,
    /// What is recorded here.
    recordings: Vec<RecordingStatus>,
    printers: Vec<PrinterMetrics>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    timestamp: SystemTime,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CameraMetrics {
    #[serde(flatten)]
    status: CameraStatus,
    mjpeg_viewers: usize,
    webrtc: WebrtcMetrics,
    rtsp: RtspMetrics,
    config: CameraConfig,
}

/// What goes to the viewers that a camera has now by WebRTC.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct WebrtcMetrics {
    /// Those that still connect included.
    viewers: usize,
    /// To all of them, repetitions included.
    bitrate_kbps: f64,
    /// The largest share of packets that one of them missed, 0 to 1.
    worst_loss: f64,
    worst_rtt_ms: f64,
}

impl WebrtcMetrics {
    fn of(camera: &str, whep: &Whep) -> Self {
        let mut metrics = Self { viewers: whep.count(camera), ..Self::default() };
        for viewer in whep.viewers().iter().filter(|viewer| viewer.camera == camera) {
            metrics.bitrate_kbps += viewer.bitrate_kbps;
            metrics.worst_loss = metrics.worst_loss.max(viewer.loss.unwrap_or_default());
            metrics.worst_rtt_ms = metrics.worst_rtt_ms.max(viewer.rtt_ms.unwrap_or_default());
        }
        metrics
    }
}

/// Readers that a camera has by RTSP.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct RtspMetrics {
    readers: usize,
    /// Pictures that slow ones lost, since the camera was configured.
    lost: u64,
}

impl RtspMetrics {
    fn of(camera: &str, rtsp: Option<&Rtsp>) -> Self {
        rtsp.map_or_else(Self::default, |rtsp| Self {
            readers: rtsp.watching(camera),
            lost: rtsp.lost(camera),
        })
    }
}

/// What was asked of the camera. Nothing secret is here.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraConfig {
    source: &'static str,
    resolution: String,
    /// 0: what the camera gives by itself.
    fps: u32,
    jpeg_quality: u8,
    rotation: u16,
}

impl CameraConfig {
    fn of(camera: &Camera) -> Self {
        Self {
            source: camera.source.kind(),
            resolution: camera.resolution.to_string(),
            fps: camera.fps,
            jpeg_quality: camera.jpeg.quality,
            rotation: camera.rotation.degrees(),
        }
    }
}

pub fn metrics(state: &AppState, headers: &HeaderMap) -> Response {
    let metrics = collect(state);
    let mut response = match format(headers) {
        Format::Json => answer::json(StatusCode::OK, &metrics),
        Format::Text => {
            answer::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", prometheus(&metrics))
        }
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// What `Accept` ranks higher (RFC 9110, 12.5.1). JSON at a tie, unless only text is named: Prometheus
/// names its formats and ends with `*/*`, browsers name neither.
fn format(headers: &HeaderMap) -> Format {
    let accept: String = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>()
        .join(",");
    let json = quality(&accept, &["application/json"]);
    let text = quality(&accept, &["text/plain", "application/openmetrics-text"]);
    match (json, text) {
        (Some(json), Some(text)) if text > json => Format::Text,
        (None, Some(text)) if text > 0.0 => Format::Text,
        _ => Format::Json,
    }
}

/// The highest weight that an `Accept` in small letters gives to one of these types by name. What is no
/// weight counts as 1, as a missing one does.
fn quality(accept: &str, kinds: &[&str]) -> Option<f64> {
    let weights = accept.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let kind = parts.next()?;
        if !kinds.contains(&kind) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|text| text.parse::<f64>().ok());
        Some(weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0))
    });
    weights.reduce(f64::max)
}

fn collect(state: &AppState) -> Metrics {
    let all = state.cameras.all();
    let cameras: Vec<CameraMetrics> = all
        .iter()
        .map(|capture| CameraMetrics {
            status: capture.status(),
            mjpeg_viewers: state.mjpeg.viewers_of(capture.id()),
            webrtc: WebrtcMetrics::of(capture.id(), &state.whep),
            rtsp: RtspMetrics::of(capture.id(), state.rtsp.as_ref()),
            config: CameraConfig::of(capture.camera()),
        })
        .collect();
    let first = cameras.first().map(|camera| &camera.status);
    Metrics {
        app_mode: "webcam",
        version: env!("CARGO_PKG_VERSION"),
        camera_active: first.is_some_and(|status| status.lifecycle.state == State::Live),
        uptime_seconds: probes::uptime(state),
        current_fps: first.map_or(0.0, |status| status.fps),
        frames_captured: first.map_or(0, |status| status.frames),
        last_frame_age_seconds: first.and_then(|status| status.frame_age_seconds),
        max_frame_age_seconds: state.max_frame_age().as_secs_f64(),
        resolution: first
            .and_then(|status| status.resolution.clone())
            .or_else(|| all.first().map(|capture| capture.camera().resolution.to_string())),
        mjpeg_viewers: state.mjpeg.viewers(),
        mjpeg_max_streams: state.config.borrow().mjpeg.max_streams,
        mjpeg_parts: state.mjpeg.parts(),
        config: all.first().map(|capture| CameraConfig::of(capture.camera())),
        cameras,
        outputs: state.publishers.statuses(),
        recordings: state.recordings.statuses(),
        printers: state.printers.list().iter().map(PrinterMetrics::of).collect(),
        timestamp: SystemTime::now(),
    }
}

const STATES: [(State, &str); 7] = [
    (State::Idle, "idle"),
    (State::Starting, "starting"),
    (State::Live, "live"),
    (State::Stalled, "stalled"),
    (State::BackingOff, "backing_off"),
    (State::Refused, "refused"),
    (State::Stopping, "stopping"),
];

/// The text exposition format 0.0.4. It is the answer to a wish for OpenMetrics too: who asks for that
/// reads this.
fn prometheus(metrics: &Metrics) -> String {
    let mut page = Page(String::new());
    page.family("fanlight_uptime_seconds", "gauge", "Seconds since the service started.");
    page.sample("fanlight_uptime_seconds", &[], metrics.uptime_seconds);
    page.family("fanlight_build_info", "gauge", "The version that runs; always 1.");
    page.sample("fanlight_build_info", &[("version", metrics.version)], 1.0);
    page.family("fanlight_mjpeg_max_streams", "gauge", "MJPEG streams that may be open at once.");
    page.sample("fanlight_mjpeg_max_streams", &[], metrics.mjpeg_max_streams as f64);
    page.family("fanlight_max_frame_age_seconds", "gauge", "Older pictures are not shown as live.");
    page.sample("fanlight_max_frame_age_seconds", &[], metrics.max_frame_age_seconds);

    page.cameras(metrics, "fanlight_mjpeg_viewers", "gauge", "Open MJPEG streams.", |camera| {
        Some(camera.mjpeg_viewers as f64)
    });
    page.cameras(metrics, "fanlight_webrtc_viewers", "gauge", "Viewers by WebRTC.", |camera| {
        Some(camera.webrtc.viewers as f64)
    });
    page.cameras(metrics, "fanlight_rtsp_readers", "gauge", "Readers by RTSP.", |camera| {
        Some(camera.rtsp.readers as f64)
    });
    let lost = "Pictures that slow RTSP readers lost.";
    page.cameras(metrics, "fanlight_rtsp_lost_total", "counter", lost, |camera| {
        Some(camera.rtsp.lost as f64)
    });
    page.family("fanlight_camera_state", "gauge", "1 for the state that the camera is in.");
    for camera in &metrics.cameras {
        for (state, name) in STATES {
            let labels = [("camera", camera.status.id.as_str()), ("state", name)];
            page.sample(
                "fanlight_camera_state",
                &labels,
                f64::from(u8::from(camera.status.lifecycle.state == state)),
            );
        }
    }
    page.cameras(metrics, "fanlight_camera_frames_total", "counter", "Pictures from the source.", |camera| {
        Some(camera.status.frames as f64)
    });
    page.cameras(metrics, "fanlight_camera_fps", "gauge", "Pictures per second from the source.", |camera| {
        Some(camera.status.fps)
    });
    page.cameras(
        metrics,
        "fanlight_camera_frame_age_seconds",
        "gauge",
        "Age of the newest picture.",
        |camera| camera.status.frame_age_seconds,
    );
    page.cameras(metrics, "fanlight_camera_attempts_total", "counter", "Attempts to start it.", |camera| {
        Some(camera.status.lifecycle.attempts as f64)
    });
    page.cameras(
        metrics,
        "fanlight_camera_restarts_total",
        "counter",
        "Times it had to begin again.",
        |camera| Some(camera.status.lifecycle.restarts as f64),
    );
    page.cameras(
        metrics,
        "fanlight_camera_frozen_total",
        "counter",
        "Pipelines that did not stop.",
        |camera| Some(camera.status.lifecycle.frozen as f64),
    );
    page.outlets(metrics, "fanlight_outlet_frames_total", "counter", "Encoded pictures.", |outlet| {
        outlet.counters.frames as f64
    });
    page.outlets(metrics, "fanlight_outlet_bytes_total", "counter", "Their bytes.", |outlet| {
        outlet.counters.bytes as f64
    });
    page.outlets(
        metrics,
        "fanlight_outlet_dropped_total",
        "counter",
        "Pictures that slow consumers lost.",
        |outlet| outlet.counters.dropped as f64,
    );
    page.outlets(metrics, "fanlight_outlet_demand", "gauge", "Consumers now.", |outlet| {
        outlet.counters.demand as f64
    });
    outputs(&mut page, &metrics.outputs);
    recordings(&mut page, &metrics.recordings);
    printers::families(&mut page, &metrics.printers);
    page.0
}

/// What is recorded on the disk here.
fn recordings(page: &mut Page, recordings: &[RecordingStatus]) {
    page.family("fanlight_recording_state", "gauge", "1 for the state that the camera's recording is in.");
    let states = [
        (RecordingState::Off, "off"),
        (RecordingState::Waiting, "waiting"),
        (RecordingState::Recording, "recording"),
        (RecordingState::Failed, "failed"),
    ];
    for recording in recordings {
        for (state, name) in states {
            let labels = [("camera", &*recording.camera), ("state", name)];
            page.sample("fanlight_recording_state", &labels, f64::from(u8::from(recording.state == state)));
        }
    }
    page.family("fanlight_recording_file", "gauge", "The file that is being written, or was last; always 1.");
    for recording in recordings {
        if let Some(file) = &recording.name {
            let labels = [("camera", &*recording.camera), ("file", file.as_str())];
            page.sample("fanlight_recording_file", &labels, 1.0);
        }
    }
    page.family("fanlight_recording_error", "gauge", "Why it is not recording although it should; always 1.");
    for recording in recordings {
        if let Some(error) = &recording.error {
            let labels = [("camera", &*recording.camera), ("error", error.as_str())];
            page.sample("fanlight_recording_error", &labels, 1.0);
        }
    }
    type Figure = fn(&RecordingStatus) -> f64;
    let figures: [(&str, &str, &str, Figure); 5] = [
        ("fanlight_recording_file_bytes", "gauge", "Bytes of that file.", |r| r.bytes as f64),
        ("fanlight_recording_file_seconds", "gauge", "Its length.", |r| r.duration_seconds),
        ("fanlight_recording_bytes_total", "counter", "Bytes of all files.", |r| r.bytes_written as f64),
        ("fanlight_recording_failures_total", "counter", "Times that the disk did not do.", |r| {
            r.failures as f64
        }),
        ("fanlight_recording_lost_total", "counter", "Pictures that the disk was too slow for.", |r| {
            r.lost_pictures as f64
        }),
    ];
    for (name, kind, help, value) in figures {
        page.family(name, kind, help);
        for recording in recordings {
            page.sample(name, &[("camera", &*recording.camera)], value(recording));
        }
    }
}

/// What is published to servers elsewhere.
fn outputs(page: &mut Page, outputs: &[OutputStatus]) {
    page.family("fanlight_output_state", "gauge", "1 for the state that the output is in.");
    for output in outputs {
        for (state, name) in STATES {
            let labels = [("camera", &*output.camera), ("output", &*output.id), ("state", name)];
            page.sample(
                "fanlight_output_state",
                &labels,
                f64::from(u8::from(output.lifecycle.state == state)),
            );
        }
    }
    type Figure = fn(&OutputStatus) -> f64;
    let figures: [(&str, &str, &str, Figure); 7] = [
        ("fanlight_output_frames_total", "counter", "Pictures that went out.", |o| o.frames as f64),
        ("fanlight_output_bytes_total", "counter", "Bytes that went out.", |o| o.bytes as f64),
        ("fanlight_output_dropped_total", "counter", "Pictures lost to a slow peer.", |o| o.dropped as f64),
        ("fanlight_output_fps", "gauge", "Pictures per second that the peer takes.", |o| o.fps),
        ("fanlight_output_attempts_total", "counter", "Attempts to publish.", |o| {
            o.lifecycle.attempts as f64
        }),
        ("fanlight_output_restarts_total", "counter", "Times it had to begin again.", |o| {
            o.lifecycle.restarts as f64
        }),
        ("fanlight_output_frozen_total", "counter", "Attempts that did not stop.", |o| {
            o.lifecycle.frozen as f64
        }),
    ];
    for (name, kind, help, value) in figures {
        page.family(name, kind, help);
        for output in outputs {
            page.sample(name, &[("camera", &*output.camera), ("output", &*output.id)], value(output));
        }
    }
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escape(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn cameras(
        &mut self,
        metrics: &Metrics,
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&CameraMetrics) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for camera in &metrics.cameras {
            if let Some(value) = value(camera) {
                self.sample(name, &[("camera", &camera.status.id)], value);
            }
        }
    }

    fn outlets(
        &mut self,
        metrics: &Metrics,
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&OutletStatus) -> f64,
    ) {
        self.family(name, kind, help);
        for camera in &metrics.cameras {
            for (outlet, status) in [
                ("jpeg", &camera.status.jpeg),
                ("h264", &camera.status.h264),
                ("realtime", &camera.status.realtime),
            ] {
                self.sample(name, &[("camera", &camera.status.id), ("outlet", outlet)], value(status));
            }
        }
    }
}

/// A label's value: backslash, quote and line feed are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Source;

    fn accept(value: &'static str) -> HeaderMap {
        std::iter::once((header::ACCEPT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn json_is_given_unless_text_is_asked_for_or_ranked_higher() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (value, expected) in [
            ("*/*", Format::Json),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Json),
            ("application/json, text/plain, */*", Format::Json),
            ("text/plain", Format::Text),
            ("Text/Plain; version=0.0.4", Format::Text),
            (prometheus, Format::Text),
            ("application/openmetrics-text", Format::Text),
            ("application/json;q=0.1, text/plain", Format::Text),
            ("text/plain;q=0.5, application/json;q=0.9", Format::Json),
            ("text/plain;q=0.9, application/json;q=0.5", Format::Text),
            (
                "text/plain;q=0.2, application/openmetrics-text; version=1.0.0; q=0.8, application/json;q=0.5",
                Format::Text,
            ),
            ("application/json;q=0.5, text/plain;q=0.5", Format::Json),
            ("application/json;q=0, text/plain;q=0.1", Format::Text),
            ("text/plain;q=0", Format::Json),
            ("text/plain;q=0, application/json;q=0", Format::Json),
            ("application/json;q=much, text/plain;q=0.9", Format::Json),
            ("application/json;q=0.1, text/plain;q=NaN", Format::Text),
        ] {
            assert_eq!(format(&accept(value)), expected, "{value}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Json);
    }

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let mut page = Page(String::new());
        page.sample("x", &[("camera", "a\"} 1\ny\\"), ("b", "c")], 1.5);
        assert_eq!(page.0, "x{camera=\"a\\\"} 1\\ny\\\\\",b=\"c\"} 1.5\n");
    }

    fn one_camera() -> Metrics {
        let capture = crate::capture::Capture::detached(Camera::new("front", Source::Test {}));
        let config = tokio::sync::watch::Sender::new(std::sync::Arc::default());
        let cameras = crate::cameras::Cameras::new(vec![capture]);
        let hls = tokio::sync::watch::Sender::new(crate::serve::hls::Hls::new(Default::default()));
        let free = crate::config::model::Webrtc { port: 0, ..Default::default() };
        let whep = Whep::start(&free, std::net::IpAddr::from([127, 0, 0, 1])).unwrap();
        collect(&AppState::new(cameras, config.subscribe(), hls.subscribe(), whep, Default::default()))
    }

    #[test]
    fn every_sample_belongs_to_the_family_above_it_and_every_family_is_there_once() {
        let text = prometheus(&one_camera());
        let (mut families, mut family) = (std::collections::HashSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} is there twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(rest == format!("{family} gauge") || rest == format!("{family} counter"), "{rest}");
                assert_eq!(rest.ends_with("counter"), family.ends_with("_total"), "{rest}");
            } else {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, family, "{line}");
                line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
            }
        }
        assert!(text.contains("fanlight_camera_state{camera=\"front\",state=\"idle\"} 1\n"), "{text}");
        assert!(text.contains("fanlight_outlet_demand{camera=\"front\",outlet=\"jpeg\"} 0\n"), "{text}");
    }
}
