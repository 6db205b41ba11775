//! What a V4L2 camera offers, and which of it to take. The choice is pure; the offer is read from the
//! device by opening `v4l2src` just far enough to enumerate (blocking: call it off the runtime).

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;

use crate::config::model::{Outputs, Resolution, V4l2Format};

/// One format at one size.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Mode {
    pub kind: Kind,
    /// Pixel format of raw pictures (`YUY2`), else empty.
    pub pixels: String,
    pub size: Resolution,
    /// Highest rate, pictures per second; 0 when the device does not say.
    pub max_fps: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Raw,
    Mjpeg,
    H264,
}

impl Kind {
    pub const fn fragment(self) -> &'static str {
        match self {
            Kind::Raw => "sources/v4l2-raw",
            Kind::Mjpeg => "sources/v4l2-mjpeg",
            Kind::H264 => "sources/v4l2-h264",
        }
    }
}

/// The mode that spares the most work: of the asked format, of the nearest size, fast enough, and of the
/// kind that the camera's outputs need least work for. `None` when nothing is of the asked format.
pub fn choose<'m>(
    modes: &'m [Mode],
    asked: V4l2Format,
    size: Resolution,
    fps: u32,
    outputs: &Outputs,
) -> Option<&'m Mode> {
    let wanted_fps = if fps == 0 { 15.0 } else { f64::from(fps) };
    let kind_allowed = |mode: &&Mode| match asked {
        V4l2Format::Auto => true,
        V4l2Format::Raw => mode.kind == Kind::Raw,
        V4l2Format::Mjpeg => mode.kind == Kind::Mjpeg,
        V4l2Format::H264 => mode.kind == Kind::H264,
    };
    modes.iter().filter(kind_allowed).min_by(|a, b| {
        let too_slow = |mode: &Mode| mode.max_fps > 0.0 && mode.max_fps + 0.5 < wanted_fps;
        let key = |mode: &Mode| (distance(mode.size, size), too_slow(mode), work(mode.kind, outputs));
        key(a).cmp(&key(b))
    })
}

/// How far a size is from the asked one, in pixels that are missing or too many.
fn distance(have: Resolution, asked: Resolution) -> u32 {
    have.width.abs_diff(asked.width) * asked.height + have.height.abs_diff(asked.height) * asked.width
}

/// Relative cost of serving `outputs` from a kind: an H.264 encoder is dear, a JPEG one less so.
fn work(kind: Kind, outputs: &Outputs) -> u32 {
    let (jpeg, h264) = (outputs.mjpeg || outputs.snapshot, outputs.hls);
    match kind {
        Kind::H264 => u32::from(jpeg) * 3,
        Kind::Mjpeg => u32::from(h264) * 5,
        Kind::Raw => u32::from(jpeg) * 2 + u32::from(h264) * 4,
    }
}

/// Reads what `device` offers.
///
/// # Errors
/// In words: the device is missing, busy, or not for us.
pub fn modes(device: &Path) -> Result<Vec<Mode>, String> {
    let element = gst::ElementFactory::make("v4l2src")
        .property("device", device.to_string_lossy().as_ref())
        .build()
        .map_err(|_| "v4l2src is missing: apt install gstreamer1.0-plugins-good".to_owned())?;
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let ready = element.set_state(gst::State::Ready);
    let modes = match ready {
        Ok(_) => Ok(element.static_pad("src").map(|pad| of_caps(&pad.query_caps(None))).unwrap_or_default()),
        Err(_) => Err(match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string(),
            _ => format!("{} cannot be opened", device.display()),
        }),
    };
    // READY to NULL only closes the file.
    let _ = element.set_state(gst::State::Null);
    element.set_bus(None);
    modes
}

/// The modes in a device's caps. Ranges of sizes are taken at their ends.
pub fn of_caps(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut modes = Vec::new();
    for structure in caps.iter() {
        let kind = match structure.name().as_str() {
            "video/x-raw" => Kind::Raw,
            "image/jpeg" => Kind::Mjpeg,
            "video/x-h264" => Kind::H264,
            _ => continue,
        };
        let pixels = structure.get::<String>("format").unwrap_or_default();
        for width in sides(structure, "width") {
            for height in sides(structure, "height") {
                let size = Resolution { width, height };
                let mode = Mode { kind, pixels: pixels.clone(), size, max_fps: max_fps(structure) };
                if !modes.contains(&mode) {
                    modes.push(mode);
                }
            }
        }
    }
    modes
}

