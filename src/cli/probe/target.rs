//! What was asked to be probed: a camera for the capture, and how to show it without its secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::config::model::{Camera, File, HttpMode, Source, V4l2, V4l2Format};
use crate::config::{check_url, redact_url, take_credentials};

/// A camera to look at.
#[derive(Clone, Debug)]
pub struct Asked {
    pub camera: Camera,
    /// For people, without secrets.
    pub shown: String,
    /// The URL, when it has secrets of its own (`?token=`): never to be printed.
    pub secret: Option<String>,
}

/// Reads the target.
///
/// # Errors
/// In words: what is wrong with it and what would be right. No secrets.
pub fn read(target: &str) -> Result<Asked, String> {
    if target.contains("://") {
        return read_url(target);
    }
    let path = Path::new(target);
    let source = if path.starts_with("/dev") {
        Source::V4l2(V4l2 { device: stable(path, Path::new("/dev/v4l/by-id")), format: V4l2Format::Auto })
    } else if path.is_file() {
        let path = std::path::absolute(path).map_err(|error| format!("{target}: {error}"))?;
        Source::File(File { path })
    } else {
        let shown = redact_url(target);
        return Err(format!(
            "{shown} is no URL, device or file: write rtsp://…, http://…, /dev/video0 or a file"
        ));
    };
    let name = path.file_stem().map_or_else(|| "camera".into(), |name| name.to_string_lossy());
    Ok(Asked { camera: Camera::new(id(&name), source), shown: target.to_owned(), secret: None })
}

fn read_url(target: &str) -> Result<Asked, String> {
    if let Some(path) = target.strip_prefix("file://") {
        return read(path);
    }
    check_url(target, &["rtsp", "rtsps", "http", "https"])?;
    let (url, credentials) = take_credentials(target);
    let host = Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let shown = redact_url(target);
    let secret = (redact_url(&url) != url).then(|| url.clone());
    let (username, password) = credentials.map_or((None, None), |c| (Some(c.username), c.password));
    let source = Source::network(url, username, password);
    let id = id(host.as_deref().unwrap_or("camera"));
    Ok(Asked { camera: Camera::new(id, source), shown, secret })
}

/// An id made of a name: what may stand in one, `-` for the rest.
pub fn id(name: &str) -> String {
    let mut id = String::new();
    for c in name.chars().take(64) {
        if c.is_ascii_alphanumeric() || c == '_' {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_end_matches('-');
    if id.is_empty() { "camera".to_owned() } else { id.to_owned() }
}

/// The link in `links` that leads to the device: `/dev/video0` may be another camera after a reboot.
fn stable(device: &Path, links: &Path) -> PathBuf {
    let Ok(real) = device.canonicalize() else { return device.to_owned() };
    let entries = std::fs::read_dir(links).into_iter().flatten();
    let mut same: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|link| link.canonicalize().is_ok_and(|target| target == real))
        .collect();
    same.sort();
    if device.starts_with(links) {
        device.to_owned()
    } else {
        same.into_iter().next().unwrap_or(device.to_owned())
    }
}

/// What a first GET, without credentials, says about an HTTP camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpLook {
    Is(HttpMode),
    /// It asks for credentials first, or says nothing useful.
    Unclear,
    /// Nobody there, in words.
    Failed(String),
}

/// Asks once; only the head of the answer is read.
pub fn look(url: &str, limit: Duration) -> HttpLook {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(3)
        .http_status_as_error(false)
        .build();
    let answer = match ureq::Agent::new_with_config(config).get(url).call() {
        Ok(answer) => answer,
        Err(error) => return HttpLook::Failed(error.to_string()),
    };
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    match kind.map(str::to_ascii_lowercase) {
        Some(kind) if answer.status().is_success() && kind.starts_with("multipart/") => {
            HttpLook::Is(HttpMode::Mjpeg)
        }
        Some(kind) if answer.status().is_success() && kind.starts_with("image/") => {
            HttpLook::Is(HttpMode::Jpeg)
        }
        _ if answer.status().is_client_error() && answer.status() != 401 && answer.status() != 403 => {
            HttpLook::Failed(format!("the camera answers {}", answer.status()))
        }
        _ => HttpLook::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_loses_its_credentials_before_anything_is_shown() {
        let asked = read("rtsp://ada:hunter2@10.0.0.7:8554/live").unwrap();
        assert_eq!(asked.shown, "rtsp://***@10.0.0.7:8554/live");
        assert_eq!((asked.camera.id.as_str(), asked.secret), ("10-0-0-7", None));
        let Source::Rtsp(rtsp) = asked.camera.source else { panic!("not RTSP") };
        assert_eq!(rtsp.url, "rtsp://10.0.0.7:8554/live");
        assert_eq!(rtsp.username.as_deref(), Some("ada"));
        assert_eq!(rtsp.password.unwrap().expose(), "hunter2");
        let asked = read("http://cam.local/video?token=abc").unwrap();
        assert_eq!(asked.shown, "http://cam.local/video?token=***");
        assert_eq!(asked.secret.as_deref(), Some("http://cam.local/video?token=abc"));
        for bad in ["ftp://x/y", "rtsp://", "http://a b/", "nothing here", "rtsp://u:p/w@host:x/"] {
            let words = read(bad).unwrap_err();
            assert!(words.contains("rtsp://") && !words.contains("p/w"), "{bad}: {words}");
        }
    }

    #[test]
    fn a_device_is_named_by_the_link_that_stays() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("video0");
        std::fs::write(&device, "").unwrap();
        let links = directory.path().join("by-id");
        std::fs::create_dir(&links).unwrap();
        assert_eq!(stable(&device, &links), device);
        let link = links.join("usb-HD_camera-video-index0");
        std::os::unix::fs::symlink(&device, &link).unwrap();
        assert_eq!(stable(&device, &links), link);
        assert_eq!(stable(Path::new("/dev/video_none"), &links), Path::new("/dev/video_none"));
    }

    #[test]
    fn ids_are_made_of_what_may_stand_in_them() {
        for (name, expected) in
            [("Porch Cam.mp4", "porch-cam-mp4"), ("::1", "1"), ("…", "camera"), ("a--b", "a-b")]
        {
            assert_eq!(id(name), expected);
        }
    }
}
