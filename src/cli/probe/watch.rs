//! Opens a camera for some seconds, the way the service does, and notes what comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, timeout, timeout_at};

use super::measure::{Measure, Measured};
use crate::capture::status::CameraStatus;
use crate::capture::{Capture, LINGER, Means};
use crate::config::model::Camera;
use crate::pipelines::Library;
use crate::supervision::{State, Timing, Vitals};

/// Pictures are counted over this much, and on until a whole GOP was seen.
const ENOUGH: Duration = Duration::from_secs(3);
/// Closing the camera: what takes longer is left to the end of the process.
const CLOSE: Duration = Duration::from_secs(6);

/// What was seen of a camera.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How long the first picture took; none came otherwise.
    pub live_after: Option<Duration>,
    pub status: CameraStatus,
    /// `video H264`, `audio MPEG4-GENERIC`.
    pub streams: Vec<String>,
    pub measured: Measured,
    /// How long the pictures were watched.
    pub watched: Duration,
}

/// Watches for at most `limit`, plus the time to close the camera. Blocks; call it outside a runtime.
pub fn watch(camera: Camera, limit: Duration) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let seen = runtime.block_on(look(camera, limit));
    // A driver that hangs holds its thread, not this process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(seen)
}

async fn look(camera: Camera, limit: Duration) -> Seen {
    let means = Means {
        library: Arc::new(Library::embedded()),
        timing: Timing { start_timeout: limit, ..Timing::default() },
        vitals: Vitals::new(0),
        graphs: None,
        linger: LINGER,
    };
    let (began, deadline) = (Instant::now(), Instant::now() + limit);
    let capture = Capture::start(camera, &means);
    let live_after = timeout_at(deadline, live(&capture)).await.unwrap_or(false).then(|| began.elapsed());
    let mut measure = Measure::default();
    let counting = Instant::now();
    if live_after.is_some() {
        let _ = timeout_at(deadline, count(&capture, &mut measure)).await;
    }
    let (status, streams) = (capture.status(), capture.announced());
    let _ = timeout(CLOSE, capture.shutdown()).await;
    Seen { live_after, status, streams, measured: measure.result(), watched: counting.elapsed() }
}

/// Whether the first attempt gives a picture; waits for it or for its failure.
async fn live(capture: &Capture) -> bool {
    let Some(mut changes) = capture.changes() else { return false };
    let ended = |state| matches!(state, State::Live | State::Refused | State::BackingOff);
    changes
        .wait_for(|snapshot| ended(snapshot.state))
        .await
        .is_ok_and(|snapshot| snapshot.state == State::Live)
}

/// Counts what the camera itself gives. Nothing is encoded for this.
async fn count(capture: &Capture, measure: &mut Measure) {
    let status = capture.status();
    let passed = |encoder: &Option<String>| encoder.as_deref() == Some("passthrough");
    if passed(&status.h264.encoder) {
        let mut pictures = capture.h264().subscribe();
        while let Some(unit) = pictures.next().await {
            measure.h264(&unit);
            if measure.span() >= ENOUGH && measure.has_gop() {
                return;
            }
        }
    } else if passed(&status.jpeg.encoder) {
        let mut latest = capture.jpeg().latest();
        while latest.changed().await.is_ok() {
            let newest = latest.borrow_and_update().clone();
            if let Some(unit) = newest {
                measure.picture(&unit);
            }
            if measure.span() >= ENOUGH {
                return;
            }
        }
    } else {
        // Raw or H.265: the capture counts its pictures itself.
        tokio::time::sleep(ENOUGH).await;
    }
}
