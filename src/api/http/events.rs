//! `/api/events`: how the house is, pushed to pages as server-sent events (WHATWG HTML, section 9.2).
//!
//! One task ([`produce`]) looks at the cameras and writes the state down once for all clients, and only
//! while there is one: at once when a camera's lifecycle changes, else at the next look, at most one
//! event in [`SPACING`], at least one in [`REFRESH`]. A camera that comes or goes is told of however short ago
//! the last event was. There is no queue: a client that reads slowly gets the newest state when its socket
//! drains. The stream ends with `bye` when the service stops.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use warp::Reply;
use warp::http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::answer::{Fault, Response};
use super::cameras::{self, CameraView};
use super::{AppState, Request};
use crate::cameras::Cameras;
use crate::livekit;
use crate::printers::view::PrinterView;
use crate::supervision::any_change;
use crate::telemetry;

/// Events are at least this far apart, but for cameras that come and go.
const SPACING: Duration = Duration::from_millis(500);
/// And those are too.
const LEAST: Duration = Duration::from_millis(20);
/// How often the house is looked at for what tells nobody that it changed: viewers, formats, outputs.
const LOOK: Duration = Duration::from_secs(1);
/// An event is sent this often though nothing changed: for the figures, and to find clients that vanished.
const REFRESH: Duration = Duration::from_secs(5);
/// Clients at once. Each is a connection and a few hundred bytes.
const CLIENTS: usize = 64;
/// How long a browser waits before it asks again after a stream ended.
const RETRY: &str = "retry: 2000\n\n";
const BYE: &[u8] = b"event: bye\ndata: {}\n\n";

/// The data of an event `state`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HouseView {
    version: &'static str,
    /// When the service started: another one means a restart.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    started: SystemTime,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    now: SystemTime,
    cameras: Vec<CameraView>,
    /// With everything that is known of each but its access code.
    printers: Vec<PrinterView>,
    webrtc: WebrtcView,
    livekit: LiveKitView,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WebrtcView {
    /// Whether a camera can be watched by WHEP.
    enabled: bool,
    /// Of the media: UDP.
    port: u16,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LiveKitView {
    /// Whether viewers get tokens: `/webrtc/config` says what is missing.
    enabled: bool,
}

/// The newest event and those who wait for it. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Events(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    /// `None` while nobody listens: what was true then is not told later.
    latest: watch::Sender<Option<Bytes>>,
    wanted: Notify,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Hub { latest: watch::Sender::new(None), wanted: Notify::new() }))
    }
}

impl Events {
    /// Clients now.
    pub fn clients(&self) -> usize {
        self.0.latest.receiver_count()
    }

    fn subscribe(&self) -> Option<watch::Receiver<Option<Bytes>>> {
        if self.clients() >= CLIENTS {
            return None;
        }
        let mut latest = self.0.latest.subscribe();
        // What others were told last holds for this one too.
        latest.mark_changed();
        self.0.wanted.notify_one();
        Some(latest)
    }

    fn tell(&self, event: Option<Bytes>) {
        self.0.latest.send_replace(event);
    }
}

pub fn events(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    if *request.method == Method::HEAD {
        return Ok(event_stream(stream::empty()));
    }
    let latest = state.events.subscribe().ok_or_else(|| {
        let message = format!("{CLIENTS} pages listen already, as many as there may be; close some");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CLIENTS", message, json!({ "most": CLIENTS }))
            .with(header::RETRY_AFTER, 5)
    })?;
    Ok(event_stream(follow(latest, state.stop.clone())))
}

