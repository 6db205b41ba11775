//! The handshake of a WebSocket (RFC 6455, 4.2). What is said on it is the business of who asked for it.

use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Request;
use super::answer::{self, Fault, Response};

/// The connection to be, and the answer that makes it one.
///
/// # Errors
/// 426 for what is no handshake.
pub fn handshake(request: &Request<'_>) -> Result<(OnUpgrade, Response), Fault> {
    let websocket = HeaderValue::from_static("websocket");
    let accept = key(request.headers).and_then(|key| HeaderValue::from_str(&key).ok());
    let (Some(accept), Some(upgrade)) = (accept, request.upgrade.clone()) else {
        let message = "this is a WebSocket: ask with Upgrade: websocket and Sec-WebSocket-Version: 13";
        let fault = Fault::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message, json!({}));
        return Err(fault.with(header::UPGRADE, websocket).with(header::SEC_WEBSOCKET_VERSION, 13));
    };
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, websocket);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok((upgrade, response))
}

/// What `Sec-WebSocket-Accept` is to be, if this is a handshake.
fn key(headers: &HeaderMap) -> Option<String> {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    let handshake = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    handshake.then(|| derive_accept_key(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_handshake_opens_a_socket() {
        // The example of RFC 6455, 1.3.
        let whole = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = |without: Option<&str>| -> HeaderMap {
            let kept = whole.iter().filter(|(name, _)| Some(*name) != without);
            kept.map(|(name, value)| {
                (warp::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
        };
        assert_eq!(key(&headers(None)).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (name, _) in whole {
            assert_eq!(key(&headers(Some(name))), None, "{name}");
        }
    }
}
