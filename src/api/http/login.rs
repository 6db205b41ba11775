//! Logging in on the dashboard's page: a cookie for a name and password, or for an API key or token, so that
//! events, pictures and WHEP, which take no headers from a page, are let in as well.
//!
//! The cookie is no script's (`HttpOnly`) and no other site's (`SameSite=Strict`), and it counts only for requests
//! of our own pages: see [`token`]. What can go wrong: too many wrong logins, see [`crate::access`].

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request, cors, door};
use crate::access::{Credentials, Door, Role, SESSION_LONGEST};

const COOKIE: &str = "fanlight_session";
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks, and what for a login is good.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Whether anything here needs a login.
    configured: bool,
    /// What whoever asks may do, logged in or not; null: nothing without a login.
    #[schema(value_type = Option<Role>)]
    role: Option<&'static str>,
    /// Who is logged in: a user's name, a key's name, a token's subject.
    name: Option<String>,
}

/// A name and its password, or a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Login {
    Password {
        name: String,
        password: String,
    },
    /// An API key or a JSON Web Token.
    Key {
        key: String,
    },
}

/// Who asks.
pub async fn session(state: &AppState, request: &Request<'_>) -> Response {
    let open = state.access.anonymous(Door::Http);
    let identity = door::identity(&state.access, request.method, request.headers, request.client).await;
    let identity = identity.and_then(Result::ok);
    let view = SessionView {
        configured: state.config().access.configured(),
        role: identity.as_ref().map(|identity| identity.role).max(open).map(Role::name),
        name: identity.map(|identity| identity.name),
    };
    answer::json(StatusCode::OK, &view)
}

/// Begins a session.
pub async fn login(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let login: Login = serde_json::from_slice(&request.body).map_err(|_| {
        let message = "the body is neither { name, password } nor { key }";
        Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
    })?;
    let shown = match &login {
        Login::Password { name, password } => Credentials::Password { name, password },
        Login::Key { key } => Credentials::Token(key.trim()),
    };
    let (identity, token) =
        state.access.login(request.client, shown).await.map_err(|denied| door::refused(&denied))?;
    let view = SessionView { configured: true, role: Some(identity.role.name()), name: Some(identity.name) };
    let mut response = answer::json(StatusCode::OK, &view);
    set_cookie(&mut response, request.headers, token.expose(), SESSION_LONGEST.as_secs());
    Ok(response)
}

/// Ends it.
pub fn logout(state: &AppState, request: &Request<'_>) -> Response {
    if let Some(token) = cookie(request.headers) {
        state.access.logout(token);
    }
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    set_cookie(&mut response, request.headers, "", 0);
    response
}

fn set_cookie(response: &mut Response, request: &HeaderMap, token: &str, seconds: u64) {
    // Only a proxy that ends TLS can say so; who makes it up hides the cookie from themselves.
    let secure =
        request.get(X_FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// What the session's cookie holds, from wherever it comes; nothing when there are several.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value);
    // Another one may be a neighbour's, who cannot read ours but can have a browser send theirs.
    ours.next().filter(|_| ours.next().is_none())
}

/// The same, if it counts: from a page of ours. A browser sends it along with what pages of the same host at
/// another port ask for, and those are not ours: it says so by `Sec-Fetch-Site`. When something is changed, it always
/// says whose page asks.
pub fn token<'h>(method: &Method, headers: &'h HeaderMap) -> Option<&'h str> {
    let ours = match headers.get(header::ORIGIN) {
        Some(origin) => cors::is_ours(origin, headers),
        None => matches!(*method, Method::GET | Method::HEAD) && cors::same_origin(headers),
    };
    cookie(headers).filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for (sent, expected) in [
            ("fanlight_session=abc", Some("abc")),
            ("theme=dark; fanlight_session=a-b_c; x=1", Some("a-b_c")),
            ("fanlight_session=", None),
            ("fanlight_session=abc; fanlight_session=abd", None),
            ("xfanlight_session=abc", None),
            ("fanlight_session", None),
        ] {
            assert_eq!(cookie(&headers(&[("cookie", sent)])), expected, "{sent}");
        }
    }

    #[test]
    fn the_cookie_counts_for_our_own_pages_only() {
        let with = |origin: Option<&str>| {
            let mut all = vec![("host", "cam.local:8080"), ("cookie", "fanlight_session=abc")];
            all.extend(origin.map(|origin| ("origin", origin)));
            headers(&all)
        };
        let ours = with(Some("http://cam.local:8080"));
        for (method, headers, counts) in [
            (Method::GET, with(None), true),
            (Method::GET, ours.clone(), true),
            (Method::POST, ours, true),
            (Method::POST, with(None), false),
            (Method::GET, with(Some("http://cam.local:3000")), false),
            (Method::DELETE, with(Some("https://evil.example")), false),
            (Method::POST, with(Some("null")), false),
        ] {
            assert_eq!(token(&method, &headers).is_some(), counts, "{method} {headers:?}");
        }
        for (site, counts) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            let mut headers = with(None);
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(token(&Method::GET, &headers).is_some(), counts, "{site}");
        }
    }
}
