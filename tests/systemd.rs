//! What systemd and whoever reads the log are told: readiness, words, the watchdog, the stop; and that no
//! secret is ever among it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use support::service::STARTS;
use support::*;

const TEST_CAMERA: &str =
    "[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\nresolution = \"320x240\"\nfps = 15\n";

/// systemd's end of the notification socket.
struct Manager {
    ear: UnixDatagram,
    heard: Vec<(Instant, String)>,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ear = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        ear.set_nonblocking(true).unwrap();
        Self { ear, heard: Vec::new(), directory }
    }

    fn start(&self, config: &str, more: &[(&str, &str)]) -> Fanlight {
        let path = self.directory.path().join("notify");
        let mut environment = vec![("NOTIFY_SOCKET", path.to_str().unwrap())];
        environment.extend(more);
        Fanlight::start_with(config, &environment)
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.ear.recv(&mut buffer) {
            self.heard.push((Instant::now(), String::from_utf8_lossy(&buffer[..count]).into_owned()));
        }
    }

    fn heard(&mut self, message: &str) -> Option<Instant> {
        self.listen();
        self.heard.iter().find(|(_, heard)| heard.lines().any(|line| line == message)).map(|(at, _)| *at)
    }

    #[track_caller]
    fn wait(&mut self, message: &str, within: Duration) -> Instant {
        wait_for(message, within, || self.heard(message))
    }

    #[track_caller]
    fn wait_status(&mut self, words: &[&str], within: Duration) -> String {
        wait_for(&format!("a STATUS with {words:?}"), within, || {
            self.listen();
            let statuses = self.heard.iter().filter_map(|(_, heard)| heard.strip_prefix("STATUS="));
            statuses.rev().find(|status| words.iter().all(|word| status.contains(word))).map(str::to_owned)
        })
    }

    fn count(&self, message: &str) -> usize {
        self.heard.iter().filter(|(_, heard)| heard == message).count()
    }
}

#[test]
fn systemd_hears_ready_once_when_the_first_camera_is_live_and_how_it_goes() {
    let mut manager = Manager::new();
    let service = manager.start(TEST_CAMERA, &[]);
    manager.wait("READY=1", STARTS);
    assert_eq!(service.state("cam"), "live", "ready means live");
    println!("{}", manager.wait_status(&["1 camera", "cam live", "fps"], STARTS));
    hold_for("ready is said once", Duration::from_secs(1), || {
        manager.listen();
        manager.count("READY=1") == 1
    });
}

#[test]
fn a_camera_that_has_definitely_failed_does_not_keep_systemd_waiting() {
    let mut manager = Manager::new();
    let config = "[[camera]]\nid = \"cam\"\nsource = { type = \"file\", path = \"/nonexistent/clip.mp4\" }\n";
    let _service = manager.start(config, &[]);
    let began = Instant::now();
    manager.wait("READY=1", STARTS);
    println!("ready after {:.1?}", began.elapsed());
    println!("{}", manager.wait_status(&["cam backing off", "/nonexistent/clip.mp4"], STARTS));
}

#[test]
fn before_the_first_camera_is_live_or_failed_the_service_is_not_ready() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    relay.set(Network::Silent);
    let mut manager = Manager::new();
    let config = format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source_through(relay.port()));
    let service = manager.start(&config, &[]);
    hold_for("not ready yet", Duration::from_secs(2), || manager.heard("READY=1").is_none());
    relay.set(Network::Pass);
    manager.wait("READY=1", Duration::from_secs(30));
    service.wait_state("cam", "live", STARTS);
}

