//! The rules of the lifecycle, one test each.

use std::time::{Duration, SystemTime};

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lifecycle with its clock and a record of what it asked for.
struct Bench {
    lifecycle: Lifecycle,
    now: Duration,
    unit: f64,
    count: u64,
    begun: Vec<Duration>,
    ended: u64,
    abandoned: u64,
    notes: Vec<Note>,
    /// Answers every `End` at once.
    stops: bool,
}

impl Bench {
    fn new() -> Self {
        Self {
            lifecycle: Lifecycle::new(Timing::default()),
            now: Duration::ZERO,
            unit: 1.0,
            count: 0,
            begun: Vec::new(),
            ended: 0,
            abandoned: 0,
            notes: Vec::new(),
            stops: true,
        }
    }

    fn wanted() -> Self {
        let mut bench = Self::new();
        bench.send(Event::Demand(true));
        bench
    }

    /// In demand and live since time zero, with the given rate.
    fn live(fps: Option<f64>) -> Self {
        let mut bench = Self::wanted();
        bench.frame(fps);
        assert_eq!(bench.state(), State::Live);
        bench
    }

    fn send(&mut self, event: Event) {
        let actions = self.lifecycle.handle(self.now, self.unit, event);
        let mut stopped = None;
        for action in actions {
            match action {
                Action::Begin(attempt) => {
                    assert_eq!(attempt, self.lifecycle.attempt());
                    self.begun.push(self.now);
                    self.count = 0;
                }
                Action::End(attempt) => {
                    self.ended += 1;
                    stopped = self.stops.then_some(attempt);
                }
                Action::Abandon(_) => self.abandoned += 1,
                Action::Note(note) => self.notes.push(note),
            }
        }
        if let Some(attempt) = stopped {
            self.send(Event::Stopped { attempt });
        }
    }

    fn frame(&mut self, fps: Option<f64>) {
        self.count += 1;
        let attempt = self.lifecycle.attempt();
        self.send(Event::Frames { attempt, count: self.count, newest: self.now, fps });
    }

    fn fail(&mut self, failure: Failure) {
        let attempt = self.lifecycle.attempt();
        self.send(Event::Failed { attempt, failure });
    }

    /// Lets time pass, with a tick at every deadline on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.lifecycle.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            self.send(Event::Tick);
        }
        self.now = end;
        self.send(Event::Tick);
    }

    /// Pictures at `fps` for `time`.
    fn play(&mut self, time: Duration, fps: f64) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_secs_f64(1.0 / fps));
            self.frame(Some(fps));
        }
    }

    fn state(&self) -> State {
        self.lifecycle.state()
    }

    fn next_try(&self) -> Option<Duration> {
        self.lifecycle.next_try().map(|at| at.saturating_sub(self.now))
    }

    fn attempts(&self) -> usize {
        self.begun.len()
    }
}

fn broken() -> Failure {
    Failure::broken("the connection broke")
}

#[test]
fn demand_begins_an_attempt_and_the_first_picture_makes_it_live() {
    let mut bench = Bench::new();
    bench.pass(secs(100));
    assert_eq!((bench.state(), bench.attempts()), (State::Idle, 0));
    bench.send(Event::Demand(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 1));
    bench.pass(ms(400));
    bench.frame(Some(30.0));
    assert_eq!(bench.state(), State::Live);
    assert_eq!(bench.notes.last(), Some(&Note::Live { after: ms(400), attempt: 1 }));
}

#[test]
fn without_a_first_picture_the_attempt_stalls_and_stays_open_for_the_wait() {
    let mut bench = Bench::wanted();
    bench.pass(secs(10));
    assert_eq!((bench.state(), bench.ended), (State::Stalled, 0));
    assert_eq!(bench.next_try(), Some(secs(1)));
    bench.pass(secs(1));
    assert_eq!((bench.state(), bench.ended, bench.attempts()), (State::Starting, 1, 2));
    // The second one that gives nothing waits twice as long.
    bench.pass(secs(10));
    assert_eq!(bench.next_try(), Some(secs(2)));
}

