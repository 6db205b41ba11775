//! One camera's recorder: whether it is wanted, and everything that follows from it.
//!
//! One task owns all of it and takes commands one after the other. While a recording is wanted it watches
//! the camera: the supervised attempt runs as long as pictures come, and the file stays open while they do
//! not. While none is wanted it holds the pre-roll, if there is one.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::cutter::Lengths;
use super::disk::{self, Active, Event, Place};
use super::error::RecordError;
use super::index::Index;
use super::preroll::Most;
use super::session::{self, Plan, Standing};
use super::status::{Change, Happened, RecordingState, RecordingStatus};
use crate::capture::Capture;
use crate::config::model::Record;
use crate::supervision::{self, Failure, Handle, Reports, State, Subject, Timing, Vitals};

/// A camera that gives nothing for this long is waited for.
const CAMERA_GRACE: Duration = Duration::from_millis(1500);
/// After so long without anything written an attempt is stalled.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long the end of an attempt is waited for.
const END: Duration = Duration::from_secs(5);
/// How long a disk is waited for that is asked whether there is room.
const LOOK: Duration = Duration::from_secs(4);
/// How long a start is waited for; after that it is answered that it waits.
const START: Duration = Duration::from_secs(3);
/// So much more than the reserve must be free for a full disk to count as free again.
const AGAIN: u64 = 4_000_000;
/// What may wait to be written beside the pre-roll, per camera.
const QUEUE: usize = 24 * 1024 * 1024;

/// What all recorders share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub index: Index,
    pub active: Active,
    pub changes: broadcast::Sender<Change>,
    pub cameras: watch::Receiver<Arc<[Capture]>>,
    pub settings: watch::Receiver<Arc<Record>>,
    pub timing: Timing,
    pub vitals: Vitals,
}

/// How to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// It ends by itself after this long.
    pub duration: Option<Duration>,
}

/// The outside of one recorder.
#[derive(Debug)]
pub struct Recorder {
    camera: String,
    commands: mpsc::Sender<Command>,
    handle: Handle,
    view: watch::Receiver<View>,
    active: Active,
    lost: Arc<AtomicU64>,
    task: StdMutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
enum Command {
    Start(Job, oneshot::Sender<Result<(), RecordError>>),
    Stop(Which, oneshot::Sender<Result<(), RecordError>>),
    End(oneshot::Sender<()>),
}

/// Which recording to stop: another one may have begun since somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Any,
    Continuous,
}

/// A recording that is wanted.
#[derive(Clone, Copy, Debug)]
struct Job {
    continuous: bool,
    ends: Option<(Instant, SystemTime)>,
}

/// What the task tells of itself.
#[derive(Clone, Debug, Default)]
struct View {
    job: Option<Job>,
    /// Whether pictures come.
    pictures: bool,
    /// The present or last file.
    file: Option<disk::Written>,
    /// Whether it is open.
    open: bool,
    error: Option<String>,
    /// How many times it failed.
    failures: u64,
    /// Of the files that are closed.
    bytes: u64,
}

impl Recorder {
    /// Starts its task. Call it inside the runtime.
    pub fn new(camera: &str, shared: Shared) -> Self {
        let standing = Arc::new(Mutex::new(Standing::default()));
        let (events, happened) = mpsc::unbounded_channel();
        let (commands, orders) = mpsc::channel(16);
        let (view, seen) = watch::channel(View::default());
        let lost = Arc::<AtomicU64>::default();
        let making = Making {
            camera: camera.to_owned(),
            settings: shared.settings.clone(),
            directory: shared.index.recordings().to_owned(),
            active: shared.active.clone(),
            events,
            lost: Arc::clone(&lost),
        };
        let (capture, full) = (watch::Sender::new(None), Arc::<AtomicBool>::default());
        let subject = RecorderSubject {
            making: making.clone(),
            standing: Arc::clone(&standing),
            capture: capture.subscribe(),
            full: Arc::clone(&full),
            task: None,
        };
        let handle = supervision::spawn(subject, shared.timing.clone(), &shared.vitals);
        let active = shared.active.clone();
        let tending = Tending {
            settings: shared.settings.clone(),
            cameras: shared.cameras.clone(),
            shared,
            making,
            standing,
            capture,
            full,
            handle: handle.clone(),
            commands: orders,
            events: happened,
            view,
            presence: None,
            rolling: None,
            looking: Looking::default(),
            told: false,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(tending.run()));
        let camera = camera.to_owned();
        Self { camera, commands, handle, view: seen, active, lost, task: StdMutex::new(Some(task)) }
    }

