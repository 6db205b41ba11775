//! The judgement: from what was found to what is well, what is not, and what mends it. Pure.

use std::path::Path;

use super::elements::{Role, role};
use super::facts::{Facts, Peer};
use super::ports::{Holder, Port};
use super::surroundings::{Directory, Node, Place};
use super::{Check, State};
use crate::capture::choice;
use crate::capture::discover::Found;
use crate::capture::v4l2::{Kind, Mode};
use crate::config::model::{Camera, H264Encoder, RtspServer, Source};
use crate::pipelines::elements;

/// The oldest GStreamer that the program is built for.
const OLDEST: (u32, u32) = (1, 22);
/// Before this the clock was never set: 2024-01-01T00:00:00Z.
const PLAUSIBLE: u64 = 1_704_067_200;
/// A directory with less room than this is full.
const ROOM: u64 = 1 << 20;

/// Every check, in the order in which a person reads them.
pub fn all(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    configuration(facts, &mut checks);
    gstreamer(facts, &mut checks);
    fragments(facts, &mut checks);
    encoders(facts, &mut checks);
    board(facts, &mut checks);
    cameras(facts, &mut checks);
    permissions(facts, &mut checks);
    checks.push(port(facts));
    checks.extend(rtsp(facts));
    checks.extend(facts.directories.iter().map(|place| directory(place, facts)));
    checks.push(clock(facts));
    checks
}

fn configuration(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Configuration";
    let loading = &facts.loading;
    for error in &loading.errors {
        let mend = "mend it, then: fanlight config check FILE";
        checks.push(Check::fail(AREA, "file", error.clone(), mend));
    }
    if loading.errors.is_empty() {
        let from = match &loading.file {
            Some(file) => file.display().to_string(),
            None => "no file: defaults and environment".into(),
        };
        let cameras: Vec<String> = facts
            .config
            .cameras
            .iter()
            .map(|camera| format!("{} ({})", camera.id, camera.source.kind()))
            .collect();
        checks.push(Check::ok(AREA, "file", format!("{from}; cameras: {}", cameras.join(", "))));
    }
    for warning in &loading.warnings {
        checks.push(Check::warn(AREA, "warning", warning.clone(), "fanlight config show"));
    }
}

fn gstreamer(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "GStreamer";
    let (major, minor, micro) = match &facts.gstreamer {
        Ok(version) => *version,
        Err(words) => {
            let mend = "sudo apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good; \
                        rm -r ~/.cache/gstreamer-1.0";
            return checks.push(Check::fail(AREA, "start", words.clone(), mend));
        }
    };
    let version = format!("{major}.{minor}.{micro}");
    checks.push(if (major, minor) >= OLDEST {
        Check::ok(AREA, "version", version)
    } else {
        let found = format!("{version}; at least {}.{} is needed", OLDEST.0, OLDEST.1);
        Check::fail(AREA, "version", found, "use Debian 12, Raspberry Pi OS 12 or newer")
    });
    for (package, names) in elements::PACKAGES {
        for element in names {
            checks.push(self::element(facts, package, element));
        }
    }
    let encrypted = facts.config.cameras.iter().any(|camera| match &camera.source {
        Source::Rtsp(rtsp) => rtsp.url.starts_with("rtsps"),
        Source::Http(http) => http.url.starts_with("https"),
        _ => false,
    });
    let install = "sudo apt install glib-networking";
    let words = "missing: cameras with rtsps:// or https:// cannot be opened";
    checks.push(match (facts.tls, encrypted) {
        (true, _) => Check::ok(super::ELEMENTS, "TLS", "glib-networking"),
        (false, true) => Check::fail(super::ELEMENTS, "TLS", words, install),
        (false, false) => Check::warn(super::ELEMENTS, "TLS", words, install),
    });
}

