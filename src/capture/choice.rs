//! Which encoder and decoder elements do the work: pure functions over what is registered on this
//! machine and what is asked.

use crate::config::model::{H264Encoder, Resolution};
use crate::frames::Codec;
use crate::pipelines::elements::Missing;

/// An element and the fragment that wraps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub element: &'static str,
    pub fragment: &'static str,
}

const H264_ENCODERS: [(H264Encoder, Choice); 4] = [
    (H264Encoder::V4l2h264enc, Choice { element: "v4l2h264enc", fragment: "encoders/h264-v4l2" }),
    (H264Encoder::Vah264enc, Choice { element: "vah264enc", fragment: "encoders/h264-va" }),
    (H264Encoder::X264enc, Choice { element: "x264enc", fragment: "encoders/h264-x264" }),
    (H264Encoder::Openh264enc, Choice { element: "openh264enc", fragment: "encoders/h264-openh264" }),
];

/// Widest and tallest picture that the Raspberry Pi's V4L2 encoder takes.
const V4L2_MAX: u32 = 1920;

/// The H.264 encoder: the one asked for, or the first registered of hardware before software.
///
/// # Errors
/// The element that is missing: the one asked for, or `x264enc`, which every Debian has.
pub fn h264_encoder(
    registered: impl Fn(&str) -> bool,
    asked: H264Encoder,
    size: Resolution,
) -> Result<Choice, Missing> {
    let fits = |encoder| encoder != H264Encoder::V4l2h264enc || size.width.max(size.height) <= V4L2_MAX;
    let found = H264_ENCODERS.iter().find(|(encoder, choice)| match asked {
        H264Encoder::Auto => fits(*encoder) && registered(choice.element),
        asked => *encoder == asked && registered(choice.element),
    });
    let missing = || {
        let wanted = H264_ENCODERS.iter().find(|(encoder, _)| *encoder == asked);
        Missing { element: wanted.map_or("x264enc", |(_, choice)| choice.element).to_owned() }
    };
    found.map(|(_, choice)| *choice).ok_or_else(missing)
}

/// The JPEG encoder.
///
/// # Errors
/// `jpegenc` is missing.
pub fn jpeg_encoder(registered: impl Fn(&str) -> bool) -> Result<Choice, Missing> {
    first(
        registered,
        "jpegenc",
        &[
            Choice { element: "v4l2jpegenc", fragment: "encoders/jpeg-v4l2" },
            Choice { element: "jpegenc", fragment: "encoders/jpeg-jpegenc" },
        ],
    )
}

/// What a decoder has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    H264,
    H265,
    Jpeg,
}

/// The decoder.
///
/// # Errors
/// The software decoder is missing.
pub fn decoder(registered: impl Fn(&str) -> bool, from: Encoded) -> Result<Choice, Missing> {
    match from {
        Encoded::H264 => first(
            registered,
            "avdec_h264",
            &[
                Choice { element: "v4l2h264dec", fragment: "decoders/h264-v4l2" },
                Choice { element: "avdec_h264", fragment: "decoders/h264-avdec" },
                // Baseline only: the last resort.
                Choice { element: "openh264dec", fragment: "decoders/h264-openh264" },
            ],
        ),
        Encoded::H265 => {
            let choice = Choice { element: "avdec_h265", fragment: "decoders/h265-avdec" };
            first(registered, choice.element, &[choice])
        }
        Encoded::Jpeg => {
            let choice = Choice { element: "jpegdec", fragment: "decoders/jpeg" };
            first(registered, choice.element, &[choice])
        }
    }
}

/// The first candidate that the machine has; without any, `install` is what is missing.
fn first(registered: impl Fn(&str) -> bool, install: &str, candidates: &[Choice]) -> Result<Choice, Missing> {
    let found = candidates.iter().find(|choice| registered(choice.element)).copied();
    found.ok_or_else(|| Missing { element: install.to_owned() })
}

/// Bits per second that suit a picture's size and rate: 0.07 bit a pixel, 0.3 to 12 Mbit/s, in kbit/s.
pub fn bitrate_kbps(size: Resolution, fps: f64) -> u32 {
    let pixels = f64::from(size.width) * f64::from(size.height);
    let rate = if fps > 0.0 { fps } else { 30.0 };
    (pixels * rate * 0.07 / 1000.0).clamp(300.0, 12_000.0).round() as u32
}

