//! What a client sends, cut into messages. Requests are found by their blank line and their length and only
//! then parsed; interleaved frames (receivers' reports) are passed over without being kept.
//!
//! Everything here comes from the network: heads, bodies and what is kept are bounded.

use rtsp_types::{Message, Request};

/// Largest head of a request, and largest body: ours need neither.
pub const MAX_HEAD: usize = 8 * 1024;
pub const MAX_BODY: usize = 8 * 1024;
/// Header lines of a request.
const MAX_LINES: usize = 64;

/// The bytes of one connection that are not understood yet.
#[derive(Debug, Default)]
pub struct Input {
    waiting: Vec<u8>,
    /// Of an interleaved frame that is passed over.
    skip: usize,
}

/// One thing that a client sent.
#[derive(Debug)]
pub enum Sent {
    Request(Request<Vec<u8>>),
    /// An interleaved frame, or an answer to nothing: a sign of life.
    Life,
}

/// What cannot be gone on from: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Not RTSP.
    NotRtsp,
    HeadTooLarge,
    BodyTooLarge,
}

impl Input {
    pub fn push(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        self.waiting.extend_from_slice(bytes);
    }

    /// Whether a message has begun and is not whole.
    pub fn half(&self) -> bool {
        self.skip > 0 || !self.waiting.is_empty()
    }

    /// The next whole message.
    pub fn next(&mut self) -> Result<Option<Sent>, Garbage> {
        // Blank lines between messages are no harm.
        let blank = self.waiting.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.take(blank);
        match *self.waiting.as_slice() {
            [] => Ok(None),
            [b'$', _, high, low, ..] => {
                let length = 4 + usize::from(u16::from_be_bytes([high, low]));
                let here = length.min(self.waiting.len());
                self.take(here);
                self.skip = length - here;
                Ok(Some(Sent::Life))
            }
            [b'$', ..] => Ok(None),
            _ => self.message(),
        }
    }

    fn message(&mut self) -> Result<Option<Sent>, Garbage> {
        // The method first: a stream of something else is told from a request before it is waited for.
        if !self.waiting.iter().take(8).all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Err(Garbage::NotRtsp);
        }
        let searched = &self.waiting[..self.waiting.len().min(MAX_HEAD)];
        let Some(head) = searched.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            return if self.waiting.len() >= MAX_HEAD { Err(Garbage::HeadTooLarge) } else { Ok(None) };
        };
        let length = head + body_length(&self.waiting[..head])?;
        if self.waiting.len() < length {
            return Ok(None);
        }
        let message = match Message::parse(&self.waiting[..length]) {
            Ok((message, used)) if used == length => message,
            _ => return Err(Garbage::NotRtsp),
        };
        self.take(length);
        match message {
            Message::Request(request) => Ok(Some(Sent::Request(request))),
            Message::Response(_) | Message::Data(_) => Ok(Some(Sent::Life)),
        }
    }

    /// Lets go of the first bytes, and of the memory with the last of them.
    fn take(&mut self, count: usize) {
        if count == self.waiting.len() {
            self.waiting = Vec::new();
        } else {
            self.waiting.drain(..count);
        }
    }
}

