//! Bodies that hand out the ring's bytes without copying them: whole slices, or a segment that still
//! grows.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use warp::Reply;
use warp::reply::Response;

use super::ring::{Progress, Ring};
use super::stream::Watching;

/// A body of these slices, one after the other.
pub fn slices(slices: Vec<Bytes>, watching: Watching) -> Response {
    let mut slices = slices.into_iter();
    warp::reply::stream(stream::poll_fn(move |_| {
        let _still_watched = &watching;
        std::task::Poll::Ready(slices.next().map(Ok::<_, io::Error>))
    }))
    .into_response()
}

/// A body that begins at byte `from` of a segment and goes on with its parts as they come, until the
/// segment is whole. It breaks off when no part comes for `patience`, so that the client can tell.
pub fn growing(ring: Arc<Ring>, msn: u64, from: u64, patience: Duration, watching: Watching) -> Response {
    let progress = ring.progress();
    let state = Growing { ring, progress, msn, at: from, ready: VecDeque::new(), patience, watching };
    let stream = stream::try_unfold(state, |mut state| async move {
        Ok::<_, io::Error>(state.next().await?.map(|bytes| (bytes, state)))
    });
    warp::reply::stream(stream).into_response()
}

struct Growing {
    ring: Arc<Ring>,
    progress: watch::Receiver<Progress>,
    msn: u64,
    at: u64,
    ready: VecDeque<Bytes>,
    patience: Duration,
    /// Counts this response as a viewer until it ends.
    #[expect(dead_code, reason = "held, not read")]
    watching: Watching,
}

impl Growing {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.at += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            // Seen first, looked at second: what comes in between wakes the wait below.
            let seen = *self.progress.borrow_and_update();
            match self.ring.segment(self.msn) {
                Some((segment, whole)) => {
                    self.ready = segment.slices(self.at, u64::MAX).into();
                    if self.ready.is_empty() && whole {
                        return Ok(None);
                    }
                }
                None if seen.msn > self.msn => return Err(io::ErrorKind::NotFound.into()),
                None => {}
            }
            if self.ready.is_empty() {
                match tokio::time::timeout(self.patience, self.progress.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }
}
