//! The stepper's own thread: it waits for the axis's deadline or a command, whichever is first, and does with the
//! driver what the axis says. It never does anything by itself.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::axis::{Action, Axis};
use super::command::{Command, Refusal, Status};
use super::driver::Driver;

/// Commands that wait for the thread; it takes them within a step.
const MOST_WAITING: usize = 32;
/// While it moves, others are told of the place this often.
const TELL_EVERY: Duration = Duration::from_millis(100);

pub struct Order {
    pub command: Command,
    pub answer: oneshot::Sender<Result<Status, Refusal>>,
}

/// The way to the thread; it ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Orders(SyncSender<Order>);

impl Orders {
    /// Does not wait. False: there are too many, or the thread is gone.
    pub fn send(&self, order: Order) -> bool {
        match self.0.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread to give.
pub fn start(
    axis: Axis,
    driver: Box<dyn Driver>,
    status: watch::Sender<Status>,
) -> std::io::Result<(Orders, std::thread::JoinHandle<()>)> {
    let (orders, receiver) = sync_channel(MOST_WAITING);
    let runner = Runner { axis, driver, status, origin: Instant::now(), told: Duration::ZERO };
    let thread = std::thread::Builder::new().name("stepper".into()).spawn(move || runner.run(&receiver))?;
    Ok((Orders(orders), thread))
}

struct Runner {
    axis: Axis,
    driver: Box<dyn Driver>,
    status: watch::Sender<Status>,
    origin: Instant,
    told: Duration,
}

impl Runner {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let wait = self.axis.deadline().map(|deadline| deadline.saturating_sub(self.now()));
            let order = match wait {
                // A command goes before a step that is due: a stop is one.
                Some(wait) => orders.recv_timeout(wait),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                // Whoever gave up waiting was told so: only what stops is done all the same.
                Ok(Order { command, answer })
                    if answer.is_closed() && !matches!(command, Command::Stop | Command::Disable) => {}
                Ok(Order { command, answer }) => {
                    let now = self.now();
                    let followed = self.axis.command(&command, now);
                    self.tell();
                    let _ = answer.send(followed.map(|()| self.axis.status()));
                }
                Err(RecvTimeoutError::Timeout) => self.act(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nobody is left who could stop it: it stands, without power.
        if let Err(words) = self.driver.power(false) {
            tracing::error!("{words}");
        }
    }

    fn act(&mut self) {
        let done = self.driver.switch().and_then(|switch| match self.axis.act(self.now(), switch) {
            Some(Action::Step(forward)) => self.driver.step(forward).map(|()| true),
            Some(Action::Power(on)) => self.driver.power(on).map(|()| false),
            None => Ok(false),
        });
        let moving = done.unwrap_or_else(|words| {
            tracing::error!("{words}: the stepper stands");
            self.axis.fail(words, self.now());
            let _ = self.driver.power(false);
            false
        });
        if !moving || self.now().saturating_sub(self.told) >= TELL_EVERY {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.told = self.now();
        let status = self.axis.status();
        self.status.send_if_modified(|before| {
            let changed = *before != status;
            *before = status;
            changed
        });
    }
}
