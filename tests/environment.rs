//! The variables that deployments set, on the real binary: good ones show over HTTP, bad ones never stop
//! the start. Which values are good is for the tests in `src/config/`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::service::STARTS;
use support::*;

const ORIGIN: &str = "https://dash.example";

/// The body of the first segment of this kind in a JPEG (ITU-T T.81, annex B: marker, then a length that
/// counts its own two bytes).
fn jpeg_segment(jpeg: &[u8], marker: u8) -> &[u8] {
    let mut at = 2;
    loop {
        assert_eq!(jpeg[at], 0xff, "a marker at {at}");
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == marker {
            return &jpeg[at + 4..at + 2 + length];
        }
        at += 2 + length;
    }
}

/// Width and height, from its start of frame.
fn jpeg_size(jpeg: &[u8]) -> (u16, u16) {
    let frame = jpeg_segment(jpeg, 0xc0);
    (u16::from_be_bytes([frame[3], frame[4]]), u16::from_be_bytes([frame[1], frame[2]]))
}

#[test]
fn every_good_variable_shows_in_what_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let (segments, health) = (directory.path().join("hls"), directory.path().join("state/health.json"));
    std::fs::create_dir(health.parent().unwrap()).unwrap();
    // The usual WebRTC port may be another test's, which would be a warning.
    let service = Fanlight::start_with(
        "[webrtc]\nport = 0\n",
        &[
            ("APP_MODE", "webcam"),
            ("MOCK_CAMERA", "true"),
            ("RESOLUTION", "352x288"),
            ("FPS", "12"),
            ("JPEG_QUALITY", "61"),
            ("CORS_ORIGINS", ORIGIN),
            ("MAX_FRAME_AGE_SECONDS", "7.5"),
            ("HLS_LOW_LATENCY", "true"),
            ("HLS_PART_DURATION_SECS", "0.5"),
            ("HLS_OUTPUT_DIR", segments.to_str().unwrap()),
            ("HEALTH_FILE", health.to_str().unwrap()),
            ("LOG_FORMAT", "json"),
            ("LOG_LEVEL", "debug"),
        ],
    );
    wait_until("the service is ready", STARTS, || service.get("/ready").status == 200);

    let snapshot = service.get("/snapshot.jpg");
    assert_eq!(snapshot.status, 200, "{}", snapshot.text());
    assert_eq!(jpeg_size(&snapshot.body), (352, 288));
    // The luminance table's first step is 16 at quality 50; at 61, 16 * (200 - 2 * 61) / 100.
    let tables = jpeg_segment(&snapshot.body, 0xdb);
    assert_eq!(tables[..2], [0, 12], "quality 61");

    let metrics = service.get("/metrics").json();
    assert_eq!(metrics["app_mode"], "webcam");
    assert_eq!(metrics["resolution"], "352x288");
    assert_eq!(metrics["max_frame_age_seconds"], 7.5);
    assert_eq!(metrics["config"]["source"], "test");
    assert_eq!(metrics["config"]["fps"], 12);
    assert_eq!(metrics["config"]["jpeg_quality"], 61);
    wait_until("12 pictures a second", STARTS, || {
        let fps = service.get("/metrics").json()["current_fps"].as_f64().unwrap();
        (11.0..=13.0).contains(&fps)
    });

    for (origin, allowed) in [(ORIGIN, Some(ORIGIN)), ("https://other.example", None)] {
        let answer = request(service.port(), "GET", "/health", &[("Origin", origin)], b"").unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "asked by {origin}");
    }

    let id = metrics["cameras"][0]["id"].as_str().unwrap();
    let list = wait_for("the low-latency list", STARTS, || {
        let answer = service.get(&format!("/hls/{id}/stream_ll.m3u8"));
        (answer.status == 200).then(|| answer.text())
    });
    let parts: Vec<&str> = list.lines().filter(|line| line.starts_with("#EXT-X-PART:")).collect();
    // Six pictures at 12 a second; the target is a tenth longer, for cameras that are not on time.
    assert!(list.contains("PART-TARGET=0.55000\n"), "{list}");
    assert!(parts[0].contains("DURATION=0.50000,"), "{list}");
    let folder = segments.join(id);
    wait_until("the list and its segments are on disk", STARTS, || {
        let list = std::fs::read_to_string(folder.join("stream.m3u8")).unwrap_or_default();
        let mut names = list.lines().filter(|line| line.ends_with(".ts")).peekable();
        names.peek().is_some() && names.all(|name| folder.join(name).exists())
    });

    let told: Value = serde_json::from_slice(&std::fs::read(&health).unwrap()).unwrap();
    assert!(told.is_object(), "{told}");
    let log = service.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["level"] != "WARN"), "nothing to warn of: {log}");
    assert!(lines.iter().any(|line| line["level"] == "DEBUG"), "the level is debug: {log}");
}

#[test]
fn low_latency_switched_off_leaves_the_plain_list() {
    let service = Fanlight::start_with("", &[("MOCK_CAMERA", "1"), ("HLS_LOW_LATENCY", "off")]);
    wait_until("the service is ready", STARTS, || service.get("/ready").status == 200);
    let id = service.get("/metrics").json()["cameras"][0]["id"].as_str().unwrap().to_owned();
    wait_until("the plain list", STARTS, || service.get(&format!("/hls/{id}/stream.m3u8")).status == 200);
    for list in ["stream_ll.m3u8", "stream_ll_fmp4.m3u8"] {
        assert_eq!(service.get(&format!("/hls/{id}/{list}")).status, 404, "{list}");
    }
}

#[test]
fn with_every_variable_bad_it_starts_on_defaults_and_warns_once_of_each() {
    let bad = [
        ("APP_MODE", "server"),
        ("MOCK_CAMERA", "perhaps"),
        ("RESOLUTION", "4097x480"),
        ("FPS", "fast"),
        ("JPEG_QUALITY", "101"),
        ("CORS_ORIGINS", "not an origin"),
        ("MAX_FRAME_AGE_SECONDS", "-1"),
        ("HEALTH_FILE", "a\nb"),
        ("HLS_LOW_LATENCY", "maybe"),
        ("HLS_PART_DURATION_SECS", "5"),
        ("HLS_OUTPUT_DIR", "a\u{7}b"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "inof"),
        ("FANLIGHT_BIND", "localhost"),
    ];
    // The default place of the health file, for this test alone.
    let runtime = tempfile::tempdir().unwrap();
    let mut environment = bad.to_vec();
    environment.push(("RUNTIME_DIRECTORY", runtime.path().to_str().unwrap()));
    environment.push(("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap()));
    let service = Fanlight::start_with("", &environment);
    assert_eq!(service.get("/health").status, 200);
    for (name, value) in bad {
        let line = |log: &str| {
            let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(name));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        wait_until(&format!("a warning of {name}"), Duration::from_secs(5), || {
            !line(&service.log()).is_empty()
        });
        let lines = line(&service.log());
        assert_eq!(lines.len(), 1, "{name}={value:?}: {lines:?}");
    }
    let metrics = service.get("/metrics").json();
    assert_eq!(metrics["config"]["resolution"], "640x480");
    assert_eq!(metrics["config"]["fps"], 0);
    assert_eq!(metrics["config"]["jpeg_quality"], 100);
    assert_eq!(metrics["max_frame_age_seconds"], 10.0);
    let answer = request(service.port(), "GET", "/health", &[("Origin", ORIGIN)], b"").unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), None, "a bad origin opens nothing");
}
