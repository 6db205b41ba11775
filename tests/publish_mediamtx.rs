//! MediaMTX as an output: against a stand-in that can be dead, dumb, refusing, forgetful or restarted, and against
//! the real server where there is one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod publishing;
mod support;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanlight::config::Secret;
use fanlight::config::model::{Publish, PublishMediamtx, PublishTls, Target};
use fanlight::pipelines::elements::registered;
use fanlight::supervision::State;
use gstreamer::prelude::*;

use publishing::{Studio, until};
use support::mediamtx::{MediaMtx, RealMediaMtx};
use support::{Network, Relay, free_port, skipped};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the element is missing, and the test with it.
fn lacks_sink(test: &str) -> bool {
    gstreamer::init().unwrap();
    let missing = !registered("rtspclientsink");
    if missing {
        skipped(test, "rtspclientsink is missing (package gstreamer1.0-rtsp)");
    }
    missing
}

fn target(url: &str, api: Option<String>) -> PublishMediamtx {
    PublishMediamtx {
        url: url.to_owned(),
        username: None,
        password: None,
        password_file: None,
        tls: PublishTls::System,
        api,
        record: None,
    }
}

fn hub(target: PublishMediamtx) -> Publish {
    Publish { id: "hub".into(), camera: None, target: Target::Mediamtx(target) }
}

fn open(target: PublishMediamtx) -> Studio {
    Studio::open(vec![hub(target)], "ws://127.0.0.1:1")
}

fn wait_live(studio: &Studio) {
    studio.wait("hub", "is live", PATIENCE, |output| output.lifecycle.state == State::Live);
}

#[test]
fn a_path_is_made_recorded_as_asked_and_its_addresses_are_told() {
    if lacks_sink("a_path_is_made_recorded_as_asked_and_its_addresses_are_told") {
        return;
    }
    let server = MediaMtx::start();
    let studio =
        open(PublishMediamtx { record: Some(true), ..target(&server.url("porch"), Some(server.api())) });
    wait_live(&studio);
    assert_eq!(server.path("porch").unwrap()["record"], true);
    until("pictures arrive", PATIENCE, || server.arrived("porch") > 20_000);
    let told = |status: &fanlight::publish::status::OutputStatus| status.mediamtx.clone().unwrap();
    let status = studio.wait("hub", "knows that they arrive", PATIENCE, |status| {
        told(status).online == Some(true) && told(status).inbound_bytes > Some(0)
    });
    let status = told(&status);
    assert_eq!(
        (status.control.as_deref(), status.recording, &*status.path),
        (Some("ok"), Some(true), "porch")
    );
    assert_eq!(status.urls["rtsp"], server.url("porch"));
    assert_eq!(status.urls["hls"], "http://127.0.0.1:8888/porch/index.m3u8");
    assert_eq!(status.urls["whep"], "http://127.0.0.1:8889/porch/whep");
    let output = studio.status("hub");
    assert!(output.frames > 10 && output.bytes > 20_000 && output.dropped == 0, "{output:?}");
    studio.close();
}

#[test]
fn a_server_that_was_restarted_has_the_path_again_and_the_stream() {
    if lacks_sink("a_server_that_was_restarted_has_the_path_again_and_the_stream") {
        return;
    }
    let mut server = MediaMtx::start();
    let studio =
        open(PublishMediamtx { record: Some(true), ..target(&server.url("yard/porch"), Some(server.api())) });
    wait_live(&studio);
    let before = studio.status("hub").mediamtx.unwrap().started;
    server.kill();
    let down = studio.wait("hub", "notices", PATIENCE, |output| output.lifecycle.state != State::Live);
    assert!(down.lifecycle.last_error.is_some(), "{down:?}");
    server.come_back();
    let there = Instant::now();
    until("pictures arrive again", PATIENCE, || server.arrived("yard/porch") > 20_000);
    println!("pictures again after {:?}", there.elapsed());
    wait_live(&studio);
    assert_eq!(server.path("yard/porch").unwrap()["record"], true);
    assert_ne!(studio.status("hub").mediamtx.unwrap().started, before);
    studio.close();
}

