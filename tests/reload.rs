//! A changed configuration is taken over while the service runs: only what changed restarts, and a bad
//! file changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::service::STARTS;
use support::*;

/// A signal is heard by then, the file's change seen by itself by then.
const SOON: Duration = Duration::from_secs(10);

fn test_camera(id: &str, size: &str) -> String {
    format!("[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\" }}\nresolution = \"{size}\"\nfps = 25\n")
}

fn write(service: &Fanlight, config: &str) {
    // As a careful editor does: the new file is there at once and whole.
    let fresh = service.config_file().with_extension("new");
    std::fs::write(&fresh, config).unwrap();
    std::fs::rename(fresh, service.config_file()).unwrap();
}

fn reload(service: &Fanlight, config: &str) {
    write(service, config);
    service.process().signal(Signal::HUP);
}

fn status_of(service: &Fanlight, path: &str) -> u16 {
    service.get(path).status
}

/// One MJPEG stream that is never opened again, and the times of its pictures.
struct Watcher {
    times: Arc<Mutex<Vec<Instant>>>,
    ended: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn open(service: &Fanlight, path: &str) -> Self {
        let mut stream = MjpegStream::open(service.port(), path).expect("the stream opens");
        let (times, ended, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::default(), Arc::default());
        let thread = std::thread::spawn({
            let (times, ended, stop): (_, Arc<AtomicBool>, Arc<AtomicBool>) =
                (Arc::clone(&times), Arc::clone(&ended), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    match stream.next_within(Duration::from_millis(200)) {
                        Ok(Some(part)) => times.lock().unwrap().push(part.at),
                        Ok(None) => {}
                        Err(_) => return ended.store(true, Ordering::SeqCst),
                    }
                }
            }
        });
        let watcher = Self { times, ended, stop, thread: Some(thread) };
        wait_until("pictures flow", STARTS, || watcher.count() > 10);
        watcher
    }

    fn count(&self) -> usize {
        self.times.lock().unwrap().len()
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The longest time between two pictures from `since` on, the time until now included.
    fn longest_gap(&self, since: Instant) -> Duration {
        let times = self.times.lock().unwrap();
        let mut times: Vec<Instant> = times.iter().copied().filter(|time| *time >= since).collect();
        times.insert(0, since);
        times.push(Instant::now());
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

/// The number of the first segment, and how many the playlist has.
fn segments(service: &Fanlight, camera: &str) -> (u64, u64) {
    let list = service.get(&format!("/hls/{camera}/stream.m3u8"));
    assert_eq!(list.status, 200, "{}", list.text());
    let text = list.text();
    assert!(!text.contains("#EXT-X-DISCONTINUITY\n"), "a discontinuity:\n{text}");
    let first = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap();
    (first.parse().unwrap(), text.lines().filter(|line| line.starts_with("#EXTINF")).count() as u64)
}

#[test]
fn adding_a_camera_disturbs_neither_a_viewer_nor_a_playlist_of_another() {
    let one = test_camera("a", "320x240");
    let service = Fanlight::start(&one);
    let watcher = Watcher::open(&service, "/cameras/a/stream.mjpg");
    let (first, count) = segments(&service, "a");
    let before = service.camera("a");
    let began = Instant::now();
    reload(&service, &format!("{one}{}", test_camera("b", "160x120")));
    wait_until("camera b is there", SOON, || status_of(&service, "/api/cameras/b") == 200);
    service.wait_state("b", "live", STARTS);
    wait_until("the playlist grows by two segments", Duration::from_secs(15), || {
        let (now, listed) = segments(&service, "a");
        assert!(now >= first && now + listed >= first + count, "numbers went back: {first} then {now}");
        now + listed >= first + count + 2
    });
    let gap = watcher.longest_gap(began);
    println!("the longest gap while a camera was added: {gap:.0?}");
    assert!(!watcher.ended(), "the stream ended");
    assert!(gap < Duration::from_millis(500), "{gap:?} without a picture");
    let after = service.camera("a");
    for key in ["attempts", "restarts"] {
        assert_eq!(before[key], after[key], "{key}: {after}");
        assert_eq!(before["h264"][key], after["h264"][key], "{key} of h264: {after}");
    }
}

#[test]
fn a_changed_file_is_taken_over_without_a_signal() {
    let one = test_camera("a", "320x240");
    let service = Fanlight::start(&one);
    write(&service, &format!("{one}{}", test_camera("b", "160x120")));
    let took = wait_until("camera b is there", SOON, || status_of(&service, "/api/cameras/b") == 200);
    println!("file written to camera there: {took:.1?}");
}

#[test]
fn changing_one_camera_restarts_that_one_alone() {
    let (a, b) = (test_camera("a", "320x240"), test_camera("b", "160x120"));
    let service = Fanlight::start(&format!("{a}{b}"));
    service.wait_state("b", "live", STARTS);
    let watcher = Watcher::open(&service, "/cameras/a/stream.mjpg");
    let before = service.camera("a");
    let began = Instant::now();
    reload(&service, &format!("{a}{}", test_camera("b", "176x144")));
    wait_until("camera b has its new size", SOON, || service.camera("b")["resolution"] == "176x144");
    let after = service.camera("a");
    assert_eq!(before["attempts"], after["attempts"], "{after}");
    assert_eq!(before["since"], after["since"], "a stayed as it was: {after}");
    assert!(!watcher.ended());
    assert!(watcher.longest_gap(began) < Duration::from_millis(500), "{:?}", watcher.longest_gap(began));
    let log = service.log();
    assert!(log.contains("changed [\"b\"]") && log.contains("untouched [\"a\"]"), "{log}");
}

/// Threads that media flows in: all but those that GLib and tokio keep for any later use.
fn media_threads(service: &Fanlight) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.process().pid())).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let kept = ["fanlight", "tokio-rt-worker", "gmain", "gdbus", "dconf worker", "pool-"];
    names.filter(|name| !kept.iter().any(|kept| name.starts_with(kept))).count()
}

