//! Somebody who watches a camera all the time: keeps an MJPEG stream open, opens it again when it ends,
//! and remembers when pictures came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{MjpegStream, wait_for, wait_until};

/// A picture may be this late before the viewer looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Viewer {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub frames: u64,
    pub last: Option<Instant>,
    /// The first picture after [`Viewer::mark`].
    first_since_mark: Option<Instant>,
    /// Streams that ended and were opened again.
    pub reopened: u64,
}

impl Viewer {
    pub fn watch(port: u16, path: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (seen, stop, path) = (Arc::clone(&seen), Arc::clone(&stop), path.to_owned());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    watch_once(port, &path, &seen, &stop);
                    seen.lock().expect("seen").reopened += 1;
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().expect("seen")
    }

    #[track_caller]
    pub fn wait_picture(&self, within: Duration) {
        let before = self.seen().frames;
        wait_until("a picture", within, || self.seen().frames > before);
    }

    /// Waits until no picture came for `quiet`.
    #[track_caller]
    pub fn wait_quiet(&self, quiet: Duration, within: Duration) {
        wait_until("pictures stop", within, || self.seen().last.is_none_or(|last| last.elapsed() >= quiet));
    }

    /// From now on the next picture counts as new.
    pub fn mark(&self) -> Instant {
        let mut seen = self.seen.lock().expect("seen");
        seen.first_since_mark = None;
        Instant::now()
    }

    /// The time from `mark` to the first picture after it.
    #[track_caller]
    pub fn wait_since(&self, mark: Instant, what: &str, within: Duration) -> Duration {
        let first = wait_for(&format!("{what}: a new picture"), within, || self.seen().first_since_mark);
        first.saturating_duration_since(mark)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch_once(port: u16, path: &str, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let Ok(mut stream) = MjpegStream::open(port, path) else { return };
    while !stop.load(Ordering::Relaxed) {
        match stream.next_within(PATIENCE) {
            Ok(Some(part)) => {
                let mut seen = seen.lock().expect("seen");
                seen.frames += 1;
                seen.last = Some(part.at);
                seen.first_since_mark.get_or_insert(part.at);
            }
            // Nothing yet: the stream is still open.
            Ok(None) => {}
            Err(_) => return,
        }
    }
}
