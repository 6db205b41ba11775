//! WebRTC signalling as viewers do it: each line of what WHEP asks of a server, and what older viewers
//! speak, asked of the real binary. That pictures arrive is for `whep_media.rs` and the browser tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::service::STARTS;
use support::*;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// What viewers offer: name and SDP.
fn offers() -> Vec<(&'static str, String)> {
    ["chromium", "firefox", "safari", "gstreamer", "mainsail", "eyevinn"]
        .into_iter()
        .map(|name| {
            let path = format!("{}/tests/fixtures/offers/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
            (name, std::fs::read_to_string(path).expect(name))
        })
        .collect()
}

fn chromium() -> String {
    offers().swap_remove(0).1
}

fn camera(id: &str, more: &str) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\" }}\nresolution = \"320x180\"\nfps = 15\n{more}\n"
    )
}

/// Cameras `porch` and `yard`, live.
fn service(more: &str) -> Fanlight {
    let config = format!("{more}\n{}{}", camera("porch", ""), camera("yard", ""));
    let service = Fanlight::start(&config);
    service.wait_state("porch", "live", STARTS);
    service.wait_state("yard", "live", STARTS);
    service
}

const FREE: &str = "[webrtc]\nport = 0\n";

fn ask(service: &Fanlight, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    request(service.port(), method, path, headers, body.as_bytes())
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// A session made by POST: its path and ETag.
fn join(service: &Fanlight, path: &str) -> (String, String) {
    let answer = ask(service, "POST", path, &[SDP], &chromium());
    assert_eq!(answer.status, 201, "{}", answer.text());
    (answer.header("location").unwrap().to_owned(), answer.header("etag").unwrap().to_owned())
}

fn count(service: &Fanlight, camera: &str) -> u64 {
    let path = format!("/api/cameras/{camera}/viewers");
    service.get(&path).json()["viewers"].as_array().unwrap().len() as u64
}

/// The figure is the media thread's, which tells it after it has answered.
#[track_caller]
fn wait_count(service: &Fanlight, camera: &str, expected: u64) {
    let what = format!("{camera} has {expected} viewers");
    wait_until(&what, Duration::from_secs(2), || count(service, camera) == expected);
}

/// The message of an error, which is in the one schema.
fn error(answer: &Response) -> (String, String) {
    let body = answer.json();
    let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
    assert!(!text("message").is_empty() && !text("timestamp").is_empty(), "{body}");
    (text("code"), text("message"))
}

/// Lines of SDP that begin so, without the beginning.
fn lines<'a>(sdp: &'a str, beginning: &'a str) -> Vec<&'a str> {
    sdp.lines().filter_map(|line| line.strip_prefix(beginning)).collect()
}

#[test]
fn an_offer_is_answered_with_a_session_that_is_patched_and_deleted() {
    let service = service(
        "[webrtc]\nport = 0\nice_servers = [\"stun:stun.example.org:3478\", \"turn:turn.example.org\"]\n",
    );
    for (name, offer) in offers() {
        let answer = ask(&service, "POST", "/cameras/porch/whep", &[SDP], &offer);
        let sdp = answer.text();
        assert_eq!(answer.status, 201, "{name}: {sdp}");
        assert_eq!(answer.header("content-type"), Some("application/sdp"), "{name}");
        assert_eq!(answer.header("accept-patch"), Some("application/trickle-ice-sdpfrag"), "{name}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
        let etag = answer.header("etag").unwrap();
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{name}: {etag}");
        let location = answer.header("location").unwrap();
        let session = location.strip_prefix("/cameras/porch/whep/").unwrap();
        assert!(session.len() >= 16 && session.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{session}");
        let links: Vec<&str> =
            answer.headers.iter().filter(|(key, _)| key == "link").map(|(_, value)| value.as_str()).collect();
        let wanted = [
            "<stun:stun.example.org:3478>; rel=\"ice-server\"",
            "<turn:turn.example.org>; rel=\"ice-server\"",
        ];
        assert_eq!(links, wanted, "{name}");

        // Video is sent, all candidates are there, and what takes `streams[0]` finds one.
        let section = sdp.split("m=").find(|section| section.starts_with("video ")).unwrap();
        for line in ["a=sendonly", "a=rtcp-mux", "a=ice-ufrag:", "a=candidate:", "a=msid:", "a=setup:passive"]
        {
            assert!(section.contains(line), "{name}, {line}: {sdp}");
        }
        assert!(section.contains("H264/90000"), "{name}: {sdp}");
        // GStreamer names no mode, and is answered so.
        assert_eq!(section.contains("packetization-mode=1"), name != "gstreamer", "{name}: {sdp}");
        assert!(sdp.contains("a=ice-lite"), "{name}");
        assert_eq!(lines(&sdp, "m=").len(), lines(&offer, "m=").len(), "{name}: a section for a section");
        assert!(!sdp.contains("0.0.0.0 ") || !section.contains("a=candidate:0.0.0.0"), "{name}: {sdp}");

        let patch = |headers: &[(&str, &str)], body: &str| ask(&service, "PATCH", location, headers, body);
        let trickle = trickle(&offer, "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host");
        assert_eq!(patch(&[FRAGMENT, ("If-Match", etag)], &trickle).status, 204, "{name}");
        assert_eq!(patch(&[FRAGMENT, ("If-Match", "*")], &trickle).status, 204, "{name}");

        let deleted = ask(&service, "DELETE", location, &[], "");
        assert_eq!((deleted.status, deleted.body.len()), (200, 0), "{name}");
        assert_eq!(ask(&service, "DELETE", location, &[], "").status, 404, "{name}");
        assert_eq!(patch(&[FRAGMENT, ("If-Match", "*")], &trickle).status, 404, "{name}");
    }
    wait_count(&service, "porch", 0);
}

/// What Mainsail and Fluidd PATCH.
fn trickle(offer: &str, candidate: &str) -> String {
    let first = |beginning| lines(offer, beginning).first().copied().unwrap().to_owned();
    format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm={}\r\na=mid:0\r\na={candidate}\r\n",
        first("a=ice-ufrag:"),
        first("a=ice-pwd:"),
        first("m=")
    )
}

#[test]
fn a_patch_is_judged_by_its_etag_and_restarts_ice_when_the_credentials_are_others() {
    let service = service(FREE);
    let (session, etag) = join(&service, "/cameras/porch/whep");
    let patch = |headers: &[(&str, &str)], body: &str| ask(&service, "PATCH", &session, headers, body);
    let trickle = trickle(&chromium(), "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host");
    let restart = "a=ice-ufrag:newu\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";

    for body in [trickle.as_str(), restart] {
        let missing = patch(&[FRAGMENT], body);
        assert_eq!((missing.status, error(&missing).0.as_str()), (428, "IF_MATCH_MISSING"));
        let other = patch(&[FRAGMENT, ("If-Match", "\"another\"")], body);
        assert_eq!((other.status, error(&other).0.as_str()), (412, "IF_MATCH_MISMATCH"));
    }
    for kind in [SDP, JSON, ("Content-Type", "text/plain")] {
        let wrong = patch(&[kind, ("If-Match", &etag)], &trickle);
        assert_eq!(wrong.status, 415, "{kind:?}");
        assert_eq!(wrong.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    }
    for body in ["", "hello", "{\"candidate\":1}"] {
        assert_eq!(patch(&[FRAGMENT, ("If-Match", &etag)], body).status, 400, "{body:?}");
    }
    // What Firefox has at the end.
    assert_eq!(
        patch(&[FRAGMENT, ("If-Match", &etag)], &format!("{trickle}a=\r\na=end-of-candidates\r\n")).status,
        204
    );

    let restarted = patch(&[FRAGMENT, ("If-Match", &etag)], restart);
    assert_eq!(restarted.status, 200, "{}", restarted.text());
    assert_eq!(restarted.header("content-type"), Some("application/trickle-ice-sdpfrag"));
    let fresh = restarted.header("etag").unwrap().to_owned();
    assert_ne!(fresh, etag);
    let fragment = restarted.text();
    assert!(fragment.contains("a=ice-ufrag:") && fragment.contains("a=ice-pwd:"), "{fragment}");
    assert!(fragment.contains("a=candidate:"), "{fragment}");
    // The old ETag is of the past.
    assert_eq!(patch(&[FRAGMENT, ("If-Match", &etag)], restart).status, 412);
    assert_eq!(patch(&[FRAGMENT, ("If-Match", &fresh)], restart).status, 204);

    // Under another camera it is nobody's.
    let elsewhere = session.replace("porch", "yard");
    assert_eq!(ask(&service, "DELETE", &elsewhere, &[], "").status, 404);
    assert_eq!(ask(&service, "PATCH", &elsewhere, &[FRAGMENT, ("If-Match", "*")], &trickle).status, 404);
    assert_eq!(ask(&service, "DELETE", &session, &[], "").status, 200);
}

#[test]
fn what_cannot_be_an_offer_is_refused_in_words_and_never_by_a_counter_offer() {
    let service = service(&format!("{FREE}[mjpeg]\nmax_streams = 4\n"));
    let post =
        |headers: &[(&str, &str)], body: &str| ask(&service, "POST", "/cameras/porch/whep", headers, body);

    let offer = chromium();
    for kind in [None, Some("text/plain"), Some("application/sdpx"), Some("application/trickle-ice-sdpfrag")]
    {
        let headers: Vec<_> = kind.map(|kind| ("Content-Type", kind)).into_iter().collect();
        let answer = post(&headers, &offer);
        assert_eq!(answer.status, 415, "{kind:?}: {}", answer.text());
        assert_eq!(answer.header("accept-post"), Some("application/sdp"), "{kind:?}");
    }
    for kind in ["application/sdp; charset=utf-8", "Application/SDP"] {
        let headers = [("Content-Type", kind), ("Accept", "text/html"), ("Authorization", "Bearer secret")];
        assert_eq!(post(&headers, &offer).status, 201, "{kind}");
    }
    let no_h264 = offer.replace("H264/90000", "H265/90000");
    let no_video = offer.replace("m=video 9", "m=audio 9");
    let sends = offer.replace("a=recvonly", "a=sendonly");
    for (what, body, says) in [
        ("nothing", "", "empty"),
        ("white space", "\r\n \r\n", "empty"),
        ("prose", "hello", ""),
        ("half an offer", &offer[..300], ""),
        ("no video", no_video.as_str(), "video"),
        ("a viewer that sends", sends.as_str(), "recvonly"),
        ("no H.264", no_h264.as_str(), "H264/90000 with packetization-mode=1"),
        ("JSON", "{\"type\":\"offer\"}", ""),
    ] {
        let answer = post(&[SDP], body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(error(&answer).1.contains(says), "{what}: {}", answer.text());
    }
    let large = format!("{offer}{}", "a=x\r\n".repeat(20_000));
    assert_eq!(post(&[SDP], &large).status, 413);
    let not_text =
        request(service.port(), "POST", "/cameras/porch/whep", &[SDP], &[0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(not_text.status, 400);

    assert_eq!(ask(&service, "POST", "/cameras/cellar/whep", &[SDP], &offer).status, 404);
    for path in ["/cameras/porch/whep", "/whep", "/webcam/whep"] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{path}");
    }
    for path in ["/cameras/porch/whep/0123456789abcdef0123456789abcdef", "/whep/x"] {
        assert_eq!(ask(&service, "DELETE", path, &[], "").status, 404);
        assert_eq!(
            ask(&service, "PATCH", path, &[FRAGMENT, ("If-Match", "*")], "a=ice-ufrag:x\r\n").status,
            404
        );
        assert_eq!(service.get(path).status, 405);
    }
}

#[test]
fn a_page_of_another_origin_learns_all_it_needs_before_and_after_its_offer() {
    let service = service("[webrtc]\nport = 0\nice_servers = [\"stun:stun.example.org\"]\n");
    let origin = ("Origin", "http://mainsail.local");
    let preflight = [
        origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,if-match,authorization"),
    ];
    let options = ask(&service, "OPTIONS", "/cameras/porch/whep", &preflight, "");
    assert_eq!((options.status, options.body.len()), (204, 0));
    assert_eq!(options.header("accept-post"), Some("application/sdp"));
    assert_eq!(options.header("access-control-allow-origin"), Some("*"));
    // Mainsail and Fluidd send an OPTIONS of their own, which needs leave too, and read its Link.
    assert_eq!(options.header("access-control-allow-methods"), Some("POST, OPTIONS"));
    assert_eq!(options.header("link"), Some("<stun:stun.example.org>; rel=\"ice-server\""));
    let allowed = options.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
    for name in ["content-type", "if-match", "authorization"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let session = ask(&service, "OPTIONS", "/cameras/porch/whep/x", &preflight, "");
    assert_eq!(session.status, 204);
    assert_eq!(session.header("access-control-allow-methods"), Some("PATCH, DELETE, OPTIONS"));

    let answer = ask(&service, "POST", "/cameras/porch/whep", &[SDP, origin], &chromium());
    assert_eq!(answer.status, 201);
    let exposed = answer.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
    for name in ["location", "etag", "link"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[test]
fn only_pages_that_may_read_may_watch() {
    let service = service(&format!("{FREE}[server]\ncors_origins = [\"https://dash.example.org\"]\n"));
    let post = |origin: &str| ask(&service, "POST", "/whep", &[SDP, ("Origin", origin)], &chromium());
    let evil = post("https://evil.example");
    assert_eq!((evil.status, error(&evil).0.as_str()), (403, "ORIGIN_NOT_ALLOWED"));
    // A form or a fetch without a preflight gets no session either.
    let plain = [("Content-Type", "text/plain"), ("Origin", "https://evil.example")];
    assert_eq!(ask(&service, "POST", "/webrtc", &plain, "{\"type\":\"request\"}").status, 403);
    wait_count(&service, "porch", 0);
    let listed = post("https://dash.example.org");
    assert_eq!(listed.status, 201);
    assert_eq!(listed.header("access-control-allow-origin"), Some("https://dash.example.org"));
    let own = format!("http://127.0.0.1:{}", service.port());
    assert_eq!(post(&own).status, 201);
    assert_eq!(ask(&service, "POST", "/whep", &[SDP], &chromium()).status, 201, "no page at all");
}

#[test]
fn a_session_is_found_from_every_path_that_people_have_configured() {
    let service = service(FREE);
    let paths = [
        ("/whep", "porch"),
        ("/whep/", "porch"),
        ("/stream/whep", "porch"),
        ("/stream.mjpg/whep", "porch"),
        ("/webcam/whep", "porch"),
        ("/camera/whep", "porch"),
        ("/camera/stream.mjpg/whep", "porch"),
        ("/webrtc/whep", "porch"),
        ("/cameras/yard/whep", "yard"),
        ("/cameras/yard/stream.mjpg/whep", "yard"),
        ("/cameras/yard/webrtc/whep", "yard"),
    ];
    for (path, camera) in paths {
        assert_eq!(ask(&service, "OPTIONS", path, &[], "").status, 204, "{path}");
        let (location, etag) = join(&service, path);
        wait_count(&service, camera, 1);
        // Mainsail and Fluidd: their URL and the last segment.
        let session = location.rsplit('/').next().unwrap();
        let own = format!("{}/{session}", path.trim_end_matches('/'));
        let headers = [FRAGMENT, ("If-Match", etag.as_str())];
        let trickle = trickle(&chromium(), "candidate:1 1 udp 1 192.0.2.1 5 typ host");
        assert_eq!(ask(&service, "PATCH", &own, &headers, &trickle).status, 204, "{path}");
        assert_eq!(ask(&service, "DELETE", &location, &[], "").status, 200, "{path}");
        wait_count(&service, camera, 0);
    }
    // Through a proxy the place is said relative to what was asked.
    let proxied = [SDP, ("X-Forwarded-For", "192.0.2.1")];
    let answer = ask(&service, "POST", "/cameras/yard/whep", &proxied, &chromium());
    let location = answer.header("location").unwrap().to_owned();
    assert!(location.starts_with("whep/"), "{location}");
    assert_eq!(ask(&service, "DELETE", &format!("/cameras/yard/{location}"), &[], "").status, 200);
}

#[test]
fn a_camera_without_pictures_and_a_house_full_of_viewers_say_when_to_come_back() {
    let mut camera_process = CameraOptions::clip().start();
    let config = format!(
        "[webrtc]\nport = 0\nmax_viewers = 2\n[supervision]\nstart_timeout_seconds = 2\nbackoff_first_seconds = 1\n{}\
         [[camera]]\nid = \"dead\"\n{}\n{}",
        camera("porch", ""),
        camera_process.source(),
        camera("blind", "outputs = { whep = false }")
    );
    camera_process.kill();
    let service = Fanlight::start(&config);
    service.wait_state("porch", "live", STARTS);
    service.wait_state("dead", "backing_off", STARTS);

    let began = Instant::now();
    let dead = ask(&service, "POST", "/cameras/dead/whep", &[SDP], &chromium());
    assert_eq!((dead.status, error(&dead).0.as_str()), (409, "CAMERA_NOT_READY"), "{}", dead.text());
    assert!(dead.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(dead.json()["error"]["details"]["camera"], "dead");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let blind = ask(&service, "POST", "/cameras/blind/whep", &[SDP], &chromium());
    assert_eq!((blind.status, error(&blind).0.as_str()), (404, "OUTPUT_DISABLED"));
    assert_eq!(service.camera("blind")["urls"]["whep"], Value::Null);
    assert_eq!(service.camera("porch")["urls"]["whep"], "/cameras/porch/whep");

    let (first, _) = join(&service, "/whep");
    let _second = join(&service, "/whep");
    let full = ask(&service, "POST", "/whep", &[SDP], &chromium());
    assert_eq!((full.status, error(&full).0.as_str()), (503, "TOO_MANY_VIEWERS"));
    assert!(full.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(full.json()["error"]["details"]["max_viewers"], 2);
    assert_eq!(ask(&service, "DELETE", &first, &[], "").status, 200);
    join(&service, "/whep");
}

#[test]
fn a_session_that_never_connects_is_gone_in_time() {
    let service = service("[webrtc]\nport = 0\nconnect_timeout_seconds = 2\n");
    let (session, _) = join(&service, "/cameras/porch/whep");
    let listed = service.get("/api/cameras/porch/viewers");
    let viewers = listed.json()["viewers"].clone();
    wait_count(&service, "porch", 1);
    // The list is up to a second old.
    let viewer = wait_for("the viewer is listed", Duration::from_secs(3), || {
        service.get("/api/cameras/porch/viewers").json()["viewers"].get(0).cloned()
    });
    assert_eq!((&viewer["kind"], &viewer["client"]), (&json!("webrtc"), &json!("127.0.0.1")), "{viewers}");
    assert_eq!(viewer["state"], "connecting");
    assert!(!viewer["id"].as_str().unwrap().is_empty() && !session.contains(viewer["id"].as_str().unwrap()));
    assert_eq!(service.get("/api/cameras/yard/viewers").json(), json!({ "viewers": [] }));
    assert_eq!(service.get("/api/cameras/cellar/viewers").status, 404);
    let text = request(service.port(), "GET", "/metrics", &[("Accept", "text/plain")], b"").unwrap().text();
    assert!(text.contains("fanlight_webrtc_viewers{camera=\"porch\"} 1\n"), "{text}");

    wait_until("the session has expired", Duration::from_secs(6), || count(&service, "porch") == 0);
    assert_eq!(ask(&service, "DELETE", &session, &[], "").status, 404);
}

#[test]
fn camera_streamers_dialect_is_an_offer_an_answer_and_candidates_in_any_order() {
    let service = service("[webrtc]\nport = 0\nice_servers = [\"stun:stun.example.org\"]\n");
    for path in
        ["/webrtc", "/webcam/webrtc", "/camera/webrtc", "/cameras/porch/webrtc", "/cameras/porch/whep"]
    {
        // Mainsail's first request has no Content-Type of its own.
        let plain = (
            "Content-Type",
            if path.ends_with("whep") { "application/json" } else { "text/plain;charset=UTF-8" },
        );
        let invited = ask(&service, "POST", path, &[plain], "{\"type\":\"request\",\"iceServers\":null}");
        assert_eq!(invited.status, 200, "{path}: {}", invited.text());
        assert_eq!(invited.header("content-type"), Some("application/json"));
        let offer = invited.json();
        assert_eq!(offer["type"], "offer", "{path}");
        assert_eq!(offer["iceServers"], json!([{ "urls": ["stun:stun.example.org"] }]));
        let sdp = offer["sdp"].as_str().unwrap();
        assert!(
            sdp.contains("m=video") && sdp.contains("a=setup:actpass") && sdp.contains("a=candidate:"),
            "{sdp}"
        );
        let id = offer["id"].as_str().unwrap();

        let candidates = json!({ "type": "remote_candidate", "id": id, "candidates": [
            { "candidate": "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host", "sdpMid": "0", "sdpMLineIndex": 0 },
            { "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0 },
        ]});
        let early = ask(&service, "POST", path, &[JSON], &candidates.to_string());
        assert_eq!((early.status, early.json()), (200, json!({})), "{path}");
        let answer = json!({ "type": "answer", "id": id, "sdp": answer_to(sdp) });
        let answered = ask(&service, "POST", path, &[JSON], &answer.to_string());
        assert_eq!((answered.status, answered.text().as_str()), (200, "{}"), "{path}");
        let late = ask(&service, "POST", path, &[JSON], &candidates.to_string());
        assert_eq!(late.status, 200, "{path}");
        wait_count(&service, "porch", 1);
        assert_eq!(
            ask(&service, "DELETE", &format!("/cameras/porch/whep/{id}"), &[], "").status,
            200,
            "{path}"
        );
    }
    for message in [
        json!({ "type": "answer", "id": "nobody", "sdp": "v=0" }),
        json!({ "type": "remote_candidate", "id": "nobody", "candidates": [] }),
    ] {
        let answer = ask(&service, "POST", "/webrtc", &[JSON], &message.to_string());
        assert_eq!((answer.status, error(&answer).0.as_str()), (404, "SESSION_NOT_FOUND"), "{message}");
    }
    for body in ["", "v=0", "{}", "{\"type\":\"dance\"}", "[]"] {
        let answer = ask(&service, "POST", "/webrtc", &[JSON], body);
        assert_eq!((answer.status, error(&answer).0.as_str()), (400, "BAD_MESSAGE"), "{body}");
    }
    assert_eq!(ask(&service, "POST", "/webrtc", &[SDP], &chromium()).status, 415);
}

/// What Chromium would answer to our offer, in the parts that matter.
fn answer_to(offer: &str) -> String {
    let line = |beginning: &str| lines(offer, beginning).first().copied().unwrap_or_default().to_owned();
    let (media, mid) = (line("m=video "), line("a=mid:"));
    let codecs: String = offer
        .lines()
        .filter(|line| {
            line.starts_with("a=rtpmap:") || line.starts_with("a=fmtp:") || line.starts_with("a=rtcp-fb:")
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\na=msid-semantic: WMS\r\n\
         m=video {media}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789012345678901ab\r\na=ice-options:trickle\r\na=fingerprint:sha-256 \
         E6:11:FA:FB:81:77:A4:B1:3A:2C:0D:66:4E:57:9F:8B:3D:A9:CE:5B:AE:45:73:5E:43:BF:AF:77:5C:68:DC:FB\r\n\
         a=setup:active\r\na=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{codecs}"
    )
}

#[test]
fn octoprint_and_go2rtc_get_their_answers_in_their_forms() {
    let service = service(FREE);
    let offer = json!({ "sdp": chromium(), "type": "offer" }).to_string();
    for path in ["/cameras/yard/whep", "/cameras/yard/webrtc", "/api/webrtc?src=yard"] {
        let answer = ask(&service, "POST", path, &[JSON], &offer);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["type"], "answer", "{path}");
        assert!(answer.json()["sdp"].as_str().unwrap().contains("a=sendonly"), "{path}");
    }
    wait_count(&service, "yard", 3);

    let whep = ask(&service, "POST", "/api/webrtc?src=yard", &[SDP], &chromium());
    assert_eq!((whep.status, whep.header("content-type")), (201, Some("application/sdp")));
    let location = whep.header("location").unwrap();
    assert_eq!(ask(&service, "DELETE", location, &[], "").status, 200, "{location}");
    let bare = ask(&service, "POST", "/api/webrtc?src=yard", &[("Content-Type", "text/plain")], &chromium());
    assert_eq!(bare.status, 200);
    assert!(bare.text().starts_with("v=0\r\n"));

    assert_eq!(ask(&service, "POST", "/api/webrtc?src=cellar", &[SDP], &chromium()).status, 404);
    assert_eq!(ask(&service, "POST", "/api/webrtc?src=yard", &[JSON], "{}").status, 400);
    assert_eq!(ask(&service, "POST", "/api/webrtc", &[SDP], "").status, 400);
}

/// A WebSocket as far as these tests need one: text frames of a client are masked, those of the server not.
#[derive(Debug)]
struct Socket(TcpStream);

impl Socket {
    fn open(service: &Fanlight, path: &str, headers: &str) -> Result<Self, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            service.port()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).map_err(|error| error.to_string())?;
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).unwrap();
        match answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            true => Ok(Self(stream)),
            false => Err(answer),
        }
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        // A mask of zeros masks nothing.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x81, "a whole text frame");
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[test]
fn go2rtcs_socket_answers_offers_and_its_end_ends_the_session() {
    let mut service = service(&format!("{FREE}[server]\ncors_origins = []\n"));
    let mut socket = Socket::open(&service, "/api/ws?src=yard&media=video%2Baudio", "").unwrap();
    socket.say(&json!({ "type": "mse", "value": "avc1.640029" }));
    let refused = socket.hear();
    assert_eq!(refused["type"], "error");
    assert!(refused["value"].as_str().unwrap().starts_with("mse: "), "{refused}");
    socket.say(&json!({ "type": "webrtc/offer", "value": "no offer" }));
    assert!(socket.hear()["value"].as_str().unwrap().starts_with("webrtc/offer: "));
    socket.say(&json!({ "type": "webrtc/offer", "value": chromium() }));
    let answer = socket.hear();
    assert_eq!(answer["type"], "webrtc/answer");
    assert!(answer["value"].as_str().unwrap().contains("a=candidate:"));
    socket.say(&json!({ "type": "webrtc/candidate", "value": "candidate:1 1 udp 1 192.0.2.1 5 typ host" }));
    wait_count(&service, "yard", 1);
    // The second offer is in place of the first.
    socket.say(&json!({ "type": "webrtc", "value": { "type": "offer", "sdp": chromium() } }));
    let answer = socket.hear();
    assert_eq!((&answer["type"], &answer["value"]["type"]), (&json!("webrtc"), &json!("answer")));
    wait_count(&service, "yard", 1);
    drop(socket);
    wait_until("the session has ended with its socket", Duration::from_secs(3), || {
        count(&service, "yard") == 0
    });

    let mut unknown = Socket::open(&service, "/api/ws?src=cellar", "").unwrap();
    unknown.say(&json!({ "type": "webrtc/offer", "value": chromium() }));
    assert!(unknown.hear()["value"].as_str().unwrap().contains("cellar"));

    // No page asks the browser before it opens a socket: the service looks at who asks.
    let evil = Socket::open(&service, "/api/ws?src=yard", "Origin: https://evil.example\r\n").unwrap_err();
    assert!(evil.starts_with("HTTP/1.1 403"), "{evil}");
    let own = format!("Origin: http://127.0.0.1:{}\r\n", service.port());
    let mut open = Socket::open(&service, "/api/ws", &own).unwrap();
    let plain = service.get("/api/ws");
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));

    // An open socket does not keep the service from stopping.
    open.say(&json!({ "type": "webrtc/offer", "value": chromium() }));
    assert_eq!(open.hear()["type"], "webrtc/answer");
    let began = Instant::now();
    service.process().signal(rustix::process::Signal::TERM);
    let status = service.process_mut().wait(Duration::from_secs(10));
    assert!(
        status.success() && began.elapsed() < Duration::from_secs(4),
        "{status} in {:?}",
        began.elapsed()
    );
}

#[test]
fn a_media_port_that_was_chosen_must_be_free_and_the_default_one_gives_way() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = format!("[webrtc]\nport = {port}\n{}", camera("porch", ""));
    let (status, output) = Fanlight::run_to_end(&config, free_port(), Duration::from_secs(20));
    assert!(!status.success());
    assert!(output.contains(&format!("127.0.0.1:{port}")) && output.contains("webrtc.port"), "{output}");

    // Whoever has it, another Fanlight or this test: it is taken.
    let default = std::net::UdpSocket::bind("127.0.0.1:8189");
    let service = Fanlight::start(&camera("porch", ""));
    service.wait_state("porch", "live", STARTS);
    assert!(service.log().contains("the WebRTC port 8189 is in use"), "{}", service.log());
    let answer = ask(&service, "POST", "/whep", &[SDP], &chromium());
    let sdp = answer.text();
    let candidates = lines(&sdp, "a=candidate:");
    assert!(!candidates.is_empty() && candidates.iter().all(|line| !line.contains(" 8189 ")), "{sdp}");
    drop(default);
}

/// One wound to an offer.
#[derive(Clone, Debug)]
enum Wound {
    Drop(usize),
    Twice(usize),
    Swap(usize, usize),
    Cut(usize),
    Replace(usize, String),
    Number(usize, u64),
    Insert(usize, String),
}

fn wound() -> impl Strategy<Value = Wound> {
    let at = 0..200_usize;
    let line = prop_oneof![
        "[ -~]{0,60}",
        "a=[a-z-]{1,12}:[ -~]{0,40}",
        Just("m=video 9 UDP/TLS/RTP/SAVPF 96".to_owned()),
        Just("a=fmtp:103 apt=103".to_owned()),
        Just("a=ssrc-group:FID 1 1".to_owned()),
        Just("a=candidate:1 1 udp 99999999999 ::1 70000 typ host".to_owned()),
        Just("a=group:BUNDLE 0 1 2 3 0".to_owned()),
        Just("a=simulcast:recv 1;2;3".to_owned()),
    ];
    prop_oneof![
        at.clone().prop_map(Wound::Drop),
        at.clone().prop_map(Wound::Twice),
        (at.clone(), at.clone()).prop_map(|(a, b)| Wound::Swap(a, b)),
        at.clone().prop_map(Wound::Cut),
        (at.clone(), line.clone()).prop_map(|(at, line)| Wound::Replace(at, line)),
        (at.clone(), any::<u64>()).prop_map(|(at, number)| Wound::Number(at, number)),
        (at, line).prop_map(|(at, line)| Wound::Insert(at, line)),
    ]
}

fn wounded(offer: &str, wounds: &[Wound]) -> String {
    let mut lines: Vec<String> = offer.lines().map(ToOwned::to_owned).collect();
    for wound in wounds {
        let length = lines.len().max(1);
        let within = |at: &usize| at % length;
        if lines.is_empty() {
            break;
        }
        match wound {
            Wound::Drop(at) => drop(lines.remove(within(at))),
            Wound::Twice(at) => lines.insert(within(at), lines[within(at)].clone()),
            Wound::Swap(a, b) => lines.swap(within(a), within(b)),
            Wound::Cut(at) => {
                let line = &mut lines[within(at)];
                let half = line.len() / 2;
                if line.is_char_boundary(half) {
                    line.truncate(half);
                }
            }
            Wound::Replace(at, line) => lines[within(at)].clone_from(line),
            Wound::Number(at, number) => {
                let line = &mut lines[within(at)];
                *line = line.replace(|c: char| c.is_ascii_digit(), &number.to_string());
            }
            Wound::Insert(at, line) => lines.insert(within(at), line.clone()),
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn no_offer_however_broken_breaks_the_service() {
    let service = service("[webrtc]\nport = 0\nmax_viewers = 100000\nconnect_timeout_seconds = 1\n");
    let offers = offers();
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let wounds = proptest::collection::vec(wound(), 1..6);
    let (made, refused) = (Cell::new(0), Cell::new(0));
    runner
        .run(&(0..offers.len(), wounds), |(index, wounds)| {
            let offer = wounded(&offers[index].1, &wounds);
            let answer = ask(&service, "POST", "/cameras/porch/whep", &[SDP], &offer);
            match answer.status {
                201 => made.set(made.get() + 1),
                400 => refused.set(refused.get() + 1),
                status => return Err(TestCaseError::fail(format!("{status}: {}\n{offer}", answer.text()))),
            }
            Ok(())
        })
        .unwrap();
    assert!(made.get() > 0 && refused.get() > 0, "{made:?} sessions, {refused:?} refusals");
    // The others' sessions go on, and so does the house.
    let (session, _) = join(&service, "/cameras/yard/whep");
    assert_eq!(ask(&service, "DELETE", &session, &[], "").status, 200);
    assert_eq!(service.state("porch"), "live");
    wait_until("what never connected is gone", Duration::from_secs(10), || count(&service, "porch") == 0);
    assert!(!service.log().contains("panicked"), "{}", service.log());
}
