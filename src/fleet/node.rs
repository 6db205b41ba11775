//! A node: another Fanlight, or anything that answers as one. Its fields, what is wrong with them, and how it is
//! shown without its token. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use crate::config::Secret;

const LONGEST_ID: usize = 64;
const LONGEST_TEXT: usize = 200;
const MOST_LABELS: usize = 64;
const MOST_CAPABILITIES: usize = 64;
const LONGEST_TOKEN: usize = 4096;
/// What is sent to someone whose nodes still log in as they did long ago.
const MIGRATION: &str = "basic authentication is gone: give the node an API key (fanlight keys create) and write \
                         {\"type\": \"bearer\", \"token\": \"…\"}";

/// As it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub id: String,
    pub name: String,
    pub base_url: String,
    pub auth: Auth,
    pub labels: Map<String, Value>,
    /// RFC 3339.
    pub last_seen: String,
    pub capabilities: Vec<String>,
    pub transport: Transport,
    /// SHA-256 of its certificate in hex: nothing else is taken then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Actions that may be passed on to it; none named: those that every Fanlight has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Auth {
    None {},
    Bearer {
        #[serde(serialize_with = "plain")]
        token: Secret,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Auth {
    pub fn kind(&self) -> &'static str {
        match self {
            Auth::None {} => "none",
            Auth::Bearer { .. } => "bearer",
        }
    }
}

/// The registry's file is where a token lives.
fn plain<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Http,
    Docker,
}

/// What is wrong with a node that was sent, by field.
pub type Wrong = BTreeMap<&'static str, String>;

/// The keys that may be sent.
const KEYS: [&str; 10] = [
    "id",
    "name",
    "base_url",
    "auth",
    "labels",
    "last_seen",
    "capabilities",
    "transport",
    "fingerprint",
    "actions",
];

impl Node {
    /// A whole node as it was sent.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(sent: &Map<String, Value>) -> Result<Self, Wrong> {
        read(sent, None)
    }

    /// This one with what was sent over it; what was not sent stays. A bearer that is sent without a token keeps the
    /// one that there is, so that a node may be sent back as it was got.
    ///
    /// # Errors
    /// Everything that is wrong with the whole.
    pub fn with(&self, sent: &Map<String, Value>) -> Result<Self, Wrong> {
        if sent.get("id").is_some_and(|id| id.as_str() != Some(&self.id)) {
            return Err(Wrong::from([(
                "id",
                format!("a node keeps its id, {:?}; delete it and make another", self.id),
            )]));
        }
        let mut whole = self.stored();
        for (key, value) in sent {
            match (key.as_str(), value) {
                ("fingerprint" | "actions", Value::Null) => drop(whole.remove(key)),
                _ => drop(whole.insert(key.clone(), value.clone())),
            }
        }
        read(&whole, Some(self))
    }

    fn stored(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    /// As everybody may see it: without its token.
    pub fn shown(&self) -> Value {
        let mut shown = self.stored();
        shown.insert("auth".into(), json!({ "type": self.auth.kind() }));
        Value::Object(shown)
    }

    /// Whether an action may be passed on to it.
    pub fn allows(&self, action: &str) -> bool {
        match &self.actions {
            Some(actions) => actions.iter().any(|allowed| allowed == action),
            None => DEFAULT_ACTIONS.contains(&action),
        }
    }
}

/// What every Fanlight does when it is asked.
pub const DEFAULT_ACTIONS: [&str; 7] = [
    "restart",
    "restart_service",
    "snapshot",
    "start_recording",
    "stop_recording",
    "set_controls",
    "identify",
];

fn read(sent: &Map<String, Value>, before: Option<&Node>) -> Result<Node, Wrong> {
    let mut wrong = Wrong::new();
    for key in sent.keys() {
        if !KEYS.contains(&key.as_str()) {
            wrong.insert(
                "node",
                format!("{:?} is no field of a node; these are: {}", short(key), KEYS.join(", ")),
            );
        }
    }
    let mut check = |key: &'static str, good: Result<(), String>| {
        if let Err(words) = good {
            wrong.insert(key, words);
        }
    };
    check("id", text(sent, "id", LONGEST_ID).and_then(|id| id_of(&id)));
    check("name", text(sent, "name", LONGEST_TEXT).map(drop));
    check("base_url", text(sent, "base_url", 2048).and_then(|url| base_url(&url)));
    check("labels", labels(sent.get("labels")));
    check("last_seen", text(sent, "last_seen", 64).and_then(|text| timestamp(&text)));
    check("capabilities", names(sent.get("capabilities"), MOST_CAPABILITIES));
    check("transport", transport(sent.get("transport")));
    if let Some(fingerprint) = sent.get("fingerprint") {
        check("fingerprint", hex(fingerprint));
    }
    if let Some(actions) = sent.get("actions") {
        check("actions", names(Some(actions), MOST_CAPABILITIES));
    }
    let auth = auth(sent.get("auth"), before);
    check("auth", auth.as_ref().map(drop).map_err(Clone::clone));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut whole = sent.clone();
    let auth = auth.ok().and_then(|auth| serde_json::to_value(auth).ok());
    whole.insert("auth".into(), auth.unwrap_or_default());
    let mut node: Node = serde_json::from_value(Value::Object(whole))
        .map_err(|error| Wrong::from([("node", error.to_string())]))?;
    // Paths are put behind it.
    node.base_url.truncate(node.base_url.trim_end_matches('/').len());
    Ok(node)
}

