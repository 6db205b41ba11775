//! What a browser needs to know before it asks for a token: where LiveKit is, which ICE servers to use,
//! and in words what is missing. Pure.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Key, rooms, turn};
use crate::config::is_turn;
use crate::config::model::Config;

/// How a browser reaches LiveKit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ViewerConfig {
    /// The URL for `Room.connect()`; null when there is none.
    pub host: Option<String>,
    #[serde(rename = "iceServers")]
    pub ice_servers: Vec<turn::IceServer>,
    /// Whether LiveKit cannot be used: nobody gets a token.
    pub disabled: bool,
    /// What is missing or left out, in words, with the key that mends it. Empty when all is well.
    pub notes: Vec<String>,
}

/// `id` names the viewer in TURN credentials.
pub fn viewer_config(config: &Config, id: &str, now: SystemTime) -> ViewerConfig {
    let livekit = &config.livekit;
    let missing = missing(config);
    let mut notes = missing.clone();
    if livekit.turn_static_secret.is_none() && livekit.ice_servers.iter().any(|url| is_turn(url)) {
        notes.push(
            "the TURN servers are left out: livekit.turn_static_secret (TURN_STATIC_SECRET) is not set"
                .into(),
        );
    }
    ViewerConfig {
        host: livekit.public_url.clone().or_else(|| livekit.url.clone()),
        ice_servers: turn::ice_servers(&livekit.ice_servers, livekit.turn_static_secret.as_ref(), id, now),
        disabled: !missing.is_empty(),
        notes,
    }
}

/// What tokens for viewers lack; empty: nothing.
pub fn missing(config: &Config) -> Vec<String> {
    let livekit = &config.livekit;
    let mut missing = Vec::new();
    if livekit.url.is_none() && livekit.public_url.is_none() {
        missing.push("LiveKit has no address: livekit.url (LIVEKIT_HOST) is not set".to_owned());
    }
    if Key::of(livekit).is_none() {
        missing.push(
            "LiveKit has no key: livekit.api_key and livekit.api_secret_file (LIVEKIT_API_KEY, \
             LIVEKIT_API_SECRET) are not both set"
                .to_owned(),
        );
    }
    if rooms(config).is_empty() {
        missing.push(
            "there is no room to watch: livekit.rooms is empty and nothing is published into one".to_owned(),
        );
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::Secret;

    #[test]
    fn what_is_missing_is_said_and_nothing_is_when_all_is_there() {
        let mut config = Config::default();
        let told = |config: &Config| viewer_config(config, "x", UNIX_EPOCH);
        let nothing = told(&config);
        assert_eq!((nothing.host.as_deref(), nothing.disabled, nothing.notes.len()), (None, true, 3));
        config.livekit.url = Some("ws://127.0.0.1:7880".into());
        config.livekit.api_key = Some("k".into());
        config.livekit.rooms = vec!["r".into()];
        let half = told(&config);
        assert!(half.disabled && half.notes[0].contains("LIVEKIT_API_SECRET"), "{half:?}");
        config.livekit.api_secret = Some(Secret::new("hush"));
        config.livekit.ice_servers = vec!["stun:s".into(), "turn:t".into()];
        let without_turn = told(&config);
        assert!(!without_turn.disabled && without_turn.notes[0].contains("TURN_STATIC_SECRET"));
        config.livekit.turn_static_secret = Some(Secret::new("north"));
        config.livekit.public_url = Some("wss://livekit.example.org".into());
        let all = told(&config);
        assert_eq!(
            (all.host.as_deref(), all.disabled, all.notes.len(), all.ice_servers.len()),
            (Some("wss://livekit.example.org"), false, 0, 2)
        );
        let json = serde_json::to_string(&all).unwrap();
        assert!(
            json.contains("\"iceServers\"") && !json.contains("hush") && !json.contains("north"),
            "{json}"
        );
    }
}
