//! One camera and its readers: every picture is taken from the outlet once, packetized once, and written to
//! all of them in one pass.
//!
//! The task that does it runs while somebody reads or waits for a description, and only then holds a
//! subscription: nothing is encoded for nobody. It stays through restarts of the camera; what it knows of
//! the stream (parameter sets, clock, sequence) stays as long as the camera is configured.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::queue::Cut;
use super::reader::Reader;
use super::sdp::Parameters;
use super::stream::{Joining, Stream};
use crate::capture::Capture;
use crate::capture::outlet::Subscription;
use crate::frames::AccessUnit;
use crate::serve::ready::{self, NotReady};

/// How often a wait for the first keyframe looks at the camera's state: a failure ends it early.
const LOOK: Duration = Duration::from_millis(100);
/// A camera that is tried anew for somebody who asks has this long before its failure counts.
const CHANCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Fan {
    capture: Capture,
    inner: Mutex<Inner>,
    /// Of the newest keyframe ever seen: what a description is made of, also while the camera is away.
    parameters: watch::Sender<Option<Arc<Parameters>>>,
    playing: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    /// Readers that play, and waits for a description.
    interested: usize,
    task: Option<AbortOnDropHandle<()>>,
    readers: Vec<Arc<Reader>>,
    stream: Stream,
}

impl Fan {
    /// SSRC, sequence and time begin at `random`.
    pub fn new(capture: Capture, random: [u32; 3]) -> Arc<Self> {
        Arc::new(Self {
            capture,
            inner: Mutex::new(Inner {
                interested: 0,
                task: None,
                readers: Vec::new(),
                stream: Stream::new(Instant::now(), random),
            }),
            parameters: watch::Sender::new(None),
            playing: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        })
    }

    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// Readers that play.
    pub fn playing(&self) -> usize {
        self.playing.load(Ordering::Relaxed)
    }

    /// Pictures that slow readers lost, all together.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What a description is made of: at once when it is known, else from the next keyframe.
    pub async fn parameters(self: &Arc<Self>, patience: Duration) -> Result<Arc<Parameters>, NotReady> {
        let mut known = self.parameters.subscribe();
        if let Some(parameters) = known.borrow_and_update().clone() {
            return Ok(parameters);
        }
        let _interest = self.interest();
        ready::poke(&self.capture);
        let began = tokio::time::Instant::now();
        let mut look = tokio::time::interval(LOOK);
        loop {
            if let Some(parameters) = known.borrow_and_update().clone() {
                return Ok(parameters);
            }
            let waited = began.elapsed();
            let status = self.capture.status();
            let failed = waited >= CHANCE && ready::failed(&status, &status.h264).is_some();
            if failed || waited >= patience {
                return Err(ready::without_keyframe(&status, patience));
            }
            tokio::select! {
                // The sender is in `self`: this cannot fail.
                _ = known.changed() => {}
                _ = look.tick() => {}
            }
        }
    }

    /// Counts a reader in until the seat is dropped. `answer` makes the answer to its PLAY, which comes
    /// before the first picture.
    pub fn play(
        self: &Arc<Self>,
        reader: &Arc<Reader>,
        answer: impl FnOnce(Option<&Joining>) -> Bytes,
    ) -> Result<Seat, Cut> {
        let interest = self.interest();
        ready::poke(&self.capture);
        let now = Instant::now();
        let mut inner = self.inner();
        let joining = inner.stream.join(now);
        reader.play(answer(joining.as_ref()), joining.map(|joining| joining.bytes), now)?;
        inner.readers.push(Arc::clone(reader));
        self.playing.store(inner.readers.len(), Ordering::Relaxed);
        drop(inner);
        Ok(Seat { reader: Arc::clone(reader), interest })
    }

    /// Ends all readers: the camera is gone.
    pub fn end(&self) {
        self.inner().readers.iter().for_each(|reader| reader.end());
    }

    fn interest(self: &Arc<Self>) -> Interest {
        let mut inner = self.inner();
        inner.interested += 1;
        if inner.task.is_none() {
            // First, so that none is missed.
            let retractions = self.capture.h264().retractions();
            let mut subscription = self.capture.h264().subscribe();
            // What is there already is for those who join; it is not written as if it came now.
            while let Some(Some(unit)) = subscription.next().now_or_never() {
                inner.stream.take(&unit, Instant::now());
                self.learn(&inner.stream, &unit);
            }
            let task = tokio::spawn(run(Arc::clone(self), subscription, retractions));
            inner.task = Some(AbortOnDropHandle::new(task));
        }
        Interest(Arc::clone(self))
    }

    /// Writes one picture to all readers.
    fn fan_out(&self, unit: &AccessUnit) {
        let now = Instant::now();
        let mut inner = self.inner();
        let picture = inner.stream.take(unit, now);
        self.learn(&inner.stream, unit);
        let Some(picture) = picture else { return };
        let lost: u64 = inner.readers.iter().map(|reader| reader.picture(&picture, now)).sum();
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Nobody gets what was taken back, here and in the readers' queues.
    fn retract(&self) {
        let mut inner = self.inner();
        inner.stream.forget();
        inner.readers.iter().for_each(|reader| reader.retract());
    }

    fn learn(&self, stream: &Stream, unit: &AccessUnit) {
        let Some(parameters) = stream.parameters().filter(|_| unit.keyframe) else { return };
        self.parameters.send_if_modified(|known| {
            let new = known.as_deref() != Some(parameters);
            if new {
                *known = Some(Arc::new(parameters.clone()));
            }
            new
        });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(fan: Arc<Fan>, mut subscription: Subscription, mut retractions: watch::Receiver<u64>) {
    loop {
        tokio::select! {
            biased;
            // A mask was put on: pictures of before are not given any more.
            Ok(()) = retractions.changed() => fan.retract(),
            unit = subscription.next() => match unit {
                Some(unit) => fan.fan_out(&unit),
                None => break,
            },
        }
    }
}

/// Somebody wants pictures. Without any, the demand for them ends.
#[derive(Debug)]
struct Interest(Arc<Fan>);

impl Drop for Interest {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.interested -= 1;
        if inner.interested == 0 {
            inner.task = None;
            inner.stream.forget();
        }
    }
}

/// A reader's place.
#[derive(Debug)]
pub struct Seat {
    reader: Arc<Reader>,
    interest: Interest,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.reader.stop();
        let fan = &self.interest.0;
        let mut inner = fan.inner();
        inner.readers.retain(|reader| !Arc::ptr_eq(reader, &self.reader));
        fan.playing.store(inner.readers.len(), Ordering::Relaxed);
    }
}
