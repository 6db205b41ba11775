//! Whether a camera can be shown now, and the bounded wait until it can.
//!
//! Used by MJPEG, snapshots, HLS and the readiness probe. The decisions are pure functions of a status
//! snapshot; [`fresh`] is the only thing here that waits, and it always ends: at a fresh picture, at
//! its patience, as soon as the camera is known to have failed, or when the service stops.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::capture::Capture;
use crate::capture::outlet::Outlet;
use crate::capture::status::{CameraStatus, OutletStatus};
use crate::config::model::Idle;
use crate::frames::AccessUnit;
use crate::supervision::lifecycle::{Snapshot, State};

/// How often a wait looks at the camera's state: a failure ends it early.
const LOOK: Duration = Duration::from_millis(100);
/// A picture younger than this is "now", whether or not the encoder was running.
const NOW: Duration = Duration::from_secs(1);
/// How long a caller waits for a picture of "now" before it takes an older one that is still allowed.
/// With it a snapshot stays under the one second that Moonraker allows.
const PREFER: Duration = Duration::from_millis(800);
/// A viewer's arrival ends a back-off at most this often: a page that reloads does not hammer a camera.
const POKE: Duration = Duration::from_secs(1);

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is not running: idle, stopping, or between two attempts.
    CameraNotStarted,
    /// It is being started or runs, and has not given a picture.
    NoFrames,
    /// It gave pictures, but the newest is older than allowed.
    StaleFrames,
    /// Pictures come, but the HLS segment or part that was asked for is not whole yet.
    NoSegment,
    /// The last attempt failed; the next one is due later.
    BackingOff,
    /// The camera refuses the credentials.
    Refused,
    /// The service is being stopped.
    Stopping,
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Cause::CameraNotStarted => "camera_not_started",
            Cause::NoFrames => "no_frames",
            Cause::StaleFrames => "stale_frames",
            Cause::NoSegment => "no_segment",
            Cause::BackingOff => "backing_off",
            Cause::Refused => "refused",
            Cause::Stopping => "stopping",
        }
    }
}

/// A camera that has no picture to show, with all a person needs to see why.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, ToSchema)]
#[error("{message}")]
pub struct NotReady {
    pub camera: String,
    pub reason: Cause,
    #[serde(skip)]
    pub message: String,
    pub state: State,
    /// Age of the newest picture in seconds; `null` when there is none.
    pub frame_age_seconds: Option<f64>,
    /// The oldest picture that is shown as live, in seconds.
    pub max_frame_age_seconds: f64,
    pub last_error: Option<String>,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "crate::telemetry::rfc3339_option")]
    pub next_try: Option<SystemTime>,
}

impl NotReady {
    fn new(
        camera: &str,
        lifecycle: &Snapshot,
        reason: Cause,
        frame_age_seconds: Option<f64>,
        max_age: Duration,
    ) -> Self {
        Self::after(None, camera, lifecycle, reason, frame_age_seconds, max_age)
    }

