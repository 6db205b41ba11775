//! What a V4L2 camera offers, and which of it to take. The choice is pure; the offer is read from the
//! device by opening `v4l2src` just far enough to enumerate (blocking: call it off the runtime).

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;

use crate::config::model::{Outputs, Resolution, V4l2Format};

/// One format at one size, or at one end of a range of sizes.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Mode {
    pub kind: Kind,
    /// Pixel format of raw pictures (`YUY2`), else empty.
    pub pixels: String,
    pub size: Resolution,
    /// Highest rate, pictures per second; 0 when the device does not say.
    pub max_fps: f64,
    #[serde(skip)]
    pub offer: Offer,
}

/// What a mode leaves open. By default one size, and nothing said about rates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// The width and the height, where one of them is a range.
    pub sides: Option<(Side, Side)>,
    pub rates: Rates,
}

/// A width or a height: from `min` by `step` up to `max`, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    pub min: u32,
    pub max: u32,
    pub step: u32,
}

/// The rates that a device offers in one mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rates {
    #[default]
    Unsaid,
    List(Vec<Rate>),
    Range(Rate, Rate),
}

/// Pictures per second as a fraction: 30000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub numer: u32,
    pub denom: u32,
}

/// What to ask a device for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub kind: Kind,
    pub size: Resolution,
    /// `None` leaves it to the device.
    pub rate: Option<Rate>,
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

/// What spares the most work: of the asked format, of the nearest size, fast enough, and of the kind that
/// the camera's outputs need least work for. `None` when nothing is of the asked format. `fps` 0 leaves
/// the rate to the device; `turns` says that pictures are turned or mirrored.
pub fn choose(
    modes: &[Mode],
    asked: V4l2Format,
    size: Resolution,
    fps: u32,
    outputs: &Outputs,
    turns: bool,
) -> Option<Chosen> {
    let wanted_fps = if fps == 0 { 15.0 } else { f64::from(fps) };
    let kind_allowed = |mode: &&Mode| match asked {
        V4l2Format::Auto => true,
        V4l2Format::Raw => mode.kind == Kind::Raw,
        V4l2Format::Mjpeg => mode.kind == Kind::Mjpeg,
        V4l2Format::H264 => mode.kind == Kind::H264,
    };
    let best = modes.iter().filter(kind_allowed).min_by_key(|mode| {
        let too_slow = mode.max_fps > 0.0 && mode.max_fps + 0.5 < wanted_fps;
        (distance(mode.nearest(size), size), too_slow, work(mode.kind, outputs, turns))
    })?;
    Some(Chosen { kind: best.kind, size: best.nearest(size), rate: best.offer.rates.nearest(fps) })
}

impl Mode {
    /// The size nearest to `asked` that this mode has.
    fn nearest(&self, asked: Resolution) -> Resolution {
        match self.offer.sides {
            Some((width, height)) => {
                Resolution { width: width.nearest(asked.width), height: height.nearest(asked.height) }
            }
            None => self.size,
        }
    }
}

impl Side {
    const fn fixed(side: u32) -> Self {
        Self { min: side, max: side, step: 1 }
    }

    fn nearest(self, asked: u32) -> u32 {
        let (step, asked) = (self.step.max(1), asked.clamp(self.min, self.max));
        let steps = (asked - self.min) / step;
        let below = self.min + steps * step;
        match below.checked_add(step) {
            Some(above) if above <= self.max && above - asked < asked - below => above,
            _ => below,
        }
    }
}

impl Rates {
    /// The rate to ask for: exactly `fps`, or else the slowest that is fast enough, or else the fastest.
    /// Only what is offered; `None` when there is nothing to ask for.
    fn nearest(&self, fps: u32) -> Option<Rate> {
        let asked = Rate { numer: fps, denom: 1 };
        if fps == 0 {
            return None;
        }
        match self {
            Rates::Unsaid => None,
            Rates::Range(min, _) if asked.per_second() < min.per_second() => Some(*min),
            Rates::Range(_, max) if asked.per_second() > max.per_second() => Some(*max),
            Rates::Range(..) => Some(asked),
            Rates::List(rates) => {
                let by_speed = |a: &&Rate, b: &&Rate| a.per_second().total_cmp(&b.per_second());
                let fast_enough = rates.iter().filter(|rate| rate.reaches(fps));
                let exact = rates.iter().find(|rate| rate.is(fps));
                exact.or(fast_enough.min_by(by_speed)).or(rates.iter().max_by(by_speed)).copied()
            }
        }
    }

    pub(super) fn max_fps(&self) -> f64 {
        match self {
            Rates::Unsaid => 0.0,
            Rates::List(rates) => rates.iter().map(|rate| rate.per_second()).fold(0.0, f64::max),
            Rates::Range(_, max) => max.per_second(),
        }
    }
}

impl Rate {
    fn of(fraction: gst::Fraction) -> Option<Self> {
        let numer = u32::try_from(fraction.numer()).ok()?;
        let denom = u32::try_from(fraction.denom()).ok()?;
        (denom > 0).then_some(Self { numer, denom })
    }

