//! What the tests against the real binary share: guards that start and always end processes, an RTSP
//! camera that misbehaves on order, a relay that plays a broken network, a network namespace with a LiveKit
//! server in it, an RTMP server, a small HTTP client, and waiting with a deadline. Each file of `tests/` takes what it needs with `mod support;`.
//!
//! Everything stays on 127.0.0.1 and everything ends with its guard.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code, unused_imports)]
// A test that cannot go on says why and fails.
#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod camera;
pub mod http;
pub mod ingress;
pub mod livekit;
pub mod mediamtx;
pub mod namespace;
pub mod printer;
pub mod printer_camera;
pub mod process;
pub mod recording;
pub mod redis;
pub mod relay;
pub mod rtmp;
pub mod rtsp_client;
pub mod service;
pub mod tls;
pub mod viewer;
pub mod whep_client;

pub use camera::{CameraOptions, RtspCamera};
pub use http::{MjpegStream, Response, get, request};
pub use ingress::Ingress;
pub use livekit::LiveKit;
pub use printer::Printers;
pub use printer_camera::{Mood, PrinterCamera};
pub use process::Process;
pub use redis::Redis;
pub use relay::{Network, Relay};
pub use rtmp::RtmpServer;
pub use rtsp_client::RtspClient;
pub use service::Fanlight;
pub use tls::SelfSigned;
pub use viewer::Viewer;

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer; fails the test with `what` when it has none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until `condition` holds and returns how long that took.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    wait_for(what, within, || condition().then_some(()));
    began.elapsed()
}

/// Fails the test if `condition` stops to hold within the time.
#[track_caller]
pub fn hold_for(what: &str, time: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time {
        assert!(condition(), "{what}: no longer after {:?} of {time:?}", began.elapsed());
        std::thread::sleep(LOOK);
    }
}

/// A port that is free now. Somebody else may take it before its user does, which on a test machine does
/// not happen in practice.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// The clip every test plays: 640x272, 25 fps, 10 s, H.264 High with B-frames.
pub fn bikes() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bikes.mp4")
}

/// Says that a test is left out and why. libtest counts it as passed and swallows what it prints, so a
/// line goes to the file named by `FANLIGHT_SKIPS` too, which `scripts/test.sh` counts.
pub fn skipped(name: &str, why: &str) {
    eprintln!("skipped: {name}: {why}");
    if let Some(path) = std::env::var_os("FANLIGHT_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("the skips");
        // One write: tests of several threads append.
        file.write_all(format!("{name}: {why}\n").as_bytes()).expect("the skips");
    }
}

/// Whether one of these tools is not installed, each given with its Debian package. The test is then left
/// out, by name and with what is missing.
pub fn lacks(test: &str, tools: &[(&str, &str)]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are not on every user's path.
    let places: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let missing = tools.iter().find(|(tool, _)| !places.iter().any(|place| place.join(tool).is_file()));
    if let Some((tool, package)) = missing {
        skipped(test, &format!("{tool} is missing (package {package})"));
    }
    missing.is_some()
}

/// The value below which `percent` of the sorted times lie (nearest rank).
pub fn percentile(times: &[Duration], percent: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
