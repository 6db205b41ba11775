//! What is promised over HTTP, checked byte by byte through the real accept loop. The cameras are
//! detached: the tests push their pictures.

// Clippy knows only functions marked `#[test]` as tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "http_contract/client.rs"]
mod client;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{House, Reader, Shutter, number, picture, until, within};
use fanlight::api::http::routes::{ROUTES, Verb};
use fanlight::config::model::Idle;
use tokio::io::AsyncReadExt;

const NOW: Duration = Duration::ZERO;

// ---- MJPEG ----

#[tokio::test]
async fn a_stream_is_what_every_known_reader_wants_to_the_byte() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 5000, NOW));
    let mut reader = house.watch("/stream.mjpg").await;
    assert_eq!(reader.head.status, 200);
    let header = |name| reader.head.header(name);
    assert_eq!(header("content-type"), Some("multipart/x-mixed-replace; boundary=frame"));
    assert!(header("cache-control").unwrap().contains("no-store"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("access-control-allow-origin"), Some("*"));
    assert_eq!(header("transfer-encoding"), None, "no chunks");
    assert_eq!(reader.head.version, "HTTP/1.0");
    for count in 1..=5 {
        // The reader asks for the boundary after the picture before the next picture exists.
        let part = within(2.0, "a part with its closing boundary", reader.part()).await.unwrap();
        assert_eq!(part.number(), count);
        assert_eq!(part.headers.len(), 3);
        assert_eq!(part.headers[0], "Content-Type: image/jpeg");
        assert_eq!(part.headers[1], "Content-Length: 5000");
        let time = part.headers[2].strip_prefix("X-Timestamp: ").unwrap();
        let (seconds, micros) = time.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && micros.len() == 6, "{time}");
        assert!(part.jpeg.starts_with(&[0xFF, 0xD8]) && part.jpeg.ends_with(&[0xFF, 0xD9]));
        house.front.jpeg().push(picture(count + 1, 5000, NOW));
    }
}

#[tokio::test]
async fn every_spelling_of_the_stream_and_of_the_snapshot_works_and_unknown_keys_are_ignored() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, NOW));
    house.back.jpeg().push(picture(2, 100, NOW));
    for (path, camera) in [
        ("/stream.mjpg", 1),
        ("/stream", 1),
        ("/?action=stream", 1),
        ("/?action=stream&123", 1),
        ("/?timestamp=1700000000&action=stream&bypassCache=1", 1),
        ("/webcam/?action=stream", 1),
        ("/webcam?action=stream", 1),
        ("/camera/stream.mjpg?cacheBust=x", 1),
        ("/cameras/front/stream.mjpg", 1),
        ("/cameras/back/stream.mjpg", 2),
        ("/stream.mjpg?&123", 1),
    ] {
        let mut reader = house.watch(path).await;
        assert_eq!(reader.head.status, 200, "{path}");
        assert_eq!(within(2.0, path, reader.part()).await.unwrap().number(), camera, "{path}");
    }
    for (path, camera) in [
        ("/snapshot.jpg", 1),
        ("/snapshot", 1),
        ("/?action=snapshot", 1),
        ("/webcam/?action=snapshot&cacheBust=1", 1),
        ("/webcam?action=snapshot", 1),
        ("/camera/snapshot", 1),
        ("/cameras/front/snapshot.jpg", 1),
        ("/cameras/back/snapshot.jpg?&123", 2),
    ] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")), "{path}");
        assert_eq!(number(&answer.body), camera, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_http_1_0_gets_a_stream_and_a_snapshot() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, NOW));
    let mut reader = Reader::new(house.send("GET /stream.mjpg HTTP/1.0\r\n\r\n").await).await;
    assert_eq!(within(2.0, "a part", reader.part()).await.unwrap().number(), 1);
    let mut stream = house.send("GET /snapshot.jpg HTTP/1.0\r\n\r\n").await;
    let mut bytes = Vec::new();
    within(2.0, "the end of the answer", stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(number(&client::Answer::parse(&bytes).body), 1);
}