fn element(facts: &Facts, package: &str, element: &str) -> Check {
    const AREA: &str = super::ELEMENTS;
    if facts.registered.contains(element) {
        return Check::ok(AREA, element, package);
    }
    let install = format!("sudo apt install {package}");
    match role(element, &facts.config, is_pi(facts)) {
        Role::Hardware => Check::ok(AREA, element, "not on this machine: hardware"),
        Role::Spare => {
            Check::warn(AREA, element, "missing; no configured camera needs it for certain", install)
        }
        Role::Needed => Check::fail(AREA, element, "missing", install),
        Role::OneOf(group) => match group.iter().find(|other| facts.registered.contains(**other)) {
            Some(other) => Check::ok(AREA, element, format!("missing; {other} does its work ({package})")),
            None if facts.config.cameras.iter().any(|camera| group_is_needed(group, camera)) => {
                let found = format!("missing, and so is everything else of {}", group.join(", "));
                Check::fail(AREA, element, found, install)
            }
            None => Check::warn(AREA, element, "missing; needed when a camera has to be re-encoded", install),
        },
    }
}

/// Whether this camera certainly has to be encoded (or decoded) by one of `group`.
fn group_is_needed(group: &[&str], camera: &Camera) -> bool {
    let decoders = group.contains(&"avdec_h264");
    match &camera.source {
        Source::Test {} | Source::Libcamera(_) | Source::Http(_) | Source::BambuJpeg(_) => {
            !decoders && camera.outputs.h264()
        }
        // H.264 cameras: decoded for pictures.
        Source::Rtsp(_) => decoders && (camera.outputs.mjpeg || camera.outputs.snapshot),
        Source::Auto {} | Source::V4l2(_) | Source::File(_) => false,
    }
}

fn fragments(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Pipelines";
    if facts.gstreamer.is_err() {
        return;
    }
    let found = &facts.fragments;
    if let Some(error) = &found.error {
        let mend = format!("ls -lR {}", facts.config.pipelines.directory.display());
        return checks.push(Check::fail(AREA, "fragments", error.clone(), mend));
    }
    let own = if found.own.is_empty() {
        String::new()
    } else {
        let names: Vec<&str> = found.own.iter().map(|(name, _)| name.as_str()).collect();
        format!("; your own: {}", names.join(", "))
    };
    checks.push(Check::ok(AREA, "fragments", format!("{} built in{own}", found.embedded)));
    for (name, words) in &found.broken {
        let mend = match found.own.iter().find(|(own, _)| own == name) {
            Some((_, file)) => format!("correct {}, or remove it to use the built-in one", file.display()),
            None => "GStreamer does not fit this program: use the packages of one distribution".into(),
        };
        checks.push(Check::fail(AREA, name, words.clone(), mend));
    }
}

/// Which encoders each camera will use.
fn encoders(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Encoders";
    if facts.gstreamer.is_err() {
        return;
    }
    let registered = |element: &str| facts.registered.contains(element);
    for camera in &facts.config.cameras {
        let what = |codec: &str| format!("{} {codec}", camera.id);
        let maybe = match &camera.source {
            _ if camera.transformed() => "",
            Source::Rtsp(_) | Source::File(_) | Source::V4l2(_) | Source::Auto {} => {
                "; none where the camera gives it itself"
            }
            _ => "",
        };
        let mut judge = |codec: &str, chosen: Result<choice::Choice, elements::Missing>, own: bool| {
            let (found, mend) = match chosen {
                Ok(choice) => {
                    let hardware =
                        if elements::needs_hardware(choice.element) { "hardware" } else { "software" };
                    return checks.push(Check::ok(
                        AREA,
                        what(codec),
                        format!("{} ({hardware}){}", choice.element, if own { maybe } else { "" }),
                    ));
                }
                Err(missing) if camera.h264.encoder != H264Encoder::Auto && codec == "H.264" => (
                    format!("{} is asked for and is not on this machine", missing.element),
                    "set camera.h264.encoder = \"auto\"".to_owned(),
                ),
                Err(missing) => (missing.to_string(), install(&missing.element)),
            };
            checks.push(if maybe.is_empty() {
                Check::fail(AREA, what(codec), found, mend)
            } else {
                Check::warn(AREA, what(codec), found, mend)
            });
        };
        if camera.outputs.h264() {
            judge("H.264", choice::h264_encoder(registered, camera.h264.encoder, camera.resolution), true);
        }
        if (camera.outputs.mjpeg || camera.outputs.snapshot) && !gives_jpeg(camera) {
            judge("JPEG", choice::jpeg_encoder(registered), !matches!(camera.source, Source::Rtsp(_)));
        }
    }
}

