//! One camera's pictures as RTSP readers get them: packetized once, with the RTP clock, a sender report now
//! and then, and the group since the last keyframe for those who join.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::clock::{Clock, squeeze};
use super::packets::{Sender, restamp};
use super::sdp::Parameters;
use crate::frames::AccessUnit;

/// Bounds of the kept group.
const GOP_BYTES: usize = 8 * 1024 * 1024;
const GOP_PICTURES: usize = 1024;
/// A group whose newest picture is older than three of its intervals, and than this, is not shown as live.
const FRESH: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// One picture, ready to be written to anybody.
#[derive(Clone, Debug)]
pub struct Picture {
    /// All its packets as interleaved frames, a sender report before them when one is due.
    pub bytes: Bytes,
    pub keyframe: bool,
}

/// What somebody who joins gets first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    pub bytes: Bytes,
    /// Of the first packet.
    pub sequence: u16,
    pub timestamp: u32,
}

#[derive(Debug)]
pub struct Stream {
    clock: Clock,
    sender: Sender,
    /// Added to the clock, as RFC 3550 wants.
    offset: u32,
    reported: Option<Instant>,
    epoch: Option<u64>,
    parameters: Option<Parameters>,
    gop: VecDeque<Kept>,
    gop_bytes: usize,
    /// For all who join before the next picture.
    joining: Option<Joining>,
}

#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    ticks: i64,
    sequence: u16,
    captured: Instant,
    captured_at: SystemTime,
}

impl Stream {
    /// `origin` is zero on the clock; SSRC, sequence and time begin at random.
    pub fn new(origin: Instant, [ssrc, sequence, offset]: [u32; 3]) -> Self {
        Self {
            clock: Clock::new(origin),
            sender: Sender::new(ssrc, sequence as u16),
            offset,
            reported: None,
            epoch: None,
            parameters: None,
            gop: VecDeque::new(),
            gop_bytes: 0,
            joining: None,
        }
    }

    pub fn parameters(&self) -> Option<&Parameters> {
        self.parameters.as_ref()
    }

    /// Takes in the next picture; `None` when there is nothing in it to send.
    pub fn take(&mut self, unit: &AccessUnit, now: Instant) -> Option<Picture> {
        self.joining = None;
        if self.epoch.replace(unit.epoch) != Some(unit.epoch) || unit.keyframe {
            self.forget();
        }
        if unit.keyframe
            && let Some(parameters) = Parameters::of(&unit.data)
        {
            self.parameters = Some(parameters);
        }
        let ticks = self.clock.place(unit.epoch, unit.pts, unit.captured);
        let timestamp = self.timestamp(ticks);
        // Headers are about a hundredth of it.
        let mut buffer = Vec::with_capacity(unit.data.len() + unit.data.len() / 50 + 256);
        let due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        if due {
            self.sender.report(unit.captured_at, timestamp, &mut buffer);
        }
        let (report, sequence) = (buffer.len(), self.sender.sequence);
        if !self.sender.append(&unit.data, timestamp, &mut buffer) {
            return None;
        }
        if due {
            self.reported = Some(now);
        }
        let bytes = Bytes::from(buffer);
        let (captured, captured_at) = (unit.captured, unit.captured_at);
        self.keep(unit, Kept { bytes: bytes.slice(report..), ticks, sequence, captured, captured_at });
        Some(Picture { bytes, keyframe: unit.keyframe })
    }

    /// A sender report and the kept group for somebody who joins now, its times pulled together; `None` when
    /// there is none or its pictures are not of now.
    pub fn join(&mut self, now: Instant) -> Option<Joining> {
        let (first, newest) = (self.gop.front()?, self.gop.back()?);
        let count = u32::try_from(self.gop.len()).unwrap_or(u32::MAX);
        let interval = newest.captured.saturating_duration_since(first.captured) / count;
        if now.saturating_duration_since(newest.captured) > FRESH.max(3 * interval) {
            return None;
        }
        if self.joining.is_none() {
            let times: Vec<i64> = self.gop.iter().map(|kept| kept.ticks).collect();
            let reorder = self.parameters.as_ref().map_or(0, Parameters::reorder);
            let times = squeeze(&times, reorder);
            let mut bytes = Vec::with_capacity(self.gop_bytes + 256);
            self.sender.report(newest.captured_at, self.timestamp(newest.ticks), &mut bytes);
            for (kept, ticks) in self.gop.iter().zip(&times) {
                let from = bytes.len();
                bytes.extend_from_slice(&kept.bytes);
                restamp(&mut bytes[from..], self.timestamp(*ticks));
            }
            let timestamp = self.timestamp(times.iter().copied().min().unwrap_or_default());
            self.joining = Some(Joining { bytes: bytes.into(), sequence: first.sequence, timestamp });
        }
        self.joining.clone()
    }

    /// Forgets the kept group: nobody reads any more.
    pub fn forget(&mut self) {
        self.gop.clear();
        self.gop_bytes = 0;
        self.joining = None;
    }

