//! HLS as players ask for it: what is answered, when, and how long it may take. Pictures are made up;
//! what they look like is for `hls_media.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fanlight::capture::Capture;
use fanlight::config::model::{self, Camera, Source};
use fanlight::frames::AccessUnit;
use fanlight::serve::hls::{Hls, Refusal, Request, Waits};
use fanlight::serve::ready::Cause;
use http_body_util::BodyExt;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

const FPS: u64 = 30;
const GOP: u64 = 60;

/// A camera whose pictures the test makes. Times are those of the stream, not of the clock.
struct Rig {
    hls: Hls,
    capture: Capture,
    next: AtomicU64,
    epoch: AtomicU64,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Rig {
    fn new() -> Self {
        Self::with(model::Hls::default())
    }

    fn with(config: model::Hls) -> Self {
        Self::with_join(config, Duration::ZERO)
    }

    fn with_join(config: model::Hls, join: Duration) -> Self {
        let waits = Waits {
            first_segment: Duration::from_secs(3),
            join,
            reload: Duration::from_millis(300),
            part: Duration::from_millis(500),
        };
        Self {
            hls: Hls::with_waits(config, waits),
            capture: Capture::detached(Camera::new("cam", Source::Test {})),
            next: AtomicU64::new(0),
            epoch: AtomicU64::new(1),
        }
    }

    /// So many pictures, each taken up before the next one comes.
    async fn push(&self, count: u64) {
        for _ in 0..count {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let keyframe = index.is_multiple_of(GOP);
            let mut data = Vec::new();
            if keyframe {
                data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8]);
                data.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80]);
            }
            data.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x9a]);
            data.extend(index.to_be_bytes().map(|byte| byte | 1));
            data.resize(data.len() + 300, 0x55);
            self.capture.h264().push(AccessUnit {
                data: data.into(),
                pts: Duration::from_micros(index * 1_000_000 / FPS),
                keyframe,
                epoch: self.epoch.load(Ordering::Relaxed),
                captured_at: SystemTime::now(),
                captured: Instant::now(),
            });
            tokio::task::yield_now().await;
        }
        // Whoever waits for this gets it before the test goes on.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }

    /// The camera went away and comes back with a new IDR.
    fn restart(&self) {
        self.capture.h264().clear();
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
    }

    async fn respond(&self, file: &str, range: Option<&str>, head: bool) -> Result<Response, Refusal> {
        let (file, query) = file.split_once('?').unwrap_or((file, ""));
        let request = Request { file, query, range, head, max_frame_age: Duration::from_secs(10) };
        self.hls.respond(&self.capture, request).await
    }

    async fn answer(&self, file: &str, range: Option<&str>, head: bool) -> Answer {
        let (parts, body) = self.respond(file, range, head).await.unwrap().into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn ask(&self, file: &str, range: Option<&str>) -> Answer {
        self.answer(file, range, false).await
    }

    async fn head(&self, file: &str) -> Answer {
        self.answer(file, None, true).await
    }

    async fn get(&self, file: &str) -> Answer {
        self.ask(file, None).await
    }

    async fn refusal(&self, file: &str) -> Refusal {
        self.respond(file, None, false).await.expect_err(file)
    }

    async fn text(&self, file: &str) -> String {
        let answer = self.get(file).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text()
    }

    /// Runs both until the request is answered; pushing begins when the request already waits.
    async fn ask_then_push(&self, file: &str, count: u64) -> Answer {
        let (answer, ()) = tokio::join!(self.get(file), async {
            tokio::task::yield_now().await;
            self.push(count).await;
        });
        answer
    }

    /// A rig with four whole segments, three parts and three pictures.
    async fn started(file: &str) -> Self {
        let rig = Self::new();
        let answer = rig.ask_then_push(file, 4 * GOP + 33).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        rig
    }
}

fn lines<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(prefix)).collect()
}

fn number(text: &str, prefix: &str) -> u64 {
    lines(text, prefix)[0].parse().unwrap()
}

fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name} in {line}")).1;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(',').next().unwrap(),
    }
}

