//! What published outputs promise, against a real LiveKit server and a real RTMP server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod publishing;
mod support;

use std::time::{Duration, Instant};

use fanlight::supervision::State;

use publishing::{Studio, livekit, rtmp, whip};
use support::livekit::{KEY, LiveKit, SECRET};
use support::namespace;
use support::rtmp::RtmpServer;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn three_ways_at_once_share_one_encoder() {
    if !namespace::inside("three_ways_at_once_share_one_encoder") {
        return;
    }
    let Some(server) = LiveKit::start("three_ways_at_once_share_one_encoder") else { return };
    let Some(nginx) = RtmpServer::start("three_ways_at_once_share_one_encoder") else { return };
    let studio = Studio::open(vec![
        livekit("native", &server.url(), "yard", "porch"),
        whip("whip", &server.url(), "yard", "porch-whip"),
        rtmp("push", &nginx.url(), "stream-key-1"),
    ], &server.url());
    for id in ["native", "whip", "push"] {
        studio.wait(id, "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    }
    for identity in ["porch", "porch-whip"] {
        let track = server.wait_video("yard", identity, PATIENCE);
        println!("{identity}: {track}");
    }
    let read = nginx.read_back("stream-key-1", 30).expect("a stream");
    println!("{read:?}");
    let encoders: Vec<_> = studio.encoders();
    assert_eq!(encoders.len(), 1, "{encoders:?}");
    std::thread::sleep(Duration::from_secs(8));
    for status in studio.statuses() {
        println!("{}", serde_json::to_string(&status).unwrap());
    }
    let _ = (KEY, SECRET, Instant::now());
}