#[test]
fn missing_pictures_stall_it_and_pictures_on_the_same_connection_make_it_live() {
    let mut bench = Bench::live(Some(30.0));
    bench.pass(ms(1999));
    assert_eq!(bench.state(), State::Live);
    bench.pass(ms(1));
    assert_eq!((bench.state(), bench.ended), (State::Stalled, 0));
    bench.pass(ms(500));
    bench.frame(Some(30.0));
    assert_eq!((bench.state(), bench.attempts()), (State::Live, 1));
    assert_eq!(bench.notes.last(), Some(&Note::Resumed { gap: ms(2500), attempt: 1 }));
    assert!(bench.lifecycle.last_error.as_deref().is_some_and(|error| error.contains("no pictures")));
}

#[test]
fn a_count_that_does_not_move_is_no_picture() {
    let mut bench = Bench::live(Some(30.0));
    bench.pass(secs(2));
    let attempt = bench.lifecycle.attempt();
    bench.send(Event::Frames { attempt, count: 1, newest: Duration::ZERO, fps: Some(30.0) });
    assert_eq!(bench.state(), State::Stalled);
}

#[test]
fn one_picture_in_five_seconds_is_live() {
    let mut bench = Bench::live(Some(0.2));
    bench.play(secs(600), 0.2);
    assert_eq!((bench.state(), bench.attempts()), (State::Live, 1));
    assert!(!bench.notes.iter().any(|note| matches!(note, Note::Stalled { .. })));
}

#[test]
fn while_the_rate_is_unknown_pictures_may_be_as_late_as_the_first_one() {
    let mut bench = Bench::live(None);
    bench.pass(ms(9_999));
    assert_eq!(bench.state(), State::Live);
    bench.pass(ms(1));
    assert_eq!(bench.state(), State::Stalled);
}

#[test]
fn a_failure_ends_the_attempt_and_waits_longer_each_time() {
    let mut bench = Bench::wanted();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        bench.fail(broken());
        assert_eq!((bench.state(), bench.next_try()), (State::BackingOff, Some(secs(wait))));
        bench.pass(secs(wait) - ms(1));
        assert_eq!(bench.state(), State::BackingOff);
        bench.pass(ms(1));
        assert_eq!(bench.state(), State::Starting);
    }
    assert_eq!(bench.ended, 8);
}

#[test]
fn being_live_for_a_moment_does_not_reset_the_back_off() {
    let mut bench = Bench::wanted();
    for wait in [1, 2, 4, 8] {
        bench.frame(Some(30.0));
        bench.play(secs(5), 10.0);
        bench.fail(broken());
        assert_eq!(bench.next_try(), Some(secs(wait)));
        bench.pass(secs(wait));
    }
}

#[test]
fn thirty_seconds_of_pictures_reset_the_back_off() {
    for (seconds, wait) in [(29, 8), (31, 1)] {
        let mut bench = Bench::wanted();
        for wait in [1, 2, 4] {
            bench.fail(broken());
            bench.pass(secs(wait));
        }
        bench.frame(Some(10.0));
        bench.play(secs(seconds), 10.0);
        bench.fail(broken());
        assert_eq!(bench.next_try(), Some(secs(wait)), "after {seconds} s");
    }
}

#[test]
fn a_gap_starts_the_healthy_time_anew() {
    let mut bench = Bench::wanted();
    bench.fail(broken());
    bench.pass(secs(1));
    bench.frame(Some(10.0));
    for _ in 0..3 {
        bench.play(secs(20), 10.0);
        bench.pass(ms(2_500));
        assert_eq!(bench.state(), State::Stalled);
        bench.frame(Some(10.0));
    }
    bench.fail(broken());
    assert_eq!(bench.next_try(), Some(secs(2)), "twenty seconds at a time are not thirty");
}

