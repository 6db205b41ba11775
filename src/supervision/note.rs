//! What a lifecycle has to say, in words: one log line for every change of state.

use std::fmt;
use std::time::Duration;

/// A line for the log. [`super::lifecycle`] makes it, [`super::actor`] writes it after the name.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    Starting {
        attempt: u64,
    },
    /// The first picture of an attempt.
    Live {
        after: Duration,
        attempt: u64,
    },
    /// Pictures again on the connection that had stalled.
    Resumed {
        gap: Duration,
        attempt: u64,
    },
    /// `never`: the attempt has not given a single picture.
    Stalled {
        gap: Duration,
        never: bool,
        next: Duration,
    },
    Failed {
        message: String,
        next: Duration,
    },
    Refused {
        message: String,
        next: Duration,
    },
    /// The knock found the peer back.
    PeerIsBack {
        next: Duration,
    },
    /// Wanted again, soon after a failure.
    Waiting {
        next: Duration,
    },
    Stopping {
        why: Why,
    },
    Stopped {
        after: Duration,
    },
    Frozen {
        after: Duration,
        count: u64,
    },
}

/// Why an attempt is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody wants it any more.
    Unwanted,
    /// The service stops or the subject is removed.
    Shutdown,
    /// Somebody asked for a new attempt.
    Restart,
    /// It stayed without pictures.
    NoPictures,
}

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    Error,
}

impl Note {
    pub fn level(&self) -> Level {
        match self {
            Note::Stalled { .. } | Note::Failed { .. } | Note::Refused { .. } => Level::Warn,
            Note::Frozen { .. } => Level::Error,
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Starting { attempt } => write!(f, "starting (attempt {attempt})"),
            Note::Live { after, attempt } => {
                write!(f, "live after {} (attempt {attempt})", seconds(*after))
            }
            Note::Resumed { gap, attempt } => {
                write!(f, "live again after {} on the same connection (attempt {attempt})", seconds(*gap))
            }
            Note::Stalled { gap, never: false, next } => write!(
                f,
                "no pictures for {}; keeping the connection, next attempt in {}",
                seconds(*gap),
                seconds(*next)
            ),
            Note::Stalled { gap, never: true, next } => write!(
                f,
                "no first picture after {}; keeping the connection, next attempt in {}",
                seconds(*gap),
                seconds(*next)
            ),
            Note::Failed { message, next } => {
                write!(f, "{}; next attempt in {}", trimmed(message), seconds(*next))
            }
            Note::Refused { message, next } => write!(
                f,
                "refused: {}; next try in {}; correct the password and reload",
                trimmed(message),
                seconds(*next)
            ),
            Note::PeerIsBack { next } => write!(f, "answers again; next attempt in {}", seconds(*next)),
            Note::Waiting { next } => {
                write!(f, "wanted again soon after a failure; next attempt in {}", seconds(*next))
            }
            Note::Stopping { why } => f.write_str(match why {
                Why::Unwanted => "stopping: nobody wants it",
                Why::Shutdown => "stopping for good",
                Why::Restart => "stopping to begin anew, as asked",
                Why::NoPictures => "still no pictures; beginning anew",
            }),
            Note::Stopped { after } => write!(f, "stopped after {}", seconds(*after)),
            Note::Frozen { after, count } => write!(
                f,
                "did not stop within {} and is given up ({count} so far); \
                 if it happens again, look for a driver or device that hangs (dmesg)",
                seconds(*after)
            ),
        }
    }
}

fn trimmed(message: &str) -> &str {
    message.trim_end_matches(['.', ';', ' ', '\n'])
}

/// `0.4 s`, `12 s`.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_state_reads_as_words() {
        let ms = Duration::from_millis;
        let lines = [
            (Note::Live { after: ms(432), attempt: 3 }, "live after 0.4 s (attempt 3)"),
            (
                Note::Stalled { gap: ms(2100), never: false, next: ms(4200) },
                "no pictures for 2.1 s; keeping the connection, next attempt in 4.2 s",
            ),
            (
                Note::Refused { message: "401 Unauthorized.".into(), next: ms(300_000) },
                "refused: 401 Unauthorized; next try in 300 s; correct the password and reload",
            ),
            (
                Note::Failed { message: "connection refused".into(), next: ms(900) },
                "connection refused; next attempt in 0.9 s",
            ),
        ];
        for (note, words) in lines {
            assert_eq!(note.to_string(), words);
        }
    }
}
