//! What is promised of the dashboard's files and of `/api/events`, through the real accept loop. The
//! cameras are detached: the tests push their pictures.

// Clippy knows only functions marked `#[test]` as tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "http_contract/client.rs"]
#[allow(dead_code)]
mod client;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Answer, House, picture, until, within};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br");

// ---- The dashboard ----

/// The house and its page; `None` where the dashboard was not built before the binary was.
async fn dashboard(name: &str) -> Option<(House, Answer)> {
    let house = House::open().await;
    let page = house.get("/").await;
    if !page.text().contains("<div id=\"root\">") {
        assert!(page.text().contains("make build"), "the plain page says how the dashboard is built");
        support::skipped(name, "the dashboard is not in the binary: `make web` builds it");
        return None;
    }
    Some((house, page))
}

/// The files that the page names.
fn named(page: &Answer) -> Vec<String> {
    let text = page.text();
    let parts = text.split(['"']).filter(|part| part.starts_with("./"));
    parts.map(|part| part.trim_start_matches('.').to_owned()).collect()
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_kept_by_browsers() {
    let Some((house, page)) = dashboard("every_file_that_the_page_names_is_there_and_kept_by_browsers").await
    else {
        return;
    };
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let files = named(&page);
    assert!(
        files.iter().any(|file| file.ends_with(".js")) && files.iter().any(|file| file.ends_with(".css"))
    );
    assert!(!page.text().contains("=\"/"), "a proxy may serve it below a path of its own");
    for file in files {
        let plain = house.get(&file).await;
        assert_eq!(plain.status, 200, "{file}");
        assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
        let hashed = file.starts_with("/assets/");
        assert_eq!(plain.header("cache-control").unwrap().contains("immutable"), hashed, "{file}");
        let packed = house.ask("GET", &file, &[GZIP]).await;
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        if packed.header("content-encoding").is_some() {
            assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len(), "{file}");
            assert_ne!(packed.header("etag"), plain.header("etag"));
        }
        let head = house.ask("HEAD", &file, &[GZIP]).await;
        assert_eq!(head.header("content-length"), packed.header("content-length"), "{file}");
        assert!(head.body.is_empty());
        let tag = packed.header("etag").unwrap();
        let again = house.ask("GET", &file, &[GZIP, ("If-None-Match", tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
    }
}

#[tokio::test]
async fn files_that_are_not_there_are_said_to_be_gone() {
    let Some((house, _)) = dashboard("files_that_are_not_there_are_said_to_be_gone").await else { return };
    for path in
        ["/assets/index-00000000.js", "/assets/index.html", "/assets/%2e%2e%2findex.html", "/assets/.."]
    {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.error().as_str()), (404, "NOT_FOUND"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "an update may bring it");
    }
}

#[tokio::test]
async fn the_page_may_run_its_own_scripts_only_and_talk_to_the_configured_livekit() {
    let name = "the_page_may_run_its_own_scripts_only_and_talk_to_the_configured_livekit";
    let Some((house, page)) = dashboard(name).await else { return };
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !page.text().contains("<script>"), "nothing inline");
    // People put cameras into pages of their own.
    assert!(page.header("x-frame-options").is_none() && !policy.contains("frame-ancestors"));
    let mut config = (**house.config.borrow()).clone();
    config.livekit.url = Some("wss://rtc.example.org".into());
    house.config.send_replace(Arc::new(config));
    let page = house.get("/").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' wss://rtc.example.org https://rtc.example.org;"), "{policy}");
}

#[tokio::test]
async fn the_root_is_still_the_stream_and_the_snapshot_for_those_who_ask_by_action() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, Duration::ZERO));
    assert_eq!(house.get("/?action=snapshot").await.header("content-type"), Some("image/jpeg"));
    let mut reader = house.watch("/?action=stream").await;
    assert_eq!(within(2.0, "a picture", reader.part()).await.unwrap().number(), 1);
}

// ---- Events ----

/// One client of `/api/events`.
struct Listener {
    stream: TcpStream,
    buffer: String,
    head: Answer,
}