#[test]
fn a_path_that_the_server_forgot_is_made_again_while_the_stream_goes_on() {
    if lacks_sink("a_path_that_the_server_forgot_is_made_again_while_the_stream_goes_on") {
        return;
    }
    let server = MediaMtx::start();
    let studio = open(target(&server.url("porch"), Some(server.api())));
    wait_live(&studio);
    server.forget("porch");
    until("the path is there again", PATIENCE, || server.path("porch").is_some());
    assert_eq!(studio.status("hub").lifecycle.attempts, 1);
    studio.close();
}

#[test]
fn without_an_answer_of_the_control_api_the_stream_goes_on_and_says_so() {
    if lacks_sink("without_an_answer_of_the_control_api_the_stream_goes_on_and_says_so") {
        return;
    }
    let server = MediaMtx::start();
    let studio = open(target(&server.url("porch"), Some(server.api())));
    wait_live(&studio);
    server.dumb(true);
    let status = studio.wait("hub", "says that the API is silent", PATIENCE, |status| {
        status
            .mediamtx
            .as_ref()
            .unwrap()
            .control
            .as_deref()
            .is_some_and(|words| words.contains("does not answer"))
    });
    assert_eq!(status.lifecycle.state, State::Live);
    let arrived = server.arrived("porch");
    until("pictures go on", PATIENCE, || server.arrived("porch") > arrived + 20_000);
    server.dumb(false);
    studio.wait("hub", "is well again", PATIENCE, |status| {
        status.mediamtx.as_ref().unwrap().control.as_deref() == Some("ok")
    });
    assert_eq!(studio.status("hub").lifecycle.attempts, 1);
    server.dumb(true);
    let began = Instant::now();
    let vitals = studio.vitals.clone();
    studio.close();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(vitals.frozen(), 0);
}

#[test]
fn a_wrong_password_is_refused_at_both_doors_and_never_shown() {
    if lacks_sink("a_wrong_password_is_refused_at_both_doors_and_never_shown") {
        return;
    }
    let server = MediaMtx::with_login("wanda", "s3cret");
    let login = |password: &str, query: &str| PublishMediamtx {
        username: Some("wanda".into()),
        password: Some(Secret::new(password)),
        ..target(&format!("{}{query}", server.url("porch")), Some(server.api()))
    };
    // The path is there, so that the stream's own door is what refuses.
    let studio = open(login("s3cret", ""));
    wait_live(&studio);
    studio.close();
    let studio = open(login("wr0ng", "?jwt=t0ken"));
    let output =
        studio.wait("hub", "is refused", PATIENCE, |output| output.lifecycle.state == State::Refused);
    let words = serde_json::to_string(&output).unwrap();
    assert!(output.mediamtx.unwrap().control.unwrap().contains("refuses this user"), "{words}");
    for secret in ["s3cret", "wr0ng", "t0ken"] {
        assert!(!words.contains(secret), "{words}");
    }
    studio.close();
}

#[test]
fn a_server_that_takes_the_connection_and_does_not_answer_is_absent_and_stops_nothing() {
    if lacks_sink("a_server_that_takes_the_connection_and_does_not_answer_is_absent_and_stops_nothing") {
        return;
    }
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    let studio =
        open(target(&format!("rtsp://127.0.0.1:{port}/porch"), Some(format!("http://127.0.0.1:{port}"))));
    let output = studio.wait("hub", "gives it up", PATIENCE, |output| output.lifecycle.last_error.is_some());
    println!("{:?}", output.lifecycle);
    assert_ne!(output.lifecycle.state, State::Live);
    let vitals = studio.vitals.clone();
    let began = Instant::now();
    studio.close();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(vitals.frozen(), 0);
}

#[test]
fn a_connection_that_falls_silent_is_noticed_and_made_anew() {
    if lacks_sink("a_connection_that_falls_silent_is_noticed_and_made_anew") {
        return;
    }
    let server = MediaMtx::start();
    let relay = Relay::to(server.rtsp_port);
    let url = format!("rtsp://127.0.0.1:{}/porch", relay.port());
    let studio = open(target(&url, Some(server.api())));
    wait_live(&studio);
    relay.set(Network::BlackHole);
    let since = Instant::now();
    let down = studio.wait("hub", "notices", Duration::from_secs(60), |o| o.lifecycle.state != State::Live);
    println!("after {:.1?}: {:?} {:?}", since.elapsed(), down.lifecycle.state, down.lifecycle.last_error);
    relay.cut();
    relay.set(Network::Pass);
    studio.wait("hub", "is live again", PATIENCE, |output| {
        output.lifecycle.state == State::Live && output.lifecycle.restarts > 0
    });
    let vitals = studio.vitals.clone();
    studio.close();
    assert_eq!(vitals.frozen(), 0);
}

