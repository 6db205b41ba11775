//! Recordings as files: what is written beside the boxes of the muxer, and how a file is read back, whether
//! it was closed, cut off by a power failure, or put there by hand.
//!
//! After the initialization section stands a `uuid` box of ours with the camera and the time of the first
//! picture, so that the index can be made anew from the files. Nothing here trusts a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::mux::fmp4::boxed;

/// Names our box.
const UUID: [u8; 16] = *b"fanlight-recordg";
const VERSION: u8 = 1;
/// No `moov` or `moof` of a camera is larger.
const HEAD_LIMIT: u64 = 4 * 1024 * 1024;
/// Nor has a file more fragments: a week of 200 ms.
const FRAGMENTS: usize = 3_100_000;

/// Which camera, and when its first picture was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub camera: String,
    pub began: SystemTime,
}

/// The box that tells it.
pub fn origin_box(origin: &Origin) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let millis = origin.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    boxed(&mut out, b"uuid", |b| {
        b.extend_from_slice(&UUID);
        b.push(VERSION);
        b.extend_from_slice(&u64::try_from(millis).unwrap_or(u64::MAX).to_be_bytes());
        b.extend_from_slice(origin.camera.as_bytes());
    });
    out
}

/// What a file is, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Only in files of ours.
    pub origin: Option<Origin>,
    pub width: u32,
    pub height: u32,
    pub duration: Duration,
    /// Length of what stands before the first fragment.
    pub init: u64,
    pub fragments: Vec<Piece>,
    /// Beyond it is what a power cut left: a part of a box, or of a fragment.
    pub whole: u64,
    /// Something before that makes no sense: no power cut left that.
    pub odd: bool,
}

/// One fragment of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub bytes: u64,
    pub begins: Duration,
    pub ends: Duration,
    pub keyframe: bool,
}

/// Reads what stands in a file. A fragment that makes no sense is passed over.
///
/// # Errors
/// Of the disk, not of the content.
pub fn read(file: &mut File) -> io::Result<Contents> {
    let size = file.metadata()?.len();
    let mut contents = Contents::default();
    let mut timescale = 0;
    // A fragment whose pictures have not come yet: where it begins, and what it is.
    let mut open: Option<(u64, Option<Piece>)> = None;
    while let Some((kind, header, length)) = header(file, contents.whole, size)? {
        if length < header {
            (contents.whole, contents.odd, open) = (size, true, None);
            break;
        }
        let at = contents.whole;
        let mut body = || {
            file.seek(SeekFrom::Start(at + header))?;
            let mut body = Vec::new();
            file.by_ref().take((length - header).min(HEAD_LIMIT)).read_to_end(&mut body)?;
            io::Result::Ok(body)
        };
        match &kind {
            b"moov" => {
                let moov = body()?;
                timescale = movie(&moov, &mut contents);
            }
            b"uuid" => contents.origin = contents.origin.take().or(origin(&body()?)),
            b"moof" => {
                if contents.init == 0 {
                    contents.init = at;
                }
                let timing = fragment(&body()?, timescale);
                let piece = timing.map(|timing| Piece { offset: at, bytes: length, ..timing });
                contents.odd |= open.replace((at, piece)).is_some();
            }
            b"mdat" => match open.take() {
                Some((_, Some(piece))) => {
                    let piece = Piece { bytes: piece.bytes + length, ..piece };
                    contents.duration = contents.duration.max(piece.ends);
                    contents.fragments.push(piece);
                }
                Some((_, None)) => contents.odd = true,
                None => {}
            },
            _ => {}
        }
        contents.whole = at + length;
        if contents.fragments.len() >= FRAGMENTS {
            (contents.whole, contents.odd) = (size, true);
            break;
        }
    }
    // A fragment without its pictures is no whole one.
    if let Some((at, _)) = open {
        contents.whole = at;
    }
    Ok(contents)
}

/// Kind, length of the header and of the whole box at this place, which may be said to be shorter than its
/// header; `None` when it is not all there.
fn header(file: &mut File, at: u64, size: u64) -> io::Result<Option<([u8; 4], u64, u64)>> {
    let mut head = [0; 16];
    let there = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(16);
    if there < 8 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut head[..there])?;
    let [a, b, c, d, kind @ ..] = [head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]];
    let (header, length) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (8, size - at),
        1 if there == 16 => (16, be64(&head, 8).unwrap_or_default()),
        length => (8, u64::from(length)),
    };
    let whole = at.checked_add(length.max(header)).is_some_and(|end| end <= size);
    Ok(whole.then_some((kind, header, length)))
}

