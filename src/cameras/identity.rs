//! Who a camera is: the rules by which a device that was plugged in is one that is known. Pure.
//!
//! - A **serial** makes a camera the same in every port, unless it is one that makers give to all of theirs.
//! - Without a serial the **port** does: the same model in the same port is the same camera.
//! - Two cameras that show the same serial at the same time are told apart by port as well, from then on.
//! - The number in `/dev/videoN` never matters.
//!
//! `docs/cameras.md` says the same to operators.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Room for the words of an id before its digits; an id has at most 64 characters.
const WORDS: usize = 40;

/// The model of whatever libcamera drives: it has no maker's number, its name is its place.
pub const LIBCAMERA: &str = "libcamera";

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What pictures are opened by.
    pub opens: Opens,
    /// For people: `HD Pro Webcam C920`.
    pub name: String,
    /// What was made: `046d:082d` on USB, else the driver's name for it.
    pub model: String,
    /// As the device gives it; good for nothing when it is one of [`is_no_serial`].
    pub serial: Option<String>,
    /// Where it is plugged in, by the way there and not by number: `pci-0000:00:14.0-usb-0:2:1.0`.
    pub port: String,
    /// Other names of its node: links below `/dev/v4l`.
    pub links: Vec<PathBuf>,
}

/// How a device is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    /// `/dev/video0`, of this boot and this plug.
    V4l2(PathBuf),
    /// libcamera's own name.
    Libcamera(String),
}

/// A camera that was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: String,
    pub name: String,
    pub model: String,
    pub serial: Option<String>,
    /// Where it was last.
    pub port: String,
}

/// Which camera a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// This one, by its id.
    Known(String),
    /// One that was never seen.
    New(Known),
}

/// Finds out which camera `device` is, among all that are known; `present` says which of those are plugged
/// in now.
pub fn identify(device: &Device, known: &[Known], present: impl Fn(&str) -> bool) -> Identity {
    let serial = device.serial.as_deref().filter(|serial| !is_no_serial(serial, device));
    let alike =
        || known.iter().filter(|known| known.model == device.model && known.serial.as_deref() == serial);
    if let Some(here) = alike().find(|known| known.port == device.port) {
        return Identity::Known(here.id.clone());
    }
    let twins = alike().count();
    if serial.is_some()
        && twins == 1
        && let Some(moved) = alike().find(|known| !present(&known.id))
    {
        return Identity::Known(moved.id.clone());
    }
    // A serial that another camera has as well says nothing: the port is part of the id then.
    let by_serial = serial.filter(|_| twins == 0);
    let key = match by_serial {
        Some(serial) => format!("serial {} {serial}", device.model),
        None => format!("port {} {} {}", device.model, serial.unwrap_or_default(), device.port),
    };
    Identity::New(Known {
        id: id(&device.name, &key),
        name: device.name.clone(),
        model: device.model.clone(),
        serial: serial.map(ToOwned::to_owned),
        port: device.port.clone(),
    })
}

/// Whether a serial is one that makers give to all of theirs, or no serial at all.
pub fn is_no_serial(serial: &str, device: &Device) -> bool {
    /// Seen on cameras of several makers.
    const SHARED: &[&str] = &[
        "sn0001",
        "200901010001",
        "202001010001",
        "0123456789",
        "123456789",
        "1234567890",
        "20100331010203",
    ];
    let plain: String = serial.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let first = plain.chars().next();
    plain.len() < 4
        || plain.chars().all(|c| Some(c) == first)
        || SHARED.contains(&plain.as_str())
        // Some give the model's name or a version.
        || words(serial, WORDS) == words(&device.name, WORDS)
        || serial.split('.').count() > 2 && plain.chars().all(|c| c.is_ascii_digit())
}

/// Words and digits for paths: `hd-pro-webcam-c920-3fa91c07`. The digits are of `key`, so that the same
/// device gets the same id on a machine that has forgotten it.
fn id(name: &str, key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    match words(name, WORDS) {
        words if words.is_empty() => format!("camera-{digits}"),
        words => format!("{words}-{digits}"),
    }
}