    /// With the seconds that were waited for HLS, if it was HLS that was asked for.
    fn after(
        waited: Option<f64>,
        camera: &str,
        lifecycle: &Snapshot,
        reason: Cause,
        frame_age_seconds: Option<f64>,
        max_age: Duration,
    ) -> Self {
        let max = max_age.as_secs_f64();
        let what = match (reason, frame_age_seconds) {
            (Cause::CameraNotStarted, _) => "it is not running".to_owned(),
            (Cause::NoFrames, _) => "it has not given a picture yet".to_owned(),
            (Cause::StaleFrames, Some(age)) => {
                format!("its newest picture is {age:.1} s old, more than the {max} s allowed")
            }
            (Cause::StaleFrames, None) => "its newest picture is too old".to_owned(),
            (Cause::NoSegment, _) => {
                "it gives pictures, but what was asked for is not whole yet; try again".to_owned()
            }
            (Cause::BackingOff, _) => "it failed and is tried again soon".to_owned(),
            (Cause::Refused, _) => {
                "it refuses the user name or password; mend them in the configuration".to_owned()
            }
            (Cause::Stopping, _) => "the service is being stopped".to_owned(),
        };
        let mut message = match waited {
            None => format!("camera {camera:?} has no live picture: {what}"),
            Some(waited) => {
                format!("camera {camera:?} gave no HLS segment or part within {waited:.1} s: {what}")
            }
        };
        // The last failure explains the present state only while the camera is not well.
        if let (Cause::BackingOff | Cause::Refused | Cause::CameraNotStarted, Some(error)) =
            (reason, &lifecycle.last_error)
        {
            message.push_str(&format!(" ({error})"));
        }
        Self {
            camera: camera.to_owned(),
            reason,
            message,
            state: lifecycle.state,
            frame_age_seconds,
            max_frame_age_seconds: max,
            last_error: lifecycle.last_error.clone(),
            next_try: lifecycle.next_try,
        }
    }

    /// Whole seconds after which asking again makes sense.
    pub fn retry_after(&self, now: SystemTime) -> u64 {
        match self.reason {
            Cause::BackingOff | Cause::Refused => self
                .next_try
                .and_then(|next| next.duration_since(now).ok())
                .map_or(1, |wait| wait.as_secs().saturating_add(1).min(60)),
            _ => 1,
        }
    }
}

/// The readiness probe's decision: pictures flow and the newest is young enough.
///
/// A camera that is closed while nobody watches (`idle = "close"`) is ready while idle: a viewer starts
/// it, and a probe that called it broken would have healthy services restarted.
pub fn readiness(status: &CameraStatus, idle: Idle, max_age: Duration) -> Result<(), NotReady> {
    let age = status.frame_age_seconds;
    let reason = match status.lifecycle.state {
        State::Idle if idle == Idle::Close => return Ok(()),
        State::Idle | State::Stopping => Cause::CameraNotStarted,
        State::BackingOff => Cause::BackingOff,
        State::Refused => Cause::Refused,
        State::Starting if status.frames == 0 => Cause::NoFrames,
        State::Starting => Cause::CameraNotStarted,
        State::Live | State::Stalled => match age {
            None => Cause::NoFrames,
            Some(age) if age > max_age.as_secs_f64() => Cause::StaleFrames,
            Some(_) => return Ok(()),
        },
    };
    Err(NotReady::new(&status.id, &status.lifecycle, reason, age, max_age))
}

/// Whether waiting for a picture is hopeless, because the camera or the outlet's encoder has failed.
pub fn failed<'a>(status: &'a CameraStatus, outlet: &'a OutletStatus) -> Option<(Cause, &'a Snapshot)> {
    [&status.lifecycle, &outlet.lifecycle].into_iter().find_map(|lifecycle| match lifecycle.state {
        State::BackingOff => Some((Cause::BackingOff, lifecycle)),
        State::Refused => Some((Cause::Refused, lifecycle)),
        _ => None,
    })
}

/// Why HLS has nothing to give after so long a wait, as MJPEG and snapshots would say it.
pub fn without_segment(status: &CameraStatus, max_age: Duration, waited: Duration) -> NotReady {
    let (reason, lifecycle) = failed(status, &status.h264).unwrap_or_else(|| {
        let reason = match status.frame_age_seconds {
            None => Cause::NoFrames,
            Some(age) if age > max_age.as_secs_f64() => Cause::StaleFrames,
            Some(_) => Cause::NoSegment,
        };
        (reason, &status.lifecycle)
    });
    let waited = waited.as_secs_f64();
    NotReady::after(Some(waited), &status.id, lifecycle, reason, status.frame_age_seconds, max_age)
}