/// The boxes in a box.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = be32(bytes, 0)? as usize;
        let (kind, body) = (bytes.get(4..8)?, bytes.get(8..length)?);
        bytes = &bytes[length..];
        Some((kind, body))
    })
}

fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(bytes).find(|(found, _)| found == kind).map(|(_, body)| body)
}

/// Size and, of a file without fragments, duration; the timescale of the track.
fn movie(moov: &[u8], contents: &mut Contents) -> u32 {
    for (_, trak) in children(moov).filter(|(kind, _)| kind == b"trak") {
        let version = |body: &[u8]| usize::from(body.first() == Some(&1));
        let tkhd = child(trak, b"tkhd").unwrap_or_default();
        let size = 76 + 12 * version(tkhd);
        let mdhd = child(trak, b"mdia").and_then(|mdia| child(mdia, b"mdhd")).unwrap_or_default();
        let Some(timescale) = be32(mdhd, 12 + 8 * version(mdhd)).filter(|scale| *scale > 0) else { continue };
        let [width, height] = [size, size + 4].map(|at| be32(tkhd, at).unwrap_or_default() >> 16);
        if width == 0 {
            continue;
        }
        let duration = match version(mdhd) {
            0 => be32(mdhd, 16).map(u64::from),
            _ => be64(mdhd, 24),
        };
        (contents.width, contents.height) = (width, height);
        contents.duration = seconds(duration.unwrap_or_default(), timescale);
        return timescale;
    }
    0
}

/// When a fragment begins and ends, and whether it begins with a keyframe.
fn fragment(moof: &[u8], timescale: u32) -> Option<Piece> {
    let traf = child(moof, b"traf")?;
    let tfdt = child(traf, b"tfdt")?;
    let begins = if tfdt.first() == Some(&1) { be64(tfdt, 4)? } else { u64::from(be32(tfdt, 4)?) };
    let trun = child(traf, b"trun")?;
    let flags = be32(trun, 0)? & 0x00ff_ffff;
    let samples = be32(trun, 4)? as usize;
    let mut at = 8 + 4 * ((flags & 1) + (flags >> 2 & 1)) as usize;
    let fields = (flags >> 8 & 15).count_ones() as usize;
    // Ours have duration and flags for every sample.
    if flags & 0x500 != 0x500 || samples > trun.len() {
        return None;
    }
    let flags_at = 4 * (flags >> 8 & 3).count_ones() as usize;
    let keyframe = be32(trun, at + flags_at)? & 0x0001_0000 == 0;
    let mut length = 0u64;
    for _ in 0..samples {
        length += u64::from(be32(trun, at)?);
        at += 4 * fields;
    }
    let ends = begins.checked_add(length)?;
    let (begins, ends) = (seconds(begins, timescale), seconds(ends, timescale));
    Some(Piece { offset: 0, bytes: 0, begins, ends, keyframe })
}

fn origin(body: &[u8]) -> Option<Origin> {
    let rest = body.strip_prefix(&UUID)?.strip_prefix(&[VERSION])?;
    let began = UNIX_EPOCH.checked_add(Duration::from_millis(be64(rest, 0)?))?;
    let camera = std::str::from_utf8(rest.get(8..)?).ok()?;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (camera.len() <= 64 && camera.chars().all(safe)).then(|| Origin { camera: camera.to_owned(), began })
}

