//! Rules between keys of the typed configuration. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::model::{
    Camera, Config, Publish, RecordMode, Source, Stepper, StepperDriver, Target, TlsCheck, place,
};
use super::secret::Secret;
use super::transforms::Transforms;
use super::value::{nearest, shortened};
use super::{addresses, urls};

/// A broken rule: the key to name, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub key: String,
    /// The key that it does not fit to: either of the two may be a default.
    pub other: String,
    pub message: String,
}

/// Everything that cannot work together.
pub(super) fn broken(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let hls = &config.hls;
    for (key, part) in
        [("hls.part_seconds", hls.part_seconds), ("hls.fmp4_part_seconds", hls.fmp4_part_seconds)]
    {
        if part >= hls.segment_seconds {
            let message = format!(
                "a part of {part} s does not fit into a segment of {} s; write less than hls.segment_seconds",
                hls.segment_seconds
            );
            findings.push(Finding { key: key.into(), other: "hls.segment_seconds".into(), message });
        }
    }
    let supervision = &config.supervision;
    if supervision.backoff_first_seconds > supervision.backoff_max_seconds {
        let message = format!(
            "the first wait of {} s is longer than the longest, supervision.backoff_max_seconds = {}",
            supervision.backoff_first_seconds, supervision.backoff_max_seconds
        );
        findings.push(Finding {
            key: "supervision.backoff_first_seconds".into(),
            other: "supervision.backoff_max_seconds".into(),
            message,
        });
    }
    if let Err(message) = recording_name(&config.record.name) {
        let key = "record.name";
        findings.push(Finding { key: key.into(), other: key.into(), message });
    }
    let every = config.printers.timelapse_seconds;
    if every > 0.0 && every < 1.0 {
        let key = "printers.timelapse_seconds";
        let message = format!("a picture every {every} s is a recording; write 1 to 3600, or 0 for none");
        findings.push(Finding { key: key.into(), other: key.into(), message });
    }
    let rtsp = &config.rtsp;
    for (name, file) in [("certificate", &rtsp.certificate), ("key", &rtsp.key)] {
        if rtsp.tls_port.is_some() && file.is_none() {
            findings.push(Finding {
                key: "rtsp.tls_port".into(),
                other: format!("rtsp.{name}"),
                message: format!("RTSPS needs a certificate and its key; set rtsp.{name} to a PEM file"),
            });
        }
    }
    findings.extend(stepper(&config.stepper));
    findings.extend(lost_cameras(config));
    findings.extend(transforms(config));
    findings.extend(clashes(config));
    findings
}

/// Names of recordings stand in paths: nothing but what is safe there.
fn recording_name(template: &str) -> Result<(), String> {
    let plain = template.replace("{camera}", "c").replace("{date}", "d").replace("{time}", "t");
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if plain.is_empty() || !plain.chars().all(safe) || plain.starts_with(['.', '-']) || plain.len() > 60 {
        return Err(format!(
            "{} names no file; write {{camera}}, {{date}}, {{time}}, letters, digits, -, _ and . (at most 60), \
             not beginning with - or .",
            shortened(template)
        ));
    }
    Ok(())
}

/// A motor that could not turn as it is written down.
fn stepper(stepper: &Stepper) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut wrong = |key: &str, other: &str, message: String| {
        let (key, other) = (format!("stepper.{key}"), format!("stepper.{other}"));
        findings.push(Finding { key, other, message });
    };
    let Stepper { min, max, home_position, steps_per_degree, max_speed, .. } = *stepper;
    if min >= max {
        wrong("min", "max", format!("the lower limit {min} is not below the upper one, stepper.max = {max}"));
    } else if !(min..=max).contains(&home_position) {
        let message =
            format!("the end switch at {home_position} degrees is outside of stepper.min to stepper.max");
        wrong("home_position", "min", message);
    }
    let (quick, most) =
        (steps_per_degree * max_speed.max(stepper.home_speed), Stepper::MOST_STEPS_PER_SECOND);
    if quick > most {
        let message = format!("that is {quick:.0} steps a second; at most {most:.0} can be timed");
        wrong("max_speed", "steps_per_degree", message);
    }
    let mut seen = Vec::new();
    for text in &stepper.presets {
        match place(text) {
            Some((name, angle)) if !(min..=max).contains(&angle) => {
                let message = format!("preset {} is outside of stepper.min to stepper.max", shortened(name));
                wrong("presets", "min", message);
            }
            Some((name, _)) if seen.contains(&name) => {
                wrong("presets", "presets", format!("preset {} is there twice", shortened(name)));
            }
            Some((name, _)) => seen.push(name),
            None => {
                let message =
                    format!("{} names no place; write a name and degrees: \"door=-45\"", shortened(text));
                wrong("presets", "presets", message);
            }
        }
    }
    let lines: &[(&str, bool)] = match stepper.driver {
        StepperDriver::None | StepperDriver::Simulated => &[],
        StepperDriver::StepDir => {
            &[("step_pin", stepper.step_pin.is_some()), ("direction_pin", stepper.direction_pin.is_some())]
        }
        StepperDriver::FourPhase => &[("phase_pins", stepper.phase_pins.len() == 4)],
    };
    for (key, there) in lines {
        if !there {
            let message = match *key {
                "phase_pins" => {
                    "a four-phase driver has four lines; write them in the order of its inputs".to_owned()
                }
                _ => format!("a step and direction driver needs stepper.{key}; write the line of the chip"),
            };
            wrong(key, "driver", message);
        }
    }
    findings
}

