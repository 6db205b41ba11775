use proptest::prelude::*;

use super::*;

/// 10 steps a degree, 50°/s, 100°/s².
fn config() -> Stepper {
    Stepper {
        driver: StepperDriver::StepDir,
        steps_per_degree: 10.0,
        max_speed: 50.0,
        acceleration: 100.0,
        home_position: -90.0,
        presets: vec!["door=-45".into()],
        ..Stepper::default()
    }
}

/// A motor on a bench: the axis, the time, and where the motor really is.
struct Bench {
    axis: Axis,
    now: Duration,
    really: i64,
    /// Closed at this place and below.
    switch: i64,
    power: Vec<bool>,
    late: Duration,
    steps: Vec<Duration>,
}

impl Bench {
    fn new(config: Stepper) -> Self {
        let now = Duration::from_secs(5);
        Self {
            axis: Axis::new(config, now),
            now,
            really: 0,
            switch: i64::MIN,
            power: Vec::new(),
            late: Duration::ZERO,
            steps: Vec::new(),
        }
    }

    fn ask(&mut self, command: Command) -> Result<(), Refusal> {
        self.axis.command(&command, self.now)
    }

    fn go(&mut self, degrees: f64) -> Result<(), Refusal> {
        self.ask(Command::Move { target: Target::Degrees(degrees), speed: None, queue: false })
    }

    /// Does what is due for so long.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.axis.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline + self.late);
            match self.axis.act(self.now, self.really <= self.switch) {
                Some(Action::Step(forward)) => {
                    self.really += if forward { 1 } else { -1 };
                    self.steps.push(self.now);
                }
                Some(Action::Power(power)) => self.power.push(power),
                None => {}
            }
        }
        self.now = self.now.max(end);
    }

    fn seconds(&mut self, seconds: f64) {
        self.run(Duration::from_secs_f64(seconds));
    }
}

#[test]
fn a_move_gets_power_ends_on_its_place_and_gives_power_up_when_it_has_stood_for_a_while() {
    let mut bench = Bench::new(config());
    bench.go(30.0).unwrap();
    assert_eq!(bench.axis.status().state, State::Moving);
    assert_eq!(bench.axis.status().target_degrees, Some(30.0));
    bench.seconds(5.0);
    let status = bench.axis.status();
    assert_eq!((status.state, status.position_degrees, bench.really), (State::Idle, 30.0, 300));
    assert_eq!(bench.power, [true]);
    bench.seconds(10.0);
    assert_eq!(bench.power, [true, false]);
    assert!(!bench.axis.status().enabled);
}

