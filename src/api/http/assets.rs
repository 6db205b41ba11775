//! The files of the dashboard: in the binary, plain and gzipped, put there by `build.rs`.
//!
//! What lies under `assets/` carries a hash of its content in its name and never changes; the page
//! itself and its icon are asked for again each time and answered with 304. Without a built dashboard
//! there are no files, and the plain page says so.

use serde_json::json;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Request;
use super::answer::{self, Fault, Response};
use crate::config::model::LiveKit;

/// One file of the dashboard.
#[derive(Debug)]
pub struct Asset {
    /// Relative to the page: `index.html`, `assets/index-4f2a.js`.
    path: &'static str,
    /// Hash of the content.
    etag: &'static str,
    body: &'static [u8],
    /// Gzipped, where that is smaller.
    gzip: Option<&'static [u8]>,
}

/// Sorted by path; empty when `web/dist` was not there at build time.
const DASHBOARD: &[Asset] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

const INDEX: &str = "index.html";
/// Where names carry a hash.
const HASHED: &str = "assets/";

/// Whether the dashboard was built into this binary.
pub fn built() -> bool {
    !DASHBOARD.is_empty()
}

/// The dashboard's page, if it was built into this binary.
pub fn index(request: &Request<'_>, livekit: &LiveKit) -> Option<Response> {
    let index = find(DASHBOARD, INDEX)?;
    let mut response = serve(index, request);
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy(livekit)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The page shows cameras; it never uses the viewer's own.
    let none = HeaderValue::from_static("camera=(), microphone=(), geolocation=()");
    headers.insert(HeaderName::from_static("permissions-policy"), none);
    Some(response)
}

/// Another file of the dashboard.
pub fn file(path: &str, request: &Request<'_>) -> Result<Response, Fault> {
    let asset = find(DASHBOARD, path).ok_or_else(|| {
        let message = if DASHBOARD.is_empty() {
            "the dashboard was not built into this binary: `make build` does that"
        } else {
            "the dashboard has no such file; it was updated: load the page again"
        };
        Fault::new(StatusCode::NOT_FOUND, "NOT_FOUND", message, json!({ "path": path }))
    })?;
    Ok(serve(asset, request))
}