#[tokio::test]
async fn one_stream_too_many_is_429_and_a_place_is_free_when_one_leaves() {
    let house = House::with(|config| config.mjpeg.max_streams = 1, |_| {}).await;
    house.front.jpeg().push(picture(1, 100, NOW));
    house.back.jpeg().push(picture(1, 100, NOW));
    let first = house.watch("/stream.mjpg").await;
    let refused = house.get("/cameras/back/stream.mjpg").await;
    assert_eq!((refused.status, refused.error().as_str()), (429, "TOO_MANY_STREAMS"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(refused.json()["error"]["details"]["max_streams"], 1);
    // No picture comes meanwhile: that the client is gone is noticed all the same.
    drop(first);
    until(2.0, "the stream of a client that left", || house.state.mjpeg.viewers() == 0).await;
    assert_eq!(house.front.jpeg().counters().demand, 0);
    assert_eq!(house.watch("/cameras/back/stream.mjpg").await.head.status, 200);
}

#[tokio::test]
async fn a_camera_without_pictures_is_503_with_a_reason_and_its_outlet_was_asked_to_start() {
    let house = House::open().await;
    let mut demand = house.front.jpeg().demanded();
    let (answer, wanted) = tokio::join!(
        house.get("/stream.mjpg"),
        within(2.0, "demand", async { demand.wait_for(|count| *count > 0).await.map(|count| *count) })
    );
    assert_eq!(wanted.unwrap(), 1);
    assert_eq!((answer.status, answer.error().as_str()), (503, "CAMERA_NOT_READY"));
    let details = &answer.json()["error"]["details"];
    assert_eq!((&details["camera"], &details["reason"]), (&"front".into(), &"no_frames".into()));
    assert!(answer.header("retry-after").is_some());
    until(1.0, "the demand of a refused viewer", || house.front.jpeg().counters().demand == 0).await;
}

#[tokio::test]
async fn a_viewer_that_comes_first_waits_for_the_camera_to_start() {
    let house = House::with(|config| config.supervision.start_timeout_seconds = 10.0, |_| {}).await;
    let front = house.front.clone();
    let starter = tokio::spawn(async move {
        let mut demand = front.jpeg().demanded();
        demand.wait_for(|count| *count > 0).await.unwrap();
        front.jpeg().push(picture(7, 100, NOW));
    });
    let mut reader = house.watch("/stream.mjpg").await;
    assert_eq!(within(2.0, "the first picture", reader.part()).await.unwrap().number(), 7);
    starter.await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_gives_its_place_back() {
    let house = House::with(|config| config.supervision.start_timeout_seconds = 60.0, |_| {}).await;
    let waiting = house.send("GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until(2.0, "a viewer that waits", || house.state.mjpeg.viewers() == 1).await;
    drop(waiting);
    until(2.0, "its place", || house.state.mjpeg.viewers() == 0).await;
    assert_eq!(house.front.jpeg().counters().demand, 0);
}

#[tokio::test]
async fn a_dead_cameras_last_picture_is_not_shown_as_live() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, Duration::from_secs(60)));
    let answer = house.get("/stream.mjpg").await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "CAMERA_NOT_READY"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "stale_frames");
    let age: f64 = answer.header("x-frame-age").unwrap().parse().unwrap();
    assert!(age >= 60.0, "{age}");
}

#[tokio::test]
async fn an_output_that_is_switched_off_is_404() {
    let off = |camera: &mut fanlight::config::model::Camera| {
        camera.outputs.mjpeg = false;
        camera.outputs.snapshot = false;
        camera.outputs.hls = false;
    };
    let house = House::with(|_| {}, off).await;
    house.front.jpeg().push(picture(1, 100, NOW));
    for path in ["/stream.mjpg", "/snapshot.jpg", "/?action=stream", "/hls/front/stream.m3u8"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.error().as_str()), (404, "OUTPUT_DISABLED"), "{path}");
    }
    assert_eq!(house.ask("HEAD", "/stream.mjpg", &[]).await.status, 404);
}

#[tokio::test]
async fn a_frame_rate_limit_is_kept() {
    let house = House::open().await;
    let _shutter = Shutter::start(&house.front, 50.0, 1000);
    let mut reader = house.watch("/stream.mjpg?fps=10").await;
    within(5.0, "the first picture", reader.part()).await.unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        within(5.0, "a picture", reader.part()).await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    assert!((0.8..1.5).contains(&took), "ten pictures at ten a second took {took} s");
    let answer = house.get("/stream.mjpg?fps=1000").await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "VALIDATION_ERROR"));
}

