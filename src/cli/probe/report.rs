//! What `probe` says: the shape of its JSON, the words for people, and the `[[camera]]` to paste. Pure,
//! but for asking which elements are registered.

use std::io::Write;

use serde::Serialize;

use super::measure::Measured;
use super::watch::Seen;
use crate::capture::choice::{self, Encoded, Lane, Native, Route};
use crate::capture::v4l2::{self, Kind, Mode};
use crate::config::model::{Camera, H264Encoder, HttpMode, Resolution, Source, V4l2Format};
use crate::config::redact_url;
use crate::frames::Codec;
use crate::pipelines::elements::Missing;
use crate::supervision::State;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It gives pictures, or says which it would give.
    Live,
    /// It answers and refuses the credentials.
    Refused,
    /// It is not there, broke, or gives what nobody here can use; see `error`.
    Failed,
    /// It is there and gives no picture in time.
    Silent,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Without secrets.
    pub target: String,
    pub result: Outcome,
    /// In words; `null` when it is live.
    pub error: Option<String>,
    /// `accepted`, `not needed` or `refused`; `null` where there is nothing to ask.
    pub credentials: Option<&'static str>,
    pub first_picture_seconds: Option<f64>,
    /// `H.264 1280x720`.
    pub format: Option<String>,
    pub fps: Option<f64>,
    pub measured: Option<Measured>,
    /// How long pictures were counted.
    pub watched_seconds: Option<f64>,
    /// Audio streams that the camera offers; they are not used.
    pub audio: Vec<String>,
    /// What a device can be set to.
    pub modes: Vec<Mode>,
    pub outputs: Vec<Output>,
    pub notes: Vec<String>,
    /// For the configuration file.
    pub camera: Option<String>,
}

/// How one kind of output would be fed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    pub outputs: &'static str,
    pub passed_through: bool,
    /// In words.
    pub how: String,
}

impl Report {
    pub fn failed(target: &str, result: Outcome, error: String) -> Self {
        Self {
            target: target.to_owned(),
            result,
            error: Some(error),
            credentials: None,
            first_picture_seconds: None,
            format: None,
            fps: None,
            measured: None,
            watched_seconds: None,
            audio: Vec::new(),
            modes: Vec::new(),
            outputs: Vec::new(),
            notes: Vec::new(),
            camera: None,
        }
    }

    /// Puts `shown` wherever an error or a note repeats the secret URL.
    pub fn hide(&mut self, secret: &str, shown: &str) {
        for words in self.error.iter_mut().chain(&mut self.notes) {
            *words = words.replace(secret, shown);
        }
    }

    /// For people.
    pub fn show(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}", self.target)?;
        for (name, words) in self.lines() {
            writeln!(out, "  {name:<16} {words}")?;
        }
        if !self.modes.is_empty() {
            writeln!(out, "\n  {:<7} {:<7} {:<11} up to", "format", "pixels", "size")?;
            for mode in &self.modes {
                let rate = if mode.max_fps > 0.0 { format!("{:.0} fps", mode.max_fps) } else { "?".into() };
                let size = mode.size.to_string();
                writeln!(out, "  {:<7} {:<7} {size:<11} {rate}", kind(mode.kind), mode.pixels)?;
            }
        }
        if let Some(camera) = &self.camera {
            writeln!(out, "\nFor the configuration file:\n\n{camera}")?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        match (self.result, &self.error) {
            (Outcome::Live, _) => {
                if let Some(seconds) = self.first_picture_seconds {
                    lines.push(("live", format!("after {seconds:.1} s")));
                }
            }
            (Outcome::Refused, error) => lines.push(("refused", error.clone().unwrap_or_default())),
            (Outcome::Silent, error) => lines.push(("no picture", error.clone().unwrap_or_default())),
            (Outcome::Failed, error) => lines.push(("failed", error.clone().unwrap_or_default())),
        }
        if let Some(credentials) = self.credentials {
            lines.push(("credentials", credentials.to_owned()));
        }
        if let Some(format) = &self.format {
            let rate = self.fps.map(|fps| format!(", {fps:.1} fps"));
            lines.push(("video", format!("{format}{}", rate.unwrap_or_default())));
        }
        if let Some(measured) = &self.measured {
            if let Some(rate) = measured.kbit_per_second {
                lines.push(("bit rate", format!("{rate:.0} kbit/s")));
            }
            if let (Some(profile), Some(codec)) = (&measured.profile, &measured.codec) {
                lines.push(("profile", format!("{profile} ({codec})")));
            }
            if let Some(b_frames) = measured.b_frames {
                lines.push(("B-frames", if b_frames { "yes" } else { "none" }.to_owned()));
                lines.push(("keyframes", keyframes(measured, self.watched_seconds.unwrap_or(0.0))));
            }
        }
        if !self.audio.is_empty() {
            lines.push(("audio", format!("{} (not used)", self.audio.join(", "))));
        }
        lines.extend(self.outputs.iter().map(|output| (output.outputs, output.how.clone())));
        lines.extend(self.notes.iter().map(|note| ("note", note.clone())));
        lines
    }
}

