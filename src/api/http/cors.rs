//! Which pages of other origins may read answers, and which may make the service do something.
//!
//! `server.cors_origins` holds `*` (any page may read: the cameras of a home are behind its router) or
//! a list of origins. Acting is stricter: see [`may_act`].

use serde_json::json;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::answer::Fault;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers that a script may read.
const EXPOSED: &str = "Age, Content-Length, Content-Range, Accept-Ranges, Last-Modified, Retry-After, X-Timestamp, X-Frame-Age, \
     Location, ETag, Link, Content-Disposition, Accept-Post, Accept-Patch";
/// Headers that a script may send.
const ALLOWED: &str = "Range, If-Range, Content-Type, Accept, Cache-Control, If-None-Match, If-Modified-Since, \
     If-Match, Authorization, X-API-Key";

/// The value of `Access-Control-Allow-Origin`, if there is to be one.
fn allowed<'a>(origin: Option<&'a HeaderValue>, origins: &[String]) -> Option<Allowed<'a>> {
    if origins.iter().any(|allowed| allowed == "*") {
        return Some(Allowed::Any);
    }
    let origin = origin?;
    listed(origin, origins).then_some(Allowed::Only(origin))
}

#[derive(Debug, PartialEq)]
enum Allowed<'a> {
    Any,
    Only(&'a HeaderValue),
}

/// Scheme and host do not distinguish case; browsers send them in lower case and without a slash.
fn listed(origin: &HeaderValue, origins: &[String]) -> bool {
    origin.to_str().is_ok_and(|origin| {
        origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
    })
}