#[test]
fn removing_a_camera_ends_its_viewers_and_frees_its_pipelines() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    let a = test_camera("a", "160x120");
    let service = Fanlight::start(&a);
    service.wait_state("a", "live", STARTS);
    let before = media_threads(&service);
    reload(&service, &format!("{a}[[camera]]\nid = \"b\"\n{}\n", camera.source_through(relay.port())));
    wait_until("camera b is there", SOON, || status_of(&service, "/api/cameras/b") == 200);
    service.wait_state("b", "live", STARTS);
    let watcher = Watcher::open(&service, "/cameras/b/stream.mjpg");
    assert_eq!(status_of(&service, "/hls/b/stream.m3u8"), 200);
    assert!(media_threads(&service) > before, "its pipelines have threads of their own");

    reload(&service, &a);
    wait_until("the viewer's stream ends", SOON, || watcher.ended());
    for path in ["/api/cameras/b", "/cameras/b/stream.mjpg", "/cameras/b/snapshot.jpg", "/hls/b/stream.m3u8"]
    {
        assert_eq!(status_of(&service, path), 404, "{path}");
    }
    wait_until("its threads are gone", SOON, || media_threads(&service) <= before);
    let connections = relay.attempts();
    hold_for("the camera is left alone", Duration::from_secs(2), || relay.attempts() == connections);
    assert_eq!(service.state("a"), "live");
}

#[test]
fn a_bad_file_is_refused_with_its_line_in_the_log_and_the_old_one_goes_on() {
    let a = test_camera("a", "320x240");
    let service = Fanlight::start(&a);
    let watcher = Watcher::open(&service, "/cameras/a/stream.mjpg");
    let before = service.camera("a");
    reload(&service, &format!("{a}{}rotaton = 90\n", test_camera("b", "160x120")));
    wait_until("the log says so", SOON, || service.log().contains("the old one goes on"));
    let log = service.log();
    assert!(log.contains("fanlight.toml:11:1") && log.contains("did you mean \"rotation\""), "{log}");
    assert_eq!(status_of(&service, "/api/cameras/b"), 404, "nothing of a bad file is taken");
    assert_eq!(service.camera("a")["since"], before["since"]);
    let seen = watcher.count();
    wait_until("pictures go on", SOON, || watcher.count() > seen + 10);
    assert!(!watcher.ended());
    // The mended file is taken.
    reload(&service, &format!("{a}{}rotation = 90\n", test_camera("b", "160x120")));
    service_has(&service, "b");
}