#[tokio::test]
async fn streams_end_and_the_server_with_them_when_the_service_stops() {
    let mut house = House::open().await;
    house.front.jpeg().push(picture(1, 300_000, NOW));
    let mut reader = house.watch("/stream.mjpg").await;
    within(2.0, "a part", reader.part()).await.unwrap();
    let idle = house.send("").await;
    // One that has stalled in the middle of a picture cannot end itself: it is dropped.
    let shutter = Shutter::start(&house.front, 100.0, 300_000);
    let request = "GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n";
    let _stalled = house.send_from_a_small_client(request).await;
    until(2.0, "both viewers", || house.state.mjpeg.viewers() == 2).await;
    let began = Instant::now();
    house.state.stop.cancel();
    within(1.0, "the end of the stream", reader.ended()).await;
    within(3.0, "the end of the server", &mut house.running).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(house.state.mjpeg.viewers(), 0);
    shutter.stop();
    drop(idle);
    assert!(tokio::net::TcpStream::connect(house.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stalled_client_gets_at_most_three_old_pictures_afterwards() {
    let house = House::open().await;
    let _shutter = Shutter::start(&house.front, 30.0, 87_000);
    let request = "GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut reader = Reader::new(house.send_from_a_small_client(request).await).await;
    for _ in 0..10 {
        within(2.0, "a part", reader.part()).await.unwrap();
    }
    // The stall itself; there is nothing to wait for but time.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let newest = number(&house.front.jpeg().latest().borrow().as_ref().unwrap().data);
    let mut old = 0;
    // Older than a tenth of a second when the client reads again.
    while within(2.0, "a part", reader.part()).await.unwrap().number() + 3 < newest {
        old += 1;
    }
    assert!(old <= 3, "{old} old pictures");
}

#[tokio::test]
async fn a_client_that_never_reads_is_gone_in_twelve_seconds() {
    let house = House::open().await;
    let _shutter = Shutter::start(&house.front, 30.0, 87_000);
    let request = "GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n";
    let _client = house.send_from_a_small_client(request).await;
    until(2.0, "the viewer", || house.state.mjpeg.viewers() == 1).await;
    until(12.0, "the end of a client that never reads", || house.state.mjpeg.viewers() == 0).await;
    assert_eq!(house.front.jpeg().counters().demand, 0);
}

/// How many pictures each of ninety reading viewers saw of two seconds of pictures, fewest first.
async fn seen_by_ninety(house: &House) -> Vec<usize> {
    const PICTURES: u32 = 40;
    house.front.jpeg().push(picture(0, 20_000, NOW));
    let others = house.state.mjpeg.viewers();
    let mut readers = Vec::new();
    for _ in 0..90 {
        readers.push(house.watch("/stream.mjpg").await);
    }
    until(2.0, "all viewers", || house.state.mjpeg.viewers() == 90 + others).await;
    let before = house.state.mjpeg.parts();
    let shutter = Shutter::start(&house.front, 20.0, 20_000);
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                while seen.last() < Some(&PICTURES) {
                    seen.insert(within(10.0, "a part", reader.part()).await.unwrap().number());
                }
                seen.len()
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.unwrap());
    }
    let made = house.state.mjpeg.parts() - before;
    let pushed = u64::from(shutter.stop());
    assert!(made <= pushed, "{made} parts were serialized for {pushed} pictures");
    until(2.0, "the end of the readers", || house.state.mjpeg.viewers() <= others).await;
    seen.sort_unstable();
    seen
}

#[tokio::test]
async fn ten_viewers_that_never_read_slow_none_of_the_ninety_that_do() {
    let house = House::open().await;
    // Without them first: how much this machine does just now is not the question.
    let without = seen_by_ninety(&house).await;
    let request = "GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut deaf = Vec::new();
    for _ in 0..10 {
        deaf.push(house.send_from_a_small_client(request).await);
    }
    until(2.0, "ten viewers that do not read", || house.state.mjpeg.viewers() == 10).await;
    let with = seen_by_ninety(&house).await;
    let (median, slowest) = (with[45], with[0]);
    assert!(median * 10 >= without[45] * 8, "they saw {median} pictures, without the ten {}", without[45]);
    assert!(slowest * 10 >= without[0] * 7, "the slowest saw {slowest}, without the ten {}", without[0]);
}

// ---- Snapshots ----

#[tokio::test]
async fn a_snapshot_says_how_old_it_is_and_is_not_stored() {
    let house = House::open().await;
    let _viewer = house.front.jpeg().demand();
    house.front.jpeg().push(picture(1, 4000, Duration::from_millis(2500)));
    let answer = house.get("/snapshot.jpg").await;
    assert_eq!((answer.status, answer.body.len()), (200, 4000));
    assert_eq!(answer.header("content-length"), Some("4000"));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("age"), Some("2"));
    assert!(answer.header("x-frame-age").unwrap().parse::<f64>().unwrap() >= 2.5);
    assert_eq!(answer.header("x-timestamp").unwrap().split_once('.').unwrap().1.len(), 6);
    let modified = answer.header("last-modified").unwrap();
    assert!(modified.ends_with(" GMT") && modified.len() == 29, "{modified}");
}

