//! Where a device belongs: to a camera that is written down, to one of type `auto`, to itself, or to nobody.
//! Pure.

use super::identity::{Device, Known, LIBCAMERA, Opens};
use crate::config::model::{Camera, Discovery, Libcamera, Source, V4l2, V4l2Format};

/// Where a device belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A camera of the configuration opens it by itself.
    Configured(String),
    /// A camera of type `auto` has taken it for as long as it is here.
    Adopted(String),
    /// It is a camera of its own.
    Own,
    /// `discovery.allow` or `discovery.deny` leaves it out.
    LeftOut,
}

/// What decides beside the device.
#[derive(Debug)]
pub struct Situation<'s> {
    pub configured: &'s [Camera],
    pub settings: &'s Discovery,
    /// Names of libcamera's cameras in its order: a configuration may count them.
    pub libcamera: &'s [String],
    /// The camera of type `auto` that waits for a device.
    pub waiting: Option<&'s str>,
    /// Whether this one is a camera of its own already.
    pub own: bool,
}

/// Places the device that is the camera `id`.
pub fn place(id: &str, device: &Device, situation: &Situation<'_>) -> Place {
    let Situation { configured, settings, .. } = situation;
    let mine = configured.iter().find(|camera| opens(&camera.source, device, situation.libcamera));
    if let Some(camera) = mine {
        return Place::Configured(camera.id.clone());
    }
    let serial = device.serial.as_deref().unwrap_or_default();
    let mut words = vec![id, &device.name, &device.model, &device.port];
    words.extend((!serial.is_empty()).then_some(serial));
    if !settings.takes(&words) {
        return Place::LeftOut;
    }
    match situation.waiting {
        Some(camera) if !situation.own => Place::Adopted(camera.to_owned()),
        _ => Place::Own,
    }
}

/// Whether a source that is written down is this device.
fn opens(source: &Source, device: &Device, libcamera: &[String]) -> bool {
    match (source, &device.opens) {
        (Source::V4l2(v4l2), Opens::V4l2(path)) => {
            v4l2.device == *path || device.links.contains(&v4l2.device)
        }
        (Source::Libcamera(source), Opens::Libcamera(name)) => match source.camera.as_deref() {
            None => libcamera.first() == Some(name),
            Some(written) => match written.parse::<usize>() {
                Ok(number) => libcamera.get(number) == Some(name),
                Err(_) => written == name,
            },
        },
        _ => false,
    }
}

/// The source that opens a device.
pub fn source(device: &Device) -> Source {
    match &device.opens {
        Opens::V4l2(path) => Source::V4l2(V4l2 { device: path.clone(), format: V4l2Format::Auto }),
        Opens::Libcamera(name) => {
            let camera = Some(name.clone());
            Source::Libcamera(Libcamera { camera, ..Libcamera::default() })
        }
    }
}

/// What stands as source in the settings of a camera that comes and goes: only its kind counts, for it is opened
/// by [`source`] of the device that it is now.
pub fn kind(known: &Known) -> Source {
    match known.model.as_str() {
        LIBCAMERA => Source::Libcamera(Libcamera::default()),
        _ => Source::V4l2(V4l2 { device: "/dev/null".into(), format: V4l2Format::Auto }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb() -> Device {
        Device {
            opens: Opens::V4l2("/dev/video2".into()),
            name: "Acme Cam".into(),
            model: "1234:5678".into(),
            serial: Some("A1B2C3".into()),
            port: "usb-0:2:1.0".into(),
            links: vec!["/dev/v4l/by-id/usb-Acme-video-index0".into()],
        }
    }

    fn sensor(name: &str) -> Device {
        Device { opens: Opens::Libcamera(name.into()), links: Vec::new(), ..usb() }
    }

    fn v4l2(device: &str) -> Source {
        Source::V4l2(V4l2 { device: device.into(), format: V4l2Format::Raw })
    }

    fn libcamera(camera: Option<&str>) -> Source {
        Source::Libcamera(Libcamera { camera: camera.map(Into::into), ..Libcamera::default() })
    }

    #[test]
    fn what_is_written_down_wins_then_deny_then_auto_and_the_rest_are_themselves() {
        let configured = || Place::Configured("hand".into());
        // The device, the source of the camera "hand", what is denied, whether it is known as itself, the place.
        let table: Vec<(Device, Source, &[&str], bool, Place)> = vec![
            (usb(), Source::Test {}, &[], false, Place::Own),
            (usb(), v4l2("/dev/video2"), &[], false, configured()),
            (usb(), v4l2("/dev/video2"), &["*"], true, configured()),
            (usb(), v4l2("/dev/v4l/by-id/usb-Acme-video-index0"), &[], false, configured()),
            (usb(), v4l2("/dev/video0"), &[], false, Place::Own),
            (usb(), Source::Test {}, &["1234:*"], true, Place::LeftOut),
            (usb(), Source::Test {}, &["acme-1"], true, Place::LeftOut),
            (usb(), Source::Auto {}, &[], false, Place::Adopted("hand".into())),
            (usb(), Source::Auto {}, &[], true, Place::Own),
            (usb(), Source::Auto {}, &["A1B2C3"], false, Place::LeftOut),
            (sensor("imx708"), libcamera(None), &[], false, configured()),
            (sensor("ov5647"), libcamera(None), &[], false, Place::Own),
            (sensor("ov5647"), libcamera(Some("1")), &[], false, configured()),
            (sensor("ov5647"), libcamera(Some("ov5647")), &[], false, configured()),
            (sensor("ov5647"), libcamera(Some("0")), &[], false, Place::Own),
            (sensor("imx708"), v4l2("/dev/video2"), &[], false, Place::Own),
        ];
        for (device, source, deny, own, expected) in table {
            let waiting = matches!(source, Source::Auto {}).then_some("hand");
            let configured = [Camera::new("hand", source)];
            let deny = deny.iter().map(ToString::to_string).collect();
            let settings = Discovery { deny, ..Discovery::default() };
            let names = ["imx708".to_owned(), "ov5647".to_owned()];
            let situation =
                Situation { configured: &configured, settings: &settings, libcamera: &names, waiting, own };
            let got = place("acme-1", &device, &situation);
            assert_eq!(got, expected, "{device:?} {:?} {:?} {own}", configured[0].source, settings.deny);
        }
    }
}
