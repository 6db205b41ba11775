//! A network camera in trouble, and how soon its pictures are back. Each test measures the time from
//! "the fault is gone" to "a new picture at a viewer who stayed", and prints it.
//!
//! The promise is 2 s at the 95th percentile. Single cases are asserted at [`BACK`], which leaves room
//! for a machine that is busy with other tests.

#![allow(clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use support::service::STARTS;
use support::*;

/// The promise, for the 95th percentile of many cases.
const PROMISE: Duration = Duration::from_secs(2);
/// For a single case.
const BACK: Duration = Duration::from_secs(5);
/// A camera that gives nothing is noticed by then.
const NOTICED: Duration = Duration::from_secs(30);
/// Without pictures for this long, those under way have arrived.
const QUIET: Duration = Duration::from_secs(1);

/// One camera `cam`; `supervision` is what stands in that table.
fn config(source: &str, supervision: &str) -> String {
    format!("[supervision]\n{supervision}\n\n[[camera]]\nid = \"cam\"\n{source}\n")
}

/// A viewer who already sees pictures.
fn viewer(service: &Fanlight) -> Viewer {
    let viewer = Viewer::watch(service.port(), "/cameras/cam/stream.mjpg");
    viewer.wait_picture(STARTS);
    service.wait_state("cam", "live", STARTS);
    viewer
}

/// Ends the fault and returns the time until a new picture.
#[track_caller]
fn recovery(viewer: &Viewer, what: &str, end_fault: impl FnOnce()) -> Duration {
    viewer.wait_quiet(QUIET, NOTICED);
    end_fault();
    let gone = viewer.mark();
    let took = viewer.wait_since(gone, what, Duration::from_secs(20));
    println!("{what}: pictures again {:.2} s after the fault was gone", took.as_secs_f64());
    took
}

#[track_caller]
fn assert_back(what: &str, took: Duration) {
    assert!(took <= BACK, "{what}: {took:?}, at most {BACK:?}");
}

#[test]
fn twenty_kills_of_the_camera_and_pictures_are_back_each_time() {
    let mut camera = CameraOptions::clip().start();
    let service = Fanlight::start(&config(&camera.source(), ""));
    let viewer = viewer(&service);
    let mut times = Vec::new();
    for cycle in 0..20 {
        camera.kill();
        viewer.wait_quiet(QUIET, NOTICED);
        // Faults of many lengths, so that the return meets every phase of the back-off.
        std::thread::sleep(Duration::from_millis([0, 300, 700, 1500, 3000][cycle % 5]));
        // The camera's own start is its own time: the fault is gone once it accepts connections.
        times.push(recovery(&viewer, &format!("kill {}", cycle + 1), || camera.come_back()));
    }
    let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
    let longest = percentile(&times, 100.0);
    println!("20 kills: p50 {p50:.2?}, p95 {p95:.2?}, longest {longest:.2?}");
    assert!(p95 <= PROMISE, "p95 {p95:?} of {times:?}");
    assert_back("the longest", longest);
    let status = service.camera("cam");
    assert!(status["restarts"].as_u64() >= Some(20), "every kill is counted: {status}");
    assert_eq!(status["frozen"], 0, "no pipeline was left behind: {status}");
}

#[test]
fn a_camera_gone_for_long_is_back_as_soon_as_one_gone_briefly() {
    let mut camera = CameraOptions::clip().start();
    let service = Fanlight::start(&config(&camera.source(), ""));
    let viewer = viewer(&service);
    camera.kill();
    // Long enough that the plain back-off would wait far longer than the promise.
    wait_until("the back-off has grown", Duration::from_secs(60), || {
        service.camera("cam")["attempts"].as_u64() >= Some(6)
    });
    let took = recovery(&viewer, "gone for long", || camera.come_back());
    assert_back("gone for long", took);
}

#[test]
fn a_frozen_camera_is_said_to_be_stalled_and_its_pictures_are_back_when_it_thaws() {
    let mut camera = CameraOptions::clip().start();
    let service = Fanlight::start(&config(&camera.source(), ""));
    let viewer = viewer(&service);
    camera.order("freeze");
    wait_until("the stall is noticed", NOTICED, || service.state("cam") != "live");
    let took = recovery(&viewer, "frozen", || camera.order("thaw"));
    assert_back("frozen", took);
    service.wait_state("cam", "live", STARTS);
}

#[test]
fn a_stopped_camera_is_noticed_and_its_pictures_are_back_when_it_goes_on() {
    let camera = CameraOptions::pattern("640x360@25").start();
    let service = Fanlight::start(&config(&camera.source(), ""));
    let viewer = viewer(&service);
    camera.process().stop();
    wait_until("the stop is noticed", NOTICED, || service.state("cam") != "live");
    let took = recovery(&viewer, "stopped", || camera.process().cont());
    assert_back("stopped", took);
}