    fn keep(&mut self, unit: &AccessUnit, kept: Kept) {
        if self.gop.is_empty() && !unit.keyframe {
            return;
        }
        self.gop_bytes += kept.bytes.len();
        self.gop.push_back(kept);
        if self.gop_bytes > GOP_BYTES || self.gop.len() > GOP_PICTURES {
            self.forget();
        }
    }

    fn timestamp(&self, ticks: i64) -> u32 {
        // The clock of RTP goes round: its lower bits are it.
        (ticks as u32).wrapping_add(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::rtsp::clock::ticks;

    const SETS: [u8; 17] = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn unit(epoch: u64, pts: u64, keyframe: bool, captured: Instant) -> AccessUnit {
        let slice = [0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 1, 2, 3];
        let sets = if keyframe { &SETS[..] } else { &[] };
        AccessUnit {
            data: [sets, &slice].concat().into(),
            pts: ms(pts),
            keyframe,
            epoch,
            captured_at: SystemTime::now(),
            captured,
        }
    }

    fn stream(origin: Instant) -> Stream {
        Stream::new(origin, [1, 0x0001_fffe, u32::MAX - 5])
    }

    /// Channel, sequence and time of each packet.
    fn packets(mut bytes: &[u8]) -> Vec<(u8, u16, u32)> {
        let mut packets = Vec::new();
        while let [_, channel, high, low, rest @ ..] = bytes {
            let (packet, more) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            let sequence = u16::from_be_bytes(packet[2..4].try_into().unwrap());
            packets.push((*channel, sequence, u32::from_be_bytes(packet[4..8].try_into().unwrap())));
            bytes = more;
        }
        packets
    }

    #[test]
    fn the_first_picture_brings_a_sender_report_and_later_ones_every_five_seconds() {
        let origin = Instant::now();
        let mut stream = stream(origin);
        let reports: Vec<bool> = [0, 40, 4999, 5000, 5040]
            .map(|at| {
                let picture = stream.take(&unit(1, at, at == 0, origin + ms(at)), origin + ms(at)).unwrap();
                packets(&picture.bytes)[0].0 == 1
            })
            .into();
        assert_eq!(reports, [true, false, false, true, false]);
        assert!(stream.parameters().is_some());
    }

    #[test]
    fn who_joins_gets_the_group_in_sequence_with_its_times_pulled_together() {
        let origin = Instant::now();
        let mut stream = stream(origin);
        assert_eq!(stream.join(origin), None, "nothing yet");
        let at = |pts| origin + ms(1000 + pts);
        for (pts, keyframe) in [(0, true), (40, true), (80, false), (120, false)] {
            stream.take(&unit(1, pts, keyframe, at(pts)), at(pts)).unwrap();
        }
        let joining = stream.join(at(130)).unwrap();
        let newest = (u32::MAX - 5).wrapping_add(ticks(ms(1120)) as u32);
        let expected: Vec<_> =
            [(0xffff, 180), (0, 90), (1, 0)].map(|(n, before)| (0, n, newest.wrapping_sub(before))).into();
        let came = packets(&joining.bytes);
        assert_eq!((came[0].0, &came[1..]), (1, &expected[..]), "a report, then the pictures");
        assert_eq!((joining.sequence, joining.timestamp), (expected[0].1, expected[0].2));
        let second = stream.join(at(140)).unwrap();
        assert_eq!(second.bytes.as_ptr(), joining.bytes.as_ptr(), "made once for all who join");
        let next = stream.take(&unit(1, 160, false, at(160)), at(160)).unwrap();
        assert_eq!(packets(&next.bytes)[0].1, 2, "and the next follows it");
    }

    #[test]
    fn old_pictures_and_those_of_an_earlier_run_are_not_shown_as_live() {
        let origin = Instant::now();
        let mut stream = stream(origin);
        stream.take(&unit(1, 0, true, origin), origin).unwrap();
        assert!(stream.join(origin + FRESH).is_some());
        assert!(stream.join(origin + FRESH + ms(1)).is_none());
        let slow = origin + ms(5000);
        stream.take(&unit(1, 5000, false, slow), slow).unwrap();
        assert!(stream.join(slow + ms(7000)).is_some(), "a camera of one picture in five seconds");
        stream.take(&unit(2, 0, false, slow), slow).unwrap();
        assert!(stream.join(slow).is_none());
        assert!(stream.take(&unit(2, 0, true, slow), slow).is_some() && stream.join(slow).is_some());
        stream.forget();
        assert!(stream.join(slow).is_none());
    }

    #[test]
    fn nothing_to_send_is_no_picture_and_a_group_that_grows_too_large_is_not_kept() {
        let now = Instant::now();
        let mut stream = stream(now);
        let delimiter =
            AccessUnit { data: Bytes::from_static(&[0, 0, 0, 1, 9, 0xf0]), ..unit(1, 0, false, now) };
        assert!(stream.take(&delimiter, now).is_none());
        stream.take(&unit(1, 0, true, now), now).unwrap();
        for _ in 0..GOP_PICTURES {
            stream.take(&unit(1, 1, false, now), now).unwrap();
        }
        assert!(stream.join(now).is_none());
    }
}