fn keyframes(measured: &Measured, watched: f64) -> String {
    match (measured.gop_seconds, measured.gop_pictures) {
        (Some(seconds), Some(pictures)) => format!("at most {seconds:.1} s apart ({pictures} pictures)"),
        _ => format!("less than one in {watched:.0} s; set 2 s on the camera, viewers begin at a keyframe"),
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Raw => "raw",
        Kind::Mjpeg => "MJPEG",
        Kind::H264 => "H.264",
    }
}

/// The report on a camera that was opened.
pub fn of_seen(target: &str, camera: &Camera, seen: &Seen, registered: impl Fn(&str) -> bool) -> Report {
    let given = matches!(&camera.source, Source::Rtsp(rtsp) if rtsp.username.is_some())
        || matches!(&camera.source, Source::Http(http) if http.username.is_some())
        || matches!(camera.source, Source::BambuJpeg(_));
    let network = matches!(camera.source, Source::Rtsp(_) | Source::Http(_) | Source::BambuJpeg(_));
    let status = &seen.status;
    let Some(live_after) = seen.live_after else {
        let error = status.lifecycle.last_error.clone();
        let (result, error) = match (status.lifecycle.state, error) {
            (State::Refused, Some(error)) if given => {
                (Outcome::Refused, format!("{error}; check user name and password"))
            }
            (State::Refused, _) => (
                Outcome::Refused,
                "it wants a user name and password: rtsp://USER:PASSWORD@… (percent-encoded)".to_owned(),
            ),
            (_, Some(error)) => (Outcome::Failed, error),
            (_, None) => (
                Outcome::Silent,
                "it gives no picture in this time; try a longer --timeout, or another stream of the camera's"
                    .to_owned(),
            ),
        };
        let credentials = (result == Outcome::Refused).then_some("refused");
        return Report { credentials, ..Report::failed(target, result, error) };
    };
    let measured = (seen.measured.pictures > 0).then(|| seen.measured.clone());
    let counted = seen.measured.fps.or((status.fps > 0.0).then_some(status.fps));
    let fps = match &camera.source {
        // The rate of fetching is ours, not the camera's.
        Source::Http(http) if http.mode == HttpMode::Jpeg => None,
        _ => counted,
    };
    let size = status.resolution.as_deref().and_then(|size| size.parse().ok());
    let mut notes = status.notes.clone();
    if matches!(&camera.source, Source::Http(http) if http.mode == HttpMode::Jpeg) {
        notes.push("One picture at a time: fetched fps times a second, once without fps.".to_owned());
    }
    Report {
        target: target.to_owned(),
        result: Outcome::Live,
        error: None,
        credentials: network.then_some(if given { "accepted" } else { "not needed" }),
        first_picture_seconds: Some(live_after.as_secs_f64()),
        format: status.format.clone(),
        fps,
        measured,
        watched_seconds: Some(seen.watched.as_secs_f64()),
        audio: seen.streams.iter().filter_map(|s| Some(s.strip_prefix("audio ")?.to_owned())).collect(),
        modes: Vec::new(),
        outputs: outputs(
            (native(seen), seen.measured.b_frames == Some(true)),
            size.unwrap_or(camera.resolution),
            registered,
        ),
        notes,
        camera: Some(block(camera, None)),
    }
}

/// What the source gives: the capture's own words for it, read back.
fn native(seen: &Seen) -> Native {
    let format = seen.status.format.as_deref().unwrap_or_default();
    match format.split(' ').next().unwrap_or_default() {
        "H.264" => Native::Encoded(Encoded::H264),
        "H.265" => Native::Encoded(Encoded::H265),
        "JPEG" => Native::Encoded(Encoded::Jpeg),
        _ => Native::Raw,
    }
}

