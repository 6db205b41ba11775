//! Which cameras this machine has, libcamera's first: for `auto`, `doctor` and `probe`. Blocking.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gstreamer as gst;
use serde::Serialize;

use super::v4l2::{Mode, of_caps};
use crate::config::model::{Libcamera, Source, V4l2, V4l2Format};

const LIBCAMERA: &str = "libcameraprovider";

/// A camera that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub name: String,
    /// What to write as its source in the configuration.
    pub source: Source,
    pub modes: Vec<Mode>,
}

/// The first camera: a Raspberry Pi's own before USB ones, because its V4L2 nodes give only raw sensor
/// data.
pub fn first() -> Option<Source> {
    choose(libcamera(), v4l2())
}

/// Every camera, in the order in which `auto` tries them.
pub fn all() -> Vec<Found> {
    in_order(libcamera(), v4l2())
}

fn choose(libcamera: Vec<Found>, v4l2: Vec<Found>) -> Option<Source> {
    in_order(libcamera, v4l2).into_iter().next().map(|found| found.source)
}

fn in_order(mut libcamera: Vec<Found>, v4l2: Vec<Found>) -> Vec<Found> {
    libcamera.extend(v4l2);
    libcamera
}

fn libcamera() -> Vec<Found> {
    let found = devices(LIBCAMERA).into_iter().map(|device| {
        let name = device.display_name().to_string();
        let source = Source::Libcamera(Libcamera { camera: Some(name.clone()), ..Libcamera::default() });
        Found { name, source, modes: modes(&device) }
    });
    found.collect()
}

/// Nodes that give pictures; those without a mode are left out.
fn v4l2() -> Vec<Found> {
    let found = devices("v4l2deviceprovider").into_iter().filter_map(|device| {
        let properties = device.properties()?;
        let path =
            ["device.path", "api.v4l2.path"].iter().find_map(|key| properties.get::<String>(*key).ok())?;
        let modes = modes(&device);
        if modes.is_empty() {
            return None;
        }
        let source = Source::V4l2(V4l2 { device: PathBuf::from(path), format: V4l2Format::Auto });
        Some(Found { name: device.display_name().to_string(), source, modes })
    });
    found.collect()
}

/// libcamera's own names, in its order.
pub fn libcamera_names() -> Vec<String> {
    devices(LIBCAMERA).iter().map(|device| device.display_name().to_string()).collect()
}

fn modes(device: &gst::Device) -> Vec<Mode> {
    device.caps().map(|caps| of_caps(&caps)).unwrap_or_default()
}

fn devices(provider: &str) -> Vec<gst::Device> {
    // It would have nothing to find, and says so on standard error at every look.
    if provider == LIBCAMERA && !may_have_sensors() {
        return Vec::new();
    }
    let provider = gst::DeviceProviderFactory::find(provider).and_then(|factory| factory.get());
    let devices = provider.map(|provider| provider.devices().into_iter().collect::<Vec<_>>());
    let video =
        |device: &gst::Device| device.has_classes("Video/Source") || device.has_classes("Source/Video");
    devices.unwrap_or_default().into_iter().filter(video).collect()
}

/// Whether libcamera can have anything to find: a media device that is not a USB camera's, which are V4L2's.
pub fn may_have_sensors() -> bool {
    let Ok(entries) = std::fs::read_dir("/dev") else { return false };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut media = names.filter(|name| name.starts_with("media"));
    media.any(|name| {
        let place = std::fs::canonicalize(Path::new("/sys/bus/media/devices").join(name));
        !place.is_ok_and(|place| is_on_usb(&place))
    })
}

/// By a device's place in sysfs.
fn is_on_usb(place: &Path) -> bool {
    let bus = |part: &str| part.strip_prefix("usb").is_some_and(|n| n.parse::<u32>().is_ok());
    place.iter().any(|part| part.to_str().is_some_and(bus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor(name: &str) -> Found {
        let source = Source::Libcamera(Libcamera { camera: Some(name.into()), ..Libcamera::default() });
        Found { name: name.into(), source, modes: Vec::new() }
    }

    fn node(path: &str) -> Found {
        let source = Source::V4l2(V4l2 { device: path.into(), format: V4l2Format::Auto });
        Found { name: path.into(), source, modes: Vec::new() }
    }

    /// What it is, libcamera's list, V4L2's list, the choice.
    type Row<'f> = (&'static str, &'f [&'f Found], &'f [&'f Found], Option<&'f Found>);

    #[test]
    fn auto_takes_libcameras_first_camera_before_any_v4l2_node() {
        let (imx, ov) = (sensor("imx708"), sensor("ov5647"));
        let (usb, other) = (node("/dev/video0"), node("/dev/video2"));
        let table: [Row<'_>; 4] = [
            ("libcamera only", &[&imx, &ov], &[], Some(&imx)),
            ("v4l2 only", &[], &[&usb, &other], Some(&usb)),
            ("both", &[&ov, &imx], &[&usb], Some(&ov)),
            ("none", &[], &[], None),
        ];
        for (what, libcamera, v4l2, chosen) in table {
            let list = |found: &[&Found]| found.iter().copied().cloned().collect::<Vec<_>>();
            let (libcamera, v4l2) = (list(libcamera), list(v4l2));
            let choice = choose(libcamera.clone(), v4l2.clone());
            assert_eq!(choice, chosen.map(|found| found.source.clone()), "{what}");
            let all = in_order(libcamera.clone(), v4l2.clone());
            assert_eq!(all, [libcamera, v4l2].concat(), "{what}: doctor lists them in that order");
        }
    }

    #[test]
    fn a_usb_cameras_media_device_is_nothing_for_libcamera() {
        for (place, usb) in [
            ("/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/media0", true),
            ("/sys/devices/platform/vhci_hcd.0/usb1/1-1/1-1:1.0/media0", true),
            ("/sys/devices/platform/soc/fe801000.csi/media1", false),
            ("/sys/devices/platform/vimc.0/media0", false),
            ("/sys/devices/platform/usbish/media0", false),
        ] {
            assert_eq!(is_on_usb(Path::new(place)), usb, "{place}");
        }
    }
}
