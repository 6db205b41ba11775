//! Streams that somebody asked to run though nobody watches: the service itself holds demand of an outlet,
//! so that camera and encoder are warm when the first viewer comes. It ends when it is told, not with
//! who asked. A camera that is configured anew or comes back is held anew, one that is removed no longer ([`Control::keep_streams`]).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Control, Named, Refusal};
use crate::capture::Capture;
use crate::capture::outlet::Permit;

/// What is held, by the camera's id.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<String, Hold>>);

#[derive(Debug)]
struct Hold {
    since: SystemTime,
    /// The camera that it is a permit of; it may have been replaced since. `None` while there is none.
    of: Option<(Capture, Permit)>,
}

impl Hold {
    fn take(&mut self, capture: Option<&Capture>) {
        self.of = capture.and_then(|capture| Some((capture.clone(), demand(capture)?)));
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Hold>> {
        // Plain data that is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outlet that most viewers take.
fn demand(capture: &Capture) -> Option<Permit> {
    let outputs = &capture.camera().outputs;
    if outputs.h264() {
        Some(capture.h264().demand())
    } else {
        (outputs.mjpeg || outputs.snapshot).then(|| capture.jpeg().demand())
    }
}

impl Control {
    /// Keeps a camera's stream running from now on; since when it is. Twice is as good as once.
    pub fn start_streaming(&self, name: &str) -> Result<(Named, SystemTime), Refusal> {
        let camera = self.camera(name)?;
        let id = camera.capture.id();
        if let Some(hold) = self.0.held.lock().get(id) {
            return Ok((camera.clone(), hold.since));
        }
        let permit = demand(&camera.capture).ok_or_else(|| Refusal::NoStream(id.to_owned()))?;
        let since = SystemTime::now();
        let hold = Hold { since, of: Some((camera.capture.clone(), permit)) };
        self.0.held.lock().insert(id.to_owned(), hold);
        tracing::info!(camera = id, "the stream is kept running");
        Ok((camera, since))
    }

    /// Ends that; since when it had been, if it was. Viewers keep their streams.
    pub fn stop_streaming(&self, name: &str) -> Result<(Named, Option<SystemTime>), Refusal> {
        let camera = self.camera(name)?;
        let hold = self.0.held.lock().remove(camera.capture.id());
        if hold.is_some() {
            tracing::info!(camera = camera.capture.id(), "the stream is no longer kept running");
        }
        Ok((camera, hold.map(|hold| hold.since)))
    }

    /// Since when a camera's stream is kept running, if it is.
    pub fn streaming(&self, id: &str) -> Option<SystemTime> {
        self.0.held.lock().get(id).map(|hold| hold.since)
    }

    /// Follows cameras that are replaced: what is held stays held. Runs until it is dropped.
    pub async fn keep_streams(self) {
        let mut list = self.0.cameras.watch();
        while list.changed().await.is_ok() {
            let cameras = list.borrow_and_update().clone();
            for (id, hold) in self.0.held.lock().iter_mut() {
                let present = cameras.iter().find(|capture| capture.id() == id);
                let same = matches!((present, &hold.of), (Some(p), Some((of, _))) if p.same(of));
                if !same {
                    hold.take(present);
                }
            }
            let away: Vec<String> = self
                .0
                .held
                .lock()
                .iter()
                .filter(|(_, hold)| hold.of.is_none())
                .map(|(id, _)| id.clone())
                .collect();
            for id in away {
                // One that comes back is held again.
                if !self.0.cameras.expects(&id).await && self.0.cameras.get(&id).is_none() {
                    self.0.held.lock().remove(&id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::*;
    use crate::config::model::{Camera, Source};

    #[test]
    fn a_stream_is_held_once_and_until_it_is_told_to_end() {
        let capture = Capture::detached(Camera::new("porch", Source::Test {}));
        let control = Control::new(Cameras::new(vec![capture.clone()]), Publishers::none());
        let demand = || capture.h264().counters().demand;
        let (_, since) = control.start_streaming("camera0").unwrap();
        assert_eq!(control.start_streaming("porch").unwrap().1, since);
        assert_eq!((demand(), control.streaming("porch")), (1, Some(since)));
        assert_eq!(control.stop_streaming("porch").unwrap().1, Some(since));
        assert_eq!((demand(), control.streaming("porch")), (0, None));
        assert_eq!(control.stop_streaming("porch").unwrap().1, None);
    }

    #[tokio::test]
    async fn a_camera_that_is_taken_away_for_a_while_is_held_and_one_that_is_removed_is_not() {
        let cameras = Cameras::new(Vec::new());
        let camera = || Camera::new("gate", Source::Test {});
        cameras.add(camera()).await.unwrap();
        let control = Control::new(cameras.clone(), Publishers::none());
        let hold = super::Hold { since: SystemTime::now(), of: None };
        control.0.held.lock().insert("gate".to_owned(), hold);
        let following = tokio::spawn(control.clone().keep_streams());
        tokio::task::yield_now().await;
        cameras.withdraw("gate").await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(control.streaming("gate").is_some());
        cameras.remove("gate").await;
        let forgotten = async {
            while control.streaming("gate").is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), forgotten).await.unwrap();
        following.abort();
    }

    #[test]
    fn a_camera_without_streams_says_so() {
        let mut camera = Camera::new("porch", Source::Test {});
        let outputs = &mut camera.outputs;
        (outputs.hls, outputs.whep, outputs.rtsp) = (false, false, false);
        (outputs.mjpeg, outputs.snapshot) = (false, false);
        let control = Control::new(Cameras::new(vec![Capture::detached(camera)]), Publishers::none());
        assert_eq!(control.start_streaming("porch").unwrap_err(), Refusal::NoStream("porch".into()));
    }
}