#[derive(Debug)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Listener {
    async fn open(house: &House) -> Self {
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", house.address);
        let mut listener = Self {
            stream: house.send(&request).await,
            buffer: String::new(),
            head: Answer::parse(b"HTTP/1.1 0\r\n\r\n"),
        };
        let head = listener.until_blank("\r\n\r\n").await.unwrap();
        listener.head = Answer::parse(head.as_bytes());
        listener
    }

    /// What comes up to `end`, with it; `None` when the connection ends before.
    async fn until_blank(&mut self, end: &str) -> Option<String> {
        let reading = async {
            loop {
                if let Some(at) = self.buffer.find(end) {
                    let rest = self.buffer.split_off(at + end.len());
                    return Some(std::mem::replace(&mut self.buffer, rest));
                }
                let mut bytes = vec![0; 16 * 1024];
                let read = self.stream.read(&mut bytes).await.unwrap_or(0);
                if read == 0 {
                    return None;
                }
                self.buffer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        };
        within(10.0, "an event or the end", reading).await
    }

    /// The next event; the sizes of the chunks that stand between are passed over.
    async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.until_blank("\n\n").await?;
            let field = |name: &str| {
                let lines = block.lines().map(str::trim_end);
                lines.filter_map(|line| line.strip_prefix(name)).next_back().map(str::to_owned)
            };
            let (Some(name), Some(data)) = (field("event: "), field("data: ")) else { continue };
            let id = field("id: ").map(|id| id.parse().unwrap());
            return Some(Event { id, name, data: serde_json::from_str(&data).unwrap() });
        }
    }
}

#[tokio::test]
async fn the_state_is_pushed_at_once_and_is_what_the_api_says() {
    let house = House::open().await;
    let began = Instant::now();
    let mut listener = Listener::open(&house).await;
    assert_eq!(listener.head.status, 200);
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(listener.head.header(name), Some(value));
    }
    let event = listener.event().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((event.name.as_str(), event.id), ("state", Some(1)));
    let state = event.data;
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    for key in ["started", "now"] {
        state[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    assert!(state["webrtc"]["port"].as_u64().is_some_and(|port| port > 0), "the one that it listens on");
    assert_eq!(state["livekit"]["enabled"], false);
    let ids = |list: &Value| -> Vec<Value> {
        list["cameras"].as_array().unwrap().iter().map(|camera| camera["id"].clone()).collect()
    };
    let listed = house.get("/api/cameras").await.json();
    assert_eq!(ids(&state), ids(&listed));
    let keys = |camera: &Value| camera.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&state["cameras"][0]), keys(&listed["cameras"][0]));
}

#[tokio::test]
async fn a_viewer_that_comes_is_told_to_every_page_in_the_same_event() {
    let house = House::open().await;
    house.front.jpeg().push(picture(1, 100, Duration::ZERO));
    let mut pages = Vec::new();
    for _ in 0..3 {
        let mut page = Listener::open(&house).await;
        page.event().await.unwrap();
        pages.push(page);
    }
    let began = Instant::now();
    let _viewer = house.watch("/stream.mjpg").await;
    let mut ids = Vec::new();
    for page in &mut pages {
        loop {
            let event = page.event().await.unwrap();
            if event.data["cameras"][0]["mjpeg_viewers"] == 1 {
                ids.push(event.id.unwrap());
                break;
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}

#[tokio::test]
async fn pages_that_are_gone_leave_nothing() {
    let house = House::open().await;
    for _ in 0..3 {
        let mut pages = Vec::new();
        for _ in 0..20 {
            pages.push(Listener::open(&house).await);
        }
        assert_eq!(house.state.events.clients(), 20);
        drop(pages);
        until(5.0, "nobody listens", || house.state.events.clients() == 0).await;
    }
}

#[tokio::test]
async fn one_page_too_many_is_told_so_and_gets_in_when_another_leaves() {
    let house = House::open().await;
    let mut pages = Vec::new();
    let refused = loop {
        let page = Listener::open(&house).await;
        if page.head.status != 200 {
            break page;
        }
        pages.push(page);
        assert!(pages.len() < 200, "there is a limit");
    };
    assert_eq!((refused.head.status, refused.head.header("retry-after")), (503, Some("5")));
    let most = pages.len();
    pages.pop();
    until(5.0, "a place is free", || house.state.events.clients() < most).await;
    assert_eq!(Listener::open(&house).await.head.status, 200);
    // Everything else is answered meanwhile.
    assert_eq!(house.get("/health").await.status, 200);
}

#[tokio::test]
async fn the_end_of_the_service_is_said_before_the_connection_ends() {
    let house = House::open().await;
    let mut page = Listener::open(&house).await;
    assert_eq!(page.event().await.unwrap().name, "state");
    house.state.stop.cancel();
    let last = loop {
        let event = page.event().await.expect("a good-bye before the end");
        if event.name != "state" {
            break event;
        }
    };
    assert_eq!(last.name, "bye");
    assert!(page.event().await.is_none());
}

#[tokio::test]
async fn who_asks_for_the_head_of_the_events_listens_to_none() {
    let house = House::open().await;
    let answer = house.ask("HEAD", "/api/events", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(house.state.events.clients(), 0);
}
