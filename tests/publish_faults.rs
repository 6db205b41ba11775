//! What published outputs promise when peers are dead, slow or silent, and when cameras and configuration
//! change. On loopback only.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod publishing;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use fanlight::config::model::{Camera, File, Resolution, Source, Target};
use fanlight::supervision::{State, Timing};
use gstreamer as gst;
use gstreamer::prelude::*;

use publishing::{Studio, livekit, resident, rtmp, threads, until, whip};
use support::rtmp::RtmpServer;
use support::{Network, Relay, free_port};

const PATIENCE: Duration = Duration::from_secs(30);

fn dead(url: &str) -> Vec<fanlight::config::model::Publish> {
    vec![
        livekit("native", &format!("ws://{url}"), "yard", "porch"),
        whip("whip", "yard", "porch-whip"),
        rtmp("push", &format!("rtmp://{url}/live"), "stream-key-1"),
    ]
}

#[test]
fn hundreds_of_failed_attempts_leave_nothing_behind() {
    let address = format!("127.0.0.1:{}", free_port());
    let hurried = Timing {
        backoff_first: Duration::from_millis(5),
        backoff_max: Duration::from_millis(10),
        ..publishing::timing()
    };
    let mut outputs = dead(&address);
    if let Ok(only) = std::env::var("FANLIGHT_DEAD") {
        outputs.retain(|output| output.id == only);
    }
    let studio = Studio::with(publishing::config(outputs, &format!("ws://{address}")), hurried);
    let attempts = |least: u64| {
        until(&format!("{least} attempts of each"), Duration::from_secs(300), || {
            studio.statuses().iter().all(|output| output.lifecycle.attempts >= least)
        });
    };
    attempts(40);
    let (memory, threads_before) = (resident(), threads());
    attempts(240);
    let (memory_after, threads_after) = (resident(), threads());
    for output in studio.statuses() {
        println!("{}: {} attempts, {:?}", output.id, output.lifecycle.attempts, output.lifecycle.last_error);
        assert_eq!(output.lifecycle.frozen, 0, "{output:?}");
    }
    println!(
        "{} kB and {threads_before} threads, then {} kB and {threads_after} threads",
        memory / 1024,
        memory_after / 1024
    );
    let camera = studio.cameras.first().unwrap().status();
    assert_eq!((camera.lifecycle.attempts, camera.lifecycle.state), (1, State::Live));
    assert!(camera.fps > 20.0, "{camera:?}");
    assert!(memory_after < memory + memory / 10 + 8 * 1024 * 1024, "{memory} grew to {memory_after}");
    assert!(threads_after <= threads_before + 12, "{threads_before} became {threads_after}");
    studio.close();
    // The elements' own runtime has one worker, GStreamer keeps a few for its tasks.
    until("the threads are gone", PATIENCE, || threads() <= 16);
}