/// Masks and overlays that cannot be drawn.
fn transforms(config: &Config) -> Vec<Finding> {
    let of = |(index, camera): (usize, &Camera)| {
        let wrong = Transforms::of(camera).check(&camera.id, camera.display_name());
        let at = format!("camera.{index}");
        wrong.into_iter().map(move |(key, message)| Finding {
            key: format!("{at}.{key}"),
            other: at.clone(),
            message,
        })
    };
    config.cameras.iter().enumerate().flat_map(of).collect()
}

/// Published outputs of cameras that do not exist.
fn lost_cameras(config: &Config) -> Vec<Finding> {
    // Without any camera there will be one, found by itself.
    let ids: Vec<&str> = match &config.cameras[..] {
        [] => vec![super::ANY_CAMERA],
        cameras => cameras.iter().map(|camera| camera.id.as_str()).collect(),
    };
    let lost = |(index, output): (usize, &Publish)| {
        let camera = output.camera.as_deref()?;
        if ids.contains(&camera) {
            return None;
        }
        let near = nearest(camera, ids.iter().copied());
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Some(Finding {
            key: format!("publish.{index}.camera"),
            other: format!("publish.{index}"),
            message: format!(
                "output {:?} publishes camera {}, which does not exist; cameras: {}{hint}",
                output.id,
                shortened(camera),
                ids.join(", ")
            ),
        })
    };
    config.publish.iter().enumerate().filter_map(lost).collect()
}

/// Published outputs that a server would take for one: each would push the other out, for ever.
fn clashes(config: &Config) -> Vec<Finding> {
    let mut seen: BTreeMap<[String; 4], &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for (index, output) in config.publish.iter().enumerate() {
        let Some(peer) = peer(config, output) else { continue };
        let (key, what) = if peer[0] == ROOM {
            ("identity", "under the same identity into the same room")
        } else {
            ("url", "to the same place with the same key")
        };
        if let Some(first) = seen.get(&peer) {
            findings.push(Finding {
                key: format!("publish.{index}.{key}"),
                other: format!("publish.{index}"),
                message: format!(
                    "outputs {first:?} and {:?} publish {what}, where one would push the other out; \
                     give each its own",
                    output.id
                ),
            });
        } else {
            seen.insert(peer, &output.id);
        }
    }
    findings
}

/// What the server knows an output by.
fn peer(config: &Config, output: &Publish) -> Option<[String; 4]> {
    let camera = config.published_camera(output).map_or(super::ANY_CAMERA, |camera| camera.id.as_str());
    let livekit = config.livekit.url.as_deref().unwrap_or("");
    let file = |path: &Option<PathBuf>| path.as_deref().map(|path| path.display().to_string());
    let own = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_string());
    let room = |url: &Option<String>, room: &str, identity: &Option<String>| {
        let host = host(url.as_deref().unwrap_or(livekit)).to_string();
        Some([ROOM.into(), host, room.into(), identity.clone().unwrap_or(camera.into())])
    };
    let key = |url: &str, key: Option<String>| Some(["key".into(), url.into(), key?, String::new()]);
    match &output.target {
        Target::Livekit(to) => match file(&to.token_file) {
            Some(token) => key(host(to.url.as_deref().unwrap_or(livekit)), Some(token)),
            None => room(&to.url, &to.room, &to.identity),
        },
        Target::Whip(to) => match &to.room {
            Some(name) => room(&to.url, name, &to.identity),
            None => {
                let token = own(&to.token).or(file(&to.token_file)).unwrap_or_default();
                key(to.url.as_deref()?, Some(token))
            }
        },
        // One path has one publisher.
        Target::Mediamtx(to) => key(to.url.trim_end_matches('/'), Some(String::new())),
        Target::Rtmp(to) => {
            let (server, inside) = urls::take_stream_key(&to.url);
            match own(&to.stream_key).or(file(&to.stream_key_file)) {
                Some(written) => key(&to.url, Some(written)),
                None => key(&server, own(&inside)),
            }
        }
    }
}

/// How the name of a peer that is a place in a room begins.
const ROOM: &str = "room";

