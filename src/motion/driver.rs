//! Drivers: what turns a step into a motor's turn. They are called on the stepper's own thread and may wait for
//! microseconds. GPIO goes by the character device; sysfs is gone from new kernels.

use std::path::Path;
use std::time::Duration;

use gpio_cdev::{Chip, LineHandle, LineRequestFlags, MultiLineHandle};

use crate::config::model::{Stepper, StepperDriver};

/// Who holds a line, in `gpioinfo`.
const CONSUMER: &str = "fanlight";
/// How long a pulse and the time before it are at least; drivers want 1 to 2 µs.
const PULSE: Duration = Duration::from_micros(5);
/// Half steps of a four-phase motor: which of its lines have current.
const PHASES: [[u8; 4]; 8] = [
    [1, 0, 0, 0],
    [1, 1, 0, 0],
    [0, 1, 0, 0],
    [0, 1, 1, 0],
    [0, 0, 1, 0],
    [0, 0, 1, 1],
    [0, 0, 0, 1],
    [1, 0, 0, 1],
];

/// Turns the motor.
pub trait Driver: Send {
    /// One step, towards more degrees or fewer.
    ///
    /// # Errors
    /// In words: a line cannot be set.
    fn step(&mut self, forward: bool) -> Result<(), String>;
    /// # Errors
    /// In words: a line cannot be set.
    fn power(&mut self, on: bool) -> Result<(), String>;
    /// Whether the end switch is closed; false without one.
    ///
    /// # Errors
    /// In words: the line cannot be read.
    fn switch(&mut self) -> Result<bool, String>;
}

/// Opens what the configuration names. `None`: there is no motor.
///
/// # Errors
/// In words, with the line that cannot be had and what to do.
pub fn open(config: &Stepper) -> Result<Option<Box<dyn Driver>>, String> {
    Ok(Some(match config.driver {
        StepperDriver::None => return Ok(None),
        StepperDriver::Simulated => Box::new(Simulated::new(config)),
        StepperDriver::StepDir => Box::new(StepDir::open(config)?),
        StepperDriver::FourPhase => Box::new(FourPhase::open(config)?),
    }))
}

/// Moves nothing. Its end switch closes at its place as a real one does.
#[derive(Debug)]
struct Simulated {
    really: i64,
    closes: i64,
    /// Closed at that place and beyond it, towards more degrees; else towards fewer.
    above: bool,
}

impl Simulated {
    fn new(config: &Stepper) -> Self {
        let closes = (config.home_position * config.steps_per_degree).round() as i64;
        let above = (config.max - config.home_position).abs() < (config.home_position - config.min).abs();
        Self { really: 0, closes, above }
    }
}

impl Driver for Simulated {
    fn step(&mut self, forward: bool) -> Result<(), String> {
        self.really += if forward { 1 } else { -1 };
        Ok(())
    }

    fn power(&mut self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn switch(&mut self) -> Result<bool, String> {
        Ok(if self.above { self.really >= self.closes } else { self.really <= self.closes })
    }
}

/// A step and a direction line (A4988, DRV8825, TMC2209), and one for power.
#[derive(Debug)]
struct StepDir {
    step: LineHandle,
    direction: LineHandle,
    enable: Option<(LineHandle, bool)>,
    end: End,
    invert: bool,
    last: Option<bool>,
}

impl StepDir {
    fn open(config: &Stepper) -> Result<Self, String> {
        let mut lines = Lines::open(&config.chip)?;
        let step = config.step_pin.ok_or("stepper.step_pin is not set")?;
        let direction = config.direction_pin.ok_or("stepper.direction_pin is not set")?;
        let off = u8::from(!config.enable_high);
        let enable = config.enable_pin.map(|pin| lines.output(pin, off)).transpose()?;
        Ok(Self {
            step: lines.output(step, 0)?,
            direction: lines.output(direction, 0)?,
            enable: enable.map(|line| (line, config.enable_high)),
            end: End::open(&mut lines, config)?,
            invert: config.invert,
            last: None,
        })
    }
}

impl Driver for StepDir {
    fn step(&mut self, forward: bool) -> Result<(), String> {
        if self.last != Some(forward) {
            set(&self.direction, u8::from(forward != self.invert))?;
            self.last = Some(forward);
            std::thread::sleep(PULSE);
        }
        set(&self.step, 1)?;
        std::thread::sleep(PULSE);
        set(&self.step, 0)
    }

    fn power(&mut self, on: bool) -> Result<(), String> {
        self.enable.as_ref().map_or(Ok(()), |(line, high)| set(line, u8::from(on == *high)))
    }

