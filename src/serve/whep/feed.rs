//! One camera as its viewers get it: its subscription, its pictures packetized once, the kept group of
//! pictures for those who join, the RTP clock, and whom to ask for a keyframe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::packetize::{MAX_PAYLOAD, packetize};
use crate::capture::Capture;
use crate::capture::outlet::Subscription;
use crate::frames::AccessUnit;
use crate::h264::{self, nal_type};

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

/// A camera with viewers. Dropping it withdraws the demand for its pictures.
#[derive(Debug)]
pub struct Feed {
    pub capture: Capture,
    pub subscription: Subscription,
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
            subscription: capture.realtime().subscribe(),
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
        let packets = packetize(&unit.data, MAX_PAYLOAD);
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