fn seconds(ticks: u64, timescale: u32) -> Duration {
    let scale = u64::from(timescale.max(1));
    let nanos = u128::from(ticks % scale) * 1_000_000_000 / u128::from(scale);
    Duration::new(ticks / scale, u32::try_from(nanos).unwrap_or_default())
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::frames::AccessUnit;
    use crate::record::cutter::{Cutter, Lengths, Step};

    const IDR: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80,
        0, 0, 0, 1, 0x65, 0xb8, 1, 2,
    ];

    fn origin() -> Origin {
        Origin { camera: "front".into(), began: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123) }
    }

    /// Four seconds, 25 pictures a second, a keyframe every two.
    fn recording() -> Vec<u8> {
        let second = Duration::from_secs(1);
        let mut cutter =
            Cutter::new(Lengths { fragment: second, segment: 60 * second, segment_bytes: u64::MAX });
        let unit = |n: u64| AccessUnit {
            data: if n.is_multiple_of(50) { IDR } else { &[0, 0, 0, 1, 0x41, 0x9a, 1] }.into(),
            pts: Duration::from_millis(n * 40),
            keyframe: n.is_multiple_of(50),
            epoch: 1,
            captured_at: UNIX_EPOCH,
            captured: Instant::now(),
        };
        let mut steps: Vec<Step> = (0..100).flat_map(|n| cutter.push(unit(n))).collect();
        steps.extend(cutter.finish());
        let mut bytes = Vec::new();
        for step in steps {
            match step {
                Step::Open(head) => bytes.extend([head.init.to_vec(), origin_box(&origin())].concat()),
                Step::Fragment(fragment) => bytes.extend_from_slice(&fragment.data),
                Step::Close => {}
            }
        }
        bytes
    }

    fn read_bytes(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&mut file).unwrap()
    }

    #[test]
    fn a_recording_tells_its_camera_its_time_and_its_fragments() {
        let bytes = recording();
        let contents = read_bytes(&bytes);
        assert_eq!(contents.origin, Some(origin()));
        assert_eq!((contents.width, contents.height), (1280, 720));
        assert_eq!(contents.duration, Duration::from_secs(4));
        assert_eq!(contents.whole, bytes.len() as u64);
        let pieces: Vec<_> = contents
            .fragments
            .iter()
            .map(|p| (p.begins.as_millis(), p.ends.as_millis(), p.keyframe))
            .collect();
        assert_eq!(pieces, [(0, 1000, true), (1000, 2000, false), (2000, 3000, true), (3000, 4000, false)]);
        assert_eq!(contents.fragments[0].offset, contents.init);
        let bytes_of = contents.fragments.iter().map(|piece| piece.bytes).sum::<u64>();
        assert_eq!(contents.init + bytes_of, contents.whole);
    }

    #[test]
    fn of_a_file_that_was_cut_off_everything_up_to_the_last_whole_fragment_is_left() {
        let bytes = recording();
        let contents = read_bytes(&bytes);
        for (index, piece) in contents.fragments.iter().enumerate() {
            for cut in [1, 8, 9, piece.bytes / 2, piece.bytes - 1] {
                let cut_off = read_bytes(&bytes[..(piece.offset + cut) as usize]);
                assert_eq!(cut_off.whole, piece.offset, "fragment {index} cut at {cut}");
                assert_eq!(cut_off.fragments.len(), index);
            }
        }
    }

    #[test]
    fn a_fragment_that_makes_no_sense_is_passed_over_and_the_file_counts_as_whole() {
        let bytes = recording();
        let pieces = read_bytes(&bytes).fragments;
        let mut odd = bytes.clone();
        let at = pieces[1].offset as usize;
        let traf = at + bytes[at..].windows(4).position(|kind| kind == b"traf").unwrap();
        odd[traf..traf + 4].copy_from_slice(b"free");
        let contents = read_bytes(&odd);
        assert_eq!((contents.whole, contents.odd), (bytes.len() as u64, true));
        assert_eq!(contents.fragments, [pieces[0], pieces[2], pieces[3]]);
        // A length that cannot be.
        odd[at..at + 4].copy_from_slice(&[0, 0, 0, 3]);
        let contents = read_bytes(&odd);
        assert_eq!((contents.whole, contents.odd), (bytes.len() as u64, true));
        assert_eq!(contents.fragments, pieces[..1]);
        assert!(!read_bytes(&bytes).odd);
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_no_danger(
            garbage in proptest::collection::vec(any::<u8>(), 0..400),
            at in 0usize..3000,
        ) {
            read_bytes(&garbage);
            let mut bytes = recording();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + garbage.len()).min(bytes.len()), garbage);
            let size = bytes.len() as u64;
            let contents = read_bytes(&bytes);
            prop_assert!(contents.whole <= size);
        }
    }
}
