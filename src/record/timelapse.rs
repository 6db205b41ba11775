//! Timelapses: a picture every so often, as a video. Each is a keyframe of the camera's own stream, taken
//! when its time comes and written with another time: nothing is decoded, and the encoder runs only for the
//! moment.
//!
//! A task for each, which owns its file. A camera that gives nothing costs a picture, counted; a disk that
//! fails is told, and tried again with the next picture.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::cutter::{Cutter, Lengths, Step};
use super::disk::{Active, Event, Place, Writer};
use super::error::RecordError;
use super::index::Index;
use crate::capture::Capture;
use crate::frames::AccessUnit;
use crate::supervision::Reports;
use crate::telemetry;

/// Pictures closer together are a recording.
pub const SHORTEST: Duration = Duration::from_secs(1);
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// A picture is waited for at most this long.
const PATIENCE: Duration = Duration::from_secs(15);
/// And the disk.
const DISK: Duration = Duration::from_secs(4);
/// A file ends before a player's times run over.
const FILE: Duration = Duration::from_secs(86_400);
const FILE_BYTES: u64 = 4_000_000_000;
const QUEUE: usize = 24 * 1024 * 1024;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelapseOptions {
    /// Between two pictures.
    pub interval: Duration,
    /// Pictures per second of the video, 1 to 60.
    pub fps: u32,
    /// It ends by itself with so many.
    pub pictures: Option<u64>,
}

impl TimelapseOptions {
    fn check(&self) -> Result<(), RecordError> {
        let bad = |words: String| Err(RecordError::Invalid(words));
        if !(SHORTEST..=LONGEST).contains(&self.interval) {
            return bad("the interval of a timelapse is 1 second to a day".into());
        }
        if !(1..=60).contains(&self.fps) {
            return bad(format!("{} pictures per second are not possible: 1 to 60", self.fps));
        }
        if self.pictures == Some(0) {
            return bad("a timelapse has at least one picture".into());
        }
        Ok(())
    }
}

/// A camera's timelapse: the one that runs, or the last one.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TimelapseStatus {
    pub camera: String,
    pub running: bool,
    /// The recording it goes into; `null` before its first picture.
    pub name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub started_at: SystemTime,
    pub interval_seconds: f64,
    pub fps: u32,
    /// Taken so far.
    pub pictures: u64,
    /// The camera gave nothing, or the disk took nothing, when their time came.
    pub missed: u64,
    /// How many it will have; `null`: until it is stopped.
    pub expected: Option<u64>,
    pub progress_percent: Option<f64>,
    /// What went wrong last, in words.
    pub error: Option<String>,
}

/// One that runs or has run.
#[derive(Debug)]
pub struct Timelapse {
    status: watch::Receiver<TimelapseStatus>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a timelapse is made with.
#[derive(Clone, Debug)]
pub struct With {
    pub index: Index,
    pub active: Active,
    pub cameras: watch::Receiver<Arc<[Capture]>>,
    /// Template of the recordings' names.
    pub template: String,
}

impl Timelapse {
    /// Begins one. Call it inside the runtime.
    ///
    /// # Errors
    /// When the options make no sense.
    pub fn begin(camera: &str, options: TimelapseOptions, with: With) -> Result<Self, RecordError> {
        options.check()?;
        let (tell, status) = watch::channel(TimelapseStatus {
            camera: camera.to_owned(),
            running: true,
            name: None,
            started_at: SystemTime::now(),
            interval_seconds: options.interval.as_secs_f64(),
            fps: options.fps,
            pictures: 0,
            missed: 0,
            expected: options.pictures,
            progress_percent: options.pictures.map(|_| 0.0),
            error: None,
        });
        let place = Place {
            directory: with.index.recordings().to_owned(),
            camera: camera.to_owned(),
            template: format!("{}_timelapse", with.template),
            reserve: with.index.reserve(),
            queue: QUEUE,
            active: with.active.clone(),
        };
        let (events, happenings) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let lapse =
            Lapse { options, with, place, happenings, tell, stop: stop.clone(), file: None, taken: 0 };
        let task = Mutex::new(Some(tokio::spawn(lapse.run(events))));
        Ok(Self { status, stop, task })
    }

    pub fn status(&self) -> TimelapseStatus {
        self.status.borrow().clone()
    }