/// Whether a viewer would be turned away at once, for answers that must not start anything (HEAD).
pub fn hopeless(status: &CameraStatus, max_age: Duration) -> Result<(), NotReady> {
    match failed(status, &status.jpeg) {
        Some((reason, lifecycle)) => {
            Err(NotReady::new(&status.id, lifecycle, reason, status.frame_age_seconds, max_age))
        }
        None => Ok(()),
    }
}

/// Whether a WebRTC viewer would wait in vain. Its arrival ends a back-off, as anybody's.
pub fn realtime(capture: &Capture, max_age: Duration) -> Result<(), NotReady> {
    let status = capture.status();
    if pokes(&status, SystemTime::now()) {
        capture.poke();
    }
    match failed(&status, &status.realtime) {
        Some((reason, lifecycle)) => {
            Err(NotReady::new(&status.id, lifecycle, reason, status.frame_age_seconds, max_age))
        }
        None => Ok(()),
    }
}

/// Ends a back-off for somebody who arrives, as [`realtime`] does.
pub fn poke(capture: &Capture) {
    if pokes(&capture.status(), SystemTime::now()) {
        capture.poke();
    }
}

/// Why there is no H.264 to be described.
pub fn without_keyframe(status: &CameraStatus, max_age: Duration) -> NotReady {
    let (reason, lifecycle) = failed(status, &status.h264).unwrap_or((Cause::NoFrames, &status.lifecycle));
    NotReady::new(&status.id, lifecycle, reason, status.frame_age_seconds, max_age)
}

/// Whether a viewer's arrival should end a back-off, the camera's or its encoder's: not when the
/// credentials are refused (only a person's restart asks again), and at most once a second.
fn pokes(status: &CameraStatus, now: SystemTime) -> bool {
    let both = [&status.lifecycle, &status.jpeg.lifecycle];
    let waits = |lifecycle: &&Snapshot| {
        lifecycle.state == State::BackingOff
            && now.duration_since(lifecycle.since).is_ok_and(|waited| waited >= POKE)
    };
    both.iter().any(waits) && both.iter().all(|lifecycle| lifecycle.state != State::Refused)
}

/// What a caller of [`fresh`] accepts.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Never older than this.
    pub max_age: Duration,
    /// Never longer than this.
    pub patience: Duration,
}

