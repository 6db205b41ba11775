//! Feeds an output's pipeline from an outlet, as fast as the peer takes it.
//!
//! A few pictures wait in the appsrc and some seconds of them in the outlet's ring; beyond that the
//! subscription loses whole access units up to a keyframe, which are counted. Nothing is copied.
//!
//! Each picture carries how often pictures had been taken back when it came (a privacy mask was put on). One
//! that waits in the appsrc while that happens is left out at its exit; the subscription then goes on at a
//! keyframe of after it.

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
        leave_out_what_was_taken_back(&source, capture);
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
                self.push(&unit, at, pictures.generation())
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

    fn push(&self, unit: &AccessUnit, at: Duration, generation: u64) -> Result<(), gst::FlowError> {
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        if let Some(header) = buffer.get_mut() {
            header.set_pts(gst::ClockTime::try_from(at).ok());
            header.set_offset(generation);
            if !unit.keyframe {
                header.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.fed.fetch_add(1, Ordering::Relaxed);
        self.source.push_buffer(buffer).map(|_| ())
    }
}

/// Drops pictures at the exit of the appsrc that are of before the last time that pictures were taken back.
fn leave_out_what_was_taken_back(source: &gst_app::AppSrc, capture: &Capture) {
    let Some(exit) = source.static_pad("src") else { return };
    let retracted = capture.h264().retractions();
    exit.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let old = info.buffer().is_some_and(|buffer| buffer.offset() != *retracted.borrow());
        if old { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    });
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::config::model::{Camera, Source};

    fn unit(number: u8) -> AccessUnit {
        AccessUnit {
            data: Bytes::from(vec![0, 0, 0, 1, 0x65, number]),
            pts: Duration::from_millis(u64::from(number)),
            keyframe: true,
            epoch: 1,
            captured_at: SystemTime::now(),
            captured: Instant::now(),
        }
    }

    #[test]
    fn pictures_that_wait_when_they_are_taken_back_do_not_leave() {
        gst::init().unwrap();
        let capture = Capture::detached(Camera::new("porch", Source::Test {}));
        let feed = Feed::new(Order::Decoded, &capture);
        let sink = gst_app::AppSink::builder().sync(false).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([feed.source.upcast_ref::<gst::Element>(), sink.upcast_ref()]).unwrap();
        feed.source.link(&sink).unwrap();
        // They wait in the appsrc until it plays.
        feed.push(&unit(1), Duration::ZERO, 0).unwrap();
        feed.push(&unit(2), Duration::ZERO, 0).unwrap();
        capture.h264().retract();
        feed.push(&unit(3), Duration::ZERO, 1).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).unwrap();
        let came = sample.buffer().unwrap().map_readable().unwrap()[5];
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(came, 3);
    }
}
