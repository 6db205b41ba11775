//! MPEG-TS with one H.264 stream: what HLS needs of ISO/IEC 13818-1 and nothing else. Pure; used by
//! `packager`.
//!
//! Program tables come at the start of every part (and so before every IDR that starts a segment):
//! each part can be decoded by itself as far as its pictures can. Continuity counters run through, so
//! parts joined together are the segment, byte for byte.

use bytes::Bytes;

use super::timing::Frame;
use crate::h264;

const PACKET: usize = 188;
const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const STREAM_TYPE_H264: u8 = 0x1b;
const STREAM_ID_VIDEO: u8 = 0xe0;
/// The clock reference runs this much ahead of decoding, so that data arrives before its time: 0.1 s.
const PCR_LEAD: u64 = 9_000;
/// Access unit delimiter, "any slice type": H.264 in TS begins every access unit with one (2.14.1).
const AUD: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];

/// Writes one transport stream, part after part.
#[derive(Debug, Default)]
pub struct Muxer {
    buffer: Vec<u8>,
    pat_count: u8,
    pmt_count: u8,
    video_count: u8,
    /// Where the open part's first packet must say that the clock jumps.
    discontinuity: bool,
}

impl Muxer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an access unit to the open part.
    pub fn add(&mut self, frame: &Frame) {
        if self.buffer.is_empty() {
            self.tables();
        }
        self.discontinuity |= frame.discontinuity;
        let starts_with_aud = h264::first_kind(&frame.unit.data) == Some(h264::nal_type::AUD);
        let (header, length) = pes_header(frame.pts, frame.dts);
        let aud: &[u8] = if starts_with_aud { &[] } else { &AUD };
        self.pes(frame, [&header[..length], aud, &frame.unit.data]);
    }

    /// The open part; empty if nothing was added.
    pub fn take(&mut self) -> Bytes {
        // The next part is about as long as this one.
        let next = Vec::with_capacity(self.buffer.len());
        let mut part = std::mem::replace(&mut self.buffer, next);
        // It stays in the ring for a while.
        part.shrink_to_fit();
        Bytes::from(part)
    }

    fn tables(&mut self) {
        // program 1 → PMT_PID; version 0, current.
        let pat = [0x00, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | high(PMT_PID), low(PMT_PID)];
        let pmt = [
            0x02,
            0xb0,
            18,
            0,
            1,
            0xc1,
            0,
            0,
            0xe0 | high(VIDEO_PID), // PCR_PID
            low(VIDEO_PID),
            0xf0,
            0,
            STREAM_TYPE_H264,
            0xe0 | high(VIDEO_PID),
            low(VIDEO_PID),
            0xf0,
            0,
        ];
        section(&mut self.buffer, PAT_PID, &mut self.pat_count, &pat);
        section(&mut self.buffer, PMT_PID, &mut self.pmt_count, &pmt);
    }

    /// One access unit as one PES packet in as many transport packets as it takes.
    fn pes(&mut self, frame: &Frame, chunks: [&[u8]; 3]) {
        let mut left: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut chunks = chunks.into_iter();
        let mut chunk: &[u8] = &[];
        let mut first = true;
        self.buffer.reserve((left / (PACKET - 4) + 2) * PACKET);
        while left > 0 {
            let start = self.buffer.len();
            let count = next(&mut self.video_count);
            let unit_start = if first { 0x40 } else { 0 };
            self.buffer.extend_from_slice(&[
                0x47,
                unit_start | high(VIDEO_PID),
                low(VIDEO_PID),
                0x10 | count,
            ]);
            if first {
                let mut flags = 0x10; // PCR
                if frame.unit.keyframe {
                    flags |= 0x40; // random access
                }
                if std::mem::take(&mut self.discontinuity) {
                    flags |= 0x80;
                }
                self.buffer[start + 3] |= 0x20;
                self.buffer.extend_from_slice(&[7, flags]);
                self.buffer.extend_from_slice(&pcr(frame.dts.saturating_sub(PCR_LEAD)));
            }
            let room = PACKET - (self.buffer.len() - start);
            if left < room {
                self.stuff(start, room - left);
            }
            let mut room = PACKET - (self.buffer.len() - start);
            left -= room;
            while room > 0 {
                if chunk.is_empty() {
                    match chunks.next() {
                        Some(next) => chunk = next,
                        None => break,
                    }
                }
                let (now, later) = chunk.split_at(chunk.len().min(room));
                self.buffer.extend_from_slice(now);
                room -= now.len();
                chunk = later;
            }
            first = false;
        }
    }

    /// Makes the adaptation field of the packet at `start` longer by `count` bytes.
    fn stuff(&mut self, start: usize, count: usize) {
        if self.buffer[start + 3] & 0x20 != 0 {
            self.buffer[start + 4] += count as u8;
            self.buffer.resize(self.buffer.len() + count, 0xff);
            return;
        }
        self.buffer[start + 3] |= 0x20;
        self.buffer.push((count - 1) as u8);
        if count > 1 {
            self.buffer.push(0);
            self.buffer.resize(self.buffer.len() + count - 2, 0xff);
        }
    }
}

fn next(counter: &mut u8) -> u8 {
    let now = *counter;
    *counter = (now + 1) & 0x0f;
    now
}

fn high(pid: u16) -> u8 {
    (pid >> 8) as u8
}

fn low(pid: u16) -> u8 {
    pid as u8
}

/// A table section in one packet: pointer field, section, CRC, stuffing (2.4.4).
fn section(out: &mut Vec<u8>, pid: u16, counter: &mut u8, body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0x47, 0x40 | high(pid), low(pid), 0x10 | next(counter), 0]);
    out.extend_from_slice(body);
    out.extend_from_slice(&crc32(body).to_be_bytes());
    out.resize(start + PACKET, 0xff);
}

