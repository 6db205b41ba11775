//! The actor with subjects made for the test, on a paused clock: an hour of failing takes milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::supervision::failure::Failure;
use crate::supervision::vitals::Doom;

/// How the subject's camera behaves; changed by the test while it runs.
#[derive(Debug)]
struct Camera {
    /// Answers knocks.
    present: AtomicBool,
    /// Answers attempts with pictures.
    works: AtomicBool,
    /// Gives pictures on connections that are open.
    flows: AtomicBool,
    refuses: AtomicBool,
    /// The network is gone: knocks, attempts and pictures vanish, and nothing fails.
    black_hole: AtomicBool,
    hangs_on_stop: AtomicBool,
    fps: AtomicU64,
    /// From the answer to the first picture.
    start_ms: AtomicU64,
    open: AtomicUsize,
    most_open: AtomicUsize,
    begun: Mutex<Vec<Instant>>,
    reports: Mutex<Option<Reports>>,
    knocks: AtomicUsize,
    /// How often the actor looked.
    looks: AtomicUsize,
}

#[derive(Debug)]
struct Fake {
    camera: Arc<Camera>,
    task: Option<tokio::task::JoinHandle<()>>,
    panics: bool,
}

impl Subject for Fake {
    fn name(&self) -> String {
        "camera porch".into()
    }

    fn begin(&mut self, reports: Reports) {
        assert!(!self.panics, "as the test wishes");
        let camera = Arc::clone(&self.camera);
        camera.begun.lock().unwrap().push(Instant::now());
        let open = camera.open.fetch_add(1, Ordering::SeqCst) + 1;
        camera.most_open.fetch_max(open, Ordering::SeqCst);
        *camera.reports.lock().unwrap() = Some(reports.clone());
        self.task = Some(tokio::spawn(async move {
            // As TCP does: the first packet is sent again after 1 s, then twice as long each time.
            let mut again = Duration::from_secs(1);
            while camera.black_hole.load(Ordering::SeqCst) {
                tokio::time::sleep(again).await;
                again *= 2;
            }
            tokio::time::sleep(Duration::from_millis(camera.start_ms.load(Ordering::SeqCst))).await;
            if camera.refuses.load(Ordering::SeqCst) {
                return reports.failed(Failure::refused("401 Unauthorized"));
            }
            if !camera.works.load(Ordering::SeqCst) {
                return reports.failed(Failure::absent("connection refused"));
            }
            // A connection that lost its peer for a while is given up by both.
            let mut deaf = false;
            loop {
                deaf |= camera.black_hole.load(Ordering::SeqCst);
                if camera.flows.load(Ordering::SeqCst) && !deaf {
                    reports.frame();
                }
                let fps = camera.fps.load(Ordering::SeqCst) as f64;
                tokio::time::sleep(Duration::from_secs_f64(1.0 / fps)).await;
                if !camera.works.load(Ordering::SeqCst) {
                    return reports.failed(Failure::broken("the connection broke"));
                }
            }
        }));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let (camera, task) = (Arc::clone(&self.camera), self.task.take());
        Box::pin(async move {
            if camera.hangs_on_stop.load(Ordering::SeqCst) {
                // The test's own stand-in for a thread that never comes back.
                camera.open.fetch_sub(1, Ordering::SeqCst);
                return std::future::pending().await;
            }
            if let Some(task) = task {
                task.abort();
                let _ = task.await;
            }
            camera.open.fetch_sub(1, Ordering::SeqCst);
        })
    }

    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        let camera = Arc::clone(&self.camera);
        camera.knocks.fetch_add(1, Ordering::SeqCst);
        Some(Box::pin(async move {
            if camera.black_hole.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            camera.present.load(Ordering::SeqCst)
        }))
    }

    fn expected_fps(&self) -> Option<f64> {
        self.camera.looks.fetch_add(1, Ordering::SeqCst);
        Some(self.camera.fps.load(Ordering::SeqCst) as f64)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Camera {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            present: true.into(),
            works: true.into(),
            flows: true.into(),
            refuses: false.into(),
            black_hole: false.into(),
            hangs_on_stop: false.into(),
            fps: 30.into(),
            start_ms: 300.into(),
            open: 0.into(),
            most_open: 0.into(),
            begun: Mutex::default(),
            reports: Mutex::default(),
            knocks: 0.into(),
            looks: 0.into(),
        })
    }

    fn supervised(self: &Arc<Self>, vitals: &Vitals) -> Handle {
        let fake = Fake { camera: Arc::clone(self), task: None, panics: false };
        spawn(fake, Timing::default(), vitals)
    }

    fn attempts(&self) -> usize {
        self.begun.lock().unwrap().len()
    }

    fn set(flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::SeqCst);
    }

    fn vanish(&self) {
        Self::set(&self.present, false);
        Self::set(&self.works, false);
    }

    fn come_back(&self) {
        Self::set(&self.present, true);
        Self::set(&self.works, true);
    }
}