    fn switch(&mut self) -> Result<bool, String> {
        self.end.closed()
    }
}

/// Four lines, one a phase (ULN2003 with a 28BYJ-48), in half steps.
#[derive(Debug)]
struct FourPhase {
    lines: MultiLineHandle,
    end: End,
    invert: bool,
    phase: usize,
    on: bool,
}

impl FourPhase {
    fn open(config: &Stepper) -> Result<Self, String> {
        let pins = &config.phase_pins;
        if pins.len() != PHASES[0].len() {
            return Err(format!("stepper.phase_pins has {} lines; write the four of the driver", pins.len()));
        }
        let mut lines = Lines::open(&config.chip)?;
        let phases = lines.outputs(pins)?;
        let end = End::open(&mut lines, config)?;
        Ok(Self { lines: phases, end, invert: config.invert, phase: 0, on: false })
    }

    fn show(&self) -> Result<(), String> {
        let values = if self.on { PHASES[self.phase] } else { [0; 4] };
        self.lines.set_values(&values).map_err(|error| format!("the stepper's lines cannot be set: {error}"))
    }
}

impl Driver for FourPhase {
    fn step(&mut self, forward: bool) -> Result<(), String> {
        let way = if forward != self.invert { 1 } else { PHASES.len() - 1 };
        self.phase = (self.phase + way) % PHASES.len();
        self.show()
    }

    fn power(&mut self, on: bool) -> Result<(), String> {
        self.on = on;
        self.show()
    }

    fn switch(&mut self) -> Result<bool, String> {
        self.end.closed()
    }
}

/// The end switch, where there is one.
#[derive(Debug)]
struct End(Option<(LineHandle, u8)>);

impl End {
    fn open(lines: &mut Lines, config: &Stepper) -> Result<Self, String> {
        let line = config.home_pin.map(|pin| lines.input(pin)).transpose()?;
        Ok(Self(line.map(|line| (line, u8::from(config.home_high)))))
    }

    fn closed(&self) -> Result<bool, String> {
        let Some((line, closed)) = &self.0 else { return Ok(false) };
        let value = line.get_value();
        value.map(|value| value == *closed).map_err(|error| format!("the end switch cannot be read: {error}"))
    }
}

/// The lines of a chip.
struct Lines {
    chip: Chip,
    name: String,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let chip = Chip::new(path).map_err(|error| {
            format!("{name} cannot be opened: {error}; see stepper.chip, and the group gpio for permission")
        })?;
        Ok(Self { chip, name })
    }

    fn output(&mut self, pin: u32, value: u8) -> Result<LineHandle, String> {
        let line = self.chip.get_line(pin);
        let line = line.and_then(|line| line.request(LineRequestFlags::OUTPUT, value, CONSUMER));
        line.map_err(|error| self.refused(pin, &error))
    }

    fn input(&mut self, pin: u32) -> Result<LineHandle, String> {
        let line = self.chip.get_line(pin);
        let line = line.and_then(|line| line.request(LineRequestFlags::INPUT, 0, CONSUMER));
        line.map_err(|error| self.refused(pin, &error))
    }

    fn outputs(&mut self, pins: &[u32]) -> Result<MultiLineHandle, String> {
        let lines = self.chip.get_lines(pins);
        let lines =
            lines.and_then(|lines| lines.request(LineRequestFlags::OUTPUT, &vec![0; pins.len()], CONSUMER));
        lines.map_err(|error| self.refused(pins[0], &error))
    }

    fn refused(&self, pin: u32, error: &gpio_cdev::Error) -> String {
        format!("line {pin} of {} cannot be had: {error}; gpioinfo shows who holds it", self.name)
    }
}

fn set(line: &LineHandle, value: u8) -> Result<(), String> {
    line.set_value(value)
        .map_err(|error| format!("the stepper's line {} cannot be set: {error}", line.line().offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_half_steps_differ_in_one_line() {
        for (place, phase) in PHASES.iter().enumerate() {
            let next = PHASES[(place + 1) % PHASES.len()];
            let different = phase.iter().zip(next).filter(|(a, b)| **a != *b).count();
            assert_eq!(different, 1, "{place}");
        }
    }

    #[test]
    fn a_chip_that_is_not_there_is_named_with_what_to_look_at() {
        let config = Stepper {
            driver: StepperDriver::StepDir,
            chip: "/dev/gpiochip-of-a-test".into(),
            ..Stepper::default()
        };
        let words = open(&config).err().unwrap();
        assert!(words.contains("gpiochip-of-a-test") && words.contains("stepper.chip"), "{words}");
    }
}
