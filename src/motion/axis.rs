//! The axis: what may be asked of it as things are, what it does next and when. Pure: commands, the end switch and
//! the time (since any fixed moment) come in; steps, power and the next deadline come out. The thread in
//! [`super::runner`] does what is said here.
//!
//! ```text
//!  idle ── move ──► moving ──► idle          stop: at once, from anywhere
//!   ├──── home ──► homing: off the switch, to it, off it, slowly to it ──► idle, homed
//!   └──── jog ───► jogging ── not asked again ──► braking ──► idle
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::command::{Command, MOST_QUEUED, Refusal, State, Status, Target};
use super::ramp::{Limits, Ramp};
use crate::config::model::{Stepper, StepperDriver};

/// The second time it goes to the switch, it goes this much more slowly.
const CREEP: f64 = 0.25;
/// Degrees per second; anything slower stands.
const SLOWEST: f64 = 0.01;
/// Off the switch by this many degrees at most.
const OFF_SWITCH: f64 = 20.0;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One step; whether towards more degrees.
    Step(bool),
    Power(bool),
}

#[derive(Clone, Debug)]
enum Doing {
    Idle,
    Move(Run),
    Jog {
        run: Run,
        /// When it brakes unless it is asked for again.
        until: Duration,
        braking: bool,
    },
    Home {
        run: Run,
        stage: Stage,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may stand on the switch at the beginning.
    Off,
    Towards,
    OffAgain,
    Creep,
}

/// A ramp that is being followed.
#[derive(Clone, Debug)]
struct Run {
    ramp: Ramp,
    forward: bool,
    /// Moved on when a step was late: the next one keeps its distance.
    begin: Duration,
    done: u64,
    speed: f64,
}

impl Run {
    fn due(&self) -> Option<Duration> {
        let more = self.done < self.ramp.steps();
        more.then(|| self.begin.saturating_add(span(self.ramp.due(self.done + 1))))
    }

    fn step(&mut self, due: Duration, now: Duration) -> Action {
        self.begin += now.saturating_sub(due);
        self.done += 1;
        Action::Step(self.forward)
    }
}

/// Seconds of a plan; what no duration can hold is for ever.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[derive(Clone, Debug)]
pub struct Axis {
    config: Stepper,
    doing: Doing,
    queue: VecDeque<(i64, f64)>,
    position: i64,
    speed: f64,
    power: bool,
    /// Power that is to be given or taken before anything else.
    power_due: Option<bool>,
    stood_since: Duration,
    homed: bool,
    exact: bool,
    error: Option<String>,
}

impl Axis {
    pub fn new(config: Stepper, now: Duration) -> Self {
        let speed = config.max_speed;
        Self {
            config,
            doing: Doing::Idle,
            queue: VecDeque::new(),
            position: 0,
            speed,
            power: false,
            power_due: None,
            stood_since: now,
            homed: false,
            exact: true,
            error: None,
        }
    }

    pub fn status(&self) -> Status {
        let target = match &self.doing {
            Doing::Move(run) => Some(self.degrees(self.end_of(run))),
            _ => None,
        };
        Status {
            driver: match self.config.driver {
                StepperDriver::None => "none",
                StepperDriver::Simulated => "simulated",
                StepperDriver::StepDir => "step_dir",
                StepperDriver::FourPhase => "four_phase",
            },
            state: self.state(),
            enabled: self.power_due.unwrap_or(self.power),
            position_steps: self.position,
            position_degrees: self.degrees(self.position),
            target_degrees: target,
            speed: self.speed,
            max_speed: self.config.max_speed,
            homed: self.homed,
            can_home: self.has_switch(),
            exact: self.exact,
            min_degrees: self.config.min,
            max_degrees: self.config.max,
            presets: self.config.places().map(|(name, angle)| (name.to_owned(), angle.into())).collect(),
            queued: self.queue.len(),
            error: self.error.clone(),
        }
    }