fn gives_jpeg(camera: &Camera) -> bool {
    matches!(camera.source, Source::Http(_) | Source::BambuJpeg(_)) && !camera.transformed()
}

fn install(element: &str) -> String {
    elements::package(element).map_or_else(
        || "see the fragment that names it".to_owned(),
        |package| format!("sudo apt install {package}"),
    )
}

fn is_pi(facts: &Facts) -> bool {
    facts.board.as_deref().is_some_and(|board| board.contains("Raspberry Pi"))
}

fn board(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Board";
    let Some(board) = &facts.board else { return };
    let words = |found: &str| format!("{board}: {found}");
    if !is_pi(facts) {
        return checks.push(Check::ok(AREA, "model", board.clone()));
    }
    let fifth = ["Raspberry Pi 5", "Compute Module 5"].iter().any(|model| board.contains(model));
    checks.push(if fifth {
        Check::ok(AREA, "model", words("it has no H.264 encoder; x264enc does the work on the processor"))
    } else if facts.registered.contains("v4l2h264enc") {
        Check::ok(AREA, "model", words("its H.264 encoder is used up to 1920 pixels a side"))
    } else {
        Check::warn(
            AREA,
            "model",
            words("it has an H.264 encoder, but GStreamer does not see it"),
            "sudo modprobe bcm2835-codec && ls -l /dev/video11 (it must exist and be open to group video)",
        )
    });
}

fn cameras(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Cameras";
    let local =
        |camera: &Camera| matches!(camera.source, Source::Auto {} | Source::V4l2(_) | Source::Libcamera(_));
    let wanted = facts.config.cameras.iter().any(local);
    match &facts.found {
        None => checks.push(Check::warn(
            AREA,
            "search",
            "looking for cameras did not end in time: a driver hangs",
            "sudo dmesg | tail -n 50",
        )),
        Some(found) if found.is_empty() && wanted => checks.push(Check::warn(
            AREA,
            "search",
            "none on this machine",
            "plug one in and look for it: v4l2-ctl --list-devices (USB), rpicam-hello --list-cameras (ribbon cable)",
        )),
        Some(found) if found.is_empty() => {
            checks.push(Check::ok(AREA, "search", "none on this machine; the configured ones need none"));
        }
        Some(found) => checks.extend(found.iter().map(|found| Check::ok(AREA, &found.name, describe(found)))),
    }
    for (camera, peer) in facts.config.cameras.iter().zip(&facts.peers) {
        match (&camera.source, peer) {
            (_, Peer::Absent(words)) => {
                checks.push(Check::warn(AREA, &camera.id, words.clone(), absent(camera)))
            }
            (_, Peer::Present) => {
                let kind = camera.source.kind();
                checks.push(Check::ok(AREA, &camera.id, format!("its {kind} source is there")));
            }
            (Source::Libcamera(libcamera), Peer::Unknown) => {
                let known = facts.found.iter().flatten();
                let mut names = known.filter(|found| matches!(found.source, Source::Libcamera(_)));
                if let Some(name) = &libcamera.camera
                    && name.parse::<u32>().is_err()
                    && !names.any(|found| found.name == *name)
                {
                    let found = format!("libcamera has no camera {name}");
                    checks.push(Check::warn(AREA, &camera.id, found, "rpicam-hello --list-cameras"));
                }
            }
            (Source::Auto {}, Peer::Unknown) => {
                if let Some(first) = facts.found.iter().flatten().next() {
                    checks.push(Check::ok(AREA, &camera.id, format!("auto takes {}", first.name)));
                }
            }
            _ => {}
        }
    }
}

fn absent(camera: &Camera) -> String {
    match &camera.source {
        Source::V4l2(_) => "plug it in; its names: ls -l /dev/v4l/by-id/".into(),
        Source::File(file) => format!("ls -l {}", quoted(&file.path)),
        _ => "switch it on and check its address; it is used as soon as it answers".into(),
    }
}

