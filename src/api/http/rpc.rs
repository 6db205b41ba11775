//! The way into JSON-RPC: the upgrade of `/ws`, on the HTTP port or on JSON-RPC's own. What is said on the
//! socket is [`crate::api::rpc`]'s.

use serde_json::json;
use url::Url;
use warp::http::{HeaderMap, StatusCode, header};

use super::answer::{Fault, Response};
use super::{AppState, Entrance, Request, websocket};
use crate::access::Door;
use crate::api::rpc::{From, Full};

pub fn socket(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let (upgrade, response) = websocket::handshake(request)?;
    let from = From {
        client: request.client,
        door: Door::Rpc(state.entrance.listens.ip()),
        base: base(&state.entrance, request.headers),
    };
    state.rpc.connect(upgrade, from).map_err(|Full(most)| {
        let message =
            format!("{most} are connected already, as many as there may be; see rpc.max_connections");
        let details = json!({ "max_connections": most });
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", message, details)
            .with(header::RETRY_AFTER, 5)
    })?;
    Ok(response)
}

/// How this client reaches HTTP: the host that it asked for, with the port of HTTP.
fn base(entrance: &Entrance, headers: &HeaderMap) -> String {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    let scheme = if proto == Some("https") { "https" } else { "http" };
    let asked = text(header::HOST).and_then(|host| Url::parse(&format!("{scheme}://{host}/")).ok());
    let fallback = || format!("http://{}", entrance.http);
    let Some(mut url) = asked else { return fallback() };
    if entrance.rpc_only && url.set_port(Some(entrance.http.port())).is_err() {
        return fallback();
    }
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_the_client_reached_the_service() {
        let of = |rpc_only, host: &str, proto: Option<&str>| {
            let entrance = Entrance {
                listens: "127.0.0.1:8002".parse().unwrap(),
                http: "127.0.0.1:8080".parse().unwrap(),
                rpc_only,
            };
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(proto) = proto {
                headers.insert("x-forwarded-proto", proto.parse().unwrap());
            }
            base(&entrance, &headers)
        };
        assert_eq!(of(false, "cam.local:8080", None), "http://cam.local:8080");
        assert_eq!(of(true, "cam.local:8002", None), "http://cam.local:8080");
        assert_eq!(of(true, "[2001:db8::1]:8002", None), "http://[2001:db8::1]:8080");
        assert_eq!(of(false, "cam.example.org", Some("https")), "https://cam.example.org");
        assert_eq!(of(false, "no host at all", None), "http://127.0.0.1:8080");
    }
}