#[test]
fn a_failure_while_stalled_keeps_the_wait_that_runs() {
    let mut bench = Bench::wanted();
    for wait in [1, 2, 4] {
        bench.fail(broken());
        bench.pass(secs(wait));
    }
    bench.frame(Some(30.0));
    bench.pass(secs(2));
    assert_eq!((bench.state(), bench.next_try()), (State::Stalled, Some(secs(8))));
    bench.pass(secs(1));
    bench.fail(broken());
    assert_eq!((bench.state(), bench.next_try()), (State::BackingOff, Some(secs(7))));
}

#[test]
fn wrong_credentials_are_tried_again_only_after_five_minutes() {
    let mut bench = Bench::wanted();
    bench.unit = 0.0;
    bench.fail(Failure::refused("401 Unauthorized"));
    assert_eq!((bench.state(), bench.next_try()), (State::Refused, Some(secs(300))));
    for _ in 0..299 {
        bench.pass(secs(1));
        bench.send(Event::Knocked(true));
        bench.send(Event::Demand(true));
    }
    assert_eq!((bench.state(), bench.attempts()), (State::Refused, 1));
    bench.pass(secs(1));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
}

#[test]
fn viewers_that_reconnect_do_not_hammer_a_camera_that_refuses() {
    let mut bench = Bench::wanted();
    bench.fail(Failure::refused("401"));
    for _ in 0..600 {
        bench.pass(ms(100));
        bench.send(Event::Poke);
        bench.send(Event::Demand(false));
        bench.send(Event::Demand(true));
        if bench.state() == State::Starting {
            bench.fail(Failure::refused("401"));
        }
    }
    assert_eq!(bench.attempts(), 1, "a minute of viewers who come and go");
    bench.send(Event::Restart);
    assert_eq!(bench.attempts(), 2, "a person's restart is worth a try");
}

#[test]
fn a_refused_camera_that_went_away_and_came_back_is_tried_at_once() {
    let mut bench = Bench::wanted();
    bench.fail(Failure::refused("401"));
    bench.pass(secs(20));
    bench.send(Event::Knocked(false));
    bench.pass(secs(1));
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
}

#[test]
fn pictures_and_refusals_prove_a_peer_present_that_was_knocked_on_in_vain() {
    let absent = || {
        let mut bench = Bench::wanted();
        bench.fail(Failure::absent("connection refused"));
        bench.send(Event::Knocked(false));
        bench.pass(secs(1));
        assert_eq!(bench.state(), State::Starting);
        bench
    };
    let mut refused = absent();
    refused.fail(Failure::refused("401"));
    refused.pass(secs(5));
    refused.send(Event::Knocked(true));
    assert_eq!((refused.state(), refused.attempts()), (State::Refused, 2));

    let mut live = absent();
    live.frame(Some(30.0));
    for _ in 0..5 {
        live.lifecycle.backoff.failed();
    }
    live.pass(secs(3));
    live.send(Event::Knocked(true));
    live.pass(secs(5));
    assert_eq!((live.state(), live.attempts()), (State::Stalled, 2), "it was never away");
}

#[test]
fn a_peer_that_comes_back_ends_the_wait_at_once() {
    let mut bench = Bench::wanted();
    for _ in 0..8 {
        bench.fail(Failure::absent("connection refused"));
        bench.pass(secs(60));
    }
    bench.fail(Failure::absent("connection refused"));
    for _ in 0..5 {
        bench.pass(secs(1));
        bench.send(Event::Knocked(false));
    }
    assert_eq!(bench.state(), State::BackingOff);
    let before = bench.attempts();
    bench.pass(secs(1));
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, before + 1));
}

#[test]
fn a_failed_attempt_is_not_an_absence() {
    let mut bench = Bench::wanted();
    for _ in 0..6 {
        bench.fail(Failure::absent("connection refused"));
        bench.pass(secs(60));
    }
    bench.fail(Failure::absent("connection refused"));
    let before = bench.attempts();
    bench.pass(secs(5));
    bench.send(Event::Knocked(true));
    bench.pass(secs(1));
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.attempts()), (State::BackingOff, before));
}

