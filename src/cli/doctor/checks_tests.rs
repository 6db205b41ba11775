//! The judgements of a machine that lacks one thing after another.

use std::path::PathBuf;

use super::*;
use crate::cli::doctor::State;
use crate::cli::doctor::facts::{Fragments, Loading};
use crate::cli::doctor::surroundings::{Clock, User};
use crate::config::Config;
use crate::config::model::{Libcamera, Resolution, V4l2, V4l2Format};

/// A machine with everything, and one USB camera.
fn well() -> Facts {
    let device = PathBuf::from("/dev/video0");
    let source = Source::V4l2(V4l2 { device: device.clone(), format: V4l2Format::Auto });
    let size = Resolution { width: 1920, height: 1080 };
    let offer = crate::capture::v4l2::Offer::default();
    let modes = vec![
        Mode { kind: Kind::Mjpeg, pixels: String::new(), size, max_fps: 30.0, offer: offer.clone() },
        Mode {
            kind: Kind::Raw,
            pixels: "YUY2".into(),
            size: Resolution::default(),
            max_fps: 30.0,
            offer: offer.clone(),
        },
    ];
    let software = elements::PACKAGES.iter().flat_map(|(_, elements)| elements.iter().copied());
    let group = "video".to_owned();
    Facts {
        gstreamer: Ok((1, 22, 0)),
        registered: software.filter(|element| !elements::needs_hardware(element)).collect(),
        tls: true,
        fragments: Fragments { embedded: 28, ..Fragments::default() },
        config: Config { cameras: vec![Camera::new("desk", source.clone())], ..Config::default() },
        loading: Loading::default(),
        found: Some(vec![Found { name: "HD camera".into(), source, modes }]),
        peers: vec![Peer::Present],
        user: User { uid: 1000, name: "pi".into(), groups: vec!["pi".into(), group.clone()], listed: vec![] },
        nodes: vec![Node { path: device, group, open: true }],
        port: Port::Free,
        rtsp: vec![("rtsp.port", "127.0.0.1:8554".parse().unwrap(), Port::Free)],
        directories: vec![place("health.file", Place::Creatable)],
        clock: Clock { now: 1_800_000_000, synchronised: Some(true) },
        board: None,
    }
}

fn place(key: &'static str, state: Place) -> Directory {
    Directory { key, path: "/run/fan light".into(), state }
}

/// What is not well, as `STATE name: found -> mend`.
fn complaints(facts: &Facts) -> Vec<String> {
    let bad = all(facts).into_iter().filter(|check| check.state != State::Ok);
    bad.map(|c| format!("{:?} {}: {} -> {}", c.state, c.name, c.found, c.mend.unwrap_or_default())).collect()
}

#[test]
fn a_machine_that_has_everything_gets_no_complaint() {
    assert_eq!(complaints(&well()), [] as [&str; 0]);
}

