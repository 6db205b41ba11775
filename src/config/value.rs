//! What a single value may be, and the words for it. One rule serves the file (values arrive typed)
//! and the environment (values arrive as text).

use std::net::IpAddr;

use toml::Value;

use super::addresses::{self, PublicAddress};
use super::model::{FileMode, Resolution, Rotation};
use super::networks::Network;
use super::schedule::Span;
use super::schema::Key;
use super::urls;
use crate::tls::Fingerprint;

/// What a key holds.
#[derive(Debug)]
pub enum Kind {
    Flag,
    Whole {
        min: i64,
        max: i64,
        unit: &'static str,
    },
    Number {
        min: f64,
        max: f64,
        unit: &'static str,
    },
    Text,
    Id,
    Path,
    /// A path, or in the environment `sqlite:` and a path.
    Database,
    Secret,
    Choice(&'static [&'static str]),
    Address,
    /// A host name or an IP address, IPv6 without brackets.
    Host,
    /// Of a certificate.
    Fingerprint,
    Origins,
    LogFilter,
    Resolution,
    Rotation,
    FileMode,
    Url(&'static [&'static str]),
    /// The same without a user and password in it, because there is no way to use them.
    PlainUrl(&'static [&'static str]),
    /// What viewers are told instead of a local address.
    PublicAddress,
    /// A time on days of the week.
    Span,
    /// A `stun:`, `turn:` or `turns:` URL as browsers take it.
    IceServer,
    /// `192.168.7.0/24`, or one address.
    Network,
    /// Any number of the same kind; commas between in the environment.
    List(&'static Kind),
    /// A table of further keys.
    Section(&'static [Key]),
    /// The list of cameras.
    Cameras,
    /// A camera's source, whose keys depend on its `type`.
    Source,
    /// The list of a camera's privacy masks.
    Masks,
    /// The list of users.
    Users,
    /// The list of published outputs, whose keys depend on their `type`.
    Outputs,
}

impl Kind {
    /// What is allowed, to follow "write …".
    pub fn allowed(&self) -> String {
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Whole { min, max, unit } => spaced(format!("a whole number from {min} to {max}"), unit),
            Kind::Number { min, max, unit } => spaced(format!("a number from {min} to {max}"), unit),
            Kind::Text => "text in quotes, not empty".into(),
            Kind::Id => "1 to 64 letters, digits, - and _".into(),
            Kind::Path => "a path in quotes".into(),
            Kind::Database => "the path of an SQLite file, such as /data/printers.db".into(),
            Kind::Secret => "text in quotes, not empty, on one line".into(),
            Kind::Choice(names) => list(names),
            Kind::Address => "an IP address such as 127.0.0.1, 0.0.0.0 or ::".into(),
            Kind::Host => "a host name or an IP address, without port, such as 192.168.1.20".into(),
            Kind::Fingerprint => {
                "the SHA-256 of a certificate as 64 hexadecimal digits, with or without colons".into()
            }
            Kind::Origins => "* or origins such as https://dash.example.org".into(),
            Kind::LogFilter => {
                "error, warn, info, debug, trace or off, or a filter such as info,fanlight::capture=debug"
                    .into()
            }
            Kind::Resolution => {
                format!("WIDTHxHEIGHT such as 1280x720, from 16x16 to {0}x{0}", Resolution::MAX)
            }
            Kind::Rotation => "0, 90, 180 or 270".into(),
            Kind::FileMode => "\"0600\", \"0640\" or \"0644\"".into(),
            Kind::Url(schemes) | Kind::PlainUrl(schemes) => {
                let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://host/path")).collect();
                list(&schemes)
            }
            Kind::Section(_) => "a table".into(),
            Kind::Cameras => "[[camera]] in double brackets".into(),
            Kind::Masks => "[[camera.mask]] in double brackets".into(),
            Kind::Users => "[[access.user]] in double brackets".into(),
            Kind::Source => "a table with a type, such as { type = \"auto\" }".into(),
            Kind::Outputs => "[[publish]] in double brackets".into(),
            Kind::PublicAddress => PublicAddress::ALLOWED.into(),
            Kind::IceServer => {
                "URLs such as stun:stun.example.org:3478 and turns:turn.example.org:5349?transport=tcp".into()
            }
            Kind::Span => Span::ALLOWED.into(),
            Kind::Network => Network::ALLOWED.into(),
            Kind::List(Kind::Text) => "a list of texts in quotes".into(),
            Kind::List(kind) => kind.allowed(),
        }
    }

    /// Says what is wrong with a value, in words that never hold a secret.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if let (Kind::Url(schemes), Value::String(text)) = (self, value) {
            return urls::check(text, schemes);
        }
        if let (Kind::PlainUrl(schemes), Value::String(text)) = (self, value) {
            return urls::check_plain(text, schemes);
        }
        if let (Kind::List(kind), Value::Array(values)) = (self, value) {
            return values.iter().try_for_each(|value| kind.check(value));
        }
        if let (Kind::List(_), Value::String(_)) = (self, value) {
            return Err(format!("this is a list; write square brackets around it: [{value}]"));
        }
        if self.holds(value) {
            return Ok(());
        }
        let mut message = format!("{} is not allowed; write {}", self.quoted(value), self.allowed());
        if let Value::String(text) = value {
            let bare = matches!(self, Kind::Flag | Kind::Whole { .. } | Kind::Number { .. } | Kind::Rotation);
            if bare && self.parse(text).is_ok() {
                message.push_str(", without quotes");
            }
            if let Kind::Choice(names) = self
                && let Some(near) = nearest(text, names.iter().copied())
            {
                message.push_str(&format!("; did you mean {near:?}?"));
            }
        }
        Err(message)
    }

    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Flag, Value::Boolean(_)) => true,
            (Kind::Whole { min, max, .. }, Value::Integer(number)) => (min..=max).contains(&number),
            (Kind::Number { min, max, .. }, Value::Float(number)) => (min..=max).contains(&number),
            (Kind::Number { min, max, .. }, Value::Integer(number)) => {
                (*min..=*max).contains(&(*number as f64))
            }
            (Kind::Text | Kind::Secret | Kind::Path, Value::String(text)) => {
                !text.trim().is_empty() && !text.chars().any(char::is_control)
            }
            (Kind::Database, Value::String(text)) => Kind::Path.holds(value) && !text.contains(':'),
            (Kind::Id, Value::String(text)) => is_id(text),
            (Kind::Choice(names), Value::String(text)) => names.contains(&text.as_str()),
            (Kind::Address, Value::String(text)) => text.parse::<IpAddr>().is_ok(),
            (Kind::Host, Value::String(text)) => is_host(text),
            (Kind::Fingerprint, Value::String(text)) => text.parse::<Fingerprint>().is_ok(),
            (Kind::Origins, Value::Array(origins)) => {
                origins.iter().all(|origin| origin.as_str().is_some_and(urls::is_origin))
            }
            (Kind::LogFilter, Value::String(text)) => is_log_filter(text),
            (Kind::Resolution, Value::String(text)) => text.parse::<Resolution>().is_ok(),
            (Kind::Rotation, Value::Integer(degrees)) => {
                u16::try_from(*degrees).is_ok_and(|degrees| Rotation::try_from(degrees).is_ok())
            }
            (Kind::FileMode, Value::String(text)) => text.parse::<FileMode>().is_ok(),
            (Kind::Url(schemes), Value::String(text)) => urls::check(text, schemes).is_ok(),
            (Kind::PlainUrl(schemes), Value::String(text)) => urls::check_plain(text, schemes).is_ok(),
            (Kind::PublicAddress, Value::String(text)) => text.parse::<PublicAddress>().is_ok(),
            (Kind::Span, Value::String(text)) => Span::parse(text).is_some(),
            (Kind::Network, Value::String(text)) => text.parse::<Network>().is_ok(),
            (Kind::IceServer, Value::String(text)) => addresses::is_ice_server(text),
            (Kind::List(kind), Value::Array(values)) => values.iter().all(|value| kind.holds(value)),
            _ => false,
        }
    }

    /// Reads a value from bare text, as the environment gives it.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let refused = || {
            let shown = match self {
                Kind::Secret => "this".into(),
                Kind::Url(_) | Kind::PlainUrl(_) => shortened(&urls::redact(text)),
                _ => shortened(text),
            };
            format!("{shown} is not allowed; write {}", self.allowed())
        };
        let value = match self {
            Kind::Flag => Value::Boolean(flag(text).ok_or_else(refused)?),
            Kind::Whole { .. } | Kind::Rotation => Value::Integer(text.parse().map_err(|_| refused())?),
            Kind::Number { .. } => Value::Float(text.parse().map_err(|_| refused())?),
            Kind::Choice(_) => Value::String(text.to_ascii_lowercase()),
            Kind::Database => Value::String(urls::sqlite_path(text).into()),
            Kind::Origins | Kind::List(_) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.into()))
                .collect::<Vec<_>>()
                .into(),
            Kind::Section(_) | Kind::Cameras | Kind::Users | Kind::Source | Kind::Masks | Kind::Outputs => {
                return Err(refused());
            }
            _ => Value::String(text.into()),
        };
        if self.holds(&value) { Ok(value) } else { Err(refused()) }
    }

    fn quoted(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Secret, _) => "this".into(),
            (Kind::PlainUrl(_), Value::String(text)) => shortened(&urls::redact(text)),
            (_, Value::String(text)) => shortened(text),
            (_, Value::Array(_)) if !matches!(self, Kind::Origins) => "a list".into(),
            (_, Value::Table(_)) => "a table".into(),
            (_, other) => shortened_plain(&other.to_string()),
        }
    }
}

