//! Tokens that LiveKit takes: who may join which room and do what there. A viewer's token lets watch and
//! nothing else, whatever is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};
use thiserror::Error;

use super::Key;
use crate::publish::livekit_token::grants as publisher_grants;

/// Room and identity, in characters.
const LONGEST_NAME: usize = 128;
/// Metadata and attributes, in bytes: a token travels in the query of a URL.
const LONGEST_METADATA: usize = 1024;
/// Of the suffix of a viewer's identity: one in 32^8 for two viewers of one name to meet.
const SUFFIX: usize = 8;
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("{what} is longer than {most} {unit}")]
    Long { what: &'static str, most: usize, unit: &'static str },
    #[error("{0} has control characters in it")]
    Control(&'static str),
    #[error("the room has no name")]
    NoRoom,
    #[error("the token could not be signed: {0}; check the LiveKit key and secret")]
    Signing(String),
}

/// What a viewer asks for. Rights are no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer<'a> {
    pub room: &'a str,
    pub identity: Option<&'a str>,
    pub name: Option<&'a str>,
    pub metadata: Option<&'a str>,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    /// Who the token makes of the viewer: unlike any other's.
    pub identity: String,
}

/// A token to watch one room. `suffix` makes the identity unlike any other: LiveKit throws out the older
/// one of two with the same, and two tabs would do that to each other for ever.
pub fn viewer(key: &Key, asked: &Viewer<'_>, ttl: Duration, suffix: &str) -> Result<Issued, TokenError> {
    let named = |what, text: Option<&str>| text.map_or(Ok(()), |text| plain(what, text));
    plain("the room", asked.room)?;
    named("the identity", asked.identity)?;
    named("the name", asked.name)?;
    let attributes = asked.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let metadata = asked.metadata.map_or(0, str::len);
    for (what, size) in [("the metadata", metadata), ("the set of attributes", attributes)] {
        if size > LONGEST_METADATA {
            return Err(TokenError::Long { what, most: LONGEST_METADATA, unit: "bytes" });
        }
    }
    let asked_identity = asked.identity.map(str::trim).filter(|identity| !identity.is_empty());
    let identity = format!("{}-{suffix}", asked_identity.unwrap_or("viewer"));
    let grants = VideoGrants {
        room_join: true,
        can_subscribe: true,
        can_publish: false,
        can_publish_data: false,
        can_update_own_metadata: false,
        hidden: true,
        ..VideoGrants::default()
    };
    let mut token = AccessToken::with_api_key(&key.name, key.secret.expose())
        .with_name(asked.name.unwrap_or_default())
        .with_attributes(asked.attributes.clone());
    if let Some(metadata) = asked.metadata {
        token = token.with_metadata(metadata);
    }
    Ok(Issued { token: sign(token, asked.room, &identity, grants, ttl)?, identity })
}

/// A token to publish one camera into one room; it hears nobody.
pub fn publisher(
    key: &Key,
    room: &str,
    identity: &str,
    name: &str,
    ttl: Duration,
) -> Result<String, TokenError> {
    plain("the room", room)?;
    plain("the identity", identity)?;
    let token = AccessToken::with_api_key(&key.name, key.secret.expose()).with_name(name);
    sign(token, room, identity, publisher_grants(room), ttl)
}

/// A token for the server's own interface: it lists rooms and minds ingresses.
pub(super) fn admin(key: &Key) -> Result<String, TokenError> {
    let grants = VideoGrants {
        room_list: true,
        ingress_admin: true,
        can_publish: false,
        can_subscribe: false,
        can_publish_data: false,
        ..VideoGrants::default()
    };
    AccessToken::with_api_key(&key.name, key.secret.expose())
        .with_grants(grants)
        .with_ttl(Duration::from_secs(60))
        .to_jwt()
        .map_err(|error| TokenError::Signing(error.to_string()))
}

fn sign(
    token: AccessToken,
    room: &str,
    identity: &str,
    grants: VideoGrants,
    ttl: Duration,
) -> Result<String, TokenError> {
    if room.is_empty() {
        return Err(TokenError::NoRoom);
    }
    let grants = VideoGrants { room: room.to_owned(), ..grants };
    token
        .with_identity(identity)
        .with_grants(grants)
        .with_ttl(ttl)
        .to_jwt()
        .map_err(|error| TokenError::Signing(error.to_string()))
}

fn plain(what: &'static str, text: &str) -> Result<(), TokenError> {
    if text.chars().count() > LONGEST_NAME {
        return Err(TokenError::Long { what, most: LONGEST_NAME, unit: "characters" });
    }
    if text.chars().any(char::is_control) {
        return Err(TokenError::Control(what));
    }
    Ok(())
}

