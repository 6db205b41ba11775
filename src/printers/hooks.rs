//! What a print is an occasion for: which print is to be recorded at present, and when a picture is to be
//! taken. Pure: states in, with the time. Recording, timelapse, snapshots and whatever else hangs on prints
//! have this one way to know of them.
//!
//! A print begins when it is prepared and goes on through pauses until the printer says how it ended. While
//! the link is away a print goes on as it was, for a while; a printer that restarts says nothing at first, which
//! is no end either. A print under way when this begins is a print; one that is over is not.

use std::time::{Duration, Instant};

use super::state::{Job, PrinterState};

/// A print that nothing was heard of for this long is no longer recorded, until something is.
const AWAY: Duration = Duration::from_secs(15 * 60);

/// A picture for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The print is done.
    End,
    /// It failed, or it stopped because of an error.
    Error,
}

/// What follows from the newest state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The print that is to be recorded: another number is another print.
    pub print: Option<u64>,
    /// Each once.
    pub occasions: Vec<Occasion>,
    /// To be looked at again by then, without news.
    pub deadline: Option<Instant>,
}

/// Follows one printer.
#[derive(Debug, Default)]
pub struct Hooks {
    print: Option<Print>,
    prints: u64,
    /// What it complained of when it was heard last; zero is nothing.
    error: Option<u32>,
    away_since: Option<Instant>,
}

#[derive(Debug)]
struct Print {
    number: u64,
    task: Option<String>,
}

/// Whether it prints, as far as is known: also what uploads "only while printing" go by.
pub fn printing(state: &PrinterState) -> bool {
    state.job().active()
}

impl Hooks {
    pub fn look(&mut self, state: &PrinterState, now: Instant) -> Wish {
        let mut occasions = Vec::new();
        if state.connected && !state.stale {
            self.away_since = None;
            self.hear(state, &mut occasions);
        } else {
            self.away_since.get_or_insert(now);
        }
        let given_up = self.away_since.map(|since| since + AWAY);
        let recorded = self.print.as_ref().filter(|_| given_up.is_none_or(|at| now < at));
        Wish {
            print: recorded.map(|print| print.number),
            occasions,
            deadline: given_up.filter(|_| recorded.is_some()),
        }
    }