#[tokio::test]
async fn head_of_a_snapshot_is_its_head_without_the_picture() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 4000, NOW));
    let answer = house.ask("HEAD", "/snapshot.jpg", &[]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some("4000"));
    assert!(answer.header("x-timestamp").is_some());
}

#[tokio::test]
async fn head_of_a_stream_is_its_head_and_starts_nothing() {
    let house = House::open().await;
    let answer = house.ask("HEAD", "/stream.mjpg", &[]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("multipart/x-mixed-replace; boundary=frame"));
    assert_eq!(answer.header("content-length"), None, "a stream has none");
    assert_eq!(house.front.jpeg().counters().demand, 0);
}

#[tokio::test]
async fn a_snapshot_starts_the_outlet_waits_for_it_and_keeps_it_for_the_next() {
    let house = House::open().await;
    let front = house.front.clone();
    let encoder = tokio::spawn(async move {
        let mut demand = front.jpeg().demanded();
        demand.wait_for(|count| *count > 0).await.unwrap();
        front.jpeg().push(picture(3, 100, NOW));
    });
    assert_eq!(number(&house.get("/snapshot.jpg").await.body), 3);
    encoder.await.unwrap();
    assert_eq!(house.front.jpeg().counters().demand, 1, "held for the next one");
    for _ in 0..20 {
        house.get("/snapshot.jpg").await;
    }
    assert_eq!(house.front.jpeg().counters().demand, 1, "once, however many ask");
}

#[tokio::test]
async fn an_old_picture_is_never_a_snapshot() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, Duration::from_secs(30)));
    let began = Instant::now();
    let answer = house.get("/snapshot.jpg").await;
    assert!(began.elapsed() < Duration::from_secs(6), "the wait is bounded");
    assert_eq!((answer.status, answer.error().as_str()), (503, "CAMERA_NOT_READY"));
    let details = &answer.json()["error"]["details"];
    assert!(details["frame_age_seconds"].as_f64().unwrap() >= 30.0);
    assert_eq!(details["max_frame_age_seconds"], 10.0);
    assert!(answer.header("x-frame-age").unwrap().parse::<f64>().unwrap() >= 30.0);
}

// ---- Probes ----

#[tokio::test]
async fn health_and_readiness_answer_within_50_ms_while_the_camera_hangs() {
    let house = House::with(|config| config.supervision.start_timeout_seconds = 10.0, |_| {}).await;
    let mut waiting = Vec::new();
    for path in ["/stream.mjpg", "/snapshot.jpg"].repeat(20) {
        waiting.push(house.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await);
    }
    until(2.0, "requests that wait", || house.front.jpeg().counters().demand >= 40).await;
    let paths = [
        ("/health", 200),
        ("/healthz", 200),
        ("/ready", 503),
        ("/health/ready", 503),
        ("/health/detailed", 503),
        ("/metrics", 200),
        ("/camera/status", 200),
        ("/api/cameras", 200),
    ];
    for (path, status) in paths {
        // The best of a few: another test's work on this machine is not the service's.
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(house.get(path).await.status, status, "{path}");
            best = best.min(began.elapsed());
        }
        assert!(best < Duration::from_millis(50), "{path} took {best:?}");
    }
}

