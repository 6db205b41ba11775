//! Where a new session is, as viewers need it told. Pure.
//!
//! A reference relative to the request (`whep/{session}`, RFC 9110, 10.2.2) is right behind every proxy,
//! also one that serves us below a path such as `/secure/`. But some viewers resolve it against their own
//! page or their server's root, for them an absolute path is right, which is wrong below a path. So: the
//! path, unless something says that a proxy is in between. Mainsail and Fluidd take the last segment.

use warp::http::{HeaderMap, header};

use crate::api::http::cors;

/// Headers that proxies write.
const PROXIED: &[&str] = &[
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
    "x-script-name",
];

/// Of a session that was asked for at `path`.
pub fn of(path: &str, request: &HeaderMap, session: &str) -> String {
    let plain = path.trim_end_matches('/');
    if !proxied(request) {
        return format!("{plain}/{session}");
    }
    match plain.rsplit('/').next() {
        Some(last) if plain.len() == path.len() => format!("{last}/{session}"),
        _ => session.to_owned(),
    }
}

/// Whether the request came by another name than ours: a page behind a proxy has an origin that is not
/// the host which the proxy asks. (A page of somewhere else looks the same, and can resolve the reference.)
pub fn proxied(request: &HeaderMap) -> bool {
    PROXIED.iter().any(|name| request.contains_key(*name))
        || request.get(header::ORIGIN).is_some_and(|origin| !cors::is_ours(origin, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_directly_and_below_any_path_of_a_proxy() {
        let of = |asked: &str, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            of(asked, &map, "s1")
        };
        let host = ("host", "cam.local:8080");
        let path = "/cameras/a/whep";
        assert_eq!(of(path, &[host]), "/cameras/a/whep/s1");
        assert_eq!(of("/whep/", &[host]), "/whep/s1");
        assert_eq!(of(path, &[host, ("origin", "http://cam.local:8080")]), "/cameras/a/whep/s1");

        for proxy in [
            vec![host, ("origin", "https://home.example")],
            vec![host, ("x-forwarded-for", "192.0.2.1")],
            vec![host, ("via", "1.1 proxy")],
        ] {
            for (below, asked) in [("", path), ("/secure", path), ("/secure", "/whep"), ("/a/b", "/whep/")] {
                let request = url::Url::parse(&format!("https://home.example{below}{asked}")).unwrap();
                let found = request.join(&of(asked, &proxy)).unwrap();
                assert_eq!(found.path(), format!("{below}{}/s1", asked.trim_end_matches('/')), "{proxy:?}");
            }
        }
    }
}