fn find(assets: &'static [Asset], path: &str) -> Option<&'static Asset> {
    let place = assets.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    assets.get(place)
}

fn serve(asset: &Asset, request: &Request<'_>) -> Response {
    let packed = asset.gzip.filter(|_| takes_gzip(request.headers));
    // Each form has a tag of its own: they are different bytes (RFC 9110 section 8.8.3.3).
    let tag = format!("\"{}{}\"", asset.etag, if packed.is_some() { "-gz" } else { "" });
    let known = request.headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| matches(tags, &tag));
    let body = packed.unwrap_or(asset.body);
    let mut response = if known {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::bytes(StatusCode::OK, content_type(asset.path), body)
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if packed.is_some() && !known {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let keep =
        if asset.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

/// Whether `Accept-Encoding` lets gzip through (RFC 9110 section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for coding in lists.flat_map(|list| list.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return wanted,
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

/// One `If-None-Match` against a tag; weak tags count (RFC 9110 section 13.1.2).
fn matches(tags: &HeaderValue, tag: &str) -> bool {
    tags.to_str().is_ok_and(|tags| {
        tags.split(',').map(str::trim).any(|each| each == "*" || each.trim_start_matches("W/") == tag)
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What the page may load: its own files, pictures that it makes itself, and the LiveKit server.
///
/// Who may frame it is left open: people put their cameras into dashboards of their own.
fn policy(livekit: &LiveKit) -> String {
    let mut connect = "'self'".to_owned();
    if let Some(url) = livekit.public_url.as_ref().or(livekit.url.as_ref()) {
        for source in sources(url) {
            connect.push(' ');
            connect.push_str(&source);
        }
    }
    format!(
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         media-src 'self' blob:; worker-src 'self' blob:; connect-src {connect}; object-src 'none'; \
         base-uri 'none'; form-action 'none'"
    )
}

/// The origins that livekit-client talks to: WebSocket for signalling, HTTP to find out why that failed.
fn sources(livekit: &str) -> Vec<String> {
    let Some((scheme, rest)) = livekit.split_once("://") else { return Vec::new() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Nothing that would end the directive and begin another one.
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
    if host.is_empty() || !host.chars().all(fits) {
        return Vec::new();
    }
    let s = if matches!(scheme.to_ascii_lowercase().as_str(), "wss" | "https") { "s" } else { "" };
    let mut list = vec![format!("ws{s}://{host}"), format!("http{s}://{host}")];
    // LiveKit Cloud sends its clients on to the region that is nearest.
    if host.ends_with(".livekit.cloud") {
        list.extend(["wss://*.livekit.cloud".to_owned(), "https://*.livekit.cloud".to_owned()]);
    }
    list
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderName, Method};

    use super::*;

    const FILES: &[Asset] = &[
        Asset { path: "assets/a-1.js", etag: "aa", body: b"plain plain plain", gzip: Some(b"packed") },
        Asset { path: "assets/b-2.woff2", etag: "bb", body: b"font", gzip: None },
        Asset { path: "index.html", etag: "cc", body: b"<html>", gzip: Some(b"gz") },
    ];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn ask(path: &str, headers: &HeaderMap) -> Response {
        let (method, body) = (&Method::GET, bytes::Bytes::new());
        let (query, entered) = ("", None);
        let request =
            Request { method, path: "/", query, headers, client: None, body, upgrade: None, entered };
        serve(find(FILES, path).unwrap(), &request)
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let table = [
            (vec![], false),
            (vec!["gzip, deflate, br, zstd"], true),
            (vec!["GZIP"], true),
            (vec!["br", "x-gzip"], true),
            (vec!["gzip;q=0"], false),
            (vec!["gzip; q=0.5"], true),
            (vec!["gzip;q=0, *"], false),
            (vec!["*"], true),
            (vec!["*;q=0"], false),
            (vec!["identity"], false),
            (vec!["gzip;q=nonsense"], false),
        ];
        for (values, expected) in table {
            let headers: HeaderMap = values
                .iter()
                .map(|value| (header::ACCEPT_ENCODING, HeaderValue::from_static(value)))
                .collect();
            assert_eq!(takes_gzip(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn hashed_files_are_kept_for_ever_and_the_page_is_asked_for_again() {
        let none = HeaderMap::new();
        let kept = ask("assets/a-1.js", &none);
        assert_eq!(kept.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(kept.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert_eq!(ask("index.html", &none).headers()[header::CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn each_form_has_its_own_tag_and_who_has_it_is_told_so() {
        let gzip = ("accept-encoding", "gzip");
        let packed = ask("index.html", &headers(&[gzip]));
        assert_eq!(packed.headers()[header::ETAG], "\"cc-gz\"");
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(packed.headers()[header::VARY], "Accept-Encoding");
        let plain = ask("index.html", &headers(&[]));
        assert_eq!(plain.headers()[header::ETAG], "\"cc\"");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        for (tags, status) in [
            ("\"cc-gz\"", 304),
            ("W/\"cc-gz\"", 304),
            ("\"x\", \"cc-gz\"", 304),
            ("*", 304),
            ("\"cc\"", 200),
            ("cc-gz", 200),
        ] {
            let answer = ask("index.html", &headers(&[gzip, ("if-none-match", tags)]));
            assert_eq!(answer.status(), status, "{tags}");
            assert_eq!(answer.headers()[header::ETAG], "\"cc-gz\"", "{tags}");
        }
    }

    #[test]
    fn the_page_talks_to_the_livekit_server_and_to_nobody_else() {
        let of = |url: Option<&str>, public: Option<&str>| {
            let owned = |url: Option<&str>| url.map(str::to_owned);
            let livekit = LiveKit { url: owned(url), public_url: owned(public), ..LiveKit::default() };
            let policy = policy(&livekit);
            assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'self'"), "{policy}");
            let start = policy.find("connect-src ").unwrap() + "connect-src ".len();
            policy[start..].split(';').next().unwrap().to_owned()
        };
        assert_eq!(of(None, None), "'self'");
        assert_eq!(of(Some("ws://127.0.0.1:7880"), None), "'self' ws://127.0.0.1:7880 http://127.0.0.1:7880");
        assert_eq!(
            of(Some("http://livekit:7880"), Some("wss://rtc.example.org/path")),
            "'self' wss://rtc.example.org https://rtc.example.org"
        );
        assert_eq!(
            of(Some("ws://[2001:db8::1]:7880"), None).split(' ').nth(1),
            Some("ws://[2001:db8::1]:7880")
        );
        assert!(of(Some("wss://x.livekit.cloud"), None).contains("wss://*.livekit.cloud"));
        assert_eq!(of(Some("ws://a; script-src *"), None), "'self'", "a header is not composed of this");
        assert_eq!(of(Some("nonsense"), None), "'self'");
    }

    #[test]
    fn what_was_built_in_is_sorted_and_has_its_types() {
        assert!(DASHBOARD.windows(2).all(|pair| pair[0].path < pair[1].path));
        for asset in DASHBOARD {
            assert_ne!(content_type(asset.path), "application/octet-stream", "{}", asset.path);
        }
        assert_eq!(find(DASHBOARD, INDEX).is_some(), !DASHBOARD.is_empty());
    }
}