    /// Whether a recording is wanted.
    pub fn wanted(&self) -> bool {
        self.view.borrow().job.is_some()
    }

    pub async fn start(
        &self,
        options: StartOptions,
        continuous: bool,
    ) -> Result<RecordingStatus, RecordError> {
        let ends = options.duration.and_then(|duration| {
            Some((Instant::now().checked_add(duration)?, SystemTime::now().checked_add(duration)?))
        });
        let failures = self.view.borrow().failures;
        self.command(|answer| Command::Start(Job { continuous, ends }, answer)).await?;
        let mut view = self.view.clone();
        let begun = view.wait_for(|view| view.open || view.job.is_none() || view.failures != failures);
        // Its camera may be away: it begins when pictures come.
        let _ = timeout(START, begun).await;
        Ok(self.status())
    }

    pub async fn stop(&self) -> Result<RecordingStatus, RecordError> {
        self.command(|answer| Command::Stop(Which::Any, answer)).await?;
        Ok(self.status())
    }

    /// Stops what the configuration wanted; what somebody else started since goes on.
    pub async fn stop_continuous(&self) -> Result<(), RecordError> {
        self.command(|answer| Command::Stop(Which::Continuous, answer)).await
    }

    /// Ends it for good; its file is closed.
    pub async fn end(&self) {
        let (tell, told) = oneshot::channel();
        if self.commands.send(Command::End(tell)).await.is_ok() {
            let _ = told.await;
        }
        drop(self.task.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.handle.shutdown().await;
    }

    async fn command(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), RecordError>>) -> Command,
    ) -> Result<(), RecordError> {
        let over = || RecordError::Dependency(format!("the recorder of camera {} has ended", self.camera));
        let (tell, told) = oneshot::channel();
        self.commands.send(command(tell)).await.map_err(|_| over())?;
        told.await.map_err(|_| over())?
    }

    pub fn status(&self) -> RecordingStatus {
        let view = self.view.borrow().clone();
        let lifecycle = self.handle.snapshot();
        let state = match view.job {
            None => RecordingState::Off,
            Some(_) if view.open && view.pictures => RecordingState::Recording,
            Some(_) if view.error.is_some() => RecordingState::Failed,
            Some(_) => RecordingState::Waiting,
        };
        let file = view.file.map(|file| self.active.get(&file.name).unwrap_or(file));
        let open = file.as_ref().filter(|_| view.open).map_or(0, |file| file.bytes);
        RecordingStatus {
            bytes_written: view.bytes + open,
            failures: view.failures,
            camera: self.camera.clone(),
            state,
            started_at: file.as_ref().map(|file| file.began),
            duration_seconds: file.as_ref().map_or(0.0, |file| file.duration.as_secs_f64()),
            bytes: file.as_ref().map_or(0, |file| file.bytes),
            name: file.map(|file| file.name),
            continuous: view.job.is_some_and(|job| job.continuous),
            until: view.job.and_then(|job| job.ends).map(|(_, until)| until),
            lost_pictures: self.lost.load(Ordering::Relaxed),
            error: view.error,
            lifecycle,
        }
    }
}

/// What an attempt is made of, by the settings of its moment.
#[derive(Clone, Debug)]
struct Making {
    camera: String,
    settings: watch::Receiver<Arc<Record>>,
    directory: std::path::PathBuf,
    active: Active,
    events: mpsc::UnboundedSender<Event>,
    lost: Arc<AtomicU64>,
}