    fn state(&self) -> State {
        match self.doing {
            Doing::Idle => State::Idle,
            Doing::Move(_) => State::Moving,
            Doing::Jog { .. } => State::Jogging,
            Doing::Home { .. } => State::Homing,
        }
    }

    /// # Errors
    /// It is not followed, and nothing has changed.
    pub fn command(&mut self, command: &Command, now: Duration) -> Result<(), Refusal> {
        match command {
            Command::Move { target, speed, queue } => self.go(target, *speed, *queue, now)?,
            Command::Home => {
                if !self.has_switch() {
                    return Err(Refusal::NoSwitch);
                }
                self.idle_only()?;
                self.homed = false;
                let run = self.seek(!self.towards(), self.config.home_speed, OFF_SWITCH, now);
                self.begin(Doing::Home { run, stage: Stage::Off });
            }
            Command::Stop => self.stop(now),
            Command::Enable => {
                self.power_due = Some(true);
                self.stood_since = now;
            }
            Command::Disable => {
                self.stop(now);
                self.power_due = Some(false);
            }
            Command::Speed(speed) => self.speed = self.allowed(*speed)?,
            Command::Jog(way) => self.jog(*way, now)?,
        }
        self.error = None;
        Ok(())
    }

    /// Something broke beside the axis: a line that cannot be set. It stands, and says why.
    pub fn fail(&mut self, words: String, now: Duration) {
        self.stop(now);
        // Whether the last step was made, nobody knows; the runner takes the power away.
        self.exact = false;
        self.power = false;
        self.power_due = None;
        self.error = Some(words);
    }

    /// When [`Self::act`] is to be called next; `None`: not before another command.
    pub fn deadline(&self) -> Option<Duration> {
        if self.power_due.is_some() {
            return Some(Duration::ZERO);
        }
        match &self.doing {
            Doing::Idle => {
                let off = self.config.idle_off_seconds;
                (self.power && off > 0.0).then(|| self.stood_since + Duration::from_secs_f64(off))
            }
            Doing::Move(run) | Doing::Home { run, .. } => run.due().or(Some(Duration::ZERO)),
            Doing::Jog { run, until, braking } => match (run.due(), braking) {
                (Some(due), false) => Some(due.min(*until)),
                (due, _) => due.or(Some(Duration::ZERO)),
            },
        }
    }

    /// What is to be done at `now`. `switch`: whether the end switch is closed.
    pub fn act(&mut self, now: Duration, switch: bool) -> Option<Action> {
        if let Some(power) = self.power_due.take() {
            self.power = power;
            self.stood_since = now;
            return Some(Action::Power(power));
        }
        let action = match &mut self.doing {
            Doing::Idle => {
                let off = self.deadline().is_some_and(|deadline| now >= deadline);
                self.power &= !off;
                return off.then_some(Action::Power(false));
            }
            Doing::Move(run) => match run.due() {
                Some(due) if now >= due => Some(run.step(due, now)),
                Some(_) => None,
                None => {
                    self.rest(now);
                    self.next(now);
                    None
                }
            },
            Doing::Jog { run, until, braking } => {
                if !*braking && now >= *until {
                    *braking = true;
                    Self::brake(run, self.config.limits(run.speed), now);
                }
                match run.due() {
                    Some(due) if now >= due => Some(run.step(due, now)),
                    Some(_) => None,
                    None => {
                        self.rest(now);
                        None
                    }
                }
            }
            Doing::Home { .. } => self.home(now, switch),
        };
        if let Some(Action::Step(forward)) = action {
            self.position += if forward { 1 } else { -1 };
        }
        action
    }