fn sides(structure: &gst::StructureRef, field: &str) -> Vec<u32> {
    let positive = |side: i32| u32::try_from(side).ok().filter(|side| *side > 0);
    if let Ok(side) = structure.get::<i32>(field) {
        return positive(side).into_iter().collect();
    }
    if let Ok(range) = structure.get::<gst::IntRange<i32>>(field) {
        return [range.min(), range.max()].into_iter().filter_map(positive).collect();
    }
    let list = structure.get::<gst::List>(field);
    list.map(|list| list.iter().filter_map(|v| positive(v.get::<i32>().ok()?)).collect()).unwrap_or_default()
}

fn max_fps(structure: &gst::StructureRef) -> f64 {
    let rate =
        |f: gst::Fraction| if f.denom() > 0 { f64::from(f.numer()) / f64::from(f.denom()) } else { 0.0 };
    if let Ok(fraction) = structure.get::<gst::Fraction>("framerate") {
        return rate(fraction);
    }
    if let Ok(range) = structure.get::<gst::FractionRange>("framerate") {
        return rate(range.max());
    }
    let list = structure.get::<gst::List>("framerate");
    let rates = list.iter().flat_map(|list| list.iter().filter_map(|v| v.get::<gst::Fraction>().ok()));
    rates.map(rate).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(kind: Kind, width: u32, height: u32, max_fps: f64) -> Mode {
        Mode { kind, pixels: String::new(), size: Resolution { width, height }, max_fps }
    }

    /// A usual USB camera: raw is fast only when small.
    fn webcam() -> Vec<Mode> {
        vec![
            mode(Kind::Raw, 640, 480, 30.0),
            mode(Kind::Raw, 1280, 720, 10.0),
            mode(Kind::Mjpeg, 640, 480, 30.0),
            mode(Kind::Mjpeg, 1280, 720, 30.0),
            mode(Kind::H264, 1280, 720, 30.0),
        ]
    }

    #[test]
    fn the_kind_that_spares_the_most_work_is_taken() {
        let (hd, vga) = (Resolution { width: 1280, height: 720 }, Resolution { width: 640, height: 480 });
        let pictures = Outputs { mjpeg: true, snapshot: true, hls: false };
        let video = Outputs { mjpeg: false, snapshot: false, hls: true };
        let all = Outputs::default();
        for (asked, size, outputs, expected) in [
            (V4l2Format::Auto, hd, &pictures, Kind::Mjpeg),
            (V4l2Format::Auto, hd, &video, Kind::H264),
            (V4l2Format::Auto, hd, &all, Kind::H264),
            (V4l2Format::Auto, vga, &all, Kind::Mjpeg),
            (V4l2Format::Auto, vga, &video, Kind::Raw),
            (V4l2Format::Raw, hd, &all, Kind::Raw),
            (V4l2Format::Mjpeg, hd, &video, Kind::Mjpeg),
        ] {
            let modes = webcam();
            let got = choose(&modes, asked, size, 30, outputs).unwrap();
            assert_eq!((got.kind, got.size), (expected, size), "{asked:?} {size} {outputs:?}");
        }
    }

    #[test]
    fn a_size_that_is_not_offered_becomes_the_nearest_one() {
        let modes = webcam();
        let size = Resolution { width: 1920, height: 1080 };
        let got = choose(&modes, V4l2Format::Auto, size, 0, &Outputs::default()).unwrap();
        assert_eq!(got.size, Resolution { width: 1280, height: 720 });
        assert_eq!(choose(&modes[..2], V4l2Format::H264, size, 0, &Outputs::default()), None);
    }

    #[test]
    fn caps_with_lists_and_ranges_are_read() {
        gst::init().unwrap();
        let caps = "video/x-raw,format=YUY2,width=640,height=480,framerate={(fraction)30/1,(fraction)15/1};\
                    image/jpeg,width=[320,1280],height=720,framerate=[1/1,60/1];audio/x-raw";
        let modes = of_caps(&caps.parse::<gst::Caps>().unwrap());
        assert_eq!(modes.len(), 3);
        assert_eq!((modes[0].pixels.as_str(), modes[0].max_fps), ("YUY2", 30.0));
        assert_eq!((modes[2].kind, modes[2].size.width, modes[2].max_fps), (Kind::Mjpeg, 1280, 60.0));
    }

    #[test]
    fn a_device_that_is_not_there_is_said_so() {
        gst::init().unwrap();
        let error = modes(Path::new("/dev/video_nonexistent")).unwrap_err();
        assert!(error.contains("video_nonexistent"), "{error}");
    }
}