fn text(sent: &Map<String, Value>, key: &str, longest: usize) -> Result<String, String> {
    match sent.get(key) {
        None => Err("is missing".into()),
        Some(Value::String(text)) if text.trim().is_empty() => Err("is empty".into()),
        Some(Value::String(text)) if text.chars().count() > longest => {
            Err(format!("has more than {longest} characters"))
        }
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            Err("has control characters".into())
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("is not a text".into()),
    }
}

fn id_of(id: &str) -> Result<(), String> {
    let good = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    match good && !id.starts_with('.') {
        true => Ok(()),
        false => Err("has other characters than letters, digits, -, _ and ., or begins with a dot".into()),
    }
}

fn base_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("does not begin with http:// or https:// and a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in it: write a bearer token in auth instead".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has ? or # in it: paths are put behind it".into());
    }
    Ok(())
}

fn labels(value: Option<&Value>) -> Result<(), String> {
    let Some(Value::Object(labels)) = value else { return Err("is missing, or not an object".into()) };
    if labels.len() > MOST_LABELS {
        return Err(format!("are more than {MOST_LABELS}"));
    }
    for (name, value) in labels {
        let fits = match value {
            Value::String(text) => text.len() <= LONGEST_TEXT,
            Value::Number(_) | Value::Bool(_) => true,
            _ => false,
        };
        if !fits || name.is_empty() || name.len() > LONGEST_TEXT {
            return Err(format!("{:?}: a label is a short text, a number, true or false", short(name)));
        }
    }
    Ok(())
}

fn timestamp(text: &str) -> Result<(), String> {
    text.parse::<jiff::Timestamp>()
        .map(drop)
        .map_err(|_| "is no ISO 8601 time such as 2026-01-18T20:15:00Z".into())
}

fn names(value: Option<&Value>, most: usize) -> Result<(), String> {
    let Some(Value::Array(names)) = value else { return Err("is missing, or not a list".into()) };
    let good = |name: &Value| {
        name.as_str().is_some_and(|name| !name.is_empty() && name.len() <= LONGEST_ID && !name.contains('/'))
    };
    match names.len() <= most && names.iter().all(good) {
        true => Ok(()),
        false => Err(format!("has more than {most} entries, or one that is no short name")),
    }
}

fn transport(value: Option<&Value>) -> Result<(), String> {
    match value.and_then(Value::as_str) {
        Some("http" | "docker") => Ok(()),
        Some(_) => Err("is neither \"http\" nor \"docker\"".into()),
        None => Err("is missing".into()),
    }
}

fn hex(value: &Value) -> Result<(), String> {
    let good = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value.as_str() {
        Some(text) if good(text) => Ok(()),
        _ => Err("is not the SHA-256 of a certificate in 64 hexadecimal digits".into()),
    }
}