#[test]
fn each_lack_is_named_with_the_command_that_mends_it() {
    type Spoil = fn(&mut Facts);
    let table: [(&str, Spoil, &str); 28] = [
        (
            "no TLS",
            |f| f.tls = false,
            "Warn TLS: missing: cameras with rtsps:// or https:// cannot be opened -> sudo apt install glib-networking",
        ),
        (
            "an old GStreamer",
            |f| f.gstreamer = Ok((1, 20, 3)),
            "Fail version: 1.20.3; at least 1.22 is needed -> use Debian 12",
        ),
        (
            "no GStreamer",
            |f| f.gstreamer = Err("no".into()),
            "Fail start: no -> sudo apt install gstreamer1.0-plugins-base",
        ),
        (
            "a needed element",
            |f| assert!(f.registered.remove("v4l2src")),
            "Fail v4l2src: missing -> sudo apt install gstreamer1.0-plugins-good",
        ),
        (
            "a spare element",
            |f| assert!(f.registered.remove("rtspsrc")),
            "Warn rtspsrc: missing; no configured camera needs it",
        ),
        (
            "no H.264 encoder, raw camera",
            |f| {
                f.registered.remove("x264enc");
                f.registered.remove("openh264enc");
                f.config.cameras[0].source = Source::Test {};
            },
            "Fail x264enc: missing, and so is everything else of v4l2h264enc, vah264enc, x264enc, openh264enc -> sudo apt install gstreamer1.0-plugins-ugly",
        ),
        (
            "no H.264 encoder, USB camera",
            |f| {
                f.registered.remove("x264enc");
                f.registered.remove("openh264enc");
            },
            "Warn desk H.264: GStreamer element x264enc is missing: apt install gstreamer1.0-plugins-ugly -> sudo apt install",
        ),
        (
            "an asked encoder",
            |f| {
                f.config.cameras[0].h264.encoder = H264Encoder::Vah264enc;
            },
            "Warn desk H.264: vah264enc is asked for and is not on this machine -> set camera.h264.encoder = \"auto\"",
        ),
        (
            "a broken fragment",
            |f| {
                f.fragments.own = vec![("encoders/x".into(), "/etc/x.gst".into())];
                f.fragments.broken = vec![("encoders/x".into(), "no element".into())];
            },
            "Fail encoders/x: no element -> correct /etc/x.gst",
        ),
        (
            "a bad file",
            |f| f.loading.errors = vec!["f.toml:3:1: odd".into()],
            "Fail file: f.toml:3:1: odd -> mend it",
        ),
        ("a warning", |f| f.loading.warnings = vec!["FPS: odd".into()], "Warn warning: FPS: odd"),
        ("no camera", |f| f.found = Some(vec![]), "Warn search: none on this machine -> plug one in"),
        ("a driver that hangs", |f| f.found = None, "Warn search: looking for cameras did not end in time"),
        (
            "an unplugged camera",
            |f| f.peers = vec![Peer::Absent("/dev/video0: No such file".into())],
            "Warn desk: /dev/video0: No such file -> plug it in",
        ),
        (
            "not in the group",
            |f| f.nodes[0].open = false,
            "Fail group video: pi may not open /dev/video0 -> sudo usermod -aG video pi",
        ),
        (
            "in the group since",
            |f| {
                f.nodes[0].open = false;
                f.user.listed = vec!["video".into()];
            },
            "it is in group video, but this session is older than that -> log out and in again",
        ),
        (
            "a container",
            |f| {
                f.nodes[0].open = false;
                f.nodes[0].group = "44".into();
            },
            "docker run --group-add 44",
        ),
        (
            "a port in use",
            |f| f.port = Port::Taken(Some(Holder { pid: 7, name: "nginx".into() })),
            "Fail 127.0.0.1:8080: in use by nginx (process 7) -> stop it: kill 7",
        ),
        ("a stranger's port", |f| f.port = Port::Taken(None), "sudo ss -ltnp 'sport = :8080'"),
        (
            "RTSP's port in use",
            |f| f.rtsp[0].2 = Port::Taken(Some(Holder { pid: 7, name: "mediamtx".into() })),
            "Warn 127.0.0.1:8554: in use by mediamtx (process 7) -> stop it: kill 7; or choose another: rtsp.port",
        ),
        ("a low port", |f| f.port = Port::Forbidden, "CAP_NET_BIND_SERVICE"),
        ("no such address", |f| f.port = Port::NoAddress, "Fail 127.0.0.1:8080: this machine has no address"),
        (
            "no health directory",
            |f| f.directories = vec![place("health.file", Place::Missing)],
            "Warn health.file: /run/fan light: not there, and pi may not make it (systemd does, for the service) -> sudo install -d -o pi '/run/fan light'",
        ),
        (
            "no room",
            |f| f.directories = vec![place("hls.output_dir", Place::Good { free: Some(9) })],
            "Fail hls.output_dir: /run/fan light: its disk is full -> make room: df -h",
        ),
        (
            "no right",
            |f| f.directories = vec![place("hls.output_dir", Place::Denied("denied".into()))],
            "Fail hls.output_dir: /run/fan light: denied -> sudo chown pi",
        ),
        (
            "an unset clock",
            |f| f.clock.now = 100,
            "Fail time: 1970-01-01T00:01:40.000Z: the clock was never set",
        ),
        (
            "a drifting clock",
            |f| f.clock.synchronised = Some(false),
            "not synchronised -> sudo timedatectl set-ntp true",
        ),
        (
            "a Pi without its encoder",
            |f| f.board = Some("Raspberry Pi 4 Model B Rev 1.4".into()),
            "Warn model: Raspberry Pi 4 Model B Rev 1.4: it has an H.264 encoder, but GStreamer does not see it -> sudo modprobe bcm2835-codec",
        ),
    ];
    for (lack, spoil, expected) in table {
        let mut facts = well();
        spoil(&mut facts);
        let complaints = complaints(&facts);
        assert!(complaints.iter().any(|line| line.contains(expected)), "{lack}: {complaints:#?}");
    }
}