    /// Ends it; returns when its file is closed, or that takes too long.
    pub async fn end(&self) -> TimelapseStatus {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && timeout(2 * DISK, task).await.is_err()
        {
            tracing::warn!("a timelapse was not closed within {:?}: the disk is slow or hangs", 2 * DISK);
        }
        self.status()
    }
}

/// The task of one timelapse.
struct Lapse {
    options: TimelapseOptions,
    with: With,
    place: Place,
    happenings: mpsc::UnboundedReceiver<Event>,
    tell: watch::Sender<TimelapseStatus>,
    stop: CancellationToken,
    file: Option<(Cutter, Writer)>,
    taken: u64,
}

impl Lapse {
    async fn run(mut self, events: mpsc::UnboundedSender<Event>) {
        self.take_all(&events).await;
        if let Some((mut cutter, writer)) = self.file.take() {
            order(&writer, cutter.finish());
        }
        // Nobody tells anything any more when the writer's thread has closed its file.
        drop(events);
        let closed = async {
            while let Some(event) = self.happenings.recv().await {
                if let Some(words) = self.take_in(event).await {
                    self.tell.send_modify(|status| status.error = Some(words));
                }
            }
        };
        if timeout(DISK, closed).await.is_err() {
            tracing::warn!(camera = self.place.camera, "the timelapse's file is not closed yet");
        }
        self.tell.send_modify(|status| status.running = false);
    }

    /// Until it has them all, or is stopped; what is being written then is written.
    async fn take_all(&mut self, events: &mpsc::UnboundedSender<Event>) {
        let stop = self.stop.clone();
        let mut times = interval(self.options.interval);
        times.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let patience = PATIENCE.min(self.options.interval.max(Duration::from_secs(2)));
            let waiting = async {
                times.tick().await;
                timeout(patience, self.picture()).await
            };
            let Some(picture) = stop.run_until_cancelled(waiting).await else { return };
            let taken = match picture {
                Ok(Some(unit)) => self.write(unit, events).await,
                Ok(None) | Err(_) => Err("the camera gave no picture when its time came".to_owned()),
            };
            let expected = self.options.pictures;
            self.tell.send_modify(|status| match taken {
                Ok(()) => {
                    status.pictures += 1;
                    status.error = None;
                    status.progress_percent =
                        expected.map(|all| (status.pictures as f64 * 100.0 / all as f64).min(100.0));
                }
                Err(words) => {
                    status.missed += 1;
                    status.error = Some(words);
                }
            });
            if expected.is_some_and(|all| self.taken >= all) {
                return;
            }
        }
    }

    /// A keyframe of now.
    async fn picture(&self) -> Option<AccessUnit> {
        let list = Arc::clone(&self.with.cameras.borrow());
        let capture = list.iter().find(|capture| capture.id() == self.place.camera).cloned()?;
        let asked = std::time::Instant::now();
        let mut pictures = capture.h264().subscribe();
        capture.request_keyframe();
        loop {
            let unit = pictures.next().await?;
            if unit.keyframe && unit.captured >= asked {
                return Some(unit);
            }
        }
    }

    async fn write(&mut self, unit: AccessUnit, events: &mpsc::UnboundedSender<Event>) -> Result<(), String> {
        let (mut cutter, writer) = match self.file.take() {
            Some(file) => file,
            None => {
                let lengths =
                    Lengths { fragment: Duration::from_secs(1), segment: FILE, segment_bytes: FILE_BYTES };
                let writer = Writer::start(self.place.clone(), events.clone());
                (Cutter::new(lengths), writer.map_err(|error| error.to_string())?)
            }
        };
        let pts = Duration::from_secs(self.taken) / self.options.fps;
        let mut steps = cutter.push(AccessUnit { pts, epoch: 1, ..unit });
        steps.extend(cutter.settle());
        steps.extend(cutter.flush());
        order(&writer, steps);
        if timeout(DISK, writer.done()).await.is_err() {
            tracing::warn!(camera = self.place.camera, "a picture of the timelapse is not yet on the disk");
        }
        match self.happened().await {
            Some(words) => Err(words),
            None => {
                self.taken += 1;
                self.file = Some((cutter, writer));
                Ok(())
            }
        }
    }

    /// Takes in what happened on the disk; what went wrong, in words.
    async fn happened(&mut self) -> Option<String> {
        let mut failure = None;
        while let Ok(event) = self.happenings.try_recv() {
            failure = self.take_in(event).await.or(failure);
        }
        failure
    }

    async fn take_in(&self, event: Event) -> Option<String> {
        match event {
            Event::Opened(written) => {
                self.with.index.opened(&written).await;
                self.tell.send_modify(|status| status.name = Some(written.name));
            }
            Event::Closed(written, stamp) => {
                self.with.index.closed(&written, stamp).await;
                self.with.active.forget(&written.name);
            }
            Event::Failed { message, .. } => return Some(message),
        }
        None
    }
}

/// Has it done, by the writer's thread.
fn order(writer: &Writer, steps: Vec<Step>) {
    let reports = Reports::detached(0);
    for step in steps {
        match step {
            Step::Open(head) => drop(writer.open(head, &reports)),
            // One picture after the other: the queue is never full.
            Step::Fragment(fragment) => drop(writer.append(fragment, &reports)),
            Step::Close => writer.close(),
        }
    }
}