#[test]
fn a_silent_peer_costs_nobody_else_anything() {
    let test = "a_silent_peer_costs_nobody_else_anything";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let relay = Relay::to(nginx.port());
    for network in [Network::Silent, Network::BlackHole] {
        relay.set(network);
        let address = format!("127.0.0.1:{}", relay.port());
        let mut outputs = dead(&address);
        outputs.push(rtmp("good", &nginx.url(), "good"));
        let studio = Studio::open(outputs, &format!("ws://{address}"));
        studio.wait("good", "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
        for id in ["native", "whip", "push"] {
            let failed = studio.wait(id, "fails", Duration::from_secs(40), |o| o.lifecycle.attempts >= 2);
            println!("{network:?} {id}: {:?}", failed.lifecycle.last_error);
            assert_eq!(failed.frames, 0, "{failed:?}");
        }
        let good = studio.status("good");
        assert_eq!((good.lifecycle.attempts, good.dropped), (1, 0), "{good:?}");
        assert!(good.fps > 20.0, "{good:?}");
        assert_eq!(studio.vitals.frozen(), 0);
        studio.close();
    }
}

#[test]
fn a_connection_that_falls_silent_is_noticed_and_made_anew() {
    let test = "a_connection_that_falls_silent_is_noticed_and_made_anew";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let relay = Relay::to(nginx.port());
    let url = format!("rtmp://127.0.0.1:{}/live", relay.port());
    let mut config = publishing::config(vec![rtmp("push", &url, "key")], "ws://127.0.0.1:1");
    config.cameras[0].h264.bitrate_kbps = Some(2000);
    config.cameras[0].resolution = Resolution { width: 1280, height: 720 };
    let studio = Studio::with(config, publishing::timing());
    studio.wait("push", "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    relay.set(Network::BlackHole);
    let since = Instant::now();
    let down = studio.wait("push", "notices", Duration::from_secs(60), |o| o.lifecycle.state != State::Live);
    println!("after {:.1?}: {:?} {:?}", since.elapsed(), down.lifecycle.state, down.lifecycle.last_error);
    relay.cut();
    relay.set(Network::Pass);
    let since = Instant::now();
    studio.wait("push", "is live again", PATIENCE, |o| {
        o.lifecycle.state == State::Live && o.lifecycle.restarts > 0
    });
    println!("live {:.2?} after the network came back", since.elapsed());
    assert_eq!(studio.vitals.frozen(), 0);
    studio.close();
}

/// Passes bytes on to `port` at no more than `rate` bytes a second.
fn trickle(port: u16, rate: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    socket2::SockRef::from(&listener).set_recv_buffer_size(8 * 1024).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut from, _)) = listener.accept() {
            let mut to = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut back_from, mut back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            std::thread::spawn(move || {
                let mut buffer = vec![0; rate / 20];
                while let Ok(count) = from.read(&mut buffer) {
                    if count == 0 || to.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    here
}

#[test]
fn a_slow_peer_loses_whole_pictures_and_its_neighbour_none() {
    let test = "a_slow_peer_loses_whole_pictures_and_its_neighbour_none";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let slow = format!("rtmp://127.0.0.1:{}/live", trickle(nginx.port(), 100_000));
    let outputs = vec![rtmp("slow", &slow, "slow"), rtmp("good", &nginx.url(), "good")];
    let mut config = publishing::config(outputs, "ws://127.0.0.1:1");
    config.cameras[0].resolution = Resolution { width: 640, height: 360 };
    config.cameras[0].h264.bitrate_kbps = Some(1500);
    config.cameras[0].h264.gop_seconds = 1.0;
    let studio = Studio::with(config, publishing::timing());
    for id in ["slow", "good"] {
        studio.wait(id, "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    }
    let lost = studio.wait("slow", "loses pictures", Duration::from_secs(90), |o| o.dropped > 100);
    println!("{lost:?}");
    let read = nginx.read_back("slow", 20).expect("what arrives can be decoded");
    assert_eq!(read.frames, 20);
    let good = studio.status("good");
    assert_eq!((good.dropped, good.lifecycle.attempts), (0, 1), "{good:?}");
    assert!(good.fps > 20.0, "{good:?}");
    studio.close();
}

#[test]
fn a_camera_that_begins_anew_stays_published() {
    let test = "a_camera_that_begins_anew_stays_published";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let studio = Studio::open(vec![rtmp("push", &nginx.url(), "key")], "ws://127.0.0.1:1");
    studio.wait("push", "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    for _ in 0..3 {
        let before = studio.cameras.first().unwrap().status().lifecycle.attempts;
        studio.cameras.first().unwrap().restart();
        until("the camera is back", PATIENCE, || {
            let camera = studio.cameras.first().unwrap().status().lifecycle;
            camera.attempts > before && camera.state == State::Live
        });
        let frames = studio.status("push").frames;
        studio.wait("push", "goes on", PATIENCE, |o| {
            o.lifecycle.state == State::Live && o.frames > frames + 50
        });
    }
    let push = studio.status("push");
    assert_eq!((push.lifecycle.attempts, push.lifecycle.last_error.as_deref()), (1, None), "{push:?}");
    assert_eq!(nginx.publishes("key"), 1);
    let read = nginx.read_back("key", 30).unwrap();
    assert_eq!(read.frames, 30);
    studio.close();
}

/// A clip with B-frames, made by GStreamer.
fn clip(path: &Path) {
    gst::init().unwrap();
    let line = "videotestsrc num-buffers=150 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
                ! x264enc bframes=2 b-adapt=false key-int-max=25 ! h264parse ! mp4mux ! filesink name=sink";
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("sink").unwrap().set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos));
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn b_frames_go_to_rtmp_as_they_are() {
    let test = "b_frames_go_to_rtmp_as_they_are";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clip.mp4");
    clip(&path);
    let mut config = publishing::config(vec![rtmp("push", &nginx.url(), "key")], "ws://127.0.0.1:1");
    config.cameras = vec![Camera::new("porch", Source::File(File { path }))];
    let studio = Studio::with(config, publishing::timing());
    studio.wait("push", "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    let read = nginx.read_back("key", 60).expect("a stream that can be decoded");
    assert_eq!((read.frames, read.profile.as_str()), (60, "High"), "{read:?}");
    assert_eq!(studio.encoders(), Vec::<String>::new(), "nothing is encoded again");
    // Through the clip's end and beginning.
    std::thread::sleep(Duration::from_secs(8));
    let push = studio.status("push");
    assert_eq!((push.lifecycle.attempts, push.dropped), (1, 0), "{push:?}");
    studio.close();
}

#[test]
fn a_stream_over_tls_is_refused_without_a_known_authority() {
    let test = "a_stream_over_tls_is_refused_without_a_known_authority";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let studio = Studio::open(vec![rtmp("push", &nginx.tls_url(), "key")], "ws://127.0.0.1:1");
    let failed = studio.wait("push", "fails", PATIENCE, |o| o.lifecycle.last_error.is_some());
    println!("{:?}", failed.lifecycle.last_error);
    assert!(failed.lifecycle.last_error.unwrap().contains("certificate"));
    studio.close();
}

#[test]
fn a_reload_restarts_what_changed_and_nothing_else() {
    let test = "a_reload_restarts_what_changed_and_nothing_else";
    let Some(nginx) = RtmpServer::start(test) else { return };
    let outputs = ["a", "b", "c"].map(|id| rtmp(id, &nginx.url(), id)).into();
    let mut studio = Studio::open(outputs, "ws://127.0.0.1:1");
    for id in ["a", "b", "c"] {
        studio.wait(id, "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    }
    // One is changed, one removed, one added.
    let mut config = studio.config.clone();
    if let Target::Rtmp(target) = &mut config.publish[1].target {
        target.stream_key = Some(fanlight::config::Secret::new("b2"));
    }
    config.publish[2] = rtmp("d", &nginx.url(), "d");
    studio.reload(config);
    for id in ["b", "d"] {
        studio.wait(id, "is live", PATIENCE, |o| o.lifecycle.state == State::Live);
    }
    assert_eq!(studio.statuses().iter().map(|o| o.id.clone()).collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!((nginx.publishes("a"), nginx.publishes("b2")), (1, 1));
    assert_eq!(studio.status("a").lifecycle.attempts, 1);
    // The camera is another one: all outputs follow it.
    let mut config = studio.config.clone();
    config.cameras[0].resolution = Resolution { width: 640, height: 480 };
    studio.reload(config);
    until("the new pictures arrive", PATIENCE, || {
        nginx.read_back("a", 5).is_some_and(|read| read.width == 640)
    });
    // And it goes away.
    let mut config = studio.config.clone();
    config.cameras = vec![Camera::new("other", Source::Test {})];
    config.publish.iter_mut().for_each(|publish| publish.camera = Some("porch".into()));
    studio.reload(config);
    let idle = studio.wait("a", "rests", PATIENCE, |o| o.lifecycle.state == State::Idle);
    assert!(idle.note.is_some_and(|note| note.contains("does not exist")));
    studio.close();
}
