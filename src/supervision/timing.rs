//! The times that supervision keeps to, from the configuration and from rules that have no key.

use std::time::Duration;

use crate::config::model::Supervision;

/// Frames that may be missing before their absence is a stall, and the least time that takes.
const STALL_FRAMES: f64 = 10.0;
const STALL_LEAST: Duration = Duration::from_secs(2);
/// No camera is waited for longer than this, however slow it says it is.
const STALL_MOST: Duration = Duration::from_secs(3600);

/// How long things may take. `From<&Supervision>` reads the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    /// Pictures without a gap for this long set the back-off to its first wait.
    pub healthy_after: Duration,
    /// An attempt without a first picture after this long is treated as stalled.
    pub start_timeout: Duration,
    /// An attempt that has not ended after this long is frozen.
    pub stop_timeout: Duration,
    pub refused_retry: Duration,
}

impl From<&Supervision> for Timing {
    fn from(config: &Supervision) -> Self {
        // The configuration is validated where it is read; a number that still makes no duration
        // becomes the shortest one rather than a panic.
        let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
        Self {
            backoff_first: seconds(config.backoff_first_seconds),
            backoff_max: seconds(config.backoff_max_seconds),
            healthy_after: seconds(config.healthy_after_seconds),
            start_timeout: seconds(config.start_timeout_seconds),
            stop_timeout: seconds(config.stop_timeout_seconds),
            refused_retry: seconds(config.refused_retry_seconds),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::from(&Supervision::default())
    }
}

/// How long pictures may be missing at this rate before it is a stall: ten intervals, at least 2 s.
pub fn stall_after(fps: f64) -> Duration {
    if !fps.is_finite() || fps <= 0.0 {
        return STALL_MOST;
    }
    Duration::try_from_secs_f64(STALL_FRAMES / fps).unwrap_or(STALL_MOST).clamp(STALL_LEAST, STALL_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_camera_is_not_a_stalled_one() {
        for (fps, seconds) in [(60.0, 2.0), (30.0, 2.0), (5.0, 2.0), (1.0, 10.0), (0.2, 50.0)] {
            assert_eq!(stall_after(fps).as_secs_f64(), seconds, "{fps} fps");
        }
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            assert_eq!(stall_after(odd), STALL_MOST, "{odd}");
        }
    }

    #[test]
    fn the_configuration_gives_the_times() {
        let timing = Timing::default();
        assert_eq!(timing.backoff_first, Duration::from_secs(1));
        assert_eq!(timing.backoff_max, Duration::from_secs(60));
        assert_eq!(timing.refused_retry, Duration::from_secs(300));
        let odd = Supervision { start_timeout_seconds: f64::NAN, ..Supervision::default() };
        assert_eq!(Timing::from(&odd).start_timeout, Duration::ZERO);
    }
}