fn service_has(service: &Fanlight, id: &str) {
    wait_until("the camera is there", SOON, || status_of(service, &format!("/api/cameras/{id}")) == 200);
}

#[test]
fn a_corrected_password_brings_a_refused_camera_live_within_two_seconds() {
    let camera = CameraOptions::clip().digest("user", "right").start();
    let config = |source: &str| format!("[[camera]]\nid = \"cam\"\n{source}\n");
    let service = Fanlight::start(&config(&camera.source().replace("right", "a-wrong-one")));
    service.wait_state("cam", "refused", STARTS);
    reload(&service, &config(&camera.source()));
    let asked = Instant::now();
    wait_until("it is live", STARTS, || service.state("cam") == "live");
    println!("password corrected to live: {:.2?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(!service.log().contains("a-wrong-one") && !service.log().contains("right\""));
}

#[test]
fn cors_frame_age_and_log_level_are_taken_over_at_once_and_disturb_no_camera() {
    let camera = test_camera("a", "160x120").replace("fps = 25", "fps = 1");
    let config = |origins: &str, age: &str, level: &str| {
        format!(
            "[server]\ncors_origins = [{origins}]\n[health]\nmax_frame_age_seconds = {age}\n\
             [log]\nlevel = \"{level}\"\n{camera}"
        )
    };
    let allowed = |service: &Fanlight| {
        let origin = [("Origin", "https://dash.example.org")];
        let answer = request(service.port(), "GET", "/health", &origin, b"").unwrap();
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let service = Fanlight::start(&config("", "10.0", "warn"));
    service.wait_state("a", "live", STARTS);
    assert_eq!(allowed(&service), None);
    hold_for("it is ready", Duration::from_millis(1500), || status_of(&service, "/ready") == 200);
    assert!(!service.log().contains(" INFO "), "{}", service.log());
    let before = service.camera("a");

    // A picture a second is older than 0.1 s most of the time.
    reload(&service, &config("\"https://dash.example.org\"", "0.1", "info"));
    wait_until("the origin is allowed", SOON, || {
        allowed(&service).as_deref() == Some("https://dash.example.org")
    });
    wait_until("an old picture is not ready", SOON, || status_of(&service, "/ready") == 503);
    reload(&service, &config("\"https://dash.example.org\"", "10.0", "info"));
    wait_until("ready again", SOON, || status_of(&service, "/ready") == 200);
    wait_until("the log says more", SOON, || service.log().contains(" INFO "));
    let after = service.camera("a");
    assert_eq!((&before["attempts"], &before["since"]), (&after["attempts"], &after["since"]));
}

#[test]
fn another_port_is_said_to_need_a_restart_and_the_old_one_goes_on() {
    // Without FANLIGHT_PORT, which would win over the file.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fanlight.toml");
    let (port, other) = (free_port(), free_port());
    let config = |port: u16| format!("[server]\nport = {port}\n{}", test_camera("a", "160x120"));
    std::fs::write(&file, config(port)).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fanlight"));
    command.args(["--config", file.to_str().unwrap()]).env("NO_COLOR", "1").env_remove("FANLIGHT_PORT");
    command.env("HEALTH_FILE", directory.path().join("health.json"));
    command.env("STATE_DIRECTORY", directory.path());
    let process = Process::spawn("fanlight", &mut command);
    wait_until("it answers", STARTS, || get(port, "/health").is_ok());
    std::fs::write(&file, config(other)).unwrap();
    process.signal(Signal::HUP);
    wait_until("the log says so", SOON, || {
        process.output().contains("server.port changed: it takes effect when the service is restarted")
    });
    assert!(get(port, "/health").is_ok_and(|answer| answer.status == 200), "the old port answers");
    assert!(get(other, "/health").is_err(), "the new one does not yet");
}