/// (segment, first byte, length) of each listed TS part.
fn ts_parts(text: &str) -> Vec<(String, u64, u64)> {
    lines(text, "#EXT-X-PART:")
        .into_iter()
        .map(|line| {
            let (length, start) = attribute(line, "BYTERANGE").split_once('@').unwrap();
            (attribute(line, "URI").to_owned(), start.parse().unwrap(), length.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn the_first_request_starts_packaging_and_gets_the_first_segment() {
    let rig = Rig::new();
    assert_eq!(rig.capture.h264().counters().demand, 0);
    let (answer, ()) = tokio::join!(rig.get("stream.m3u8"), async {
        tokio::task::yield_now().await;
        assert_eq!(rig.capture.h264().counters().demand, 1, "the encoder is asked for");
        rig.push(GOP + 2).await;
    });
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(answer.header("cache-control"), "no-store");
    let text = answer.text();
    assert_eq!(lines(&text, "#EXT-X-TARGETDURATION:"), ["2"]);
    assert_eq!(lines(&text, "#EXTINF:"), ["2.00000,"]);
    assert!(!text.contains("#EXT-X-ENDLIST") && !text.contains("#EXT-X-PART"));
    let segment = rig.get(text.lines().last().unwrap()).await;
    assert_eq!(segment.status, StatusCode::OK);
    assert_eq!(segment.header("content-type"), "video/mp2t");
    assert_eq!(segment.header("content-length"), segment.body.len().to_string());
    assert!(segment.header("cache-control").contains("max-age"));
    assert_eq!(segment.body.len() % 188, 0);
}

#[tokio::test]
async fn a_camera_that_gives_nothing_is_refused_with_a_reason_in_bounded_time() {
    let rig = Rig::new();
    let began = Instant::now();
    let refusal = rig.refusal("stream_ll.m3u8").await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let Refusal::NotReady { why, waited } = refusal else { panic!("{refusal:?}") };
    assert_eq!((why.camera.as_str(), why.reason), ("cam", Cause::NoFrames));
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_what_is_off_says_so() {
    let rig = Rig::started("stream.m3u8").await;
    for name in ["seg000000.ts", "part000001.m4s", "init_5.mp4"] {
        let refusal = rig.refusal(name).await;
        assert!(matches!(&refusal, Refusal::Gone { file, .. } if file == name), "{refusal:?}");
    }
    for name in ["nothing.txt", "stream.m3u8.bak"] {
        let refusal = rig.refusal(name).await;
        assert!(matches!(&refusal, Refusal::NoFile { file, .. } if file == name), "{refusal:?}");
    }
    let plain = Rig::with(model::Hls { low_latency: false, ..model::Hls::default() });
    for file in ["stream_ll.m3u8", "stream_ll_fmp4.m3u8"] {
        assert_eq!(plain.refusal(file).await, Refusal::LowLatencyDisabled("cam".into()));
    }
    assert_eq!(plain.ask_then_push("stream.m3u8", GOP + 2).await.status, StatusCode::OK);
    let mut camera = Camera::new("off", Source::Test {});
    camera.outputs.hls = false;
    let off = Rig { capture: Capture::detached(camera), ..Rig::new() };
    let refusal = off.refusal("stream.m3u8").await;
    assert_eq!(refusal, Refusal::Disabled("off".into()));
    assert!(refusal.to_string().contains("outputs.hls"));
    assert_eq!(off.capture.h264().counters().demand, 0);
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let rig = Rig::started("stream.m3u8").await;
    let name = rig.text("stream.m3u8").await.lines().last().unwrap().to_owned();
    for file in ["stream.m3u8", &name] {
        let get = rig.get(file).await;
        let head = rig.head(file).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), get.body.len().to_string());
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn ts_parts_joined_are_the_segment_byte_for_byte() {
    let rig = Rig::started("stream_ll.m3u8").await;
    let text = rig.text("stream_ll.m3u8").await;
    let parts = ts_parts(&text);
    assert_eq!(parts.len(), 6 + 6 + 3);
    for name in
        text.lines().filter(|line| line.ends_with(".ts")).collect::<Vec<_>>().into_iter().rev().take(2)
    {
        let whole = rig.get(name).await.body;
        let mut joined = Vec::new();
        for (_, start, length) in parts.iter().filter(|(uri, ..)| uri == name) {
            let range = format!("bytes={start}-{}", start + length - 1);
            let part = rig.ask(name, Some(&range)).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
            assert_eq!(part.header("content-range"), format!("{}/{}", range.replace('=', " "), whole.len()));
            assert_eq!(part.body.len() as u64, *length);
            joined.extend_from_slice(&part.body);
        }
        assert_eq!(joined, whole);
    }
}

#[tokio::test]
async fn fmp4_parts_joined_are_the_segment_byte_for_byte() {
    let rig = Rig::started("stream_ll_fmp4.m3u8").await;
    let text = rig.text("stream_ll_fmp4.m3u8").await;
    let init = rig.get(attribute(lines(&text, "#EXT-X-MAP:")[0], "URI")).await;
    assert_eq!((init.status, init.header("content-type")), (StatusCode::OK, "video/mp4"));
    let name = text.lines().rfind(|line| line.starts_with("seg")).unwrap();
    let whole = rig.get(name).await;
    assert_eq!(whole.header("content-type"), "video/mp4");
    // The parts between the last two segments' names.
    let mut inside = text.lines().rev().skip_while(|line| *line != name);
    inside.next();
    let mut parts: Vec<&str> = inside
        .take_while(|line| !line.starts_with("seg"))
        .filter(|l| l.starts_with("#EXT-X-PART:"))
        .collect();
    parts.reverse();
    assert_eq!(parts.len(), 10);
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(&rig.get(attribute(part, "URI")).await.body);
    }
    assert_eq!(joined, whole.body);
}

#[tokio::test]
async fn low_latency_playlists_follow_the_rules() {
    let rig = Rig::new();
    let mut last = (0, 0);
    rig.ask_then_push("stream_ll.m3u8", GOP + 2).await;
    rig.ask_then_push("stream_ll_fmp4.m3u8", GOP).await;
    for _ in 0..90 {
        rig.push(7).await;
        for file in ["stream_ll.m3u8", "stream_ll_fmp4.m3u8"] {
            let text = rig.text(file).await;
            assert_eq!(number(&text, "#EXT-X-TARGETDURATION:"), 2);
            let target: f64 = attribute(lines(&text, "#EXT-X-PART-INF:")[0], "PART-TARGET").parse().unwrap();
            assert_eq!(target, if file.contains("fmp4") { 0.22 } else { 0.36667 });
            let control = lines(&text, "#EXT-X-SERVER-CONTROL:")[0];
            assert_eq!(attribute(control, "CAN-BLOCK-RELOAD"), "YES");
            let hold_back: f64 = attribute(control, "PART-HOLD-BACK").parse().unwrap();
            assert!(hold_back >= 2.0 * target);
            let segments = lines(&text, "#EXTINF:").len();
            assert!(segments <= 7);
            let rows: Vec<&str> = text.lines().collect();
            for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.starts_with("#EXT-X-PART:")) {
                let duration: f64 = attribute(row, "DURATION").parse().unwrap();
                assert!(duration <= target, "{row}");
                // The last part of a segment stands before its EXTINF.
                let free = row.contains("INDEPENDENT") || rows[index + 1].starts_with("#EXTINF");
                assert!(free || duration >= 0.85 * target, "{row}");
            }
            // Parts only in the last two segments and the open one.
            let without = text.split("#EXTINF").take(segments.saturating_sub(2));
            assert!(without.into_iter().all(|segment| !segment.contains("#EXT-X-PART:")));
            assert_eq!(lines(&text, "#EXT-X-PRELOAD-HINT:").len(), 1);
            assert!(rows.last().unwrap().starts_with("#EXT-X-PRELOAD-HINT:"));
            if file == "stream_ll.m3u8" {
                let now = (number(&text, "#EXT-X-MEDIA-SEQUENCE:"), lines(&text, "#EXT-X-PART:").len());
                assert!(now.0 >= last.0, "media sequence numbers rise");
                last = now;
            }
        }
    }
}

#[tokio::test]
async fn a_blocking_reload_is_answered_when_the_part_is_there() {
    let rig = Rig::started("stream_ll.m3u8").await;
    let before = rig.text("stream_ll.m3u8").await;
    let open = number(&before, "#EXT-X-MEDIA-SEQUENCE:") + lines(&before, "#EXTINF:").len() as u64;
    // Three parts are there, the fourth (index 3) is not.
    let (answer, pushed) = tokio::join!(
        async {
            let answer = rig.get(&format!("stream_ll.m3u8?_HLS_msn={open}&_HLS_part=3")).await;
            (answer, rig.next.load(Ordering::Relaxed))
        },
        async {
            tokio::task::yield_now().await;
            rig.push(20).await;
            rig.next.load(Ordering::Relaxed)
        }
    );
    let (answer, at) = answer;
    assert!(at < pushed, "answered before everything was pushed");
    assert_eq!(ts_parts(&answer.text()).len(), ts_parts(&before).len() + 1);
    // What is there is answered at once; so is a part past the end of a whole segment.
    for (msn, part) in [(open, 0), (open - 1, 2), (open - 1, 99)] {
        let began = Instant::now();
        rig.text(&format!("stream_ll.m3u8?_HLS_msn={msn}&_HLS_part={part}")).await;
        assert!(began.elapsed() < Duration::from_millis(200), "{msn} {part}");
    }
    // A whole segment: waits until it ends.
    let whole = format!("stream_ll.m3u8?_HLS_msn={open}");
    let (text, ()) = tokio::join!(rig.text(&whole), async {
        tokio::task::yield_now().await;
        rig.push(20).await;
    });
    assert!(text.contains(&format!("#EXTINF:2.00000,\nseg{open:06}.ts")), "{text}");
}

#[tokio::test]
async fn a_joining_player_gets_a_list_that_ends_with_a_fresh_part() {
    let rig = Rig::with_join(model::Hls::default(), Duration::from_secs(5));
    rig.ask_then_push("stream_ll.m3u8", 4 * GOP + 33).await;
    // Three parts and three pictures are there: seven more make the fourth part.
    let (text, ()) = tokio::join!(rig.text("stream_ll.m3u8"), async {
        tokio::task::yield_now().await;
        rig.push(8).await;
    });
    assert_eq!(ts_parts(&text).len(), 6 + 6 + 4);
    // In the last part of the segment: the end of the segment is passed over.
    rig.push(16).await;
    let (text, ()) = tokio::join!(rig.text("stream_ll.m3u8"), async {
        tokio::task::yield_now().await;
        rig.push(15).await;
    });
    assert_eq!(ts_parts(&text).len(), 6 + 6 + 1);
    // A camera that is away does not keep a player from joining.
    let began = Instant::now();
    rig.text("stream_ll.m3u8").await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_blocking_reload_in_an_outage_gets_the_list_as_it_is() {
    let rig = Rig::started("stream_ll.m3u8").await;
    let before = rig.text("stream_ll.m3u8").await;
    let open = number(&before, "#EXT-X-MEDIA-SEQUENCE:") + lines(&before, "#EXTINF:").len() as u64;
    let began = Instant::now();
    let after = rig.text(&format!("stream_ll.m3u8?_HLS_msn={open}&_HLS_part=4")).await;
    assert!(began.elapsed() >= Duration::from_millis(290) && began.elapsed() < Duration::from_secs(2));
    assert_eq!(after, before);
}

#[tokio::test]
async fn directives_that_make_no_sense_are_refused() {
    let rig = Rig::started("stream_ll.m3u8").await;
    let text = rig.text("stream_ll.m3u8").await;
    let last = number(&text, "#EXT-X-MEDIA-SEQUENCE:") + lines(&text, "#EXTINF:").len() as u64 - 1;
    let queries = [
        ("_HLS_part", "_HLS_part=1".to_owned()),
        ("_HLS_msn", "_HLS_msn=abc".to_owned()),
        ("_HLS_msn", format!("_HLS_msn={}", last + 3)),
        ("_HLS_part", format!("_HLS_msn={}&_HLS_part=99", last + 1)),
    ];
    for (key, query) in queries {
        let refusal = rig.refusal(&format!("stream_ll.m3u8?{query}")).await;
        assert!(matches!(&refusal, Refusal::Directive(bad) if bad.key == key), "{query}: {refusal:?}");
    }
    assert_eq!(rig.get("stream.m3u8?_HLS_part=1").await.status, StatusCode::OK, "no directives there");
}

#[tokio::test]
async fn every_hint_comes_true() {
    let rig = Rig::new();
    rig.ask_then_push("stream_ll.m3u8", GOP + 2).await;
    rig.ask_then_push("stream_ll_fmp4.m3u8", GOP).await;
    for round in 0..60 {
        if round == 30 {
            rig.restart();
        }
        let ts = rig.text("stream_ll.m3u8").await;
        let hint = lines(&ts, "#EXT-X-PRELOAD-HINT:")[0].to_owned();
        let (name, start) = (attribute(&hint, "URI"), attribute(&hint, "BYTERANGE-START"));
        let range = format!("bytes={start}-");
        let fmp4 = rig.text("stream_ll_fmp4.m3u8").await;
        let part = attribute(lines(&fmp4, "#EXT-X-PRELOAD-HINT:")[0], "URI").to_owned();
        // Enough for one more part of each, wherever in a segment this is.
        let (ts_hint, fmp4_hint, ()) = tokio::join!(
            async {
                // The answer goes on to the end of the segment: its first bytes are what was hinted.
                let response = rig.respond(name, Some(&range), false).await.unwrap();
                assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
                assert_eq!(
                    response.headers()["content-range"].to_str().unwrap(),
                    format!("bytes {start}-9007199254740991/*")
                );
                let mut body = response.into_body();
                body.frame().await.unwrap().unwrap().into_data().unwrap()
            },
            rig.get(&part),
            async {
                tokio::task::yield_now().await;
                rig.push(13).await;
            }
        );
        assert_eq!(fmp4_hint.status, StatusCode::OK, "round {round}");
        // Both are now listed, just as they were hinted.
        let ts = rig.text("stream_ll.m3u8").await;
        let start: u64 = start.parse().unwrap();
        let listed = ts_parts(&ts).into_iter().find(|(uri, at, _)| uri == name && *at == start);
        assert_eq!(
            listed.map(|(_, _, length)| length),
            Some(ts_hint.len() as u64),
            "round {round}: {hint}\n{ts}"
        );
        let fmp4 = rig.text("stream_ll_fmp4.m3u8").await;
        assert!(
            lines(&fmp4, "#EXT-X-PART:").iter().any(|line| attribute(line, "URI") == part),
            "round {round}"
        );
    }
}

#[tokio::test]
async fn an_open_range_streams_the_growing_segment_to_its_end() {
    let rig = Rig::started("stream_ll.m3u8").await;
    let text = rig.text("stream_ll.m3u8").await;
    let hint = lines(&text, "#EXT-X-PRELOAD-HINT:")[0];
    let name = attribute(hint, "URI").to_owned();
    let range = format!("bytes={}-", attribute(hint, "BYTERANGE-START"));
    let (rest, all, ()) = tokio::join!(rig.ask(&name, Some(&range)), rig.get(&name), async {
        tokio::task::yield_now().await;
        rig.push(GOP).await;
    });
    let whole = rig.get(&name).await.body;
    assert_eq!(all.body, whole);
    assert_eq!(rest.body, whole[whole.len() - rest.body.len()..]);
    assert!(!rest.body.is_empty() && rest.body.len() < whole.len());
    let past = rig.respond(&name, Some("bytes=99999999-"), false).await.unwrap_err();
    assert!(matches!(past, Refusal::Range { length, .. } if length == whole.len() as u64), "{past:?}");
    let tail = rig.ask(&name, Some("bytes=-188")).await;
    assert_eq!(tail.body, whole[whole.len() - 188..]);
}

#[tokio::test]
async fn a_hinted_part_that_does_not_come_is_not_ready_and_not_gone() {
    let rig = Rig::started("stream_ll_fmp4.m3u8").await;
    let text = rig.text("stream_ll_fmp4.m3u8").await;
    let hint = attribute(lines(&text, "#EXT-X-PRELOAD-HINT:")[0], "URI").to_owned();
    let refusal = rig.refusal(&hint).await;
    let Refusal::NotReady { waited, .. } = refusal else { panic!("{refusal:?}") };
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
}

#[tokio::test]
async fn after_an_outage_the_list_goes_on_behind_a_discontinuity() {
    let rig = Rig::started("stream_ll_fmp4.m3u8").await;
    rig.ask_then_push("stream.m3u8", GOP).await;
    let before = rig.text("stream.m3u8").await;
    rig.restart();
    assert_eq!(rig.text("stream.m3u8").await, before, "the list stays through the outage");
    rig.push(2 * GOP + 2).await;
    let after = rig.text("stream.m3u8").await;
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    assert!(!after.contains("#EXT-X-ENDLIST"));
    let fmp4 = rig.text("stream_ll_fmp4.m3u8").await;
    assert_eq!(lines(&fmp4, "#EXT-X-MAP:").len(), 2);
    let sequence = number(&after, "#EXT-X-DISCONTINUITY-SEQUENCE:");
    rig.push(12 * GOP).await;
    let later = rig.text("stream.m3u8").await;
    assert_eq!(later.matches("#EXT-X-DISCONTINUITY\n").count(), 0);
    assert_eq!(number(&later, "#EXT-X-DISCONTINUITY-SEQUENCE:"), sequence + 1);
    assert!(number(&later, "#EXT-X-MEDIA-SEQUENCE:") > number(&after, "#EXT-X-MEDIA-SEQUENCE:"));
}

#[tokio::test]
async fn evicted_segments_can_still_be_fetched_for_a_while() {
    let rig = Rig::started("stream.m3u8").await;
    rig.push(10 * GOP).await;
    let text = rig.text("stream.m3u8").await;
    let first = number(&text, "#EXT-X-MEDIA-SEQUENCE:");
    assert_eq!(rig.get(&format!("seg{:06}.ts", first - 4)).await.status, StatusCode::OK);
    let refusal = rig.refusal(&format!("seg{:06}.ts", first - 5)).await;
    assert!(matches!(refusal, Refusal::Gone { .. }), "{refusal:?}");
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn packaging_ends_some_time_after_the_last_request_and_numbers_rise_when_it_returns() {
    let rig = Rig::with(model::Hls { idle_seconds: 0.3, ..model::Hls::default() });
    let first = rig.ask_then_push("stream.m3u8", GOP + 2).await.text();
    assert_eq!(rig.capture.h264().counters().demand, 1);
    assert!(rig.hls.packaging(&rig.capture));
    until("the encoder is let go", || rig.capture.h264().counters().demand == 0).await;
    assert!(!rig.hls.packaging(&rig.capture));
    let name = first.lines().last().unwrap();
    assert!(matches!(rig.refusal(name).await, Refusal::Gone { .. }));
    rig.restart();
    let second = rig.ask_then_push("stream.m3u8", GOP + 2).await.text();
    assert!(number(&second, "#EXT-X-MEDIA-SEQUENCE:") > number(&first, "#EXT-X-MEDIA-SEQUENCE:"));
    assert!(
        number(&second, "#EXT-X-DISCONTINUITY-SEQUENCE:") > number(&first, "#EXT-X-DISCONTINUITY-SEQUENCE:")
    );
}

#[tokio::test]
async fn a_request_that_waits_longer_than_the_idle_time_keeps_packaging_alive() {
    let rig = Rig::with(model::Hls { idle_seconds: 0.1, ..model::Hls::default() });
    let (answer, ()) = tokio::join!(rig.get("stream.m3u8"), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        rig.push(GOP + 2).await;
    });
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replaced_camera_is_packaged_anew_and_the_old_one_let_go() {
    let mut rig = Rig::started("stream.m3u8").await;
    let first = rig.text("stream.m3u8").await;
    let old = std::mem::replace(&mut rig.capture, Capture::detached(Camera::new("cam", Source::Test {})));
    rig.next.store(0, Ordering::Relaxed);
    let second = rig.ask_then_push("stream.m3u8", GOP + 2).await.text();
    assert!(number(&second, "#EXT-X-MEDIA-SEQUENCE:") > number(&first, "#EXT-X-MEDIA-SEQUENCE:"));
    until("the old camera is let go", || old.h264().counters().demand == 0).await;
    // Also without a request, when the set of cameras is told.
    let old = std::mem::replace(&mut rig.capture, Capture::detached(Camera::new("cam", Source::Test {})));
    rig.hls.cameras(std::slice::from_ref(&rig.capture));
    until("the replaced camera is let go", || old.h264().counters().demand == 0).await;
    rig.next.store(0, Ordering::Relaxed);
    rig.ask_then_push("stream.m3u8", GOP + 2).await;
    rig.hls.cameras(&[]);
    until("the removed camera is let go", || rig.capture.h264().counters().demand == 0).await;
}

#[tokio::test]
async fn a_rate_that_falls_gets_longer_parts_behind_a_discontinuity() {
    let rig = Rig::started("stream_ll.m3u8").await;
    // From 30 pictures a second to 1: the same pictures, times stretched.
    let base = rig.next.load(Ordering::Relaxed);
    for index in 0..24u64 {
        let keyframe = index % 6 == 0;
        let mut data = vec![0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];
        data.extend_from_slice(&[
            0,
            0,
            0,
            1,
            0x68,
            0xce,
            0x3c,
            0x80,
            0,
            0,
            1,
            if keyframe { 0x65 } else { 0x41 },
            1,
        ]);
        rig.capture.h264().push(AccessUnit {
            data: data.into(),
            pts: Duration::from_secs(base / FPS + 1 + index),
            keyframe,
            epoch: 1,
            captured_at: SystemTime::now(),
            captured: Instant::now(),
        });
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    let text = rig.text("stream_ll.m3u8").await;
    assert_eq!(attribute(lines(&text, "#EXT-X-PART-INF:")[0], "PART-TARGET"), "1.10000");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
}

#[tokio::test]
async fn segments_on_disk_follow_the_list_and_a_full_disk_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output_dir = Some(directory.path().to_owned());
    let rig = Rig::with(model::Hls { output_dir, ..model::Hls::default() });
    let camera = directory.path().join("cam");
    std::fs::create_dir(&camera).unwrap();
    for stale in ["seg000001.ts", ".seg000002.ts.part", "keep.txt"] {
        std::fs::write(camera.join(stale), "old").unwrap();
    }
    rig.hls.cameras(std::slice::from_ref(&rig.capture));
    until("packaging starts by itself", || rig.capture.h264().counters().demand == 1).await;
    rig.push(14 * GOP + 2).await;
    let live = rig.text("stream.m3u8").await;
    let playlist = camera.join("stream.m3u8");
    until("the playlist is written", || std::fs::read_to_string(&playlist).is_ok_and(|text| text == live))
        .await;
    for name in live.lines().filter(|line| line.ends_with(".ts")) {
        assert_eq!(std::fs::read(camera.join(name)).unwrap(), rig.get(name).await.body);
    }
    let names: Vec<String> = std::fs::read_dir(&camera)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "stream.m3u8" && !live.contains(name.as_str()))
        .collect();
    let first = number(&live, "#EXT-X-MEDIA-SEQUENCE:");
    let just_left: Vec<String> = (first - 4..first).map(|msn| format!("seg{msn:06}.ts")).collect();
    let (segments, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.ends_with(".ts"));
    assert_eq!(others, ["keep.txt"], "what was left half-written is gone, other people's files stay");
    assert!(segments.iter().all(|name| just_left.contains(name)), "older segments are gone: {segments:?}");

    // A file stands where the directory should be.
    std::fs::remove_dir_all(&camera).unwrap();
    std::fs::write(&camera, "in the way").unwrap();
    rig.push(2 * GOP).await;
    assert_eq!(rig.get("stream.m3u8").await.status, StatusCode::OK);
    std::fs::remove_file(&camera).unwrap();
    rig.push(2 * GOP).await;
    until("writing comes back", || playlist.exists()).await;
    rig.hls.cameras(&[]);
    until("nothing is packaged for a removed camera", || rig.capture.h264().counters().demand == 0).await;
}
