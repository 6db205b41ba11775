//! What is said about what was seen.

use std::time::{Duration, SystemTime};

use super::*;
use crate::capture::outlet::OutletCounters;
use crate::capture::status::{CameraStatus, OutletStatus};
use crate::config;
use crate::config::Secret;
use crate::config::model::{File, Http, Libcamera, Rtsp, V4l2};
use crate::supervision::Snapshot;

fn rtsp(username: Option<&str>, url: &str) -> Camera {
    let password = username.map(|_| Secret::new("hunter2"));
    let rtsp = Rtsp::at(url.into(), username.map(str::to_owned), password);
    Camera::new("porch", Source::Rtsp(rtsp))
}

fn seen(state: State, error: Option<&str>, format: &str) -> Seen {
    let lifecycle =
        Snapshot { state, last_error: error.map(str::to_owned), ..Snapshot::idle(SystemTime::now()) };
    let outlet =
        OutletStatus { encoder: None, lifecycle: lifecycle.clone(), counters: OutletCounters::default() };
    Seen {
        live_after: (state == State::Live).then_some(Duration::from_millis(432)),
        status: CameraStatus {
            id: "porch".into(),
            name: "porch".into(),
            source: "rtsp",
            lifecycle,
            fps: 24.9,
            frames: 70,
            frame_age_seconds: Some(0.1),
            format: Some(format.into()),
            resolution: Some("1920x1080".into()),
            notes: vec!["A note.".into()],
            jpeg: outlet.clone(),
            h264: outlet.clone(),
            realtime: outlet,
        },
        streams: vec!["video H264".into(), "audio MPEG4-GENERIC".into()],
        measured: Measured {
            pictures: 75,
            fps: Some(25.0),
            kbit_per_second: Some(2100.4),
            size: Some((1920, 1080)),
            profile: Some("High 4.0".into()),
            codec: Some("avc1.640028".into()),
            b_frames: Some(false),
            gop_seconds: Some(2.0),
            gop_pictures: Some(50),
        },
        watched: Duration::from_secs(3),
    }
}

fn everything(element: &str) -> bool {
    !crate::pipelines::elements::needs_hardware(element)
}