#[test]
fn a_peer_that_answers_every_knock_but_fails_is_not_hammered() {
    let run = |knocks: bool| {
        let mut bench = Bench::wanted();
        let mut units = [0.9, 0.1, 0.5, 0.7, 0.3].into_iter().cycle();
        for _ in 0..3000 {
            if bench.state() == State::Starting {
                bench.unit = units.next().unwrap();
                bench.fail(broken());
            }
            bench.pass(ms(200));
            if knocks && bench.lifecycle.knocking(bench.now) {
                bench.send(Event::Knocked(true));
            }
        }
        bench.begun
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_flapping_peer_causes_at_most_one_attempt_in_two_seconds() {
    let mut bench = Bench::wanted();
    for n in 0..10_000 {
        bench.pass(ms(10));
        if bench.state() == State::Starting {
            bench.fail(broken());
        }
        bench.send(Event::Knocked(n % 2 == 0));
    }
    let close = bench.begun.windows(2).skip(1).filter(|pair| pair[1] - pair[0] < KNOCK_GAP).count();
    assert_eq!(close, 0, "{:?}", bench.begun);
    assert!(bench.attempts() > 40, "and it is not ignored: {}", bench.attempts());
}

#[test]
fn a_stalled_attempt_whose_peer_is_back_gets_half_a_second_to_resume() {
    let stalled = || {
        let mut bench = Bench::live(Some(30.0));
        for _ in 0..6 {
            bench.lifecycle.backoff.failed();
        }
        bench.pass(secs(5));
        bench.send(Event::Knocked(false));
        bench.pass(secs(1));
        bench.send(Event::Knocked(true));
        assert_eq!((bench.state(), bench.next_try()), (State::Stalled, Some(ms(500))));
        bench.pass(ms(400));
        bench
    };
    let mut resumed = stalled();
    resumed.frame(Some(30.0));
    resumed.pass(secs(1));
    assert_eq!((resumed.state(), resumed.attempts()), (State::Live, 1));
    let mut silent = stalled();
    silent.pass(ms(100));
    assert_eq!((silent.state(), silent.attempts()), (State::Starting, 2));
}

#[test]
fn an_attempt_into_a_black_hole_is_begun_anew_when_the_peer_is_back() {
    let mut bench = Bench::wanted();
    assert!(!bench.lifecycle.knocking(secs(1)), "a start in good time is left alone");
    bench.pass(secs(3));
    assert!(bench.lifecycle.knocking(bench.now));
    bench.send(Event::Knocked(false));
    bench.pass(secs(1));
    bench.send(Event::Knocked(true));
    assert_eq!(bench.attempts(), 2);
}

#[test]
fn a_slow_start_is_not_cut_short_by_an_absence_from_before() {
    let mut bench = Bench::wanted();
    bench.fail(Failure::absent("no route"));
    bench.send(Event::Knocked(false));
    bench.pass(secs(1));
    assert_eq!(bench.attempts(), 2);
    bench.pass(secs(3));
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
    // If it fails after all, it may have begun too early: one more comes at once, and no second one.
    bench.fail(broken());
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 3));
    bench.fail(broken());
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.next_try()), (State::BackingOff, Some(secs(4))));
}

#[test]
fn a_peer_that_came_back_while_an_attempt_failed_is_tried_again_soon() {
    let mut bench = Bench::wanted();
    for _ in 0..6 {
        bench.fail(Failure::absent("no route"));
        bench.send(Event::Knocked(false));
        bench.pass(secs(60));
    }
    // It returned too late for this attempt, and before the next knock.
    bench.pass(secs(3));
    bench.fail(Failure::absent("no route"));
    let before = bench.attempts();
    bench.send(Event::Knocked(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, before + 1));
}