#[tokio::test]
async fn health_is_healthy_whatever_the_cameras_do() {
    let house = House::open().await;
    for path in ["/health", "/healthz", "/health/live"] {
        let body = house.get(path).await.json();
        assert_eq!(body["status"], "healthy");
        assert!(body["uptime_seconds"].is_number());
        body["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
}

#[tokio::test]
async fn readiness_says_why_not_and_about_every_camera() {
    let house = House::open().await;
    let answer = house.get("/ready").await;
    let body = answer.json();
    assert_eq!((answer.status, &body["status"]), (503, &"not_ready".into()));
    assert!(body["reason"].is_string() && body["message"].as_str().unwrap().contains("front"), "{body}");
    assert_eq!(body["max_frame_age_seconds"], 10.0);
    assert!(body["last_frame_age_seconds"].is_null() && answer.header("retry-after").is_some());
    let ids: Vec<_> = body["cameras"].as_array().unwrap().iter().map(|camera| &camera["id"]).collect();
    assert_eq!(ids, ["front", "back"]);
    let answer = house.get("/ready?camera=nobody").await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "CAMERA_NOT_FOUND"));
}

#[tokio::test]
async fn a_camera_that_is_closed_while_nobody_watches_is_ready() {
    let house = House::with(|_| {}, |camera| camera.idle = Idle::Close).await;
    let answer = house.get("/ready").await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"ready".into()));
    assert_eq!(house.get("/ready?camera=back").await.status, 503, "that one is to be open always");
}

#[tokio::test]
async fn metrics_have_the_fields_that_dashboards_read() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, NOW));
    let mut reader = house.watch("/stream.mjpg").await;
    within(2.0, "a part", reader.part()).await.unwrap();
    let body = house.get("/metrics").await.json();
    for field in ["uptime_seconds", "current_fps", "frames_captured", "max_frame_age_seconds"] {
        assert!(body[field].is_number(), "{field}: {body}");
    }
    assert!(body.get("last_frame_age_seconds").is_some() && body["camera_active"].is_boolean());
    assert_eq!((&body["resolution"], &body["app_mode"]), (&"640x480".into(), &"webcam".into()));
    body["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((&body["mjpeg_viewers"], &body["mjpeg_parts"]), (&1.into(), &1.into()));
    assert_eq!(body["config"]["jpeg_quality"], 100);
    assert_eq!(body["cameras"][0]["jpeg"]["demand"], 1);

    let text = house.ask("GET", "/metrics", &[("Accept", "text/plain;version=0.0.4")]).await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("fanlight_mjpeg_viewers{camera=\"front\"} 1\n"), "{}", text.text());
}

#[tokio::test]
async fn camera_status_tells_whether_it_runs_and_that_nothing_is_published() {
    let body = House::open().await.get("/camera/status").await.json();
    assert_eq!(body["running"], false);
    assert_eq!(body["publisher"]["state"], "missing");
}

// ---- API, errors, CORS, page ----

#[tokio::test]
async fn cameras_are_listed_in_order_with_the_paths_of_their_outputs() {
    let house = House::with(|_| {}, |camera| camera.outputs.snapshot = false).await;
    let body = house.get("/api/cameras").await.json();
    let cameras = body["cameras"].as_array().unwrap();
    assert_eq!((&cameras[0]["id"], &cameras[1]["id"]), (&"front".into(), &"back".into()));
    assert_eq!(cameras[0]["urls"]["stream"], "/cameras/front/stream.mjpg");
    assert!(cameras[0]["urls"]["snapshot"].is_null(), "switched off");
    assert_eq!(cameras[0]["urls"]["hls_ll_fmp4"], "/hls/front/stream_ll_fmp4.m3u8");
    assert_eq!(house.get("/api/cameras/back").await.json()["id"], "back");
    let plain = House::with(|config| config.hls.low_latency = false, |_| {}).await;
    let urls = &plain.get("/api/cameras/front").await.json()["urls"];
    assert!(urls["hls"].is_string() && urls["hls_ll"].is_null() && urls["hls_ll_fmp4"].is_null(), "{urls}");
}

