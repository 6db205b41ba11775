//! The motor that turns the camera: one axis, a stepper on GPIO or a simulated one.
//!
//! [`ramp`] plans moves and [`axis`] decides what may be done, both pure; [`driver`] sets the lines; [`runner`] is
//! the thread that keeps the time. [`Motion`] is what HTTP and JSON-RPC ask, in the words of [`command`].
//! What can go wrong: a chip or line that cannot be had is said at the start and with every command; the service
//! goes on without a motor.

mod axis;
mod command;
mod driver;
mod ramp;
mod runner;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::config::model::{Stepper, StepperDriver};
use axis::Axis;
pub use command::{Command, Refusal, State, Status, Target};
use runner::{Order, Orders};

/// A command is taken within a step; longer means that the driver hangs in the kernel.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The thread ends within a step of being let go.
const END_WITHIN: Duration = Duration::from_millis(500);

/// The motor, or why there is none. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Motion(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: there is no motor.
    status: Option<watch::Receiver<Status>>,
    orders: Mutex<Option<Orders>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    absent: String,
}

/// Why a command was not followed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MotionError {
    #[error("{0}")]
    Absent(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("too many commands are waiting for the stepper; ask less often")]
    TooMany,
    #[error("the stepper's driver does not answer; the log may say why")]
    Silent,
}

impl Motion {
    /// No motor.
    pub fn none() -> Self {
        Self::absent("no stepper is configured; see stepper.driver in docs/motion.md".into())
    }

    fn absent(words: String) -> Self {
        let (orders, thread) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { status: None, orders, thread, absent: words }))
    }

    /// Opens the motor of a configuration. One that cannot be had is said; everything else goes on. Opening lines
    /// may take a moment: call it where waiting is allowed.
    pub fn open(config: &Stepper) -> Self {
        if config.driver == StepperDriver::None {
            return Self::none();
        }
        let axis = Axis::new(config.clone(), Duration::ZERO);
        let (told, status) = watch::channel(axis.status());
        let opened = driver::open(config).and_then(|driver| match driver {
            None => Ok(None),
            Some(driver) => runner::start(axis, driver, told).map(Some).map_err(|error| error.to_string()),
        });
        match opened {
            Ok(Some((orders, thread))) => Self(Arc::new(Inner {
                status: Some(status),
                orders: Mutex::new(Some(orders)),
                thread: Mutex::new(Some(thread)),
                absent: "the service is stopping".into(),
            })),
            Ok(None) => Self::none(),
            Err(words) => {
                tracing::error!("the stepper is not there: {words}");
                Self::absent(format!("the stepper is not there: {words}"))
            }
        }
    }

    /// How the motor is.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn status(&self) -> Result<Status, MotionError> {
        let status = self.0.status.as_ref().map(|status| status.borrow().clone());
        status.ok_or_else(|| MotionError::Absent(self.0.absent.clone()))
    }

    /// The same as it changes; a move is told ten times a second.
    pub fn watch(&self) -> Option<watch::Receiver<Status>> {
        self.0.status.clone()
    }

    /// Asks for something; how the motor is then. A move has begun, not ended.
    ///
    /// # Errors
    /// It is not followed, and why.
    pub async fn command(&self, command: Command) -> Result<Status, MotionError> {
        let (answer, answered) = oneshot::channel();
        let orders = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(orders) = orders else { return Err(MotionError::Absent(self.0.absent.clone())) };
        if !orders.send(Order { command, answer }) {
            return Err(MotionError::TooMany);
        }
        drop(orders);
        match tokio::time::timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(followed)) => Ok(followed?),
            Ok(Err(_)) | Err(_) => Err(MotionError::Silent),
        }
    }

    /// Stops the motor, takes its power away and ends its thread.
    pub async fn shutdown(&self) {
        if self.status().is_ok() {
            let _ = self.command(Command::Disable).await;
        }
        drop(self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = tokio::task::spawn_blocking(move || thread.join());
            if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
                tracing::warn!("the stepper's thread hangs in its driver; leaving it behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated() -> Motion {
        Motion::open(&Stepper {
            driver: StepperDriver::Simulated,
            steps_per_degree: 10.0,
            max_speed: 200.0,
            acceleration: 2000.0,
            home_speed: 200.0,
            ..Stepper::default()
        })
    }

    async fn until(motion: &Motion, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut status = motion.watch().unwrap();
        let found = tokio::time::timeout(Duration::from_secs(20), status.wait_for(|status| wanted(status)));
        found.await.unwrap().unwrap().clone()
    }

    #[tokio::test]
    async fn it_homes_moves_in_its_own_time_and_is_stopped_at_once() {
        let motion = simulated();
        assert_eq!(motion.status().unwrap().state, State::Idle);
        motion.command(Command::Home).await.unwrap();
        until(&motion, |status| status.homed).await;
        let to = |degrees| Command::Move { target: Target::Degrees(degrees), speed: None, queue: false };
        let began = std::time::Instant::now();
        motion.command(to(10.0)).await.unwrap();
        let there = until(&motion, |status| status.state == State::Idle).await;
        assert_eq!(there.position_degrees, 10.0);
        // 100 degrees at 200 a second: no quicker than the motor could.
        assert!(began.elapsed() >= Duration::from_millis(500));
        motion.command(to(90.0)).await.unwrap();
        until(&motion, |status| status.position_degrees > 15.0).await;
        let stopped = motion.command(Command::Stop).await.unwrap();
        assert!(stopped.state == State::Idle && !stopped.exact && stopped.position_degrees < 90.0);
        motion.shutdown().await;
        assert_eq!(
            motion.command(Command::Home).await,
            Err(MotionError::Absent("the service is stopping".into()))
        );
    }

    #[tokio::test]
    async fn a_motor_that_is_not_there_says_why_with_every_command() {
        let chip = "/dev/gpiochip-of-a-test".into();
        let motion = Motion::open(&Stepper { driver: StepperDriver::FourPhase, chip, ..Stepper::default() });
        let words = motion.command(Command::Home).await.unwrap_err().to_string();
        assert!(words.contains("phase_pins"), "{words}");
        assert_eq!(motion.status().unwrap_err().to_string(), words);
        motion.shutdown().await;
    }
}