    fn home(&mut self, now: Duration, switch: bool) -> Option<Action> {
        let Doing::Home { run, stage } = &mut self.doing else { return None };
        let arrived = match stage {
            Stage::Off | Stage::OffAgain => !switch,
            Stage::Towards | Stage::Creep => switch,
        };
        if !arrived {
            return match run.due() {
                Some(due) => (now >= due).then(|| run.step(due, now)),
                None => {
                    let words = match stage {
                        Stage::Off | Stage::OffAgain => {
                            "the end switch stays closed: it is stuck, or stepper.home_high is wrong"
                        }
                        Stage::Towards | Stage::Creep => {
                            "the end switch was not found on the whole way: look at its wire, stepper.home_pin, \
                             stepper.invert and stepper.home_position"
                        }
                    };
                    self.rest(now);
                    self.error = Some(words.to_owned());
                    None
                }
            };
        }
        let speed = self.config.home_speed;
        let (stage, run) = match stage {
            Stage::Off => (Stage::Towards, self.seek(self.towards(), speed, self.span() * 1.1, now)),
            Stage::Towards => (Stage::OffAgain, self.seek(!self.towards(), speed * CREEP, OFF_SWITCH, now)),
            Stage::OffAgain => (Stage::Creep, self.seek(self.towards(), speed * CREEP, OFF_SWITCH, now)),
            Stage::Creep => {
                self.position = self.steps(self.config.home_position);
                (self.homed, self.exact) = (true, true);
                self.rest(now);
                return None;
            }
        };
        self.doing = Doing::Home { run, stage };
        None
    }

    fn go(&mut self, target: &Target, speed: Option<f64>, queue: bool, now: Duration) -> Result<(), Refusal> {
        let speed = speed.map_or(Ok(self.speed), |speed| self.allowed(speed))?;
        if self.has_switch() && !self.homed {
            return Err(Refusal::NotHomed);
        }
        // Only behind a move may another one wait.
        if !queue || !matches!(self.doing, Doing::Move(_)) {
            self.idle_only()?;
        }
        let last = match &self.doing {
            Doing::Move(run) => self.queue.back().map_or_else(|| self.end_of(run), |(steps, _)| *steps),
            _ => self.position,
        };
        let steps = match target {
            Target::Degrees(degrees) => self.whole(*degrees)?,
            Target::By(degrees) => last.saturating_add(self.whole(*degrees)?),
            Target::Steps(steps) => *steps,
            Target::BySteps(steps) => last.saturating_add(*steps),
            Target::Preset(name) => {
                let place = self.config.places().find(|(known, _)| known == name);
                self.steps(place.ok_or_else(|| Refusal::NoPreset(name.chars().take(64).collect()))?.1)
            }
        };
        if steps < self.steps(self.config.min) || steps > self.steps(self.config.max) {
            let asked = self.degrees(steps);
            return Err(Refusal::Limits { asked, min: self.config.min, max: self.config.max });
        }
        if matches!(self.doing, Doing::Idle) {
            self.travel(steps, speed, now);
        } else if self.queue.len() >= MOST_QUEUED {
            return Err(Refusal::Full);
        } else {
            self.queue.push_back((steps, speed));
        }
        Ok(())
    }

    fn jog(&mut self, way: f64, now: Duration) -> Result<(), Refusal> {
        if !way.is_finite() || way.abs() > 1.0 {
            return Err(Refusal::Invalid("a jog is -1 to 1 of the speed"));
        }
        let way = if way.abs() * self.speed < SLOWEST { 0.0 } else { way };
        let until = now + Duration::from_secs_f64(self.config.jog_timeout_seconds);
        let forward = way > 0.0;
        if let Doing::Jog { run, until: end, braking } = &mut self.doing {
            if way != 0.0 && run.forward == forward && !*braking {
                *end = until;
            } else if !*braking {
                // The other way begins when it stands.
                *end = now;
            }
            return Ok(());
        }
        if way == 0.0 {
            return Ok(());
        }
        self.idle_only()?;
        // Without knowing where the ends are it goes as carefully as to the switch.
        let lost = self.has_switch() && !self.homed;
        let speed = if lost { self.config.home_speed.min(self.speed) } else { self.speed } * way.abs();
        let end = self.steps(if forward { self.config.max } else { self.config.min });
        let steps = match lost {
            true => (self.span() * self.config.steps_per_degree) as u64,
            false if forward => u64::try_from(end - self.position).unwrap_or(0),
            false => u64::try_from(self.position - end).unwrap_or(0),
        };
        let ramp = Ramp::new(steps, self.config.limits(speed));
        let run = Run { ramp, forward, begin: now, done: 0, speed };
        self.begin(Doing::Jog { run, until, braking: false });
        Ok(())
    }