    fn per_second(self) -> f64 {
        f64::from(self.numer) / f64::from(self.denom)
    }

    /// Whether it is `fps` exactly.
    pub fn is(self, fps: u32) -> bool {
        u64::from(self.numer) == u64::from(fps) * u64::from(self.denom)
    }

    /// Whether it is at least `fps`. The rates of NTSC, 30000/1001 for 30, count as what they are called.
    fn reaches(self, fps: u32) -> bool {
        u64::from(self.numer) * 1001 >= u64::from(fps) * u64::from(self.denom) * 1000
    }
}

/// How far a size is from the asked one, in pixels that are missing or too many.
fn distance(have: Resolution, asked: Resolution) -> u64 {
    let off =
        |have: u32, asked: u32, other: u32| u64::from(have.abs_diff(asked)).saturating_mul(other.into());
    off(have.width, asked.width, asked.height).saturating_add(off(have.height, asked.height, asked.width))
}

/// Relative cost of serving `outputs` from a kind: an H.264 encoder is dear, a JPEG one less so. Pictures
/// that are turned are encoded anew whatever they come as: what is left is decoding them.
fn work(kind: Kind, outputs: &Outputs, turns: bool) -> u32 {
    let (jpeg, h264) = (outputs.mjpeg || outputs.snapshot, outputs.h264());
    match kind {
        Kind::Raw if turns => 0,
        Kind::Mjpeg if turns => 1,
        Kind::H264 if turns => 2,
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

/// The modes in a device's caps. A range of sizes is listed as its two ends, each knowing the range.
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
        let rates = rates(structure);
        for width in sides(structure, "width") {
            for height in sides(structure, "height") {
                let fixed = width.min == width.max && height.min == height.max;
                let offer = Offer { sides: (!fixed).then_some((width, height)), rates: rates.clone() };
                for (width, height) in [(width.min, height.min), (width.max, height.max)] {
                    let (size, max_fps) = (Resolution { width, height }, rates.max_fps());
                    let mode = Mode { kind, pixels: pixels.clone(), size, max_fps, offer: offer.clone() };
                    if !modes.contains(&mode) {
                        modes.push(mode);
                    }
                }
            }
        }
    }
    modes
}

fn sides(structure: &gst::StructureRef, field: &str) -> Vec<Side> {
    let positive = |side: i32| u32::try_from(side).ok().filter(|side| *side > 0);
    if let Ok(side) = structure.get::<i32>(field) {
        return positive(side).map(Side::fixed).into_iter().collect();
    }
    if let Ok(range) = structure.get::<gst::IntRange<i32>>(field) {
        let step = positive(range.step()).unwrap_or(1);
        // Some drivers begin at nothing.
        let min = positive(range.min()).unwrap_or(step);
        return positive(range.max())
            .filter(|max| *max >= min)
            .map(|max| Side { min, max: max - (max - min) % step, step })
            .into_iter()
            .collect();
    }
    let list = structure.get::<gst::List>(field);
    let listed = list.iter().flat_map(|list| list.iter().filter_map(|v| positive(v.get::<i32>().ok()?)));
    listed.map(Side::fixed).collect()
}