#[test]
fn a_poke_ends_the_wait_at_most_once_a_second() {
    let mut bench = Bench::wanted();
    for _ in 0..100 {
        bench.send(Event::Poke);
        if bench.state() == State::Starting && bench.now > Duration::ZERO {
            bench.fail(broken());
        }
        bench.pass(ms(100));
    }
    assert!((9..=11).contains(&bench.attempts()), "{}", bench.attempts());
}

#[test]
fn a_poke_does_nothing_to_what_runs_or_is_not_wanted() {
    let mut live = Bench::live(Some(30.0));
    live.send(Event::Poke);
    assert_eq!((live.state(), live.ended), (State::Live, 0));
    let mut starting = Bench::wanted();
    starting.send(Event::Poke);
    assert_eq!((starting.state(), starting.ended), (State::Starting, 0));
    let mut idle = Bench::new();
    idle.send(Event::Poke);
    assert_eq!((idle.state(), idle.attempts()), (State::Idle, 0));
}

#[test]
fn a_poke_ends_a_stall() {
    let mut bench = Bench::live(Some(30.0));
    bench.pass(secs(2));
    assert_eq!(bench.state(), State::Stalled);
    bench.send(Event::Poke);
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
}

#[test]
fn a_restart_ends_what_runs_and_begins_anew() {
    let mut bench = Bench::live(Some(30.0));
    bench.pass(secs(1));
    bench.send(Event::Restart);
    assert_eq!((bench.state(), bench.ended, bench.attempts()), (State::Starting, 1, 2));
    assert_eq!(bench.lifecycle.snapshot(bench.now, SystemTime::now()).restarts, 1);
    bench.fail(Failure::refused("401"));
    bench.pass(secs(1));
    bench.send(Event::Restart);
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 3), "also out of a refusal");
    let mut idle = Bench::new();
    idle.send(Event::Restart);
    assert_eq!(idle.attempts(), 0);
}

#[test]
fn without_demand_it_stops_and_demand_during_the_stop_begins_afterwards() {
    let mut bench = Bench::live(Some(30.0));
    bench.stops = false;
    bench.send(Event::Demand(false));
    assert_eq!((bench.state(), bench.ended), (State::Stopping, 1));
    bench.pass(secs(1));
    bench.send(Event::Demand(true));
    assert_eq!((bench.state(), bench.attempts()), (State::Stopping, 1));
    bench.send(Event::Stopped { attempt: 1 });
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
    bench.stops = true;
    bench.send(Event::Demand(false));
    assert_eq!(bench.state(), State::Idle);
    assert_eq!(bench.lifecycle.next_deadline(), None);
    assert_eq!(bench.lifecycle.restarts, 0, "nobody's wish is no restart");
}

#[test]
fn demand_that_comes_and_goes_does_not_go_around_the_back_off() {
    let mut bench = Bench::wanted();
    for _ in 0..100 {
        if bench.state() == State::Starting {
            bench.fail(broken());
        }
        bench.send(Event::Demand(false));
        bench.send(Event::Demand(true));
        bench.pass(ms(100));
    }
    assert!(bench.attempts() <= 11, "{}", bench.attempts());
}

#[test]
fn demand_after_a_good_run_is_served_at_once() {
    let mut bench = Bench::live(Some(30.0));
    for _ in 0..100 {
        bench.send(Event::Demand(false));
        bench.send(Event::Demand(true));
        assert_eq!(bench.state(), State::Starting);
        bench.frame(Some(30.0));
    }
    assert_eq!(bench.attempts(), 101);
}

#[test]
fn an_attempt_that_does_not_stop_is_counted_and_given_up() {
    let mut bench = Bench::live(Some(30.0));
    bench.stops = false;
    bench.send(Event::Restart);
    bench.pass(ms(4_999));
    assert_eq!((bench.state(), bench.abandoned), (State::Stopping, 0));
    bench.pass(ms(1));
    assert_eq!((bench.state(), bench.abandoned, bench.attempts()), (State::Starting, 1, 2));
    assert_eq!(bench.lifecycle.frozen(), 1);
    // What it says afterwards is late.
    bench.send(Event::Stopped { attempt: 1 });
    assert_eq!(bench.state(), State::Starting);
}