fn event_stream(body: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response {
    let mut response = warp::reply::stream(body.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events back until its buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// One client's stream: every event that it is quick enough for, `bye` at the end.
fn follow(
    latest: watch::Receiver<Option<Bytes>>,
    stop: CancellationToken,
) -> impl Stream<Item = Bytes> + Send + Sync {
    let opening = stream::once(future::ready(Bytes::from_static(RETRY.as_bytes())));
    let news = stream::unfold(Some((latest, stop)), |going| async {
        let (mut latest, stop) = going?;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Some((Bytes::from_static(BYE), None)),
                changed = latest.changed() => changed.ok()?,
            }
            let event = latest.borrow_and_update().clone();
            if let Some(event) = event {
                return Some((event, Some((latest, stop))));
            }
        }
    });
    opening.chain(news)
}

/// Writes events while somebody listens, until the service stops.
pub async fn produce(state: AppState) {
    let stop = state.stop.clone();
    let view = || {
        let view = serde_json::to_value(view(&state));
        view.inspect_err(|error| tracing::error!(%error, "the state could not be written as JSON")).ok()
    };
    let producing = run(&state.events, view, || changes(&state.cameras));
    stop.run_until_cancelled(producing).await;
}

/// What ends when there is a change after it was made.
struct Changes<L, S> {
    /// Of a camera's lifecycle.
    life: L,
    /// Of the set of cameras or where one is plugged in.
    set: S,
}

/// `view` is the state now; `changes` are those after its call.
async fn run<L: Future<Output = ()>, S: Future<Output = ()>>(
    events: &Events,
    view: impl Fn() -> Option<Value>,
    changes: impl Fn() -> Changes<L, S>,
) {
    let mut count = 0_u64;
    let mut told: Option<(Instant, u64)> = None;
    loop {
        if events.clients() == 0 {
            events.tell(None);
            told = None;
            events.0.wanted.notified().await;
            continue;
        }
        let Changes { life, set } = changes();
        if let Some(view) = view() {
            let essence = essence(&view);
            let due = |(at, before): (Instant, u64)| before != essence || at.elapsed() >= REFRESH;
            if told.is_none_or(due) {
                count += 1;
                told = Some((Instant::now(), essence));
                events.tell(Some(format!("id: {count}\nevent: state\ndata: {view}\n\n").into()));
            }
        }
        sleep(LEAST).await;
        let calm = async {
            sleep(SPACING - LEAST).await;
            // Nothing that happens in the meantime is lost: the next look sees it.
            let _ = timeout(LOOK - SPACING, life).await;
        };
        tokio::select! {
            () = calm => {}
            () = set => {}
        }
    }
}

fn changes(cameras: &Cameras) -> Changes<impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>> {
    let mut list = cameras.watch();
    list.mark_unchanged();
    let life = any_change(cameras.all().iter().filter_map(|capture| capture.changes()));
    // The set lives as long as the service.
    let set = async move { drop(list.changed().await) };
    Changes { life, set }
}

fn view(state: &AppState) -> HouseView {
    let config = state.config();
    HouseView {
        version: env!("CARGO_PKG_VERSION"),
        started: state.started.at,
        now: SystemTime::now(),
        cameras: state.cameras.all().iter().map(|capture| cameras::view(state, capture)).collect(),
        printers: state.printers.list().iter().map(|entry| PrinterView::of(entry, false, true)).collect(),
        webrtc: WebrtcView {
            enabled: config.cameras.iter().any(|camera| camera.outputs.whep),
            port: state.whep.port(),
        },
        livekit: LiveKitView { enabled: livekit::viewer::missing(&config).is_empty() },
    }
}

/// What must be the same for nothing to have changed: all words and their places, and the numbers that
/// count something rare. Figures that always move and times of day are not news.
fn essence(view: &Value) -> u64 {
    const NEWS: &[&str] = &["attempts", "restarts", "frozen", "demand", "port"];
    const PRINTS: &[&str] = &["percent", "remainingMinutes", "layer", "speedLevel"];
    const VIEWERS: &[&str] = &["mjpeg_viewers", "mjpeg", "webrtc", "rtsp", "hls"];
    const TIMES: &[&str] = &["now", "since", "next_try", "lastUpdate"];
    fn walk(key: &str, value: &Value, hasher: &mut DefaultHasher) {
        key.hash(hasher);
        match value {
            Value::Number(number) => {
                if [NEWS, PRINTS, VIEWERS].iter().any(|news| news.contains(&key)) {
                    number.hash(hasher);
                }
            }
            Value::String(_) if TIMES.contains(&key) => {}
            Value::String(text) => text.hash(hasher),
            Value::Array(list) => {
                list.len().hash(hasher);
                list.iter().for_each(|each| walk(key, each, hasher));
            }
            Value::Object(map) => map.iter().for_each(|(key, value)| walk(key, value, hasher)),
            Value::Bool(_) | Value::Null => value.hash(hasher),
        }
    }
    let mut hasher = DefaultHasher::new();
    walk("", view, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::pin::pin;

    use super::*;

    /// The text of the next event and when it came, with the clock paused.
    async fn next(stream: &mut (impl Stream<Item = Bytes> + Unpin)) -> (String, Instant) {
        let event = timeout(Duration::from_secs(60), stream.next()).await.unwrap().unwrap();
        (String::from_utf8(event.to_vec()).unwrap(), Instant::now())
    }

    struct Rig {
        view: RefCell<Value>,
        looks: Cell<u32>,
        changed: Notify,
        plugged: Notify,
        events: Events,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                view: RefCell::new(json!({ "state": "live", "fps": 30 })),
                looks: Cell::new(0),
                changed: Notify::new(),
                plugged: Notify::new(),
                events: Events::default(),
            }
        }

        /// Runs the producer beside `test`.
        async fn during(&self, test: impl Future<Output = ()>) {
            let look = || {
                self.looks.set(self.looks.get() + 1);
                Some(self.view.borrow().clone())
            };
            let changes = || Changes { life: self.changed.notified(), set: self.plugged.notified() };
            tokio::select! {
                () = run(&self.events, look, changes) => {}
                () = test => {}
            }
        }

        fn client(&self) -> impl Stream<Item = Bytes> + Unpin + use<> {
            Box::pin(follow(self.events.subscribe().unwrap(), CancellationToken::new()))
        }

        fn change(&self, state: &str) {
            self.view.replace(json!({ "state": state, "fps": 30 }));
            self.changed.notify_waiters();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_comes_at_once_at_each_change_and_at_least_every_five_seconds() {
        let rig = Rig::new();
        rig.during(async {
            let began = Instant::now();
            let mut client = rig.client();
            assert_eq!(next(&mut client).await.0, "retry: 2000\n\n");
            let (event, at) = next(&mut client).await;
            assert_eq!(event, "id: 1\nevent: state\ndata: {\"state\":\"live\",\"fps\":30}\n\n");
            assert_eq!(at, began);
            // Only figures move.
            rig.view.replace(json!({ "state": "live", "fps": 29 }));
            let (event, at) = next(&mut client).await;
            assert!(event.starts_with("id: 2\n") && at - began == REFRESH, "{event} {:?}", at - began);
            sleep(SPACING * 3 / 2).await;
            let changed = Instant::now();
            rig.change("stalled");
            let (event, at) = next(&mut client).await;
            assert!(event.contains("stalled") && at == changed, "{event} {:?}", at - changed);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn changes_in_quick_succession_are_one_event() {
        let rig = Rig::new();
        rig.during(async {
            let mut client = rig.client();
            next(&mut client).await;
            let (_, first) = next(&mut client).await;
            for state in ["stalled", "backing_off", "starting", "live again"] {
                sleep(Duration::from_millis(100)).await;
                rig.change(state);
            }
            let (event, at) = next(&mut client).await;
            assert!(event.starts_with("id: 2\n") && event.contains("live again"), "{event}");
            assert!(at - first >= SPACING, "{:?}", at - first);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_camera_that_comes_or_goes_is_told_of_however_short_ago_the_last_event_was() {
        let rig = Rig::new();
        rig.during(async {
            let mut client = rig.client();
            next(&mut client).await;
            next(&mut client).await;
            for wait in [1, 30, 300, 700] {
                sleep(Duration::from_millis(wait)).await;
                let plugged = Instant::now();
                rig.view.replace(json!({ "cameras": vec!["one"; wait as usize] }));
                rig.plugged.notify_waiters();
                let (_, at) = next(&mut client).await;
                assert!(at - plugged <= LEAST, "{wait} ms: {:?}", at - plugged);
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_nobody_tells_is_seen_within_a_second() {
        let rig = Rig::new();
        rig.during(async {
            let mut client = rig.client();
            next(&mut client).await;
            let (_, first) = next(&mut client).await;
            rig.view.replace(json!({ "state": "live", "viewers": { "mjpeg": 1 } }));
            let (event, at) = next(&mut client).await;
            assert!(event.contains("mjpeg") && at - first <= LOOK, "{event}");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_produced_for_nobody_and_old_news_is_not_told() {
        let rig = Rig::new();
        rig.during(async {
            sleep(Duration::from_secs(60)).await;
            assert_eq!(rig.looks.get(), 0);
            let mut client = rig.client();
            next(&mut client).await;
            next(&mut client).await;
            drop(client);
            sleep(LOOK).await;
            let looks = rig.looks.get();
            rig.change("stalled");
            sleep(Duration::from_secs(60)).await;
            assert_eq!((rig.looks.get(), rig.events.clients()), (looks, 0));
            let mut client = rig.client();
            next(&mut client).await;
            assert!(next(&mut client).await.0.contains("stalled"));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_client_gets_the_same_bytes_at_once() {
        let rig = Rig::new();
        rig.during(async {
            let mut first = rig.client();
            next(&mut first).await;
            let event = first.next().await.unwrap();
            sleep(Duration::from_millis(100)).await;
            let began = Instant::now();
            let mut second = rig.client();
            next(&mut second).await;
            let same = second.next().await.unwrap();
            assert_eq!((same.as_ptr(), Instant::now()), (event.as_ptr(), began), "shared, not copied");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_the_newest_state_only() {
        let rig = Rig::new();
        rig.during(async {
            let mut slow = rig.client();
            next(&mut slow).await;
            next(&mut slow).await;
            for number in 0..20 {
                rig.change(&format!("state {number}"));
                sleep(SPACING * 2).await;
            }
            assert!(next(&mut slow).await.0.contains("state 19"));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_clients() {
        let events = Events::default();
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| events.subscribe().unwrap()).collect();
        assert!(events.subscribe().is_none());
        clients.pop();
        assert!(events.subscribe().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_service_is_said_and_ends_the_stream() {
        let (events, stop) = (Events::default(), CancellationToken::new());
        let mut client = pin!(follow(events.subscribe().unwrap(), stop.clone()));
        next(&mut client).await;
        stop.cancel();
        assert_eq!(next(&mut client).await.0, "event: bye\ndata: {}\n\n");
        assert!(client.next().await.is_none());
    }

    #[test]
    fn words_and_counts_are_news_and_moving_figures_are_not() {
        let base = json!({ "now": "a", "cameras": [{ "id": "x", "state": "live", "fps": 30.0, "frames": 5,
            "since": "2026-01-01T00:00:00.000Z", "frame_age_seconds": 0.1, "viewers": { "mjpeg": 0 },
            "last_error": null, "notes": [], "jpeg": { "bytes": 3, "demand": 0 } }] });
        let with = |pointer: &str, value: Value| {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            essence(&changed) != essence(&base)
        };
        for (pointer, value, news) in [
            ("/now", json!("b"), false),
            ("/cameras/0/fps", json!(29.9), false),
            ("/cameras/0/frames", json!(6), false),
            ("/cameras/0/frame_age_seconds", json!(0.2), false),
            ("/cameras/0/since", json!("2026-01-01T00:00:00.001Z"), false),
            ("/cameras/0/jpeg/bytes", json!(4), false),
            ("/cameras/0/jpeg/demand", json!(1), true),
            ("/cameras/0/frame_age_seconds", json!(null), true),
            ("/cameras/0/state", json!("stalled"), true),
            ("/cameras/0/last_error", json!("refused"), true),
            ("/cameras/0/viewers/mjpeg", json!(1), true),
            ("/cameras/0/notes", json!(["x"]), true),
            ("/cameras", json!([]), true),
        ] {
            assert_eq!(with(pointer, value.clone()), news, "{pointer} {value}");
        }
    }
}
