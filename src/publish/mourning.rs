//! The end of a WebRTC sink, one thing after the other.
//!
//! Its sessions and its signaller are watched by closures of the sink's, and are let go of by tasks of its
//! own at any time after NULL. When that happens on one thread while the sink itself goes on another, both
//! take the same closure apart, which GLib does not survive. So the sink is kept until everything that it
//! watches is gone.

use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

/// How often it is looked whether all is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than any task of the sink's lives on: a connection that is never answered, then a check of the token.
const LONGEST: Duration = Duration::from_secs(30);

/// Keeps a sink while it ends; dropped when the end begins.
#[derive(Debug)]
pub struct Mourning {
    kept: Option<Kept>,
    runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
struct Kept {
    sink: gst::Element,
    sessions: Sessions,
}

/// The peer connections that a sink has made.
pub type Sessions = std::sync::Arc<std::sync::Mutex<Vec<gst::glib::WeakRef<gst::Element>>>>;

impl Mourning {
    pub fn of(sink: gst::Element, sessions: Sessions, runtime: tokio::runtime::Handle) -> Self {
        Self { kept: Some(Kept { sink, sessions }), runtime }
    }
}

impl Kept {
    fn alone(&self) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let over = sessions.iter().all(|session| session.upgrade().is_none());
        if !over || self.sink.current_state() != gst::State::Null {
            return false;
        }
        // One reference is the sink's, one is this one.
        self.sink.property::<gst::glib::Object>("signaller").ref_count() <= 2
    }
}

impl Drop for Mourning {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        self.runtime.spawn(async move {
            let wait = async {
                while !kept.alone() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            let _ = tokio::time::timeout(LONGEST, wait).await;
            // The last of it may take a moment.
            let _ = tokio::task::spawn_blocking(move || drop(kept)).await;
        });
    }
}
