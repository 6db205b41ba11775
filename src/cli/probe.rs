//! `fanlight probe URL|DEVICE|FILE`: what a camera offers, which outputs pass it through, and a
//! `[[camera]]` to paste.
//!
//! [`target`] reads what was asked, [`watch`] opens it for some seconds with the same capture that the
//! service uses, [`measure`] counts, [`report`] says. A V4L2 device and a camera of libcamera's are only
//! asked for their modes. Passwords are never printed.

mod measure;
mod report;
mod target;
mod watch;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::bounded::within;
use crate::capture::discover;
use crate::capture::v4l2;
use crate::config::model::{Camera, HttpMode, Source};
use crate::pipelines::elements;
use report::{Outcome, Report};
use target::{Asked, HttpLook};

/// Enumerating a device takes some milliseconds; a driver that hangs is not waited for.
const DEVICE_LIMIT: Duration = Duration::from_secs(5);

/// `fanlight probe`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProbeArgs {
    /// rtsp://…, http://…, /dev/videoN, a link in /dev/v4l/by-id, a file, or the name of a camera that
    /// `fanlight doctor` shows.
    #[arg(value_name = "URL|DEVICE|FILE")]
    pub target: String,
    /// How long to watch the camera at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0, value_parser = seconds)]
    pub timeout: f64,
    /// Print JSON, for scripts.
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=120.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 1 to 120".into()),
    }
}

/// Looks at the camera and prints what it found. Gives the exit code: 1 when it gives no picture.
///
/// Blocks for about the timeout; call it outside a runtime.
pub fn run(args: &ProbeArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let report = examine(args)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report).context("the report could not be written")?;
        writeln!(out)?;
    } else {
        report.show(out).context("the report could not be written")?;
    }
    Ok(u8::from(report.result != Outcome::Live))
}

fn examine(args: &ProbeArgs) -> anyhow::Result<Report> {
    let limit = Duration::from_secs_f64(args.timeout);
    elements::start().map_err(|words| anyhow::anyhow!("GStreamer does not start: {words}"))?;
    let asked = match target::read(&args.target) {
        Ok(asked) => asked,
        Err(words) => return Ok(named(&args.target, &words)),
    };
    let Asked { camera, shown, secret } = asked;
    let mut report = match &camera.source {
        Source::V4l2(v4l2) => {
            let device = v4l2.device.clone();
            let modes = within(DEVICE_LIMIT, move || modes(&device))
                .unwrap_or_else(|| Err("the device does not answer: its driver hangs (dmesg)".into()));
            report::of_modes(&shown, &camera, modes)
        }
        Source::Http(_) => http(camera, &shown, limit)?,
        _ => report::of_seen(&shown, &camera, &watch::watch(camera.clone(), limit)?, elements::registered),
    };
    if let Some(secret) = secret {
        report.hide(&secret, &shown);
    }
    Ok(report)
}

/// What a device offers, or why it cannot be asked and what to do.
fn modes(device: &Path) -> Result<Vec<v4l2::Mode>, String> {
    let shown = device.display();
    match std::fs::File::options().read(true).write(true).open(device) {
        Ok(_) => v4l2::modes(device),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => {
                format!("there is no {shown}; plug the camera in, then look for it in /dev/v4l/by-id/")
            }
            ErrorKind::PermissionDenied => {
                format!("{shown} may not be opened by this user; fanlight doctor says what mends that")
            }
            _ => format!("{shown} cannot be opened: {error}"),
        }),
    }
}

/// An HTTP camera gives a stream or single pictures: what its answer says, or whatever works.
fn http(mut camera: Camera, shown: &str, limit: Duration) -> anyhow::Result<Report> {
    let modes: &[HttpMode] = match &camera.source {
        Source::Http(http) => match target::look(&http.url, limit.min(Duration::from_secs(4))) {
            HttpLook::Is(mode) => &[mode],
            HttpLook::Unclear => &[HttpMode::Mjpeg, HttpMode::Jpeg],
            HttpLook::Failed(words) => return Ok(Report::failed(shown, Outcome::Failed, words)),
        },
        _ => &[],
    };
    let mut report = Report::failed(shown, Outcome::Failed, "nothing was tried".into());
    for mode in modes {
        if let Source::Http(http) = &mut camera.source {
            http.mode = *mode;
        }
        report = report::of_seen(shown, &camera, &watch::watch(camera.clone(), limit)?, elements::registered);
        // A wrong password is not tried a second time.
        if matches!(report.result, Outcome::Live | Outcome::Refused) {
            break;
        }
    }
    Ok(report)
}

/// A name that is neither a URL nor a path: one of the cameras of this machine, or an error that names
/// them.
fn named(name: &str, words: &str) -> Report {
    let found = within(DEVICE_LIMIT * 2, discover::all).unwrap_or_default();
    match found.iter().find(|found| found.name == name) {
        Some(found) => {
            let camera = Camera::new(target::id(name), found.source.clone());
            report::of_modes(name, &camera, Ok(found.modes.clone()))
        }
        None => {
            let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
            let here = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let words = format!("{words}; cameras on this machine: {here}");
            Report::failed(&crate::config::redact_url(name), Outcome::Failed, words)
        }
    }
}

#[cfg(test)]
#[path = "probe/tests.rs"]
mod tests;
