//! The service's own troubles: killed, started twice, without a place for its health file.

#![allow(clippy::expect_used)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use support::service::STARTS;
use support::*;

const TEST_CAMERA: &str = "[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\nfps = 15\n";

fn health_of(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[test]
fn a_killed_service_serves_again_after_its_restart() {
    let camera = CameraOptions::clip().start();
    let config = format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source());
    let mut service = Fanlight::start(&config);
    let viewer = Viewer::watch(service.port(), "/cameras/cam/stream.mjpg");
    viewer.wait_picture(STARTS);
    wait_until("the health file is there", STARTS, || health_of(&service.health_file()).is_some());
    let killed = viewer.mark();
    service.kill_and_restart();
    let took = viewer.wait_since(killed, "after the restart", STARTS);
    println!("SIGKILL to pictures from the restarted service: {took:.2?}");
    service.wait_state("cam", "live", STARTS);
    wait_until("the health file is current", STARTS, || {
        health_of(&service.health_file()).is_some_and(|health| health.to_string().contains("live"))
    });
}

#[test]
fn a_killed_service_never_leaves_half_a_health_file() {
    for _ in 0..5 {
        let mut service = Fanlight::start(TEST_CAMERA);
        wait_until("the health file is there", STARTS, || service.health_file().exists());
        let _stream = MjpegStream::open(service.port(), "/stream.mjpg");
        service.process_mut().kill();
        let text = std::fs::read_to_string(service.health_file()).expect("the health file");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "half a file: {text}");
    }
}

#[test]
fn the_health_file_is_renewed_every_five_seconds() {
    let service = Fanlight::start(TEST_CAMERA);
    service.wait_state("cam", "live", STARTS);
    let changed = || std::fs::metadata(service.health_file()).and_then(|file| file.modified()).ok();
    let mut last = wait_for("the health file is there", STARTS, changed);
    for _ in 0..3 {
        wait_until("the health file is renewed", Duration::from_secs(7), || {
            changed().is_some_and(|time| time != last)
        });
        last = changed().unwrap_or(SystemTime::UNIX_EPOCH);
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let (status, output) = Fanlight::run_to_end(TEST_CAMERA, port, Duration::from_secs(10));
    assert!(!status.success(), "it claims success: {output}");
    assert!(output.contains(&port.to_string()), "the port {port} is not named: {output}");
    assert!(output.to_lowercase().contains("in use"), "the reason is not said: {output}");
}

/// The service serves, and says in the log that the health file at this path cannot be written.
#[track_caller]
fn serves_without_health_file(path: &Path) {
    let file = path.display().to_string();
    let service = Fanlight::start_with(TEST_CAMERA, &[("HEALTH_FILE", &file)]);
    let mut stream = None;
    wait_until("the stream opens", STARTS, || {
        stream = MjpegStream::open(service.port(), "/stream.mjpg").ok();
        stream.is_some()
    });
    let part = stream.expect("a stream").next_within(STARTS).expect("a stream").expect("a picture");
    assert!(part.jpeg.starts_with(&[0xff, 0xd8]));
    assert_eq!(service.get("/ready").status, 200);
    wait_until("the log says so", Duration::from_secs(10), || {
        service.log().lines().any(|line| line.contains(&file) && line.to_lowercase().contains("health"))
    });
    let lines = service.log().lines().filter(|line| line.contains(&file)).count();
    assert!(lines <= 3, "said {lines} times: once is enough");
}

#[test]
fn without_a_directory_for_the_health_file_it_serves_and_says_so() {
    // Under a plain file no directory can be made, not even by root.
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("file"), "").expect("a file");
    serves_without_health_file(&directory.path().join("file/health.json"));
}

/// A file system of one page, which one small file fills.
struct FullDisk(tempfile::TempDir);

impl FullDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            return None;
        }
        let disk = Self(directory);
        std::fs::write(disk.0.path().join("filler"), [0; 4096]).expect("the filler");
        Some(disk)
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn with_a_full_disk_for_the_health_file_it_serves_and_says_so() {
    let Some(disk) = FullDisk::mount() else {
        skipped(
            "with_a_full_disk_for_the_health_file_it_serves_and_says_so",
            "only root may mount the small file system that this test fills",
        );
        return;
    };
    serves_without_health_file(&disk.0.path().join("health.json"));
}

#[test]
fn where_the_health_file_cannot_be_replaced_it_serves_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("health.json");
    // Where the file should go stands a directory with something in it: it cannot be replaced.
    std::fs::create_dir(&path).expect("a directory");
    std::fs::write(path.join("occupied"), "").expect("a file");
    serves_without_health_file(&path);
}

#[test]
fn sigterm_ends_it_within_five_seconds_with_viewers_connected() {
    let camera = CameraOptions::clip().start();
    let config = format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source());
    let mut service = Fanlight::start(&config);
    let viewer = Viewer::watch(service.port(), "/stream.mjpg");
    viewer.wait_picture(STARTS);
    let asked = Instant::now();
    service.process().terminate();
    let status = service.process_mut().wait(Duration::from_secs(5));
    println!("SIGTERM to the end: {:.2?}", asked.elapsed());
    assert!(status.success(), "{status}");
}

/// The child ends with the test, however that ends.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reader_of_the_log_that_is_stuck_stops_neither_the_service_nor_its_end() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    let (_unread, log) = std::io::pipe().expect("a pipe");
    // Opened a second time, so that only the filling does not wait.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut full = std::fs::File::options()
        .write(true)
        .custom_flags(flags)
        .open(format!("/proc/self/fd/{}", log.as_raw_fd()))
        .expect("the pipe again");
    while full.write(b"\n").is_ok() {}

    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("fanlight.toml");
    std::fs::write(&config, format!("[log]\nlevel = \"trace\"\n{TEST_CAMERA}")).expect("the configuration");
    let port = free_port();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fanlight"));
    command.args(["run", "--config"]).arg(&config).env("FANLIGHT_PORT", port.to_string());
    command.env("HEALTH_FILE", directory.path().join("health.json")).stderr(log);
    command.env("STATE_DIRECTORY", directory.path());
    let mut service = Ends(command.spawn().expect("the service"));
    // The command holds the pipe's end as well.
    drop(command);
    wait_until("a snapshot", STARTS, || {
        get(port, "/snapshot.jpg").is_ok_and(|response| response.status == 200)
    });

    let pid = rustix::process::Pid::from_child(&service.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
    let status = wait_for("the end", Duration::from_secs(5), || service.0.try_wait().expect("its status"));
    assert!(status.success(), "{status}");
}
