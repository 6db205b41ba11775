//! A camera that gives one JPEG at a time over HTTP: fetched at a steady rate and handed to an appsrc.
//!
//! Fetching blocks, so each fetch runs on a blocking thread, bounded in time and size. What is not a
//! JPEG is refused. The first failure ends the attempt.

use std::io::Read;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio_util::task::AbortOnDropHandle;

use crate::config::model::Http;
use crate::supervision::Failure;
use crate::supervision::Reports;

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// No camera's picture is larger.
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// Fetches a second for a camera with this configured rate.
pub fn rate(fps: u32) -> f64 {
    f64::from(fps.max(1))
}

/// Fetches until the handle is dropped or a fetch fails.
pub fn spawn(
    runtime: &tokio::runtime::Handle,
    http: Http,
    every: Duration,
    appsrc: gst_app::AppSrc,
    reports: Reports,
) -> AbortOnDropHandle<()> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .timeout_global(Some(FETCH_TIMEOUT))
            .max_redirects(3)
            .http_status_as_error(false)
            .build(),
    );
    AbortOnDropHandle::new(runtime.spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (agent, http) = (agent.clone(), http.clone());
            let fetched = tokio::task::spawn_blocking(move || fetch(&agent, &http)).await;
            let failure = match fetched {
                Ok(Ok(picture)) => match appsrc.push_buffer(gst::Buffer::from_slice(picture)) {
                    Ok(_) => continue,
                    // The pipeline ends: so does the fetching.
                    Err(_) => return,
                },
                Ok(Err(failure)) => failure,
                Err(panic) => Failure::broken(format!("fetching a picture: {panic}")),
            };
            return reports.failed(failure);
        }
    }))
}

fn fetch(agent: &ureq::Agent, http: &Http) -> Result<Vec<u8>, Failure> {
    let mut request = agent.get(&http.url);
    if let Some(user) = &http.username {
        let password = http.password.as_ref().map_or("", |password| password.expose());
        request = request.header("Authorization", basic(user, password));
    }
    let answer = request.call().map_err(|error| Failure::absent(format!("fetching a picture: {error}")))?;
    let status = answer.status();
    if status == 401 || status == 403 {
        return Err(Failure::refused(format!(
            "the camera answers {status}: it refuses this user name and password"
        )));
    }
    if !status.is_success() {
        return Err(Failure::broken(format!("the camera answers {status} instead of a picture")));
    }
    let mut picture = Vec::new();
    let read = answer.into_body().into_reader().take(LARGEST + 1).read_to_end(&mut picture);
    read.map_err(|error| Failure::broken(format!("reading a picture: {error}")))?;
    if picture.len() as u64 > LARGEST {
        return Err(Failure::broken("the camera's picture is larger than 16 MiB"));
    }
    if super::jpeg::whole(&picture).is_none() {
        return Err(Failure::broken(
            "what the camera gives is not a JPEG; if it is a stream, set source.mode = \"mjpeg\"",
        ));
    }
    Ok(picture)
}

/// RFC 7617.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", gst::glib::base64_encode(format!("{user}:{password}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_encoded_as_rfc_7617_says() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
