//! How long to wait after a failure: exponential, with full jitter.
//!
//! Pure: the random number comes from the caller. Used by [`super::lifecycle`]. The wait is drawn from
//! `[0, cap]`, so that many cameras behind one switch that fails do not come back in step ("Exponential
//! Backoff And Jitter", AWS Architecture Blog, 2015: full jitter).

use std::time::Duration;

/// Counts failures in a row and turns them into waits.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first: first.min(max), max, failures: 0 }
    }

    /// The longest wait that may come next: the first one, doubled per failure, up to the maximum.
    pub fn cap(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).map_or(self.max, |cap| cap.min(self.max))
    }

    /// The next wait, for a random `unit` in `[0, 1]`. Asking does not count as a failure.
    pub fn wait(&self, unit: f64) -> Duration {
        let unit = if unit.is_finite() { unit.clamp(0.0, 1.0) } else { 1.0 };
        self.cap().mul_f64(unit).min(self.max)
    }

    /// One more attempt that came to nothing.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Failures since the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Things have been well for long enough: begin at the first wait again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_start_at_one_second_and_double_to_sixty() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        let caps: Vec<u64> = (0..9)
            .map(|_| {
                let cap = backoff.wait(1.0);
                backoff.failed();
                cap.as_secs()
            })
            .collect();
        assert_eq!(caps, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        assert_eq!(backoff.wait(1.0), SECOND);
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        backoff.failed();
        for (unit, wait) in [(0.0, 0), (0.25, 500), (0.5, 1000), (1.0, 2000), (-1.0, 0), (f64::NAN, 2000)] {
            assert_eq!(backoff.wait(unit), Duration::from_millis(wait), "unit {unit}");
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_ever_longer_than_the_maximum(
            first in 0_u64..100_000, max in 0_u64..100_000, failures in 0_u32..5_000, unit in any::<f64>()
        ) {
            let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
            let mut backoff = Backoff::new(first, max);
            backoff.failures = failures;
            prop_assert!(backoff.wait(unit) <= max);
            prop_assert!(backoff.cap() >= backoff.wait(unit));
        }
    }
}
