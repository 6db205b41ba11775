//! What holds for the lifecycle whatever happens, in any order and at any time.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

const LONG: Duration = Duration::from_secs(1_000_000);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn broken() -> Failure {
    Failure::broken("the connection broke")
}

/// One step of an arbitrary history. Reports are about the attempt so many before the newest one.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    /// Until the next deadline, exactly.
    Due,
    Demand(bool),
    Frame(u64, Option<f64>),
    Fail(u64, bool),
    Stopped(u64),
    Knocked(bool),
    Poke,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u64..3_000).prop_map(Step::Pass),
        1 => (0_u64..100_000).prop_map(Step::Pass),
        4 => Just(Step::Due),
        2 => any::<bool>().prop_map(Step::Demand),
        4 => (0_u64..3, prop_oneof![Just(None), (0.1..60.0).prop_map(Some)])
            .prop_map(|(ago, fps)| Step::Frame(ago, fps)),
        3 => (0_u64..3, prop::bool::weighted(0.2)).prop_map(|(ago, refused)| Step::Fail(ago, refused)),
        4 => (0_u64..2).prop_map(Step::Stopped),
        3 => any::<bool>().prop_map(Step::Knocked),
        1 => Just(Step::Poke),
        1 => Just(Step::Restart),
    ]
}

/// Plays a history and checks after each event what must hold for every one.
struct Judge {
    lifecycle: Lifecycle,
    now: Duration,
    wanted: bool,
    shut: bool,
    /// Number and whether its end was asked for.
    open: Option<(u64, bool)>,
    begun: u64,
    frozen: u64,
    count: u64,
    begun_at: Vec<Duration>,
}

impl Judge {
    fn send(&mut self, unit: f64, event: Event) -> Result<(), TestCaseError> {
        match &event {
            Event::Demand(wanted) => self.wanted = *wanted,
            Event::Shutdown => self.shut = true,
            Event::Stopped { attempt } if self.open == Some((*attempt, true)) => self.open = None,
            _ => {}
        }
        let wanted = self.wanted && !self.shut;
        let before = self.lifecycle.version();
        let actions = self.lifecycle.handle(self.now, unit, event);
        let told = actions.iter().any(|action| matches!(action, Action::Note(_)));
        prop_assert!(told || self.lifecycle.version().0 == before.0, "a change of state without a word");
        for action in actions {
            match action {
                Action::Begin(attempt) => {
                    prop_assert_eq!(self.open, None, "two attempts open");
                    prop_assert!(wanted, "begun without demand");
                    self.begun += 1;
                    self.count = 0;
                    prop_assert_eq!(attempt, self.begun);
                    self.open = Some((attempt, false));
                    self.begun_at.push(self.now);
                }
                Action::End(attempt) => {
                    prop_assert_eq!(self.open, Some((attempt, false)), "ended what does not run");
                    self.open = Some((attempt, true));
                }
                Action::Abandon(attempt) => {
                    prop_assert_eq!(self.open, Some((attempt, true)), "gave up what was not ending");
                    self.frozen += 1;
                    self.open = None;
                }
                Action::Note(note) => prop_assert!(!note.to_string().is_empty()),
            }
        }
        self.check(wanted)
    }

    fn check(&self, wanted: bool) -> Result<(), TestCaseError> {
        let wall = SystemTime::UNIX_EPOCH + LONG;
        let shown = self.lifecycle.snapshot(self.now, wall);
        prop_assert_eq!(shown.attempts, self.begun);
        prop_assert_eq!(shown.frozen, self.frozen);
        prop_assert!(shown.restarts < shown.attempts.max(1));
        prop_assert!(shown.since <= wall);
        let running = matches!(self.open, Some((_, false)));
        let ending = matches!(self.open, Some((_, true)));
        match shown.state {
            State::Starting | State::Live | State::Stalled => prop_assert!(running && wanted),
            State::BackingOff | State::Refused => prop_assert!(!running && wanted),
            State::Stopping => prop_assert!(ending),
            State::Idle => prop_assert!(self.open.is_none() && !wanted),
        }
        let wait = shown.next_try.map(|at| at.duration_since(wall).unwrap_or_default());
        let longest = match shown.state {
            State::Refused => secs(300),
            _ => secs(60),
        };
        prop_assert!(wait.unwrap_or_default() <= longest, "{wait:?} in {:?}", shown.state);
        let waits = matches!(shown.state, State::Stalled | State::BackingOff | State::Refused);
        prop_assert_eq!(shown.next_try.is_some(), waits);
        // Nothing is forgotten: whatever is not at rest has a time when something happens by itself.
        prop_assert_eq!(self.lifecycle.next_deadline().is_some(), shown.state != State::Idle);
        prop_assert_eq!(self.lifecycle.finished(), self.shut && self.open.is_none());
        Ok(())
    }
}

