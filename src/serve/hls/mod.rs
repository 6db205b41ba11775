//! HLS and low-latency HLS: `stream.m3u8` (TS), `stream_ll.m3u8` (TS parts as byte ranges) and
//! `stream_ll_fmp4.m3u8` for each camera, and optionally the first of them on disk.
//!
//! [`Hls`] is made once by whoever builds the server; `api` mounts [`Hls::respond`] under
//! `/hls/{camera}/{file}` and calls [`Hls::cameras`] whenever the set of cameras changes. The way of a
//! picture: outlet → `stream` (a task while somebody watches) → `packager` (`timing`, `segmenter`, `ts`
//! or `fmp4`) → `ring` → `playlist`, `routes`, `disk`.

mod body;
mod disk;
pub mod packager;
pub mod playlist;
pub mod request;
pub mod ring;
mod routes;
pub mod segmenter;
mod stream;
pub mod ts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use crate::capture::Capture;
use crate::capture::outlet::Outlet;
use crate::config::model;
use crate::mux::{fmp4, timing};
use packager::Settings;
use playlist::Container;
use ring::{Numbers, Ring};
pub use routes::{Refusal, Request};
use stream::Stream;

/// How long requests wait for what is not there yet.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For the first segment after packaging started.
    pub first_segment: Duration,
    /// At most this, and two parts, for the next part before a low-latency player that joins gets its
    /// first list: hls.js keeps the distance from the end that it finds there.
    pub join: Duration,
    /// At most this for the part or segment that a blocking reload asks for; then the list is given as
    /// it is. Less where hls.js would give up before.
    pub reload: Duration,
    /// For a part that was hinted at, and between the parts of a growing segment.
    pub part: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            first_segment: Duration::from_secs(15),
            join: Duration::from_millis(800),
            reload: Duration::from_millis(1200),
            part: Duration::from_secs(6),
        }
    }
}

/// HLS of all cameras. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Hls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: model::Hls,
    waits: Waits,
    cameras: Mutex<HashMap<String, Arc<Streams>>>,
}

impl Hls {
    pub fn new(config: model::Hls) -> Self {
        Self::with_waits(config, Waits::default())
    }

    /// The same with other patience.
    pub fn with_waits(config: model::Hls, waits: Waits) -> Self {
        Self(Arc::new(Inner { config, waits, cameras: Mutex::new(HashMap::new()) }))
    }

    /// Tells which cameras there are now: what was packaged for others ends, and with an output
    /// directory every camera that has HLS is packaged from here on. Needs a tokio runtime.
    pub fn cameras(&self, captures: &[Capture]) {
        let served = || captures.iter().filter(|capture| capture.camera().outputs.hls);
        let mut known = self.0.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| served().any(|capture| capture.id() == id));
        let packaged: Vec<&Capture> = served().filter(|capture| known.contains_key(capture.id())).collect();
        drop(known);
        for capture in packaged {
            // Lets go of the one before, if it was replaced.
            self.streams(capture);
        }
        if let Some(directory) = &self.0.config.output_dir {
            for capture in served() {
                self.streams(capture).write_to(directory.join(capture.id()));
            }
        }
    }

    /// Whether anything is being packaged for this camera now.
    pub fn packaging(&self, capture: &Capture) -> bool {
        let known = self.0.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(capture.id()).is_some_and(|streams| streams.ts.running() || streams.fmp4.running())
    }

    fn streams(&self, capture: &Capture) -> Arc<Streams> {
        let mut known = self.0.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(capture.id());
        if let Some(streams) = before
            && Arc::ptr_eq(&streams.outlet, capture.h264())
        {
            return Arc::clone(streams);
        }
        let fresh = || Numbers::at(SystemTime::now(), self.0.config.segment_seconds);
        let ts = before.map_or_else(fresh, |streams| streams.ts.ring().numbers());
        let fmp4 = before.map_or_else(fresh, |streams| streams.fmp4.ring().numbers());
        let streams = Arc::new(Streams::new(capture, &self.0.config, ts, fmp4));
        known.insert(capture.id().to_owned(), Arc::clone(&streams));
        streams
    }
}

/// What is packaged for one camera. When it goes, packaging ends.
#[derive(Debug)]
struct Streams {
    outlet: Arc<Outlet>,
    /// Feeds `stream.m3u8` and `stream_ll.m3u8`.
    ts: Arc<Stream>,
    /// Feeds `stream_ll_fmp4.m3u8`.
    fmp4: Arc<Stream>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Streams {
    fn new(capture: &Capture, config: &model::Hls, ts: Numbers, fmp4: Numbers) -> Self {
        let idle = Duration::try_from_secs_f64(config.idle_seconds).unwrap_or_default();
        let stream = |container, part_seconds, numbers| {
            let settings = Settings { container, segment_seconds: config.segment_seconds, part_seconds };
            let ring = Arc::new(Ring::new(config.segments, config.segment_seconds, numbers));
            Stream::new(capture.id(), settings, idle, Arc::clone(capture.h264()), ring)
        };
        Self {
            outlet: Arc::clone(capture.h264()),
            ts: stream(Container::Ts, config.part_seconds, ts),
            fmp4: stream(Container::Fmp4, config.fmp4_part_seconds, fmp4),
            writer: Mutex::new(None),
        }
    }

    fn of(&self, container: Container) -> &Arc<Stream> {
        match container {
            Container::Ts => &self.ts,
            Container::Fmp4 => &self.fmp4,
        }
    }

    fn write_to(&self, directory: std::path::PathBuf) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.as_ref().is_none_or(JoinHandle::is_finished) {
            *writer = Some(tokio::spawn(disk::write(Arc::clone(&self.ts), directory)));
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.ts.end();
        self.fmp4.end();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take() {
            writer.abort();
        }
    }
}
