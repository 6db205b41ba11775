//! `/api/stepper/…`: the motor that turns the camera.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::{StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request};
use crate::motion::{Command, MotionError, Refusal, Status, Target};

/// Commands of one address in a minute; a page that jogs sends five a second. Stops are never counted.
const PER_MINUTE: u32 = 600;

/// What is asked of the motor, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Status,
    Move,
    Home,
    Stop,
    Enable,
    Disable,
    Speed,
    Jog,
}

impl Ask {
    pub const fn summary(self) -> &'static str {
        match self {
            Ask::Status => "Where the camera's motor is and what it does",
            Ask::Move => "Turn to an angle, by an angle or to a preset; answered when it has begun",
            Ask::Home => "Find the end switch; answered when it has begun",
            Ask::Stop => "Stop at once, also while it moves; what was queued is forgotten",
            Ask::Enable => "Give the motor power",
            Ask::Disable => "Stop and take the motor's power away",
            Ask::Speed => "How fast the next moves are",
            Ask::Jog => "Turn for as long as this is asked again and again",
        }
    }
}

/// The motor, where there is one.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepperView {
    /// False: there is no motor; `message` says why, and there is nothing else.
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(flatten)]
    status: Option<Status>,
}

/// Where to: one of `degrees`, `steps` and `preset`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StepperMove)]
pub struct Move {
    pub degrees: Option<f64>,
    pub steps: Option<i64>,
    /// A name of `presets`.
    pub preset: Option<String>,
    /// From where it is instead of from 0.
    #[serde(default)]
    pub relative: bool,
    /// Degrees per second for this move.
    pub speed: Option<f64>,
    /// Wait for the move that runs instead of being refused.
    #[serde(default)]
    pub queue: bool,
}

impl Move {
    pub fn command(self) -> Result<Command, MotionError> {
        let target = Target::of(self.degrees, self.steps, self.preset, self.relative)?;
        Ok(Command::Move { target, speed: self.speed, queue: self.queue })
    }
}

/// How fast: degrees per second, or for a jog -1 to 1 of that.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StepperSpeed)]
pub struct Speed {
    pub speed: f64,
}

pub async fn answer(state: &AppState, ask: Ask, request: &Request<'_>) -> Result<Response, Fault> {
    let motion = &state.motion;
    let command = match ask {
        Ask::Status => {
            let view = match motion.status() {
                Ok(status) => StepperView { available: true, message: None, status: Some(status) },
                Err(error) => {
                    StepperView { available: false, message: Some(error.to_string()), status: None }
                }
            };
            return Ok(answer::json(StatusCode::OK, &view));
        }
        Ask::Move => body::<Move>(request)?.command().map_err(|error| fault(&error))?,
        Ask::Home => Command::Home,
        Ask::Stop => Command::Stop,
        Ask::Enable => Command::Enable,
        Ask::Disable => Command::Disable,
        Ask::Speed => Command::Speed(body::<Speed>(request)?.speed),
        Ask::Jog => Command::Jog(body::<Speed>(request)?.speed),
    };
    if !matches!(ask, Ask::Stop | Ask::Disable) {
        let now = state.started.instant.elapsed();
        let mut limiter = state.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        limiter.take(request.client, PER_MINUTE, now).map_err(too_often)?;
    }
    let status = motion.command(command).await.map_err(|error| fault(&error))?;
    let code =
        if matches!(ask, Ask::Move | Ask::Home | Ask::Jog) { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(answer::json(code, &StepperView { available: true, message: None, status: Some(status) }))
}

fn body<T: serde::de::DeserializeOwned>(request: &Request<'_>) -> Result<T, Fault> {
    serde_json::from_slice(&request.body).map_err(|error| {
        let message = format!("the body is not the JSON that was expected: {error}; see /api/openapi.json");
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
    })
}

fn too_often(wait: Duration) -> Fault {
    let message = format!("at most {PER_MINUTE} commands a minute from one address; stops are always taken");
    Fault::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_COMMANDS", message, json!({}))
        .with(header::RETRY_AFTER, wait.as_secs() + 1)
}

fn fault(error: &MotionError) -> Fault {
    let (status, code) = match error {
        MotionError::Absent(_) => (StatusCode::SERVICE_UNAVAILABLE, "STEPPER_NOT_AVAILABLE"),
        MotionError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_COMMANDS"),
        MotionError::Silent => (StatusCode::GATEWAY_TIMEOUT, "STEPPER_SILENT"),
        MotionError::Refused(Refusal::Busy(_) | Refusal::Full) => (StatusCode::CONFLICT, "STEPPER_BUSY"),
        MotionError::Refused(Refusal::NotHomed | Refusal::NoSwitch) => {
            (StatusCode::CONFLICT, "STEPPER_NOT_HOMED")
        }
        MotionError::Refused(_) => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"),
    };
    Fault::new(status, code, error.to_string(), json!({}))
}
