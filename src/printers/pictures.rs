//! Puts a printer's camera among the cameras, and keeps it as the printer says: one task of the worker's.
//! What is decided is in [`camera`](super::camera).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::camera;
use super::link::Certificate;
use super::printer::Printer;
use super::reach;
use super::state::PrinterState;
use crate::capture::Capture;
use crate::capture::status::CameraStatus;
use crate::config::model::{Camera, Idle};
use crate::supervision::{Snapshot, State};
use crate::tls::Fingerprint;

/// How long a picture is waited for in a test.
const LOOK: Duration = Duration::from_secs(9);

/// The camera as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// By which it is found among the cameras; `None`: it is not there.
    pub id: Option<String>,
    /// Why it is not.
    pub why: Option<String>,
}

/// Keeps the camera until it is told to stop, and takes it away then.
pub async fn keep(
    printer: Arc<Printer>,
    means: Means,
    mut states: watch::Receiver<Arc<PrinterState>>,
    mut certificates: watch::Receiver<Certificate>,
    shown: watch::Sender<Shown>,
    stop: CancellationToken,
) {
    let mut config = means.config.clone();
    let mut cameras = means.cameras.watch();
    let mut present: Option<Camera> = None;
    let mut asked: Option<Camera> = None;
    let mut why = None;
    loop {
        let moved = cameras.has_changed().unwrap_or(false);
        cameras.mark_unchanged();
        let wanted = {
            let (state, config) =
                (Arc::clone(&states.borrow_and_update()), Arc::clone(&config.borrow_and_update()));
            let pin = pin(&certificates.borrow_and_update()).or(printer.pin);
            let id = camera::id(printer.id, |id| config.cameras.iter().any(|camera| camera.id == id));
            camera::decide(id, &printer, &state, pin, &config.printers)
                .map(|camera| reach::confine(camera, printer.rtsp_url.as_deref(), &config))
        };
        if due(present.as_ref(), asked.as_ref(), wanted.as_ref().ok(), moved) {
            present = put(&means, present, wanted.as_ref().ok()).await;
            asked = wanted.as_ref().ok().cloned();
        }
        let now = match (&present, wanted) {
            (Some(camera), _) => Shown { id: Some(camera.id.clone()), why: None },
            (None, Err(words)) => Shown { id: None, why: Some(words) },
            (None, Ok(camera)) => {
                Shown { id: None, why: Some(format!("another camera has the id {}", camera.id)) }
            }
        };
        if now.why != why {
            if let Some(words) = &now.why {
                tracing::info!(printer = printer.id, "printer {} shows no pictures: {words}", printer.name);
            }
            why.clone_from(&now.why);
        }
        shown.send_if_modified(|shown| std::mem::replace(shown, now.clone()) != now);
        tokio::select! {
            () = stop.cancelled() => break,
            changed = states.changed() => if changed.is_err() { break },
            changed = certificates.changed() => if changed.is_err() { break },
            changed = config.changed() => if changed.is_err() { break },
            changed = cameras.changed() => {
                if changed.is_err() {
                    break;
                }
                // Looked at above.
                cameras.mark_changed();
            }
        }
    }
    put(&means, present, None).await;
    shown.send_replace(Shown::default());
}

/// Whether the cameras are to be brought to `wanted`: once, and where its id was another camera's, again when the
/// cameras have changed.
fn due(present: Option<&Camera>, asked: Option<&Camera>, wanted: Option<&Camera>, moved: bool) -> bool {
    present != wanted && (asked != wanted || moved)
}

/// Brings the cameras to `wanted`; the one that is among them then.
async fn put(means: &Means, present: Option<Camera>, wanted: Option<&Camera>) -> Option<Camera> {
    let now = match wanted {
        Some(wanted) => add(means, wanted.clone()).await,
        None => None,
    };
    if let Some(present) = present.filter(|present| now.as_ref().is_none_or(|now| now.id != present.id)) {
        // What was set for it, a mask above all, holds when it is back.
        means.cameras.withdraw(&present.id).await;
    }
    now
}

async fn add(means: &Means, mut camera: Camera) -> Option<Camera> {
    if means.cameras.add(camera.clone()).await.is_ok() {
        return Some(camera);
    }
    // Not the configuration's, but one that was found has this id.
    camera.id = camera::id_beside(&camera.id)?;
    means.cameras.add(camera.clone()).await.is_ok().then_some(camera)
}

/// Looks at a camera that is not among the others: what it gives, or why it gives nothing.
pub async fn look(camera: Camera, means: &Means) -> Result<String, String> {
    // A printer whose camera is open already may not give its pictures a second time.
    let open = means.cameras.all();
    let open = open.iter().find(|capture| capture.camera().source == camera.source).map(Capture::status);
    if let Some(status) = open.filter(|status| status.lifecycle.state == State::Live) {
        return Ok(words(&status));
    }
    let capture = Capture::start(Camera { idle: Idle::Open, ..camera }, &means.capture);
    let seen = async {
        let mut changes = capture.changes()?;
        let told = |snapshot: &Snapshot| snapshot.state == State::Live || snapshot.last_error.is_some();
        changes.wait_for(told).await.ok().map(|snapshot| snapshot.clone())
    };
    let seen = timeout(LOOK, seen).await.ok().flatten();
    let status = capture.status();
    capture.shutdown().await;
    match seen {
        Some(snapshot) if snapshot.state == State::Live => Ok(words(&status)),
        Some(Snapshot { last_error: Some(error), .. }) => Err(error),
        _ => Err(format!("no picture came within {} s", LOOK.as_secs())),
    }
}

fn words(status: &CameraStatus) -> String {
    status.format.clone().unwrap_or_else(|| status.source.to_owned())
}

/// The certificate that is trusted now.
fn pin(certificate: &Certificate) -> Option<Fingerprint> {
    match certificate {
        Certificate::Unknown => None,
        Certificate::Pinned(pinned) | Certificate::Changed { pinned, .. } => Some(*pinned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Source;

    #[test]
    fn a_camera_whose_id_is_taken_is_put_once_and_again_when_the_cameras_have_changed() {
        let own = Camera::new("7", Source::Test {});
        let beside = Camera::new("printer-7", Source::Test {});
        let (own, beside) = (Some(&own), Some(&beside));
        for (present, asked, wanted, moved, expected) in [
            (None, None, own, false, true),
            (own, own, own, false, false),
            (own, own, own, true, false),
            // A report that changes nothing.
            (beside, own, own, false, false),
            (beside, own, own, true, true),
            (beside, beside, own, false, true),
            // Both ids are taken.
            (None, own, own, false, false),
            (None, own, own, true, true),
            (own, own, None, false, true),
            (None, None, None, true, false),
        ] {
            assert_eq!(
                due(present, asked, wanted, moved),
                expected,
                "{present:?} {asked:?} {wanted:?} {moved}"
            );
        }
    }
}
