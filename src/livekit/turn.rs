//! Credentials for a TURN server that shares a secret with us (`static-auth-secret` of coturn), after
//! draft-uberti-behave-turn-rest-00: `username` is `<unix expiry>:<id>`, the password
//! `base64(HMAC-SHA1(secret, username))`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Secret, is_turn};

/// A relay is kept by refreshing it with the same credentials, and a dashboard may stay on for a day.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// One entry of `iceServers`, as `RTCPeerConnection` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IceServer {
    pub urls: Vec<String>,
    /// TURN only: good for a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// `urls` as a browser takes them at `now`. TURN servers are left out without a secret: a browser refuses
/// all servers when one of them lacks its credentials.
pub fn ice_servers(urls: &[String], secret: Option<&Secret>, id: &str, now: SystemTime) -> Vec<IceServer> {
    let (turn, stun): (Vec<String>, Vec<String>) = urls.iter().cloned().partition(|url| is_turn(url));
    let mut servers = Vec::new();
    if !stun.is_empty() {
        servers.push(IceServer { urls: stun, username: None, credential: None });
    }
    if let Some(secret) = secret
        && !turn.is_empty()
    {
        let (username, credential) = credentials(secret, id, now + TTL);
        servers.push(IceServer { urls: turn, username: Some(username), credential: Some(credential) });
    }
    servers
}

fn credentials(secret: &Secret, id: &str, expiry: SystemTime) -> (String, String) {
    let seconds = expiry.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let username = format!("{seconds}:{id}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_a_turn_server_with_the_same_secret_computes() {
        // printf '1700000000:anna' | openssl dgst -sha1 -hmac 'north' -binary | base64
        let expiry = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (username, credential) = credentials(&Secret::new("north"), "anna", expiry);
        assert_eq!(
            (username.as_str(), credential.as_str()),
            ("1700000000:anna", "WS1fjjHj2gNlXzhc/ZcwmC3ofIo=")
        );
    }

    #[test]
    fn turn_servers_get_credentials_and_without_a_secret_are_left_out() {
        let urls = ["stun:a".to_string(), "turn:b".into(), "turns:c?transport=tcp".into(), "stun:d".into()];
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let servers = ice_servers(&urls, Some(&Secret::new("s")), "id", now);
        assert_eq!(servers[0].urls, ["stun:a", "stun:d"]);
        assert_eq!(servers[1].urls, ["turn:b", "turns:c?transport=tcp"]);
        assert_eq!(servers[1].username.as_deref(), Some("87400:id"));
        assert!(servers[0].username.is_none() && servers[1].credential.is_some());
        let without = ice_servers(&urls, None, "id", now);
        assert_eq!(
            serde_json::to_value(&without).unwrap(),
            serde_json::json!([{ "urls": ["stun:a", "stun:d"] }])
        );
        assert_eq!(ice_servers(&[], Some(&Secret::new("s")), "id", now), []);
    }
}