#[test]
fn what_needs_no_mending_is_said_without_alarm() {
    type Change = fn(&mut Facts);
    let table: [(Change, &str, &str); 7] = [
        (|_| (), "v4l2h264enc", "not on this machine: hardware"),
        (
            |f| assert!(f.registered.remove("openh264enc")),
            "openh264enc",
            "missing; x264enc does its work (gstreamer1.0-plugins-bad)",
        ),
        (
            |f| f.board = Some("Raspberry Pi 5 Model B Rev 1.0".into()),
            "model",
            "Raspberry Pi 5 Model B Rev 1.0: it has no H.264 encoder; x264enc does the work on the processor",
        ),
        (
            |f| f.port = Port::Taken(Some(Holder { pid: 7, name: "fanlight".into() })),
            "127.0.0.1:8080",
            "fanlight listens there already (process 7)",
        ),
        (
            |f| f.directories = vec![place("pipelines.directory", Place::Missing)],
            "pipelines.directory",
            "/run/fan light: not there; the built-in fragments are used",
        ),
        (|f| f.clock.synchronised = None, "time", "2027-01-15T08:00:00.000Z"),
        (|_| (), "HD camera", "/dev/video0: MJPEG up to 1920x1080 at 30, raw up to 640x480 at 30"),
    ];
    for (change, name, expected) in table {
        let mut facts = well();
        change(&mut facts);
        let checks = all(&facts);
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!((check.state, check.found.as_str(), &check.mend), (State::Ok, expected, &None));
    }
}

#[test]
fn only_a_camera_of_libcameras_makes_its_heaps_matter() {
    let mut facts = well();
    facts.nodes.push(Node { path: "/dev/dma_heap/system".into(), group: "root".into(), open: false });
    assert_eq!(complaints(&facts), [] as [&str; 0]);
    facts.config.cameras[0].source = Source::Libcamera(Libcamera::default());
    let found = complaints(&facts);
    assert!(found.iter().any(|line| line.contains("sudo chgrp video /dev/dma_heap/system")), "{found:#?}");
}

#[test]
fn the_encoder_that_would_be_used_is_shown_for_each_camera() {
    let mut facts = well();
    facts.registered.insert("v4l2h264enc");
    facts.config.cameras.push(Camera::new("test", Source::Test {}));
    facts.config.cameras[1].resolution = Resolution { width: 3840, height: 2160 };
    facts.peers.push(Peer::Unknown);
    let checks = all(&facts);
    let found = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.found.as_str());
    assert_eq!(found("desk H.264"), Some("v4l2h264enc (hardware); none where the camera gives it itself"));
    assert_eq!(found("test H.264"), Some("x264enc (software)"));
    assert_eq!(found("test JPEG"), Some("jpegenc (software)"));
    facts.config.cameras[1].outputs.hls = false;
    facts.config.cameras[1].outputs.whep = false;
    facts.config.cameras[1].outputs.rtsp = false;
    assert!(!all(&facts).iter().any(|check| check.name == "test H.264"));
}