/// The length of the body that a head announces.
fn body_length(head: &[u8]) -> Result<usize, Garbage> {
    let mut length = None;
    for (number, line) in head.split(|byte| *byte == b'\n').enumerate() {
        if number > MAX_LINES {
            return Err(Garbage::HeadTooLarge);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if !line[..colon].eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let value = std::str::from_utf8(&line[colon + 1..]).map_err(|_| Garbage::NotRtsp)?.trim();
        // Digits only, and two that differ are an attempt to hide something.
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Garbage::NotRtsp);
        }
        let value = value.parse().unwrap_or(usize::MAX);
        if value > MAX_BODY {
            return Err(Garbage::BodyTooLarge);
        }
        if length.replace(value).is_some_and(|before| before != value) {
            return Err(Garbage::NotRtsp);
        }
    }
    Ok(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtsp_types::Method;

    const OPTIONS: &[u8] = b"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    const SET: &[u8] = b"SET_PARAMETER rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\ncontent-length: 5\r\n\r\nhello";

    /// What is found in these bytes, given in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<String>, Garbage> {
        let mut input = Input::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            input.push(piece);
            while let Some(sent) = input.next()? {
                found.push(match sent {
                    Sent::Request(request) => {
                        let method: &str = request.method().into();
                        format!("{method} {}", String::from_utf8_lossy(request.body()))
                    }
                    Sent::Life => "life".to_owned(),
                });
            }
        }
        Ok(found)
    }

    fn report(length: u16) -> Vec<u8> {
        [&[b'$', 1][..], &length.to_be_bytes(), &vec![0x0d; usize::from(length)]].concat()
    }

    #[test]
    fn requests_and_reports_are_told_apart_however_they_arrive() {
        let bytes = [OPTIONS, &report(32), b"\r\n", SET, &report(0), &report(60_000), OPTIONS].concat();
        let expected = ["OPTIONS ", "life", "SET_PARAMETER hello", "life", "life", "OPTIONS "];
        for piece in [1, 3, 7, 100, 1 << 20] {
            assert_eq!(read(&bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_frame_is_passed_over_without_being_kept() {
        let mut input = Input::default();
        input.push(&report(65_535)[..100]);
        assert!(matches!(input.next(), Ok(Some(Sent::Life))));
        assert!(input.waiting.is_empty() && input.half());
        input.push(&[7; 65_535 - 96]);
        assert!(input.waiting.is_empty() && !input.half());
    }

    #[test]
    fn what_is_no_rtsp_or_too_large_is_refused_as_such() {
        let long = [&OPTIONS[..OPTIONS.len() - 2], b"X: ", &[b'x'; MAX_HEAD], b"\r\n\r\n"].concat();
        let lines =
            [&OPTIONS[..OPTIONS.len() - 2], "A: b\r\n".repeat(MAX_LINES).as_bytes(), b"\r\n"].concat();
        let with = |length: &str| format!("OPTIONS * RTSP/1.0\r\n{length}\r\n\r\n").into_bytes();
        for (bytes, expected) in [
            (long, Garbage::HeadTooLarge),
            (lines, Garbage::HeadTooLarge),
            (vec![b'A'; MAX_HEAD], Garbage::HeadTooLarge),
            (with("Content-Length: 99999"), Garbage::BodyTooLarge),
            (with("Content-Length: 99999999999999999999999999"), Garbage::BodyTooLarge),
            (with("Content-Length: -1"), Garbage::NotRtsp),
            (with("Content-Length: 0\r\nContent-Length: 5"), Garbage::NotRtsp),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Garbage::NotRtsp),
            (vec![0x16, 3, 1, 2, 0, 1, 0, 1], Garbage::NotRtsp),
        ] {
            assert_eq!(read(&bytes, 1 << 20).unwrap_err(), expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn methods_are_known_by_name() {
        let mut input = Input::default();
        input.push(OPTIONS);
        let Ok(Some(Sent::Request(request))) = input.next() else { panic!() };
        assert_eq!(request.method(), Method::Options);
        assert!(!input.half());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_or_make_it_keep_more_than_a_message(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)
        ) {
            let mut input = Input::default();
            for piece in pieces {
                input.push(&piece);
                while let Ok(Some(_)) = input.next() {}
                prop_assert!(input.waiting.len() <= MAX_HEAD + MAX_BODY + 200);
            }
        }

        #[test]
        fn a_request_that_was_tampered_with_breaks_nothing(
            tampering in proptest::collection::vec((0usize..300, any::<u8>(), 0u8..3), 1..8), piece in 1usize..50
        ) {
            let mut bytes = [OPTIONS, &report(8), SET, OPTIONS].concat();
            for (at, byte, how) in tampering {
                let at = at % bytes.len();
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            let _ = read(&bytes, piece);
        }
    }
}