/// The lowest H.264 level whose limits hold size and rate (H.264, table A-1: macroblocks a frame and a
/// second). Hardware encoders take it from the caps and refuse when it is too low.
pub fn h264_level(size: Resolution, fps: f64) -> &'static str {
    const LEVELS: [(&str, u32, u32); 8] = [
        ("3", 1_620, 40_500),
        ("3.1", 3_600, 108_000),
        ("3.2", 5_120, 216_000),
        ("4", 8_192, 245_760),
        ("4.2", 8_704, 522_240),
        ("5", 22_080, 589_824),
        ("5.1", 36_864, 983_040),
        ("5.2", 36_864, 2_073_600),
    ];
    let frame = size.width.div_ceil(16) * size.height.div_ceil(16);
    let second = (f64::from(frame) * fps.max(1.0)).ceil() as u32;
    LEVELS.iter().find(|(_, mbs, rate)| frame <= *mbs && second <= *rate).map_or("5.2", |(level, ..)| level)
}

/// Pictures between two IDR pictures.
pub fn gop_frames(gop_seconds: f64, fps: f64) -> u32 {
    let fps = if fps > 0.0 { fps } else { 30.0 };
    ((gop_seconds * fps).round() as u32).max(1)
}

/// A camera's outlets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Jpeg,
    /// H.264 as it comes: HLS, recordings, RTMP.
    H264,
    /// H.264 without B-frames: WebRTC has no decoding times to put them in order by.
    Realtime,
}

impl Lane {
    pub const fn codec(self) -> Codec {
        match self {
            Lane::Jpeg => Codec::Jpeg,
            Lane::H264 | Lane::Realtime => Codec::H264,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Lane::Jpeg => "jpeg",
            Lane::H264 => "h264",
            Lane::Realtime => "realtime",
        }
    }
}

/// What feeds an outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The same pictures as the H.264 outlet's.
    Shared,
    /// The source's own pictures, untouched.
    Passthrough,
    /// Raw pictures through an encoder.
    Encode,
    /// The source's pictures decoded first.
    Transcode(Encoded),
}

/// What the source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    Raw,
    Encoded(Encoded),
}

