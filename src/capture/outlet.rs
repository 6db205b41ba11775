//! An outlet: the point where encoded pictures of one codec leave a camera.
//!
//! It outlives pipelines: a camera's outlets exist from configuration to removal, and viewers stay
//! subscribed while the source behind them restarts. Encoders [`Outlet::push`] from GStreamer threads
//! (never blocking: a ring, not a queue per viewer); consumers hold a [`Permit`], which is what starts
//! and stops the encoder, and read either the newest picture ([`Outlet::latest`]: MJPEG, snapshots) or
//! every access unit ([`Outlet::subscribe`]: HLS and everything that needs an unbroken stream).
//!
//! A consumer that falls behind the ring loses whole access units, counted, and resumes at an IDR.
//! The current group of pictures is kept (bounded in bytes and time) so that a new consumer starts
//! at once from its IDR.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::frames::{AccessUnit, Codec};

/// Access units that a consumer may lag before it starts to lose them: about 4 s at 30 fps.
const RING: usize = 128;
/// Bounds of the kept GOP. A camera with longer GOPs simply has no instant start.
const GOP_BYTES: usize = 8 * 1024 * 1024;
const GOP_TIME: Duration = Duration::from_secs(12);

/// One codec's way out of one camera.
#[derive(Debug)]
pub struct Outlet {
    codec: Codec,
    latest: watch::Sender<Option<AccessUnit>>,
    demand: watch::Sender<usize>,
    /// The ring's sender and the kept GOP change under one lock, so that a new subscriber gets every
    /// access unit exactly once: from the GOP or from the ring.
    stream: Mutex<Stream>,
    /// How often what was given before was taken back.
    retracted: watch::Sender<u64>,
    frames: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Stream {
    ring: broadcast::Sender<AccessUnit>,
    gop: VecDeque<AccessUnit>,
    gop_bytes: usize,
    rhythm: Option<Rhythm>,
    /// Epoch and time of the last keyframe.
    keyframe: Option<(u64, Duration)>,
}

/// How far apart a stream's keyframes have been since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    pub shortest: Duration,
    pub longest: Duration,
}

/// Counters since the outlet was made, for health, metrics and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct OutletCounters {
    /// Pictures that came out of the encoder or the camera.
    pub frames: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Pictures that slow consumers lost, all consumers together.
    pub dropped: u64,
    /// Consumers that hold a permit now.
    pub demand: usize,
}

