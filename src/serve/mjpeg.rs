//! MJPEG over HTTP: an endless `multipart/x-mixed-replace` answer, one part a picture.
//!
//! Owns the count of viewers and, per camera, the one serialized part of the newest picture that all
//! viewers share. There is no queue: a viewer's next part is the newest picture at the moment its
//! socket drains, so a slow one skips and never delays a neighbour. A viewer outlives its camera's
//! outages and its replacement by a reload; it ends when its client goes away, when the service stops,
//! when the output is switched off, or after [`PATIENCE`] without a picture.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::ready::{self, NotReady, Wait};
use crate::capture::Capture;
use crate::capture::outlet::Permit;
use crate::frames::AccessUnit;

/// Unquoted: Fluidd's reader takes the value as it stands.
pub const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";
/// The line before the first part. The one after each part is the end of that part.
const OPENING: &[u8] = b"--frame\r\n";
/// Sent with the picture itself: some readers show a picture only when the next boundary has come.
const CLOSING: &[u8] = b"\r\n--frame\r\n";
/// A stream without a picture for this long ends. Until then the client shows the last one, and goes
/// on by itself when the camera is back.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The MJPEG room. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Mjpeg(Arc<Room>);

#[derive(Debug)]
struct Room {
    /// All cameras; changes when one is added, removed or replaced.
    cameras: watch::Receiver<Arc<[Capture]>>,
    stop: CancellationToken,
    viewers: AtomicUsize,
    parts: AtomicU64,
    desks: Mutex<HashMap<String, Weak<Desk>>>,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Pictures per second at most; none is every picture.
    pub limit: Option<f64>,
    /// Streams open at once, all cameras together.
    pub max_streams: usize,
    /// How old the first picture may be, and how long it may take.
    pub wait: Wait,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("camera {0:?} has its MJPEG output switched off")]
    Disabled(String),
    #[error("{0} streams are open, as many as mjpeg.max_streams allows")]
    Full(usize),
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

impl Mjpeg {
    pub fn new(cameras: watch::Receiver<Arc<[Capture]>>, stop: CancellationToken) -> Self {
        Self(Arc::new(Room {
            cameras,
            stop,
            viewers: AtomicUsize::new(0),
            parts: AtomicU64::new(0),
            desks: Mutex::default(),
        }))
    }

    /// Viewers now, all cameras together, those that still wait for their first picture included.
    pub fn viewers(&self) -> usize {
        self.0.viewers.load(Ordering::Relaxed)
    }

    /// Viewers of one camera now.
    pub fn viewers_of(&self, camera: &str) -> usize {
        self.0
            .desks()
            .get(camera)
            .and_then(Weak::upgrade)
            .map_or(0, |desk| desk.viewers.load(Ordering::Relaxed))
    }

    /// Parts serialized so far: one a picture, however many viewers there are.
    pub fn parts(&self) -> u64 {
        self.0.parts.load(Ordering::Relaxed)
    }

    /// Seats a viewer and waits, bounded, for its first picture.
    pub async fn open(&self, capture: &Capture, request: Request) -> Result<Viewer, Refusal> {
        if !capture.camera().outputs.mjpeg {
            return Err(Refusal::Disabled(capture.id().to_owned()));
        }
        let seat = self.seat(capture.id(), request.max_streams)?;
        let flowing = capture.jpeg().counters().demand > 0;
        let permit = capture.jpeg().demand();
        let first = ready::fresh(capture, flowing, request.wait, &self.0.stop).await?;
        let mut pacer = Pacer::new(request.limit);
        pacer.admit(first.captured);
        let mut cameras = self.0.cameras.clone();
        cameras.mark_unchanged();
        let mut latest = capture.jpeg().latest();
        // A picture that came between is shown at once; the one that is `first` is not shown twice.
        if latest.borrow_and_update().as_ref().is_some_and(|unit| Stamp::of(unit) != Stamp::of(&first)) {
            latest.mark_changed();
        }
        Ok(Viewer {
            camera: capture.id().to_owned(),
            first: Some(first),
            latest,
            permit,
            cameras,
            pacer,
            shown: tokio::time::Instant::now(),
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            stop: Box::pin(self.0.stop.clone().cancelled_owned()),
            seat,
        })
    }

    fn seat(&self, camera: &str, max: usize) -> Result<Seat, Refusal> {
        self.0
            .viewers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1))
            .map_err(|_| Refusal::Full(max))?;
        let mut desks = self.0.desks();
        let desk = match desks.get(camera).and_then(Weak::upgrade) {
            Some(desk) => desk,
            None => {
                desks.retain(|_, desk| desk.strong_count() > 0);
                let desk = Arc::new(Desk::default());
                desks.insert(camera.to_owned(), Arc::downgrade(&desk));
                desk
            }
        };
        desk.viewers.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { room: Arc::clone(&self.0), desk })
    }
}