/// A suffix for [`viewer`], by chance.
pub fn suffix() -> String {
    use rand::RngExt as _;
    let mut rng = rand::rng();
    (0..SUFFIX).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use livekit_api::access_token::{Claims, TokenVerifier};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Secret;

    fn key() -> Key {
        Key { name: "devkey".into(), secret: Secret::new("a-secret-of-at-least-32-characters-000") }
    }

    fn claims(token: &str) -> Claims {
        TokenVerifier::with_api_key("devkey", key().secret.expose()).verify(token).unwrap()
    }

    fn grants(token: &str) -> Value {
        serde_json::to_value(claims(token).video).unwrap()
    }

    #[test]
    fn a_viewers_token_lets_watch_one_room_and_nothing_else() {
        let asked = Viewer { room: "garden", identity: Some("anna"), ..Viewer::default() };
        let issued = viewer(&key(), &asked, Duration::from_secs(600), "x2").unwrap();
        assert_eq!(issued.identity, "anna-x2");
        assert_eq!(
            grants(&issued.token),
            json!({
                "roomCreate": false,
                "roomList": false,
                "roomRecord": false,
                "roomAdmin": false,
                "roomJoin": true,
                "room": "garden",
                "destinationRoom": "",
                "canPublish": false,
                "canSubscribe": true,
                "canPublishData": false,
                "canPublishSources": [],
                "canUpdateOwnMetadata": false,
                "ingressAdmin": false,
                "hidden": true,
                "recorder": false,
            })
        );
        let claims = claims(&issued.token);
        assert_eq!((claims.sub.as_str(), claims.iss.as_str()), ("anna-x2", "devkey"));
        assert_eq!(claims.room_config, None);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as usize;
        assert!((now + 590..=now + 601).contains(&claims.exp), "{} at {now}", claims.exp);
        assert!(!claims.sip.admin && !claims.sip.call);
    }

    #[test]
    fn a_publishers_token_hears_nobody() {
        let token = publisher(&key(), "garden", "porch", "Porch", Duration::from_secs(60)).unwrap();
        let grants = grants(&token);
        assert_eq!(grants["canSubscribe"], false);
        assert_eq!(grants["canPublish"], true);
        assert_eq!((&grants["roomAdmin"], &grants["hidden"]), (&false.into(), &false.into()));
        assert_eq!((claims(&token).sub, claims(&token).name), ("porch".into(), "Porch".into()));
    }

    #[test]
    fn two_tabs_of_one_name_are_two_viewers() {
        let asked = Viewer { room: "r", identity: Some("tab"), ..Viewer::default() };
        let ttl = Duration::from_secs(60);
        let mut seen: Vec<_> =
            (0..100).map(|_| viewer(&key(), &asked, ttl, &suffix()).unwrap().identity).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        let nameless = viewer(&key(), &Viewer { room: "r", ..Viewer::default() }, ttl, "x").unwrap();
        assert_eq!(nameless.identity, "viewer-x");
    }

    #[test]
    fn what_is_too_long_or_odd_is_refused_in_words() {
        let long = "x".repeat(129);
        let big = "x".repeat(1025);
        let attributes = BTreeMap::from([("a".to_string(), big.clone())]);
        let table = [
            (Viewer { room: "", ..Viewer::default() }, "the room has no name"),
            (Viewer { room: &long, ..Viewer::default() }, "the room is longer than 128 characters"),
            (Viewer { room: "r", identity: Some(&long), ..Viewer::default() }, "the identity is longer"),
            (
                Viewer { room: "r", name: Some("a\nb"), ..Viewer::default() },
                "the name has control characters",
            ),
            (Viewer { room: "r", metadata: Some(&big), ..Viewer::default() }, "the metadata is longer"),
            (Viewer { room: "r", attributes, ..Viewer::default() }, "the set of attributes is longer"),
        ];
        for (asked, words) in table {
            let error = viewer(&key(), &asked, Duration::from_secs(60), "x").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_viewer_asks_for_changes_its_rights(
            room in "[a-z{}\",:]{1,20}", identity in ".{0,30}", name in ".{0,30}", metadata in ".{0,60}",
            attribute in ".{0,20}",
        ) {
            let attributes = BTreeMap::from([(attribute.clone(), attribute)]);
            let asked = Viewer {
                room: &room, identity: Some(&identity), name: Some(&name), metadata: Some(&metadata), attributes,
            };
            if let Ok(issued) = viewer(&key(), &asked, Duration::from_secs(60), "x") {
                let grants = claims(&issued.token).video;
                let expected = VideoGrants {
                    room_join: true, room, can_publish: false, can_publish_data: false, hidden: true,
                    ..VideoGrants::default()
                };
                prop_assert_eq!(grants, expected);
            }
        }
    }
}
