//! Fragmented MP4 with one H.264 track: an initialization section, and one `moof` + `mdat` per part
//! (ISO/IEC 14496-12, 14496-15). Pure.
//!
//! `avc1` wants parameter sets out of band: they go into the initialization section and are taken out
//! of the samples, as are delimiters and filler.

use bytes::Bytes;

use super::timing::{Frame, TIMESCALE};
use crate::h264::{self, Sps, nal_type};

const TRACK: u32 = 1;
/// Sample flags (8.8.3.1): a sync sample depends on nothing; another one does and is not sync.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// The parameter sets of a stream, as an IDR access unit carries them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ParameterSets {
    pub sps: Vec<Vec<u8>>,
    pub pps: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Those in this access unit; `None` without an SPS and a PPS.
    pub fn of(access_unit: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        for nal in h264::nals(access_unit) {
            let list = match h264::kind(nal) {
                nal_type::SPS => &mut found.sps,
                nal_type::PPS => &mut found.pps,
                // They stand before the first slice.
                nal_type::SLICE..=nal_type::IDR => break,
                _ => continue,
            };
            if !list.iter().any(|known| known == nal) {
                list.push(nal.to_vec());
            }
        }
        (!found.sps.is_empty() && !found.pps.is_empty()).then_some(found)
    }

    /// What the first SPS says.
    pub fn parse(&self) -> Option<Sps> {
        self.sps.first().and_then(|sps| Sps::parse(sps))
    }
}

/// The initialization section: `ftyp` and `moov`.
pub fn init(sets: &ParameterSets, sps: &Sps) -> Bytes {
    let mut out = Vec::with_capacity(800);
    boxed(&mut out, b"ftyp", |b| b.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41"));
    boxed(&mut out, b"moov", |moov| {
        full(moov, b"mvhd", 0, 0, |b| {
            u32s(b, &[0, 0, TIMESCALE as u32, 0]);
            u32s(b, &[0x0001_0000]); // rate
            b.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // volume, reserved
            matrix(b);
            u32s(b, &[0; 6]);
            u32s(b, &[TRACK + 1]);
        });
        boxed(moov, b"trak", |trak| {
            // Enabled and in the movie.
            full(trak, b"tkhd", 0, 3, |b| {
                u32s(b, &[0, 0, TRACK, 0, 0, 0, 0, 0, 0]);
                matrix(b);
                u32s(b, &[sps.width << 16, sps.height << 16]);
            });
            boxed(trak, b"mdia", |mdia| {
                full(mdia, b"mdhd", 0, 0, |b| {
                    u32s(b, &[0, 0, TIMESCALE as u32, 0]);
                    b.extend_from_slice(&[0x55, 0xc4, 0, 0]); // language "und"
                });
                full(mdia, b"hdlr", 0, 0, |b| {
                    b.extend_from_slice(b"\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0video\0");
                });
                boxed(mdia, b"minf", |minf| {
                    full(minf, b"vmhd", 0, 1, |b| b.extend_from_slice(&[0; 8]));
                    boxed(minf, b"dinf", |dinf| {
                        full(dinf, b"dref", 0, 0, |b| {
                            u32s(b, &[1]);
                            full(b, b"url ", 0, 1, |_| {}); // in this file
                        });
                    });
                    boxed(minf, b"stbl", |stbl| {
                        full(stbl, b"stsd", 0, 0, |b| {
                            u32s(b, &[1]);
                            avc1(b, sets, sps);
                        });
                        full(stbl, b"stts", 0, 0, |b| u32s(b, &[0]));
                        full(stbl, b"stsc", 0, 0, |b| u32s(b, &[0]));
                        full(stbl, b"stsz", 0, 0, |b| u32s(b, &[0, 0]));
                        full(stbl, b"stco", 0, 0, |b| u32s(b, &[0]));
                    });
                });
            });
        });
        boxed(moov, b"mvex", |mvex| {
            full(mvex, b"trex", 0, 0, |b| u32s(b, &[TRACK, 1, 0, 0, 0]));
        });
    });
    Bytes::from(out)
}

fn avc1(out: &mut Vec<u8>, sets: &ParameterSets, sps: &Sps) {
    boxed(out, b"avc1", |b| {
        b.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // data_reference_index
        b.extend_from_slice(&[0; 16]);
        u16s(b, &[sps.width as u16, sps.height as u16]);
        u32s(b, &[0x0048_0000, 0x0048_0000, 0]); // 72 dpi
        u16s(b, &[1]); // frames in a sample
        b.extend_from_slice(&[0; 32]); // compressor name
        u16s(b, &[24, 0xffff]); // depth, pre_defined
        boxed(b, b"avcC", |b| {
            // Lengths of four bytes (14496-15, 5.3.3.1).
            b.extend_from_slice(&[1, sps.profile_idc, sps.constraints, sps.level_idc, 0xff]);
            let count = |list: &[Vec<u8>], max: usize| list.len().min(max);
            let (sps_count, pps_count) = (count(&sets.sps, 31), count(&sets.pps, 255));
            b.push(0xe0 | sps_count as u8);
            sets.sps[..sps_count].iter().for_each(|nal| with_length16(b, nal));
            b.push(pps_count as u8);
            sets.pps[..pps_count].iter().for_each(|nal| with_length16(b, nal));
            if matches!(sps.profile_idc, 100 | 110 | 122 | 144) {
                let (luma, chroma) = (sps.bit_depth_luma - 8, sps.bit_depth_chroma - 8);
                b.extend_from_slice(&[
                    0xfc | (sps.chroma_format_idc as u8 & 3),
                    0xf8 | luma as u8,
                    0xf8 | chroma as u8,
                    0,
                ]);
            }
        });
    });
}

/// Writes the parts of one stream.
#[derive(Debug, Default)]
pub struct Writer {
    sequence: u32,
    begins: u64,
    samples: Vec<Sample>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    duration: u32,
    size: u32,
    flags: u32,
    /// Presentation minus decoding time.
    offset: i32,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an access unit to the open part.
    pub fn add(&mut self, frame: &Frame) {
        if self.samples.is_empty() {
            self.begins = frame.dts;
        }
        let before = self.data.len();
        for nal in h264::nals(&frame.unit.data) {
            if matches!(h264::kind(nal), nal_type::SPS | nal_type::PPS | nal_type::AUD | nal_type::FILLER) {
                continue;
            }
            self.data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            self.data.extend_from_slice(nal);
        }
        self.samples.push(Sample {
            duration: u32::try_from(frame.duration).unwrap_or(u32::MAX),
            size: (self.data.len() - before) as u32,
            flags: if frame.unit.keyframe { SYNC } else { NOT_SYNC },
            offset: i32::try_from(frame.pts - frame.dts).unwrap_or(i32::MAX),
        });
    }

    /// The open part; empty if nothing was added.
    pub fn take(&mut self) -> Bytes {
        if self.samples.is_empty() {
            return Bytes::new();
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::with_capacity(self.data.len() + 16 * self.samples.len() + 128);
        let mut data_offset_at = 0;
        boxed(&mut out, b"moof", |moof| {
            full(moof, b"mfhd", 0, 0, |b| u32s(b, &[self.sequence]));
            boxed(moof, b"traf", |traf| {
                // default-base-is-moof
                full(traf, b"tfhd", 0, 0x02_0000, |b| u32s(b, &[TRACK]));
                full(traf, b"tfdt", 1, 0, |b| b.extend_from_slice(&self.begins.to_be_bytes()));
                // data offset, and per sample: duration, size, flags, signed composition offset
                full(traf, b"trun", 1, 0x0f01, |b| {
                    u32s(b, &[self.samples.len() as u32]);
                    data_offset_at = b.len();
                    u32s(b, &[0]);
                    for sample in &self.samples {
                        u32s(b, &[sample.duration, sample.size, sample.flags]);
                        b.extend_from_slice(&sample.offset.to_be_bytes());
                    }
                });
            });
        });
        let data_offset = (out.len() + 8) as u32;
        out[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
        boxed(&mut out, b"mdat", |b| b.extend_from_slice(&self.data));
        self.samples.clear();
        self.data.clear();
        Bytes::from(out)
    }
}

/// Writes one box: its header, and what `body` writes.
pub fn boxed(out: &mut Vec<u8>, name: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(name);
    body(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn full(out: &mut Vec<u8>, name: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, name, |b| {
        u32s(b, &[u32::from(version) << 24 | flags]);
        body(b);
    });
}

fn u32s(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_be_bytes()));
}

fn u16s(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_be_bytes()));
}

