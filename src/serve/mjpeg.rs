//! MJPEG over HTTP: an endless `multipart/x-mixed-replace` answer, one part a picture.
//!
//! Owns the count of viewers and, per camera, a desk: the one serialized part of the newest picture that
//! all viewers share, and the task that wakes them. Pictures come from GStreamer's threads, and waking a
//! task from another thread costs a system call; the desk is woken that way and wakes its viewers on
//! their own thread, where it is almost free. There is no queue: a viewer's next part is the newest picture at the moment its
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
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ready::{self, NotReady, Wait};
use crate::capture::Capture;
use crate::capture::outlet::{Outlet, Permit};
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
        let seat = self.seat(capture, request.max_streams)?;
        let flowing = capture.jpeg().counters().demand > 0;
        let permit = capture.jpeg().demand();
        let first = ready::fresh(capture, flowing, request.wait, &self.0.stop).await?;
        let mut pacer = Pacer::new(request.limit);
        pacer.admit(first.captured);
        let mut cameras = self.0.cameras.clone();
        cameras.mark_unchanged();
        // The desk is never ahead of the outlet that gave `first`: what it has now is this one or older.
        let latest = seat.desk.subscribe();
        Ok(Viewer {
            camera: capture.id().to_owned(),
            seen: Stamp::of(&first),
            first: Some(first),
            latest,
            permit,
            cameras,
            pacer,
            shown: tokio::time::Instant::now(),
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            seat,
        })
    }

    fn seat(&self, capture: &Capture, max: usize) -> Result<Seat, Refusal> {
        self.0
            .viewers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1))
            .map_err(|_| Refusal::Full(max))?;
        let desk = self.0.desk(capture);
        desk.viewers.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { room: Arc::clone(&self.0), desk })
    }
}

impl Room {
    fn desks(&self) -> MutexGuard<'_, HashMap<String, Weak<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk of this camera, made when there is none.
    fn desk(&self, capture: &Capture) -> Arc<Desk> {
        let mut desks = self.desks();
        if let Some(desk) = desks.get(capture.id()).and_then(Weak::upgrade)
            && Arc::ptr_eq(&desk.outlet, capture.jpeg())
        {
            return desk;
        }
        desks.retain(|_, desk| desk.strong_count() > 0);
        let desk = Arc::new(Desk::open(capture.jpeg(), self.cameras.clone(), self.stop.clone()));
        desks.insert(capture.id().to_owned(), Arc::downgrade(&desk));
        desk
    }
}

/// A viewer's place among all viewers, given back when it is dropped.
#[derive(Debug)]
struct Seat {
    room: Arc<Room>,
    desk: Arc<Desk>,
}

impl Seat {
    /// Goes over to another desk.
    fn move_to(&mut self, desk: Arc<Desk>) {
        desk.viewers.fetch_add(1, Ordering::Relaxed);
        let left = std::mem::replace(&mut self.desk, desk);
        left.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.viewers.fetch_sub(1, Ordering::Relaxed);
        self.desk.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where one camera's newest part is made, once, by the first viewer that wants it. Exists while somebody
/// is seated.
#[derive(Debug)]
struct Desk {
    outlet: Arc<Outlet>,
    viewers: AtomicUsize,
    made: Mutex<Option<(Stamp, Bytes)>>,
    newest: watch::Receiver<Option<AccessUnit>>,
    _relay: AbortOnDropHandle<()>,
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
    fn open(outlet: &Arc<Outlet>, cameras: watch::Receiver<Arc<[Capture]>>, stop: CancellationToken) -> Self {
        let mut latest = outlet.latest();
        let sender = watch::Sender::new(latest.borrow_and_update().clone());
        let newest = sender.subscribe();
        Self {
            outlet: Arc::clone(outlet),
            viewers: AtomicUsize::new(0),
            made: Mutex::default(),
            newest,
            _relay: AbortOnDropHandle::new(tokio::spawn(relay(latest, cameras, stop, sender))),
        }
    }

    /// What comes after the present picture, and a wake-up for everything else that viewers heed.
    fn subscribe(&self) -> watch::Receiver<Option<AccessUnit>> {
        let mut newest = self.newest.clone();
        newest.mark_unchanged();
        newest
    }

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

/// Hands on what the outlet gives, and wakes the viewers also when the cameras change. Ends, and with it
/// all streams, when the service stops.
async fn relay(
    mut latest: watch::Receiver<Option<AccessUnit>>,
    mut cameras: watch::Receiver<Arc<[Capture]>>,
    stop: CancellationToken,
    newest: watch::Sender<Option<AccessUnit>>,
) {
    loop {
        let changed = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = cameras.changed() => changed,
            changed = latest.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        // Always with the newest picture: a viewer that has just joined may have seen it already, and
        // must not get an older one.
        newest.send_replace(latest.borrow_and_update().clone());
    }
}

/// One client's stream.
#[derive(Debug)]
pub struct Viewer {
    camera: String,
    first: Option<AccessUnit>,
    /// The last picture that was shown or passed over.
    seen: Stamp,
    latest: watch::Receiver<Option<AccessUnit>>,
    permit: Permit,
    cameras: watch::Receiver<Arc<[Capture]>>,
    pacer: Pacer,
    shown: tokio::time::Instant,
    patience: Pin<Box<Sleep>>,
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
                changed = self.latest.changed() => {
                    changed.ok()?;
                    if self.cameras.has_changed().ok()? {
                        self.follow()?;
                    }
                    let newest = self.latest.borrow_and_update().clone();
                    if let Some(unit) = newest
                        && std::mem::replace(&mut self.seen, Stamp::of(&unit)) != Stamp::of(&unit)
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
            self.seat.move_to(self.seat.room.desk(capture));
            self.latest = self.seat.desk.newest.clone();
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
