//! What `fanlight demo` promises about its end, with the real binary and with viewers connected.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::service::STARTS;
use support::*;

/// What the demo may take to end.
const ENDS: Duration = Duration::from_secs(2);

/// Follows the low-latency list as a player does: always with a request open for the next segment.
struct HlsViewer {
    segments: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HlsViewer {
    fn watch(port: u16) -> Self {
        let (segments, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (segments, stop) = (Arc::clone(&segments), Arc::clone(&stop));
            move || {
                let mut path = "/hls/demo/stream_ll.m3u8".to_owned();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(answer) = get(port, &path) else { return };
                    if answer.status != 200 {
                        std::thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                    let list = answer.text();
                    let first = list
                        .lines()
                        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse::<u64>().ok())
                        .expect("a media sequence");
                    let whole = list.matches("#EXTINF:").count() as u64;
                    path = format!("/hls/demo/stream_ll.m3u8?_HLS_msn={}", first + whole);
                    if let Some(name) = list.lines().rfind(|line| line.ends_with(".ts"))
                        && get(port, &format!("/hls/demo/{name}")).is_ok_and(|segment| segment.status == 200)
                    {
                        segments.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { segments, stop, thread: Some(thread) }
    }
}

impl Drop for HlsViewer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the demo; with the folder for its temporary files, where whatever it leaves behind is seen, and its port.
fn start() -> (tempfile::TempDir, Process, u16) {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanlight"));
    command
        .args(["demo", "--port", "0"])
        .current_dir(temporary.path())
        .env("TMPDIR", temporary.path())
        .env("NO_COLOR", "1");
    let demo = Process::spawn("fanlight demo", &mut command);
    let port = demo.wait_line("prints its address", 0, STARTS, |line| {
        line.split("http://127.0.0.1:").nth(1)?.split('/').next()?.parse().ok()
    });
    (temporary, demo, port)
}

#[test]
fn ctrl_c_ends_the_demo_within_two_seconds_with_nothing_left_behind() {
    let (temporary, mut demo, port) = start();
    let folder = temporary.path().join(format!("fanlight-demo-{}", demo.pid()));
    assert!(folder.is_dir(), "{} is where it keeps its files", folder.display());

    let mjpeg = Viewer::watch(port, "/stream.mjpg");
    let hls = HlsViewer::watch(port);
    let silent = MjpegStream::open(port, "/stream.mjpg").unwrap();
    mjpeg.wait_picture(STARTS);
    wait_until("HLS plays", STARTS, || hls.segments.load(Ordering::Relaxed) > 0);

    let asked = Instant::now();
    demo.signal(Signal::INT);
    let status = demo.wait(2 * ENDS);
    let took = asked.elapsed();
    println!("Ctrl-C to the end: {took:.2?}");
    assert!(took < ENDS, "{took:.2?}");
    assert_eq!(status.code(), Some(0), "{status}");
    let left: Vec<_> =
        std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "port {port} is free again");
    drop(silent);
}

#[test]
fn the_demo_shows_two_simulated_printers_where_there_is_a_broker() {
    let test = "the_demo_shows_two_simulated_printers_where_there_is_a_broker";
    if lacks(test, &[("mosquitto", "mosquitto")]) {
        return;
    }
    let (temporary, mut demo, port) = start();
    wait_until("both are connected and show what they do", STARTS, || {
        let list = get(port, "/api/printers?full=1").unwrap().json();
        let doing =
            |it: &&serde_json::Value| it["status"]["connected"] == true && it["status"]["jobState"] != "";
        list.as_array().unwrap().iter().filter(doing).count() == 2
    });
    for camera in [1, 2] {
        wait_until("its picture comes", 2 * STARTS, || {
            let picture = get(port, &format!("/cameras/{camera}/snapshot.jpg"));
            picture.is_ok_and(|answer| answer.status == 200 && answer.body.starts_with(&[0xff, 0xd8]))
        });
    }
    demo.signal(Signal::INT);
    assert_eq!(demo.wait(2 * ENDS).code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