fn describe(found: &Found) -> String {
    let place = match &found.source {
        Source::V4l2(v4l2) => v4l2.device.display().to_string(),
        other => other.kind().to_owned(),
    };
    format!("{place}: {}", modes(&found.modes))
}

/// The largest mode of each kind: `MJPEG up to 1920x1080 at 30`.
fn modes(modes: &[Mode]) -> String {
    let largest = |kind| {
        let of = modes.iter().filter(|mode| mode.kind == kind);
        let pixels = |mode: &&Mode| u64::from(mode.size.width) * u64::from(mode.size.height);
        of.max_by(|a, b| (pixels(a)).cmp(&pixels(b)).then(a.max_fps.total_cmp(&b.max_fps)))
    };
    let words = [(Kind::H264, "H.264"), (Kind::Mjpeg, "MJPEG"), (Kind::Raw, "raw")];
    let words = words.iter().filter_map(|(kind, name)| {
        let mode = largest(*kind)?;
        let rate = if mode.max_fps > 0.0 { format!(" at {:.0}", mode.max_fps) } else { String::new() };
        Some(format!("{name} up to {}{rate}", mode.size))
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "it tells its modes only when it is opened".into() } else { words.join(", ") }
}

fn permissions(facts: &Facts, checks: &mut Vec<Check>) {
    const AREA: &str = "Permissions";
    let user = &facts.user;
    let who = if user.name.is_empty() { format!("user {}", user.uid) } else { user.name.clone() };
    if user.uid == 0 {
        checks.push(Check::ok(AREA, "user", "root: what the service's own user may do is not shown by this"));
    } else {
        checks.push(Check::ok(AREA, "user", format!("{who}, in {}", user.groups.join(", "))));
    }
    let libcamera = is_pi(facts)
        || facts.config.cameras.iter().any(|camera| matches!(camera.source, Source::Libcamera(_)));
    // Elsewhere the media controllers and heaps belong to other things.
    let ours = |node: &&Node| libcamera || node.path.to_string_lossy().starts_with("/dev/video");
    let nodes: Vec<&Node> = facts.nodes.iter().filter(ours).collect();
    let closed: Vec<&Node> = nodes.iter().copied().filter(|node| !node.open).collect();
    if closed.is_empty() {
        if !nodes.is_empty() {
            checks.push(Check::ok(
                AREA,
                "devices",
                format!("all {} camera nodes are open to {who}", nodes.len()),
            ));
        }
        return;
    }
    let wanted = facts
        .config
        .cameras
        .iter()
        .any(|camera| matches!(camera.source, Source::Auto {} | Source::V4l2(_) | Source::Libcamera(_)));
    let mut groups: Vec<&str> = closed.iter().map(|node| node.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let names: Vec<String> = closed
            .iter()
            .filter(|node| node.group == group)
            .map(|node| node.path.display().to_string())
            .collect();
        let mut found = format!("{who} may not open {}", names.join(", "));
        let mend = if user.listed.iter().any(|listed| listed == group) {
            found.push_str(&format!("; it is in group {group}, but this session is older than that"));
            "log out and in again, or restart the service".to_owned()
        } else if group.parse::<u32>().is_ok() {
            format!("add group {group} to the container: docker run --group-add {group} …")
        } else if group == "root" {
            format!("sudo chgrp video {0} && sudo chmod g+rw {0}", names.join(" "))
        } else {
            let name = if user.name.is_empty() { "$USER" } else { &user.name };
            format!("sudo usermod -aG {group} {name}, then log in again")
        };
        let name = format!("group {group}");
        checks.push(if wanted {
            Check::fail(AREA, name, found, mend)
        } else {
            Check::warn(AREA, name, found, mend)
        });
    }
}

fn port(facts: &Facts) -> Check {
    let server = &facts.config.server;
    let address = std::net::SocketAddr::new(server.bind, server.port);
    one_port(address, &facts.port, "server")
}

/// Those of RTSP. The service goes on without its default port when somebody else has it.
fn rtsp(facts: &Facts) -> impl Iterator<Item = Check> {
    let default = RtspServer::default().port;
    facts.rtsp.iter().map(move |(key, address, port)| {
        let mut check = one_port(*address, port, "rtsp");
        check.mend = check.mend.map(|mend| mend.replace("rtsp.port", key));
        if check.state == State::Fail && address.port() == default && matches!(port, Port::Taken(_)) {
            check.state = State::Warn;
        }
        check
    })
}

/// `section` is where it is configured.
fn one_port(address: std::net::SocketAddr, port: &Port, section: &str) -> Check {
    const AREA: &str = "Network";
    let (bind, number) = (address.ip(), address.port());
    let address = address.to_string();
    match port {
        Port::Free => Check::ok(AREA, address, "free to listen on"),
        Port::Taken(Some(Holder { pid, name })) if name == "fanlight" => {
            Check::ok(AREA, address, format!("fanlight listens there already (process {pid})"))
        }
        Port::Taken(holder) => {
            let (found, mend) = match holder {
                Some(Holder { pid, name }) => {
                    (format!("in use by {name} (process {pid})"), format!("stop it: kill {pid}"))
                }
                None => (
                    "in use by somebody else's process".to_owned(),
                    format!("see whose: sudo ss -ltnp 'sport = :{number}'"),
                ),
            };
            Check::fail(AREA, address, found, format!("{mend}; or choose another: {section}.port"))
        }
        Port::Forbidden => Check::fail(
            AREA,
            address,
            "ports below 1024 are not open to this user",
            format!("choose another {section}.port, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit"),
        ),
        Port::NoAddress => Check::fail(
            AREA,
            address,
            format!("this machine has no address {bind}"),
            format!("ip -brief address; then set {section}.bind to one of them, or to 0.0.0.0"),
        ),
        Port::Other(words) => {
            Check::fail(AREA, address, words.clone(), format!("set {section}.bind and {section}.port"))
        }
    }
}

fn directory(place: &Directory, facts: &Facts) -> Check {
    const AREA: &str = "Directories";
    let (key, path) = (place.key, place.path.display());
    let user = if facts.user.name.is_empty() { "$USER" } else { &facts.user.name };
    let target = quoted(&place.path);
    let make = format!("sudo install -d -o {user} {target}");
    match &place.state {
        Place::Good { free: Some(free) } if *free < ROOM && key != "pipelines.directory" => {
            Check::fail(AREA, key, format!("{path}: its disk is full"), format!("make room: df -h {target}"))
        }
        Place::Good { .. } => Check::ok(AREA, key, path.to_string()),
        // No directory of one's own fragments is the usual case.
        Place::Creatable | Place::Missing if key == "pipelines.directory" => {
            Check::ok(AREA, key, format!("{path}: not there; the built-in fragments are used"))
        }
        Place::Creatable => Check::ok(AREA, key, format!("{path}: will be made")),
        // The service runs without its health file, but whoever reads it is blind.
        Place::Missing if key == "health.file" => {
            let found =
                format!("{path}: not there, and {user} may not make it (systemd does, for the service)");
            Check::warn(AREA, key, found, make)
        }
        Place::Missing => {
            Check::fail(AREA, key, format!("{path}: not there, and {user} may not make it"), make)
        }
        Place::NotADirectory => {
            Check::fail(AREA, key, format!("{path}: not a directory"), format!("set {key} to a directory"))
        }
        Place::Denied(words) if key == "pipelines.directory" => {
            Check::fail(AREA, key, format!("{path}: {words}"), format!("sudo chmod a+rx {target}"))
        }
        Place::Denied(words) => {
            Check::fail(AREA, key, format!("{path}: {words}"), format!("sudo chown {user} {target}"))
        }
    }
}

fn clock(facts: &Facts) -> Check {
    const AREA: &str = "Clock";
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(facts.clock.now);
    let now = crate::telemetry::timestamp(time);
    let mend = "sudo timedatectl set-ntp true";
    match facts.clock.synchronised {
        _ if facts.clock.now < PLAUSIBLE => Check::fail(
            AREA,
            "time",
            format!("{now}: the clock was never set; certificates will not hold"),
            mend,
        ),
        Some(false) => Check::warn(AREA, "time", format!("{now}, not synchronised"), mend),
        Some(true) => Check::ok(AREA, "time", format!("{now}, synchronised")),
        None => Check::ok(AREA, "time", now),
    }
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
