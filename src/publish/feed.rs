//! Feeds an output's pipeline from an outlet, as fast as the peer takes it.
//!
//! A few pictures wait in the appsrc and some seconds of them in the outlet's ring; beyond that the
//! subscription loses whole access units up to a keyframe, which are counted. Nothing is copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::status::Counters;
use super::timeline::{Order, Timeline};
use crate::capture::Capture;
use crate::capture::outlet::Subscription;

/// Pictures that may wait in the pipeline.
const WAITING: u64 = 8;

/// A pipeline's beginning, not yet fed.
#[derive(Debug)]
pub struct Feed {
    pub source: gst_app::AppSrc,
    order: Order,
    room: Arc<Notify>,
    fed: Arc<AtomicU64>,
}

impl Feed {
    /// Requests for a keyframe from behind it go to the camera.
    pub fn new(order: Order, capture: &Capture) -> Self {
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build();
        let source = gst_app::AppSrc::builder()
            .name("pictures")
            .caps(&caps)
            .format(gst::Format::Time)
            .is_live(true)
            .max_bytes(0)
            .max_buffers(WAITING)
            .build();
        let room = Arc::new(Notify::new());
        let wake = Arc::clone(&room);
        source.set_callbacks(
            gst_app::AppSrcCallbacks::builder().need_data(move |_, _| wake.notify_one()).build(),
        );
        if let Some(pad) = source.static_pad("src") {
            let capture = capture.clone();
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                if info.event().is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok()) {
                    capture.request_keyframe();
                }
                gst::PadProbeReturn::Ok
            });
        }
        Self { source, order, room, fed: Arc::default() }
    }

    /// How many pictures it has handed in.
    pub fn fed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.fed)
    }

    /// Feeds until the handle is dropped or the pipeline ends.
    pub fn begin(
        self,
        runtime: &tokio::runtime::Handle,
        pictures: Subscription,
        counters: Arc<Counters>,
    ) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(runtime.spawn(self.run(pictures, counters)))
    }

    async fn run(self, mut pictures: Subscription, counters: Arc<Counters>) {
        // It asks for data once it plays; only then is there a clock.
        self.room.notified().await;
        let began = Instant::now();
        let behind = self.source.current_running_time().map_or(Duration::ZERO, Duration::from);
        let mut timeline = Timeline::new(self.order);
        let mut lost = 0;
        while let Some(unit) = pictures.next().await {
            counters.dropped.fetch_add(pictures.dropped() - lost, Ordering::Relaxed);
            lost = pictures.dropped();
            while self.source.current_level_buffers() >= WAITING {
                self.room.notified().await;
            }
            let now = Instant::now();
            let clock = now.duration_since(began) + behind;
            let at = timeline.place(unit.epoch, unit.pts, unit.age(now), clock);
            let mut buffer = gst::Buffer::from_slice(unit.data);
            if let Some(header) = buffer.get_mut() {
                header.set_pts(gst::ClockTime::try_from(at).ok());
                if !unit.keyframe {
                    header.set_flags(gst::BufferFlags::DELTA_UNIT);
                }
            }
            if self.source.push_buffer(buffer).is_err() {
                return;
            }
            self.fed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