/// Writes who may read this answer.
pub fn apply(response: &mut HeaderMap, request: &HeaderMap, origins: &[String]) {
    let any = origins.iter().any(|origin| origin == "*");
    if !any {
        // The answer depends on who asks, also when it is refused.
        response.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    match allowed(request.get(header::ORIGIN), origins) {
        Some(Allowed::Any) => {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Some(Allowed::Only(origin)) => {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        None => return,
    }
    response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// Adds what a preflight asks for.
pub fn preflight(response: &mut HeaderMap, allow: &str) {
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.insert(header::ALLOW, allow.clone());
        response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
    response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// Whether a page may open a session to watch: the pages that may read streams, and our own. A browser
/// keeps other pages from reading an answer, but not from sending a plain request or opening a WebSocket,
/// and each of those would take a viewer's place.
pub fn may_watch(request: &HeaderMap, origins: &[String]) -> Result<(), Fault> {
    let Some(origin) = request.get(header::ORIGIN) else { return Ok(()) };
    if is_ours(origin, request) || allowed(Some(origin), origins).is_some() {
        return Ok(());
    }
    Err(not_listed(origin, "watch this camera"))
}

/// Whether a request that changes something may come from where it comes. Programs send no `Origin`;
/// our own page sends ours; any other page must be listed by name. `*` lets it read, not act: a browser
/// sends a plain POST to a camera at home for any page of the internet.
pub fn may_act(request: &HeaderMap, origins: &[String]) -> Result<(), Fault> {
    let Some(origin) = request.get(header::ORIGIN) else { return Ok(()) };
    if is_ours(origin, request) || listed(origin, origins) {
        return Ok(());
    }
    Err(not_listed(origin, "do this"))
}

/// The same for a plain look that has the service do something, or shows what is no page's business: a browser sends
/// no `Origin` with a picture's request, but says that another site asks.
pub fn may_pry(request: &HeaderMap, origins: &[String]) -> Result<(), Fault> {
    if !request.contains_key(header::ORIGIN) && !same_origin(request) {
        return Err(not_listed(&HeaderValue::from_static("another site"), "do this"));
    }
    may_act(request, origins)
}

/// Whether a request without `Origin` is one of our own pages', or of nobody's: typed in, or a program's.
pub fn same_origin(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none")
}

/// Whether the page that asks came from where it asks now.
pub fn is_ours(origin: &HeaderValue, request: &HeaderMap) -> bool {
    request.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
    })
}

fn not_listed(origin: &HeaderValue, what: &str) -> Fault {
    let origin = String::from_utf8_lossy(origin.as_bytes());
    Fault::new(
        StatusCode::FORBIDDEN,
        "ORIGIN_NOT_ALLOWED",
        format!("a page of {origin} may not {what}; add that origin to server.cors_origins by name"),
        json!({ "origin": origin }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (warp::http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn list(origins: &[&str]) -> Vec<String> {
        origins.iter().map(|origin| (*origin).to_owned()).collect()
    }

    #[test]
    fn an_origin_may_read_when_it_is_listed() {
        let dash = "https://dash.example.org";
        // (configured, asking, Allow-Origin, Vary)
        let table = [
            (list(&["*"]), Some(dash), Some("*"), None),
            (list(&["*"]), None, Some("*"), None),
            (list(&[dash]), Some(dash), Some(dash), Some("Origin")),
            (list(&["https://Dash.example.org/"]), Some(dash), Some(dash), Some("Origin")),
            (list(&[dash]), Some("https://evil.example"), None, Some("Origin")),
            (list(&[dash]), Some("https://dash.example.org.evil.example"), None, Some("Origin")),
            (list(&[dash]), Some("http://dash.example.org"), None, Some("Origin")),
            (list(&[dash]), Some("null"), None, Some("Origin")),
            (list(&[dash]), None, None, Some("Origin")),
            (list(&[]), Some(dash), None, Some("Origin")),
        ];
        for (origins, asking, allow, vary) in table {
            let request: HeaderMap =
                asking.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))).into_iter().collect();
            let mut response = HeaderMap::new();
            apply(&mut response, &request, &origins);
            let value = |name| response.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!(value(header::ACCESS_CONTROL_ALLOW_ORIGIN), allow, "{origins:?} {asking:?}");
            assert_eq!(value(header::VARY), vary, "{origins:?} {asking:?}");
            assert_eq!(value(header::ACCESS_CONTROL_EXPOSE_HEADERS).is_some(), allow.is_some());
        }
    }

    #[test]
    fn a_page_of_another_origin_acts_only_when_it_is_listed_by_name() {
        let table = [
            (headers(&[("host", "cam.local:8080")]), list(&["*"]), true),
            (headers(&[("host", "cam.local:8080"), ("origin", "http://cam.local:8080")]), list(&["*"]), true),
            (headers(&[("host", "cam.local:8080"), ("origin", "https://evil.example")]), list(&["*"]), false),
            (headers(&[("host", "cam.local:8080"), ("origin", "http://cam.local")]), list(&["*"]), false),
            (headers(&[("host", "cam.local:8080"), ("origin", "null")]), list(&["*"]), false),
            (headers(&[("origin", "https://evil.example")]), list(&["*"]), false),
            (headers(&[("host", "x"), ("origin", "https://dash.org")]), list(&["https://dash.org"]), true),
        ];
        for (request, origins, expected) in table {
            assert_eq!(may_act(&request, &origins).is_ok(), expected, "{request:?} {origins:?}");
        }
    }

    #[test]
    fn a_page_watches_when_it_may_read() {
        let evil = [("host", "cam.local"), ("origin", "https://evil.example")];
        let table = [
            (headers(&[("host", "cam.local")]), list(&[]), true),
            (headers(&[("host", "cam.local"), ("origin", "https://cam.local")]), list(&[]), true),
            (headers(&evil), list(&["*"]), true),
            (headers(&evil), list(&["https://dash.org"]), false),
            (headers(&evil), list(&[]), false),
            (headers(&[("host", "x"), ("origin", "https://dash.org")]), list(&["https://dash.org"]), true),
        ];
        for (request, origins, expected) in table {
            assert_eq!(may_watch(&request, &origins).is_ok(), expected, "{request:?} {origins:?}");
        }
    }
}
