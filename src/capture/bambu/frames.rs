//! Pictures out of the byte stream of port 6000. Pure: bytes in, pictures out, whatever the cuts.
//!
//! Each picture follows a header of 16 bytes, little-endian: its length, 0, 1, 0. In step, a header is
//! believed by its length and one of two things: its three constants, or a JPEG right behind it. Out of
//! step, the next place where both stand is looked for. What is no whole JPEG is skipped; too much of that
//! in a row, and the peer is given up. At most one picture is held.

use bytes::{Buf, Bytes, BytesMut};

use crate::capture::jpeg;

/// No printer's picture is larger.
pub const LARGEST: usize = 8 * 1024 * 1024;
/// Bytes that are skipped since the last picture before the peer is given up: one picture that is too
/// large, and some.
const PATIENCE: usize = 3 * LARGEST;

const HEADER: usize = 16;
const CONSTANTS: [u8; 12] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
const START: [u8; 3] = [0xff, 0xd8, 0xff];
/// What has to be there to believe a header.
const LOOK: usize = HEADER + START.len();

/// What the peer sends is not what a printer's camera sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing in the last {0} bytes is a picture")]
pub struct NoPictures(pub usize);

/// The receiving end of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    /// What came and is not used yet. Read into it.
    pub buffer: BytesMut,
    /// Since the last picture.
    skipped: usize,
    /// The place of the next header is not known.
    astray: bool,
}

impl Frames {
    /// The next whole picture; `None` until more has come.
    ///
    /// # Errors
    /// Nothing was a picture for too long: the stream is not worth reading on.
    pub fn next(&mut self) -> Result<Option<Bytes>, NoPictures> {
        while self.buffer.len() >= LOOK {
            let Some(length) = self.header() else {
                self.astray = true;
                let gone =
                    self.buffer.windows(LOOK).position(is_surely).unwrap_or(self.buffer.len() - LOOK + 1);
                self.skip(gone)?;
                continue;
            };
            let Some(whole) = HEADER.checked_add(length).filter(|whole| self.buffer.len() >= *whole) else {
                return Ok(None);
            };
            self.astray = false;
            let picture = self.buffer.split_to(whole).freeze().slice(HEADER..);
            if let Some(range) = jpeg::whole(&picture) {
                self.skipped = 0;
                return Ok(Some(picture.slice(range)));
            }
            self.give_up_after(whole)?;
        }
        Ok(None)
    }

    /// The length that the header in front names, if it is one.
    fn header(&self) -> Option<usize> {
        let look = self.buffer.get(..LOOK)?;
        let length = length(look)?;
        let (constants, start) = (look.get(4..HEADER)? == CONSTANTS, look.get(HEADER..)? == START);
        let believed = if self.astray { constants && start } else { constants || start };
        believed.then_some(length)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), NoPictures> {
        self.buffer.advance(bytes);
        self.give_up_after(bytes)
    }

    fn give_up_after(&mut self, more: usize) -> Result<(), NoPictures> {
        self.skipped += more;
        if self.skipped > PATIENCE { Err(NoPictures(self.skipped)) } else { Ok(()) }
    }
}

fn length(header: &[u8]) -> Option<usize> {
    let bytes = header.get(..4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(bytes)).ok()?;
    // Less than a look would be the next header already.
    (START.len()..=LARGEST).contains(&length).then_some(length)
}