impl Making {
    fn plan(&self) -> Plan {
        let settings = Arc::clone(&self.settings.borrow());
        let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
        Plan {
            lengths: Lengths {
                fragment: seconds(settings.fragment_seconds),
                segment: seconds(settings.segment_seconds),
                segment_bytes: u64::from(settings.segment_mb) * 1_000_000,
            },
            pre_roll: self.most().map_or(Duration::ZERO, |most| most.time),
            place: Place {
                directory: self.directory.clone(),
                camera: self.camera.clone(),
                template: settings.name.clone(),
                reserve: u64::from(settings.reserve_mb) * 1_000_000,
                queue: QUEUE + self.most().map_or(0, |most| most.bytes),
                active: self.active.clone(),
            },
            events: self.events.clone(),
            lost: Arc::clone(&self.lost),
        }
    }

    /// What the pre-roll may hold; `None` without one.
    fn most(&self) -> Option<Most> {
        let settings = self.settings.borrow();
        let time =
            Duration::try_from_secs_f64(settings.pre_roll_seconds).ok().filter(|time| !time.is_zero())?;
        Some(Most { time, bytes: settings.pre_roll_mb as usize * 1_000_000 })
    }
}

/// What is supervised: one attempt is one run from the outlet to the disk.
#[derive(Debug)]
struct RecorderSubject {
    making: Making,
    standing: Arc<Mutex<Standing>>,
    capture: watch::Receiver<Option<Capture>>,
    /// The last attempt ended because the disk was full.
    full: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Subject for RecorderSubject {
    fn name(&self) -> String {
        format!("recorder {}", self.making.camera)
    }

    fn begin(&mut self, reports: Reports) {
        let Some(capture) = self.capture.borrow().clone() else {
            return reports.failed(Failure::absent(format!("there is no camera {:?}", self.making.camera)));
        };
        let (standing, plan) = (Arc::clone(&self.standing), self.making.plan());
        self.task = Some(tokio::spawn(session::record(standing, capture, plan, reports)));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let task = self.task.take();
        Box::pin(async move {
            if let Some(task) = task {
                task.abort();
                let _ = task.await;
            }
        })
    }

    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        if !self.full.load(Ordering::Relaxed) {
            return None;
        }
        let place = self.making.plan().place;
        Some(Box::pin(async move {
            let look = move || disk::has_room(&place.directory, place.reserve + AGAIN);
            matches!(spawn_blocking(look).await, Ok(Ok(true)))
        }))
    }

    fn expected_fps(&self) -> Option<f64> {
        // Ten intervals without a picture are a stall; pictures are reported a fragment at a time.
        Some(10.0 / PATIENCE.as_secs_f64())
    }
}

/// Somebody who asks a disk, and has no answer yet.
#[derive(Debug, Default)]
struct Looking(Option<JoinHandle<io::Result<bool>>>);

impl Looking {
    /// What `look` says; `None` when nobody has answered within `patience`. One that hangs is waited for again,
    /// and one that answered when nobody waited is of another time.
    async fn ask(
        &mut self,
        look: impl FnOnce() -> io::Result<bool> + Send + 'static,
        patience: Duration,
    ) -> Option<Result<io::Result<bool>, JoinError>> {
        self.0.take_if(|asked| asked.is_finished());
        let asked = self.0.get_or_insert_with(|| spawn_blocking(look));
        let looked = timeout(patience, asked).await.ok()?;
        self.0 = None;
        Some(looked)
    }
}

/// The task of one recorder.
#[derive(Debug)]
struct Tending {
    shared: Shared,
    settings: watch::Receiver<Arc<Record>>,
    cameras: watch::Receiver<Arc<[Capture]>>,
    making: Making,
    standing: Arc<Mutex<Standing>>,
    capture: watch::Sender<Option<Capture>>,
    full: Arc<AtomicBool>,
    handle: Handle,
    commands: mpsc::Receiver<Command>,
    events: mpsc::UnboundedReceiver<Event>,
    view: watch::Sender<View>,
    /// Looks whether the camera gives pictures, while a recording is wanted.
    presence: Option<(watch::Receiver<bool>, AbortOnDropHandle<()>)>,
    rolling: Option<AbortOnDropHandle<()>>,
    /// Asks the disk whether there is room, and has no answer yet.
    looking: Looking,
    /// Whether the start of the present job was told.
    told: bool,
}

