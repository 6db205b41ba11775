//! One camera as its viewers get it: its subscription, its pictures packetized once, the kept group of
//! pictures for those who join, the RTP clock, and whom to ask for a keyframe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::capture::Capture;
use crate::capture::outlet::Subscription;
use crate::frames::AccessUnit;
use crate::h264::{self, nal_type};
use crate::serve::packetize::payloads;

/// Largest RTP payload in bytes. With RTP header, MID extension, RTX prefix, SRTP tag, UDP and IPv6 headers
/// it stays below IPv6's least MTU of 1280.
pub const MAX_PAYLOAD: usize = 1160;
/// RTP clock of video.
pub const CLOCK: u64 = 90_000;
/// Bounds of the kept group of pictures.
const GOP_BYTES: usize = 8 * 1024 * 1024;
const GOP_UNITS: usize = 1024;
/// Pictures from a group whose newest is older than this are not shown as live.
const GOP_AGE: Duration = Duration::from_secs(5);
/// Keyframe requests are at least this far apart; slightly more than what the capture lets through.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(310);
/// How long an answer to "who encodes?" is believed.
const ENCODER_KNOWN: Duration = Duration::from_secs(2);
/// The clock may differ this much from the wall before it is set anew.
const SKEW: u64 = CLOCK;

/// One picture, ready to be sent to anybody.
#[derive(Debug)]
pub struct Unit {
    pub packets: Vec<Arc<[u8]>>,
    /// On the camera's RTP clock, before a viewer's offset; strictly increasing.
    pub ticks: u64,
    pub captured: Instant,
    pub keyframe: bool,
    /// Of all payloads.
    pub bytes: usize,
}

/// The RTP clock of one camera. It follows `pts` within one run of the camera and the wall clock from run
/// to run, and never goes back.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    anchor: Option<Anchor>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    epoch: u64,
    pts: Duration,
    ticks: u64,
}

impl Clock {
    /// `origin` is zero; earlier instants are zero too.
    pub fn new(origin: Instant) -> Self {
        Self { origin, anchor: None, last: 0 }
    }

    /// An instant on this clock.
    pub fn wall(&self, instant: Instant) -> u64 {
        ticks(instant.saturating_duration_since(self.origin))
    }

    pub fn place(&mut self, epoch: u64, pts: Duration, captured: Instant) -> u64 {
        let wall = self.wall(captured);
        let by_pts = self.anchor.filter(|anchor| anchor.epoch == epoch).and_then(|anchor| {
            let ticks = anchor.ticks.checked_add(ticks(pts.checked_sub(anchor.pts)?))?;
            (ticks.abs_diff(wall) <= SKEW).then_some(ticks)
        });
        let placed = by_pts.unwrap_or_else(|| {
            self.anchor = Some(Anchor { epoch, pts, ticks: wall });
            wall
        });
        self.last = placed.max(self.last + 1);
        self.last
    }
}

/// A duration on the RTP clock.
pub fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() * u128::from(CLOCK) / 1_000_000_000).unwrap_or(u64::MAX / 2)
}

/// A distance on the RTP clock; nothing for one that goes back.
pub fn duration(ticks: i64) -> Duration {
    Duration::from_nanos(
        u64::try_from(ticks).unwrap_or(0).saturating_mul(1_000_000_000 / 10_000) / (CLOCK / 10_000),
    )
}

/// The pictures since the last keyframe.
#[derive(Debug, Default)]
pub struct Gop {
    units: VecDeque<Arc<Unit>>,
    bytes: usize,
}

impl Gop {
    pub fn keep(&mut self, unit: &Arc<Unit>) {
        if unit.keyframe {
            self.clear();
        } else if self.units.is_empty() {
            return;
        }
        self.bytes += unit.bytes;
        self.units.push_back(Arc::clone(unit));
        if self.bytes > GOP_BYTES || self.units.len() > GOP_UNITS {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The group, if its newest picture is of now.
    pub fn fresh(&self, now: Instant) -> Option<impl ExactSizeIterator<Item = &Arc<Unit>>> {
        let newest = self.units.back()?;
        (now.saturating_duration_since(newest.captured) <= GOP_AGE).then(|| self.units.iter())
    }

    /// The usual distance of two pictures in ticks.
    pub fn interval(&self) -> u64 {
        match (self.units.front(), self.units.back()) {
            (Some(first), Some(last)) if self.units.len() > 1 => {
                (last.ticks - first.ticks) / (self.units.len() as u64 - 1)
            }
            _ => CLOCK / 30,
        }
    }
}

/// Keyframe requests of all viewers, as far apart as the encoder should see them. A request that comes
/// too early is remembered, and forgotten when a keyframe comes by itself.
#[derive(Debug, Default)]
pub struct Keyframes {
    asked: Option<Instant>,
    pending: bool,
}

impl Keyframes {
    pub fn ask(&mut self) {
        self.pending = true;
    }

    pub fn came(&mut self) {
        self.pending = false;
    }

    /// When [`Keyframes::due`] is to be asked.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.pending.then(|| self.asked.map_or(now, |asked| asked + KEYFRAME_INTERVAL))
    }

    /// Whether to ask the encoder now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.deadline(now).is_some_and(|at| at <= now);
        if due {
            self.pending = false;
            self.asked = Some(now);
        }
        due
    }
}