fn shown(report: &Report) -> String {
    let mut out = Vec::new();
    report.show(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_live_camera_is_described_in_words_and_with_a_block_to_paste() {
    let camera = rtsp(Some("ada"), "rtsp://10.0.0.7/live");
    let report =
        of_seen("rtsp://***@10.0.0.7/live", &camera, &seen(State::Live, None, "H.264 1920x1080"), everything);
    let expected = "\
rtsp://***@10.0.0.7/live
  live             after 0.4 s
  credentials      accepted
  video            H.264 1920x1080, 25.0 fps
  bit rate         2100 kbit/s
  profile          High 4.0 (avc1.640028)
  B-frames         none
  keyframes        at most 2.0 s apart (50 pictures)
  audio            MPEG4-GENERIC (not used)
  MJPEG, snapshot  encoded while somebody watches (avdec_h264 to jpegenc)
  HLS, LL-HLS      passed through as it is
  WebRTC           passed through as it is
  note             A note.

For the configuration file:

[[camera]]
id = \"porch\"
[camera.source]
type = \"rtsp\"
url = \"rtsp://10.0.0.7/live\"
# The user name that you gave, and a file (mode 0600) with the password:
username = \"USER\"
password_file = \"porch.password\"
";
    assert_eq!(shown(&report), expected);
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("hunter2") && !json.contains("ada"), "{json}");
}

#[test]
fn each_way_to_fail_has_its_own_words() {
    let (open, locked) = (rtsp(None, "rtsp://c/"), rtsp(Some("ada"), "rtsp://c/"));
    for (camera, state, error, result, words) in [
        (&locked, State::Refused, Some("401"), Outcome::Refused, "401"),
        (&open, State::Refused, Some("401"), Outcome::Refused, "it wants a user name and password"),
        (&open, State::BackingOff, Some("connection refused"), Outcome::Failed, "connection refused"),
        (&open, State::Starting, None, Outcome::Silent, "it gives no picture in this time"),
    ] {
        let report = of_seen("t", camera, &seen(state, error, ""), everything);
        assert_eq!(report.result, result);
        let said = report.error.clone().unwrap();
        assert!(said.contains(words), "{said}");
        assert_eq!(report.camera, None);
        assert!(shown(&report).contains(&said));
    }
}

#[test]
fn what_passes_through_and_what_is_encoded_follows_from_the_format() {
    let table = [
        ("H.264 1920x1080", ["avdec_h264 to jpegenc", "passed through"]),
        ("H.265 1920x1080", ["avdec_h265 to jpegenc", "avdec_h265 to x264enc"]),
        ("JPEG 1920x1080", ["passed through", "jpegdec to x264enc"]),
        ("raw NV12 1920x1080", ["(jpegenc)", "(x264enc)"]),
    ];
    for (format, expected) in table {
        let report = of_seen("t", &rtsp(None, "rtsp://c/"), &seen(State::Live, None, format), everything);
        for (output, expected) in report.outputs.iter().zip(expected) {
            assert!(output.how.contains(expected), "{format}: {output:?}");
            assert_eq!(output.passed_through, expected == "passed through", "{format}");
        }
    }
    let poor = of_seen("t", &rtsp(None, "rtsp://c/"), &seen(State::Live, None, "raw"), |_| false);
    assert!(poor.outputs[1].how.contains("apt install gstreamer1.0-plugins-ugly"), "{:?}", poor.outputs);
}

#[test]
fn every_block_is_a_configuration_that_loads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fanlight.toml");
    std::fs::write(directory.path().join("porch.password"), "x").unwrap();
    let size = Resolution { width: 1280, height: 720 };
    let http = |mode| {
        let url = "http://cam/a?b=\"c\"".replace('"', "%22");
        Source::Http(Http { url, mode, username: None, password: None, password_file: None })
    };
    let odd = "/a \"b\"\\c/é'.mp4";
    for source in [
        rtsp(Some("ada"), "rtsps://cam:322/x").source,
        rtsp(None, "rtsp://cam/x").source,
        http(HttpMode::Mjpeg),
        http(HttpMode::Jpeg),
        Source::File(File { path: odd.into() }),
        Source::V4l2(V4l2 { device: "/dev/v4l/by-id/usb x".into(), format: V4l2Format::Auto }),
        Source::Libcamera(Libcamera { camera: Some("/base/imx708@1a".into()), ..Libcamera::default() }),
    ] {
        let mut camera = Camera::new("porch", source);
        let text = block(&camera, Some(size));
        std::fs::write(&file, &text).unwrap();
        let loaded = config::load(Some(&file), |_| None).unwrap_or_else(|error| panic!("{text}\n{error}"));
        camera.resolution = size;
        if let Source::Rtsp(rtsp) = &mut camera.source
            && rtsp.username.is_some()
        {
            let Source::Rtsp(got) = &loaded.config.cameras[0].source else { panic!("{text}") };
            assert_eq!(got.url, rtsp.url);
            continue;
        }
        assert_eq!(loaded.config.cameras, [camera], "{text}");
    }
}

#[test]
fn a_secret_in_the_url_is_hidden_wherever_it_is_repeated() {
    let url = "rtsp://cam/live?token=abc";
    let camera = rtsp(None, url);
    let mut report = of_seen(
        "rtsp://cam/live?token=***",
        &camera,
        &seen(State::BackingOff, Some(&format!("no {url}")), ""),
        everything,
    );
    report.hide(url, "rtsp://cam/live?token=***");
    assert!(!shown(&report).contains("abc"));
    assert!(block(&camera, None).contains("url = \"rtsp://cam/live?token=***\""));
}
