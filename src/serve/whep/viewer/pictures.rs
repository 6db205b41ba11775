//! How pictures leave to one viewer: from a kept group or a keyframe on, each as soon as its connection takes
//! it, whole ones dropped when it does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::Input;
use str0m::rtp::RtpWrite;

use super::super::feed::{self, Clock, Gop, Unit};
use super::super::pace::{STEP, squeeze};
use super::super::ports::Ports;
use super::Viewer;

/// A whole group of pictures is sent again to one viewer at most this often.
pub(super) const REPLAY_EVERY: Duration = Duration::from_secs(1);
/// The more often it is asked for, the longer this becomes; so much at most, and back when there was peace
/// for that long.
const REPLAY_RARELY: Duration = Duration::from_secs(16);
const REPLAY_CALM: Duration = Duration::from_secs(20);
/// Groups larger than this are not sent to a joining viewer: the next keyframe is sooner.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// Live pictures that wait longer than this for a slow connection are dropped.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Queued {
    unit: Arc<Unit>,
    time: i64,
    /// Not part of the start: it counts as dropped when it cannot be sent.
    live: bool,
}

impl Viewer {
    /// Sends a picture of now, or queues it behind those that wait.
    pub fn show(&mut self, unit: &Arc<Unit>, ports: &mut Ports, now: Instant) {
        if self.connected.is_none() || self.ended.is_some() {
            return;
        }
        if !self.started {
            if !unit.keyframe {
                return;
            }
            self.started = true;
        }
        let time = self.after_last(unit.ticks as i64 - self.zero);
        self.last_time = Some(time);
        if self.queue.is_empty() && self.room(ports) >= unit.bytes + unit.bytes / 8 {
            self.write(unit, time, 0, usize::MAX, now);
            self.advance(ports, now);
            self.picture_sent(now);
        } else {
            self.queue.push_back(Queued { unit: Arc::clone(unit), time, live: true });
            self.pump(ports, now);
        }
    }

    /// Starts from a kept group of pictures, or begins again with it; whether that was done.
    pub fn replay(&mut self, gop: &Gop, clock: &Clock, ports: &mut Ports, now: Instant) -> bool {
        if self.connected.is_none() || self.ended.is_some() || gop.bytes() > REPLAY_BYTES {
            return false;
        }
        let since = self.replayed.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < self.replay_after) {
            return false;
        }
        let Some(units) = gop.fresh(now) else { return false };
        // A connection that keeps losing pictures would lose more of a whole group at a time.
        let again = since.is_some_and(|since| since < REPLAY_CALM);
        self.replay_after = if again { (self.replay_after * 2).min(REPLAY_RARELY) } else { REPLAY_EVERY };
        self.align(clock, now);
        // What waits would repeat the end of the group; only a picture that has begun is finished.
        self.queue.truncate(usize::from(self.sent > 0));
        let units: Vec<_> = units.cloned().collect();
        let live = units.last().map_or(0, |unit| unit.ticks as i64) - self.zero;
        let times = squeeze(units.len(), self.last_time, live, gop.interval() as i64);
        for (unit, time) in units.into_iter().zip(times) {
            self.last_time = Some(time);
            self.queue.push_back(Queued { unit, time, live: false });
        }
        self.started = true;
        self.replayed = Some(now);
        self.pump(ports, now);
        true
    }

    /// Sets this viewer's zero to now: str0m's first sender report says "RTP time 0 is now" if it leaves
    /// before the first packet, and that is then true. Once something was sent it stays: a viewer that
    /// lost pictures and begins again would see its time stand still until the new zero has caught up.
    fn align(&mut self, clock: &Clock, now: Instant) {
        if self.last_time.is_none() {
            self.zero = clock.wall(now) as i64;
        }
    }

    /// The next keyframe is the start: nothing is kept.
    pub fn await_keyframe(&mut self, clock: &Clock, now: Instant) {
        self.align(clock, now);
    }

    fn after_last(&self, time: i64) -> i64 {
        self.last_time.map_or(time, |last| time.max(last + 1))
    }

    fn room(&self, ports: &Ports) -> usize {
        self.path.map_or(usize::MAX, |(protocol, to)| ports.room(protocol, to))
    }

    /// Sends of the queue what may leave now.
    pub(super) fn pump(&mut self, ports: &mut Ports, now: Instant) {
        if self.queue.is_empty() || self.ended.is_some() {
            return;
        }
        self.drop_late(now);
        let mut finished = 0;
        let mut budget = self.pacer.budget(now).min(self.room(ports));
        while budget > 0
            && let Some(Queued { unit, time, .. }) = self.queue.front()
        {
            let (unit, time) = (Arc::clone(unit), *time);
            let (packets, bytes) = self.write(&unit, time, self.sent, budget, now);
            self.pacer.spent(bytes);
            budget = budget.saturating_sub(bytes);
            self.sent += packets;
            if self.sent >= unit.packets.len() {
                self.queue.pop_front();
                self.sent = 0;
                finished += 1;
            }
        }
        if finished > 0 || self.sent > 0 {
            self.advance(ports, now);
        }
        if finished > 0 {
            self.picture_sent(now);
        }
        if !self.queue.is_empty() {
            self.deadline = self.deadline.min(now + STEP);
        }
    }

    /// A connection that does not take the pictures loses whole ones, up to the next keyframe.
    fn drop_late(&mut self, now: Instant) {
        let late =
            |queued: &Queued| queued.live && now.saturating_duration_since(queued.unit.captured) > WAIT;
        if !self.queue.iter().any(late) {
            return;
        }
        // The rest of a picture that has begun stays: half of one is worse than a late one.
        let keep = usize::from(self.sent > 0);
        self.counts.dropped_frames +=
            self.queue.iter().skip(keep).filter(|queued| queued.live).count() as u64;
        self.queue.truncate(keep);
        self.started = false;
        self.wishes.keyframe = true;
    }

    /// Gives str0m packets of a picture, from the one numbered `from` on, until `budget` bytes are spent.
    fn write(&mut self, unit: &Unit, time: i64, from: usize, budget: usize, now: Instant) -> (usize, usize) {
        let Some(mid) = self.mid else { return (usize::MAX / 2, 0) };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else { return (usize::MAX / 2, 0) };
        let last = unit.packets.len().saturating_sub(1);
        // For sender reports: when the instant `time` stands for was. A squeezed picture is not that old.
        let live = unit.ticks as i64 - self.zero;
        let squeezed = feed::duration(time.saturating_sub(live));
        let wallclock = (unit.captured + squeezed).min(now);
        let (mut packets, mut bytes) = (0, 0);
        for (index, payload) in unit.packets.iter().enumerate().skip(from) {
            if bytes >= budget {
                break;
            }
            let packet =
                RtpWrite::new(self.pt, self.sequence.into(), time as u32, wallclock, Arc::clone(payload));
            stream.write_rtp(packet.marker(index == last).nackable(true));
            self.sequence += 1;
            packets += 1;
            bytes += payload.len();
        }
        (packets, bytes)
    }

    /// Has str0m make packets of what was written.
    fn advance(&mut self, ports: &mut Ports, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(&error);
        }
        self.poll(ports, now);
    }

    fn picture_sent(&mut self, now: Instant) {
        self.first_picture.get_or_insert_with(|| now.saturating_duration_since(self.begun));
    }
}