/// The report on a device that was only asked for its modes.
pub fn of_modes(target: &str, camera: &Camera, modes: Result<Vec<Mode>, String>) -> Report {
    let modes = match modes {
        Ok(modes) if modes.is_empty() && matches!(camera.source, Source::V4l2(_)) => {
            let words = "the device gives no pictures that are known here: it may be metadata, an encoder \
                         or a raw sensor; see v4l2-ctl --list-devices";
            return Report::failed(target, Outcome::Failed, words.to_owned());
        }
        Ok(modes) => modes,
        Err(words) => return Report::failed(target, Outcome::Failed, words),
    };
    let largest = modes.iter().map(|mode| mode.size).max_by_key(|s| u64::from(s.width) * u64::from(s.height));
    let size = largest.filter(|size| size.width <= 1920).unwrap_or(Resolution { width: 1280, height: 720 });
    let chosen = v4l2::choose(&modes, V4l2Format::Auto, size, 0, &camera.outputs, camera.transformed());
    let native = match chosen.map(|mode| mode.kind) {
        Some(Kind::H264) => Native::Encoded(Encoded::H264),
        Some(Kind::Mjpeg) => Native::Encoded(Encoded::Jpeg),
        Some(Kind::Raw) | None => Native::Raw,
    };
    let size = chosen.map(|mode| mode.size);
    let notes = chosen.map(|mode| format!("With format = \"auto\" and {}: {}.", mode.size, kind(mode.kind)));
    Report {
        target: target.to_owned(),
        result: Outcome::Live,
        error: None,
        outputs: outputs(
            (native, false),
            size.unwrap_or(camera.resolution),
            crate::pipelines::elements::registered,
        ),
        notes: notes.into_iter().collect(),
        camera: Some(block(camera, size)),
        modes,
        ..Report::failed(target, Outcome::Live, String::new())
    }
}

/// How each kind of output would be fed on this machine.
fn outputs(
    (native, b_frames): (Native, bool),
    size: Resolution,
    registered: impl Fn(&str) -> bool,
) -> Vec<Output> {
    [(Lane::Jpeg, "MJPEG, snapshot"), (Lane::H264, "HLS, LL-HLS"), (Lane::Realtime, "WebRTC")]
        .into_iter()
        .map(|(lane, outputs)| {
            let route = match choice::route(native, b_frames, lane, false) {
                Route::Shared => choice::route(native, b_frames, Lane::H264, false),
                own => own,
            };
            let encoder = || match lane.codec() {
                Codec::Jpeg => choice::jpeg_encoder(&registered),
                Codec::H264 => choice::h264_encoder(&registered, H264Encoder::Auto, size),
            };
            let how = match route {
                Route::Passthrough | Route::Shared => "passed through as it is".to_owned(),
                Route::Encode => re_encoded(encoder().map(|encoder| encoder.element.to_owned())),
                Route::Transcode(from) => {
                    let decoder = choice::decoder(&registered, from);
                    let both = decoder.and_then(|d| Ok(format!("{} to {}", d.element, encoder()?.element)));
                    re_encoded(both)
                }
            };
            Output { outputs, passed_through: route == Route::Passthrough, how }
        })
        .collect()
}

fn re_encoded(with: Result<String, Missing>) -> String {
    match with {
        Ok(elements) => format!("encoded while somebody watches ({elements})"),
        Err(missing) => format!("not possible: {missing}"),
    }
}

/// The camera as TOML. Names and passwords of the URL are left for the operator to put in.
fn block(camera: &Camera, size: Option<Resolution>) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    let mut lines = vec!["[[camera]]".to_owned(), format!("id = {}", text(&camera.id))];
    lines.extend(size.map(|size| format!("resolution = \"{size}\"")));
    lines.push("[camera.source]".to_owned());
    lines.push(format!("type = \"{}\"", camera.source.kind()));
    let mut address = |url: &str, username: Option<&String>| {
        let shown = redact_url(url);
        if shown != url {
            lines.push("# Put in again what is *** here:".to_owned());
        }
        lines.push(format!("url = {}", text(&shown)));
        if username.is_some() {
            lines.push("# The user name that you gave, and a file (mode 0600) with the password:".to_owned());
            lines.push("username = \"USER\"".to_owned());
            lines.push(format!("password_file = {}", text(&format!("{}.password", camera.id))));
        }
    };
    match &camera.source {
        Source::Rtsp(rtsp) => address(&rtsp.url, rtsp.username.as_ref()),
        Source::Http(http) => {
            address(&http.url, http.username.as_ref());
            let mode = if http.mode == HttpMode::Mjpeg { "mjpeg" } else { "jpeg" };
            lines.push(format!("mode = \"{mode}\""));
        }
        Source::V4l2(v4l2) => lines.push(format!("device = {}", text(&v4l2.device.to_string_lossy()))),
        Source::File(file) => lines.push(format!("path = {}", text(&file.path.to_string_lossy()))),
        Source::Libcamera(libcamera) => {
            lines.extend(libcamera.camera.as_ref().map(|name| format!("camera = {}", text(name))));
        }
        // Nobody probes what has no URL of its own.
        Source::BambuJpeg(_) | Source::Auto {} | Source::Test {} => {}
    }
    lines.join("\n")
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