fn judge() -> Judge {
    Judge {
        lifecycle: Lifecycle::new(Timing::default()),
        now: Duration::ZERO,
        wanted: false,
        shut: false,
        open: None,
        begun: 0,
        frozen: 0,
        count: 0,
        begun_at: Vec::new(),
    }
}

fn play(judge: &mut Judge, steps: &[(Step, f64)]) -> Result<(), TestCaseError> {
    for (step, unit) in steps {
        let attempt = |ago: &u64| judge.begun.saturating_sub(*ago);
        let event = match step {
            Step::Pass(ms) => {
                judge.now += Duration::from_millis(*ms);
                Event::Tick
            }
            Step::Due => {
                judge.now = judge.lifecycle.next_deadline().unwrap_or(judge.now).max(judge.now);
                Event::Tick
            }
            Step::Demand(wanted) => Event::Demand(*wanted),
            Step::Frame(ago, fps) => {
                let attempt = attempt(ago);
                judge.count += 1;
                Event::Frames { attempt, count: judge.count, newest: judge.now, fps: *fps }
            }
            Step::Fail(ago, true) => {
                Event::Failed { attempt: attempt(ago), failure: Failure::refused("401") }
            }
            Step::Fail(ago, false) => Event::Failed { attempt: attempt(ago), failure: broken() },
            Step::Stopped(ago) => Event::Stopped { attempt: attempt(ago) },
            Step::Knocked(present) => Event::Knocked(*present),
            Step::Poke => Event::Poke,
            Step::Restart => Event::Restart,
        };
        judge.send(*unit, event)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_attempts_never_overlap_and_the_snapshot_is_true(
        steps in prop::collection::vec((step(), 0.0..1.0_f64), 1..200)
    ) {
        let mut judge = judge();
        play(&mut judge, &steps)?;
        // A shutdown from wherever that led is over within the bound of a stop, for good.
        judge.send(0.5, Event::Shutdown)?;
        judge.now += secs(5);
        judge.send(0.5, Event::Tick)?;
        prop_assert!(judge.lifecycle.finished());
        let begun = judge.begun;
        play(&mut judge, &steps)?;
        prop_assert_eq!(judge.begun, begun);
    }

    #[test]
    fn whatever_happens_pictures_come_back_with_the_peer(
        steps in prop::collection::vec((step(), 0.0..1.0_f64), 1..100)
    ) {
        let mut judge = judge();
        play(&mut judge, &steps)?;
        judge.send(0.5, Event::Demand(true))?;
        // From now on all is well: stops stop, attempts give pictures. A refusal may last 300 s.
        let end = judge.now + secs(400);
        while judge.now < end && judge.lifecycle.state() != State::Live {
            if let Some((attempt, ended)) = judge.open {
                judge.count += 1;
                let (count, newest) = (judge.count, judge.now);
                let event = match ended {
                    true => Event::Stopped { attempt },
                    false => Event::Frames { attempt, count, newest, fps: Some(30.0) },
                };
                judge.send(0.9, event)?;
            } else {
                judge.now = judge.lifecycle.next_deadline().unwrap_or(end);
                judge.send(0.9, Event::Tick)?;
            }
        }
        prop_assert_eq!(judge.lifecycle.state(), State::Live);
    }

    #[test]
    fn knocks_never_bring_attempts_closer_than_two_seconds(
        knocks in prop::collection::vec((any::<bool>(), 0_u64..1500), 1..300)
    ) {
        // With the longest waits, everything sooner than the plain back-off is the knocks' doing.
        let mut judge = judge();
        judge.send(1.0, Event::Demand(true))?;
        let mut waits = Vec::new();
        for (present, ms) in knocks {
            let attempt = judge.begun;
            if matches!(judge.open, Some((_, false))) {
                judge.send(1.0, Event::Failed { attempt, failure: broken() })?;
                waits.push(judge.lifecycle.next_try().unwrap_or_default());
                judge.send(1.0, Event::Stopped { attempt })?;
            }
            judge.send(1.0, Event::Knocked(present))?;
            judge.now += Duration::from_millis(ms);
            judge.send(1.0, Event::Tick)?;
        }
        // The back-off's own first wait is one second.
        for (index, pair) in judge.begun_at.windows(2).enumerate() {
            let by_itself = waits.get(index).is_some_and(|due| pair[1] >= *due);
            prop_assert!(by_itself || pair[1] - pair[0] >= KNOCK_GAP, "{:?}", judge.begun_at);
        }
    }
}
