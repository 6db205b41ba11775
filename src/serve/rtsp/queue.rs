//! What waits to be written to one connection: answers, and pictures while it plays.
//!
//! A picture that the socket takes at once never waits. A reader that falls behind loses whole pictures up
//! to the next keyframe; one that takes nothing for [`PATIENCE`] is cut. Answers are never lost and never
//! land inside a picture. Pure: the socket is a function, the time an argument.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Pictures that may wait, about a second of them, and their bytes.
const MAX_PICTURES: usize = 30;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Answers that may wait: a client that asks on and on without reading is cut.
const MAX_ANSWERS: usize = 64;
/// How long a reader may take nothing while something waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Piece>,
    /// Whether the first piece is partly written: it must be written to its end.
    begun: bool,
    play: Play,
    /// When the socket last took something.
    progress: Option<Instant>,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// What the socket has of it.
    written: usize,
    picture: bool,
}

impl Piece {
    fn new(bytes: Bytes, picture: bool) -> Self {
        Self { bytes, written: 0, picture }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Leaves out what follows the packet that has begun: the rest of it must go out, or the client could not
    /// tell where the next one begins.
    fn cut_short(&mut self) {
        let mut end = 0;
        while end < self.written {
            end = match self.bytes.get(end..end + 4) {
                Some([b'$', _, high, low]) => end + 4 + usize::from(u16::from_be_bytes([*high, *low])),
                // No packets: it is one.
                _ => return,
            };
        }
        self.bytes.truncate(end);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Play {
    #[default]
    Off,
    /// From the next keyframe on; whether pictures are lost meanwhile, or were never promised.
    Next {
        losing: bool,
    },
    On,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The client is gone.
    Gone,
    /// It asks without reading the answers.
    Flooding,
}

/// What became of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The socket has it.
    Written,
    /// It waits for the socket; whether somebody has to be told, because nothing waited before.
    Waits { first: bool },
    /// It is not for this reader: it does not play, or begins at a keyframe later.
    Skipped,
    /// Whole pictures were lost, this one among them or not.
    Lost(u64),
}

impl Queue {
    /// Plays from here on: the kept group first, or the next keyframe where there is none.
    pub fn play(&mut self, group: Option<Bytes>, now: Instant) {
        self.play = Play::Next { losing: false };
        if let Some(bytes) = group {
            self.play = Play::On;
            self.wait(Piece::new(bytes, true), now);
        }
    }

    /// Plays no longer; what waits of pictures is forgotten.
    pub fn stop(&mut self) {
        self.play = Play::Off;
        self.forget_pictures();
    }

    /// What waits of pictures is not to be seen any more, nor what follows of one, or of a kept group, that is
    /// partly written, beyond the packet that has begun; it goes on at the next keyframe.
    pub fn retract(&mut self) {
        self.forget_pictures();
        if self.begun
            && let Some(first) = self.waiting.front_mut().filter(|first| first.picture)
        {
            first.cut_short();
            if first.rest().is_empty() {
                self.waiting.pop_front();
                self.begun = false;
            }
        }
        if self.play == Play::On {
            self.play = Play::Next { losing: false };
        }
    }

    pub fn answer(&mut self, bytes: Bytes, now: Instant) -> Result<(), Cut> {
        if self.waiting.iter().filter(|piece| !piece.picture).count() >= MAX_ANSWERS {
            return Err(Cut::Flooding);
        }
        self.wait(Piece::new(bytes, false), now);
        Ok(())
    }

    /// Takes a picture for a reader that plays: at most one call of `write`.
    pub fn picture(
        &mut self,
        bytes: &Bytes,
        keyframe: bool,
        now: Instant,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Result<Offered, Cut> {
        match self.play {
            Play::Off => return Ok(Offered::Skipped),
            Play::Next { losing } if !keyframe => {
                return Ok(if losing { Offered::Lost(1) } else { Offered::Skipped });
            }
            Play::Next { .. } | Play::On => {}
        }
        if self.waiting.is_empty() {
            self.play = Play::On;
            let written = written(write(bytes))?;
            if written == bytes.len() {
                return Ok(Offered::Written);
            }
            self.begun = written > 0;
            self.wait(Piece { written, ..Piece::new(bytes.clone(), true) }, now);
            return Ok(Offered::Waits { first: true });
        }
        let (pictures, size) = self.pictures();
        if pictures < MAX_PICTURES && size + bytes.len() <= MAX_BYTES {
            self.play = Play::On;
            self.wait(Piece::new(bytes.clone(), true), now);
            return Ok(Offered::Waits { first: false });
        }
        // Behind: nothing that waits is of use any more. A keyframe is where to go on from.
        let mut lost = self.forget_pictures();
        if keyframe {
            self.play = Play::On;
            self.wait(Piece::new(bytes.clone(), true), now);
        } else {
            self.play = Play::Next { losing: true };
            lost += 1;
        }
        Ok(Offered::Lost(lost))
    }

    /// Writes what waits, until the socket takes no more.
    pub fn drain(
        &mut self,
        now: Instant,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Result<(), Cut> {
        while let Some(first) = self.waiting.front_mut() {
            let written = written(write(first.rest()))?;
            if written == 0 && !first.rest().is_empty() {
                return Ok(());
            }
            self.progress = Some(now);
            first.written += written;
            if !first.rest().is_empty() {
                self.begun = true;
            } else {
                self.waiting.pop_front();
                self.begun = false;
            }
        }
        // A queue of its own memory is for those who are behind.
        self.waiting = VecDeque::new();
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When a reader that goes on taking nothing is to be cut.
    pub fn deadline(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { self.progress.map(|at| at + PATIENCE) }
    }

    fn wait(&mut self, piece: Piece, now: Instant) {
        if self.waiting.is_empty() {
            self.progress = Some(now);
        }
        self.waiting.push_back(piece);
    }

    fn pictures(&self) -> (usize, usize) {
        let pictures = self.waiting.iter().filter(|piece| piece.picture);
        pictures.fold((0, 0), |(count, size), piece| (count + 1, size + piece.rest().len()))
    }

    /// Forgets all pictures but one that is partly written; how many.
    fn forget_pictures(&mut self) -> u64 {
        let before = self.waiting.len();
        let mut begun = self.begun;
        self.waiting.retain(|piece| std::mem::take(&mut begun) || !piece.picture);
        (before - self.waiting.len()) as u64
    }
}

/// How much a socket took: nothing, when it would block.
fn written(result: io::Result<usize>) -> Result<usize, Cut> {
    match result {
        Ok(written) => Ok(written),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(_) => Err(Cut::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A socket that takes as much as it has room for.
    #[derive(Default)]
    struct Socket {
        room: usize,
        got: Vec<u8>,
    }

    impl Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
    }

    /// A picture that can be told from others: its number, as often as it has bytes.
    fn picture(number: u8) -> Bytes {
        Bytes::from(vec![number; 10])
    }

    fn playing() -> (Queue, Socket, Instant) {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.play(None, now);
        (queue, Socket { room: usize::MAX, ..Socket::default() }, now)
    }

    #[test]
    fn a_reader_that_keeps_up_gets_everything_from_the_first_keyframe_and_nothing_waits() {
        let (mut queue, mut socket, now) = playing();
        for (number, keyframe, expected) in
            [(1, false, Offered::Skipped), (2, true, Offered::Written), (3, false, Offered::Written)]
        {
            let offered = queue.picture(&picture(number), keyframe, now, |b| socket.write(b)).unwrap();
            assert_eq!(offered, expected, "{number}");
        }
        assert_eq!(socket.got, [picture(2), picture(3)].concat());
        assert_eq!((queue.deadline(), queue.is_empty()), (None, true));
        queue.stop();
        assert_eq!(queue.picture(&picture(4), true, now, |b| socket.write(b)), Ok(Offered::Skipped));
    }

    #[test]
    fn a_slow_reader_loses_whole_pictures_and_resumes_at_a_keyframe() {
        let (mut queue, mut socket, now) = playing();
        socket.room = 4;
        assert_eq!(
            queue.picture(&picture(0), true, now, |b| socket.write(b)),
            Ok(Offered::Waits { first: true })
        );
        for number in 1..30 {
            let offered = queue.picture(&picture(number), false, now, |b| socket.write(b));
            assert_eq!(offered, Ok(Offered::Waits { first: false }));
        }
        // Too many: all go but the one that is partly written.
        assert_eq!(queue.picture(&picture(30), false, now, |b| socket.write(b)), Ok(Offered::Lost(30)));
        queue.answer(Bytes::from_static(b"answer"), now).unwrap();
        assert_eq!(queue.picture(&picture(31), false, now, |b| socket.write(b)), Ok(Offered::Lost(1)));
        assert_eq!(
            queue.picture(&picture(32), true, now, |b| socket.write(b)),
            Ok(Offered::Waits { first: false })
        );
        socket.room = usize::MAX;
        queue.drain(now, |b| socket.write(b)).unwrap();
        assert_eq!(queue.picture(&picture(33), false, now, |b| socket.write(b)), Ok(Offered::Written));
        let expected = [picture(0), Bytes::from_static(b"answer"), picture(32), picture(33)].concat();
        assert_eq!(socket.got, expected);
    }

    #[test]
    fn a_keyframe_that_comes_when_too_much_waits_is_kept() {
        let (mut queue, mut socket, now) = playing();
        socket.room = 0;
        for number in 0..30 {
            queue.picture(&picture(number), number == 0, now, |b| socket.write(b)).unwrap();
        }
        assert_eq!(queue.picture(&picture(30), true, now, |b| socket.write(b)), Ok(Offered::Lost(30)));
        socket.room = usize::MAX;
        queue.drain(now, |b| socket.write(b)).unwrap();
        assert_eq!(socket.got, picture(30));
    }

    #[test]
    fn a_reader_that_takes_nothing_has_a_deadline_which_any_byte_moves() {
        let (mut queue, mut socket, now) = playing();
        socket.room = 0;
        queue.picture(&picture(1), true, now, |b| socket.write(b)).unwrap();
        assert_eq!(queue.deadline(), Some(now + PATIENCE));
        let later = now + Duration::from_secs(5);
        queue.picture(&picture(2), false, later, |b| socket.write(b)).unwrap();
        queue.drain(later, |b| socket.write(b)).unwrap();
        assert_eq!(queue.deadline(), Some(now + PATIENCE), "nothing was taken");
        socket.room = 1;
        queue.drain(later, |b| socket.write(b)).unwrap();
        assert_eq!(queue.deadline(), Some(later + PATIENCE));
    }

    #[test]
    fn retracted_pictures_are_not_sent_and_it_goes_on_at_the_next_keyframe() {
        let (mut queue, mut socket, now) = playing();
        socket.room = 4;
        queue.picture(&picture(1), true, now, |b| socket.write(b)).unwrap();
        queue.picture(&picture(2), false, now, |b| socket.write(b)).unwrap();
        queue.answer(Bytes::from_static(b"answer"), now).unwrap();
        queue.picture(&picture(3), true, now, |b| socket.write(b)).unwrap();
        queue.retract();
        assert_eq!(queue.picture(&picture(4), false, now, |b| socket.write(b)), Ok(Offered::Skipped));
        queue.picture(&picture(5), true, now, |b| socket.write(b)).unwrap();
        socket.room = usize::MAX;
        queue.drain(now, |b| socket.write(b)).unwrap();
        let expected = [picture(1), Bytes::from_static(b"answer"), picture(5)].concat();
        assert_eq!(socket.got, expected, "what had begun is whole");
    }

    #[test]
    fn of_a_group_that_is_partly_written_only_the_packet_goes_out_that_has_begun() {
        let packet = |number: u8| [&[b'$', 0, 0, 6][..], &[number; 6]].concat();
        // What the socket took, and what it gets in all.
        for (taken, packets) in [(0, 0), (3, 1), (4, 1), (10, 1), (11, 2), (20, 2), (25, 3), (30, 3)] {
            let mut queue = Queue::default();
            let (now, mut socket) = (Instant::now(), Socket { room: taken, ..Socket::default() });
            queue.play(Some([packet(1), packet(2), packet(3)].concat().into()), now);
            queue.drain(now, |b| socket.write(b)).unwrap();
            queue.answer(Bytes::from_static(b"answer"), now).unwrap();
            queue.retract();
            assert_eq!(queue.picture(&picture(4), false, now, |b| socket.write(b)), Ok(Offered::Skipped));
            queue.picture(&packet(5).into(), true, now, |b| socket.write(b)).unwrap();
            socket.room = usize::MAX;
            queue.drain(now, |b| socket.write(b)).unwrap();
            let before: Vec<u8> = (1..=packets).flat_map(packet).collect();
            assert_eq!(socket.got, [&before[..], b"answer", &packet(5)].concat(), "{taken}");
        }
    }

    #[test]
    fn who_is_gone_or_asks_without_reading_is_cut() {
        let (mut queue, _, now) = playing();
        let reset = |_: &[u8]| Err(io::ErrorKind::ConnectionReset.into());
        assert_eq!(queue.picture(&picture(1), true, now, reset), Err(Cut::Gone));
        for _ in 0..MAX_ANSWERS {
            queue.answer(Bytes::from_static(b"a"), now).unwrap();
        }
        assert_eq!(queue.answer(Bytes::from_static(b"a"), now), Err(Cut::Flooding));
    }

    #[test]
    fn the_kept_group_comes_before_the_live_pictures_and_after_the_answer() {
        let mut queue = Queue::default();
        let (now, mut socket) = (Instant::now(), Socket { room: usize::MAX, ..Socket::default() });
        queue.answer(Bytes::from_static(b"200"), now).unwrap();
        queue.play(Some(picture(1)), now);
        queue.picture(&picture(2), false, now, |b| socket.write(b)).unwrap();
        queue.drain(now, |b| socket.write(b)).unwrap();
        assert_eq!(socket.got, [&b"200"[..], &picture(1), &picture(2)].concat());
    }

    proptest! {
        /// Whatever the socket takes and when: pieces are whole, in order, and pictures without a gap
        /// before them or at a keyframe.
        #[test]
        fn what_arrives_is_whole_and_every_gap_ends_at_a_keyframe(
            rooms in proptest::collection::vec(0usize..60, 1..250), gop in 1u8..40
        ) {
            let (mut queue, mut socket, now) = playing();
            let mut lost = 0;
            for (number, room) in rooms.iter().enumerate() {
                let number = number as u8;
                socket.room = *room;
                let offered = queue.picture(&picture(number), number.is_multiple_of(gop), now, |b| socket.write(b));
                lost += if let Ok(Offered::Lost(count)) = offered { count } else { 0 };
                queue.drain(now, |b| socket.write(b)).unwrap();
            }
            socket.room = usize::MAX;
            queue.drain(now, |b| socket.write(b)).unwrap();
            let got: Vec<u8> = socket.got.chunks(10).map(|chunk| {
                assert!(chunk.len() == 10 && chunk.iter().all(|byte| *byte == chunk[0]), "torn: {chunk:?}");
                chunk[0]
            }).collect();
            for pair in got.windows(2) {
                prop_assert!(pair[1] == pair[0] + 1 || (pair[1] > pair[0] && pair[1].is_multiple_of(gop)), "{:?}", pair);
            }
            let offered = rooms.len() as u64;
            prop_assert_eq!(got.len() as u64 + lost, offered);
        }
    }
}