/// The newest JPEG of a camera, waited for if need be. The caller holds a permit of the outlet, and
/// says whether the encoder was wanted before it came (`flowing`): if not, the kept picture is from the
/// last viewer's time, and a newer one is waited for a moment.
pub async fn fresh(
    capture: &Capture,
    flowing: bool,
    wait: Wait,
    stop: &CancellationToken,
) -> Result<AccessUnit, NotReady> {
    let outlet: &Arc<Outlet> = capture.jpeg();
    let mut latest = outlet.latest();
    let started = tokio::time::Instant::now();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut arrived = false;
    loop {
        let newest = latest.borrow_and_update().clone();
        let now = Instant::now();
        let waited = started.elapsed();
        let allowed = if flowing || waited >= PREFER { wait.max_age } else { wait.max_age.min(NOW) };
        let age = newest.as_ref().map(|unit| unit.age(now));
        if let Some(unit) = newest
            && unit.age(now) <= allowed
        {
            return Ok(unit);
        }
        let status = capture.status();
        let seconds = age.map(|age| age.as_secs_f64());
        if !arrived {
            arrived = true;
            if pokes(&status, SystemTime::now()) {
                capture.poke();
            }
        }
        let give_up =
            |reason, lifecycle| Err(NotReady::new(capture.id(), lifecycle, reason, seconds, wait.max_age));
        if stop.is_cancelled() {
            return give_up(Cause::Stopping, &status.lifecycle);
        }
        // An older picture that is still allowed is better than a failure.
        let kept = age.is_some_and(|age| age <= wait.max_age);
        if !kept {
            if let Some((reason, lifecycle)) = failed(&status, &status.jpeg) {
                return give_up(reason, lifecycle);
            }
            if waited >= wait.patience {
                let reason = if age.is_some() { Cause::StaleFrames } else { Cause::NoFrames };
                return give_up(reason, &status.lifecycle);
            }
        }
        tokio::select! {
            // The outlet lives as long as the capture that is borrowed here: this cannot fail.
            _ = latest.changed() => {}
            _ = look.tick() => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    const MAX: Duration = Duration::from_secs(10);

    fn status(state: State, frames: u64, age: Option<f64>) -> CameraStatus {
        let mut status = Capture::detached(Camera::new("front", Source::Test {})).status();
        status.lifecycle.state = state;
        status.frames = frames;
        status.frame_age_seconds = age;
        status
    }

    #[test]
    fn only_a_running_camera_with_a_young_picture_is_ready() {
        use Cause::{CameraNotStarted, NoFrames, StaleFrames};
        use State::{Live, Stalled, Starting};
        // (state, pictures so far, age of the newest, when idle, why not ready)
        let table = [
            (State::Idle, 0, None, Idle::Open, Some(CameraNotStarted)),
            (State::Idle, 9, Some(1.0), Idle::Open, Some(CameraNotStarted)),
            (State::Idle, 0, None, Idle::Close, None),
            (Starting, 0, None, Idle::Open, Some(NoFrames)),
            (Starting, 0, None, Idle::Close, Some(NoFrames)),
            (Starting, 50, Some(2.0), Idle::Open, Some(CameraNotStarted)),
            (Live, 0, None, Idle::Open, Some(NoFrames)),
            (Live, 1, Some(0.0), Idle::Open, None),
            (Live, 1, Some(10.0), Idle::Open, None),
            (Live, 1, Some(10.01), Idle::Open, Some(StaleFrames)),
            (Stalled, 1, Some(3.0), Idle::Open, None),
            (Stalled, 1, Some(11.0), Idle::Open, Some(StaleFrames)),
            (State::BackingOff, 1, Some(1.0), Idle::Open, Some(Cause::BackingOff)),
            (State::BackingOff, 1, Some(1.0), Idle::Close, Some(Cause::BackingOff)),
            (State::Refused, 0, None, Idle::Open, Some(Cause::Refused)),
            (State::Stopping, 1, Some(0.1), Idle::Open, Some(CameraNotStarted)),
        ];
        for (state, frames, age, idle, expected) in table {
            let found = readiness(&status(state, frames, age), idle, MAX).err();
            assert_eq!(found.as_ref().map(|refusal| refusal.reason), expected, "{state:?} {age:?} {idle:?}");
            if let Some(refusal) = found {
                assert_eq!(refusal.frame_age_seconds, age);
                assert_eq!(refusal.max_frame_age_seconds, 10.0);
                assert!(refusal.message.contains("\"front\""), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn a_failure_is_said_with_its_last_error_and_the_time_of_the_next_try() {
        let mut status = status(State::BackingOff, 0, None);
        let now = SystemTime::now();
        status.lifecycle.last_error = Some("connection refused".into());
        status.lifecycle.next_try = Some(now + Duration::from_millis(3500));
        let refusal = readiness(&status, Idle::Open, MAX).unwrap_err();
        assert!(refusal.message.ends_with("(connection refused)"), "{}", refusal.message);
        assert_eq!(refusal.retry_after(now), 4);
        assert_eq!(refusal.retry_after(now + Duration::from_secs(9)), 1, "the time has passed");
    }

    #[test]
    fn waiting_is_hopeless_when_the_camera_or_its_encoder_has_failed() {
        let table = [
            (State::Live, State::Live, None),
            (State::Starting, State::Idle, None),
            (State::BackingOff, State::Idle, Some(Cause::BackingOff)),
            (State::Refused, State::Idle, Some(Cause::Refused)),
            (State::Live, State::BackingOff, Some(Cause::BackingOff)),
            (State::Stalled, State::Live, None),
        ];
        for (camera, encoder, expected) in table {
            let mut status = status(camera, 1, Some(1.0));
            status.jpeg.lifecycle.state = encoder;
            assert_eq!(
                failed(&status, &status.jpeg).map(|found| found.0),
                expected,
                "{camera:?} {encoder:?}"
            );
        }
    }

    #[test]
    fn hls_without_a_segment_says_why_like_every_other_output() {
        // (camera, encoder of H.264, pictures so far, age of the newest, why)
        let table = [
            (State::Live, State::Live, 9, Some(0.1), Cause::NoSegment),
            (State::Live, State::Starting, 0, None, Cause::NoFrames),
            (State::Live, State::Live, 9, Some(11.0), Cause::StaleFrames),
            (State::Starting, State::Idle, 0, None, Cause::NoFrames),
            (State::Stalled, State::Live, 9, Some(3.0), Cause::NoSegment),
            (State::BackingOff, State::Idle, 0, None, Cause::BackingOff),
            (State::Live, State::BackingOff, 9, Some(0.1), Cause::BackingOff),
            (State::Refused, State::Idle, 0, None, Cause::Refused),
        ];
        let now = SystemTime::now();
        for (camera, encoder, frames, age, expected) in table {
            let mut status = status(camera, frames, age);
            status.h264.lifecycle.state = encoder;
            for lifecycle in [&mut status.lifecycle, &mut status.h264.lifecycle] {
                if lifecycle.state == State::BackingOff {
                    lifecycle.last_error = Some("connection refused".into());
                    lifecycle.next_try = Some(now + Duration::from_millis(3500));
                }
            }
            let refusal = without_segment(&status, MAX, Duration::from_nanos(1_234_567_890));
            assert_eq!(refusal.reason, expected, "{camera:?} {encoder:?}");
            assert!(refusal.message.contains("within 1.2 s: "), "{}", refusal.message);
            let again = if expected == Cause::BackingOff { 4 } else { 1 };
            assert_eq!(refusal.retry_after(now), again, "{camera:?} {encoder:?}");
            assert_eq!(refusal.last_error.is_some(), expected == Cause::BackingOff);
        }
    }

    #[test]
    fn a_viewers_arrival_ends_a_back_off_but_neither_hammers_nor_tries_a_wrong_password() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        // (camera, encoder, ms in that state, poked)
        let table = [
            (State::BackingOff, State::Idle, 999, false),
            (State::BackingOff, State::Idle, 1000, true),
            (State::Live, State::BackingOff, 1000, true),
            (State::Live, State::Live, 5000, false),
            (State::Idle, State::Idle, 5000, false),
            (State::Refused, State::Idle, 60_000, false),
            (State::Refused, State::BackingOff, 60_000, false),
            (State::BackingOff, State::Refused, 60_000, false),
        ];
        for (camera, encoder, waited, expected) in table {
            let mut status = status(camera, 0, None);
            status.jpeg.lifecycle.state = encoder;
            (status.lifecycle.since, status.jpeg.lifecycle.since) = (since, since);
            let now = since + Duration::from_millis(waited);
            assert_eq!(pokes(&status, now), expected, "{camera:?} {encoder:?} after {waited} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_camera_that_hangs_is_waited_for_only_as_long_as_was_said() {
        let capture = Capture::detached(Camera::new("front", Source::Test {}));
        let began = tokio::time::Instant::now();
        let wait = Wait { max_age: MAX, patience: Duration::from_secs(10) };
        let refusal = fresh(&capture, false, wait, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(refusal.reason, Cause::NoFrames);
        assert!((MAX..MAX + LOOK * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_service_stops() {
        let capture = Capture::detached(Camera::new("front", Source::Test {}));
        let stop = CancellationToken::new();
        let wait = Wait { max_age: MAX, patience: Duration::from_secs(60) };
        let (refusal, ()) = tokio::join!(fresh(&capture, false, wait, &stop), async { stop.cancel() });
        assert_eq!(refusal.unwrap_err().reason, Cause::Stopping);
    }
}
