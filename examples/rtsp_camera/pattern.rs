//! The live pattern, the gate that freezes a camera, and the wall clock drawn as bars.
//!
//! Clock bars: the picture's width is cut in 32 blocks. The first row of blocks holds unix milliseconds
//! modulo 2^32 at the moment the picture is made, highest bit leftmost, white is 1. The second row holds
//! the same bits inverted, so that a reader knows a torn or blurred picture from a good one.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use video::prelude::*;

use crate::{Args, Codec, Control};

/// Bits of the clock, one block each.
const BITS: usize = 32;
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const NO_COLOUR: u8 = 128;

/// `WIDTHxHEIGHT@FPS`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    width: u32,
    height: u32,
    fps: u32,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (size, fps) = text.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            Some(Self { width: width.parse().ok()?, height: height.parse().ok()?, fps: fps.parse().ok()? })
        };
        parse()
            .filter(|shape: &Self| shape.width >= 64 && shape.height >= 64 && (1..=120).contains(&shape.fps))
            .ok_or_else(|| format!("{text:?}: write WIDTHxHEIGHT@FPS such as 1280x720@30, at least 64x64"))
    }
}

/// The pattern and its encoder in gst-launch syntax.
pub fn source(args: &Args) -> String {
    let Shape { width, height, fps } = args.test_pattern;
    let gop = ((args.gop * f64::from(fps)).round() as u32).max(1);
    // One thread: zero latency would otherwise cut each picture in slices, which ffmpeg's RTSP reader
    // takes for pictures of their own.
    let encoder = match (args.codec, args.bframes) {
        (Codec::H264, false) => {
            format!(
                "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={gop} bitrate=2000"
            )
        }
        (Codec::H264, true) => format!(
            "x264enc speed-preset=veryfast rc-lookahead=4 bframes=2 b-adapt=false key-int-max={gop} \
             bitrate=2000 ! video/x-h264,profile=high"
        ),
        (Codec::H265, _) => {
            format!("x265enc tune=zerolatency speed-preset=ultrafast key-int-max={gop} bitrate=2000")
        }
        (Codec::Mjpeg, _) => "jpegenc quality=85".to_owned(),
    };
    format!(
        "videotestsrc is-live=true pattern=ball ! \
         video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! \
         identity name=picture ! {encoder}"
    )
}

/// Holds everything back in front of the payloader while the camera is frozen, and afterwards until a
/// keyframe, as a real encoder does.
pub fn gate(payloader: &gst::Element, control: &Arc<Control>) {
    let Some(pad) = payloader.static_pad("sink") else { return };
    let (control, waits) = (Arc::clone(control), AtomicBool::new(false));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if control.frozen.load(Ordering::SeqCst) {
            waits.store(true, Ordering::SeqCst);
            return gst::PadProbeReturn::Drop;
        }
        let delta = info.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        if delta && waits.load(Ordering::SeqCst) {
            return gst::PadProbeReturn::Drop;
        }
        waits.store(false, Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
}

/// Gives every picture the time of the first one: its RTP timestamps do not advance.
pub fn freeze_timestamps(payloader: &gst::Element) {
    let Some(pad) = payloader.static_pad("sink") else { return };
    let first = std::sync::OnceLock::new();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            let time = *first.get_or_init(|| buffer.pts());
            let buffer = buffer.make_mut();
            buffer.set_pts(time);
            buffer.set_dts(time);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Draws the clock into every raw picture of the media.
pub fn draw_clock(bin: &gst::Bin) {
    let Some(pad) = bin.by_name("picture").and_then(|picture| picture.static_pad("src")) else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        let shape = pad.current_caps().and_then(|caps| video::VideoInfo::from_caps(&caps).ok());
        if let (Some(shape), Some(buffer)) = (shape, info.buffer_mut()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            // The low 32 bits are what fits into the blocks.
            draw(buffer.make_mut(), &shape, now as u32);
        }
        gst::PadProbeReturn::Ok
    });
}

fn draw(buffer: &mut gst::BufferRef, shape: &video::VideoInfo, clock: u32) {
    let Ok(mut frame) = video::VideoFrameRef::from_buffer_ref_writable(buffer, shape) else { return };
    let block = frame.width() as usize / (2 * BITS) * 2; // even, for the chroma
    let bit = |n: usize| (clock >> (BITS - 1 - n)) & 1 == 1;
    let stride = frame.plane_stride()[0] as usize;
    if let Ok(luma) = frame.plane_data_mut(0) {
        for (y, row) in luma.chunks_mut(stride).take(2 * block).enumerate() {
            let inverted = y >= block;
            for (n, pixels) in row.chunks_mut(block).take(BITS).enumerate() {
                pixels.fill(if bit(n) != inverted { WHITE } else { BLACK });
            }
        }
    }
    for plane in [1, 2] {
        let stride = frame.plane_stride()[plane as usize] as usize;
        if let Ok(chroma) = frame.plane_data_mut(plane) {
            for row in chroma.chunks_mut(stride).take(block) {
                row.fill(NO_COLOUR);
            }
        }
    }
}