/// Whether a header with a picture behind it begins here.
fn is_surely(look: &[u8]) -> bool {
    look.get(4..HEADER) == Some(&CONSTANTS)
        && look.get(HEADER..LOOK) == Some(&START)
        && length(look).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jpeg(body: &[u8]) -> Vec<u8> {
        [&START[..], body, &[0xff, 0xd9]].concat()
    }

    fn framed(picture: &[u8]) -> Vec<u8> {
        [&u32::try_from(picture.len()).unwrap().to_le_bytes()[..], &CONSTANTS, picture].concat()
    }

    /// Everything that comes out of `pieces`, and whether the stream was given up.
    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Bytes>, Option<NoPictures>) {
        let mut frames = Frames::default();
        let mut pictures = Vec::new();
        for piece in pieces {
            frames.buffer.extend_from_slice(piece);
            loop {
                match frames.next() {
                    Ok(Some(picture)) => pictures.push(picture),
                    Ok(None) => break,
                    Err(error) => return (pictures, Some(error)),
                }
            }
        }
        (pictures, None)
    }

    fn bodies(pictures: &[Bytes]) -> Vec<&[u8]> {
        pictures.iter().map(|picture| &picture[3..picture.len() - 2]).collect()
    }

    #[test]
    fn pictures_come_out_as_they_were_put_in() {
        let stream = [framed(&jpeg(b"one")), framed(&jpeg(b"two, padded")), framed(&jpeg(b""))].concat();
        let (pictures, error) = read([&stream[..]]);
        assert_eq!(bodies(&pictures), [&b"one"[..], b"two, padded", b""]);
        assert_eq!(error, None);
    }

    #[test]
    fn padding_behind_a_picture_is_cut_off() {
        let stream = framed(&[&jpeg(b"one")[..], &[0; 7]].concat());
        assert_eq!(bodies(&read([&stream[..]]).0), [b"one"]);
    }

    #[test]
    fn a_header_whose_constants_have_changed_is_believed_for_its_picture() {
        let mut stream = framed(&jpeg(b"one"));
        stream[8] = 7;
        stream.extend(framed(&jpeg(b"two")));
        assert_eq!(bodies(&read([&stream[..]]).0), [b"one", b"two"]);
    }

    #[test]
    fn what_is_not_a_whole_picture_is_skipped_and_the_next_one_comes() {
        let odd: &[&[u8]] = &[
            &framed(b"a frame that is no picture at all"),
            &framed(b"\xff\xd8\xff a picture that was cut short"),
            b"garbage between two pictures, of any length",
            &[0; 100],
            &[0xff; 33],
            &jpeg(b"a picture without a header"),
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ];
        for odd in odd {
            let stream =
                [&framed(&jpeg(b"one"))[..], odd, &framed(&jpeg(b"two")), &framed(&jpeg(b"three"))].concat();
            let (pictures, error) = read([&stream[..]]);
            assert_eq!(bodies(&pictures), [&b"one"[..], b"two", b"three"], "{odd:?}");
            assert_eq!(error, None);
        }
    }

    #[test]
    fn a_picture_that_is_too_large_is_not_gathered_and_the_next_one_comes() {
        let large = framed(&jpeg(&vec![7; LARGEST + 1024 * 1024]));
        let stream = [large, framed(&jpeg(b"two"))].concat();
        let mut frames = Frames::default();
        let mut pictures = Vec::new();
        let mut most = 0;
        for piece in stream.chunks(16 * 1024) {
            frames.buffer.extend_from_slice(piece);
            while let Some(picture) = frames.next().unwrap() {
                pictures.push(picture);
            }
            most = most.max(frames.buffer.len());
        }
        assert_eq!(bodies(&pictures), [b"two"]);
        assert!(most < LOOK, "{most} bytes were kept");
    }

    #[test]
    fn a_stream_without_pictures_is_given_up() {
        let text = b"HTTP/1.1 400 Bad Request\r\n".repeat(40_000);
        let (pictures, error) = read(std::iter::repeat_n(&text[..], 30));
        assert!(pictures.is_empty());
        assert!(error.is_some_and(|NoPictures(skipped)| skipped > PATIENCE));
        let hollow = framed(&[1; 60_000]);
        assert!(read(std::iter::repeat_n(&hollow[..], 500)).1.is_some(), "frames that are no pictures");
    }

    fn anything() -> impl Strategy<Value = Vec<u8>> {
        let picture = proptest::collection::vec(any::<u8>(), 0..200).prop_map(|body| framed(&jpeg(&body)));
        let hollow = proptest::collection::vec(any::<u8>(), 0..60).prop_map(|body| framed(&body));
        let garbage =
            proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..60);
        let parts = prop_oneof![4 => picture, 1 => hollow, 2 => garbage];
        proptest::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_change_nothing(
            stream in anything(),
            cuts in proptest::collection::vec(1_usize..70, 1..20),
        ) {
            let whole = read([&stream[..]]);
            let mut pieces = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(read(pieces), whole);
        }

        #[test]
        fn whatever_comes_out_is_a_whole_jpeg_and_was_in_the_stream(stream in anything()) {
            for picture in read([&stream[..]]).0 {
                prop_assert!(picture.starts_with(&START) && picture.ends_with(&[0xff, 0xd9]));
                prop_assert!(stream.windows(picture.len()).any(|part| part == picture));
            }
        }

        #[test]
        fn pictures_alone_all_come_out(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..10),
        ) {
            // The last end of a picture counts: one that ends early within would be cut there by nobody.
            let pictures: Vec<_> = bodies.iter().map(|body| jpeg(body)).collect();
            let stream = pictures.iter().map(|picture| framed(picture)).collect::<Vec<_>>().concat();
            let (given, error) = read([&stream[..]]);
            prop_assert_eq!(error, None);
            prop_assert_eq!(given.len(), pictures.len());
            prop_assert!(given.iter().zip(&pictures).all(|(given, put)| given[..] == put[..]));
        }
    }
}