#[tokio::test]
async fn a_restart_is_accepted_from_programs_and_our_own_page_and_not_from_strange_pages() {
    let house = House::open().await;
    let path = "/api/cameras/front/restart";
    let answer = house.ask("POST", path, &[]).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &"restarting".into()));
    let ours = format!("http://{}", house.address);
    assert_eq!(house.ask("POST", path, &[("Origin", &ours)]).await.status, 202);
    let answer = house.ask("POST", path, &[("Origin", "https://evil.example")]).await;
    assert_eq!((answer.status, answer.error().as_str()), (403, "ORIGIN_NOT_ALLOWED"));
}

#[tokio::test]
async fn errors_have_one_schema() {
    let house = House::open().await;
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/cameras/nobody/stream.mjpg", 404, "CAMERA_NOT_FOUND"),
        ("GET", "/cameras/nobody/snapshot.jpg", 404, "CAMERA_NOT_FOUND"),
        ("GET", "/cameras/%3Cscript%3E/snapshot.jpg", 404, "CAMERA_NOT_FOUND"),
        ("GET", "/hls/nobody/stream.m3u8", 404, "CAMERA_NOT_FOUND"),
        ("GET", "/api/cameras/nobody", 404, "CAMERA_NOT_FOUND"),
        ("POST", "/api/cameras/nobody/restart", 404, "CAMERA_NOT_FOUND"),
        ("GET", "/api/cameras/front/restart", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/stream.mjpg", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/?action=reboot", 400, "VALIDATION_ERROR"),
        ("GET", "/webcam/", 400, "VALIDATION_ERROR"),
        ("GET", "/stream?fps=x", 400, "VALIDATION_ERROR"),
        ("GET", "/hls/front/stream_ll.m3u8?_HLS_msn=x", 400, "VALIDATION_ERROR"),
        ("GET", "/hls/front/stream_ll_fmp4.m3u8?_HLS_part=1", 400, "VALIDATION_ERROR"),
        ("GET", "/hls/front/nothing.txt", 404, "NOT_FOUND"),
        ("GET", "/hls/front/seg000000.ts", 404, "NOT_FOUND"),
        ("POST", "/hls/front/stream.m3u8", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/hls/front/stream.m3u8", 503, "CAMERA_NOT_READY"),
        ("GET", "/stream.mjpg", 503, "CAMERA_NOT_READY"),
        ("GET", "/snapshot.jpg", 503, "CAMERA_NOT_READY"),
    ] {
        let answer = house.ask(method, path, &[]).await;
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "scripts may read errors too");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        let body = answer.json();
        let error = body["error"].as_object().unwrap();
        let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
        keys.sort();
        assert_eq!(
            (keys, body.as_object().unwrap().len()),
            (vec!["code", "details", "message", "timestamp"], 1)
        );
        assert!(!error["message"].as_str().unwrap().is_empty() && error["details"].is_object(), "{path}");
        let timestamp = error["timestamp"].as_str().unwrap();
        assert!(
            timestamp.len() == 24 && &timestamp[19..20] == "." && timestamp.ends_with('Z'),
            "{timestamp}"
        );
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{method} {path}");
        let about: &[&str] = match code {
            "VALIDATION_ERROR" => &["key", "value", "allowed"],
            "CAMERA_NOT_READY" => &[
                "camera",
                "reason",
                "state",
                "frame_age_seconds",
                "max_frame_age_seconds",
                "last_error",
                "next_try",
            ],
            _ => &[],
        };
        for key in about {
            assert!(error["details"].get(key).is_some(), "{path}: no {key} in {}", error["details"]);
        }
    }
}