#[test]
fn nobody_at_the_address_is_waited_for() {
    if lacks_sink("nobody_at_the_address_is_waited_for") {
        return;
    }
    let studio = open(target(&format!("rtsp://127.0.0.1:{}/porch", free_port()), None));
    let output = studio.wait("hub", "says so", PATIENCE, |output| output.lifecycle.last_error.is_some());
    let words = format!("{:?}", output.lifecycle.last_error);
    assert!(words.contains("nobody answers"), "{words}");
    studio.close();
}

#[test]
fn pictures_that_the_server_does_not_count_are_not_called_live_for_long() {
    if lacks_sink("pictures_that_the_server_does_not_count_are_not_called_live_for_long") {
        return;
    }
    let server = MediaMtx::start();
    server.blind(true);
    let studio = open(target(&server.url("porch"), Some(server.api())));
    let output = studio.wait("hub", "notices", PATIENCE, |output| output.lifecycle.last_error.is_some());
    let words = format!("{:?}", output.lifecycle.last_error);
    assert!(words.contains("none arrive"), "{words}");
    studio.close();
}

#[test]
fn the_real_server_takes_the_stream_records_it_and_gets_it_back_after_a_kill() {
    let test = "the_real_server_takes_the_stream_records_it_and_gets_it_back_after_a_kill";
    if lacks_sink(test) {
        return;
    }
    let Some(mut server) = RealMediaMtx::start(test) else { return };
    let url = format!("rtsp://127.0.0.1:{}/yard/porch", server.rtsp_port);
    let api = format!("http://127.0.0.1:{}", server.api_port);
    let studio = open(PublishMediamtx { record: Some(true), ..target(&url, Some(api)) });
    let arrives = |studio: &Studio, after: u64| {
        studio.wait("hub", "arrives", PATIENCE, |output| {
            let status = output.mediamtx.as_ref().unwrap();
            output.lifecycle.restarts >= after
                && status.online == Some(true)
                && status.inbound_bytes > Some(10_000)
        })
    };
    let output = arrives(&studio, 0);
    let status = output.mediamtx.unwrap();
    assert_eq!((status.control.as_deref(), status.recording), (Some("ok"), Some(true)));
    assert!(status.urls["hls"].ends_with("/yard/porch/index.m3u8"), "{:?}", status.urls);
    let folder = server.recordings().join("yard/porch");
    until("a recording", PATIENCE, || folder.read_dir().is_ok_and(|files| files.count() > 0));
    server.kill();
    studio.wait("hub", "notices", PATIENCE, |output| output.lifecycle.state != State::Live);
    server.come_back();
    let there = Instant::now();
    arrives(&studio, 1);
    println!("arrives again after {:?}", there.elapsed());
    studio.close();
}

/// A stand-in for MediaMTX's SRT: a listener that looks at the stream id and counts pictures.
struct Srt {
    port: u16,
    line: Option<gstreamer::Pipeline>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    stream: String,
    pictures: u64,
}

impl Srt {
    /// Lets in who shows this stream id.
    fn start(stream: &'static str) -> Self {
        // A port that no TCP server has: no more can be known before.
        let mut server = Self { port: free_port(), line: None, seen: Arc::default() };
        server.come_back(stream);
        server
    }

    fn come_back(&mut self, stream: &'static str) {
        let line = format!(
            "srtsrc name=source uri=srt://127.0.0.1:{}?mode=listener authentication=true ! tsdemux ! h264parse ! \
             video/x-h264,alignment=au ! identity name=count ! fakesink sync=false",
            self.port
        );
        let line = gstreamer::parse::launch(&line).unwrap().downcast::<gstreamer::Pipeline>().unwrap();
        let seen = Arc::clone(&self.seen);
        line.by_name("source").unwrap().connect("caller-connecting", false, move |values| {
            let shown: Option<String> = values[2].get().unwrap();
            let shown = shown.unwrap_or_default();
            let lets_in = shown == stream;
            seen.lock().unwrap().stream = shown;
            Some(lets_in.to_value())
        });
        let seen = Arc::clone(&self.seen);
        let pad = line.by_name("count").unwrap().static_pad("src").unwrap();
        pad.add_probe(gstreamer::PadProbeType::BUFFER, move |_, _| {
            seen.lock().unwrap().pictures += 1;
            gstreamer::PadProbeReturn::Ok
        });
        line.set_state(gstreamer::State::Playing).unwrap();
        self.line = Some(line);
    }