fn rates(structure: &gst::StructureRef) -> Rates {
    const FIELD: &str = "framerate";
    if let Ok(fraction) = structure.get::<gst::Fraction>(FIELD) {
        return Rate::of(fraction)
            .filter(|rate| rate.numer > 0)
            .map_or(Rates::Unsaid, |rate| Rates::List(vec![rate]));
    }
    if let Ok(range) = structure.get::<gst::FractionRange>(FIELD) {
        let ends = Rate::of(range.min()).zip(Rate::of(range.max()));
        return ends.map_or(Rates::Unsaid, |(min, max)| Rates::Range(min, max));
    }
    let list = structure.get::<gst::List>(FIELD);
    let listed = list.iter().flat_map(|list| list.iter().filter_map(|v| v.get::<gst::Fraction>().ok()));
    let rates: Vec<Rate> = listed.filter_map(Rate::of).filter(|rate| rate.numer > 0).collect();
    if rates.is_empty() { Rates::Unsaid } else { Rates::List(rates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(kind: Kind, width: u32, height: u32, max_fps: f64) -> Mode {
        Mode {
            kind,
            pixels: String::new(),
            size: Resolution { width, height },
            max_fps,
            offer: Offer::default(),
        }
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
        let pictures = Outputs { mjpeg: true, snapshot: true, hls: false, whep: false, rtsp: false };
        let video = Outputs { mjpeg: false, snapshot: false, hls: true, whep: false, rtsp: false };
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
            let got = choose(&modes, asked, size, 30, outputs, false).unwrap();
            assert_eq!((got.kind, got.size), (expected, size), "{asked:?} {size} {outputs:?}");
        }
    }

    #[test]
    fn a_size_that_is_not_offered_becomes_the_nearest_one() {
        let modes = webcam();
        let size = Resolution { width: 1920, height: 1080 };
        let got = choose(&modes, V4l2Format::Auto, size, 0, &Outputs::default(), false).unwrap();
        assert_eq!(got.size, Resolution { width: 1280, height: 720 });
        assert_eq!(choose(&modes[..2], V4l2Format::H264, size, 0, &Outputs::default(), false), None);
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
    fn turned_pictures_are_best_taken_raw_then_as_jpegs() {
        let vga = Resolution { width: 640, height: 480 };
        let three = [Kind::H264, Kind::Mjpeg, Kind::Raw].map(|kind| mode(kind, vga.width, vga.height, 30.0));
        let all = Outputs::default();
        for (modes, turns, expected) in [
            (&three[..], true, Kind::Raw),
            (&three[..2], true, Kind::Mjpeg),
            (&three[..1], true, Kind::H264),
            (&three[..], false, Kind::H264),
        ] {
            let got = choose(modes, V4l2Format::Auto, vga, 30, &all, turns).unwrap();
            assert_eq!(got.kind, expected, "{} modes, turns {turns}", modes.len());
        }
    }

    #[test]
    fn a_size_within_a_range_is_taken_as_asked_and_one_between_steps_becomes_the_nearest() {
        gst::init().unwrap();
        let by_one = "video/x-raw,format=YUY2,width=[32,2592],height=[32,1944],framerate=30/1";
        let by_16 = "video/x-raw,format=YUY2,width=[32,2592,16],height=[32,1944,8],framerate=30/1";
        let one_side = "video/x-raw,format=YUY2,width=[32,2592],height=480,framerate=30/1";
        for (caps, asked, expected) in [
            (by_one, (640, 480), (640, 480)),
            (by_one, (641, 479), (641, 479)),
            (by_one, (16, 16), (32, 32)),
            (by_one, (3840, 2160), (2592, 1944)),
            (by_16, (640, 480), (640, 480)),
            (by_16, (650, 485), (656, 488)),
            (by_16, (647, 483), (640, 480)),
            (by_16, (2591, 1943), (2592, 1944)),
            (one_side, (800, 600), (800, 480)),
        ] {
            let modes = of_caps(&caps.parse::<gst::Caps>().unwrap());
            assert_eq!(modes.len(), 2, "only the ends are listed: {modes:?}");
            let size = Resolution { width: asked.0, height: asked.1 };
            let got = choose(&modes, V4l2Format::Auto, size, 30, &Outputs::default(), false).unwrap();
            assert_eq!((got.size.width, got.size.height), expected, "{caps}: {asked:?}");
        }
    }

    #[test]
    fn the_nearest_of_huge_sizes_is_still_the_nearest() {
        // 65536 * 65536 does not fit 32 bits.
        let modes = [mode(Kind::Raw, 131_072, 65_536, 30.0), mode(Kind::Raw, 65_536, 65_000, 30.0)];
        let size = Resolution { width: 65_536, height: 65_536 };
        let got = choose(&modes, V4l2Format::Auto, size, 30, &Outputs::default(), false).unwrap();
        assert_eq!(got.size.height, 65_000);
    }

    #[test]
    fn only_a_rate_that_the_device_offers_is_asked_for() {
        gst::init().unwrap();
        let listed = "framerate={(fraction)30/1,(fraction)15/1,(fraction)10/1,(fraction)15/2}";
        let ntsc = "framerate={(fraction)60000/1001,(fraction)30000/1001}";
        let both = "framerate={(fraction)30000/1001,(fraction)30/1}";
        for (offered, fps, expected) in [
            (listed, 0, None),
            (listed, 30, Some((30, 1))),
            (listed, 10, Some((10, 1))),
            (listed, 25, Some((30, 1))),
            (listed, 12, Some((15, 1))),
            (listed, 7, Some((15, 2))),
            (listed, 60, Some((30, 1))),
            (ntsc, 30, Some((30000, 1001))),
            (ntsc, 31, Some((60000, 1001))),
            (both, 30, Some((30, 1))),
            ("framerate=25/1", 5, Some((25, 1))),
            ("framerate=0/1", 5, None),
            ("format=YUY2", 5, None),
            ("framerate=[5/1,60/1]", 25, Some((25, 1))),
            ("framerate=[5/1,60/1]", 100, Some((60, 1))),
            ("framerate=[5/1,60/1]", 1, Some((5, 1))),
        ] {
            let caps = format!("video/x-raw,width=640,height=480,{offered}");
            let modes = of_caps(&caps.parse::<gst::Caps>().unwrap());
            let size = Resolution { width: 640, height: 480 };
            let got = choose(&modes, V4l2Format::Auto, size, fps, &Outputs::default(), false).unwrap();
            let rate = got.rate.map(|rate| (rate.numer, rate.denom));
            assert_eq!(rate, expected, "{offered}, asked {fps}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_said_so() {
        gst::init().unwrap();
        let error = modes(Path::new("/dev/video_nonexistent")).unwrap_err();
        assert!(error.contains("video_nonexistent"), "{error}");
    }
}
