//! H.264 access units as RTP payloads (RFC 6184, packetization-mode 1), made once for all viewers: by WebRTC
//! as packets of their own, by RTSP as pieces of one buffer.
//!
//! Small NAL units travel together (STAP-A), large ones in pieces (FU-A), the rest alone. Pieces are of
//! equal size but the last, so that one call sends many of them (segmentation offload).

use std::sync::Arc;

use crate::h264::{self, nal_type};

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Forbidden-zero and importance bits of a NAL header.
const F_NRI: u8 = 0xe0;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// The payloads of one access unit, each in a buffer of its own.
pub fn payloads(access_unit: &[u8], max: usize) -> Vec<Arc<[u8]>> {
    let mut packets = Vec::with_capacity(access_unit.len() / max + 2);
    packetize(access_unit, max, |head, body| {
        packets.push(if head.is_empty() { Arc::from(body) } else { [head, body].concat().into() });
    });
    packets
}

/// Gives the payloads of one access unit in Annex B form to `emit`, each in two parts to be joined, none
/// larger than `max` (at least 3). Delimiters and filler are left out.
pub fn packetize(access_unit: &[u8], max: usize, mut emit: impl FnMut(&[u8], &[u8])) {
    let mut together = Together::default();
    for nal in h264::nals(access_unit) {
        match h264::kind(nal) {
            nal_type::AUD | nal_type::FILLER => continue,
            // 0 and 24 to 31 are not for byte streams; their numbers mean other things in RTP.
            1..=23 => {}
            _ => continue,
        }
        if nal.len() > max {
            together.flush(&mut emit);
            fragment(nal, max, &mut emit);
            continue;
        }
        if !together.takes(nal, max) {
            together.flush(&mut emit);
        }
        together.push(nal);
    }
    together.flush(&mut emit);
}

/// NAL units that wait to be sent in one packet.
#[derive(Default)]
struct Together<'a> {
    nals: Vec<&'a [u8]>,
    /// As a STAP-A: its header, and a length before each.
    size: usize,
}

impl<'a> Together<'a> {
    fn takes(&self, nal: &[u8], max: usize) -> bool {
        self.nals.is_empty() || self.size + 2 + nal.len() <= max
    }

    fn push(&mut self, nal: &'a [u8]) {
        self.size = if self.nals.is_empty() { 1 } else { self.size } + 2 + nal.len();
        self.nals.push(nal);
    }

    fn flush(&mut self, emit: &mut impl FnMut(&[u8], &[u8])) {
        match self.nals.as_slice() {
            [] => {}
            [nal] => emit(&[], nal),
            nals => {
                let forbidden = nals.iter().fold(0, |f, nal| f | nal[0] & 0x80);
                let importance = nals.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0);
                let mut packet = Vec::with_capacity(self.size);
                packet.push(forbidden | importance | STAP_A);
                for nal in nals {
                    packet.extend_from_slice(&(nal.len() as u16).to_be_bytes());
                    packet.extend_from_slice(nal);
                }
                emit(&[], &packet);
            }
        }
        self.nals.clear();
    }
}

fn fragment(nal: &[u8], max: usize, emit: &mut impl FnMut(&[u8], &[u8])) {
    let indicator = nal[0] & F_NRI | FU_A;
    let kind = nal[0] & 0x1f;
    let mut pieces = nal[1..].chunks(max - 2).peekable();
    let mut position = FU_START;
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            position |= FU_END;
        }
        emit(&[indicator, position | kind], piece);
        position = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a viewer does with the payloads.
    fn depacketize(packets: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        for packet in packets {
            match packet[0] & 0x1f {
                STAP_A => {
                    let mut rest = &packet[1..];
                    while let [high, low, more @ ..] = rest {
                        let length = usize::from(u16::from_be_bytes([*high, *low]));
                        nals.push(more[..length].to_vec());
                        rest = &more[length..];
                    }
                    assert!(rest.is_empty());
                }
                FU_A => {
                    let (start, end) = (packet[1] & FU_START != 0, packet[1] & FU_END != 0);
                    assert_eq!(start, !open, "a fragment begins when none is open");
                    if start {
                        nals.push(vec![packet[0] & F_NRI | packet[1] & 0x1f]);
                    }
                    nals.last_mut().unwrap().extend_from_slice(&packet[2..]);
                    open = !end;
                }
                _ => nals.push(packet.to_vec()),
            }
        }
        assert!(!open);
        nals
    }

    fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], nal.as_slice()].concat()).collect()
    }

    #[test]
    fn parameter_sets_travel_together_and_a_large_slice_in_equal_pieces() {
        let (sps, pps, idr) = (vec![0x67; 20], vec![0x28; 5], [vec![0x65], vec![0xab; 2500]].concat());
        let unit = annex_b(&[vec![9, 0xf0], sps.clone(), pps.clone(), idr.clone()]);
        let packets = payloads(&unit, 1160);
        let sizes: Vec<usize> = packets.iter().map(|packet| packet.len()).collect();
        assert_eq!(sizes, [1 + 2 + 20 + 2 + 5, 1160, 1160, 2500 - 2 * 1158 + 2]);
        assert_eq!(packets[0][0], 0x60 | STAP_A, "as important as its most important");
        assert_eq!(packets[1][..2], [0x60 | FU_A, FU_START | 5]);
        assert_eq!(packets[2][..2], [0x60 | FU_A, 5]);
        assert_eq!(packets[3][..2], [0x60 | FU_A, FU_END | 5]);
        assert_eq!(depacketize(&packets), [sps, pps, idr]);
    }

    #[test]
    fn a_nal_that_just_fits_travels_alone_and_one_byte_more_in_two_pieces() {
        for (length, packets) in [(1159, 1), (1160, 1), (1161, 2)] {
            let nal = [vec![0x41], vec![1; length - 1]].concat();
            assert_eq!(payloads(&annex_b(&[nal]), 1160).len(), packets, "{length}");
        }
        assert!(payloads(&[], 1160).is_empty());
        assert!(payloads(&[1, 2, 3], 1160).is_empty());
    }

    proptest! {
        #[test]
        fn the_same_nal_units_come_out_and_no_payload_is_too_large(
            nals in proptest::collection::vec((1u8..=23, 0u8..4, proptest::collection::vec(1u8.., 0..4000)), 0..8),
            max in 50usize..1400,
        ) {
            let nals: Vec<Vec<u8>> = nals
                .into_iter()
                .filter(|(kind, ..)| ![nal_type::AUD, nal_type::FILLER].contains(kind))
                .map(|(kind, importance, body)| [vec![importance << 5 | kind], body].concat())
                .collect();
            let packets = payloads(&annex_b(&nals), max);
            prop_assert!(packets.iter().all(|packet| packet.len() <= max));
            prop_assert_eq!(depacketize(&packets), nals);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            payloads(&bytes, 20);
        }
    }
}
