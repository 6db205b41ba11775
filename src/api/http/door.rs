//! The door of HTTP: what a request shows of who sent it, and whether that is enough for where it goes.
//! The policy is in [`crate::access`]; here are headers and answers.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::answer::Fault;
use super::login;
use super::routes::Target;
use crate::access::{Access, Credentials, Denied, Door, Entered, Identity, REALM, Role, allow};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The role that a target needs; `None` for those that everybody may ask: load balancers do, and JSON-RPC
/// has a door of its own. `looks` is GET and HEAD.
pub const fn needs(target: Target, looks: bool) -> Option<Role> {
    match target {
        Target::Health | Target::Ready | Target::Rpc => None,
        // To log in there must be a page to do it on. It holds nothing that is not in every binary.
        Target::Session | Target::Login | Target::Logout | Target::Asset | Target::Icon => None,
        // Watching is asked for by POST as well.
        Target::Whep | Target::WhepSession | Target::Signalling | Target::Go2rtc | Target::StandardToken => {
            Some(Role::Viewer)
        }
        // It has the service listen on the network.
        Target::FoundPrinters => Some(Role::Admin),
        _ if looks => Some(Role::Viewer),
        Target::Nodes
        | Target::Printers
        | Target::Printer
        | Target::PrinterCertificate
        | Target::PrinterTest
        | Target::Recording
        | Target::StoredSnapshot
        | Target::Retention
        | Target::Cleanup
        | Target::Transforms
        | Target::Change
        | Target::ExternalStreams
        | Target::ExternalStream
        | Target::ScanInterval
        | Target::Forget => Some(Role::Admin),
        // Whatever changes something and is not named above.
        _ => Some(Role::Operator),
    }
}

/// Lets a request in, or says why not. By what, for what goes on after the request: `None` asks for nothing.
pub async fn enter(
    access: &Access,
    target: Target,
    method: &Method,
    headers: &HeaderMap,
    client: Option<IpAddr>,
) -> Result<Option<Entered>, Fault> {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let Some(needs) = needs(target, looks) else { return Ok(None) };
    let open = access.anonymous(Door::Http);
    if open >= Some(needs) {
        return Ok(Some(Entered { door: Door::Http, needs, identity: None }));
    }
    let entered = match identity(access, method, headers, client).await {
        None => Err(Denied::Login(needs.name())),
        Some(Ok(identity)) => allow(Some(identity.role), &identity.name, needs)
            .map(|()| Some(Entered { door: Door::Http, needs, identity: Some(identity) })),
        Some(Err(denied)) => Err(denied),
    };
    entered.map_err(|denied| if asks_by_page(headers) { refused(&denied) } else { fault(&denied) })
}

/// Whether whoever sends this may do what needs `role`.
pub async fn may(access: &Access, role: Role, request: &super::Request<'_>) -> bool {
    if access.anonymous(Door::Http) >= Some(role) {
        return true;
    }
    let who = identity(access, request.method, request.headers, request.client).await;
    matches!(who, Some(Ok(who)) if who.role >= role)
}

/// Who sends a request; `None` when it shows nothing that counts.
pub async fn identity(
    access: &Access,
    method: &Method,
    headers: &HeaderMap,
    client: Option<IpAddr>,
) -> Option<Result<Identity, Denied>> {
    // The session first: a proxy's own password may come with it, which is none of ours.
    let session = match login::token(method, headers) {
        Some(token) if !headers.contains_key(X_API_KEY) => access.session(token).await,
        _ => None,
    };
    match (session, shown(headers)) {
        (Some(identity), _) => Some(Ok(identity)),
        (None, Some(shown)) => Some(access.identify(client, shown.credentials()).await),
        (None, None) => None,
    }
}

/// Whether a page asks that has a login of its own: a browser's dialog would stand before it.
fn asks_by_page(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, word: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(word))
    };
    headers.contains_key(X_REQUESTED_WITH)
        || login::cookie(headers).is_some()
        || has(SEC_FETCH_DEST, "empty")
        || has(header::ACCEPT, "text/event-stream")
}

/// What a request shows, decoded.
enum Shown {
    Token(String),
    Password { name: String, password: String },
}

impl Shown {
    fn credentials(&self) -> Credentials<'_> {
        match self {
            Shown::Token(token) => Credentials::Token(token),
            Shown::Password { name, password } => Credentials::Password { name, password },
        }
    }
}

