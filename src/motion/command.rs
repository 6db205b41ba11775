//! What may be asked of the stepper, why it may be refused, and how it says it is.

use serde::Serialize;
use utoipa::ToSchema;

/// Moves that wait for the one that runs.
pub const MOST_QUEUED: usize = 16;

/// Where to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Degrees(f64),
    /// Degrees from where it is, or where it will be after what is queued.
    By(f64),
    Steps(i64),
    BySteps(i64),
    Preset(String),
}

impl Target {
    /// From what doors are given: one of the three.
    ///
    /// # Errors
    /// None of them, or more than one.
    pub fn of(
        degrees: Option<f64>,
        steps: Option<i64>,
        preset: Option<String>,
        relative: bool,
    ) -> Result<Self, Refusal> {
        Ok(match (degrees, steps, preset, relative) {
            (Some(degrees), None, None, false) => Target::Degrees(degrees),
            (Some(degrees), None, None, true) => Target::By(degrees),
            (None, Some(steps), None, false) => Target::Steps(steps),
            (None, Some(steps), None, true) => Target::BySteps(steps),
            (None, None, Some(name), false) => Target::Preset(name),
            (None, None, Some(_), true) => return Err(Refusal::Invalid("a preset is never relative")),
            _ => return Err(Refusal::Invalid("send one of degrees, steps and preset")),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Move {
        target: Target,
        /// Degrees per second, for this move.
        speed: Option<f64>,
        /// Waits for the move that runs instead of being refused.
        queue: bool,
    },
    Home,
    /// At once, without a ramp.
    Stop,
    Enable,
    Disable,
    /// Degrees per second, from the next move on.
    Speed(f64),
    /// On in a direction, -1 to 1 of the speed, until it is not asked for again in time; 0 brakes.
    Jog(f64),
}

/// Why a command is not followed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the stepper is {0}; wait until it is idle, stop it, or ask with \"queue\": true")]
    Busy(&'static str),
    #[error("{MOST_QUEUED} moves are waiting already; stop the stepper or wait")]
    Full,
    #[error("the stepper does not know where it is: home it first")]
    NotHomed,
    #[error("the stepper has no end switch (stepper.home_pin): the place at the start of the service is 0")]
    NoSwitch,
    #[error("{asked:.2} degrees is outside of the limits {min} to {max} (stepper.min, stepper.max)")]
    Limits { asked: f64, min: f64, max: f64 },
    #[error("there is no preset {0:?}; /api/stepper/status lists them (stepper.presets)")]
    NoPreset(String),
    #[error("a speed is 0.01 to {0} degrees per second (stepper.max_speed)")]
    Speed(f64),
    #[error("{0}")]
    Invalid(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StepperState)]
pub enum State {
    Idle,
    Moving,
    Homing,
    Jogging,
}

/// How the axis is, for everybody who asks.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = StepperStatus)]
pub struct Status {
    /// `simulated`, `step_dir` or `four_phase`.
    pub driver: &'static str,
    pub state: State,
    /// Whether the motor has power.
    pub enabled: bool,
    pub position_steps: i64,
    pub position_degrees: f64,
    /// Where the move that runs ends; null while it stands, jogs or looks for the switch.
    pub target_degrees: Option<f64>,
    /// Degrees per second of the next move.
    pub speed: f64,
    pub max_speed: f64,
    /// Whether the end switch was found; always false without one.
    pub homed: bool,
    /// Whether it can be homed.
    pub can_home: bool,
    /// False when it was stopped in full motion: steps may be missing until it is homed.
    pub exact: bool,
    pub min_degrees: f64,
    pub max_degrees: f64,
    #[schema(value_type = Object)]
    pub presets: serde_json::Map<String, serde_json::Value>,
    /// Moves that wait.
    pub queued: usize,
    /// What went wrong last; null again with the next command that is followed.
    pub error: Option<String>,
}