fn with_length16(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&(nal.len() as u16).to_be_bytes());
    out.extend_from_slice(nal);
}

/// The identity.
fn matrix(out: &mut Vec<u8>) {
    u32s(out, &[0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime};

    use crate::frames::AccessUnit;

    const SPS: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];

    fn idr() -> Vec<u8> {
        let mut unit = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1];
        unit.extend_from_slice(&SPS);
        unit.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 1, 0x65, 0xb8, 1, 2]);
        unit
    }

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

    fn find(bytes: &[u8], name: &[u8; 4]) -> usize {
        bytes.windows(4).position(|window| window == name).unwrap()
    }

    #[test]
    fn parameter_sets_are_found_and_doubles_are_dropped() {
        let mut unit = idr();
        let again = unit.clone();
        unit.splice(0..0, again[..again.len() - 7].iter().copied());
        let sets = ParameterSets::of(&unit).unwrap();
        assert_eq!((sets.sps.len(), sets.pps.len()), (1, 1));
        assert_eq!(sets.sps[0], SPS);
        assert_eq!(ParameterSets::of(&[0, 0, 1, 0x65, 1]), None);
    }

    #[test]
    fn the_initialization_section_holds_size_and_parameter_sets() {
        let sets = ParameterSets::of(&idr()).unwrap();
        let init = init(&sets, &sets.parse().unwrap());
        let avcc = find(&init, b"avcC");
        assert_eq!(init[avcc + 4..avcc + 12], [1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 9]);
        assert_eq!(init[avcc + 12..avcc + 21], SPS);
        let avc1 = find(&init, b"avc1");
        assert_eq!(init[avc1 + 28..avc1 + 32], [0x05, 0x00, 0x02, 0xd0]);
    }

    #[test]
    fn a_part_holds_its_samples_without_parameter_sets() {
        let mut writer = Writer::new();
        writer.add(&frame(idr(), 903_000, 900_000, true));
        writer.add(&frame(vec![0, 0, 0, 1, 0x41, 7], 903_000, 903_000, false));
        let part = writer.take();
        assert!(writer.take().is_empty());
        let tfdt = find(&part, b"tfdt");
        assert_eq!(part[tfdt + 8..tfdt + 16], 900_000u64.to_be_bytes());
        let trun = find(&part, b"trun");
        let words: Vec<u32> = part[trun + 8..trun + 8 + 10 * 4]
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        let mdat = find(&part, b"mdat");
        assert_eq!(words[0], 2);
        assert_eq!(words[1] as usize, mdat + 4, "data offset");
        assert_eq!(words[2..], [3000, 8, SYNC, 3000, 3000, 6, NOT_SYNC, 0]);
        assert_eq!(part[mdat + 4..], [0, 0, 0, 4, 0x65, 0xb8, 1, 2, 0, 0, 0, 2, 0x41, 7]);
    }
}
