//! Records prints: does what [`hooks`](super::hooks) wish for and the configuration wants, through the
//! recorders. One task of the worker's.
//!
//! A recording or timelapse that somebody else began is left to them, also at the end of the print. What cannot
//! be begun (no pictures yet, a full disk) is tried again every half minute while the print goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::hooks::{Hooks, Occasion};
use super::pictures::Shown;
use super::printer::Printer;
use super::state::PrinterState;
use crate::config::model;
use crate::record::{RecordError, Recordings, StartOptions, TimelapseOptions};

const AGAIN: Duration = Duration::from_secs(30);

/// What is made of a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Recording,
    Timelapse(TimelapseOptions),
}

/// One of the things that are made, as far as we began it.
#[derive(Debug, Default)]
struct Made {
    /// The print and the camera that it was begun for, and what.
    of: Option<(u64, String, What)>,
    ours: bool,
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
        if let Some(camera) = &camera {
            for occasion in wish.occasions.into_iter().filter(|occasion| wanted(*occasion, &settings)) {
                // While the print is still recorded, its camera is open.
                if let Err(error) = recordings.snapshots().take(camera, None).await {
                    let words = match occasion {
                        Occasion::End => "at the end of its print",
                        Occasion::Error => "at its error",
                    };
                    tracing::warn!(
                        printer = printer.id,
                        "no picture of printer {} {words}: {error}",
                        printer.name
                    );
                }
            }
        }
        // A camera that is away for a moment ends nothing.
        let print = wish.print.zip(camera.or_else(|| recording.of.clone().map(|(_, camera, _)| camera)));
        let whole =
            print.clone().filter(|_| settings.record).map(|(print, camera)| (print, camera, What::Recording));
        let sped = print
            .zip(options(&settings))
            .map(|((print, camera), options)| (print, camera, What::Timelapse(options)));
        recording.bring(whole, recordings, &printer).await;
        timelapse.bring(sped, recordings, &printer).await;

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
    recording.bring(None, recordings, &printer).await;
    timelapse.bring(None, recordings, &printer).await;
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
    /// Ends what is no longer wanted and begins what is.
    async fn bring(
        &mut self,
        wanted: Option<(u64, String, What)>,
        recordings: &Recordings,
        printer: &Printer,
    ) {
        if self.of != wanted
            && let Some((_, camera, what)) = self.of.take()
        {
            self.wait = None;
            if std::mem::take(&mut self.ours)
                && let Err(error) = end(recordings, &camera, what).await
            {
                // Somebody ended it before.
                tracing::debug!(printer = printer.id, "{error}");
            }
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
        match begin(recordings, &camera, what).await {
            Ok(()) => (self.of, self.ours, self.wait) = (Some((print, camera, what)), true, None),
            // There is one already.
            Err(RecordError::InvalidState(_)) => {
                (self.of, self.ours, self.wait) = (Some((print, camera, what)), false, None);
            }
            Err(error) => {
                if self.wait.is_none() {
                    tracing::warn!(
                        printer = printer.id,
                        "the print of printer {} is not recorded: {error}; tried again every {} s",
                        printer.name,
                        AGAIN.as_secs()
                    );
                }
                self.wait = Some(Instant::now() + AGAIN);
            }
        }
    }
}

async fn begin(recordings: &Recordings, camera: &str, what: What) -> Result<(), RecordError> {
    match what {
        What::Recording => recordings.start(camera, StartOptions::default()).await.map(drop),
        What::Timelapse(options) => recordings.start_timelapse(camera, options).map(drop),
    }
}

async fn end(recordings: &Recordings, camera: &str, what: What) -> Result<(), RecordError> {
    match what {
        What::Recording => recordings.stop(camera).await.map(drop),
        What::Timelapse(_) => recordings.stop_timelapse(camera).await.map(drop),
    }
}
