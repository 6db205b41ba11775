//! When and by which camera a JPEG was taken, written into it and read back (Exif 2.32, JPEG: ITU-T T.81).
//! Pure; nothing here trusts a file.

use std::time::SystemTime;

use bytes::Bytes;

use super::status::millis;

const EXIF: &[u8] = b"Exif\0\0";
const DESCRIPTION: u16 = 0x010e;
const EXIF_IFD: u16 = 0x8769;
const TAKEN: u16 = 0x9003;
const OFFSET: u16 = 0x9011;
const SUBSEC: u16 = 0x9291;
const ASCII: u16 = 2;
const LONG: u16 = 4;

/// What a JPEG tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub size: Option<(u16, u16)>,
    pub camera: Option<String>,
    pub taken: Option<SystemTime>,
}

/// Writes camera and time into a JPEG; one that brings Exif of its own stays as it is.
pub fn stamp(jpeg: &Bytes, camera: &str, taken: SystemTime) -> Bytes {
    let Some(rest) = jpeg.strip_prefix(&[0xff, 0xd8]) else { return jpeg.clone() };
    if segments(jpeg).any(|(marker, body)| marker == 0xe1 && body.starts_with(EXIF)) {
        return jpeg.clone();
    }
    let block = block(camera, taken);
    let mut out = Vec::with_capacity(jpeg.len() + block.len() + 4);
    out.extend_from_slice(&[0xff, 0xd8, 0xff, 0xe1]);
    // A camera's id and a time are a few dozen bytes.
    out.extend_from_slice(&u16::try_from(block.len() + 2).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&block);
    out.extend_from_slice(rest);
    Bytes::from(out)
}

fn block(camera: &str, taken: SystemTime) -> Vec<u8> {
    let at = jiff::Timestamp::try_from(taken).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // 2026-11-28T23:40:04.123Z
    let text = format!("{at:.3}");
    let time = format!("{} {}\0", text[..10].replace('-', ":"), &text[11..19]);
    let subsec = format!("{}\0", &text[20..23]);
    let description = format!("{camera}\0");
    let mut out = EXIF.to_vec();
    let mut tiff = b"MM\0*\0\0\0\x08".to_vec();
    // Two directories of two and three entries, each followed by what does not fit in.
    let first = 8 + 2 + 2 * 12 + 4;
    let second = first + description.len().max(5);
    let behind = second + 2 + 3 * 12 + 4;
    let entry = |tiff: &mut Vec<u8>, tag: u16, kind: u16, count: usize, value: u32| {
        tiff.extend_from_slice(&tag.to_be_bytes());
        tiff.extend_from_slice(&kind.to_be_bytes());
        tiff.extend_from_slice(&(count as u32).to_be_bytes());
        tiff.extend_from_slice(&value.to_be_bytes());
    };
    tiff.extend_from_slice(&2u16.to_be_bytes());
    // At least five bytes, or they would stand in the entry itself.
    entry(&mut tiff, DESCRIPTION, ASCII, description.len().max(5), first as u32);
    entry(&mut tiff, EXIF_IFD, LONG, 1, second as u32);
    tiff.extend_from_slice(&[0; 4]);
    tiff.extend_from_slice(description.as_bytes());
    tiff.resize(second, 0);
    tiff.extend_from_slice(&3u16.to_be_bytes());
    entry(&mut tiff, TAKEN, ASCII, 20, behind as u32);
    entry(&mut tiff, OFFSET, ASCII, 7, behind as u32 + 20);
    let inline = subsec.as_bytes();
    entry(&mut tiff, SUBSEC, ASCII, 4, u32::from_be_bytes([inline[0], inline[1], inline[2], inline[3]]));
    tiff.extend_from_slice(&[0; 4]);
    tiff.extend_from_slice(time.as_bytes());
    tiff.extend_from_slice(b"+00:00\0\0");
    out.extend_from_slice(&tiff);
    out
}

