//! What waits to be written to one connection: answers, which are never dropped, and notifications, of which
//! the oldest goes when there are too many. Filled by the reader of the same connection and by the hub,
//! emptied by its writer.
//!
//! Answers are bounded by the reader: it takes no further call before there is [`Outbox::room`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Answers that may wait; then no further call is read.
const ANSWERS: usize = 16;
/// Bytes of answers that may wait; the one that is over it is whole.
const BYTES: usize = 1024 * 1024;
/// Notifications that may wait.
const NEWS: usize = 256;

#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    answers: usize,
    /// Of the answers.
    bytes: usize,
    sent: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    text: Utf8Bytes,
    answer: bool,
}

/// How a connection keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub waiting: usize,
    /// Notifications handed to the connection.
    pub sent: u64,
    /// Notifications that it was too slow for.
    pub dropped: u64,
}

impl Outbox {
    pub fn answer(&self, text: String) {
        let mut queue = self.lock();
        queue.answers += 1;
        queue.bytes += text.len();
        queue.waiting.push_back(Waiting { text: text.into(), answer: true });
        drop(queue);
        self.filled.notify_one();
    }

    /// The text is shared between connections, not copied.
    pub fn news(&self, text: Utf8Bytes) {
        let mut queue = self.lock();
        if queue.waiting.len() - queue.answers >= NEWS
            && let Some(oldest) = queue.waiting.iter().position(|waiting| !waiting.answer)
        {
            queue.waiting.remove(oldest);
            queue.dropped += 1;
        }
        queue.waiting.push_back(Waiting { text, answer: false });
        drop(queue);
        self.filled.notify_one();
    }

    /// The next to be written. For one writer; safe to cancel.
    pub async fn next(&self) -> Utf8Bytes {
        loop {
            if let Some(waiting) = self.pop() {
                return waiting.text;
            }
            self.filled.notified().await;
        }
    }

    /// Ends when there is room for an answer. For one reader.
    pub async fn room(&self) {
        let full = || {
            let queue = self.lock();
            queue.answers >= ANSWERS || queue.bytes >= BYTES
        };
        while full() {
            self.emptied.notified().await;
        }
    }

    pub fn counts(&self) -> Counts {
        let queue = self.lock();
        Counts { waiting: queue.waiting.len(), sent: queue.sent, dropped: queue.dropped }
    }

    fn pop(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        let waiting = queue.waiting.pop_front()?;
        match waiting.answer {
            true => {
                queue.answers -= 1;
                queue.bytes -= waiting.text.len();
            }
            false => queue.sent += 1,
        }
        drop(queue);
        self.emptied.notify_one();
        Some(waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Plain data that is whole after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn all(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next().now_or_never()).map(|text| text.to_string()).collect()
    }

    #[test]
    fn the_oldest_notifications_go_and_answers_stay_in_their_order() {
        let outbox = Outbox::default();
        outbox.answer("first".into());
        for n in 0..NEWS + 10 {
            outbox.news(n.to_string().into());
        }
        outbox.answer("last".into());
        let counts = outbox.counts();
        assert_eq!((counts.waiting, counts.dropped), (NEWS + 2, 10));
        let texts = all(&outbox);
        assert_eq!(texts[..2], ["first", "10"]);
        assert_eq!(texts.last().unwrap(), "last");
        assert_eq!(outbox.counts().sent, NEWS as u64);
    }

    #[test]
    fn there_is_no_room_for_calls_whose_answers_nobody_reads() {
        let outbox = Outbox::default();
        for n in 0..ANSWERS {
            assert!(outbox.room().now_or_never().is_some());
            outbox.answer(n.to_string());
        }
        assert!(outbox.room().now_or_never().is_none());
        outbox.next().now_or_never().unwrap();
        assert!(outbox.room().now_or_never().is_some());
        outbox.answer("x".repeat(BYTES));
        assert!(outbox.room().now_or_never().is_none(), "few that are long fill it as well");
    }

    proptest! {
        #[test]
        fn no_answer_is_lost_whatever_comes(steps in prop::collection::vec(0u8..4, 0..2000)) {
            let outbox = Outbox::default();
            let (mut given, mut taken) = (0_u32, Vec::new());
            for step in steps {
                match step {
                    0 => { outbox.answer(format!("a{given}")); given += 1; }
                    1 | 2 => outbox.news("news".into()),
                    _ => taken.extend(outbox.next().now_or_never().map(|text| text.to_string())),
                }
                let waiting = outbox.counts().waiting;
                prop_assert!(waiting <= NEWS + given as usize);
            }
            taken.extend(all(&outbox));
            taken.retain(|text| text != "news");
            let expected: Vec<String> = (0..given).map(|n| format!("a{n}")).collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