impl Tending {
    async fn run(mut self) {
        self.find_camera().await;
        loop {
            let ends = self.view.borrow().job.and_then(|job| job.ends).map(|(at, _)| at);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Start(job, answer)) => {
                        let started = self.start(job).await;
                        let _ = answer.send(started);
                    }
                    Some(Command::Stop(which, answer)) => {
                        let continuous = self.view.borrow().job.is_some_and(|job| job.continuous);
                        let stopped = match which {
                            Which::Continuous if !continuous => Ok(()),
                            _ => self.stop().await,
                        };
                        let _ = answer.send(stopped);
                    }
                    Some(Command::End(answer)) => {
                        let _ = self.stop().await;
                        self.rolling = None;
                        let _ = answer.send(());
                        return;
                    }
                    None => return,
                },
                Some(event) = self.events.recv() => self.take_in(event).await,
                Ok(()) = self.cameras.changed() => self.find_camera().await,
                Ok(()) = self.settings.changed() => self.renew().await,
                pictures = presence(&mut self.presence) => self.pictures(pictures),
                () = at(ends) => drop(self.stop().await),
            }
        }
    }

    async fn start(&mut self, job: Job) -> Result<(), RecordError> {
        let view = self.view.borrow().clone();
        if view.job.is_some() {
            let file = view.file.filter(|_| view.open).map(|file| format!(" into {}", file.name));
            let words = format!(
                "camera {} is being recorded already{}; stop that first",
                self.making.camera,
                file.unwrap_or_default()
            );
            return Err(RecordError::InvalidState(words));
        }
        // What is wanted all the time begins as soon as there is room.
        if !job.continuous {
            self.room().await?;
        }
        self.told = false;
        self.view.send_modify(|view| {
            let (failures, bytes) = (view.failures, view.bytes);
            *view = View { job: Some(job), failures, bytes, ..View::default() };
        });
        self.follow().await;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), RecordError> {
        if self.view.borrow().job.is_none() {
            let words = format!("camera {} is not being recorded", self.making.camera);
            return Err(RecordError::InvalidState(words));
        }
        self.finish().await;
        self.view.send_modify(|view| {
            view.job = None;
            view.error = None;
        });
        self.tell(Happened::Stopped, None);
        self.follow().await;
        Ok(())
    }

    /// Whether there is room to begin at all. A disk that hangs is asked once, however often somebody starts.
    async fn room(&mut self) -> Result<(), RecordError> {
        let place = self.making.plan().place;
        let (directory, reserve) = (place.directory.clone(), place.reserve);
        let look = move || disk::has_room(&directory, reserve);
        let looked = self.looking.ask(look, LOOK).await;
        let directory = place.directory.display();
        let Some(looked) = looked else {
            return Err(RecordError::Dependency(format!("{directory}: the disk does not answer")));
        };
        match looked {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(RecordError::DiskFull(format!(
                "{directory}: less than the reserve of {} MB is free; delete something, or see record.retention",
                place.reserve / 1_000_000
            ))),
            Ok(Err(error)) => Err(RecordError::io(&format!("{directory} cannot be looked at"), &error)),
            Err(error) => Err(RecordError::Dependency(error.to_string())),
        }
    }

    /// Ends the attempt and closes the file.
    async fn finish(&mut self) {
        self.presence = None;
        self.handle.demand(false);
        let mut changes = self.handle.changes();
        let idle = changes.wait_for(|snapshot| matches!(snapshot.state, State::Idle | State::Stopping));
        let _ = timeout(END, idle).await;
        let plan = self.making.plan();
        match timeout(END, self.standing.lock()).await {
            Ok(mut standing) => {
                standing.finish(&plan).await;
                if self.making.most().is_none() {
                    standing.leave();
                }
            }
            Err(_) => {
                tracing::warn!(camera = self.making.camera, "the recording's last attempt does not end")
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event).await;
        }
    }

    /// Other settings: they hold from the next file on, which begins now.
    async fn renew(&mut self) {
        if self.view.borrow().job.is_some() {
            self.finish().await;
        }
        self.follow().await;
    }

    async fn find_camera(&mut self) {
        let list = Arc::clone(&self.cameras.borrow_and_update());
        let found = list.iter().find(|capture| capture.id() == self.making.camera).cloned();
        let same = match (&found, &*self.capture.borrow()) {
            (Some(found), Some(present)) => found.same(present),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.capture.send_replace(found);
        self.pictures(false);
        self.follow().await;
    }

    /// Watches the camera, or holds its pictures, as is wanted now.
    async fn follow(&mut self) {
        self.presence = None;
        if let Some(rolling) = self.rolling.take() {
            // It holds the camera's pictures until it has ended.
            rolling.abort();
            let _ = rolling.await;
        }
        let capture = self.capture.borrow().clone();
        let wanted = self.view.borrow().job.is_some();
        match capture {
            Some(capture) if wanted => {
                let (tell, told) = watch::channel(false);
                let watching = watch_camera(capture, tell);
                self.presence = Some((told, AbortOnDropHandle::new(tokio::spawn(watching))));
            }
            Some(capture) => {
                if let Some(most) = self.making.most() {
                    let rolling = session::roll(Arc::clone(&self.standing), capture, most);
                    self.rolling = Some(AbortOnDropHandle::new(tokio::spawn(rolling)));
                } else {
                    self.leave().await;
                }
            }
            None => {
                if wanted {
                    self.say("its camera is away");
                }
                self.leave().await;
            }
        }
    }

    /// Gives the camera's pictures back, unless an attempt that does not end holds them.
    async fn leave(&self) {
        if let Ok(mut standing) = timeout(END, self.standing.lock()).await {
            standing.leave();
        }
    }

    /// Pictures come, or no longer.
    fn pictures(&mut self, come: bool) {
        let before = self.view.borrow().pictures;
        self.handle.demand(come);
        self.view.send_modify(|view| view.pictures = come);
        let (wanted, open) = (self.view.borrow().job.is_some(), self.view.borrow().open);
        if before && !come && wanted {
            self.tell(Happened::Waiting, Some("the camera gives no pictures".into()));
        }
        if !before && come && open {
            self.tell(Happened::Continued, None);
        }
    }

    fn say(&self, words: &str) {
        tracing::info!(camera = self.making.camera, "the recording waits: {words}");
    }

    async fn take_in(&mut self, event: Event) {
        match event {
            Event::Opened(written) => {
                self.full.store(false, Ordering::Relaxed);
                self.shared.index.opened(&written).await;
                tracing::info!(camera = self.making.camera, "recording into {}", written.name);
                self.view.send_modify(|view| {
                    view.file = Some(written);
                    view.open = true;
                    view.error = None;
                });
                let again = std::mem::replace(&mut self.told, true);
                self.tell(if again { Happened::Continued } else { Happened::Started }, None);
            }
            Event::Closed(written, stamp) => {
                self.shared.index.closed(&written, stamp).await;
                self.shared.active.forget(&written.name);
                self.view.send_modify(|view| {
                    if !written.duration.is_zero() {
                        view.bytes += written.bytes;
                    }
                    if view.file.as_ref().is_some_and(|file| file.name == written.name) {
                        view.file = Some(written).filter(|file| !file.duration.is_zero());
                        view.open = false;
                    }
                });
            }
            Event::Failed { full, message } => {
                self.full.store(full, Ordering::Relaxed);
                if full {
                    self.shared.index.clean_soon();
                }
                let first = self.view.borrow().error.is_none();
                self.view.send_modify(|view| {
                    view.error = Some(message.clone());
                    view.failures += 1;
                });
                if first {
                    self.tell(Happened::Failed, Some(message));
                }
            }
        }
    }

    fn tell(&self, status: Happened, message: Option<String>) {
        let file = self.view.borrow().file.clone();
        let file = file.map(|file| self.shared.active.get(&file.name).unwrap_or(file));
        let change = Change {
            camera: self.making.camera.clone(),
            status,
            duration: file.as_ref().map_or(0.0, |file| file.duration.as_secs_f64()),
            filename: file.map(|file| file.name),
            message,
        };
        // Nobody may be listening.
        let _ = self.shared.changes.send(change);
    }
}