/// CRC-32 of MPEG-2: polynomial 04C11DB7, not reflected, no final inversion (annex A).
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 }
        })
    })
}

/// Program clock reference: 33 bits of 90 kHz, 6 reserved, 9 of 27 MHz.
fn pcr(base: u64) -> [u8; 6] {
    let base = base & 0x1_ffff_ffff;
    let packed = (base << 15) | (0x3f << 9);
    let bytes = packed.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// PES header with PTS, and DTS where it differs (2.4.3.6). The length 0 means "until the next one".
fn pes_header(pts: u64, dts: u64) -> ([u8; 19], usize) {
    let mut header = [0u8; 19];
    let both = pts != dts;
    header[..6].copy_from_slice(&[0, 0, 1, STREAM_ID_VIDEO, 0, 0]);
    header[6] = 0x84; // marker bits, data aligned
    header[7] = if both { 0xc0 } else { 0x80 };
    header[8] = if both { 10 } else { 5 };
    header[9..14].copy_from_slice(&timestamp(if both { 3 } else { 2 }, pts));
    if both {
        header[14..19].copy_from_slice(&timestamp(1, dts));
    }
    (header, if both { 19 } else { 14 })
}

fn timestamp(prefix: u8, time: u64) -> [u8; 5] {
    [
        (prefix << 4) | ((time >> 29) as u8 & 0x0e) | 1,
        (time >> 22) as u8,
        ((time >> 14) as u8 & 0xfe) | 1,
        (time >> 7) as u8,
        ((time << 1) as u8 & 0xfe) | 1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime};

    use proptest::prelude::*;

    use crate::frames::AccessUnit;

    fn frame(data: Vec<u8>, pts: u64, dts: u64, keyframe: bool) -> Frame {
        let unit = AccessUnit {
            data: Bytes::from(data),
            pts: Duration::ZERO,
            keyframe,
            epoch: 1,
            captured_at: SystemTime::UNIX_EPOCH,
            captured: Instant::now(),
        };
        Frame { unit, pts, dts, duration: 3000, discontinuity: false }
    }

    /// Takes a stream apart again: PES payloads of the video PID, counters checked on the way.
    fn demux(stream: &[u8], counters: &mut std::collections::HashMap<u16, u8>) -> Vec<Vec<u8>> {
        assert_eq!(stream.len() % PACKET, 0);
        let mut pes: Vec<Vec<u8>> = Vec::new();
        for packet in stream.chunks(PACKET) {
            assert_eq!(packet[0], 0x47);
            let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
            let count = packet[3] & 0x0f;
            if let Some(last) = counters.insert(pid, count) {
                assert_eq!(count, (last + 1) & 0x0f, "continuity of {pid:#x}");
            }
            if pid != VIDEO_PID {
                continue;
            }
            let payload = 4 + if packet[3] & 0x20 != 0 { 1 + packet[4] as usize } else { 0 };
            if packet[1] & 0x40 != 0 {
                pes.push(Vec::new());
            }
            pes.last_mut().unwrap().extend_from_slice(&packet[payload..]);
        }
        pes
    }

    #[test]
    fn the_crc_is_that_of_mpeg_2() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn timestamps_and_clocks_are_packed_as_the_standard_says() {
        assert_eq!(timestamp(2, 0), [0x21, 0, 1, 0, 1]);
        assert_eq!(timestamp(3, 0x1_ffff_ffff), [0x3f, 0xff, 0xff, 0xff, 0xff]);
        // 33 bits wrap; what does not fit must not spill into the prefix.
        assert_eq!(timestamp(2, 1 << 33), timestamp(2, 0));
        assert_eq!(pcr(0), [0, 0, 0, 0, 0x7e, 0]);
        assert_eq!(pcr(0x1_ffff_ffff), [0xff, 0xff, 0xff, 0xff, 0xfe, 0]);
    }

    proptest! {
        #[test]
        fn every_access_unit_comes_out_whole_behind_a_delimiter(
            sizes in proptest::collection::vec(0usize..700, 1..20),
            parts in 1usize..5,
        ) {
            let mut muxer = Muxer::new();
            let mut stream = Vec::new();
            let mut sent = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                let mut data = vec![0, 0, 0, 1, 0x41];
                data.extend(std::iter::repeat_n(0xab, *size));
                let at = 900_000 + index as u64 * 3000;
                muxer.add(&frame(data.clone(), at + if index % 2 == 0 { 0 } else { 6000 }, at, index == 0));
                sent.push(data);
                if index % parts == 0 {
                    let part = muxer.take();
                    // Each part begins with its tables.
                    prop_assert_eq!(&part[..4], &[0x47, 0x40, 0, part[3]]);
                    stream.extend_from_slice(&part);
                }
            }
            stream.extend_from_slice(&muxer.take());
            prop_assert!(muxer.take().is_empty());
            let pes = demux(&stream, &mut std::collections::HashMap::new());
            prop_assert_eq!(pes.len(), sent.len());
            for (index, (pes, sent)) in pes.iter().zip(&sent).enumerate() {
                let header = if index % 2 == 0 { 14 } else { 19 };
                prop_assert_eq!(&pes[header..header + 6], &AUD);
                prop_assert_eq!(&pes[header + 6..], &sent[..]);
            }
        }
    }

    #[test]
    fn a_delimiter_that_is_there_is_not_doubled() {
        let data = vec![0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x65, 1];
        let mut muxer = Muxer::new();
        muxer.add(&frame(data.clone(), 900_000, 900_000, true));
        let pes = demux(&muxer.take(), &mut std::collections::HashMap::new());
        assert_eq!(pes[0][14..], data[..]);
    }
}
