//! Which elements the configuration needs: what a missing one means.

use crate::config::Config;
use crate::config::model::{Camera, HttpMode, Source, Target};
use crate::config::transforms::Transforms;
use crate::pipelines::elements;

/// What an element is for, here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A configured camera cannot do without it.
    Needed,
    /// Only registers where its hardware is; something else does the work otherwise.
    Hardware,
    /// One of these is enough.
    OneOf(&'static [&'static str]),
    /// No configured camera needs it.
    Spare,
}

const H264_ENCODERS: &[&str] = &["v4l2h264enc", "vah264enc", "x264enc", "openh264enc"];
const H264_DECODERS: &[&str] = &["v4l2h264dec", "avdec_h264", "openh264dec"];

/// The role of `element` under this configuration. `pi`: the board is a Raspberry Pi, whose own cameras
/// only libcamera opens.
pub fn role(element: &str, config: &Config, pi: bool) -> Role {
    let any = |wanted: fn(&Camera) -> bool| config.cameras.iter().any(wanted);
    let published =
        |kinds: &[&str]| config.publish.iter().any(|output| kinds.contains(&output.target.kind()));
    let mediamtx = |by_srt: bool| {
        let by =
            |target: &Target| matches!(target, Target::Mediamtx(to) if to.url.starts_with("srt:") == by_srt);
        config.publish.iter().any(|output| by(&output.target))
    };
    let needed = |wanted: bool| if wanted { Role::Needed } else { Role::Spare };
    match element {
        _ if elements::needs_hardware(element) => Role::Hardware,
        "x264enc" | "openh264enc" => Role::OneOf(H264_ENCODERS),
        "avdec_h264" | "openh264dec" => Role::OneOf(H264_DECODERS),
        "videotestsrc" | "clockoverlay" | "timeoverlay" => {
            let test = any(|camera| matches!(camera.source, Source::Test {}));
            needed(test || element == "clockoverlay" && any(|camera| Transforms::of(camera).writes()))
        }
        "filesrc" | "parsebin" | "qtdemux" | "matroskademux" | "tsdemux" | "avidemux" | "flvdemux" => {
            needed(any(|camera| matches!(camera.source, Source::File(_))))
        }
        "libcamerasrc" => needed(
            any(|camera| matches!(camera.source, Source::Libcamera(_)))
                || pi && any(|camera| matches!(camera.source, Source::Auto {})),
        ),
        "v4l2src" => needed(any(|camera| matches!(camera.source, Source::V4l2(_) | Source::Auto {}))),
        "rtspsrc" | "rtph264depay" => needed(any(|camera| matches!(camera.source, Source::Rtsp(_)))),
        // Only for cameras that send these.
        "rtph265depay" | "rtpjpegdepay" | "h265parse" | "avdec_h265" => Role::Spare,
        "souphttpsrc" | "multipartdemux" => {
            needed(any(|camera| matches!(&camera.source, Source::Http(http) if http.mode == HttpMode::Mjpeg)))
        }
        "flvmux" | "rtmp2sink" => needed(published(&["rtmp"])),
        "h264timestamper" => needed(published(&["rtmp"]) || mediamtx(true)),
        "mpegtsmux" | "srtsink" => needed(mediamtx(true)),
        "rtspclientsink" => needed(mediamtx(false)),
        "webrtcbin" | "dtlsenc" | "srtpenc" | "sctpenc" | "nicesrc" | "nicesink" | "rtpbin"
        | "rtph264pay" => needed(published(&["livekit", "whip"])),
        "videoflip" => needed(any(|camera| Transforms::of(camera).turns())),
        "videorate" => needed(any(|camera| camera.fps > 0)),
        "h264parse" => needed(any(|camera| camera.outputs.h264())),
        "jpegenc" => needed(any(|camera| camera.outputs.mjpeg || camera.outputs.snapshot)),
        "jpegdec" => needed(any(|camera| {
            matches!(camera.source, Source::Http(_) | Source::BambuJpeg(_)) && camera.outputs.h264()
        })),
        _ => Role::Needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Outputs, V4l2, V4l2Format};

    #[test]
    fn what_an_element_is_for_follows_from_the_cameras() {
        let with = |source| Config { cameras: vec![Camera::new("a", source)], ..Config::default() };
        let usb = with(Source::V4l2(V4l2 { device: "/dev/video0".into(), format: V4l2Format::Auto }));
        let auto = with(Source::Auto {});
        let mut written = usb.clone();
        written.cameras[0].overlay = Some(Default::default());
        for (element, config, pi, expected) in [
            ("appsink", &usb, false, Role::Needed),
            ("v4l2src", &usb, false, Role::Needed),
            ("v4l2src", &auto, false, Role::Needed),
            ("rtspsrc", &usb, false, Role::Spare),
            ("libcamerasrc", &auto, false, Role::Spare),
            ("libcamerasrc", &auto, true, Role::Needed),
            ("v4l2h264enc", &usb, true, Role::Hardware),
            ("x264enc", &usb, false, Role::OneOf(H264_ENCODERS)),
            ("clockoverlay", &usb, false, Role::Spare),
            ("clockoverlay", &written, false, Role::Needed),
            ("avdec_h265", &usb, false, Role::Spare),
            ("jpegenc", &usb, false, Role::Needed),
        ] {
            assert_eq!(role(element, config, pi), expected, "{element}");
        }
        let mut quiet = usb;
        quiet.cameras[0].outputs =
            Outputs { mjpeg: false, snapshot: false, hls: true, whep: false, rtsp: false };
        assert_eq!(role("jpegenc", &quiet, false), Role::Spare);
    }
}
