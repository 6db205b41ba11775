//! The rig for publishing is itself tested: a namespace with a way out, a LiveKit that never answers, or an
//! RTMP server that reads back anything would make the tests of the outputs worth nothing. The publishers
//! here are GStreamer's own, not the service's.

#![allow(clippy::expect_used)]

mod support;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use livekit_api::access_token::VideoGrants;
use serde_json::json;
use support::livekit::{Ingresses, join, sign};
use support::namespace::{ADDRESS, ADDRESS_V6, Trouble, inside};
use support::*;

const SOON: Duration = Duration::from_secs(10);

// ---- the namespace ----

#[test]
fn the_namespace_has_its_two_addresses_and_no_way_out() {
    if !inside("the_namespace_has_its_two_addresses_and_no_way_out") {
        return;
    }
    for address in [ADDRESS, ADDRESS_V6, "127.0.0.1", "::1"] {
        UdpSocket::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    for outside in ["192.0.2.1:80", "8.8.8.8:53", "[2001:db8::1]:80"] {
        let address: SocketAddr = outside.parse().expect("an address");
        let error = TcpStream::connect_timeout(&address, SOON).expect_err("no way out");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{outside}: {error}");
    }
}

#[test]
fn a_test_that_fails_inside_fails_outside() {
    let name = "a_test_that_fails_inside_fails_outside";
    assert!(!namespace::within(), "as ordered");
    let Err(why) = namespace::possible() else {
        let panic = std::panic::catch_unwind(|| inside(name)).expect_err("a failure");
        let words = panic.downcast_ref::<String>().expect("words");
        assert!(words.contains("as ordered"), "{words}");
        return;
    };
    skipped(name, &why);
}

#[test]
fn a_wrong_test_name_is_not_a_pass() {
    let Err(why) = namespace::possible() else {
        let panic = std::panic::catch_unwind(|| inside("no_such_test")).expect_err("a failure");
        let words = panic.downcast_ref::<String>().expect("words");
        assert!(words.contains("not this test's name"), "{words}");
        return;
    };
    skipped("a_wrong_test_name_is_not_a_pass", &why);
}

#[test]
fn nothing_started_inside_outlives_the_test() {
    let name = "nothing_started_inside_outlives_the_test";
    if lacks(name, &[("pgrep", "procps")]) {
        return;
    }
    if let Err(why) = namespace::possible() {
        return skipped(name, &why);
    }
    // Nobody else sleeps as long.
    let marker = format!("{}", 40_000_000 + std::process::id());
    let sleeps = || {
        let mut pgrep = Command::new("pgrep");
        pgrep.args(["-f", &format!("^sleep {marker}")]).output().expect("pgrep").status.success()
    };
    let run = |command: &str| {
        let mut process = Command::new(namespace::script());
        Process::spawn("netns.sh", process.args(["bash", "-c", command]))
    };
    // A run that ends by itself, and one that is killed from outside.
    let mut ends = run(&format!("sleep {marker} & disown; exit 7"));
    assert_eq!(ends.wait(SOON).code(), Some(7), "the exit code is passed on");
    wait_until("the child is gone", SOON, || !sleeps());
    let mut killed = run(&format!("sleep {marker} & wait"));
    wait_until("the child is there", SOON, sleeps);
    killed.kill();
    wait_until("the child is gone", SOON, || !sleeps());
}

#[test]
fn trouble_swallows_and_loses_packets_until_it_is_healed() {
    let name = "trouble_swallows_and_loses_packets_until_it_is_healed";
    if !inside(name) {
        return;
    }
    let Some(trouble) = Trouble::brew(name) else { return };
    let receiver = UdpSocket::bind((ADDRESS, 0)).expect("a socket");
    receiver.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
    let port = receiver.local_addr().expect("its address").port();
    let sender = UdpSocket::bind((ADDRESS, 0)).expect("a socket");
    let arrive = |count: usize| {
        let mut arrived = 0;
        for _ in 0..count {
            sender.send_to(b"packet", (ADDRESS, port)).expect("who sends is told nothing");
        }
        while arrived < count && receiver.recv(&mut [0; 16]).is_ok() {
            arrived += 1;
        }
        arrived
    };
    assert_eq!(arrive(100), 100);
    trouble.block_udp(port);
    assert_eq!(arrive(100), 0);
    trouble.heal();
    assert_eq!(arrive(100), 100);
    trouble.lose_udp(port, 300);
    let arrived: usize = (0..10).map(|_| arrive(100)).sum();
    assert!((550..850).contains(&arrived), "{arrived} of 1000 arrived where 30 % are lost");
    trouble.heal();
    trouble.block_all_udp();
    assert_eq!(arrive(100), 0);
    drop(trouble);
    assert_eq!(arrive(100), 100);
}

// ---- LiveKit ----

#[test]
fn livekit_answers_in_the_namespace_and_returns_on_its_port() {
    let name = "livekit_answers_in_the_namespace_and_returns_on_its_port";
    if !inside(name) {
        return;
    }
    let Some(mut livekit) = LiveKit::start(name) else { return };
    assert!(livekit.participants("porch").is_empty());
    livekit.create_room("porch");
    assert_eq!(livekit.rooms(), ["porch"]);
    livekit.delete_room("porch");
    wait_until("the room is gone", SOON, || livekit.rooms().is_empty());

    let url = livekit.url();
    livekit.create_room("porch");
    livekit.kill();
    assert!(get(livekit.port(), "/").is_err());
    livekit.come_back();
    assert_eq!(livekit.url(), url);
    assert!(livekit.rooms().is_empty(), "rooms are lost with the server");

    // The last of its threads may still answer when the signal is on its way.
    livekit.process().stop();
    let address = SocketAddr::from(([127, 0, 0, 1], livekit.port()));
    wait_until("a frozen server is silent", SOON, || {
        let mut stream = TcpStream::connect_timeout(&address, SOON).expect("the kernel takes connections");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").expect("a request");
        let answer = std::io::Read::read(&mut stream, &mut [0; 16]);
        answer.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    // It calls itself unfit (406) until it has measured its load again.
    livekit.process().cont();
    wait_until("a thawed server answers", SOON, || {
        get(livekit.port(), "/").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn livekit_judges_keys_grants_and_times() {
    let name = "livekit_judges_keys_grants_and_times";
    if !inside(name) {
        return;
    }
    let Some(livekit) = LiveKit::start(name) else { return };
    let validate = |token: &str| {
        let path = format!("/rtc/validate?access_token={token}");
        get(livekit.port(), &path).expect("an answer").status
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(validate(&livekit.publisher_token("porch", "cam")), 200);
    assert_eq!(validate(&livekit.viewer_token("porch", "somebody")), 200);
    assert_eq!(validate(&sign("other", livekit::SECRET, "cam", join("porch"), hour)), 401);
    let wrong = sign(livekit::KEY, &"w".repeat(40), "cam", join("porch"), hour);
    assert_eq!(validate(&wrong), 401);
    assert_eq!(validate(&livekit.token_with("cam", VideoGrants::default(), hour)), 401);
    let list = livekit.twirp("RoomService", "ListRooms", join("porch"), &json!({}));
    assert_eq!(list.status, 401, "{}", list.text());
}

/// CreateIngress as the service's command asks for it; the ingress itself is not there.
#[test]
fn livekit_makes_ingresses_with_redis_and_says_so_without() {
    let name = "livekit_makes_ingresses_with_redis_and_says_so_without";
    if !inside(name) {
        return;
    }
    let Some(redis) = Redis::start(name) else { return };
    let Some(without) = LiveKit::start(name) else { return };
    let grants = VideoGrants { ingress_admin: true, ..VideoGrants::default() };
    let wanted = json!({ "input_type": "RTMP_INPUT", "room_name": "porch", "participant_identity": "cam" });
    let answer = without.twirp("Ingress", "CreateIngress", grants, &wanted);
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("ingress not connected"), "{}", answer.text());

    let ingresses = Ingresses { redis: redis.address(), rtmp_port: free_port(), whip_port: free_port() };
    let Some(livekit) = LiveKit::start_with(name, Some(&ingresses)) else { return };
    let made = livekit.create_ingress("RTMP_INPUT", "porch", "cam");
    assert_eq!(made["url"], ingresses.rtmp_base_url());
    assert!(made["stream_key"].as_str().is_some_and(|key| key.len() > 8), "{made}");
    let made = livekit.create_ingress("WHIP_INPUT", "porch", "cam");
    assert_eq!(made["url"], ingresses.whip_base_url());
}

#[test]
fn what_is_pushed_into_an_ingress_is_in_the_room() {
    let name = "what_is_pushed_into_an_ingress_is_in_the_room";
    if !inside(name) {
        return;
    }
    if lacks(name, &[("gst-launch-1.0", "gstreamer1.0-tools")]) {
        return;
    }
    let Some(redis) = Redis::start(name) else { return };
    let ingresses = Ingresses { redis: redis.address(), rtmp_port: free_port(), whip_port: free_port() };
    let Some(livekit) = LiveKit::start_with(name, Some(&ingresses)) else { return };
    let Some(_ingress) = Ingress::start(name, &livekit, &ingresses) else { return };
    let made = livekit.create_ingress("RTMP_INPUT", "porch", "cam");
    let key = made["stream_key"].as_str().expect("a stream key");
    let _publisher = push(&format!("{}/{key}", ingresses.rtmp_base_url()));
    let track = livekit.wait_video("porch", "cam", Duration::from_secs(60));
    assert_eq!((&track["width"], &track["height"]), (&json!(320), &json!(240)), "{track}");
}

// ---- RTMP ----

/// GStreamer pushes a test picture, 320x240 at 25 fps, as Constrained Baseline.
fn push(location: &str) -> Process {
    let mut command = Command::new("gst-launch-1.0");
    command.args("-q videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1".split(' '));
    command.args("! x264enc tune=zerolatency key-int-max=25 ! video/x-h264,profile=baseline".split(' '));
    command.args("! h264parse ! flvmux streamable=true ! rtmp2sink".split(' '));
    // The address and what else is to be set on the sink.
    command.args(format!("location={location}").split(' '));
    Process::spawn("gst-launch-1.0", &mut command)
}

#[test]
fn what_is_pushed_by_rtmp_is_read_back() {
    let name = "what_is_pushed_by_rtmp_is_read_back";
    if lacks(name, &[("gst-launch-1.0", "gstreamer1.0-tools")]) {
        return;
    }
    let Some(mut server) = RtmpServer::start(name) else { return };
    assert_eq!(server.read_back("nothing", 5), None, "nobody publishes it");

    let mut publisher = push(&format!("{}/key", server.url()));
    let seen = wait_for("the stream is there", SOON, || server.read_back("key", 30));
    assert_eq!((&*seen.codec, seen.width, seen.height), ("h264", 320, 240));
    assert!(seen.frames >= 25, "{seen:?}");
    assert_eq!(server.publishes("key"), 1);
    assert_eq!(server.publishes("other"), 0);

    server.kill();
    assert!(!publisher.wait(SOON).success(), "a publisher notices that the server is gone");
    server.come_back();
    let _publisher = push(&format!("{}/key", server.url()));
    wait_until("a second publish", SOON, || server.publishes("key") == 2);
}

#[test]
fn the_refusing_application_refuses() {
    let name = "the_refusing_application_refuses";
    if lacks(name, &[("gst-launch-1.0", "gstreamer1.0-tools")]) {
        return;
    }
    let Some(server) = RtmpServer::start(name) else { return };
    let mut publisher = push(&format!("{}/key", server.refusing_url()));
    assert!(!publisher.wait(SOON).success(), "{}", publisher.output());
}

#[test]
fn rtmps_leads_to_the_same_streams() {
    let name = "rtmps_leads_to_the_same_streams";
    if lacks(name, &[("gst-launch-1.0", "gstreamer1.0-tools")]) {
        return;
    }
    let Some(server) = RtmpServer::start(name) else { return };
    // The certificate is its own authority, which nobody trusts unless told to.
    let mut refused = push(&format!("{}/key", server.tls_url()));
    assert!(!refused.wait(SOON).success(), "{}", refused.output());
    let _publisher = push(&format!("{}/key tls-validation-flags=0", server.tls_url()));
    let seen = wait_for("the stream is there", SOON, || server.read_back("key", 10));
    assert_eq!(seen.codec, "h264");
}

#[test]
fn a_read_takes_no_longer_than_it_says() {
    let name = "a_read_takes_no_longer_than_it_says";
    let Some(server) = RtmpServer::start(name) else { return };
    server.process().stop();
    let began = Instant::now();
    assert_eq!(server.read_back("key", 5), None);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.process().cont();
}