#[tokio::test]
async fn hls_that_is_not_ready_says_how_long_it_waited_to_the_millisecond() {
    let house = House::open().await;
    let answer = house.get("/hls/front/stream_ll.m3u8").await;
    let details = &answer.json()["error"]["details"];
    let waited = details["waited_seconds"].as_f64().unwrap();
    assert!((1.0..10.0).contains(&waited), "{waited}");
    let millis = waited * 1000.0;
    assert!((millis - millis.round()).abs() < 1e-6, "{waited}");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_range_past_the_end_of_a_segment_is_416_with_its_length() {
    let house = House::open().await;
    let path = "/hls/front/stream.m3u8";
    let (list, ()) = tokio::join!(house.get(path), async {
        let mut demand = house.front.h264().demanded();
        within(2.0, "demand", demand.wait_for(|count| *count > 0)).await.unwrap();
        for index in 0..70 {
            house.front.h264().push(client::access_unit(index));
            tokio::task::yield_now().await;
        }
    });
    let text = list.text();
    let path = format!("/hls/front/{}", text.lines().find(|line| line.starts_with("seg")).expect(text));
    let answer = house.ask("GET", &path, &[("Range", "bytes=99999999-")]).await;
    assert_eq!((answer.status, answer.error().as_str()), (416, "RANGE_NOT_SATISFIABLE"));
    let length = answer.json()["error"]["details"]["length"].as_u64().unwrap();
    assert_eq!(answer.header("content-range"), Some(format!("bytes */{length}").as_str()));
    assert_eq!(house.get(&path).await.body.len() as u64, length);
}

#[tokio::test]
async fn scripts_of_other_origins_may_ask_as_the_configuration_says_also_after_a_reload() {
    let house = House::open().await;
    let dash = ("Origin", "https://dash.example.org");
    let asks = [dash, ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "range")];
    let preflight = house.ask("OPTIONS", "/hls/front/stream.m3u8", &asks).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Range"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    let answer = house.ask("GET", "/health", &[dash]).await;
    assert!(answer.header("access-control-expose-headers").unwrap().contains("X-Timestamp"));

    let mut config = (**house.config.borrow()).clone();
    config.server.cors_origins = vec![dash.1.to_owned()];
    house.config.send_replace(Arc::new(config));
    for (origin, allowed) in [(dash.1, Some(dash.1)), ("https://evil.example", None)] {
        let answer = house.ask("GET", "/health", &[("Origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn the_plain_page_shows_every_camera_escaped_and_may_load_nothing_from_elsewhere() {
    let evil = "<script>alert(1)</script>";
    let house = House::with(|_| {}, |camera| camera.name = Some(evil.into())).await;
    let answer = house.get("/plain?theme=dark").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let page = answer.text();
    assert!(!page.contains(evil) && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("src=\"cameras/front/stream.mjpg\"") && page.contains("data-id=\"back\""));
    assert!(page.contains("<a href=\"hls/front/stream_ll_fmp4.m3u8\">Low-latency HLS (fMP4)</a>"));
    assert!(!page.contains("{{"), "a placeholder was left");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")));
    let again = house.get("/plain").await;
    assert!(!again.text().contains(nonce), "a nonce is used once");
}

#[tokio::test]
async fn the_api_document_lists_every_route_and_every_listed_path_is_answered() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, NOW));
    let document = house.get("/api/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for route in ROUTES {
        let verb = match route.verb {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        };
        assert!(paths[route.path][verb].is_object(), "{} is not listed", route.path);
    }
    for (path, operations) in paths {
        let asked = path
            .replace("{id}", "front")
            .replace("{file}", "stream.m3u8")
            .replace("{session}", "none")
            .replace("{action}", "identify");
        for method in operations.as_object().unwrap().keys() {
            let method = if method == "get" { "HEAD".to_owned() } else { method.to_uppercase() };
            let mut answer = house.ask(&method, &asked, &[]).await;
            if method == "HEAD" && answer.status == 404 {
                // What is not there is told in the body.
                answer = house.ask("GET", &asked, &[]).await;
            }
            // HLS is for its own tests: here it is enough that the router knows it.
            // So are the dashboard's files, which are there when it was built.
            // A printer's commands answer in a form of their own.
            let elsewhere = path.ends_with("/command")
                || ["/hls/", "/assets/", "/icon.svg", "/files/", "/api/cameras/{id}/timelapse"]
                    .iter()
                    .any(|it| path.starts_with(it));
            // What the path names may not be there; the path is.
            let known = elsewhere || answer.status != 404 || answer.error() != "NOT_FOUND";
            assert!(known && answer.status != 405, "{method} {asked}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn a_request_head_without_end_is_refused() {
    let house = House::open().await;
    let mut stream = house.send(&format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(40_000))).await;
    let mut bytes = Vec::new();
    let _ = within(5.0, "an answer", stream.read_to_end(&mut bytes)).await;
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn connections_are_capped_and_the_next_is_told_so_at_once() {
    let house = House::with(|config| config.mjpeg.max_streams = 0, |_| {}).await;
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(house.send("").await);
    }
    let mut one_more = house.send("").await;
    let mut bytes = Vec::new();
    within(2.0, "a refusal", one_more.read_to_end(&mut bytes)).await.unwrap();
    let answer = client::Answer::parse(&bytes);
    assert_eq!((answer.status, answer.error().as_str()), (503, "TOO_MANY_CONNECTIONS"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    held.clear();
    within(5.0, "a place", async { while house.get("/health").await.status != 200 {} }).await;
}

/// A user who may watch, and nobody without a login.
fn closed(config: &mut fanlight::config::Config) {
    use fanlight::config::model::{Role, User, Watch};
    let anna = User {
        name: "anna".into(),
        role: Role::Viewer,
        password_file: None,
        ha1_md5: None,
        ha1_sha256: None,
        ha1: fanlight::config::Ha1::of("anna", "secret"),
    };
    config.access.users = vec![anna];
    config.access.watch = Watch::Login;
}

#[tokio::test]
async fn what_is_watched_ends_with_the_logout_and_with_the_user() {
    use fanlight::access::Credentials;
    let house = House::with(closed, |_| {}).await;
    house.front.jpeg().push(picture(1, 100, NOW));
    let shown = Credentials::Password { name: "anna", password: "secret" };
    let (_, token) = house.state.access.login(None, shown).await.unwrap();
    let request = |path: &str, login: String| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{login}\r\n\r\n");
    let cookie = || format!("Cookie: fanlight_session={}", token.expose());
    let mut session = Reader::new(house.send(&request("/stream.mjpg", cookie())).await).await;
    assert_eq!(within(5.0, "a part", session.part()).await.unwrap().number(), 1);
    let basic = || "Authorization: Basic YW5uYTpzZWNyZXQ=".to_owned();
    let mut password = Reader::new(house.send(&request("/stream.mjpg", basic())).await).await;
    assert_eq!(within(5.0, "a part", password.part()).await.unwrap().number(), 1);
    let mut events = house.send(&request("/api/events", cookie())).await;
    until(5.0, "both streams", || house.state.mjpeg.viewers() == 2).await;
    let mut rest = vec![0; 15];
    within(5.0, "the head of events", events.read_exact(&mut rest)).await.unwrap();
    assert_eq!(rest, b"HTTP/1.1 200 OK");

    house.state.access.logout(token.expose());
    within(5.0, "the end of the session's stream", session.ended()).await;
    let end = async {
        let mut chunk = [0; 4096];
        while !rest.ends_with(b"0\r\n\r\n") {
            let read = events.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the answer ends whole");
            rest.extend_from_slice(&chunk[..read]);
        }
    };
    within(5.0, "the end of events", end).await;
    until(5.0, "one stream left", || house.state.mjpeg.viewers() == 1).await;

    let watching = tokio::spawn(house.state.access.clone().watch());
    tokio::task::yield_now().await;
    let mut config = (**house.config.borrow()).clone();
    config.access.users.clear();
    house.config.send_replace(Arc::new(config));
    within(5.0, "the end of the user's stream", password.ended()).await;
    watching.abort();
}

#[tokio::test]
async fn pages_from_elsewhere_are_told_nothing_of_the_network() {
    let house = House::open().await;
    for path in ["/api/external-streams", "/api/printers/found"] {
        for header in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
            assert_eq!(house.ask("GET", path, &[header]).await.status, 403, "{path} {header:?}");
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        within(5.0, path, house.send(&request).await.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(client::Answer::parse(&answer).status, 421, "{path}");
    }
    assert_eq!(house.get("/api/external-streams").await.status, 200);
    let ours = [("Sec-Fetch-Site", "same-origin")];
    assert_eq!(house.ask("GET", "/api/external-streams", &ours).await.status, 200);
}