/// Waits for a state and says how long it took; a minute at most.
async fn reach(handle: &Handle, state: State) -> Duration {
    let since = Instant::now();
    let mut changes = handle.changes();
    let reached = changes.wait_for(|snapshot| snapshot.state == state);
    match timeout(Duration::from_secs(600), reached).await {
        Ok(Ok(_)) => since.elapsed(),
        _ => panic!("{state:?} not reached: {:?}", handle.snapshot()),
    }
}

async fn live() -> (Arc<Camera>, Handle) {
    let camera = Camera::new();
    let handle = camera.supervised(&Vitals::new(0));
    handle.demand(true);
    reach(&handle, State::Live).await;
    (camera, handle)
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_picture_makes_it_live_at_once() {
    let camera = Camera::new();
    let handle = camera.supervised(&Vitals::new(0));
    pass(5.0).await;
    assert_eq!((handle.snapshot().state, camera.attempts()), (State::Idle, 0));
    handle.demand(true);
    let took = reach(&handle, State::Live).await;
    assert!(took < Duration::from_millis(310), "{took:?}");
    pass(10.0).await;
    assert!((handle.fps() - 30.0).abs() < 1.5, "{}", handle.fps());
    assert!((295..=320).contains(&handle.frames()), "{}", handle.frames());
    let age = handle.frame_age(Instant::now().into_std());
    assert!(age.is_some_and(|age| age < Duration::from_millis(50)), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_returns_after_any_time_gives_pictures_within_two_seconds() {
    for outage in [0.2, 3.0, 61.0, 7_200.0] {
        let (camera, handle) = live().await;
        pass(40.0).await;
        camera.vanish();
        pass(outage).await;
        camera.come_back();
        let took = reach(&handle, State::Live).await;
        assert!(took <= Duration::from_secs(2), "{took:?} after {outage} s away");
        assert_eq!(camera.most_open.load(Ordering::SeqCst), 1);
        assert_eq!(handle.snapshot().restarts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_kills_in_a_row_are_survived() {
    let (camera, handle) = live().await;
    for kill in 1..=20 {
        camera.vanish();
        pass(1.5).await;
        camera.come_back();
        let took = reach(&handle, State::Live).await;
        assert!(took <= Duration::from_millis(2_500), "{took:?} at kill {kill}");
        pass(2.0).await;
    }
    assert_eq!(handle.snapshot().restarts, 20);
    let frames = handle.frames();
    pass(1.0).await;
    assert!(handle.frames() > frames);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_camera_is_kept_open_and_resumes_on_the_same_connection() {
    let (camera, handle) = live().await;
    Camera::set(&camera.flows, false);
    let took = reach(&handle, State::Stalled).await;
    assert!(took <= Duration::from_millis(2_100), "{took:?}");
    assert_eq!(handle.fps(), 0.0);
    assert_eq!(camera.attempts(), 1);
    camera.begun.lock().unwrap().clear();
    // However long it is frozen, an attempt is open for it to resume on (but while one is exchanged).
    pass(3_600.0).await;
    let tries = camera.attempts();
    assert!((60..=400).contains(&tries), "{tries} attempts in an hour");
    while handle.snapshot().state != State::Stalled {
        pass(0.1).await;
    }
    Camera::set(&camera.flows, true);
    let took = reach(&handle, State::Live).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_black_holed_camera_is_back_within_two_seconds() {
    let (camera, handle) = live().await;
    let mut took = Vec::new();
    for round in 0..200 {
        Camera::set(&camera.black_hole, true);
        pass(20.0 + f64::from(round) * 0.73).await;
        Camera::set(&camera.black_hole, false);
        if handle.snapshot().state == State::Live {
            panic!("live in a black hole");
        }
        took.push(reach(&handle, State::Live).await);
        pass(f64::from(round % 7) * 10.0).await;
    }
    took.sort();
    // The slowest: an attempt had just begun, and waits for TCP's own retry 3 s after its start.
    assert!(took[199] <= Duration::from_millis(2_500), "{:?}", took[199]);
    assert!(took[190] <= Duration::from_secs(2), "p95 {:?}", took[190]);
    assert_eq!(camera.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_refuses_is_tried_every_five_minutes_until_somebody_asks() {
    let camera = Camera::new();
    Camera::set(&camera.refuses, true);
    let handle = camera.supervised(&Vitals::new(0));
    handle.demand(true);
    reach(&handle, State::Refused).await;
    pass(3_000.0).await;
    let tries = camera.attempts();
    assert!((9..=11).contains(&tries), "{tries}");
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.last_error.as_deref(), Some("401 Unauthorized"));
    assert!(snapshot.next_try.is_some());
    Camera::set(&camera.refuses, false);
    pass(15.0).await;
    handle.poke();
    let took = reach(&handle, State::Live).await;
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_knock_from_before_an_attempt_says_nothing_about_it() {
    let camera = Camera::new();
    Camera::set(&camera.refuses, true);
    let handle = camera.supervised(&Vitals::new(0));
    handle.demand(true);
    reach(&handle, State::Refused).await;
    pass(20.0).await;
    Camera::set(&camera.black_hole, true);
    let knocks = camera.knocks.load(Ordering::SeqCst);
    while camera.knocks.load(Ordering::SeqCst) == knocks {
        pass(0.01).await;
    }
    // That knock is lost. An attempt that begins beside it takes its time, and is not cut short.
    Camera::set(&camera.black_hole, false);
    Camera::set(&camera.refuses, false);
    camera.start_ms.store(3_500, Ordering::SeqCst);
    pass(0.3).await;
    handle.poke();
    reach(&handle, State::Live).await;
    assert_eq!(camera.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_answers_but_fails_stays_on_the_plain_back_off() {
    let camera = Camera::new();
    Camera::set(&camera.works, false);
    let handle = camera.supervised(&Vitals::new(0));
    handle.demand(true);
    pass(3_600.0).await;
    // Plain back-off: about 30 s apart on average once it has reached 60 s.
    let tries = camera.attempts();
    assert!((70..=220).contains(&tries), "{tries} attempts in an hour");
    let knocks = camera.knocks.load(Ordering::SeqCst);
    assert!((3_000..=3_601).contains(&knocks), "{knocks} knocks in an hour");
}

#[tokio::test(start_paused = true)]
async fn while_live_it_wakes_about_once_in_two_seconds() {
    let (camera, handle) = live().await;
    pass(10.0).await;
    camera.looks.store(0, Ordering::SeqCst);
    pass(200.0).await;
    let looks = camera.looks.load(Ordering::SeqCst);
    assert!((90..=120).contains(&looks), "{looks} in 200 s");
    handle.demand(false);
    reach(&handle, State::Idle).await;
    let looks = camera.looks.load(Ordering::SeqCst);
    pass(200.0).await;
    assert_eq!(camera.looks.load(Ordering::SeqCst), looks, "idle is idle");
    assert_eq!(camera.knocks.load(Ordering::SeqCst), 0, "nobody knocks on what is live or not wanted");
}

#[tokio::test(start_paused = true)]
async fn a_slow_camera_is_not_stalled() {
    let camera = Camera::new();
    camera.fps.store(1, Ordering::SeqCst);
    let handle = camera.supervised(&Vitals::new(0));
    handle.demand(true);
    reach(&handle, State::Live).await;
    pass(300.0).await;
    assert_eq!((handle.snapshot().state, camera.attempts()), (State::Live, 1));
    assert!((handle.fps() - 1.0).abs() < 0.05, "{}", handle.fps());
}

#[tokio::test(start_paused = true)]
async fn late_pictures_of_an_old_attempt_make_nothing_live() {
    let (camera, handle) = live().await;
    let old = camera.reports.lock().unwrap().clone().unwrap();
    camera.vanish();
    reach(&handle, State::BackingOff).await;
    let frames = handle.frames();
    for _ in 0..50 {
        old.frame();
        pass(0.1).await;
        assert_ne!(handle.snapshot().state, State::Live);
    }
    assert!(handle.frames() <= frames + 50);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_on_stop_is_counted_and_the_process_doomed_past_the_limit() {
    let camera = Camera::new();
    let vitals = Vitals::new(2);
    let handle = camera.supervised(&vitals);
    handle.demand(true);
    reach(&handle, State::Live).await;
    Camera::set(&camera.hangs_on_stop, true);
    handle.restart();
    reach(&handle, State::Stopping).await;
    let took = reach(&handle, State::Live).await;
    assert!((5..6).contains(&took.as_secs()), "{took:?}");
    assert_eq!((handle.snapshot().frozen, vitals.frozen()), (1, 1));
    handle.restart();
    let doom = timeout(Duration::from_secs(10), vitals.doomed()).await;
    assert_eq!(doom, Ok(Doom::Frozen { count: 2 }));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_subject_and_is_bounded() {
    let (camera, handle) = live().await;
    handle.shutdown().await;
    assert_eq!(camera.open.load(Ordering::SeqCst), 0);
    assert_eq!(handle.snapshot().state, State::Idle);
    assert_eq!(Arc::strong_count(&camera), 1, "the subject is gone");
    handle.demand(true);
    handle.shutdown().await;
    assert_eq!(camera.attempts(), 1);

    let (camera, handle) = live().await;
    Camera::set(&camera.hangs_on_stop, true);
    let since = Instant::now();
    handle.shutdown().await;
    assert!(since.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_subject() {
    let (camera, handle) = live().await;
    let mut changes = handle.changes();
    drop(handle.clone());
    pass(1.0).await;
    assert_eq!(changes.borrow().state, State::Live);
    drop(handle);
    let gone = async { while changes.changed().await.is_ok() {} };
    assert!(timeout(Duration::from_secs(5), gone).await.is_ok());
    assert_eq!(camera.open.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&camera), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_starts_and_stops_leave_nothing_open() {
    let (camera, handle) = live().await;
    for _ in 0..10_000 {
        handle.demand(false);
        reach(&handle, State::Idle).await;
        handle.demand(true);
        reach(&handle, State::Starting).await;
    }
    assert_eq!(camera.most_open.load(Ordering::SeqCst), 1);
    assert!(Arc::strong_count(&camera) < 10, "{}", Arc::strong_count(&camera));
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_panics_is_noticed() {
    let camera = Camera::new();
    let vitals = Vitals::new(0);
    let handle = spawn(Fake { camera, task: None, panics: true }, Timing::default(), &vitals);
    handle.demand(true);
    let doom = timeout(Duration::from_secs(1), vitals.doomed()).await;
    assert_eq!(doom, Ok(Doom::LoopDied { name: "camera porch".into() }));
    handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn its_heart_beats_in_every_state() {
    let camera = Camera::new();
    let vitals = Vitals::new(0);
    let handle = camera.supervised(&vitals);
    for _ in 0..4 {
        pass(100.0).await;
        assert_eq!(vitals.overdue(), None);
        handle.demand(true);
        pass(100.0).await;
        assert_eq!(vitals.overdue(), None);
        camera.vanish();
        pass(100.0).await;
        assert_eq!(vitals.overdue(), None);
        camera.come_back();
        handle.demand(false);
    }
}

/// A subject whose pictures the test feeds from outside the runtime, as GStreamer does.
struct Threaded {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Subject for Threaded {
    fn name(&self) -> String {
        "camera yard".into()
    }

    fn begin(&mut self, reports: Reports) {
        let stop = Arc::clone(&self.stop);
        stop.store(false, Ordering::SeqCst);
        self.thread = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                reports.frame();
                std::thread::sleep(Duration::from_millis(2));
            }
        }));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take();
        Box::pin(async move {
            let joined = tokio::task::spawn_blocking(move || thread.map(std::thread::JoinHandle::join));
            let _ = joined.await;
        })
    }
}

#[tokio::test]
async fn pictures_from_another_thread_wake_the_actor() {
    let vitals = Vitals::new(0);
    let subject = Threaded { stop: Arc::default(), thread: None };
    let handle = spawn(subject, Timing::default(), &vitals);
    for _ in 0..50 {
        handle.demand(true);
        let took = reach(&handle, State::Live).await;
        assert!(took < Duration::from_secs(1), "no timer: woken by the picture, {took:?}");
        handle.demand(false);
        reach(&handle, State::Idle).await;
    }
    assert!(handle.frames() >= 50);
    handle.shutdown().await;
}
