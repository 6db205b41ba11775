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
use crate::frames::AccessUnit;

/// Pictures that may wait in the pipeline.
const WAITING: u64 = 8;
/// A WebRTC sink looks into the stream before it calls its peer, and begins to look only when the first
/// picture has come, which it misses. So that it need not wait for the camera's next keyframe, the first
/// one is given again after these times.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(30), Duration::from_millis(60), Duration::from_millis(120)];

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
                if info
                    .event()
                    .is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok())
                {
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
            let mut push = || {
                let now = Instant::now();
                let clock = now.duration_since(began) + behind;
                let at = timeline.place(unit.epoch, unit.pts, unit.age(now), clock);
                self.push(&unit, at)
            };
            let mut pushed = push();
            if self.order == Order::Shown && self.fed.load(Ordering::Relaxed) == 1 {
                for after in AGAIN {
                    tokio::time::sleep(after).await;
                    pushed = pushed.and_then(|()| push());
                }
            }
            if pushed.is_err() {
                return;
            }
        }
    }

    fn push(&self, unit: &AccessUnit, at: Duration) -> Result<(), gst::FlowError> {
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        if let Some(header) = buffer.get_mut() {
            header.set_pts(gst::ClockTime::try_from(at).ok());
            if !unit.keyframe {
                header.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.fed.fetch_add(1, Ordering::Relaxed);
        self.source.push_buffer(buffer).map(|_| ())
    }
}