impl Outlet {
    pub fn new(codec: Codec) -> Arc<Self> {
        Arc::new(Self {
            codec,
            latest: watch::Sender::new(None),
            demand: watch::Sender::new(0),
            stream: Mutex::new(Stream {
                ring: broadcast::Sender::new(RING),
                gop: VecDeque::new(),
                gop_bytes: 0,
                rhythm: None,
                keyframe: None,
            }),
            retracted: watch::Sender::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Takes one picture from the encoder. Called from streaming threads: it never blocks on a consumer.
    pub fn push(&self, unit: AccessUnit) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(unit.data.len() as u64, Ordering::Relaxed);
        if self.codec == Codec::H264 {
            let mut stream = self.stream();
            stream.keep(&unit);
            // No receiver is not an error: nobody is watching.
            let _ = stream.ring.send(unit.clone());
        }
        self.latest.send_replace(Some(unit));
    }

    /// Forgets the kept GOP of this epoch: the stream ended, and nobody may start from its last pictures.
    /// A later epoch that has begun meanwhile keeps its own.
    pub fn end_stream(&self, epoch: u64) {
        let mut stream = self.stream();
        if stream.keyframe.is_some_and(|(present, _)| present == epoch) {
            stream.forget();
        }
    }

    /// How regularly keyframes come; `None` until two have come.
    pub fn rhythm(&self) -> Option<Rhythm> {
        self.stream().rhythm
    }

    /// Forgets the newest picture as well: nobody watched, so it stopped being the newest.
    pub fn clear(&self) {
        self.stream().forget();
        self.latest.send_if_modified(|latest| latest.take().is_some());
    }

    /// Takes back what nobody has read yet: no consumer gets a picture from before this any more, however far it
    /// is behind. Each goes on at the next keyframe.
    pub fn retract(&self) {
        let mut stream = self.stream();
        stream.forget();
        self.retracted.send_modify(|count| *count += 1);
        drop(stream);
        self.latest.send_if_modified(|latest| latest.take().is_some());
    }

    /// Changes with every [`Outlet::retract`], for those who keep pictures of their own.
    pub fn retractions(&self) -> watch::Receiver<u64> {
        self.retracted.subscribe()
    }

    /// Counts a consumer in until the permit is dropped. The encoder runs while there is one.
    pub fn demand(self: &Arc<Self>) -> Permit {
        self.demand.send_modify(|count| *count += 1);
        Permit { outlet: Arc::clone(self) }
    }

    /// The number of permits, to be awaited by whoever starts and stops the encoder.
    pub fn demanded(&self) -> watch::Receiver<usize> {
        self.demand.subscribe()
    }

    /// The newest picture and a way to await the next one. Pictures in between are skipped: this is for
    /// viewers that want "now". Hold a [`Permit`] beside it.
    pub fn latest(&self) -> watch::Receiver<Option<AccessUnit>> {
        self.latest.subscribe()
    }

    /// Every access unit from now on, beginning with the kept GOP if there is one.
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        let permit = self.demand();
        let stream = self.stream();
        let (backlog, ring) = (stream.gop.clone(), stream.ring.subscribe());
        let retracted = *self.retracted.borrow();
        drop(stream);
        Subscription { backlog, ring, retracted, place: Place::default(), dropped: 0, permit }
    }

    pub fn counters(&self) -> OutletCounters {
        OutletCounters {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            demand: *self.demand.borrow(),
        }
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        // The lock guards plain data that is whole after every statement: a panic elsewhere cannot
        // have left it half-written.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Takes in how long it was since the last keyframe.
    fn count(&mut self, keyframe: &AccessUnit) {
        let before = self.keyframe.replace((keyframe.epoch, keyframe.pts));
        if let Some((_, pts)) = before.filter(|(epoch, _)| *epoch == keyframe.epoch) {
            let interval = keyframe.pts.saturating_sub(pts);
            let rhythm = self.rhythm.get_or_insert(Rhythm { shortest: interval, longest: interval });
            rhythm.shortest = rhythm.shortest.min(interval);
            rhythm.longest = rhythm.longest.max(interval);
        }
    }

    fn forget(&mut self) {
        self.gop.clear();
        self.gop_bytes = 0;
        self.rhythm = None;
        self.keyframe = None;
    }

    fn keep(&mut self, unit: &AccessUnit) {
        if unit.keyframe {
            self.count(unit);
        }
        if unit.keyframe || self.gop.back().is_some_and(|last| last.epoch != unit.epoch) {
            self.gop.clear();
            self.gop_bytes = 0;
        }
        if self.gop.is_empty() && !unit.keyframe {
            return;
        }
        self.gop_bytes += unit.data.len();
        self.gop.push_back(unit.clone());
        let began = self.gop.front().map_or(unit.pts, |first| first.pts);
        if self.gop_bytes > GOP_BYTES || unit.pts.saturating_sub(began) > GOP_TIME {
            self.gop.clear();
            self.gop_bytes = 0;
        }
    }
}

/// Proof that somebody wants this outlet's pictures. Dropping it withdraws the demand.
#[derive(Debug)]
pub struct Permit {
    outlet: Arc<Outlet>,
}

impl Permit {
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.outlet.demand.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A consumer's reading of the stream. Always begins at an IDR picture, and begins again at one after
/// a loss or a restart of the camera.
#[derive(Debug)]
pub struct Subscription {
    backlog: VecDeque<AccessUnit>,
    ring: broadcast::Receiver<AccessUnit>,
    retracted: u64,
    place: Place,
    dropped: u64,
    permit: Permit,
}

/// Where in the stream a consumer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Has had nothing yet: what passes before the first keyframe was never promised.
    #[default]
    Joining,
    /// In step with this epoch.
    Following(u64),
    /// Lost something: pictures are passed over, counted, until the next keyframe.
    Lost,
}

impl Subscription {
    /// The next access unit; waits for as long as the camera gives none. `None` only when the outlet
    /// is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<AccessUnit> {
        loop {
            let unit = match self.backlog.pop_front() {
                Some(unit) => unit,
                None => match self.ring.recv().await {
                    Ok(unit) => unit,
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        self.lost(count);
                        self.place = Place::Lost;
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            if *self.permit.outlet.retracted.borrow() != self.retracted {
                self.begin_again();
                continue;
            }
            if unit.keyframe || self.place == Place::Following(unit.epoch) {
                self.place = Place::Following(unit.epoch);
                return Some(unit);
            }
            if self.place != Place::Joining {
                self.place = Place::Lost;
                self.lost(1);
            }
        }
    }

    /// What it has not read is taken back: it goes on with what came since.
    fn begin_again(&mut self) {
        let outlet = &self.permit.outlet;
        let stream = outlet.stream();
        self.retracted = *outlet.retracted.borrow();
        (self.backlog, self.ring) = (stream.gop.clone(), stream.ring.subscribe());
        drop(stream);
        self.place = Place::Joining;
    }

    /// How often pictures had been taken back when the last one was given: it is not of before that.
    pub fn generation(&self) -> u64 {
        self.retracted
    }

    /// Whole access units that this consumer lost by being slow.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn lost(&mut self, count: u64) {
        self.dropped += count;
        self.permit.outlet.dropped.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn unit(epoch: u64, ms: u64, keyframe: bool) -> AccessUnit {
        AccessUnit {
            data: Bytes::from_static(&[0; 1000]),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch,
            captured_at: SystemTime::now(),
            captured: Instant::now(),
        }
    }

    fn times(subscription: &mut Subscription) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(Some(unit)) = subscription.next().now_or_never() {
            times.push(unit.pts.as_millis() as u64);
        }
        times
    }

    #[test]
    fn a_new_consumer_starts_at_once_from_the_kept_gop_and_misses_nothing() {
        let outlet = Outlet::new(Codec::H264);
        for (ms, keyframe) in [(0, true), (40, false), (80, true), (120, false)] {
            outlet.push(unit(1, ms, keyframe));
        }
        let mut late = outlet.subscribe();
        outlet.push(unit(1, 160, false));
        assert_eq!(times(&mut late), [80, 120, 160]);
        assert_eq!(late.dropped(), 0);
    }

    #[test]
    fn without_a_kept_gop_a_consumer_waits_for_the_next_keyframe_and_has_lost_nothing() {
        let outlet = Outlet::new(Codec::H264);
        outlet.push(unit(1, 0, true));
        outlet.end_stream(1);
        let mut consumer = outlet.subscribe();
        for (ms, keyframe) in [(40, false), (80, true), (120, false)] {
            outlet.push(unit(1, ms, keyframe));
        }
        assert_eq!(times(&mut consumer), [80, 120]);
        assert_eq!((consumer.dropped(), outlet.counters().dropped), (0, 0));
    }

    #[test]
    fn what_was_taken_back_reaches_nobody_however_far_behind() {
        let outlet = Outlet::new(Codec::H264);
        let mut behind = outlet.subscribe();
        for (ms, keyframe) in [(0, true), (40, false), (80, true), (120, false)] {
            outlet.push(unit(1, ms, keyframe));
        }
        let mut joined = outlet.subscribe();
        outlet.retract();
        assert!(outlet.latest().borrow().is_none());
        for (ms, keyframe) in [(160, false), (200, true), (240, false)] {
            outlet.push(unit(1, ms, keyframe));
        }
        for consumer in [&mut behind, &mut joined, &mut outlet.subscribe()] {
            assert_eq!(times(consumer), [200, 240]);
        }
        outlet.push(unit(1, 280, false));
        assert_eq!(times(&mut behind), [280]);
    }

    #[test]
    fn a_restart_of_the_camera_begins_with_a_keyframe() {
        let outlet = Outlet::new(Codec::H264);
        let mut consumer = outlet.subscribe();
        for (epoch, ms, keyframe) in
            [(1, 0, true), (1, 40, false), (2, 7, false), (2, 47, true), (2, 87, false)]
        {
            outlet.push(unit(epoch, ms, keyframe));
        }
        assert_eq!(times(&mut consumer), [0, 40, 47, 87]);
        assert_eq!(consumer.dropped(), 1);
    }

    #[test]
    fn a_consumer_behind_the_ring_loses_whole_pictures_up_to_a_keyframe_counted() {
        let outlet = Outlet::new(Codec::H264);
        let mut slow = outlet.subscribe();
        let many = RING as u64 + 50;
        for n in 0..many {
            outlet.push(unit(1, n, n % 60 == 0));
        }
        let seen = times(&mut slow);
        assert_eq!(seen[0], 60, "the first keyframe that the ring still holds");
        assert_eq!(seen.len() as u64 + slow.dropped(), many);
        assert_eq!(outlet.counters().dropped, slow.dropped());
    }

    #[test]
    fn the_kept_gop_is_bounded_in_bytes_and_in_time() {
        let outlet = Outlet::new(Codec::H264);
        for n in 0..=GOP_BYTES as u64 / 1000 {
            outlet.push(unit(1, n / 100, n == 0));
        }
        assert_eq!(times(&mut outlet.subscribe()), [0; 0], "too many bytes: nothing is kept");
        outlet.push(unit(1, 100_000, true));
        outlet.push(unit(1, 100_000 + GOP_TIME.as_millis() as u64, false));
        assert_eq!(times(&mut outlet.subscribe()).len(), 2);
        outlet.push(unit(1, 100_001 + GOP_TIME.as_millis() as u64, false));
        assert_eq!(times(&mut outlet.subscribe()), [0; 0], "too long");
    }

    #[test]
    fn pictures_are_shared_and_never_copied_however_many_take_them() {
        let outlet = Outlet::new(Codec::H264);
        let picture = unit(1, 0, true);
        let mut consumers: Vec<_> = (0..100).map(|_| outlet.subscribe()).collect();
        outlet.push(picture.clone());
        for consumer in &mut consumers {
            let taken = consumer.next().now_or_never().flatten().unwrap();
            assert_eq!(taken.data.as_ptr(), picture.data.as_ptr());
        }
    }

    #[test]
    fn demand_is_the_number_of_permits() {
        let outlet = Outlet::new(Codec::Jpeg);
        let demanded = outlet.demanded();
        let (one, two) = (outlet.demand(), outlet.demand());
        assert_eq!(*demanded.borrow(), 2);
        drop(one);
        assert_eq!(*demanded.borrow(), 1);
        drop(two);
        assert_eq!((*demanded.borrow(), outlet.counters().demand), (0, 0));
    }

    #[test]
    fn the_rhythm_is_the_range_of_distances_between_keyframes_of_one_run() {
        let outlet = Outlet::new(Codec::H264);
        assert_eq!(outlet.rhythm(), None);
        for (epoch, ms) in [(1, 0), (1, 2000), (1, 2500), (2, 0), (2, 1000)] {
            outlet.push(unit(epoch, ms, true));
        }
        let rhythm = Rhythm { shortest: Duration::from_millis(500), longest: Duration::from_secs(2) };
        assert_eq!(outlet.rhythm(), Some(rhythm));
        outlet.end_stream(1);
        assert_eq!(outlet.rhythm(), Some(rhythm), "the end of an earlier run is not the end of this one");
        outlet.end_stream(2);
        assert_eq!(outlet.rhythm(), None);
    }
}