    fn hear(&mut self, state: &PrinterState, occasions: &mut Vec<Occasion>) {
        let job = state.job();
        if job == Job::Unknown {
            // Nothing is said of a print.
            return;
        }
        let error = state.print_error_bits;
        // What it complained of before we came is no news.
        let known = self.error.replace(error).unwrap_or(error);
        match job {
            Job::Finished => occasions.extend(self.print.take().map(|_| Occasion::End)),
            Job::Failed => occasions.extend(self.print.take().map(|_| Occasion::Error)),
            Job::Idle | Job::Unknown => self.print = None,
            Job::Preparing | Job::Printing | Job::Paused => {
                let other =
                    |print: &Print| print.task.is_some() && state.task.is_some() && print.task != state.task;
                if self.print.as_ref().is_some_and(other) {
                    // The end of that one was not seen.
                    self.print = None;
                }
                let prints = &mut self.prints;
                let print = self.print.get_or_insert_with(|| {
                    *prints += 1;
                    Print { number: *prints, task: None }
                });
                print.task = state.task.clone().or(print.task.take());
                if error != 0 && error != known {
                    occasions.push(Occasion::Error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Occasion::{End, Error};
    use super::*;

    #[derive(Clone, Copy)]
    struct Step {
        job: &'static str,
        task: &'static str,
        error: u32,
        /// Minutes since the step before.
        after: u64,
        here: bool,
    }

    fn at(job: &'static str) -> Step {
        Step { job, task: "a", error: 0, after: 1, here: true }
    }

    fn away(job: &'static str, after: u64) -> Step {
        Step { here: false, after, ..at(job) }
    }

    /// What each step leads to.
    fn run(steps: &[Step]) -> Vec<(Option<u64>, Vec<Occasion>)> {
        let (mut hooks, mut now) = (Hooks::default(), Instant::now());
        let look = |step: &Step| {
            now += Duration::from_secs(60 * step.after);
            let state = PrinterState {
                connected: step.here,
                stale: !step.here,
                job_state: (!step.job.is_empty()).then(|| step.job.to_owned()),
                task: (!step.task.is_empty()).then(|| step.task.to_owned()),
                print_error_bits: step.error,
                ..PrinterState::default()
            };
            let wish = hooks.look(&state, now);
            (wish.print, wish.occasions)
        };
        steps.iter().map(look).collect()
    }

    #[test]
    fn prints_are_recorded_from_their_preparation_to_their_end() {
        let error = |job, error| Step { error, ..at(job) };
        let task = |job, task| Step { task, ..at(job) };
        type Expected<'e> = &'e [(Option<u64>, &'e [Occasion])];
        let table: &[(&str, &[Step], Expected<'_>)] = &[
            (
                "a print with a pause",
                &[
                    at("IDLE"),
                    at("PREPARE"),
                    at("RUNNING"),
                    at("PAUSE"),
                    at("RUNNING"),
                    at("FINISH"),
                    at("FINISH"),
                ],
                &[
                    (None, &[]),
                    (Some(1), &[]),
                    (Some(1), &[]),
                    (Some(1), &[]),
                    (Some(1), &[]),
                    (None, &[End]),
                    (None, &[]),
                ],
            ),
            (
                "one that fails",
                &[at("FINISH"), at("RUNNING"), at("FAILED"), at("IDLE")],
                &[(None, &[]), (Some(1), &[]), (None, &[Error]), (None, &[])],
            ),
            (
                "an error that pauses, is cleared, and comes again",
                &[
                    at("RUNNING"),
                    error("PAUSE", 5),
                    error("PAUSE", 5),
                    at("RUNNING"),
                    error("PAUSE", 5),
                    at("FINISH"),
                ],
                &[
                    (Some(1), &[]),
                    (Some(1), &[Error]),
                    (Some(1), &[]),
                    (Some(1), &[]),
                    (Some(1), &[Error]),
                    (None, &[End]),
                ],
            ),
            (
                "two prints one after the other, the second right behind the first",
                &[
                    at("RUNNING"),
                    at("FINISH"),
                    task("PREPARE", "b"),
                    task("RUNNING", "b"),
                    task("RUNNING", "c"),
                ],
                &[(Some(1), &[]), (None, &[End]), (Some(2), &[]), (Some(2), &[]), (Some(3), &[])],
            ),
            (
                "the service starts in the middle of a print with an old error",
                &[Step { task: "", ..at("") }, error("PAUSE", 5), error("RUNNING", 5), at("FINISH")],
                &[(None, &[]), (Some(1), &[]), (Some(1), &[]), (None, &[End])],
            ),
            ("the service starts after a print", &[at("FINISH"), at("FAILED")], &[(None, &[]), (None, &[])]),
            (
                "the printer restarts in the middle of a print",
                &[at("RUNNING"), Step { task: "", ..at("") }, at("IDLE")],
                &[(Some(1), &[]), (Some(1), &[]), (None, &[])],
            ),
            (
                "the link is away for a moment",
                &[at("RUNNING"), away("RUNNING", 1), away("", 5), at("RUNNING"), at("FINISH")],
                &[(Some(1), &[]), (Some(1), &[]), (Some(1), &[]), (Some(1), &[]), (None, &[End])],
            ),
            (
                "the link is away, and back after the end",
                &[at("RUNNING"), away("RUNNING", 1), at("FINISH")],
                &[(Some(1), &[]), (Some(1), &[]), (None, &[End])],
            ),
            (
                "the link is away for long and the print goes on",
                &[at("RUNNING"), away("RUNNING", 1), away("RUNNING", 15), at("RUNNING"), at("FINISH")],
                &[(Some(1), &[]), (Some(1), &[]), (None, &[]), (Some(1), &[]), (None, &[End])],
            ),
            (
                "the link is away until another print",
                &[at("RUNNING"), away("RUNNING", 1), task("RUNNING", "b")],
                &[(Some(1), &[]), (Some(1), &[]), (Some(2), &[])],
            ),
        ];
        for (what, steps, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(print, occasions)| (*print, occasions.to_vec())).collect();
            assert_eq!(run(steps), expected, "{what}");
        }
    }

    #[test]
    fn a_print_that_nothing_is_heard_of_is_looked_at_again_in_time() {
        let (mut hooks, now) = (Hooks::default(), Instant::now());
        let mut state =
            PrinterState { connected: true, job_state: Some("RUNNING".into()), ..PrinterState::default() };
        assert_eq!(hooks.look(&state, now).deadline, None);
        state.connected = false;
        let deadline = hooks.look(&state, now).deadline.unwrap();
        assert_eq!(hooks.look(&state, now + Duration::from_secs(60)).deadline, Some(deadline));
        let wish = hooks.look(&state, deadline);
        assert_eq!((wish.print, wish.deadline), (None, None));
    }
}
