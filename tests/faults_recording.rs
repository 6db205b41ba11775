//! Recordings through the worst: SIGKILL at any moment, and a disk that is full.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::recording::{decode, probe, test_camera};
use support::service::STARTS;
use support::*;

const FFMPEG: &[(&str, &str)] = &[("ffprobe", "ffmpeg"), ("ffmpeg", "ffmpeg")];
const SOON: Duration = Duration::from_secs(20);
/// Kills, in all. Each costs about 3 s; two services run at a time.
const KILLS: usize = 50;
const WORKERS: usize = 2;
/// Cameras of each service: each kill hits a file of each.
const CAMERAS: usize = 2;
const FPS: u64 = 10;

/// Files of this directory that were not there before.
fn new_files(directory: &Path, before: &[PathBuf]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| !before.contains(path));
    paths
}

#[derive(Debug, Default)]
struct Toll {
    files: usize,
    pictures: usize,
    most_missing: u64,
}

/// Kills one service over and over while it records, each time at another moment.
fn kill_over_and_over(worker: usize) -> Toll {
    let config: String =
        (0..CAMERAS).map(|n| test_camera(&format!("cam{n}"), "record = \"continuous\"")).collect();
    let mut service = Fanlight::start(&config);
    let mut toll = Toll::default();
    let mut seen = Vec::new();
    for round in 0..KILLS / WORKERS {
        // Between the first picture and 3 s after it, spread evenly but in no order.
        let after = (round * 7 + worker * 3) % (KILLS / WORKERS) * 30 / (KILLS / WORKERS);
        let id = |n: usize| format!("cam{n}");
        let came = |n: usize| service.camera(&id(n))["h264"]["frames"].as_u64().unwrap();
        wait_until("pictures come", STARTS, || (0..CAMERAS).all(|n| came(n) > after as u64));
        let came: Vec<u64> = (0..CAMERAS).map(came).collect();
        service.process_mut().kill();
        let files = new_files(&service.recordings_directory(), &seen);
        for (n, came) in came.iter().enumerate() {
            // The first picture opens a file; before that there is none.
            let of = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&id(n));
            let written = match files.iter().find(of) {
                Some(path) if std::fs::metadata(path).unwrap().len() > 0 => {
                    toll.files += 1;
                    probe(path, true).packets
                }
                _ => 0,
            };
            toll.pictures += written;
            toll.most_missing = toll.most_missing.max(came.saturating_sub(written as u64));
        }
        seen.extend(files);
        service.kill_and_restart();
    }
    // What restarts found unfinished is mended, and what was empty is gone: decoders are content with it.
    let settled = |path: &&PathBuf| {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > Duration::from_secs(15)))
    };
    seen.iter().filter(settled).step_by(4).for_each(|path| decode(path));
    toll
}

#[test]
fn a_killed_service_loses_no_more_than_two_seconds_of_a_recording() {
    if lacks("a_killed_service_loses_no_more_than_two_seconds_of_a_recording", FFMPEG) {
        return;
    }
    let began = std::time::Instant::now();
    let workers: Vec<_> =
        (0..WORKERS).map(|worker| std::thread::spawn(move || kill_over_and_over(worker))).collect();
    for worker in workers {
        let toll = worker.join().expect("no kill left an unreadable file");
        println!("{toll:?}");
        assert!(toll.files >= KILLS / WORKERS, "{toll:?}");
        assert!(toll.most_missing <= 2 * FPS, "{toll:?}");
    }
    println!("{KILLS} kills of {CAMERAS} recordings each in {:.0?}", began.elapsed());
}

#[test]
fn a_full_disk_stops_recording_with_words_and_not_the_stream_and_space_brings_it_back() {
    const NAME: &str = "a_full_disk_stops_recording_with_words_and_not_the_stream_and_space_brings_it_back";
    if lacks(NAME, &[FFMPEG, &[("unshare", "util-linux")]].concat()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let small = directory.path().join("small");
    std::fs::create_dir(&small).unwrap();
    // A small disk of its own, which only the service sees, and we through /proc.
    let mount = format!("mount -t tmpfs -o size=8m tmpfs {}", small.display());
    let check = Command::new("unshare").args(["-rm", "sh", "-c", &mount]).output().unwrap();
    if !check.status.success() {
        return skipped(NAME, &format!("no mounts here: {}", String::from_utf8_lossy(&check.stderr).trim()));
    }
    let config = directory.path().join("fanlight.toml");
    let text = format!(
        "[storage]\ndirectory = {small:?}\n[record]\nreserve_mb = 1\n{}",
        test_camera("front", "record = \"continuous\"")
    );
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let run = format!("{mount} && exec {} run --config {}", env!("CARGO_BIN_EXE_fanlight"), config.display());
    let service = Process::spawn(
        "fanlight",
        Command::new("unshare")
            .args(["-rm", "sh", "-c", &run])
            .env("FANLIGHT_PORT", port.to_string())
            .env("HEALTH_FILE", directory.path().join("health.json")),
    );
    let inside = PathBuf::from(format!("/proc/{}/root{}", service.pid(), small.display()));
    let recording = || get(port, "/api/cameras/front/recording").ok().map(|answer| answer.json());
    let state = |wanted: &str| recording().is_some_and(|status| status["state"] == wanted);
    wait_until("it records", STARTS + SOON, || {
        recording().is_some_and(|status| status["duration_seconds"].as_f64().unwrap_or(0.0) >= 2.0)
    });
    let mut stream = MjpegStream::open(port, "/cameras/front/stream.mjpg").unwrap();

    for round in 0..2 {
        let first = recording().unwrap()["name"].clone();
        let filler = inside.join("filler");
        // As full as it gets: the last write is cut short.
        let _ = std::fs::write(&filler, vec![0; 8 * 1024 * 1024]);
        wait_until("the recording stops", SOON, || state("failed"));
        let status = recording().unwrap();
        let words = status["error"].as_str().unwrap();
        assert!(words.contains("record.retention") && words.contains("small"), "{words}");
        let health = get(port, "/health").unwrap();
        assert_eq!(health.status, 200);
        for _ in 0..10 {
            assert!(stream.next_within(SOON).unwrap().is_some(), "the stream goes on");
        }
        if round == 0 {
            // The camera's own answer to somebody who asks for more.
            let snapshot = request(port, "POST", "/api/cameras/front/snapshots", &[], b"").unwrap();
            assert_eq!((snapshot.status, &snapshot.json()["error"]["code"]), (507, &"DISK_FULL".into()));
        }
        std::fs::remove_file(&filler).unwrap();
        wait_until("the recording goes on", SOON, || state("recording"));
        let second = recording().unwrap()["name"].clone();
        assert_ne!(first, second, "in a file of its own");
        wait_until("something is in it", SOON, || {
            recording().is_some_and(|status| status["duration_seconds"].as_f64().unwrap_or(0.0) >= 1.0)
        });
    }
    let stopped = request(port, "DELETE", "/api/cameras/front/recording", &[], b"").unwrap();
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    let files = new_files(&inside.join("recordings"), &[]);
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        probe(&path, false);
        decode(&path);
    }
}
