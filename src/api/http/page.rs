//! The plain page: the picture, the cameras and their states, the links. At `/plain`, and at `/` when the
//! dashboard was not built into the binary.
//!
//! It is whole without scripts; the script in it only brings the states up to date. Everything that
//! a user named is escaped here and set as text there, and the page may load nothing from elsewhere.

use std::fmt::Write as _;

use warp::http::{HeaderName, HeaderValue, StatusCode, header};

use super::answer::{self, Response};
use super::{AppState, assets};
use crate::capture::Capture;
use crate::capture::status::CameraStatus;
use crate::control::Urls;
use crate::supervision::lifecycle::State;

const TEMPLATE: &str = include_str!("page.html");
const DASHBOARD: &str = "<a href=\"./\">Dashboard</a>";
const NO_DASHBOARD: &str = "The dashboard was not built into this program: <code>make build</code>, which \
    needs Node.js, does that.";

pub fn page(state: &AppState) -> Response {
    // A new one for each answer: only the style and the script of this very page may run.
    let nonce = format!("{:032x}", rand::random::<u128>());
    let mut response = answer::bytes(
        StatusCode::OK,
        "text/html; charset=utf-8",
        render(&state.cameras.all(), state, &nonce),
    );
    let policy = format!(
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{nonce}'; \
         script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static("camera=()"));
    response
}

fn render(cameras: &[Capture], state: &AppState, nonce: &str) -> String {
    let low_latency = state.config.borrow().hls.low_latency;
    let mut list = String::new();
    for (index, capture) in cameras.iter().enumerate() {
        card(&mut list, &capture.status(), &Urls::of(capture, low_latency, state.rtsp.as_ref()), index == 0);
    }
    if cameras.is_empty() {
        list.push_str("<p>No camera is configured or found. <code>fanlight doctor</code> says why.</p>");
    }
    TEMPLATE
        .replace("{{nonce}}", nonce)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{dashboard}}", if assets::built() { DASHBOARD } else { NO_DASHBOARD })
        // Last: a camera's name is not looked at for placeholders.
        .replace("{{cameras}}", &list)
}

/// One camera. Only the first one's picture moves by itself: browsers keep six connections to a server.
fn card(page: &mut String, status: &CameraStatus, urls: &Urls, live: bool) {
    let (id, name) = (escape(&status.id), escape(&status.name));
    // Writing to a String cannot fail.
    let _ = write!(page, "<article data-id=\"{id}\"><h2>{name}</h2>");
    if let Some(stream) = &urls.stream {
        let stream = escape(relative(stream));
        let source = if live { format!(" src=\"{stream}\"") } else { String::new() };
        let hidden = if live { "" } else { " hidden" };
        let _ = write!(page, "<img data-stream=\"{stream}\"{source} alt=\"Live picture of {name}\"{hidden}>");
        let _ =
            write!(page, "<button type=\"button\"{}>Watch here</button>", if live { " hidden" } else { "" });
    }
    let _ = write!(
        page,
        "<p><b class=\"state {0}\">{1}</b> <span class=\"facts\">{2}</span></p>\
         <p class=\"error\">{3}</p><p class=\"links\">",
        class(status.lifecycle.state),
        word(status.lifecycle.state),
        escape(&facts(status)),
        escape(error(status).unwrap_or_default()),
    );
    for (url, text) in [
        (&urls.stream, "MJPEG"),
        (&urls.snapshot, "Snapshot"),
        (&urls.hls, "HLS"),
        (&urls.hls_ll, "Low-latency HLS"),
        (&urls.hls_ll_fmp4, "Low-latency HLS (fMP4)"),
    ] {
        if let Some(url) = url {
            let _ = write!(page, "<a href=\"{}\">{text}</a> ", escape(relative(url)));
        }
    }
    page.push_str("</p></article>\n");
}

/// For a page that may be behind a proxy, at `/camera/` of another server.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn facts(status: &CameraStatus) -> String {
    let mut facts = vec![status.format.clone().unwrap_or_else(|| status.source.to_owned())];
    if status.lifecycle.state == State::Live {
        facts.push(format!("{:.1} fps", status.fps));
    }
    if let Some(age) = status.frame_age_seconds {
        facts.push(format!("newest picture {age:.1} s old"));
    }
    facts.join(" · ")
}

/// The newest failure, while it explains how the camera is.
fn error(status: &CameraStatus) -> Option<&str> {
    match status.lifecycle.state {
        State::Live | State::Idle => None,
        _ => status.lifecycle.last_error.as_deref(),
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Starting => "starting",
        State::Live => "live",
        State::Stalled => "stalled",
        State::BackingOff => "backing off",
        State::Refused => "refused",
        State::Stopping => "stopping",
    }
}

const fn class(state: State) -> &'static str {
    match state {
        State::Live => "good",
        State::Idle | State::Starting | State::Stopping => "calm",
        State::Stalled | State::BackingOff | State::Refused => "bad",
    }
}

/// For text and for quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    #[test]
    fn what_users_wrote_is_text_and_never_markup() {
        let mut camera = Camera::new("front", Source::Test {});
        camera.name = Some("<script>alert(1)</script>\" onload='x' & {{nonce}} {{cameras}}".into());
        let capture = Capture::detached(camera);
        let mut status = capture.status();
        status.lifecycle.state = State::BackingOff;
        status.lifecycle.last_error = Some("<img src=x onerror=alert(2)>".into());
        status.format = Some("<b>H.264</b>".into());
        let mut page = String::new();
        card(&mut page, &status, &Urls::of(&capture, true, None), true);
        assert!(
            !page.contains("<script") && !page.contains("<img src=x") && !page.contains("<b>H"),
            "{page}"
        );
        let name =
            "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp; {{nonce}} {{cameras}}";
        assert!(page.contains(&format!("<h2>{name}</h2>")), "{page}");
        assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"), "{page}");
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        // The icon's namespace is a name, not a place.
        let template = TEMPLATE.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !template.contains("http://") && !template.contains("https://") && !template.contains("//cdn")
        );
        assert!(!TEMPLATE.contains("innerHTML"), "what the script writes is text");
        assert!(
            !TEMPLATE.contains("=\"/") && !TEMPLATE.contains("(\"/"),
            "a proxy may serve it below a path of its own"
        );
        assert!(
            !TEMPLATE.contains(" style=\"") && !TEMPLATE.contains(" onclick"),
            "the policy forbids these"
        );
    }
}