#[test]
fn every_way_to_say_where_leads_there() {
    let mut bench = Bench::new(config());
    let table = [
        (Target::Degrees(12.3), 123),
        (Target::By(-2.0), 103),
        (Target::Steps(-7), -7),
        (Target::BySteps(10), 3),
        (Target::Preset("door".into()), -450),
    ];
    for (target, expected) in table {
        bench.ask(Command::Move { target, speed: Some(50.0), queue: false }).unwrap();
        bench.seconds(20.0);
        assert_eq!((bench.axis.status().position_steps, bench.really), (expected, expected));
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_why_and_changes_nothing() {
    let mut bench = Bench::new(config());
    let to = |target| Command::Move { target, speed: None, queue: false };
    let limits = |asked| Refusal::Limits { asked, min: -90.0, max: 90.0 };
    let table = [
        (to(Target::Degrees(90.1)), limits(90.1)),
        (to(Target::Steps(i64::MIN)), limits(i64::MIN as f64 / 10.0)),
        (to(Target::BySteps(i64::MAX)), limits(i64::MAX as f64 / 10.0)),
        (to(Target::Preset("attic".into())), Refusal::NoPreset("attic".into())),
        (Command::Speed(50.1), Refusal::Speed(50.0)),
        (Command::Speed(0.0), Refusal::Speed(50.0)),
        (Command::Speed(1e-300), Refusal::Speed(50.0)),
        (
            Command::Move { target: Target::Degrees(1.0), speed: Some(1e-9), queue: false },
            Refusal::Speed(50.0),
        ),
        (Command::Speed(f64::NAN), Refusal::Speed(50.0)),
        (Command::Home, Refusal::NoSwitch),
        (Command::Jog(1.1), Refusal::Invalid("a jog is -1 to 1 of the speed")),
        (to(Target::Degrees(f64::NAN)), Refusal::Invalid("an angle is a number of degrees")),
    ];
    let before = bench.axis.status();
    for (command, refusal) in table {
        assert_eq!(bench.ask(command), Err(refusal));
        assert_eq!(bench.axis.status(), before);
    }
}

#[test]
fn a_second_move_is_refused_or_waits_its_turn_when_asked_to() {
    let mut bench = Bench::new(config());
    bench.go(20.0).unwrap();
    bench.seconds(0.2);
    assert_eq!(bench.go(10.0), Err(Refusal::Busy("moving")));
    let queued = |target| Command::Move { target, speed: None, queue: true };
    bench.ask(queued(Target::By(5.0))).unwrap();
    bench.ask(queued(Target::By(-30.0))).unwrap();
    assert_eq!(
        bench.ask(queued(Target::By(120.0))),
        Err(Refusal::Limits { asked: 115.0, min: -90.0, max: 90.0 })
    );
    for _ in 2..MOST_QUEUED {
        bench.ask(queued(Target::By(0.0))).unwrap();
    }
    assert_eq!(bench.ask(queued(Target::By(0.0))), Err(Refusal::Full));
    bench.seconds(10.0);
    assert_eq!((bench.really, bench.axis.status().queued), (-50, 0));
}

#[test]
fn a_stop_holds_at_once_and_forgets_what_was_queued() {
    let mut bench = Bench::new(config());
    bench.go(80.0).unwrap();
    bench.ask(Command::Move { target: Target::Degrees(0.0), speed: None, queue: true }).unwrap();
    bench.seconds(1.0);
    let place = bench.really;
    assert!(place > 100);
    bench.ask(Command::Stop).unwrap();
    bench.seconds(5.0);
    let status = bench.axis.status();
    assert_eq!((bench.really, status.position_steps, status.state), (place, place, State::Idle));
    assert!(!status.exact && status.queued == 0);
    bench.ask(Command::Disable).unwrap();
    bench.seconds(0.1);
    assert_eq!(bench.power, [true, false]);
}

#[test]
fn homing_finds_the_switch_from_both_sides_of_it_and_says_when_there_is_none() {
    for begin in [0, -800, 850] {
        let mut bench = Bench::new(Stepper { home_pin: Some(4), ..config() });
        (bench.really, bench.switch) = (begin, -777);
        assert_eq!(bench.go(10.0), Err(Refusal::NotHomed));
        bench.ask(Command::Home).unwrap();
        bench.seconds(60.0);
        let status = bench.axis.status();
        assert!(status.homed && status.exact && status.state == State::Idle, "{begin}: {status:?}");
        assert_eq!((status.position_degrees, bench.really), (-90.0, -777), "{begin}");
        bench.go(0.0).unwrap();
        bench.seconds(60.0);
        assert_eq!(bench.really, -777 + 900);
    }
    let mut bench = Bench::new(Stepper { home_pin: Some(4), ..config() });
    bench.ask(Command::Home).unwrap();
    bench.seconds(60.0);
    let status = bench.axis.status();
    assert!(!status.homed && status.error.as_deref().unwrap().contains("was not found"), "{status:?}");
    bench.switch = i64::MAX;
    bench.ask(Command::Home).unwrap();
    bench.seconds(60.0);
    assert!(bench.axis.status().error.unwrap().contains("stays closed"));
}

#[test]
fn a_jog_brakes_when_it_is_not_asked_for_again_and_never_leaves_the_limits() {
    let mut bench = Bench::new(config());
    for _ in 0..4 {
        bench.ask(Command::Jog(1.0)).unwrap();
        bench.seconds(0.3);
    }
    assert_eq!(bench.axis.status().state, State::Jogging);
    bench.seconds(3.0);
    let status = bench.axis.status();
    assert_eq!(status.state, State::Idle);
    assert!(status.exact, "it came to rest by itself");
    // 1.4 s at up to 50°/s, and 12.5° to brake.
    assert!((40.0..75.0).contains(&status.position_degrees), "{status:?}");
    for _ in 0..20 {
        bench.ask(Command::Jog(1.0)).unwrap();
        bench.seconds(0.3);
    }
    assert_eq!(bench.really, 900);
    bench.ask(Command::Jog(-0.5)).unwrap();
    bench.seconds(0.3);
    bench.ask(Command::Jog(0.0)).unwrap();
    bench.seconds(2.0);
    assert!(bench.really < 900 && bench.axis.status().state == State::Idle);
}

#[test]
fn power_that_was_taken_or_lost_is_given_again_before_the_next_step() {
    let mut bench = Bench::new(config());
    bench.go(5.0).unwrap();
    bench.seconds(5.0);
    // Both before the thread comes to do anything.
    bench.ask(Command::Disable).unwrap();
    bench.go(10.0).unwrap();
    bench.seconds(5.0);
    assert_eq!(bench.really, 100);
    assert!(bench.axis.status().enabled && *bench.power.last().unwrap());
    bench.axis.fail("a line cannot be set".into(), bench.now);
    let status = bench.axis.status();
    assert!(!status.exact && !status.enabled && status.error.is_some());
    bench.go(12.0).unwrap();
    bench.seconds(5.0);
    assert_eq!((bench.really, bench.power.last()), (120, Some(&true)));
}

#[test]
fn a_jog_that_is_too_slow_to_be_one_does_not_move() {
    let mut bench = Bench::new(config());
    for way in [1e-300, -1e-9, 0.0] {
        bench.ask(Command::Jog(way)).unwrap();
        bench.seconds(2.0);
        assert_eq!((bench.axis.status().state, bench.really), (State::Idle, 0));
    }
}

proptest! {
    /// A thread that wakes up late never makes up for it by steps that come quicker.
    #[test]
    fn late_steps_keep_their_distance(late in 0u64..20_000, degrees in 1.0..80.0f64) {
        let mut bench = Bench::new(config());
        bench.late = Duration::from_micros(late);
        bench.go(degrees).unwrap();
        bench.seconds(60.0);
        prop_assert_eq!(bench.really, (degrees * 10.0).round() as i64);
        for pair in bench.steps.windows(2) {
            prop_assert!(pair[1] - pair[0] >= Duration::from_micros(1999), "500 steps a second at most");
        }
    }

    /// Whatever is asked whenever, the motor is where the axis says, and within the limits.
    #[test]
    fn no_sequence_of_commands_leaves_the_limits(asked in proptest::collection::vec((0u8..8, -100.0..100.0f64, 0.0..0.7f64), 1..40)) {
        let mut bench = Bench::new(config());
        for (which, number, wait) in asked {
            let command = match which {
                0 => Command::Move { target: Target::Degrees(number), speed: None, queue: false },
                1 => Command::Move { target: Target::By(number), speed: Some(number.abs().max(5.0)), queue: true },
                2 | 3 => Command::Jog(number / 100.0),
                4 => Command::Stop,
                5 => Command::Disable,
                6 => Command::Speed(number.max(5.0)),
                _ => Command::Enable,
            };
            let _ = bench.ask(command);
            bench.seconds(wait);
            prop_assert_eq!(bench.axis.status().position_steps, bench.really);
            prop_assert!(bench.really.abs() <= 900);
        }
        bench.seconds(60.0);
        prop_assert_eq!(bench.axis.status().state, State::Idle);
    }
}