/// The wait for the next picture. It has to outlive single polls: dropped in between, it would not wake
/// anybody.
struct Reading(BoxFuture<'static, (Subscription, Option<AccessUnit>)>);

impl Reading {
    fn new(mut subscription: Subscription) -> Self {
        Self(Box::pin(async move {
            let unit = subscription.next().await;
            (subscription, unit)
        }))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<AccessUnit> {
        let (subscription, unit) = ready!(self.0.as_mut().poll(context));
        let Some(unit) = unit else {
            // The outlet is gone, and with it the camera: its viewers are ended by who knows that.
            self.0 = Box::pin(std::future::pending());
            return Poll::Pending;
        };
        *self = Self::new(subscription);
        Poll::Ready(unit)
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

/// A camera with viewers. Dropping it withdraws the demand for its pictures.
#[derive(Debug)]
pub struct Feed {
    pub capture: Capture,
    reading: Reading,
    pub gop: Gop,
    pub clock: Clock,
    pub keyframes: Keyframes,
    /// `profile_idc` of the last SPS.
    pub profile: Option<u8>,
    epoch: Option<u64>,
    /// Whether somebody can be asked for a keyframe, and when that was found out.
    encoder: Option<(bool, Instant)>,
}

impl Feed {
    pub fn new(capture: &Capture, origin: Instant) -> Self {
        Self {
            capture: capture.clone(),
            reading: Reading::new(capture.realtime().subscribe()),
            gop: Gop::default(),
            clock: Clock::new(origin),
            keyframes: Keyframes::default(),
            profile: None,
            epoch: None,
            encoder: None,
        }
    }

    /// Whether this is the feed of that very camera, not of one with the same name before a reload.
    pub fn is_of(&self, capture: &Capture) -> bool {
        Arc::ptr_eq(self.capture.realtime(), capture.realtime())
    }

    /// The next picture; the caller is woken for it.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<AccessUnit> {
        self.reading.poll(context)
    }

    /// Takes in what is there already: the outlet's kept group of pictures.
    pub fn catch_up(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(unit) = self.reading.poll(&mut context) {
            self.take(&unit);
        }
    }

    /// Takes in the next picture; `None` when there is nothing in it to send.
    pub fn take(&mut self, unit: &AccessUnit) -> Option<Arc<Unit>> {
        if self.epoch.replace(unit.epoch) != Some(unit.epoch) {
            self.gop.clear();
            self.encoder = None;
        }
        if unit.keyframe {
            let sps = h264::nals(&unit.data).find(|nal| h264::kind(nal) == nal_type::SPS);
            self.profile = sps.and_then(|sps| sps.get(1).copied()).or(self.profile);
        }
        let packets = payloads(&unit.data, MAX_PAYLOAD);
        if packets.is_empty() {
            return None;
        }
        let unit = Arc::new(Unit {
            bytes: packets.iter().map(|packet| packet.len()).sum(),
            packets,
            ticks: self.clock.place(unit.epoch, unit.pts, unit.captured),
            captured: unit.captured,
            keyframe: unit.keyframe,
        });
        self.gop.keep(&unit);
        if unit.keyframe {
            self.keyframes.came();
        }
        Some(unit)
    }

    /// Whether an encoder of ours makes these pictures: it can be asked for a keyframe.
    pub fn encodes(&mut self, now: Instant) -> bool {
        if let Some((encodes, at)) = self.encoder
            && now.saturating_duration_since(at) < ENCODER_KNOWN
        {
            return encodes;
        }
        let encoder = self.capture.status().realtime.encoder;
        let encodes = encoder.is_some_and(|encoder| encoder != "passthrough");
        self.encoder = Some((encodes, now));
        encodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rtp_time_follows_pts_within_a_run_and_the_wall_from_run_to_run() {
        let origin = Instant::now();
        let mut clock = Clock::new(origin);
        // (run, pts, captured, expected): capture instants jitter, pts do not.
        for (epoch, pts, captured, expected) in [
            (1, 500, 10_000, 900_000),
            (1, 540, 10_047, 903_600),
            (1, 580, 10_079, 907_200),
            (1, 580, 10_080, 907_201), // never twice the same
            (2, 0, 15_000, 1_350_000), // a restart: five seconds later
            (2, 40, 15_040, 1_353_600),
            (2, 9_000_000, 15_080, 1_357_200), // pts that jump are not followed
            (3, 0, 15_000, 1_357_201),         // never back
        ] {
            assert_eq!(clock.place(epoch, ms(pts), origin + ms(captured)), expected, "{epoch} {pts}");
        }
        assert_eq!(clock.wall(origin + ms(1)), 90);
        assert_eq!((duration(90), duration(-5)), (ms(1), ms(0)));
    }

    proptest! {
        #[test]
        fn rtp_time_always_increases(
            steps in proptest::collection::vec((0u64..3, 0u64..100_000, 0u64..100_000), 1..50)
        ) {
            let origin = Instant::now();
            let mut clock = Clock::new(origin);
            let times: Vec<u64> =
                steps.into_iter().map(|(epoch, pts, at)| clock.place(epoch, ms(pts), origin + ms(at))).collect();
            prop_assert!(times.is_sorted_by(|a, b| a < b));
        }
    }

    fn unit(number: u64, keyframe: bool, captured: Instant) -> Arc<Unit> {
        Arc::new(Unit { packets: Vec::new(), ticks: number * 3000, captured, keyframe, bytes: 100_000 })
    }

    #[test]
    fn the_group_begins_at_a_keyframe_is_bounded_and_is_not_shown_when_old() {
        let now = Instant::now();
        let mut gop = Gop::default();
        gop.keep(&unit(0, false, now));
        assert!(gop.fresh(now).is_none(), "nothing before the first keyframe");
        for (number, keyframe) in [(1, true), (2, false), (3, true), (4, false), (5, false)] {
            gop.keep(&unit(number, keyframe, now));
        }
        let kept: Vec<u64> = gop.fresh(now).unwrap().map(|unit| unit.ticks / 3000).collect();
        assert_eq!((kept, gop.bytes(), gop.interval()), (vec![3, 4, 5], 300_000, 3000));
        assert!(gop.fresh(now + GOP_AGE + ms(1)).is_none());
        for number in 6..200 {
            gop.keep(&unit(number, false, now));
        }
        assert!(gop.fresh(now).is_none() && gop.bytes() == 0, "too large to be kept");
    }

    #[test]
    fn keyframe_requests_are_spaced_remembered_and_satisfied_by_any_keyframe() {
        let start = Instant::now();
        let at = |after| start + ms(after);
        let mut keyframes = Keyframes::default();
        assert!(!keyframes.due(at(0)));
        keyframes.ask();
        keyframes.ask();
        assert!(keyframes.due(at(0)) && !keyframes.due(at(1)), "one request for all who ask");
        keyframes.ask();
        assert!(!keyframes.due(at(100)), "too early");
        assert_eq!(keyframes.deadline(at(100)), Some(at(310)));
        assert!(keyframes.due(at(310)), "but not lost");
        keyframes.ask();
        keyframes.came();
        assert!(!keyframes.due(at(1000)), "a keyframe came meanwhile");
    }

    #[test]
    fn pictures_are_packetized_once_and_a_restart_forgets_the_kept_group() {
        let capture = Capture::detached(Camera::new("cam", Source::Test {}));
        let now = Instant::now();
        let mut feed = Feed::new(&capture, now);
        assert_eq!(capture.realtime().counters().demand, 1);
        let picture = |epoch, data: &'static [u8]| AccessUnit {
            data: bytes::Bytes::from_static(data),
            pts: ms(0),
            keyframe: data[4] == 0x67,
            epoch,
            captured_at: std::time::SystemTime::now(),
            captured: now,
        };
        let key: &[u8] = &[0, 0, 0, 1, 0x67, 0x64, 0, 0x1f, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 2];
        let taken = feed.take(&picture(1, key)).unwrap();
        assert_eq!((taken.packets.len(), feed.profile), (1, Some(0x64)));
        assert_eq!(feed.gop.fresh(now).unwrap().len(), 1);
        assert!(feed.take(&picture(1, &[0, 0, 0, 1, 9, 0xf0])).is_none(), "nothing to send in it");
        feed.take(&picture(2, &[0, 0, 0, 1, 0x41, 1])).unwrap();
        assert!(feed.gop.fresh(now).is_none());
        assert!(!feed.encodes(now), "there is nobody to ask");
        drop(feed);
        assert_eq!(capture.realtime().counters().demand, 0);
    }
}
