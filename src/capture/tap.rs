//! The tee: every picture of a source comes through here, on its streaming thread, and goes on to
//! whoever is fed by it: an outlet (passed through), decoders, or encoders of raw pictures.
//!
//! Nothing here waits. A picture's bytes are mapped once and shared from here on.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::choice::{Encoded, Lane, Native, Route};
use super::jpeg;
use super::shared::{Anchor, Format, Shared};
use super::skew::Placed;
use super::timeline::Timeline;
use crate::frames::AccessUnit;
use crate::h264;
use crate::supervision::Reports;

/// The receiving end of one run of a source.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    reports: Reports,
    epoch: u64,
    timeline: Timeline,
    caps: Option<gst::Caps>,
    format: Option<Format>,
}

impl Tap {
    /// `timeline` is for the kind of source that this is.
    pub fn new(shared: Arc<Shared>, reports: Reports, timeline: Timeline) -> Self {
        let epoch = shared.unique();
        Self { shared, reports, epoch, timeline, caps: None, format: None }
    }

    /// The file begins again, after this long.
    pub fn begin_again(&mut self) -> Duration {
        self.timeline.begin_again()
    }

    /// Takes the next picture out of the source's appsink.
    pub fn take(&mut self, sink: &gst_app::AppSink) -> Result<(), gst::FlowError> {
        let mut sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let arrival = sink.current_running_time().map_or(Duration::ZERO, Duration::from);
        let running = running_time(&sample);
        self.follow(&sample)?;
        let Some(buffer) = take_buffer(&mut sample) else { return Ok(()) };
        let Placed { pts, late } = self.timeline.place(running, arrival);
        let (wall, instant) = (SystemTime::now(), Instant::now());
        let captured = Anchor {
            epoch: self.epoch,
            pts,
            wall: wall.checked_sub(late).unwrap_or(wall),
            instant: instant.checked_sub(late).unwrap_or(instant),
        };
        self.shared.set_anchor(captured);
        self.give(buffer, pts, captured);
        Ok(())
    }

    /// Notices what the source gives, and when that changes.
    fn follow(&mut self, sample: &gst::Sample) -> Result<(), gst::FlowError> {
        let caps = sample.caps().ok_or(gst::FlowError::NotNegotiated)?;
        if self.caps.as_deref() == Some(caps) {
            return Ok(());
        }
        let mut format = Format::of_caps(caps, self.epoch).ok_or(gst::FlowError::NotNegotiated)?;
        format.b_frames = self.format.as_ref().is_some_and(|before| before.b_frames);
        self.caps = Some(caps.to_owned());
        self.format = Some(format.clone());
        self.shared.format.send_replace(Some(format));
        Ok(())
    }

    fn give(&mut self, buffer: gst::Buffer, pts: Duration, captured: Anchor) {
        let Some(native) = self.format.as_ref().map(|format| format.native) else { return };
        if native == Native::Raw {
            self.reports.frame();
            let mut buffer = buffer;
            // A new header over the same memory, unless nobody else has this one.
            let header = buffer.make_mut();
            header.set_pts(gst::ClockTime::try_from(pts).ok());
            header.set_dts(None);
            if let Some(caps) = &self.caps {
                self.shared.give_raw(&buffer, caps);
            }
            return;
        }
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let Some(data) = bytes_of(buffer) else { return };
        let Some(data) = self.checked(native, data) else { return };
        self.reports.frame();
        let unit = AccessUnit {
            data,
            pts,
            keyframe,
            epoch: self.epoch,
            captured_at: captured.wall,
            captured: captured.instant,
        };
        if let Some(format) = &self.format {
            // Held until the picture is out: a mask that is put on meanwhile waits for it, then clears it away.
            let current = self.shared.current();
            let changed = current.transforms.any();
            let route = |lane| format.route(lane, changed);
            for lane in [Lane::Jpeg, Lane::H264] {
                if route(lane) == Route::Passthrough {
                    self.shared.outlet(lane).push(unit.clone());
                    if lane == Lane::H264 && route(Lane::Realtime) == Route::Shared {
                        self.shared.realtime.push(unit.clone());
                    }
                }
            }
        }
        self.shared.native.push(unit);
    }

    /// The picture without what does not belong to it; `None` when it is not whole.
    fn checked(&mut self, native: Native, data: Bytes) -> Option<Bytes> {
        match native {
            Native::Encoded(Encoded::Jpeg) => jpeg::whole(&data).map(|range| data.slice(range)),
            Native::Encoded(Encoded::H264) => {
                self.look_for_b_frames(&data);
                Some(data)
            }
            _ => Some(data),
        }
    }

    /// Encoders may begin with B-frames at any time: every picture is looked into until one is found.
    fn look_for_b_frames(&mut self, data: &[u8]) {
        let Some(format) = self.format.as_mut().filter(|format| !format.b_frames) else { return };
        if h264::access_unit_has_b_slice(data) {
            format.b_frames = true;
            self.shared.format.send_replace(Some(format.clone()));
            // What was kept may have some in it.
            self.shared.realtime.end_stream(self.epoch);
        }
    }
}

impl Drop for Tap {
    /// The run is over: what it gave is no longer live.
    fn drop(&mut self) {
        self.shared.format.send_if_modified(|format| {
            let ours = format.as_ref().is_some_and(|format| format.epoch == self.epoch);
            if ours {
                *format = None;
            }
            ours
        });
        let shared = &self.shared;
        for outlet in [&shared.native, &shared.jpeg, &shared.h264, &shared.realtime] {
            outlet.end_stream(self.epoch);
        }
    }
}

/// The sample's buffer, without a second reference to it where possible.
fn take_buffer(sample: &mut gst::Sample) -> Option<gst::Buffer> {
    let buffer = sample.buffer_owned();
    if let Some(sample) = sample.get_mut() {
        sample.set_buffer(None);
    }
    buffer
}

/// When a sample is to be shown, on its pipeline's timeline. Its timestamp alone is not that: x264enc, for
/// one, begins at a thousand hours.
pub fn running_time(sample: &gst::Sample) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(sample.buffer()?.pts()?).map(Duration::from)
}

/// A buffer's bytes, mapped once; the mapping lives as long as anybody holds them.
pub fn bytes_of(buffer: gst::Buffer) -> Option<Bytes> {
    let mapped = buffer.into_mapped_buffer_readable().ok()?;
    Some(Bytes::from_owner(mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pictures_bytes_are_the_buffers_own_memory() {
        gst::init().unwrap();
        let buffer = gst::Buffer::from_slice(vec![7_u8; 4096]);
        let address = buffer.map_readable().unwrap().as_ptr();
        let bytes = bytes_of(buffer).unwrap();
        assert_eq!(bytes.as_ptr(), address, "the picture was copied");
        assert_eq!(bytes.slice(16..).as_ptr() as usize, address as usize + 16);
    }
}