/// Resolves when pictures begin to come, or end.
async fn presence(presence: &mut Option<(watch::Receiver<bool>, AbortOnDropHandle<()>)>) -> bool {
    if let Some((told, _)) = presence
        && told.changed().await.is_ok()
    {
        return *told.borrow_and_update();
    }
    std::future::pending().await
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Keeps the camera's pictures wanted, and tells whether they come.
async fn watch_camera(capture: Capture, tell: watch::Sender<bool>) {
    let outlet = Arc::clone(capture.h264());
    let _permit = outlet.demand();
    loop {
        let since = std::time::Instant::now();
        let mut latest = outlet.latest();
        let fresh = latest.wait_for(|unit| unit.as_ref().is_some_and(|unit| unit.captured >= since));
        if fresh.await.is_err() {
            return;
        }
        drop(latest);
        tell.send_replace(true);
        gone(&capture).await;
        tell.send_replace(false);
    }
}

/// Resolves when the camera has given nothing for a while.
async fn gone(capture: &Capture) {
    let Some(mut changes) = capture.changes() else { return std::future::pending().await };
    loop {
        if changes.wait_for(|snapshot| snapshot.state != State::Live).await.is_err() {
            return;
        }
        let back = changes.wait_for(|snapshot| snapshot.state == State::Live);
        match timeout(CAMERA_GRACE, back).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    #[tokio::test]
    async fn a_disk_that_hangs_is_asked_once_and_what_it_said_when_nobody_waited_is_not_heard() {
        let long = Duration::from_secs(60);
        let mut looking = Looking::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = move || {
            let _ = held.recv();
            Ok(true)
        };
        assert!(looking.ask(hangs, Duration::ZERO).await.is_none());
        assert!(looking.ask(|| panic!("it is asked already"), Duration::ZERO).await.is_none());
        release.send(()).unwrap();
        let deadline = Instant::now() + long;
        while looking.0.as_ref().is_some_and(|asked| !asked.is_finished()) {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        let now = looking.ask(|| Ok(false), long).await.unwrap();
        assert!(!now.unwrap().unwrap(), "it is full by now");
        assert!(looking.0.is_none());
    }

    #[tokio::test]
    async fn what_somebody_started_is_not_stopped_in_place_of_what_the_configuration_wanted() {
        gstreamer::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let settings = watch::Sender::new(Arc::new(Record::default()));
        let capture = Capture::detached(Camera::new("front", Source::Test {}));
        let cameras = watch::Sender::new(Arc::from([capture]));
        let active = Active::default();
        let index = Index::new(directory.path(), Err("none".into()), active.clone(), settings.subscribe());
        let shared = Shared {
            index,
            active,
            changes: broadcast::Sender::new(8),
            cameras: cameras.subscribe(),
            settings: settings.subscribe(),
            timing: Timing::default(),
            vitals: Vitals::new(1),
        };
        let recorder = Recorder::new("front", shared);
        let by_somebody = recorder.start(StartOptions::default(), false).await.unwrap();
        assert_eq!((by_somebody.state, by_somebody.continuous), (RecordingState::Waiting, false));
        let refused = recorder.start(StartOptions::default(), true).await;
        assert!(matches!(refused, Err(RecordError::InvalidState(_))), "{refused:?}");
        recorder.stop_continuous().await.unwrap();
        assert!(recorder.wanted(), "it goes on");
        recorder.stop().await.unwrap();
        assert!(recorder.start(StartOptions::default(), true).await.unwrap().continuous);
        recorder.stop_continuous().await.unwrap();
        assert!(!recorder.wanted());
        recorder.end().await;
    }
}
