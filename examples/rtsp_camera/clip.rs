//! A clip in memory, and the thread that plays it over and over into an `appsrc` in real time. The
//! access units pass through as they are, B-frames included; timestamps go on over the loop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use crate::{Codec, Control};

/// Loading reads a local file; longer than this it hangs.
const LOAD: gst::ClockTime = gst::ClockTime::from_seconds(20);
/// How long the player sleeps at a time.
const NAP: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub struct Clip {
    caps: gst::Caps,
    units: Vec<Unit>,
    /// From one beginning to the next.
    length: Duration,
}

/// One access unit; times count from the clip's first decoding time.
#[derive(Debug)]
struct Unit {
    data: gst::Buffer,
    pts: Duration,
    dts: Duration,
}

impl Clip {
    pub fn load(path: &Path, codec: Codec) -> Result<Self> {
        let parser = match codec {
            Codec::H264 => "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
            Codec::H265 => "h265parse ! video/x-h265,stream-format=byte-stream,alignment=au",
            Codec::Mjpeg => "jpegparse",
        };
        let launch =
            format!("filesrc name=file ! qtdemux ! {parser} ! appsink name=out sync=false max-buffers=8");
        let pipeline = gst::parse::launch(&launch)?
            .downcast::<gst::Pipeline>()
            .ok()
            .context("the launch line is one pipeline")?;
        pipeline.by_name("file").context("no file element")?.set_property("location", path);
        let sink = pipeline.by_name("out").and_then(|out| out.downcast::<app::AppSink>().ok());
        let sink = sink.context("no appsink")?;
        pipeline.set_state(gst::State::Playing)?;
        let mut samples = Vec::new();
        while let Some(sample) = sink.try_pull_sample(LOAD) {
            samples.push(sample);
        }
        let complete = sink.is_eos();
        let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        pipeline.set_state(gst::State::Null)?;
        if let Some(gst::MessageView::Error(error)) = error.as_ref().map(|message| message.view()) {
            bail!("{}: {}", path.display(), error.error());
        }
        ensure!(complete, "{}: nothing to read after {LOAD}", path.display());
        Self::from_samples(&samples).with_context(|| path.display().to_string())
    }

    fn from_samples(samples: &[gst::Sample]) -> Result<Self> {
        let first = samples.first().context("no video in it")?;
        let caps = first.caps_owned().context("video without caps")?;
        // Decoding times begin before zero where there are B-frames: signed nanoseconds.
        let times = |sample: &gst::Sample| -> Option<(i128, i128)> {
            let (buffer, segment) = (sample.buffer()?, sample.segment()?);
            let segment = segment.downcast_ref::<gst::ClockTime>()?;
            let signed = |time: gst::ClockTime| {
                segment.to_running_time_full(time).map(|time| match time {
                    gst::Signed::Positive(time) => i128::from(time.nseconds()),
                    gst::Signed::Negative(time) => -i128::from(time.nseconds()),
                })
            };
            let dts = buffer.dts_or_pts().and_then(signed)?;
            let pts = buffer.pts().and_then(signed).unwrap_or(dts);
            Some((pts, dts))
        };
        let (_, zero) = times(first).context("video without timestamps")?;
        let after = |time: i128| Duration::from_nanos(u64::try_from(time - zero).unwrap_or(0));
        let units: Vec<Unit> = samples
            .iter()
            .filter_map(|sample| {
                let (pts, dts) = times(sample)?;
                Some(Unit { data: sample.buffer_owned()?, pts: after(pts), dts: after(dts) })
            })
            .collect();
        ensure!(units.len() >= 2, "a clip needs at least two pictures");
        let last = units.last().map_or(Duration::ZERO, |unit| unit.dts);
        let step = last / u32::try_from(units.len() - 1)?;
        Ok(Self { caps, units, length: last + step })
    }

    pub fn source(&self) -> String {
        "appsrc name=clip is-live=true format=time block=false max-time=2000000000 leaky-type=downstream"
            .into()
    }

    /// Plays into the media's appsrc until the media is gone.
    pub fn feed(self: &Arc<Self>, bin: &gst::Bin, control: &Arc<Control>) {
        let Some(source) = bin.by_name("clip").and_then(|src| src.downcast::<app::AppSrc>().ok()) else {
            return;
        };
        source.set_caps(Some(&self.caps));
        let (clip, control, weak) = (Arc::clone(self), Arc::clone(control), source.downgrade());
        std::thread::spawn(move || clip.play(&weak, &control));
    }

    fn play(&self, source: &gst::glib::WeakRef<app::AppSrc>, control: &Control) {
        let mut seen = control.fresh_start.load(Ordering::SeqCst);
        // The running time at which this pass through the clip began.
        let mut begin: Option<Duration> = None;
        let mut next = 0;
        // A weak reference: the thread ends with the media, not the other way round.
        while let Some(source) = source.upgrade() {
            // The media exists before its first viewer plays: its clock comes later.
            let Some(now) = running_time(&source) else {
                std::thread::sleep(NAP);
                continue;
            };
            let mut start = *begin.get_or_insert(now);
            let wanted = control.fresh_start.load(Ordering::SeqCst);
            if wanted != seen {
                // From the clip's first keyframe, now, and never back in time.
                let sent = self.units.get(next).map_or(now, |unit| start + unit.dts);
                start = now.max(sent);
                (seen, next, begin) = (wanted, 0, Some(start));
            } else if next == self.units.len() {
                start += self.length;
                (next, begin) = (0, Some(start));
            }
            let Some(unit) = self.units.get(next) else { return };
            let due = start + unit.dts;
            if due > now {
                // Short naps, so that a fresh start is prompt.
                std::thread::sleep((due - now).min(NAP));
                continue;
            }
            let mut data = unit.data.copy();
            if let Some(buffer) = data.get_mut() {
                buffer.set_pts(gst::ClockTime::try_from(start + unit.pts).ok());
                buffer.set_dts(gst::ClockTime::try_from(due).ok());
            }
            if source.push_buffer(data).is_err() {
                return;
            }
            next += 1;
        }
    }
}

/// `None` until it plays: on the way there the clock is known before the base time is, and a picture stamped
/// with the clock's own time, hours ahead, would be waited for by the sink for as long.
fn running_time(source: &app::AppSrc) -> Option<Duration> {
    if source.current_state() != gst::State::Playing {
        return None;
    }
    source.current_running_time().map(Duration::from)
}