/// `true` and `false` as people write them in the environment.
pub fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The name that was probably meant.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Distances grow with the square of the length; nothing that long is a slip of the finger.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_ascii_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::damerau_levenshtein(&written, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a, b or c`.
pub fn list<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().into(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

/// Text in quotes with control characters escaped, cut when it is long.
pub fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

fn shortened_plain(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

fn spaced(text: String, unit: &str) -> String {
    if unit.is_empty() { text } else { format!("{text} {unit}") }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_host(text: &str) -> bool {
    let named = || !text.contains([':', '%']) && url::Host::parse(text).is_ok();
    !text.is_empty() && (text.parse::<IpAddr>().is_ok() || named())
}

/// A bare word in a `tracing` filter that is no level means "this target, everything", so a misspelt
/// level would pass; here a bare word must be a level.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    text.len() <= 1000
        && text.split(',').all(|directive| {
            let directive = directive.trim();
            directive.contains(['=', '[']) || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
        })
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_what_it_says_and_nothing_else() {
        let whole = Kind::Whole { min: 0, max: 120, unit: "" };
        let number = Kind::Number { min: 0.1, max: 2.0, unit: "seconds" };
        let table: &[(&Kind, &[&str], &[&str])] = &[
            (&Kind::Flag, &["true", "FALSE", "1", "0", "Yes", "no", "on", " off "], &["maybe", "2", "tru"]),
            (&whole, &["0", "120", " 30 "], &["-1", "121", "30.0", "thirty", "99999999999999999999"]),
            (&number, &["0.1", "2", "0.333"], &["0", "2.01", "nan", "inf", "-inf", "half"]),
            (&Kind::Id, &["porch", "a-B_9"], &["a b", "ä", "a/b", &"x".repeat(65) as &str]),
            (&Kind::Choice(&["text", "json"]), &["text", "JSON"], &["xml"]),
            (&Kind::Address, &["127.0.0.1", "::", "0.0.0.0"], &["localhost", "1.2.3", "1.2.3.4:80"]),
            (
                &Kind::Host,
                &["192.168.1.20", "printer.local", "fd00::20"],
                &["a:6000", "[fd00::20]", "rtsps://a", "a/b", "a b", "1.2.3.400"],
            ),
            (&Kind::Fingerprint, &[&"0a".repeat(32) as &str, &["A0"; 32].join(":")], &["0a", "x"]),
            (&Kind::Origins, &["*", "https://a.example, http://b:8080"], &["a.example", "https://a/x"]),
            (
                &Kind::LogFilter,
                &["info", "WARN", "info,fanlight::capture=debug"],
                &["inof", "a=b=c", "info,bug"],
            ),
            (
                &Kind::Resolution,
                &["640x480", "4096x4096", "16X16"],
                &["4097x1", "640", "x", "640x480x1", "-1x5"],
            ),
            (&Kind::Rotation, &["0", "90", "180", "270"], &["45", "360", "-90", "65626"]),
            (&Kind::FileMode, &["0600", "0640", "0644", "644"], &["0666", "0400", "abc", "0755"]),
            (
                &Kind::PlainUrl(&["ws", "http"]),
                &["ws://sfu:7880", "http://sfu/"],
                &["sfu:7880", "wss://sfu", "ws://u:p@sfu", "ws://"],
            ),
            (&Kind::List(&Kind::IceServer), &["stun:a, turn:b:1", "stun:a,"], &["stun:a, b", "http://a"]),
            (&Kind::Network, &["10.0.0.0/8", "fd00::/8", "10.0.0.1"], &["10.0.0.0/33", "home"]),
            (&Kind::List(&Kind::PublicAddress), &["192.0.2.1, [::1]:5, cam"], &["192.0.2.1, 0.0.0.0"]),
        ];
        for (kind, good, bad) in table {
            for text in *good {
                assert!(kind.parse(text).is_ok(), "{kind:?} takes {text:?}");
            }
            for text in *bad {
                let message = kind.parse(text).expect_err(&format!("{kind:?} refuses {text:?}"));
                assert!(message.contains(&kind.allowed()), "{message}");
            }
        }
    }

    #[test]
    fn a_message_quotes_the_value_but_never_a_secret() {
        let message = Kind::Secret.check(&Value::String("two\nlines".into())).unwrap_err();
        assert!(!message.contains("two"), "{message}");
        let message = Kind::Secret.check(&Value::Integer(12345)).unwrap_err();
        assert!(!message.contains("12345"), "{message}");
        let message = Kind::Choice(&["open", "close"]).check(&Value::String("clsoe".into())).unwrap_err();
        assert_eq!(message, r#""clsoe" is not allowed; write open or close; did you mean "close"?"#);
        let message = Kind::Rotation.check(&Value::String("90".into())).unwrap_err();
        assert_eq!(message, r#""90" is not allowed; write 0, 90, 180 or 270, without quotes"#);
    }
}
