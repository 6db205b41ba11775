//! What published outputs promise, against a real LiveKit server and a real RTMP server, each test in a
//! network of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod publishing;
mod support;

use std::time::{Duration, Instant};

use fanlight::config::Secret;
use fanlight::config::model::{Publish, Target};
use fanlight::supervision::State;

use publishing::{Studio, livekit, rtmp, threads, until, whip};
use support::livekit::{KEY, LiveKit, SECRET, join, sign};
use support::namespace::{self, Trouble};
use support::rtmp::RtmpServer;
use support::{Fanlight, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Live again after it was not, since `mark`.
#[track_caller]
fn wait_live_again(studio: &Studio, id: &str, restarts: u64) -> Instant {
    studio.wait(id, "is live again", PATIENCE, |output| {
        output.lifecycle.state == State::Live && output.lifecycle.restarts >= restarts
    });
    Instant::now()
}

#[track_caller]
fn wait_live(studio: &Studio, id: &str) {
    studio.wait(id, "is live", PATIENCE, |output| output.lifecycle.state == State::Live);
}

#[test]
fn three_ways_at_once_share_one_encoder() {
    let test = "three_ways_at_once_share_one_encoder";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let studio = Studio::open(
        vec![
            livekit("native", &server.url(), "yard", "porch"),
            whip("whip", "yard", "porch-whip"),
            rtmp("push", &nginx.url(), "stream-key-1"),
        ],
        &server.url(),
    );
    for id in ["native", "whip", "push"] {
        wait_live(&studio, id);
    }
    for identity in ["porch", "porch-whip"] {
        let track = server.wait_video("yard", identity, PATIENCE);
        assert_eq!(track["mime_type"], "video/H264", "{track}");
    }
    let read = nginx.read_back("stream-key-1", 30).expect("a stream that ffprobe decodes");
    assert_eq!((read.codec.as_str(), read.width, read.height, read.frames), ("h264", 320, 240, 30));
    let encoders = studio.encoders();
    assert_eq!(encoders.len(), 1, "one encoder for all: {encoders:?}");
    // Long enough for a server that does not report what arrives to be given up.
    let before: Vec<_> = studio.statuses().iter().map(|output| output.frames).collect();
    std::thread::sleep(Duration::from_secs(8));
    for (output, before) in studio.statuses().iter().zip(before) {
        assert!(output.frames >= before + 150, "{output:?}");
        assert!(output.fps > 20.0 && output.bitrate_kbps > 50.0 && output.dropped == 0, "{output:?}");
        assert_eq!((output.lifecycle.attempts, output.lifecycle.frozen), (1, 0), "{output:?}");
    }
    let vitals = studio.vitals.clone();
    studio.close();
    assert_eq!(vitals.frozen(), 0);
    until("they have left the room", PATIENCE, || server.participants("yard").is_empty());
}

#[test]
fn a_server_that_was_restarted_is_published_to_again_unaided() {
    let test = "a_server_that_was_restarted_is_published_to_again_unaided";
    if !namespace::inside(test) {
        return;
    }
    let Some(mut server) = LiveKit::start(test) else { return };
    let Some(mut nginx) = RtmpServer::start(test) else { return };
    let studio = Studio::open(
        vec![
            livekit("native", &server.url(), "yard", "porch"),
            whip("whip", "yard", "porch-whip"),
            rtmp("push", &nginx.url(), "stream-key-1"),
        ],
        &server.url(),
    );
    for id in ["native", "whip", "push"] {
        wait_live(&studio, id);
    }
    for round in 1..=3 {
        server.kill();
        nginx.kill();
        for id in ["native", "whip", "push"] {
            let down = studio.wait(id, "notices", PATIENCE, |o| o.lifecycle.state != State::Live);
            assert!(down.lifecycle.last_error.is_some(), "round {round}: {id} says why: {down:?}");
            println!("round {round}: {id}: {:?} {:?}", down.lifecycle.state, down.lifecycle.last_error);
        }
        // Away for a while: the back-off has grown, and the knock has to end it.
        std::thread::sleep(Duration::from_secs(4));
        nginx.come_back();
        let there = Instant::now();
        let push = wait_live_again(&studio, "push", round) - there;
        server.come_back();
        let there = Instant::now();
        let (native, whip) = std::thread::scope(|scope| {
            let native = scope.spawn(|| wait_live_again(&studio, "native", round) - there);
            let whip = scope.spawn(|| wait_live_again(&studio, "whip", round) - there);
            (native.join().unwrap(), whip.join().unwrap())
        });
        println!("round {round}: live again after: native {native:.2?}, whip {whip:.2?}, rtmp {push:.2?}");
        for took in [native, whip, push] {
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
    }
    server.wait_video("yard", "porch", PATIENCE);
    assert!(nginx.read_back("stream-key-1", 10).is_some());
    assert_eq!(studio.vitals.frozen(), 0);
    studio.close();
}

#[test]
fn a_server_that_hangs_and_thaws_is_noticed_named_and_published_to_again() {
    let test = "a_server_that_hangs_and_thaws_is_noticed_named_and_published_to_again";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let studio = Studio::open(
        vec![
            livekit("native", &server.url(), "yard", "porch"),
            whip("whip", "yard", "porch-whip"),
            rtmp("push", &nginx.url(), "stream-key-1"),
        ],
        &server.url(),
    );
    for id in ["native", "whip"] {
        wait_live(&studio, id);
    }
    wait_live(&studio, "push");
    server.process().stop();
    let frozen = Instant::now();
    for id in ["native", "whip"] {
        let down = studio.wait(id, "notices", PATIENCE, |o| {
            o.lifecycle.last_error.as_deref().is_some_and(|words| words.contains("no packets"))
        });
        println!("{id}: after {:.1?}: {:?}", frozen.elapsed(), down.lifecycle.last_error);
    }
    // The other output does not notice any of it.
    let push = studio.status("push");
    assert!(push.lifecycle.state == State::Live && push.fps > 20.0, "{push:?}");
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(studio.vitals.frozen(), 0, "no attempt hung");
    server.process().cont();
    let there = Instant::now();
    for id in ["native", "whip"] {
        let took = wait_live_again(&studio, id, 1) - there;
        println!("{id}: live {took:.2?} after the thaw");
    }
    assert_eq!(studio.status("push").lifecycle.attempts, 1);
    studio.close();
}

#[test]
fn a_network_that_is_away_for_a_minute_is_told_of_and_published_over_again() {
    let test = "a_network_that_is_away_for_a_minute_is_told_of_and_published_over_again";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let Some(trouble) = Trouble::brew(test) else { return };
    let outputs = ["native", "whip", "push"];
    let studio = Studio::open(
        vec![
            livekit("native", &server.url(), "yard", "porch"),
            whip("whip", "yard", "porch-whip"),
            rtmp("push", &nginx.url(), "stream-key-1"),
        ],
        &server.url(),
    );
    for id in outputs {
        wait_live(&studio, id);
    }
    let threads_before = threads();
    trouble.block_udp(server.udp_port());
    trouble.block_tcp(server.port());
    trouble.block_tcp(nginx.port());
    let away = Instant::now();
    for id in outputs {
        let down = studio.wait(id, "notices", PATIENCE, |o| o.lifecycle.state != State::Live);
        println!("{id}: after {:.1?}: {:?}", away.elapsed(), down.lifecycle.last_error);
        assert!(down.lifecycle.last_error.is_some(), "{id} says why: {down:?}");
    }
    std::thread::sleep(Duration::from_secs(60).saturating_sub(away.elapsed()));
    assert_eq!(studio.vitals.frozen(), 0, "no attempt hung");
    trouble.heal();
    let healed = Instant::now();
    for id in outputs {
        let took = wait_live_again(&studio, id, 1) - healed;
        println!("{id}: live {took:.2?} after the network came back");
    }
    server.wait_video("yard", "porch", PATIENCE);
    server.wait_video("yard", "porch-whip", PATIENCE);
    until("no thread is left of the failed attempts", PATIENCE, || threads() <= threads_before + 4);
    assert_eq!(studio.vitals.frozen(), 0);
    studio.close();
}

#[test]
fn a_wrong_key_is_refused_in_words_and_not_hammered() {
    let test = "a_wrong_key_is_refused_in_words_and_not_hammered";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let mut stranger = livekit("stranger", &server.url(), "yard", "a");
    let mut forger = livekit("forger", &server.url(), "yard", "b");
    for (publish, key, secret) in
        [(&mut stranger, "nobody", SECRET), (&mut forger, KEY, "a-wrong-secret-of-32-characters-00000")]
    {
        if let Target::Livekit(target) = &mut publish.target {
            target.api_key = Some(key.into());
            target.api_secret = Some(Secret::new(secret));
        }
    }
    let mut bearer = whip("bearer", "yard", "c");
    if let Target::Whip(target) = &mut bearer.target {
        (target.room, target.identity) = (None, None);
        target.url = Some(format!("{}/whip/v1", server.http_url()));
        target.token = Some(Secret::new("no-token-at-all"));
    }
    let denied = rtmp("denied", &nginx.refusing_url(), "stream-key-1");
    let good = livekit("good", &server.url(), "yard", "good");
    let studio = Studio::open(vec![stranger, forger, bearer, denied, good], &server.url());
    for id in ["stranger", "forger", "bearer", "denied"] {
        let refused = studio.wait(id, "is refused", PATIENCE, |o| o.lifecycle.state == State::Refused);
        println!("{id}: {:?} after {} attempts", refused.lifecycle.last_error, refused.lifecycle.attempts);
        assert!(refused.lifecycle.attempts <= 2, "{refused:?}");
    }
    wait_live(&studio, "good");
    let words = |id: &str| studio.status(id).lifecycle.last_error.unwrap();
    assert!(words("stranger").contains("does not know this API key"), "{}", words("stranger"));
    assert!(words("forger").contains("API secret or token is wrong"), "{}", words("forger"));
    assert!(words("denied").contains("stream key"), "{}", words("denied"));
    assert!(words("bearer").contains("token"), "{}", words("bearer"));
    studio.close();
}

#[test]
fn an_expired_token_is_refused_and_a_new_one_in_its_file_is_taken_at_once() {
    let test = "an_expired_token_is_refused_and_a_new_one_in_its_file_is_taken_at_once";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let token = |ttl| {
        let grants = livekit_api::access_token::VideoGrants { can_subscribe: false, ..join("yard") };
        sign(KEY, SECRET, "porch", grants, ttl)
    };
    let with_file = |mut publish: Publish| {
        match &mut publish.target {
            Target::Livekit(target) => target.token_file = Some(path.clone()),
            Target::Whip(target) => {
                (target.room, target.identity) = (None, None);
                target.url = Some(format!("{}/whip/v1", server.http_url()));
                target.token_file = Some(path.clone());
            }
            Target::Rtmp(_) | Target::Mediamtx(_) => unreachable!(),
        }
        publish
    };
    for publish in [livekit("out", &server.url(), "yard", "porch"), whip("out", "yard", "porch")] {
        // So long ago that the server is not lenient about it.
        std::fs::write(&path, expired()).unwrap();
        let mut timing = publishing::timing();
        timing.refused_retry = Duration::from_secs(300);
        let publish = with_file(publish);
        let kind = publish.target.kind();
        let studio = Studio::with(publishing::config(vec![publish], &server.url()), timing);
        let refused = studio.wait("out", "is refused", PATIENCE, |o| o.lifecycle.state == State::Refused);
        let words = refused.lifecycle.last_error.unwrap();
        assert!(words.contains("expired"), "{kind}: {words}");
        std::fs::write(&path, format!("{}\n", token(Duration::from_secs(300)))).unwrap();
        let changed = Instant::now();
        wait_live(&studio, "out");
        println!("{kind}: live {:.2?} after the new token was written", changed.elapsed());
        studio.close();
        until("it has left", PATIENCE, || server.participants("yard").is_empty());
    }
}

/// A token signed with the right key that expired an hour ago.
fn expired() -> String {
    use livekit_api::access_token::{AccessToken, VideoGrants};
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let exp = hour_ago.duration_since(std::time::UNIX_EPOCH).unwrap();
    // A lifetime cannot be negative: the claims are taken apart and signed by hand.
    let grants =
        VideoGrants { room_join: true, room: "yard".into(), can_subscribe: false, ..VideoGrants::default() };
    let token =
        AccessToken::with_api_key(KEY, SECRET).with_identity("porch").with_grants(grants).to_jwt().unwrap();
    let mut claims = livekit_api::access_token::Claims::from_unverified(&token).unwrap();
    claims.exp = exp.as_secs() as usize;
    claims.nbf = claims.exp - 60;
    publishing::sign(&claims)
}

#[test]
fn two_publishers_of_one_identity_do_not_fight() {
    let test = "two_publishers_of_one_identity_do_not_fight";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    for first in [livekit("first", &server.url(), "yard", "porch"), whip("first", "yard", "porch")] {
        let kind = first.target.kind();
        let one = Studio::open(vec![first], &server.url());
        wait_live(&one, "first");
        let two = Studio::open(vec![livekit("second", &server.url(), "yard", "porch")], &server.url());
        wait_live(&two, "second");
        let refused = one.wait("first", "gives way", PATIENCE, |o| o.lifecycle.state == State::Refused);
        let words = refused.lifecycle.last_error.unwrap();
        println!("{kind}: {words}");
        assert!(words.contains("another publisher uses identity \"porch\""), "{words}");
        // Its slow retries (every 5 s here) look first, and leave the other alone.
        std::thread::sleep(Duration::from_secs(12));
        let (first, second) = (one.status("first"), two.status("second"));
        assert!(first.lifecycle.attempts >= 3, "it does look: {first:?}");
        assert_eq!((first.lifecycle.state, second.lifecycle.attempts), (State::Refused, 1), "{first:?}");
        assert_eq!(second.lifecycle.state, State::Live, "{second:?}");
        // When the other leaves, it comes back by itself.
        two.close();
        wait_live(&one, "first");
        one.close();
        until("they have left", PATIENCE, || server.participants("yard").is_empty());
    }
}

#[test]
fn a_deleted_room_and_a_removal_are_named_and_come_back_from() {
    let test = "a_deleted_room_and_a_removal_are_named_and_come_back_from";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let outputs = vec![livekit("native", &server.url(), "yard", "porch"), whip("whip", "yard", "porch-whip")];
    let studio = Studio::open(outputs, &server.url());
    for id in ["native", "whip"] {
        wait_live(&studio, id);
    }
    for identity in ["porch", "porch-whip"] {
        server.wait_video("yard", identity, PATIENCE);
        server.remove_participant("yard", identity);
    }
    for id in ["native", "whip"] {
        wait_live_again(&studio, id, 1);
        let words = studio.status(id).lifecycle.last_error.unwrap();
        println!("{id}: {words}");
        assert!(words.contains("removed"), "{words}");
    }
    server.delete_room("yard");
    // Who comes back first makes the room anew, and the other one finds it there: another one.
    for id in ["native", "whip"] {
        wait_live_again(&studio, id, 2);
        let words = studio.status(id).lifecycle.last_error.unwrap();
        assert!(words.contains("room \"yard\" is gone"), "{id}: {words}");
    }
    studio.close();
}

#[test]
fn rtmps_is_taken_by_a_server_whose_certificate_the_machine_trusts() {
    let test = "rtmps_is_taken_by_a_server_whose_certificate_the_machine_trusts";
    if !namespace::inside(test) {
        return;
    }
    let Some(nginx) = RtmpServer::start(test) else { return };
    let config = format!(
        "[[camera]]\nid = \"porch\"\nsource = {{ type = \"test\" }}\nresolution = \"320x240\"\n\
         [[publish]]\nid = \"push\"\ntype = \"rtmp\"\nurl = {:?}\nstream_key = \"key\"\n",
        nginx.tls_url()
    );
    let state = |service: &Fanlight| service.camera("porch")["outputs"][0]["state"].clone();
    let stranger = Fanlight::start(&config);
    wait_until("the certificate is refused", PATIENCE, || {
        let output = &stranger.camera("porch")["outputs"][0];
        output["last_error"].as_str().is_some_and(|words| words.contains("certificate"))
    });
    assert_eq!(nginx.publishes("key"), 0);
    drop(stranger);
    let service = Fanlight::start_trusting(&config, &nginx.certificate().certificate());
    wait_until("it is live over TLS", PATIENCE, || state(&service) == "live");
    let read = nginx.read_back("key", 20).expect("a stream that ffprobe decodes");
    assert_eq!((read.codec.as_str(), read.width, read.frames), ("h264", 320, 20));
}

/// Figures, not a promise: `cargo test --test publish_servers -- --ignored --nocapture what_an_output_costs`.
#[test]
#[ignore = "prints figures"]
fn what_an_output_costs() {
    let test = "what_an_output_costs";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let cost = |outputs: Vec<Publish>| {
        let mut config = publishing::config(outputs, &server.url());
        config.cameras[0].resolution = fanlight::config::model::Resolution { width: 1280, height: 720 };
        config.cameras[0].h264.bitrate_kbps = Some(2000);
        let studio = Studio::with(config, publishing::timing());
        studio.statuses().iter().for_each(|output| wait_live(&studio, &output.id));
        // The encoder runs for each of them.
        let _permit = studio.cameras.first().unwrap().h264().demand();
        std::thread::sleep(Duration::from_secs(3));
        let (before, began) = (publishing::processor_time(), Instant::now());
        std::thread::sleep(Duration::from_secs(15));
        let used = publishing::processor_time() - before;
        let cost = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        let kbps: Vec<f64> = studio.statuses().iter().map(|output| output.bitrate_kbps).collect();
        studio.close();
        println!("{cost:.1} % of a core, outputs take {kbps:.0?} kbit/s");
        cost
    };
    let alone = cost(Vec::new());
    for output in [
        livekit("native", &server.url(), "yard", "porch"),
        whip("whip", "yard", "porch-whip"),
        rtmp("push", &nginx.url(), "key"),
    ] {
        let kind = output.target.kind();
        println!("{kind}: {:+.1} % of a core", cost(vec![output]) - alone);
    }
}