    fn kill(&mut self) {
        if let Some(line) = self.line.take() {
            line.set_state(gstreamer::State::Null).unwrap();
        }
    }

    fn pictures(&self) -> u64 {
        self.seen.lock().unwrap().pictures
    }
}

impl Drop for Srt {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lacks_srt(test: &str) -> bool {
    gstreamer::init().unwrap();
    let missing = ["srtsink", "srtsrc", "mpegtsmux"].into_iter().find(|name| !registered(name));
    if let Some(name) = missing {
        skipped(test, &format!("{name} is missing (package gstreamer1.0-plugins-bad)"));
    }
    missing.is_some()
}

#[test]
fn by_srt_pictures_arrive_under_path_and_login_and_again_when_the_server_is_back() {
    if lacks_srt("by_srt_pictures_arrive_under_path_and_login_and_again_when_the_server_is_back") {
        return;
    }
    let stream = "publish:yard/porch:camera:s3cret 1";
    let mut server = Srt::start(stream);
    let studio = open(PublishMediamtx {
        username: Some("camera".into()),
        password: Some(Secret::new("s3cret 1")),
        ..target(&format!("srt://127.0.0.1:{}/yard/porch", server.port), None)
    });
    wait_live(&studio);
    until("pictures arrive", PATIENCE, || server.pictures() > 20);
    assert_eq!(server.seen.lock().unwrap().stream, stream);
    let status = studio.status("hub");
    assert!(status.bytes > 0 && status.frames > 0, "{status:?}");
    let readers = &status.mediamtx.as_ref().unwrap().urls["srt"];
    assert_eq!(*readers, format!("srt://127.0.0.1:{}?streamid=read:yard/porch", server.port));
    assert!(!format!("{status:?}").contains("s3cret"), "{status:?}");

    server.kill();
    studio.wait("hub", "has noticed", PATIENCE, |output| output.lifecycle.state != State::Live);
    let before = server.pictures();
    server.come_back(stream);
    wait_live(&studio);
    until("pictures arrive again", PATIENCE, || server.pictures() > before + 20);
}

#[test]
fn by_srt_a_server_that_refuses_is_told_from_one_that_is_not_there() {
    if lacks_srt("by_srt_a_server_that_refuses_is_told_from_one_that_is_not_there") {
        return;
    }
    let server = Srt::start("publish:another");
    let address = |port: u16| target(&format!("srt://127.0.0.1:{port}/porch"), None);
    let elsewhere =
        Publish { id: "away".into(), camera: None, target: Target::Mediamtx(address(free_port())) };
    let studio = Studio::open(vec![hub(address(server.port)), elsewhere], "ws://127.0.0.1:1");
    for (id, words) in [("hub", "refuses the connection"), ("away", "nobody answers")] {
        studio.wait(id, words, PATIENCE, |output| {
            output.lifecycle.last_error.as_ref().is_some_and(|error| error.to_string().contains(words))
        });
    }
    assert_eq!(server.pictures(), 0);
}

#[test]
fn the_real_server_takes_the_stream_by_srt() {
    let name = "the_real_server_takes_the_stream_by_srt";
    let Some(server) = RealMediaMtx::start(name) else { return };
    if lacks_srt(name) {
        return;
    }
    let url = format!("srt://127.0.0.1:{}/porch", server.srt_port);
    let studio = open(target(&url, Some(format!("http://127.0.0.1:{}", server.api_port))));
    wait_live(&studio);
    studio.wait("hub", "arrives", PATIENCE, |status| {
        status.mediamtx.as_ref().is_some_and(|mediamtx| mediamtx.inbound_bytes > Some(20_000))
    });
}
