//! The motor that turns the camera.

use std::sync::Arc;

use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, Nothing, method, params};
use crate::motion::{Command, MotionError, Refusal, Status, Target};

pub fn methods() -> Vec<Method> {
    let (viewer, operator) = (Some(Role::Viewer), Some(Role::Operator));
    vec![
        method("get_stepper_status", viewer, "Where the camera's motor is and what it does.", status),
        method(
            "move_stepper",
            operator,
            "Turns the camera to one of `degrees`, `steps` and `preset`; answered when it has begun.",
            go,
        ),
        method("home_stepper", operator, "Finds the end switch; answered when it has begun.", home),
        method("stop_stepper", operator, "Stops at once, and forgets what was queued.", stop),
        method("enable_stepper", operator, "Gives the motor power.", enable),
        method("disable_stepper", operator, "Stops, and takes the motor's power away.", disable),
        method("set_stepper_speed", operator, "How fast the next moves are.", speed),
        method("jog_stepper", operator, "Turns for as long as this is asked again and again.", jog),
    ]
}

params! {
    Move {
        /// To this angle.
        degrees: Option<f64>,
        /// The same in the motor's steps.
        steps: Option<i64>,
        /// A name of `presets`.
        preset: Option<String>,
        /// From where it is instead of from 0.
        relative: Option<bool>,
        /// Degrees per second for this move.
        speed: Option<f64>,
        /// Wait for the move that runs instead of being refused.
        queue: Option<bool>,
    }
}

params! {
    Speed {
        /// Degrees per second.
        speed: f64,
    }
}

params! {
    Jog {
        /// -1 to 1 of the speed; 0 brakes.
        speed: f64,
    }
}

async fn status(session: Arc<Session>, _: Nothing) -> Result<Status, Error> {
    Ok(session.rpc.house().motion.status()?)
}

async fn ask(session: Arc<Session>, command: Command) -> Result<Status, Error> {
    Ok(session.rpc.house().motion.command(command).await?)
}

async fn go(session: Arc<Session>, params: Move) -> Result<Status, Error> {
    let Move { degrees, steps, preset, relative, speed, queue } = params;
    let target = Target::of(degrees, steps, preset, relative.unwrap_or_default());
    let command =
        Command::Move { target: target.map_err(MotionError::from)?, speed, queue: queue.unwrap_or_default() };
    ask(session, command).await
}

async fn home(session: Arc<Session>, _: Nothing) -> Result<Status, Error> {
    ask(session, Command::Home).await
}

async fn stop(session: Arc<Session>, _: Nothing) -> Result<Status, Error> {
    ask(session, Command::Stop).await
}

async fn enable(session: Arc<Session>, _: Nothing) -> Result<Status, Error> {
    ask(session, Command::Enable).await
}

async fn disable(session: Arc<Session>, _: Nothing) -> Result<Status, Error> {
    ask(session, Command::Disable).await
}

async fn speed(session: Arc<Session>, params: Speed) -> Result<Status, Error> {
    ask(session, Command::Speed(params.speed)).await
}

async fn jog(session: Arc<Session>, params: Jog) -> Result<Status, Error> {
    ask(session, Command::Jog(params.speed)).await
}

impl From<MotionError> for Error {
    fn from(error: MotionError) -> Self {
        let words = error.to_string();
        match error {
            MotionError::Absent(_) => Self::unsupported(words),
            MotionError::TooMany => Self::rate(words, std::time::Duration::from_secs(1)),
            MotionError::Silent => Self::dependency(words),
            MotionError::Refused(
                Refusal::Busy(_) | Refusal::Full | Refusal::NotHomed | Refusal::NoSwitch,
            ) => Self::state(words),
            MotionError::Refused(_) => Self::params(words),
        }
    }
}