#[test]
fn a_camera_that_refuses_connections_is_waited_for_and_said_so() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    let service = Fanlight::start(&config(&camera.source_through(relay.port()), ""));
    let viewer = viewer(&service);
    relay.set(Network::Refuse);
    service.wait_state("cam", "backing_off", NOTICED);
    let status = service.camera("cam");
    assert!(status["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{status}");
    assert!(status["next_try"].is_string(), "{status}");
    let took = recovery(&viewer, "refusing", || relay.set(Network::Pass));
    assert_back("refusing", took);
}

#[test]
fn a_black_holed_camera_is_noticed_and_its_pictures_are_back_when_the_network_is() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    let service = Fanlight::start(&config(&camera.source_through(relay.port()), ""));
    let viewer = viewer(&service);
    relay.set(Network::BlackHole);
    wait_until("the black hole is noticed", NOTICED, || service.state("cam") != "live");
    // Long enough that the session is given up and attempts meet the black hole as well.
    wait_until("it tries again", Duration::from_secs(60), || {
        service.camera("cam")["attempts"].as_u64() >= Some(2)
    });
    relay.cut();
    let took = recovery(&viewer, "black hole", || relay.set(Network::Pass));
    assert_back("black hole", took);
}

#[test]
fn a_peer_that_takes_connections_and_says_nothing_is_not_hammered() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    let service =
        Fanlight::start(&config(&camera.source_through(relay.port()), "start_timeout_seconds = 3.0"));
    let viewer = viewer(&service);
    relay.set(Network::Silent);
    relay.cut();
    wait_until("attempts fail", Duration::from_secs(60), || {
        service.camera("cam")["attempts"].as_u64() >= Some(3)
    });
    // It answers every knock: only the plain back-off may decide when to try again.
    let before = service.camera("cam")["attempts"].as_u64().expect("attempts");
    std::thread::sleep(Duration::from_secs(10));
    let after = service.camera("cam")["attempts"].as_u64().expect("attempts");
    assert!(after - before <= 4, "{before} attempts, 10 s later {after}");
    relay.cut();
    relay.set(Network::Pass);
    viewer.wait_picture(Duration::from_secs(60));
}

#[test]
fn a_wrong_password_is_refused_said_and_not_hammered() {
    for login in [CameraOptions::digest, CameraOptions::basic] {
        let camera = login(CameraOptions::clip(), "user", "right").start();
        let relay = Relay::to(camera.port());
        let source = camera.source_through(relay.port()).replace("right", "a-wrong-one");
        let service = Fanlight::start(&config(&source, ""));
        // Somebody watches, which may not make it try more often.
        let _viewer = Viewer::watch(service.port(), "/cameras/cam/stream.mjpg");
        service.wait_state("cam", "refused", STARTS);
        let (tried, attempts) = (relay.attempts(), service.camera("cam")["attempts"].clone());
        hold_for("the camera stays refused", Duration::from_secs(8), || service.state("cam") == "refused");
        assert_eq!(service.camera("cam")["attempts"], attempts, "it is left in peace");
        // One knock, which gives no credentials, may fall into this time.
        assert!(relay.attempts() <= tried + 1, "{tried} connections, then {}", relay.attempts());
        assert!(tried <= 3, "{tried} attempts until it was understood");

        let status = service.camera("cam");
        let error = status["last_error"].as_str().expect("an error").to_lowercase();
        assert!(error.contains("password") || error.contains("credentials"), "{error}");
        assert!(!service.log().contains("a-wrong-one"), "a password in the log");
        assert!(!status.to_string().contains("a-wrong-one"), "a password in the API");
        assert_eq!(service.get("/health").status, 200);
        assert_eq!(service.get("/ready").status, 503);
    }
}

#[test]
fn the_right_password_is_tried_at_once_when_somebody_asks_for_a_restart() {
    let mut camera = CameraOptions::clip().digest("user", "right").start();
    let source = camera.source();
    camera.order("password other");
    let service = Fanlight::start(&config(&source, ""));
    service.wait_state("cam", "refused", STARTS);
    camera.order("password right");
    let viewer = Viewer::watch(service.port(), "/cameras/cam/stream.mjpg");
    let answer = request(service.port(), "POST", "/api/cameras/cam/restart", &[], b"").expect("an answer");
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    let asked = viewer.mark();
    let took = viewer.wait_since(asked, "restart", BACK);
    println!("restart asked for: pictures after {took:.2?}");
}

#[test]
fn health_and_readiness_answer_at_once_while_the_camera_hangs() {
    let camera = CameraOptions::clip().start();
    let relay = Relay::to(camera.port());
    relay.set(Network::Silent);
    let service = Fanlight::start(&config(&camera.source_through(relay.port()), ""));
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        for (path, status) in [("/health", 200), ("/healthz", 200), ("/ready", 503)] {
            let asked = Instant::now();
            let answer = service.get(path);
            slowest = slowest.max(asked.elapsed());
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("slowest answer while the camera hangs: {slowest:.1?}");
    // The promise is 50 ms; the rest is for a machine busy with other tests.
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
}
