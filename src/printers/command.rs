//! What a printer may be asked to do: read from the API, judged against what the printer is doing, written
//! as the machine wants it. Pure; [`super::reducer`] numbers commands and awaits their answers.

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::hms::NOT_AUTHORIZED;
use super::models::Lamp;
use super::state::{Job, PrinterState};

/// What Developer Mode is and where it is switched on.
pub const MEND: &str = "the printer does not obey programs because of its Authorization Control: on its screen, \
    switch on LAN Only Mode and then Developer Mode (Settings, LAN Only or Network)";

/// A command, in the API's form: `{ "type": "light", "on": false }`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    Pause,
    Resume,
    Stop,
    Light {
        on: bool,
        /// The chamber's, if nothing is said.
        #[serde(default = "chamber")]
        node: Lamp,
    },
    Speed {
        /// 1 silent, 2 standard, 3 sport, 4 ludicrous.
        level: u8,
    },
    ClearError,
    NozzleTarget {
        celsius: f64,
    },
    BedTarget {
        celsius: f64,
    },
}

fn chamber() -> Lamp {
    Lamp::ChamberLight
}

/// Why a command was not carried out, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It makes no sense of itself, or not for this model: 422.
    #[error("{0}")]
    Invalid(String),
    /// It makes no sense in what the printer is doing: 409.
    #[error("{0}")]
    NotNow(String),
    /// The printer said no: 422.
    #[error("the printer refuses: {0}")]
    Refused(String),
    /// Authorization Control; the words say how to mend it: 403.
    #[error("{0}")]
    Unauthorized(String),
    /// 503.
    #[error("{0}")]
    NotConnected(String),
    /// It was sent and nothing came back: 504.
    #[error("{0}")]
    Timeout(String),
}

impl Command {
    /// Reads a command as the API gets it.
    ///
    /// # Errors
    /// [`CommandError::Invalid`].
    pub fn from_json(body: &[u8]) -> Result<Self, CommandError> {
        serde_json::from_slice(body).map_err(|error| CommandError::Invalid(format!("no command: {error}")))
    }

    /// For logs and answers.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Stop => "stop",
            Command::Light { .. } => "light",
            Command::Speed { .. } => "speed",
            Command::ClearError => "clear_error",
            Command::NozzleTarget { .. } => "nozzle_target",
            Command::BedTarget { .. } => "bed_target",
        }
    }

    /// Whether it makes sense for this printer as it is.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] and [`CommandError::NotNow`].
    pub fn judge(&self, state: &PrinterState) -> Result<(), CommandError> {
        let job = state.job();
        let limits = state.model.limits();
        match *self {
            Command::Pause => unless(matches!(job, Job::Printing | Job::Preparing), "pause", state),
            Command::Resume => unless(job == Job::Paused, "resume", state),
            Command::Stop => unless(job.active(), "stop", state),
            Command::Speed { level: 1..=4 } => unless(job.active(), "speed up or slow down", state),
            Command::Speed { level } => {
                Err(CommandError::Invalid(format!("speed level {level}: there are 1 to 4")))
            }
            Command::ClearError if state.print_error_bits == 0 => {
                Err(CommandError::NotNow("there is no print error to clear".into()))
            }
            Command::ClearError => Ok(()),
            Command::Light { node, .. } if !state.has_lamp(node) => {
                Err(CommandError::Invalid(format!("this printer ({}) has no {node}", state.model)))
            }
            Command::Light { .. } => Ok(()),
            Command::NozzleTarget { celsius } => within("nozzle", celsius, limits.nozzle, state),
            Command::BedTarget { celsius } => within("bed", celsius, limits.bed, state),
        }
    }

    /// The namespace and the command's own name in there: what its answer is known by.
    pub fn wire_name(&self) -> (&'static str, &'static str) {
        match self {
            Command::Pause => ("print", "pause"),
            Command::Resume => ("print", "resume"),
            Command::Stop => ("print", "stop"),
            Command::Light { .. } => ("system", "ledctrl"),
            Command::Speed { .. } => ("print", "print_speed"),
            Command::ClearError => ("print", "clean_print_error"),
            Command::NozzleTarget { .. } | Command::BedTarget { .. } => ("print", "gcode_line"),
        }
    }

    /// As the machine wants it, with everything it wants.
    pub fn payload(&self, sequence: u64, state: &PrinterState) -> String {
        let (space, name) = self.wire_name();
        let rest = match *self {
            Command::Pause | Command::Resume | Command::Stop => json!({ "param": "" }),
            Command::Light { on, node } => json!({
                "led_node": node.node(),
                "led_mode": if on { "on" } else { "off" },
                "led_on_time": 500,
                "led_off_time": 500,
                "loop_times": 0,
                "interval_time": 0,
            }),
            Command::Speed { level } => json!({ "param": level.to_string() }),
            Command::ClearError => json!({
                "subtask_id": state.task.as_deref().unwrap_or("0"),
                "print_error": state.print_error_bits,
            }),
            Command::NozzleTarget { celsius } => json!({ "param": format!("M104 S{}\n", celsius.round()) }),
            Command::BedTarget { celsius } => json!({ "param": format!("M140 S{}\n", celsius.round()) }),
        };
        envelope(space, name, sequence, rest)
    }
}

/// A request in the envelope that all of them need.
pub fn envelope(space: &str, name: &str, sequence: u64, rest: Value) -> String {
    let mut inner = json!({ "sequence_id": sequence.to_string(), "command": name });
    if let (Value::Object(inner), Value::Object(rest)) = (&mut inner, rest) {
        inner.extend(rest);
    }
    json!({ "user_id": "1", space: inner }).to_string()
}

fn unless(sensible: bool, what: &str, state: &PrinterState) -> Result<(), CommandError> {
    if sensible {
        return Ok(());
    }
    Err(CommandError::NotNow(match state.job_state.as_deref() {
        Some(job) => format!("there is nothing to {what}: the printer is {job}"),
        None => format!("there is nothing to {what}: the printer has not said what it is doing"),
    }))
}

fn within(what: &str, celsius: f64, most: f64, state: &PrinterState) -> Result<(), CommandError> {
    if (0.0..=most).contains(&celsius) {
        return Ok(());
    }
    let model = state.model;
    Err(CommandError::Invalid(format!(
        "{celsius} °C for the {what}: this printer ({model}) takes 0 to {most}"
    )))
}

/// Whether a refusal means that the machine obeys no program at all.
pub fn unauthorized(reason: &str) -> bool {
    reason.to_ascii_lowercase().contains("verify failed")
}

/// Whether the machine shows that it drops what it is told.
pub fn locked(state: &PrinterState) -> bool {
    state.details.developer_mode == Some(false)
        || state.details.hms.iter().any(|fault| fault.code == NOT_AUTHORIZED)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
