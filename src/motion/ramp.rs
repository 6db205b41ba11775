//! The ramp planner: when each step of a move is due, so that speed and acceleration are never over their limits
//! and the move ends at rest, exactly on its target. Pure; positions are steps from where the move began, times are
//! seconds from its beginning.

/// Speed in steps per second and acceleration in steps per second squared; both more than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub speed: f64,
    pub acceleration: f64,
}

/// A move of `steps` steps in one direction: up to speed, along, and down to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    steps: u64,
    phases: [Phase; 3],
}

/// A stretch of constant acceleration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Phase {
    begin: f64,
    lasts: f64,
    position: f64,
    speed: f64,
    acceleration: f64,
}

impl Phase {
    fn after(&self, time: f64) -> (f64, f64) {
        let time = (time - self.begin).clamp(0.0, self.lasts);
        let position = self.position + self.speed * time + 0.5 * self.acceleration * time * time;
        (position, self.speed + self.acceleration * time)
    }

    fn end(&self) -> (f64, f64) {
        self.after(self.begin + self.lasts)
    }

    /// When it is at a position, which it comes by.
    fn when(&self, position: f64) -> f64 {
        let way = position - self.position;
        let root = (self.speed * self.speed + 2.0 * self.acceleration * way).max(0.0).sqrt();
        // The form without a difference of nearly equal numbers.
        let time = if way <= 0.0 { 0.0 } else { 2.0 * way / (self.speed + root).max(f64::MIN_POSITIVE) };
        self.begin + time.min(self.lasts)
    }
}

impl Ramp {
    /// From rest to rest.
    pub fn new(steps: u64, limits: Limits) -> Self {
        // Without speed there is no way.
        let steps = if limits.speed > 0.0 && limits.acceleration > 0.0 { steps } else { 0 };
        let (way, Limits { speed, acceleration }) = (steps as f64, limits);
        // A short move never comes up to speed.
        let top = speed.min((way * acceleration).sqrt());
        let up = top / acceleration;
        let along = if top > 0.0 { ((way - top * up) / top).max(0.0) } else { 0.0 };
        let first = Phase { begin: 0.0, lasts: up, position: 0.0, speed: 0.0, acceleration };
        let second =
            Phase { begin: up, lasts: along, position: first.end().0, speed: top, acceleration: 0.0 };
        let third = Phase {
            begin: up + along,
            lasts: up,
            position: second.end().0,
            speed: top,
            acceleration: -acceleration,
        };
        Self { steps, phases: [first, second, third] }
    }

    /// To rest as soon as the limits allow, from where and how fast a move is `time` after its beginning. The steps
    /// of the result count from `done` of that move's steps on, and never beyond its own target.
    pub fn braking(&self, time: f64, done: u64, limits: Limits) -> Self {
        let (position, speed) = self.at(time);
        let rest = position + speed * speed / (2.0 * limits.acceleration);
        let target = (rest.ceil() as u64).clamp(done, self.steps);
        let way = (target as f64 - position).max(0.0);
        let steps = target - done;
        if speed <= 0.0 || way <= 0.0 {
            return Self::new(steps, limits);
        }
        // A little gentler than allowed, to end on a whole step.
        let acceleration = -speed * speed / (2.0 * way);
        let last = Phase {
            begin: 0.0,
            lasts: -speed / acceleration,
            position: position - done as f64,
            speed,
            acceleration,
        };
        Self { steps, phases: [last, Phase::default(), Phase::default()] }
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How long it takes.
    pub fn lasts(&self) -> f64 {
        self.phases.iter().map(|phase| phase.lasts).sum()
    }

    /// Position and speed at a time.
    pub fn at(&self, time: f64) -> (f64, f64) {
        let running = self.phases.iter().find(|phase| phase.lasts > 0.0 && time < phase.begin + phase.lasts);
        running.map_or((self.steps as f64, 0.0), |phase| phase.after(time.max(0.0)))
    }

    /// When step number `step` is due, 1 being the first.
    pub fn due(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.lasts();
        }
        let position = step as f64;
        let phase = self.phases.iter().find(|phase| phase.lasts > 0.0 && position <= phase.end().0);
        phase.map_or_else(|| self.lasts(), |phase| phase.when(position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        (1.0..10_000.0f64, 1.0..100_000.0f64).prop_map(|(speed, acceleration)| Limits { speed, acceleration })
    }

    /// Between steps the motor is taken to turn evenly: mean speeds, at the middles of the times between.
    fn check(due: &[f64], begin_speed: f64, limits: Limits) {
        let slack = 1.0 + 1e-6;
        let mut last: Option<(f64, f64)> = None;
        for pair in due.windows(2) {
            let between = pair[1] - pair[0];
            assert!(between > 0.0, "steps in order: {pair:?}");
            let (middle, speed) = ((pair[0] + pair[1]) / 2.0, 1.0 / between);
            assert!(speed <= limits.speed.max(begin_speed) * slack, "{speed} is over {limits:?}");
            if let Some((before, slower)) = last {
                let acceleration = (speed - slower).abs() / (middle - before);
                // Where two stretches meet, the mean of one step has part of both.
                assert!(
                    acceleration <= limits.acceleration * slack + 1e-6 * limits.speed,
                    "{acceleration} is over {limits:?}"
                );
            }
            last = Some((middle, speed));
        }
    }

    proptest! {
        #[test]
        fn never_over_speed_or_acceleration_and_exactly_on_target(steps in 0u64..3000, limits in limits()) {
            let ramp = Ramp::new(steps, limits);
            let due: Vec<f64> = (0..=steps).map(|step| if step == 0 { 0.0 } else { ramp.due(step) }).collect();
            check(&due, 0.0, limits);
            prop_assert_eq!(ramp.at(ramp.lasts() + 1.0), (steps as f64, 0.0));
            prop_assert!((due[steps as usize] - ramp.lasts()).abs() < 1e-9);
            for time in [0.1, 0.5, 0.9].map(|share| share * ramp.lasts()) {
                let (position, speed) = ramp.at(time);
                prop_assert!(speed <= limits.speed * 1.000_001 && position <= steps as f64 + 1e-6);
            }
        }

        #[test]
        fn braking_ends_at_rest_within_the_way_that_is_left(
            steps in 1u64..3000, limits in limits(), share in 0.0..1.0f64,
        ) {
            let ramp = Ramp::new(steps, limits);
            let time = share * ramp.lasts();
            let done = (1..=steps).take_while(|step| ramp.due(*step) <= time).count() as u64;
            let speed = ramp.at(time).1;
            let brake = ramp.braking(time, done, limits);
            prop_assert!(done + brake.steps() <= steps, "never beyond where it was going");
            let due: Vec<f64> = (1..=brake.steps()).map(|step| brake.due(step)).collect();
            check(&due, speed, limits);
            // At most one step more than the way that braking needs.
            let needed = speed * speed / (2.0 * limits.acceleration);
            prop_assert!(brake.steps() as f64 <= needed + 2.0);
        }
    }

    #[test]
    fn a_long_move_takes_as_long_as_physics_says() {
        // 100 steps/s at 100 steps/s²: 1 s up over 50 steps, 9 s along, 1 s down.
        let ramp = Ramp::new(1000, Limits { speed: 100.0, acceleration: 100.0 });
        assert!((ramp.lasts() - 11.0).abs() < 1e-9);
        assert!((ramp.due(50) - 1.0).abs() < 1e-9 && (ramp.due(950) - 10.0).abs() < 1e-9);
        assert_eq!(ramp.at(5.0), (450.0, 100.0));
    }
}