/// Host and port of a LiveKit address, which may begin with `ws` or `http`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// What works, but probably not as meant: key path and words.
pub(super) fn unwise(config: &Config) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let segment = config.hls.segment_seconds;
    for (index, camera) in config.cameras.iter().enumerate() {
        let gop = camera.h264.gop_seconds;
        if camera.outputs.hls && gop > segment {
            found.push((
                format!("camera.{index}.h264.gop_seconds"),
                format!(
                    "HLS of camera {:?} is cut at keyframes only: its segments will last {gop} s, not {segment} s",
                    camera.id
                ),
            ));
        }
        if let Source::Rtsp(rtsp) = &camera.source
            && rtsp.tls != TlsCheck::Any
            && !rtsp.url.to_ascii_lowercase().starts_with("rtsps:")
        {
            found.push((
                format!("camera.{index}.source.tls"),
                format!(
                    "the url of camera {:?} begins with rtsp://, which is not encrypted: nothing is checked; \
                     write rtsps:// if the camera offers it",
                    camera.id
                ),
            ));
        }
    }
    for (index, camera) in config.cameras.iter().enumerate() {
        let (scheduled, empty) = (camera.record == RecordMode::Scheduled, camera.schedule.is_empty());
        if scheduled == empty {
            let key = if scheduled { "schedule" } else { "record" };
            let message = if scheduled {
                format!("camera {:?} has no times to be recorded at; write schedule", camera.id)
            } else {
                format!("the schedule of camera {:?} is for record = \"scheduled\" only", camera.id)
            };
            found.push((format!("camera.{index}.{key}"), message));
        }
    }
    let continuous = |camera: &&Camera| camera.record == RecordMode::Continuous;
    if let Some(camera) = config.cameras.iter().find(continuous)
        && !config.record.retention
    {
        let message = format!(
            "camera {:?} is recorded all the time and nothing is ever deleted: the disk fills up; write \
             record.retention = true",
            camera.id
        );
        found.push(("record.retention".into(), message));
    }
    found.extend(livekit(config));
    for (index, output) in config.publish.iter().enumerate() {
        let missing = incomplete(config, output).into_iter();
        found.extend(missing.map(|(name, message)| (format!("publish.{index}.{name}"), message)));
    }
    found
}

fn livekit(config: &Config) -> Vec<(String, String)> {
    let livekit = &config.livekit;
    let mut found = Vec::new();
    let mut say = |key: &str, message: &str| found.push((key.to_string(), message.to_string()));
    match (&livekit.api_key, &livekit.api_secret) {
        (Some(_), None) => {
            say(
                "livekit.api_key",
                "there is no secret to it; write livekit.api_secret_file (or set LIVEKIT_API_SECRET)",
            );
        }
        (None, Some(_)) => {
            say(
                "livekit.api_secret",
                "there is no key to it; write livekit.api_key (or set LIVEKIT_API_KEY)",
            );
        }
        _ => {}
    }
    if livekit.url.is_none() && (livekit.api_key.is_some() || !livekit.rooms.is_empty()) {
        say("livekit.url", "not set, so LiveKit is off; write the server's address (or set LIVEKIT_HOST)");
    }
    for (key, servers) in
        [("livekit.ice_servers", &livekit.ice_servers), ("webrtc.ice_servers", &config.webrtc.ice_servers)]
    {
        if livekit.turn_static_secret.is_none() && servers.iter().any(|url| addresses::is_turn(url)) {
            let message = "browsers refuse a TURN server without credentials, so it is left out; write \
                           livekit.turn_static_secret_file (or set TURN_STATIC_SECRET)";
            say(key, message);
        }
    }
    found
}

/// What an output lacks of its own and of `[livekit]`. Not a mistake of the file: the environment may
/// bring it, and a bad value there must not stop the cameras.
fn incomplete(config: &Config, output: &Publish) -> Vec<(&'static str, String)> {
    let livekit = &config.livekit;
    let (own_url, own_key) = match &output.target {
        Target::Livekit(to) => (to.url.is_some(), to.api_key.is_some() || to.token_file.is_some()),
        Target::Whip(to) if to.room.is_some() => (to.url.is_some(), false),
        Target::Whip(_) | Target::Rtmp(_) | Target::Mediamtx(_) => return Vec::new(),
    };
    let mut found = Vec::new();
    if !own_url && livekit.url.is_none() {
        let message = "has no server to go to; write livekit.url (or set LIVEKIT_HOST), or a url of its own";
        found.push(("url", format!("output {:?} {message}", output.id)));
    }
    if !own_key && (livekit.api_key.is_none() || livekit.api_secret.is_none()) {
        let message = "has no key to make a token with; write livekit.api_key and livekit.api_secret_file (or \
                       set LIVEKIT_API_KEY and LIVEKIT_API_SECRET)";
        found.push(("room", format!("output {:?} {message}", output.id)));
    }
    found
}
