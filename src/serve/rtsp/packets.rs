//! Bytes on the wire: RTP packets and sender reports as interleaved frames (RFC 2326, 10.12).
//!
//! The frames of one access unit stand in one buffer that every reader gets as it is, so sequence numbers,
//! SSRC and channels are the same for all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::serve::packetize::packetize;

/// Largest RTP payload: the packet stays below 1,500 bytes, as clients expect.
const MAX_PAYLOAD: usize = 1400;
/// The dynamic payload type that the SDP names.
pub const PAYLOAD_TYPE: u8 = 96;
pub const RTP_CHANNEL: u8 = 0;
pub const RTCP_CHANNEL: u8 = 1;
/// `$`, channel, length.
const FRAME_HEADER: usize = 4;
const RTP_HEADER: usize = 12;
const MARKER: u8 = 0x80;
/// From 1900 to 1970, in seconds.
const NTP_OFFSET: u64 = 2_208_988_800;

/// What all packets of a stream share and count on.
#[derive(Clone, Debug)]
pub struct Sender {
    pub ssrc: u32,
    /// Of the next packet.
    pub sequence: u16,
    packets: u32,
    octets: u32,
}

impl Sender {
    pub fn new(ssrc: u32, sequence: u16) -> Self {
        Self { ssrc, sequence, packets: 0, octets: 0 }
    }

    /// Appends an access unit; false when there is nothing in it to send.
    pub fn append(&mut self, access_unit: &[u8], timestamp: u32, buffer: &mut Vec<u8>) -> bool {
        let mut last = None;
        packetize(access_unit, MAX_PAYLOAD, |head, body| {
            last = Some(buffer.len());
            let payload = head.len() + body.len();
            buffer.extend_from_slice(&[b'$', RTP_CHANNEL]);
            // A payload is at most MAX_PAYLOAD.
            buffer.extend_from_slice(&((RTP_HEADER + payload) as u16).to_be_bytes());
            buffer.extend_from_slice(&[0x80, PAYLOAD_TYPE]);
            buffer.extend_from_slice(&self.sequence.to_be_bytes());
            buffer.extend_from_slice(&timestamp.to_be_bytes());
            buffer.extend_from_slice(&self.ssrc.to_be_bytes());
            buffer.extend_from_slice(head);
            buffer.extend_from_slice(body);
            self.sequence = self.sequence.wrapping_add(1);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(payload as u32);
        });
        if let Some(at) = last {
            buffer[at + FRAME_HEADER + 1] |= MARKER;
        }
        last.is_some()
    }

    /// Appends a sender report: `timestamp` was captured at `wall`. A name goes with it, as RFC 3550 wants.
    pub fn report(&self, wall: SystemTime, timestamp: u32, buffer: &mut Vec<u8>) {
        const CNAME: &[u8] = b"fanlight";
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = since.as_secs().wrapping_add(NTP_OFFSET) as u32;
        let fraction = ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        let mut report = vec![0x80, 200, 0, 6];
        for word in [self.ssrc, seconds, fraction, timestamp, self.packets, self.octets] {
            report.extend_from_slice(&word.to_be_bytes());
        }
        let mut item = [&[1, CNAME.len() as u8], CNAME, &[0]].concat();
        item.resize(item.len().next_multiple_of(4), 0);
        report.extend_from_slice(&[0x81, 202, 0, (1 + item.len() / 4) as u8]);
        report.extend_from_slice(&self.ssrc.to_be_bytes());
        report.extend_from_slice(&item);
        buffer.extend_from_slice(&[b'$', RTCP_CHANNEL]);
        buffer.extend_from_slice(&(report.len() as u16).to_be_bytes());
        buffer.extend_from_slice(&report);
    }
}

/// Writes another timestamp into all packets of a buffer that [`Sender::append`] made.
pub fn restamp(frames: &mut [u8], timestamp: u32) {
    let mut rest = frames;
    while let [_, channel, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (frame, more) = rest.split_at_mut((FRAME_HEADER + length).min(rest.len()));
        if channel == RTP_CHANNEL
            && let Some(field) = frame.get_mut(FRAME_HEADER + 4..FRAME_HEADER + 8)
        {
            field.copy_from_slice(&timestamp.to_be_bytes());
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channel and packet of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [b'$', channel, high, low, rest @ ..] = bytes {
            let (packet, more) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            frames.push((*channel, packet.to_vec()));
            bytes = more;
        }
        assert!(bytes.is_empty());
        frames
    }

    fn key_unit() -> Vec<u8> {
        let sets = [0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 0, 0, 1];
        [&sets[..], &[0x65], &[0xaa; 3000]].concat()
    }

    #[test]
    fn an_access_unit_is_a_row_of_frames_with_one_time_and_the_marker_on_the_last() {
        let mut sender = Sender::new(0x0102_0304, 65_534);
        let mut buffer = Vec::new();
        assert!(sender.append(&key_unit(), 7, &mut buffer));
        let frames = frames(&buffer);
        assert_eq!(frames.len(), 4, "parameter sets together, the slice in three");
        for (n, (channel, packet)) in frames.iter().enumerate() {
            let last = n + 1 == frames.len();
            assert_eq!((*channel, packet[0]), (RTP_CHANNEL, 0x80));
            assert_eq!(packet[1], PAYLOAD_TYPE | if last { MARKER } else { 0 });
            assert_eq!(packet[2..4], 65_534u16.wrapping_add(n as u16).to_be_bytes());
            assert_eq!(packet[4..12], [0, 0, 0, 7, 1, 2, 3, 4]);
        }
        assert_eq!(sender.sequence, 2);
        assert!(!sender.append(&[0, 0, 0, 1, 9, 0xf0], 8, &mut buffer), "nothing but a delimiter");
    }

    #[test]
    fn restamping_changes_the_time_and_nothing_else() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut sender = Sender::new(9, 9);
        sender.clone().append(&key_unit(), 0xdead_beef, &mut one);
        sender.append(&key_unit(), 5, &mut other);
        restamp(&mut one, 5);
        assert_eq!(one, other);
    }

    #[test]
    fn a_sender_report_ties_the_stream_to_the_wall_clock_and_counts() {
        let mut sender = Sender::new(0x0a0b_0c0d, 1);
        sender.append(&[0, 0, 1, 0x41, 1, 2], 90, &mut Vec::new());
        let mut buffer = Vec::new();
        sender.report(UNIX_EPOCH + Duration::from_millis(1500), 90, &mut buffer);
        let frames = frames(&buffer);
        let [(RTCP_CHANNEL, report)] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!(report[..4], [0x80, 200, 0, 6]);
        let words: Vec<u32> =
            report.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[1..7], [0x0a0b_0c0d, NTP_OFFSET as u32 + 1, 1 << 31, 90, 1, 3]);
        assert_eq!(report[28..32], [0x81, 202, 0, 4], "and a description in the same compound");
        assert_eq!(report.len(), 28 + 4 * 5);
    }
}
