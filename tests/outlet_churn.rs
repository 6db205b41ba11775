//! An outlet that is started and stopped over and over leaves nothing behind: no pipeline, no thread, no
//! file descriptor, no memory.
//!
//! 2,000 rounds by default; `FANLIGHT_CHURN=10000` makes it ten thousand. Alone in its process, because it
//! measures the process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanlight::capture::outlet::Outlet;
use fanlight::capture::{Capture, Means};
use fanlight::config::model::{Camera, Resolution, Source};
use fanlight::pipelines::Library;
use fanlight::supervision::{State, Timing, Vitals};

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: usize = 2000;
/// What the resident memory may grow by after the warm-up (the first tenth): 5 %, at least this, which
/// is what arenas of malloc's grow by at random.
const GROWTH_LEAST: u64 = 4 * 1024 * 1024;

/// Resident memory in bytes (proc_pid_status(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn encodes(capture: &Capture) -> bool {
    capture.elements().iter().any(|name| name.ends_with("enc"))
}

/// A viewer comes, sees one picture of now, and leaves; then the encoder is gone.
async fn round(capture: &Capture, outlet: &Arc<Outlet>) {
    let came = Instant::now();
    let permit = outlet.demand();
    let mut latest = outlet.latest();
    let fresh = latest.wait_for(|unit| unit.as_ref().is_some_and(|unit| unit.captured > came));
    let seen = tokio::time::timeout(PATIENCE, fresh).await;
    assert!(seen.is_ok(), "no picture: {:?}", capture.status());
    drop(seen);
    drop(permit);
    until("the encoder is gone", || !encodes(capture)).await;
}

async fn churn() {
    gstreamer::init().unwrap();
    let rounds = std::env::var("FANLIGHT_CHURN").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let vitals = Vitals::new(0);
    let means = Means {
        library: Arc::new(Library::embedded()),
        timing: Timing::default(),
        vitals: vitals.clone(),
        graphs: None,
        linger: Duration::ZERO,
    };
    let mut camera = Camera::new("churn", Source::Test {});
    camera.resolution = Resolution { width: 64, height: 64 };
    camera.fps = 120;
    let capture = Capture::start(camera, &means);
    until("the camera is live", || capture.status().lifecycle.state == State::Live).await;

    let (began, mut warm) = (Instant::now(), None);
    let (threads, descriptors) = (entries("/proc/self/task"), entries("/proc/self/fd"));
    for number in 0..rounds {
        if number == rounds / 10 {
            warm = Some((resident(), entries("/proc/self/fd")));
        }
        round(&capture, if number % 2 == 0 { capture.jpeg() } else { capture.h264() }).await;
        if number % (rounds / 10) == 0 {
            println!("round {number}: {} kB, {:.1?}", resident() / 1024, began.elapsed());
        }
    }
    let (warm, warm_descriptors) = warm.unwrap();
    let (after, took) = (resident(), began.elapsed());
    println!(
        "{rounds} rounds in {took:.1?}: {} kB after the warm-up, {} kB at the end; {threads} threads and \
         {descriptors} descriptors before, {} and {} at the end",
        warm / 1024,
        after / 1024,
        entries("/proc/self/task"),
        entries("/proc/self/fd"),
    );
    let allowed = (warm / 20).max(GROWTH_LEAST);
    assert!(after <= warm + allowed, "{warm} bytes grew to {after}, {allowed} more are allowed");
    let fds = entries("/proc/self/fd");
    assert!(fds <= warm_descriptors, "{warm_descriptors} file descriptors became {fds}");
    until("the threads are as many as before", || entries("/proc/self/task") <= threads).await;

    assert!(!encodes(&capture), "{:?}", capture.elements());
    let status = capture.status();
    assert_eq!(status.lifecycle.attempts, 1, "the camera itself was not disturbed: {status:?}");
    assert!(status.jpeg.lifecycle.attempts >= (rounds / 2) as u64, "{status:?}");
    assert_eq!(vitals.frozen(), 0);
    capture.shutdown().await;
    assert_eq!(capture.elements(), Vec::<String>::new(), "a pipeline outlived its camera");
}

#[test]
fn starting_and_stopping_an_outlet_over_and_over_leaves_nothing_behind() {
    // Threads for blocking calls go when they are idle: soon, so that they can be counted.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(200))
        .build()
        .unwrap();
    runtime.block_on(churn());
}