impl Room {
    fn desks(&self) -> MutexGuard<'_, HashMap<String, Weak<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A viewer's place among all viewers, given back when it is dropped.
#[derive(Debug)]
struct Seat {
    room: Arc<Room>,
    desk: Arc<Desk>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.viewers.fetch_sub(1, Ordering::Relaxed);
        self.desk.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where one camera's newest part is made, once, by the first viewer that wants it.
#[derive(Debug, Default)]
struct Desk {
    viewers: AtomicUsize,
    made: Mutex<Option<(Stamp, Bytes)>>,
}

/// Tells pictures apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    epoch: u64,
    pts: Duration,
    captured: Instant,
}

impl Stamp {
    fn of(unit: &AccessUnit) -> Self {
        Self { epoch: unit.epoch, pts: unit.pts, captured: unit.captured }
    }
}

impl Desk {
    fn part(&self, unit: &AccessUnit, made: &AtomicU64) -> Bytes {
        let stamp = Stamp::of(unit);
        let mut newest = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, part)) = &*newest
            && *of == stamp
        {
            return part.clone();
        }
        let part = serialize(unit);
        made.fetch_add(1, Ordering::Relaxed);
        *newest = Some((stamp, part.clone()));
        part
    }
}

/// One client's stream.
#[derive(Debug)]
pub struct Viewer {
    camera: String,
    first: Option<AccessUnit>,
    latest: watch::Receiver<Option<AccessUnit>>,
    permit: Permit,
    cameras: watch::Receiver<Arc<[Capture]>>,
    pacer: Pacer,
    shown: tokio::time::Instant,
    patience: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    seat: Seat,
}

impl Viewer {
    /// The body of the answer: the opening boundary, then part after part.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send + Sync + 'static {
        futures_util::stream::unfold((self, false), |(mut viewer, opened)| async move {
            if !opened {
                return Some((Bytes::from_static(OPENING), (viewer, true)));
            }
            let part = viewer.next().await?;
            Some((part, (viewer, true)))
        })
    }

    /// The next part; `None` when the stream ends.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(self.show(&first));
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.as_mut() => return None,
                changed = self.cameras.changed() => {
                    changed.ok()?;
                    self.follow()?;
                }
                changed = self.latest.changed() => {
                    changed.ok()?;
                    let newest = self.latest.borrow_and_update().clone();
                    if let Some(unit) = newest
                        && self.pacer.admit(unit.captured)
                    {
                        return Some(self.show(&unit));
                    }
                }
                () = self.patience.as_mut() => {
                    // Set anew only here: a timer that is moved at every picture costs more.
                    let left = PATIENCE.saturating_sub(self.shown.elapsed());
                    if left.is_zero() {
                        return None;
                    }
                    self.patience.as_mut().reset(tokio::time::Instant::now() + left);
                }
            }
        }
    }

    fn show(&mut self, unit: &AccessUnit) -> Bytes {
        self.shown = tokio::time::Instant::now();
        self.seat.desk.part(unit, &self.seat.room.parts)
    }

    /// After a change of the cameras: goes over to the camera that now has this id, or ends.
    fn follow(&mut self) -> Option<()> {
        let cameras = Arc::clone(&self.cameras.borrow_and_update());
        let capture = cameras.iter().find(|capture| capture.id() == self.camera)?;
        if !capture.camera().outputs.mjpeg {
            return None;
        }
        if !Arc::ptr_eq(capture.jpeg(), self.permit.outlet()) {
            self.latest = capture.jpeg().latest();
            self.permit = capture.jpeg().demand();
        }
        Some(())
    }
}

/// One part as it goes over the wire, the following boundary included.
fn serialize(unit: &AccessUnit) -> Bytes {
    let head = format!(
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
        unit.data.len(),
        unix_seconds(unit.captured_at),
    );
    let mut part = BytesMut::with_capacity(head.len() + unit.data.len() + CLOSING.len());
    part.put_slice(head.as_bytes());
    part.put_slice(&unit.data);
    part.put_slice(CLOSING);
    part.freeze()
}

/// Unix seconds with six decimals, as ustreamer writes `X-Timestamp`.
pub fn unix_seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", since.as_secs(), since.subsec_micros())
}

/// Chooses which pictures a viewer with `?fps=` gets. A grid in time, not a distance from the last
/// picture: 20 of a camera's 30 a second are 20, not 15.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    interval: Option<Duration>,
    due: Option<Instant>,
}

impl Pacer {
    pub fn new(limit: Option<f64>) -> Self {
        let interval = limit.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self { interval, due: None }
    }

    /// Whether the picture captured then is shown.
    pub fn admit(&mut self, captured: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let Some(due) = self.due else {
            self.due = Some(captured + interval);
            return true;
        };
        // Cameras jitter: a picture that comes a little early is the one that is due.
        if captured + interval / 4 < due {
            return false;
        }
        let next = due + interval;
        self.due = Some(if next <= captured { captured + interval } else { next });
        true
    }
}

#[cfg(test)]
#[path = "mjpeg_tests.rs"]
mod tests;