/// `name` in lower case, with `-` for all that is no letter or digit, at most `most` long.
fn words(name: &str, most: usize) -> String {
    let mut words = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => words.push(c.to_ascii_lowercase()),
            _ if !words.is_empty() && !words.ends_with('-') => words.push('-'),
            _ => {}
        }
    }
    words.truncate(most);
    words.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(serial: Option<&str>, port: &str, node: u32) -> Device {
        Device {
            opens: Opens::V4l2(format!("/dev/video{node}").into()),
            name: "Acme Cam 3".into(),
            model: "1234:5678".into(),
            serial: serial.map(Into::into),
            port: port.into(),
            links: Vec::new(),
        }
    }

    /// Plugs devices in one after the other, `-` before a port takes the one there away; the ids they get.
    fn story(steps: &[(Option<&str>, &str)]) -> Vec<String> {
        let mut known: Vec<Known> = Vec::new();
        let mut present: Vec<(String, String)> = Vec::new();
        let mut ids = Vec::new();
        for (node, (serial, port)) in (0..).zip(steps) {
            if let Some(port) = port.strip_prefix('-') {
                present.retain(|(_, at)| at != port);
                continue;
            }
            let device = device(*serial, port, node);
            let id = match identify(&device, &known, |id| present.iter().any(|(here, _)| here == id)) {
                Identity::Known(id) => id,
                Identity::New(new) => {
                    known.push(new.clone());
                    new.id
                }
            };
            let at = known.iter_mut().find(|known| known.id == id).unwrap();
            at.port = (*port).to_owned();
            present.push((id.clone(), (*port).to_owned()));
            ids.push(id);
        }
        ids
    }

    #[test]
    fn who_is_who() {
        const S: Option<&str> = Some("A1B2C3D4");
        const T: Option<&str> = Some("FFFF1234");
        // What it is, the story, which of the ids are equal (a letter for each that was plugged in).
        type Row = (&'static str, &'static [(Option<&'static str>, &'static str)], &'static str);
        let table: &[Row] = &[
            ("a serial, unplugged and plugged in again", &[(S, "p1"), (None, "-p1"), (S, "p1")], "aa"),
            ("a serial in another port", &[(S, "p1"), (None, "-p1"), (S, "p2")], "aa"),
            ("two serials", &[(S, "p1"), (T, "p2")], "ab"),
            (
                "two serials swap ports",
                &[(S, "p1"), (T, "p2"), (None, "-p1"), (None, "-p2"), (T, "p1"), (S, "p2")],
                "abba",
            ),
            ("no serial, the same port", &[(None, "p1"), (None, "-p1"), (None, "p1")], "aa"),
            ("no serial, another port", &[(None, "p1"), (None, "-p1"), (None, "p2")], "ab"),
            ("two alike without a serial", &[(None, "p1"), (None, "p2")], "ab"),
            (
                "two alike without a serial come back the other way round",
                &[(None, "p1"), (None, "p2"), (None, "-p1"), (None, "-p2"), (None, "p2"), (None, "p1")],
                "abba",
            ),
            ("a serial that both have", &[(S, "p1"), (S, "p2")], "ab"),
            (
                "a serial that both have, the other way round",
                &[(S, "p1"), (S, "p2"), (None, "-p1"), (None, "-p2"), (S, "p2"), (S, "p1")],
                "abba",
            ),
            (
                "a serial that both have, in a third port: nobody can know which it is",
                &[(S, "p1"), (S, "p2"), (None, "-p1"), (S, "p3")],
                "abc",
            ),
            ("a serial that is none", &[(Some("SN0001"), "p1"), (Some("SN0001"), "p2")], "ab"),
            (
                "a serial that is none, moved",
                &[(Some("0000"), "p1"), (None, "-p1"), (Some("0000"), "p2")],
                "ab",
            ),
        ];
        for (what, steps, pattern) in table {
            let ids = story(steps);
            let mut seen: Vec<&String> = Vec::new();
            let got: String = ids
                .iter()
                .map(|id| {
                    let at = seen.iter().position(|before| *before == id).unwrap_or_else(|| {
                        seen.push(id);
                        seen.len() - 1
                    });
                    char::from(b'a' + u8::try_from(at).unwrap())
                })
                .collect();
            assert_eq!(got, *pattern, "{what}: {ids:?}");
        }
    }

    #[test]
    fn serials_that_say_nothing_are_known() {
        for (serial, none) in [
            ("A1B2C3D4", false),
            ("9F2E61BF", false),
            ("0001", false),
            ("", true),
            ("0", true),
            ("001", true),
            ("00000000", true),
            ("SN0001", true),
            ("200901010001", true),
            ("01.00.00", true),
            ("Acme Cam 3", true),
            ("acme_cam_3", true),
            ("----", true),
        ] {
            assert_eq!(is_no_serial(serial, &device(None, "p", 0)), none, "{serial:?}");
        }
    }

    #[test]
    fn an_id_is_words_and_digits_and_the_same_on_every_machine() {
        let known = |device: &Device| match identify(device, &[], |_| false) {
            Identity::New(known) => known.id,
            Identity::Known(id) => unreachable!("{id}"),
        };
        let first = device(Some("A1B2C3D4"), "p1", 0);
        assert_eq!(known(&first), known(&Device { port: "p9".into(), ..first.clone() }));
        assert!(known(&first).starts_with("acme-cam-3-"), "{}", known(&first));
        let odd = Device { name: "監視カメラ".into(), ..first };
        assert!(known(&odd).starts_with("camera-"), "{}", known(&odd));
    }

    proptest! {
        #[test]
        fn every_id_can_stand_in_a_path(name in ".{0,200}", port in ".{0,60}", serial in proptest::option::of(".{0,60}")) {
            let device = Device { name, serial, ..device(None, &port, 0) };
            let Identity::New(known) = identify(&device, &[], |_| false) else { unreachable!() };
            prop_assert!((1..=64).contains(&known.id.len()));
            prop_assert!(known.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{}", known.id);
        }

        /// Whatever is plugged in wherever: what is present at once never shares an id.
        #[test]
        fn no_two_that_are_present_are_one(ports in proptest::collection::btree_set(0u8..6, 1..6), same in any::<bool>()) {
            let serial = same.then_some("A1B2C3D4");
            let ports: Vec<String> = ports.iter().map(|port| format!("p{port}")).collect();
            let steps: Vec<_> = ports.iter().map(|port| (serial, port.as_str())).collect();
            let ids = story(&steps);
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            prop_assert_eq!(distinct.len(), ids.len());
        }
    }
}