    fn brake(run: &mut Run, limits: Limits, now: Duration) {
        let time = now.saturating_sub(run.begin).as_secs_f64();
        run.ramp = run.ramp.braking(time, run.done, limits);
        (run.begin, run.done) = (now, 0);
    }

    fn stop(&mut self, now: Duration) {
        self.queue.clear();
        if let Doing::Move(run) | Doing::Jog { run, .. } | Doing::Home { run, .. } = &self.doing {
            let braking = matches!(self.doing, Doing::Jog { braking: true, .. });
            let going = (run.done > 0 || braking) && run.done < run.ramp.steps();
            self.exact &= !going;
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Duration) {
        self.doing = Doing::Idle;
        self.stood_since = now;
    }

    fn next(&mut self, now: Duration) {
        if let Some((steps, speed)) = self.queue.pop_front() {
            self.travel(steps, speed, now);
        }
    }

    fn travel(&mut self, steps: i64, speed: f64, now: Duration) {
        let ramp = Ramp::new(steps.abs_diff(self.position), self.config.limits(speed));
        let forward = steps > self.position;
        self.begin(Doing::Move(Run { ramp, forward, begin: now, done: 0, speed }));
    }

    /// A way to or from the switch.
    fn seek(&self, forward: bool, speed: f64, degrees: f64, now: Duration) -> Run {
        let steps = (degrees * self.config.steps_per_degree).ceil() as u64;
        Run { ramp: Ramp::new(steps, self.config.limits(speed)), forward, begin: now, done: 0, speed }
    }

    fn begin(&mut self, doing: Doing) {
        self.doing = doing;
        if !self.power_due.unwrap_or(self.power) {
            self.power_due = Some(true);
        }
    }

    fn idle_only(&self) -> Result<(), Refusal> {
        match self.state() {
            State::Idle => Ok(()),
            State::Moving => Err(Refusal::Busy("moving")),
            State::Homing => Err(Refusal::Busy("looking for its end switch")),
            State::Jogging => Err(Refusal::Busy("being jogged")),
        }
    }

    fn allowed(&self, speed: f64) -> Result<f64, Refusal> {
        let most = self.config.max_speed;
        (SLOWEST..=most).contains(&speed).then_some(speed).ok_or(Refusal::Speed(most))
    }

    fn end_of(&self, run: &Run) -> i64 {
        let left = i64::try_from(run.ramp.steps() - run.done).unwrap_or(i64::MAX);
        if run.forward { self.position + left } else { self.position - left }
    }

    /// A simulated motor has a simulated switch.
    fn has_switch(&self) -> bool {
        self.config.home_pin.is_some() || self.config.driver == StepperDriver::Simulated
    }

    /// Whether the switch is towards more degrees.
    fn towards(&self) -> bool {
        let Stepper { home_position, min, max, .. } = self.config;
        (max - home_position).abs() < (home_position - min).abs()
    }

    fn span(&self) -> f64 {
        self.config.max - self.config.min
    }

    fn whole(&self, degrees: f64) -> Result<i64, Refusal> {
        match degrees.is_finite() {
            true => Ok(self.steps(degrees)),
            false => Err(Refusal::Invalid("an angle is a number of degrees")),
        }
    }

    fn steps(&self, degrees: f64) -> i64 {
        (degrees * self.config.steps_per_degree).round() as i64
    }

    fn degrees(&self, steps: i64) -> f64 {
        steps as f64 / self.config.steps_per_degree
    }
}

impl Stepper {
    /// Of a move at this many degrees per second.
    fn limits(&self, speed: f64) -> Limits {
        Limits {
            speed: speed * self.steps_per_degree,
            acceleration: self.acceleration * self.steps_per_degree,
        }
    }
}

#[cfg(test)]
mod tests;