#[test]
fn the_watchdog_is_fed_at_half_its_time() {
    let mut manager = Manager::new();
    let _service = manager.start(TEST_CAMERA, &[("WATCHDOG_USEC", "1000000")]);
    wait_until("eight beats", STARTS, || {
        manager.listen();
        manager.count("WATCHDOG=1") >= 8
    });
    let beats: Vec<Instant> =
        manager.heard.iter().filter(|(_, heard)| heard == "WATCHDOG=1").map(|(at, _)| *at).collect();
    // The first may come while the camera starts.
    let gaps: Vec<Duration> = beats[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<Duration>() / gaps.len() as u32;
    assert!((400..600).contains(&mean.as_millis()), "{mean:?} on average: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(1)), "one was missed: {gaps:?}");
}

#[test]
fn a_watchdog_that_is_another_process_s_is_not_fed() {
    let mut manager = Manager::new();
    let _service = manager.start(TEST_CAMERA, &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    manager.wait("READY=1", STARTS);
    hold_for("no beat", Duration::from_secs(1), || manager.heard("WATCHDOG=1").is_none());
}

#[test]
fn sigterm_is_told_and_ends_it_in_time_with_a_black_holed_camera_and_viewers_attached() {
    let gone = CameraOptions::clip().start();
    let relay = Relay::to(gone.port());
    let mut manager = Manager::new();
    let config = format!("{TEST_CAMERA}[[camera]]\nid = \"gone\"\n{}\n", gone.source_through(relay.port()));
    let mut service = manager.start(&config, &[]);
    service.wait_state("gone", "live", STARTS);
    let viewers: Vec<Viewer> = ["cam", "gone", "cam", "gone"]
        .iter()
        .map(|id| Viewer::watch(service.port(), &format!("/cameras/{id}/stream.mjpg")))
        .collect();
    for viewer in &viewers {
        viewer.wait_picture(STARTS);
    }
    // One that never reads.
    let _deaf = MjpegStream::open(service.port(), "/stream.mjpg").unwrap();
    assert_eq!(service.get("/hls/cam/stream.m3u8").status, 200);
    relay.set(Network::BlackHole);
    wait_until("the black hole is noticed", Duration::from_secs(30), || service.state("gone") != "live");

    let asked = Instant::now();
    service.process().terminate();
    let status = service.process_mut().wait(Duration::from_secs(6));
    let took = asked.elapsed();
    println!("SIGTERM to the end: {took:.2?}");
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    let told = manager.heard("STOPPING=1").expect("STOPPING=1");
    assert!(told.duration_since(asked) <= took + Duration::from_millis(500));
    assert!(service.log().contains("SIGTERM: stopping"), "{}", service.log());
}

#[test]
fn sigterm_while_a_camera_is_being_opened_ends_it_in_time() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    for network in [Network::Silent, Network::BlackHole] {
        relay.set(network);
        let config = format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source_through(relay.port()));
        let mut service = Fanlight::start(&config);
        service.wait_state("cam", "starting", STARTS);
        let asked = Instant::now();
        service.process().terminate();
        let status = service.process_mut().wait(Duration::from_secs(6));
        println!("{network:?}: SIGTERM to the end: {:.2?}", asked.elapsed());
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(asked.elapsed() <= Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

/// A web server that has nothing; its port. Its thread ends with the test's process.
fn not_found() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

#[test]
fn json_logs_are_one_object_a_line_and_no_log_has_a_secret_in_it() {
    let camera = CameraOptions::clip().digest("user", "hunter2-right").start();
    let basic = CameraOptions::clip().basic("user", "hunter2-basic").start();
    let missing = not_found();
    let with_password = |url: String| url.replace("://", "://user:hunter2-in-url@");
    let config = format!(
        "[log]\nlevel = \"trace\"\n[[camera]]\nid = \"right\"\n{}\n[[camera]]\nid = \"basic\"\n{}\n\
         [[camera]]\nid = \"wrong\"\n{}\n[[camera]]\nid = \"url\"\nsource = {{ type = \"rtsp\", url = {:?} }}\n\
         [[camera]]\nid = \"http\"\n\
         source = {{ type = \"http\", url = \"http://127.0.0.1:1/?token=hunter2-token\", mode = \"jpeg\", \
         username = \"user\", password = \"hunter2-http\" }}\n\
         [[camera]]\nid = \"mjpeg\"\nsource = {{ type = \"http\", \
         url = \"http://user:hunter2-info@127.0.0.1:{missing}/a,b?token=hunter2-mjpeg\" }}\n",
        camera.source(),
        basic.source(),
        camera.source().replace("hunter2-right", "hunter2-wrong"),
        with_password(camera.url()),
    );
    for format in ["json", "text"] {
        let mut service = Fanlight::start_with(&config, &[("LOG_FORMAT", format)]);
        service.wait_state("right", "live", STARTS);
        service.wait_state("basic", "live", STARTS);
        service.wait_state("wrong", "refused", STARTS);
        service.wait_state("url", "refused", STARTS);
        for id in ["http", "mjpeg"] {
            wait_until("the camera fails", STARTS, || service.camera(id)["last_error"].is_string());
        }
        let mut pages = String::new();
        for path in ["/health", "/metrics", "/api/cameras", "/camera/status", "/ready", "/", "/snapshot.jpg"]
        {
            pages.push_str(&service.get(path).text());
        }
        let health =
            wait_for("the health file", STARTS, || std::fs::read_to_string(service.health_file()).ok());
        service.process().terminate();
        assert_eq!(service.process_mut().wait(Duration::from_secs(6)).code(), Some(0));
        let log = service.log();
        for (what, text) in [("the log", &log), ("an answer", &pages), ("the health file", &health)] {
            let found = text.lines().find(|line| line.contains("hunter2"));
            assert!(found.is_none(), "a secret in {what}: {found:?}");
        }
        if format == "json" {
            assert!(log.lines().count() > 5, "{log}");
            for line in log.lines() {
                let line: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(line.is_object(), "{line}");
                for key in ["timestamp", "level", "message"] {
                    assert!(line[key].is_string(), "no {key}: {line}");
                }
            }
        }
    }
}
