//! Which elements this machine has, and the Debian package of those that it lacks.

use gio::prelude::TlsBackendExt;
use gstreamer as gst;
use thiserror::Error;

/// An element that a pipeline needs and the machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("GStreamer element {element} is missing: {}", mend(.element))]
pub struct Missing {
    pub element: String,
}

/// Starts GStreamer, which may be done any number of times, and gives its version. Reads all plugins after
/// an installation: blocking.
///
/// # Errors
/// In words.
pub fn start() -> Result<(u32, u32, u32), String> {
    gst::init().map_err(|error| error.message().to_owned())?;
    super::mask::register().map_err(|error| error.message.to_string())?;
    let (major, minor, micro, _) = gst::version();
    Ok((major, minor, micro))
}

/// Whether this machine can open `rtsps://` and `https://` cameras: GIO has a TLS backend.
pub fn tls() -> bool {
    gio::TlsBackend::default().supports_tls()
}

/// Whether GStreamer has a factory of that name. Hardware encoders register only where their device is.
pub fn registered(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}

/// The first of `factories` that the machine lacks.
pub fn check<'n>(factories: impl IntoIterator<Item = &'n str>) -> Result<(), Missing> {
    match factories.into_iter().find(|name| !registered(name)) {
        Some(name) => Err(Missing { element: name.to_owned() }),
        None => Ok(()),
    }
}

/// What to do about a missing element.
pub fn mend(element: &str) -> String {
    match package(element) {
        Some(package) if needs_hardware(element) => {
            format!("it registers only where its hardware is (package {package})")
        }
        Some(package) => format!("apt install {package}"),
        None => "no known Debian package has it; see the fragment that names it".to_owned(),
    }
}

/// Elements that the package alone does not bring: the device has to be there.
pub fn needs_hardware(element: &str) -> bool {
    matches!(element, "v4l2h264enc" | "v4l2h264dec" | "v4l2jpegenc" | "vah264enc")
}

/// The Debian 12/13 package that has `element`.
pub fn package(element: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(_, elements)| elements.contains(&element)).map(|(package, _)| *package)
}

/// Elements that this program brings itself.
pub const LINKED: [&str; 3] = ["livekitwebrtcsink", "whipclientsink", super::mask::ELEMENT];

/// Every element that the embedded fragments and the capture room use, by package.
pub const PACKAGES: [(&str, &[&str]); 11] = [
    ("libgstreamer1.0-0", &["filesrc", "identity", "queue", "tee", "fakesink", "capsfilter"]),
    (
        "gstreamer1.0-plugins-base",
        &["appsrc", "appsink", "videotestsrc", "videoconvert", "videorate", "videoscale", "parsebin"],
    ),
    (
        "gstreamer1.0-plugins-good",
        &[
            "v4l2src",
            "v4l2h264enc",
            "v4l2h264dec",
            "v4l2jpegenc",
            "rtspsrc",
            "rtph264depay",
            "rtph265depay",
            "rtpjpegdepay",
            "souphttpsrc",
            "multipartdemux",
            "capssetter",
            "qtdemux",
            "matroskademux",
            "avidemux",
            "flvdemux",
            "jpegenc",
            "jpegdec",
            "videoflip",
            "flvmux",
            "rtpbin",
            "rtph264pay",
        ],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &[
            "h264parse",
            "h265parse",
            "openh264enc",
            "openh264dec",
            "vah264enc",
            "h264timestamper",
            "tsdemux",
            "rtmp2sink",
            "mpegtsmux",
            "srtsink",
            "webrtcbin",
            "dtlsenc",
            "srtpenc",
            "sctpenc",
        ],
    ),
    ("gstreamer1.0-rtsp", &["rtspclientsink"]),
    ("gstreamer1.0-nice", &["nicesrc", "nicesink"]),
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("gstreamer1.0-libav", &["avdec_h264", "avdec_h265"]),
    ("gstreamer1.0-libcamera", &["libcamerasrc"]),
    ("gstreamer1.0-x", &["clockoverlay", "timeoverlay"]),
    ("gstreamer1.0-tools", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipelines::fragment::Value;
    use crate::pipelines::library::Library;

    #[test]
    fn every_element_of_the_embedded_fragments_has_a_package() {
        let parameters = [
            ("width", Value::Int(1)),
            ("height", Value::Int(1)),
            ("fps", Value::Int(1)),
            ("latency", Value::Int(1)),
            ("quality", Value::Int(1)),
            ("gop", Value::Int(1)),
            ("bitrate_kbps", Value::Int(1)),
            ("bitrate_bps", Value::Int(1)),
            ("level", Value::Level("4".into())),
            ("direction", Value::Word("180".into())),
            ("rectangles", Value::Text("0,0,1,1".into())),
            ("line", Value::Text("x".into())),
            ("font", Value::Text("Sans 14".into())),
            ("horizontal", Value::Word("left".into())),
            ("vertical", Value::Word("top".into())),
            ("silent", Value::Word("true".into())),
            ("protocols", Value::Flags("tcp".into())),
            ("tls", Value::Flags("0".into())),
            ("url", Value::Text("x".into())),
            ("path", Value::Text("x".into())),
            ("device", Value::Text("x".into())),
            ("host", Value::Text("x".into())),
            ("port", Value::Int(1)),
            ("scheme", Value::Word("rtmp".into())),
            ("demuxer", Value::Word("qtdemux".into())),
            ("application", Value::Text("x".into())),
            ("stream", Value::Secret("x".into())),
        ]
        .into();
        let library = Library::embedded();
        for (fragment, _) in library.iter() {
            for element in fragment.fill(&parameters).unwrap().factories() {
                let known = package(&element).is_some() || LINKED.contains(&element.as_str());
                assert!(known, "{element} in {} has no package", fragment.name);
            }
        }
    }

    #[test]
    fn a_missing_element_is_reported_with_the_package_that_has_it() {
        assert_eq!(
            Missing { element: "x264enc".into() }.to_string(),
            "GStreamer element x264enc is missing: apt install gstreamer1.0-plugins-ugly"
        );
        let hardware = Missing { element: "v4l2h264enc".into() }.to_string();
        assert!(hardware.contains("hardware"), "{hardware}");
    }

    #[test]
    fn what_is_not_registered_is_found() {
        gst::init().unwrap();
        assert_eq!(check(["identity", "nosuchelement"]), Err(Missing { element: "nosuchelement".into() }));
        assert_eq!(check(["identity", "queue"]), Ok(()));
    }
}