/// How a source's pictures get into an outlet. Turning pictures needs them decoded; so do B-frames for
/// those who cannot take them. Our own encoders make none.
pub fn route(native: Native, b_frames: bool, lane: Lane, turns: bool) -> Route {
    match (native, lane) {
        (Native::Encoded(Encoded::H264), Lane::Realtime) if b_frames && !turns => {
            Route::Transcode(Encoded::H264)
        }
        (_, Lane::Realtime) => Route::Shared,
        (Native::Raw, _) => Route::Encode,
        (Native::Encoded(Encoded::H264), Lane::H264) | (Native::Encoded(Encoded::Jpeg), Lane::Jpeg)
            if !turns =>
        {
            Route::Passthrough
        }
        (Native::Encoded(from), _) => Route::Transcode(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Resolution = Resolution { width: 1280, height: 720 };
    const UHD: Resolution = Resolution { width: 3840, height: 2160 };

    #[test]
    fn hardware_comes_before_software_and_the_asked_one_before_all() {
        use H264Encoder::*;
        type Row = (&'static [&'static str], H264Encoder, Resolution, Result<&'static str, &'static str>);
        let table: [Row; 9] = [
            (&["v4l2h264enc", "x264enc"], Auto, HD, Ok("v4l2h264enc")),
            (&["v4l2h264enc", "x264enc"], X264enc, HD, Ok("x264enc")),
            (&["v4l2h264enc", "x264enc"], Auto, UHD, Ok("x264enc")),
            (&["vah264enc", "x264enc"], Auto, HD, Ok("vah264enc")),
            (&["x264enc", "openh264enc"], Auto, HD, Ok("x264enc")),
            (&["openh264enc"], Auto, HD, Ok("openh264enc")),
            (&[], Auto, HD, Err("x264enc")),
            (&["x264enc"], Vah264enc, HD, Err("vah264enc")),
            (&["x264enc"], Openh264enc, HD, Err("openh264enc")),
        ];
        for (registered, asked, size, expected) in table {
            let got = h264_encoder(|name| registered.contains(&name), asked, size);
            let got = got.as_ref().map(|choice| choice.element).map_err(|missing| missing.element.as_str());
            assert_eq!(got, expected, "registered {registered:?}, asked {asked:?}");
        }
    }

    #[test]
    fn openh264_decodes_only_where_nothing_else_does() {
        let pick = |have: &[&str]| decoder(|name| have.contains(&name), Encoded::H264).map(|c| c.element);
        assert_eq!(pick(&["openh264dec", "avdec_h264"]), Ok("avdec_h264"));
        assert_eq!(pick(&["openh264dec", "v4l2h264dec", "avdec_h264"]), Ok("v4l2h264dec"));
        assert_eq!(pick(&["openh264dec"]), Ok("openh264dec"));
        assert_eq!(pick(&[]), Err(Missing { element: "avdec_h264".into() }));
    }

    #[test]
    fn the_level_holds_size_and_rate() {
        for (width, height, fps, level) in [
            (640, 480, 30.0, "3"),
            (1280, 720, 30.0, "3.1"),
            (1280, 720, 60.0, "3.2"),
            (1920, 1080, 30.0, "4"),
            (1920, 1080, 60.0, "4.2"),
            (3840, 2160, 30.0, "5.1"),
        ] {
            assert_eq!(h264_level(Resolution { width, height }, fps), level, "{width}x{height}@{fps}");
        }
    }

    #[test]
    fn encoded_pictures_pass_through_where_the_outlet_takes_them() {
        let h264 = Native::Encoded(Encoded::H264);
        let jpeg = Native::Encoded(Encoded::Jpeg);
        let h265 = Native::Encoded(Encoded::H265);
        for (native, lane, turns, expected) in [
            (Native::Raw, Lane::Jpeg, false, Route::Encode),
            (Native::Raw, Lane::H264, true, Route::Encode),
            (h264, Lane::H264, false, Route::Passthrough),
            (h264, Lane::H264, true, Route::Transcode(Encoded::H264)),
            (h264, Lane::Jpeg, false, Route::Transcode(Encoded::H264)),
            (jpeg, Lane::Jpeg, false, Route::Passthrough),
            (jpeg, Lane::H264, false, Route::Transcode(Encoded::Jpeg)),
            (h265, Lane::H264, false, Route::Transcode(Encoded::H265)),
        ] {
            for b_frames in [false, true] {
                let got = route(native, b_frames, lane, turns);
                assert_eq!(got, expected, "{native:?} to {lane:?}, turned: {turns}");
            }
        }
    }

    #[test]
    fn only_passed_through_b_frames_are_encoded_again_for_those_who_cannot_take_them() {
        let of = |native, b_frames, turns| route(native, b_frames, Lane::Realtime, turns);
        let h264 = Native::Encoded(Encoded::H264);
        assert_eq!(of(h264, true, false), Route::Transcode(Encoded::H264));
        assert_eq!(of(h264, false, false), Route::Shared);
        assert_eq!(of(h264, true, true), Route::Shared, "turned: encoded here already, without B-frames");
        for native in [Native::Raw, Native::Encoded(Encoded::H265), Native::Encoded(Encoded::Jpeg)] {
            assert_eq!(of(native, false, false), Route::Shared, "{native:?}");
        }
    }

    #[test]
    fn bitrate_and_gop_follow_size_and_rate() {
        assert_eq!(bitrate_kbps(HD, 30.0), 1935);
        assert_eq!(bitrate_kbps(HD, 0.0), 1935, "an unknown rate counts as 30");
        assert_eq!(bitrate_kbps(Resolution { width: 320, height: 240 }, 5.0), 300);
        assert_eq!(gop_frames(2.0, 30.0), 60);
        assert_eq!(gop_frames(2.0, 0.0), 60);
        assert_eq!(gop_frames(0.2, 1.0), 1);
    }
}