#[test]
fn the_next_attempt_waits_for_the_end_of_the_last_one() {
    let mut bench = Bench::wanted();
    bench.stops = false;
    bench.fail(broken());
    bench.pass(secs(3));
    assert_eq!((bench.state(), bench.attempts()), (State::BackingOff, 1));
    bench.send(Event::Stopped { attempt: 1 });
    assert_eq!((bench.state(), bench.attempts()), (State::Starting, 2));
}

#[test]
fn late_reports_of_an_earlier_attempt_are_ignored() {
    let mut bench = Bench::live(Some(30.0));
    bench.send(Event::Restart);
    let state = (bench.state(), bench.ended);
    bench.send(Event::Frames { attempt: 1, count: 900, newest: bench.now, fps: None });
    bench.send(Event::Failed { attempt: 1, failure: broken() });
    bench.send(Event::Stopped { attempt: 1 });
    assert_eq!((bench.state(), bench.ended), state);
    assert_eq!(bench.state(), State::Starting);
}

#[test]
fn shutdown_from_every_state_ends_idle_and_for_good() {
    let states: [fn(&mut Bench); 7] = [
        |_| {},
        |bench| bench.send(Event::Demand(true)),
        |bench| {
            bench.send(Event::Demand(true));
            bench.frame(Some(30.0));
        },
        |bench| {
            bench.send(Event::Demand(true));
            bench.pass(secs(10));
        },
        |bench| {
            bench.send(Event::Demand(true));
            bench.fail(broken());
        },
        |bench| {
            bench.send(Event::Demand(true));
            bench.fail(Failure::refused("401"));
        },
        |bench| {
            bench.send(Event::Demand(true));
            bench.stops = false;
            bench.send(Event::Restart);
        },
    ];
    let mut seen = Vec::new();
    for reach in states {
        let mut bench = Bench::new();
        reach(&mut bench);
        seen.push(bench.state());
        bench.send(Event::Shutdown);
        let before = bench.attempts();
        bench.pass(secs(10));
        assert!(bench.lifecycle.finished(), "from {:?}", seen.last());
        assert_eq!(bench.state(), State::Idle);
        for event in [Event::Demand(true), Event::Poke, Event::Restart, Event::Knocked(true)] {
            bench.send(event);
        }
        bench.pass(secs(1000));
        assert_eq!((bench.state(), bench.attempts()), (State::Idle, before));
    }
    use State::*;
    assert_eq!(seen, [Idle, Starting, Live, Stalled, BackingOff, Refused, Stopping]);
}

#[test]
fn the_snapshot_says_what_is() {
    let wall = SystemTime::UNIX_EPOCH + secs(1_000_000);
    let mut bench = Bench::live(Some(30.0));
    bench.pass(secs(1));
    bench.fail(Failure::broken("the connection broke"));
    bench.pass(ms(250));
    let snapshot = bench.lifecycle.snapshot(bench.now, wall);
    assert_eq!(
        snapshot,
        Snapshot {
            state: State::BackingOff,
            since: wall - ms(250),
            attempts: 1,
            restarts: 0,
            last_error: Some("the connection broke".into()),
            next_try: Some(wall + ms(750)),
            frozen: 0,
        }
    );
    bench.pass(ms(750));
    bench.frame(Some(30.0));
    let snapshot = bench.lifecycle.snapshot(bench.now, wall);
    assert_eq!((snapshot.state, snapshot.attempts, snapshot.restarts), (State::Live, 2, 1));
    assert_eq!(snapshot.next_try, None);
    assert!(snapshot.last_error.is_some(), "kept until the next one");
}
