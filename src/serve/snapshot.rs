//! Snapshots: the newest JPEG of a camera, never an old one.
//!
//! A snapshot starts the JPEG outlet like any viewer, and keeps it wanted for [`LINGER`] after the last
//! one, so that a poller every few seconds does not start an encoder for each picture. That is one
//! permit and one task a camera, however many ask; the tasks are owned here, end by themselves and are
//! aborted with the room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ready::{self, NotReady, Wait};
use crate::capture::Capture;
use crate::capture::outlet::Permit;
use crate::frames::AccessUnit;

/// How long the outlet stays wanted after the last snapshot.
pub const LINGER: Duration = Duration::from_secs(10);
/// How long a snapshot may wait for a picture.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("camera {0:?} has its snapshot output switched off")]
    Disabled(String),
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

/// The snapshot room. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Snapshots {
    lingering: Arc<Mutex<HashMap<String, Held>>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Held {
    permit: Permit,
    until: Instant,
}

impl Snapshots {
    pub fn new(stop: CancellationToken) -> Self {
        Self { lingering: Arc::default(), tasks: Arc::default(), stop }
    }

    /// The newest picture of the camera, waited for at most [`PATIENCE`].
    pub async fn take(&self, capture: &Capture, max_age: Duration) -> Result<AccessUnit, Refusal> {
        if !capture.camera().outputs.snapshot {
            return Err(Refusal::Disabled(capture.id().to_owned()));
        }
        let flowing = capture.jpeg().counters().demand > 0;
        self.hold(capture);
        // While one request waits, the time of another may run out: this one has its own.
        let _permit = capture.jpeg().demand();
        let wait = Wait { max_age, patience: PATIENCE };
        Ok(ready::fresh(capture, flowing, wait, &self.stop).await?)
    }

    /// Keeps the outlet wanted from now on for [`LINGER`].
    fn hold(&self, capture: &Capture) {
        let until = Instant::now() + LINGER;
        let mut lingering = lock(&self.lingering);
        if let Some(held) = lingering.get_mut(capture.id()) {
            held.until = until;
            if !Arc::ptr_eq(held.permit.outlet(), capture.jpeg()) {
                held.permit = capture.jpeg().demand();
            }
            return;
        }
        let id = capture.id().to_owned();
        lingering.insert(id.clone(), Held { permit: capture.jpeg().demand(), until });
        drop(lingering);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(release(Arc::clone(&self.lingering), id, self.stop.clone()));
    }
}

/// Gives the camera's permit back when its time has passed or the service stops.
async fn release(lingering: Arc<Mutex<HashMap<String, Held>>>, camera: String, stop: CancellationToken) {
    loop {
        let until = {
            let mut lingering = lock(&lingering);
            match lingering.get(&camera) {
                Some(held) if held.until > Instant::now() && !stop.is_cancelled() => held.until,
                _ => {
                    lingering.remove(&camera);
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::config::model::{Camera, Source};
    use crate::serve::ready::Cause;

    const MAX: Duration = Duration::from_secs(10);

    fn picture(age: Duration) -> AccessUnit {
        AccessUnit {
            data: Bytes::from_static(b"\xFF\xD8\xFF\xD9"),
            pts: Duration::ZERO,
            keyframe: true,
            epoch: 0,
            captured_at: SystemTime::now() - age,
            captured: std::time::Instant::now() - age,
        }
    }

    fn camera() -> Capture {
        Capture::detached(Camera::new("front", Source::Test {}))
    }

    #[tokio::test(start_paused = true)]
    async fn the_encoder_stays_on_between_the_pictures_of_a_poller_and_stops_after_the_last() {
        let (capture, snapshots) = (camera(), Snapshots::new(CancellationToken::new()));
        let mut demand = capture.jpeg().demanded();
        for _ in 0..5 {
            capture.jpeg().push(picture(Duration::ZERO));
            snapshots.take(&capture, MAX).await.unwrap();
            tokio::time::sleep(Duration::from_secs(8)).await;
            assert_eq!(*demand.borrow(), 1, "one permit, held between two requests");
        }
        let waited = tokio::time::timeout(Duration::from_secs(5), demand.wait_for(|count| *count == 0)).await;
        assert!(waited.is_ok(), "the permit is given back");
        assert_eq!(lock(&snapshots.lingering).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_share_one_permit_and_one_task() {
        let (capture, snapshots) = (camera(), Snapshots::new(CancellationToken::new()));
        capture.jpeg().push(picture(Duration::ZERO));
        for _ in 0..100 {
            snapshots.take(&capture, MAX).await.unwrap();
        }
        assert_eq!(capture.jpeg().counters().demand, 1);
        assert_eq!(lock(&snapshots.tasks).len(), 1);
    }

    #[tokio::test]
    async fn a_stop_of_the_service_gives_the_permit_back_at_once() {
        let (capture, stop) = (camera(), CancellationToken::new());
        let snapshots = Snapshots::new(stop.clone());
        capture.jpeg().push(picture(Duration::ZERO));
        snapshots.take(&capture, MAX).await.unwrap();
        stop.cancel();
        let mut demand = capture.jpeg().demanded();
        tokio::time::timeout(Duration::from_secs(1), demand.wait_for(|count| *count == 0))
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_picture_of_the_last_viewers_time_is_not_given_when_a_newer_one_comes_soon() {
        let (capture, snapshots) = (camera(), Snapshots::new(CancellationToken::new()));
        capture.jpeg().push(picture(Duration::from_secs(8)));
        let newer = picture(Duration::ZERO);
        let at = newer.captured;
        let (taken, ()) = tokio::join!(snapshots.take(&capture, MAX), async {
            capture.jpeg().push(newer);
        });
        assert_eq!(taken.unwrap().captured, at);
    }

    #[tokio::test]
    async fn a_camera_with_its_snapshots_switched_off_is_not_started_for_one() {
        let mut camera = Camera::new("front", Source::Test {});
        camera.outputs.snapshot = false;
        let (capture, snapshots) = (Capture::detached(camera), Snapshots::new(CancellationToken::new()));
        assert!(matches!(snapshots.take(&capture, MAX).await, Err(Refusal::Disabled(id)) if id == "front"));
        assert_eq!(capture.jpeg().counters().demand, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_picture_is_never_given() {
        let (capture, stop) = (camera(), CancellationToken::new());
        let snapshots = Snapshots::new(stop);
        capture.jpeg().push(picture(Duration::from_secs(11)));
        let Err(Refusal::NotReady(refusal)) = snapshots.take(&capture, MAX).await else {
            panic!("an old picture was given");
        };
        assert_eq!(refusal.reason, Cause::StaleFrames);
        assert!(refusal.frame_age_seconds.is_some_and(|age| age > 11.0));
    }
}
