//! The motor that turns a camera.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A stepper motor on GPIO. Angles are degrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stepper {
    pub driver: StepperDriver,
    /// The GPIO chip, as `gpiodetect` lists it.
    pub chip: PathBuf,
    /// Lines of a step and direction driver (A4988, TMC2209).
    pub step_pin: Option<u32>,
    pub direction_pin: Option<u32>,
    /// The line that gives the motor power; low means power unless `enable_high` is set.
    pub enable_pin: Option<u32>,
    pub enable_high: bool,
    /// The four lines of a four-phase driver (ULN2003), in order.
    pub phase_pins: Vec<u32>,
    /// Turns the other way.
    pub invert: bool,
    pub steps_per_degree: f64,
    /// Degrees per second.
    pub max_speed: f64,
    /// Degrees per second squared.
    pub acceleration: f64,
    /// Soft limits: never beyond.
    pub min: f64,
    pub max: f64,
    /// The line of the end switch; without one the place at the start counts as 0.
    pub home_pin: Option<u32>,
    /// Whether the switch is closed when its line is high.
    pub home_high: bool,
    /// Where it is when it closes the switch; the nearer of `min` and `max` says which way it is looked for.
    pub home_position: f64,
    /// Degrees per second while it looks for the switch.
    pub home_speed: f64,
    /// Power goes off when it has stood still for this long; 0: never.
    pub idle_off_seconds: f64,
    /// A jog goes on for this long after it was last asked for.
    pub jog_timeout_seconds: f64,
    /// Named places: `door=-45`.
    pub presets: Vec<String>,
}

impl Default for Stepper {
    fn default() -> Self {
        Self {
            driver: StepperDriver::None,
            chip: "/dev/gpiochip0".into(),
            step_pin: None,
            direction_pin: None,
            enable_pin: None,
            enable_high: false,
            phase_pins: Vec::new(),
            invert: false,
            steps_per_degree: 11.378,
            max_speed: 60.0,
            acceleration: 120.0,
            min: -90.0,
            max: 90.0,
            home_pin: None,
            home_high: false,
            home_position: -90.0,
            home_speed: 15.0,
            idle_off_seconds: 10.0,
            jog_timeout_seconds: 0.5,
            presets: Vec::new(),
        }
    }
}

impl Stepper {
    /// Most steps per second: what a thread can time.
    pub const MOST_STEPS_PER_SECOND: f64 = 10_000.0;

    /// The named places, in the order of the file; those that name none are left out.
    pub fn places(&self) -> impl Iterator<Item = (&str, f64)> {
        self.presets.iter().filter_map(|text| place(text))
    }
}

/// `door=-45`.
pub fn place(text: &str) -> Option<(&str, f64)> {
    let (name, angle) = text.split_once('=')?;
    let name = name.trim();
    let angle: f64 = angle.trim().parse().ok()?;
    (!name.is_empty() && name.len() <= 64 && angle.is_finite()).then_some((name, angle))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepperDriver {
    /// There is no motor.
    None,
    /// Keeps time as a motor does and moves nothing.
    Simulated,
    StepDir,
    FourPhase,
}