/// `Authorization: Bearer` or `Basic`, or `X-API-Key`. Nothing in the address: addresses are logged.
fn shown(headers: &HeaderMap) -> Option<Shown> {
    if let Some(key) = headers.get(X_API_KEY) {
        return Some(Shown::Token(key.to_str().unwrap_or_default().to_owned()));
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, password) = decoded.as_deref().unwrap_or_default().split_once(':').unwrap_or_default();
        return Some(Shown::Password { name: name.to_owned(), password: password.to_owned() });
    }
    Some(Shown::Token(rest.trim().to_owned()))
}

/// With the challenge by which browsers and programs know to log in.
pub fn fault(denied: &Denied) -> Fault {
    let fault = refused(denied);
    if !matches!(denied, Denied::Login(_) | Denied::Wrong(_)) {
        return fault;
    }
    match HeaderValue::from_str(&format!("Basic realm=\"{REALM}\", charset=\"UTF-8\"")) {
        Ok(challenge) => fault.with(header::WWW_AUTHENTICATE, challenge),
        Err(_) => fault,
    }
}

/// Without it.
pub fn refused(denied: &Denied) -> Fault {
    let message = denied.to_string();
    let (status, code) = match denied {
        Denied::Login(_) | Denied::Wrong(_) => (StatusCode::UNAUTHORIZED, "LOGIN_REQUIRED"),
        Denied::Role { .. } => (StatusCode::FORBIDDEN, "ROLE_REQUIRED"),
        Denied::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_LOGINS"),
        Denied::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ACCESS_UNAVAILABLE"),
    };
    let fault = Fault::new(status, code, message, json!({}));
    match denied {
        Denied::TooMany(wait) => fault.with(header::RETRY_AFTER, wait.as_secs() + 1),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::{ROUTES, Verb};
    use super::*;

    /// Whatever is not a look, and the role that it needs.
    const ACTS: &[(&str, Role)] = &[
        ("POST /api/cameras/{id}/restart", Role::Operator),
        ("PUT /api/cameras/{id}/controls", Role::Operator),
        ("POST /api/cameras/{id}/streaming", Role::Operator),
        ("DELETE /api/cameras/{id}/streaming", Role::Operator),
        ("POST /api/cameras/{id}/recording", Role::Operator),
        ("DELETE /api/cameras/{id}/recording", Role::Operator),
        ("POST /api/cameras/{id}/timelapse", Role::Operator),
        ("DELETE /api/cameras/{id}/timelapse", Role::Operator),
        ("POST /api/cameras/{id}/snapshots", Role::Operator),
        ("POST /api/recordings/{file}/keep", Role::Operator),
        ("DELETE /api/recordings/{file}/keep", Role::Operator),
        ("POST /api/outputs/{id}/retry", Role::Operator),
        ("POST /api/external-streams/discovery", Role::Operator),
        ("POST /api/stepper/move", Role::Operator),
        ("POST /api/stepper/home", Role::Operator),
        ("POST /api/stepper/stop", Role::Operator),
        ("POST /api/stepper/enable", Role::Operator),
        ("POST /api/stepper/disable", Role::Operator),
        ("POST /api/stepper/speed", Role::Operator),
        ("POST /api/stepper/jog", Role::Operator),
        ("PATCH /api/cameras/{id}", Role::Admin),
        ("DELETE /api/cameras/{id}", Role::Admin),
        ("PUT /api/cameras/{id}/transforms", Role::Admin),
        ("DELETE /api/cameras/{id}/transforms", Role::Admin),
        ("POST /api/nodes/{id}/actions/{action}", Role::Operator),
        ("POST /api/actions/{action}", Role::Operator),
        ("POST /api/nodes", Role::Admin),
        ("PUT /api/nodes/{id}", Role::Admin),
        ("DELETE /api/nodes/{id}", Role::Admin),
        ("POST /api/printers/{id}/command", Role::Operator),
        ("GET /api/printers/found", Role::Admin),
        ("POST /api/printers", Role::Admin),
        ("POST /api/printers/test", Role::Admin),
        ("PUT /api/printers/{id}", Role::Admin),
        ("DELETE /api/printers/{id}", Role::Admin),
        ("POST /api/printers/{id}/certificate", Role::Admin),
        ("POST /api/printers/{id}/test", Role::Admin),
        ("POST /api/external-streams", Role::Admin),
        ("DELETE /api/external-streams/{id}", Role::Admin),
        ("PUT /api/external-streams/discovery", Role::Admin),
        ("DELETE /api/recordings/{file}", Role::Admin),
        ("DELETE /api/snapshots/{file}", Role::Admin),
        ("PATCH /api/storage/retention", Role::Admin),
        ("POST /api/storage/cleanup", Role::Admin),
        // Watching.
        ("POST /webrtc/token", Role::Viewer),
        ("POST /cameras/{id}/webrtc", Role::Viewer),
        ("POST /webrtc", Role::Viewer),
        ("POST /webcam/webrtc", Role::Viewer),
        ("POST /camera/webrtc", Role::Viewer),
        ("POST /api/webrtc", Role::Viewer),
    ];
    /// Those that everybody may ask.
    const OPEN: &[&str] = &[
        "GET /health",
        "GET /healthz",
        "GET /health/live",
        "GET /health/ready",
        "GET /health/detailed",
        "GET /ready",
        "GET /ws",
        // The dashboard's page, on which one logs in.
        "GET /assets/{file}",
        "GET /icon.svg",
        "GET /api/session",
        "POST /api/login",
        "POST /api/logout",
    ];

    #[test]
    fn every_route_needs_the_role_that_is_written_down_for_it() {
        let mut listed = 0;
        for route in ROUTES {
            let verb = match route.verb {
                Verb::Get => "GET",
                Verb::Post => "POST",
                Verb::Put => "PUT",
                Verb::Patch => "PATCH",
                Verb::Delete => "DELETE",
            };
            let name = format!("{verb} {}", route.path);
            let act = ACTS.iter().find(|(act, _)| *act == name);
            let expected = match act {
                Some((_, role)) => Some(*role),
                None if OPEN.contains(&name.as_str()) => None,
                None if verb == "GET" => Some(Role::Viewer),
                // WHEP has a path beside each stream's.
                None if route.path.ends_with("/whep") || route.path.ends_with("/whep/{session}") => {
                    Some(Role::Viewer)
                }
                None => panic!("{name}: write down which role it needs"),
            };
            assert_eq!(needs(route.target, route.verb == Verb::Get), expected, "{name}");
            listed += usize::from(act.is_some() || OPEN.contains(&name.as_str()));
        }
        assert_eq!(listed, ACTS.len() + OPEN.len(), "what is written down is there");
    }

    #[test]
    fn credentials_are_found_in_the_headers_that_clients_use() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            match shown(&headers) {
                None => "none".to_owned(),
                Some(Shown::Token(token)) => format!("token {token}"),
                Some(Shown::Password { name, password }) => format!("password {name} {password}"),
            }
        };
        assert_eq!(of("x-api-key", "fl_1"), "token fl_1");
        assert_eq!(of("authorization", "bearer  fl_1"), "token fl_1");
        assert_eq!(of("authorization", "Basic YW5uYTpzZTpjcmV0"), "password anna se:cret");
        assert_eq!(of("authorization", "Basic !"), "password  ");
        assert_eq!(of("authorization", "Digest username=x"), "token username=x");
        assert_eq!(of("accept", "*/*"), "none");
    }

    #[tokio::test]
    async fn a_session_counts_before_the_password_that_a_proxy_passes_on() {
        use crate::access::LOOPBACK;
        use crate::config::model::{self, User};
        use crate::config::{Config, Ha1};
        let user = User {
            name: "anna".into(),
            role: Role::Viewer,
            password_file: None,
            ha1_md5: None,
            ha1_sha256: None,
            ha1: Ha1::of("anna", "secret"),
        };
        let users = model::Access { users: vec![user], ..Default::default() };
        let config = std::sync::Arc::new(Config { access: users, ..Config::default() });
        let sender = tokio::sync::watch::Sender::new(config);
        let access = Access::new(sender.subscribe(), Err("no database".into()));
        let shown = Credentials::Password { name: "anna", password: "secret" };
        let (_, token) = access.login(None, shown).await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Basic cHJveHk6b3RoZXI=".parse().unwrap());
        headers.insert("cookie", format!("fanlight_session={}", token.expose()).parse().unwrap());
        for _ in 0..50 {
            let found = identity(&access, &Method::GET, &headers, Some(LOOPBACK)).await;
            assert_eq!(found.unwrap().unwrap().name, "anna", "and no wrong login is counted");
        }
        headers.remove("cookie");
        let found = identity(&access, &Method::GET, &headers, Some(LOOPBACK)).await;
        assert!(matches!(found, Some(Err(Denied::Wrong(_)))));
    }
}
