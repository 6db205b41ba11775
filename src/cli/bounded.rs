//! Looks at the outside that may hang (drivers, networks, name services), bounded in time.
//!
//! Used by `doctor` and `probe`, which end soon after: a look that does not come back keeps its thread
//! until the process ends.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `look` gives, unless it takes longer than `limit` or panics.
pub fn within<T: Send + 'static>(limit: Duration, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (give, take) = mpsc::sync_channel(1);
    thread::Builder::new()
        .spawn(move || {
            // Nobody waits any more when the limit has passed.
            let _ = give.send(look());
        })
        .ok()?;
    take.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_look_that_hangs_is_given_up() {
        let began = Instant::now();
        let (_keep, never) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(50), move || never.recv()), None);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(within(Duration::from_secs(5), || 7), Some(7));
    }
}