fn auth(value: Option<&Value>, before: Option<&Node>) -> Result<Auth, String> {
    let Some(Value::Object(auth)) = value else { return Err("is missing, or not an object".into()) };
    let old = ["username", "password", "encoded"].iter().any(|key| auth.contains_key(*key));
    let kind = auth.get("type").and_then(Value::as_str);
    if old || kind == Some("basic") {
        return Err(MIGRATION.into());
    }
    if let Some(key) = auth.keys().find(|key| !matches!(key.as_str(), "type" | "token")) {
        return Err(format!("has an unknown field {:?}; write type and token", short(key)));
    }
    match (kind, auth.get("token")) {
        (Some("none"), None) => Ok(Auth::None {}),
        (Some("none"), Some(_)) => Err("of type none has no token".into()),
        (Some("bearer"), Some(Value::String(token))) => {
            let good = !token.is_empty()
                && token.len() <= LONGEST_TOKEN
                && token.bytes().all(|byte| byte.is_ascii_graphic());
            match good {
                true => Ok(Auth::Bearer { token: Secret::new(token.clone()) }),
                false => Err("has a token with spaces or other characters than ASCII, or one that is empty or too long".into()),
            }
        }
        (Some("bearer"), Some(_)) => Err("has a token that is not a text".into()),
        (Some("bearer"), None) => match before.map(|node| &node.auth) {
            Some(kept @ Auth::Bearer { .. }) => Ok(kept.clone()),
            _ => Err("of type bearer needs a token".into()),
        },
        _ => Err("is of another type than none and bearer".into()),
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole() -> Map<String, Value> {
        let node = json!({
            "id": "garage", "name": "Garage", "base_url": "http://192.168.1.20:8080/",
            "auth": { "type": "bearer", "token": "fl_secret" }, "labels": { "floor": 1, "room": "garage" },
            "last_seen": "2026-01-18T20:15:00Z", "capabilities": ["stream"], "transport": "http",
        });
        node.as_object().unwrap().clone()
    }

    fn changed(key: &str, value: Value) -> Map<String, Value> {
        let mut node = whole();
        node.insert(key.into(), value);
        node
    }

    #[test]
    fn a_node_is_shown_without_its_token_and_may_be_sent_back_as_it_was_shown() {
        let node = Node::new(&whole()).unwrap();
        assert_eq!(node.base_url, "http://192.168.1.20:8080");
        let shown = node.shown();
        assert_eq!(shown["auth"], json!({ "type": "bearer" }));
        assert!(!shown.to_string().contains("fl_secret") && !format!("{node:?}").contains("fl_secret"));
        assert_eq!(node.with(shown.as_object().unwrap()).unwrap(), node);
        let kept: Node = serde_json::from_value(Value::Object(node.stored())).unwrap();
        assert_eq!(kept, node, "with its token, where it is kept");
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        let table = [
            ("id", json!("../x"), "other characters"),
            ("id", json!(7), "not a text"),
            ("name", json!(" "), "is empty"),
            ("base_url", json!("ftp://x"), "http://"),
            ("base_url", json!("http://user:pass@host"), "bearer token"),
            ("base_url", json!("http://host/?x=1"), "paths are put behind it"),
            ("base_url", json!("garage"), "no URL"),
            ("labels", json!([]), "not an object"),
            ("labels", json!({ "a": {} }), "short text"),
            ("last_seen", json!("yesterday"), "ISO 8601"),
            ("capabilities", json!("stream"), "not a list"),
            ("capabilities", json!(["a/b"]), "no short name"),
            ("transport", json!("carrier pigeon"), "neither"),
            ("fingerprint", json!("abc"), "64 hexadecimal"),
            ("auth", json!({ "type": "basic", "username": "a", "password": "b" }), "fanlight keys create"),
            ("auth", json!({ "type": "bearer", "token": "x", "encoded": "eA==" }), "fanlight keys create"),
            ("auth", json!({ "type": "bearer" }), "needs a token"),
            ("auth", json!({ "type": "bearer", "token": "a b" }), "spaces"),
            ("auth", json!({ "type": "none", "realm": "x" }), "unknown field"),
            ("auth", json!({ "type": "digest" }), "another type"),
        ];
        for (field, value, words) in table {
            let wrong = Node::new(&changed(field, value.clone())).unwrap_err();
            let told = wrong.get(field).unwrap_or_else(|| panic!("{field} {value}: {wrong:?}"));
            assert!(told.contains(words) && wrong.len() == 1, "{field} {value}: {wrong:?}");
        }
        assert_eq!(Node::new(&Map::new()).unwrap_err().len(), 8, "all that is missing");
        assert!(Node::new(&changed("colour", json!(1))).unwrap_err()["node"].contains("colour"));
    }

    #[test]
    fn a_part_goes_over_what_there_is_and_the_whole_is_looked_at() {
        let node = Node::new(&whole()).unwrap();
        let with = |part: Value| node.with(part.as_object().unwrap());
        assert_eq!(with(json!({ "name": "Shed" })).unwrap().name, "Shed");
        assert_eq!(with(json!({ "auth": { "type": "none" } })).unwrap().auth, Auth::None {});
        assert!(with(json!({ "id": "shed" })).unwrap_err()["id"].contains("keeps its id"));
        assert!(with(json!({ "transport": "x" })).unwrap_err().contains_key("transport"));
        let pinned = with(json!({ "fingerprint": "ab".repeat(32) })).unwrap();
        let part = json!({ "fingerprint": null });
        assert_eq!(pinned.with(part.as_object().unwrap()).unwrap().fingerprint, None);
        assert!(node.allows("restart") && !node.allows("format_disk"));
        let chosen = with(json!({ "actions": ["wave"] })).unwrap();
        assert!(chosen.allows("wave") && !chosen.allows("restart"));
    }

    proptest! {
        #[test]
        fn no_payload_panics_and_what_is_taken_is_taken_again(key in 0usize..10, value in "[ -~]{0,20}") {
            let sent = changed(KEYS[key], Value::String(value));
            if let Ok(node) = Node::new(&sent) {
                prop_assert_eq!(Node::new(&node.stored()).unwrap(), node);
            }
        }
    }
}
