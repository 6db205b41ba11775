//! Which cameras this machine has, libcamera's first: for `auto`, `doctor` and `probe`. Blocking.

use std::path::PathBuf;

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
    all().into_iter().next().map(|found| found.source)
}

/// Every camera, in the order in which `auto` tries them.
pub fn all() -> Vec<Found> {
    let libcamera = devices(LIBCAMERA).into_iter().map(|device| {
        let name = device.display_name().to_string();
        let source = Source::Libcamera(Libcamera { camera: Some(name.clone()), ..Libcamera::default() });
        Found { name, source, modes: modes(&device) }
    });
    let mut found: Vec<Found> = libcamera.collect();
    found.extend(devices("v4l2deviceprovider").into_iter().filter_map(|device| {
        let properties = device.properties()?;
        let path =
            ["device.path", "api.v4l2.path"].iter().find_map(|key| properties.get::<String>(*key).ok())?;
        let modes = modes(&device);
        if modes.is_empty() {
            return None;
        }
        let source = Source::V4l2(V4l2 { device: PathBuf::from(path), format: V4l2Format::Auto });
        Some(Found { name: device.display_name().to_string(), source, modes })
    }));
    found
}

/// libcamera's own names, in its order.
pub fn libcamera_names() -> Vec<String> {
    devices(LIBCAMERA).iter().map(|device| device.display_name().to_string()).collect()
}

fn modes(device: &gst::Device) -> Vec<Mode> {
    device.caps().map(|caps| of_caps(&caps)).unwrap_or_default()
}

fn devices(provider: &str) -> Vec<gst::Device> {
    // Without a media device libcamera has nothing to find, and says so on standard error at every look.
    if provider == LIBCAMERA && !media_devices() {
        return Vec::new();
    }
    let provider = gst::DeviceProviderFactory::find(provider).and_then(|factory| factory.get());
    let devices = provider.map(|provider| provider.devices().into_iter().collect::<Vec<_>>());
    let video =
        |device: &gst::Device| device.has_classes("Video/Source") || device.has_classes("Source/Video");
    devices.unwrap_or_default().into_iter().filter(video).collect()
}

fn media_devices() -> bool {
    let named = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("media");
    std::fs::read_dir("/dev").is_ok_and(|entries| entries.filter_map(Result::ok).any(named))
}
