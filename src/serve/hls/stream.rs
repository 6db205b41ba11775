//! One packaged stream of a camera: its ring, the task that fills it, and who is watching.
//!
//! The task starts with the first request and ends some time after the last one; only while it runs
//! does it hold a subscription, so the encoder behind the outlet stops with it. The ring stays, empty,
//! so that numbers go on where they were.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::packager::{Packager, Settings};
use super::ring::Ring;
use super::segmenter::longest_segment;
use crate::capture::outlet::Outlet;

#[derive(Debug)]
pub struct Stream {
    camera: String,
    settings: Settings,
    idle: Duration,
    outlet: Arc<Outlet>,
    ring: Arc<Ring>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests being answered now.
    present: usize,
    last: Instant,
    task: Option<JoinHandle<()>>,
    /// The camera is gone: nothing starts any more.
    ended: bool,
}

impl State {
    fn running(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }
}

impl Stream {
    pub fn new(
        camera: impl Into<String>,
        settings: Settings,
        idle: Duration,
        outlet: Arc<Outlet>,
        ring: Arc<Ring>,
    ) -> Arc<Self> {
        let state = State { present: 0, last: Instant::now(), task: None, ended: false };
        Arc::new(Self { camera: camera.into(), settings, idle, outlet, ring, state: Mutex::new(state) })
    }

    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Counts a request for as long as the guard lives, and starts the packager if it does not run.
    /// Needs a tokio runtime.
    pub fn watch(self: &Arc<Self>) -> Watching {
        let watching = self.visit();
        let mut state = self.state();
        if !state.running() && !state.ended {
            state.task = Some(tokio::spawn(package(Arc::clone(self))));
        }
        drop(state);
        watching
    }

    /// Counts a request without starting anything: for segments, which are there or are not.
    pub fn visit(self: &Arc<Self>) -> Watching {
        self.state().present += 1;
        Watching(Arc::clone(self))
    }

    pub fn running(&self) -> bool {
        self.state().running()
    }

    /// Stops packaging for good.
    pub fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        if let Some(task) = state.task.take() {
            task.abort();
        }
    }

    /// Ends if nobody asked for long enough: `None`. Otherwise when to look again.
    fn end_if_idle(&self) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let end = if state.present > 0 { now + self.idle } else { state.last + self.idle };
        if end > now {
            return Some(end);
        }
        // In one step with the ring: who asks from now on starts anew, with an empty one.
        state.task = None;
        self.ring.clear();
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proof that a request is being answered.
#[derive(Debug)]
pub struct Watching(Arc<Stream>);

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.present -= 1;
        state.last = Instant::now();
    }
}

async fn package(stream: Arc<Stream>) {
    let mut units = stream.outlet.subscribe();
    let mut packager = Packager::new(stream.camera.clone(), stream.settings, Arc::clone(&stream.ring));
    // What a task that broke off left behind is not continued.
    stream.ring.clear();
    let target = Duration::try_from_secs_f64(stream.settings.segment_seconds).unwrap_or_default();
    let mut retractions = stream.outlet.retractions();
    let mut idle = std::pin::pin!(tokio::time::sleep(stream.idle));
    loop {
        tokio::select! {
            biased;
            // A mask was put on: segments of before are not given any more.
            Ok(()) = retractions.changed() => {
                packager = Packager::new(stream.camera.clone(), stream.settings, Arc::clone(&stream.ring));
                stream.ring.clear();
            }
            unit = units.next() => match unit {
                Some(unit) => {
                    if unit.keyframe && let Some(rhythm) = stream.outlet.rhythm() {
                        stream.ring.expect(longest_segment(target, rhythm));
                    }
                    packager.push(unit);
                }
                None => break,
            },
            () = &mut idle => match stream.end_if_idle() {
                Some(later) => idle.as_mut().reset(later),
                None => break,
            },
        }
    }
    tracing::debug!(camera = stream.camera, lost = units.dropped(), "HLS packaging ended");
}