/// Reads size, camera and time from the beginning of a JPEG.
pub fn read(jpeg: &[u8]) -> Facts {
    let mut facts = Facts::default();
    for (marker, body) in segments(jpeg) {
        match marker {
            0xe1 => {
                if let Some(tiff) = body.strip_prefix(EXIF) {
                    facts.camera = description(tiff);
                    facts.taken = taken(tiff);
                }
            }
            // Frame headers, but for DHT, JPG and DAC.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                facts.size = be16(body, 1).zip(be16(body, 3)).map(|(height, width)| (width, height));
            }
            _ => {}
        }
    }
    facts
}

/// The marker segments before the picture's data.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let [0xff, marker] = *jpeg.get(at..at + 2)? else { return None };
        if marker == 0xda {
            return None;
        }
        let length = usize::from(be16(jpeg, at + 2)?);
        let body = jpeg.get(at + 4..at + 2 + length)?;
        at += 2 + length;
        Some((marker, body))
    })
}

/// A value of one of our directories: big-endian as we write it.
fn value(tiff: &[u8], directory: u32, tag: u16) -> Option<(u32, usize)> {
    let at = directory as usize;
    let count = usize::from(be16(tiff, at)?);
    let entry = (0..count.min(64)).map(|n| at + 2 + 12 * n).find(|at| be16(tiff, *at) == Some(tag))?;
    Some((be32(tiff, entry + 8)?, be32(tiff, entry + 4)? as usize))
}

fn text(tiff: &[u8], directory: u32, tag: u16) -> Option<&str> {
    let (at, length) = value(tiff, directory, tag)?;
    let bytes = tiff.get(at as usize..(at as usize).checked_add(length)?)?;
    std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0'))
}

fn description(tiff: &[u8]) -> Option<String> {
    tiff.strip_prefix(b"MM\0*")?;
    let text = text(tiff, be32(tiff, 4)?, DESCRIPTION)?;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!text.is_empty() && text.len() <= 64 && text.chars().all(safe)).then(|| text.to_owned())
}

fn taken(tiff: &[u8]) -> Option<SystemTime> {
    tiff.strip_prefix(b"MM\0*")?;
    let (directory, _) = value(tiff, be32(tiff, 4)?, EXIF_IFD)?;
    let (time, offset) = (text(tiff, directory, TAKEN)?, text(tiff, directory, OFFSET)?);
    let subsec = value(tiff, directory, SUBSEC).map(|(value, _)| value.to_be_bytes());
    let subsec = subsec.as_ref().and_then(|bytes| std::str::from_utf8(&bytes[..3]).ok()).unwrap_or("000");
    let (date, time) = time.split_once(' ')?;
    let stamp = format!("{}T{time}.{subsec}{offset}", date.replace(':', "-"));
    let at: SystemTime = stamp.parse::<jiff::Timestamp>().ok()?.into();
    (millis(at) > 0).then_some(at)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    /// SOI, a frame header of 640x480, a scan without data, EOI.
    const JPEG: &[u8] =
        b"\xff\xd8\xff\xc0\0\x0b\x08\x01\xe0\x02\x80\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9";

    #[test]
    fn camera_and_time_are_read_back_and_the_picture_is_what_it_was() {
        for camera in ["front", "c", "a-camera-with-a-long-name_that_goes_on"] {
            let at = UNIX_EPOCH + Duration::from_millis(1_795_909_204_123);
            let stamped = stamp(&Bytes::from_static(JPEG), camera, at);
            let facts = Facts { size: Some((640, 480)), camera: Some(camera.into()), taken: Some(at) };
            assert_eq!(read(&stamped), facts);
            assert!(stamped.ends_with(&JPEG[2..]));
            assert_eq!(stamp(&stamped, "other", UNIX_EPOCH), stamped, "its own Exif stays");
        }
    }

    #[test]
    fn what_is_no_jpeg_is_left_alone() {
        let text = Bytes::from_static(b"no picture");
        assert_eq!(stamp(&text, "front", UNIX_EPOCH), text);
        assert_eq!(read(&text), Facts::default());
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..200) {
            read(&bytes);
            let mut jpeg = stamp(&Bytes::from_static(JPEG), "front", UNIX_EPOCH).to_vec();
            let at = at.min(jpeg.len());
            let end = (at + bytes.len().min(8)).min(jpeg.len());
            jpeg.splice(at..end, bytes.into_iter().take(8));
            read(&jpeg);
        }
    }
}
