//! Records prints: does what [`hooks`](super::hooks) wish for and the configuration wants, through the
//! recorders. One task of the worker's.
//!
//! A recording or timelapse that somebody else began is left to them, also at the end of the print. What cannot
//! be begun (somebody else's is under way, no pictures yet, a full disk) is tried again every half minute while
//! the print goes on. Being told to stop breaks off whatever is under way; what was begun is ended all the same.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::hooks::{Hooks, Occasion};
use super::pictures::Shown;
use super::printer::Printer;
use super::state::PrinterState;
use crate::config::model;
use crate::record::{RecordError, Recordings, TimelapseOptions};

const AGAIN: Duration = Duration::from_secs(30);

/// What is made of a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Recording,
    Timelapse(TimelapseOptions),
}

/// By what the one that we began is told from another one of the same camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Recording(u64),
    Timelapse(SystemTime),
}

/// One of the things that are made, as far as we began it.
#[derive(Debug, Default)]
struct Made {
    /// The print and the camera that it was begun for, and what.
    of: Option<(u64, String, What)>,
    ours: Option<Ours>,
    /// Not tried before that.
    wait: Option<Instant>,
}

/// Records until it is told to stop, and ends what it has begun.
pub async fn keep(
    printer: Arc<Printer>,
    means: Means,
    mut states: watch::Receiver<Arc<PrinterState>>,
    mut shown: watch::Receiver<Shown>,
    stop: CancellationToken,
) {
    let mut config = means.config.clone();
    let recordings = &means.recordings;
    let mut hooks = Hooks::default();
    let (mut recording, mut timelapse) = (Made::default(), Made::default());
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let settings = config.borrow_and_update().printers.clone();
        let camera = shown.borrow_and_update().id.clone();
        let wish = hooks.look(&state, Instant::now());
        // A camera that is away for a moment ends nothing.
        let print = wish.print.zip(camera.clone().or_else(|| {
            let of = recording.of.as_ref().or(timelapse.of.as_ref());
            of.map(|(_, camera, _)| camera.clone())
        }));
        let whole =
            print.clone().filter(|_| settings.record).map(|(print, camera)| (print, camera, What::Recording));
        let sped = print
            .zip(options(&settings))
            .map(|((print, camera), options)| (print, camera, What::Timelapse(options)));
        let occasions = wish.occasions.into_iter().filter(|occasion| wanted(*occasion, &settings));
        let work = async {
            if let Some(camera) = &camera {
                for occasion in occasions {
                    // While the print is still recorded, its camera is open.
                    picture(occasion, camera, recordings, &printer).await;
                }
            }
            recording.bring(whole, recordings, &printer).await;
            timelapse.bring(sped, recordings, &printer).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = work => {}
        }

        let deadline = [wish.deadline, recording.wait, timelapse.wait].into_iter().flatten().min();
        let wake = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            changed = states.changed() => if changed.is_err() { break },
            changed = shown.changed() => if changed.is_err() { break },
            changed = config.changed() => if changed.is_err() { break },
            () = wake => {}
        }
    }
    tokio::join!(recording.bring(None, recordings, &printer), timelapse.bring(None, recordings, &printer));
}

async fn picture(occasion: Occasion, camera: &str, recordings: &Recordings, printer: &Printer) {
    if let Err(error) = recordings.snapshots().take(camera, None).await {
        let words = match occasion {
            Occasion::End => "at the end of its print",
            Occasion::Error => "at its error",
        };
        tracing::warn!(printer = printer.id, "no picture of printer {} {words}: {error}", printer.name);
    }
}

fn wanted(occasion: Occasion, settings: &model::Printers) -> bool {
    match occasion {
        Occasion::End => settings.snapshot_at_end,
        Occasion::Error => settings.snapshot_on_error,
    }
}

/// How a print's timelapse is made, if it is.
fn options(settings: &model::Printers) -> Option<TimelapseOptions> {
    let interval = Duration::try_from_secs_f64(settings.timelapse_seconds).ok()?;
    (!interval.is_zero()).then_some(TimelapseOptions {
        interval,
        fps: settings.timelapse_fps,
        pictures: None,
    })
}

impl Made {
    /// Ends what is no longer wanted and begins what is. Where it is dropped on the way, the next call goes on.
    async fn bring(
        &mut self,
        wanted: Option<(u64, String, What)>,
        recordings: &Recordings,
        printer: &Printer,
    ) {
        if self.of != wanted
            && let Some((_, camera, _)) = self.of.clone()
        {
            if let Some(ours) = self.ours
                && let Err(error) = end(recordings, &camera, ours).await
            {
                // Somebody ended it before.
                tracing::debug!(printer = printer.id, "{error}");
            }
            *self = Self::default();
        }
        let Some((print, camera, what)) = wanted.filter(|wanted| self.of.as_ref() != Some(wanted)) else {
            if self.of.is_none() {
                self.wait = None;
            }
            return;
        };
        if self.wait.is_some_and(|wait| Instant::now() < wait) {
            return;
        }
        let begun = match what {
            What::Recording => {
                let ticket = rand::random();
                // Known before it has begun, so that it is ended even if nobody waits for its beginning.
                (self.of, self.ours) = (Some((print, camera.clone(), what)), Some(Ours::Recording(ticket)));
                recordings.start_own(&camera, ticket).await.map(|_| Ours::Recording(ticket))
            }
            What::Timelapse(options) => {
                recordings.start_timelapse(&camera, options).map(|status| Ours::Timelapse(status.started_at))
            }
        };
        match begun {
            Ok(ours) => *self = Self { of: Some((print, camera, what)), ours: Some(ours), wait: None },
            Err(error) => {
                // While there is one already, this print has all that it needs.
                if self.wait.is_none() && !matches!(error, RecordError::InvalidState(_)) {
                    tracing::warn!(
                        printer = printer.id,
                        "the print of printer {} is not recorded: {error}; tried again every {} s",
                        printer.name,
                        AGAIN.as_secs()
                    );
                }
                *self = Self { wait: Some(Instant::now() + AGAIN), ..Self::default() };
            }
        }
    }
}

/// Ends what we began, unless somebody has and another one is under way.
async fn end(recordings: &Recordings, camera: &str, ours: Ours) -> Result<(), RecordError> {
    match ours {
        Ours::Recording(ticket) => recordings.stop_own(camera, ticket).await,
        Ours::Timelapse(began) if recordings.timelapse(camera)?.started_at == began => {
            recordings.stop_timelapse(camera).await.map(drop)
        }
        Ours::Timelapse(_) => Ok(()),
    }
}
