//! Reads the text of a configuration file against the table of keys. Collects every mistake with its
//! place instead of stopping at the first; what is right goes into a tree that the types are built
//! from. Touches no disk.

mod outputs;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::error::Problem;
use super::origins::Position;
use super::schema::{self, Key};
use super::urls;
use super::value::{Kind, list, nearest, shortened};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub tree: Table,
    /// Where each key stands.
    pub positions: BTreeMap<String, Position>,
    /// In the order of the lines. When there are any, the tree has holes.
    pub problems: Vec<Problem>,
}

pub(super) fn read(text: &str) -> Reading {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    let lines = std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect();
    let mut reader = Reader { text, lines, reading: Reading::default() };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let top = Place { path: String::new(), label: "the top level".into() };
        reader.reading.tree = reader.section(table.get_ref(), None, schema::ROOT, &top);
    }
    for error in errors {
        let key = String::new();
        reader.problem(error.span(), key, format!("this is not TOML: {}", error.message()));
    }
    let mut reading = reader.reading;
    reading.problems.sort_by_key(|problem| problem.position);
    reading.problems.dedup();
    reading
}

/// Where the reader is: a key path, and the words for it.
struct Place {
    path: String,
    label: String,
}

impl Place {
    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }
}

struct Reader<'t> {
    text: &'t str,
    /// Where each line begins; never empty.
    lines: Vec<usize>,
    reading: Reading,
}

impl Reader<'_> {
    fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0);
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    fn problem(&mut self, span: Option<Range<usize>>, key: String, message: String) {
        let position = span.map(|span| self.position(span.start));
        self.reading.problems.push(Problem { position, key, message });
    }

    fn found(&mut self, path: String, span: Range<usize>) {
        let position = self.position(span.start);
        self.reading.positions.insert(path, position);
    }

    fn section(
        &mut self,
        table: &DeTable<'_>,
        span: Option<Range<usize>>,
        keys: &'static [Key],
        place: &Place,
    ) -> Table {
        let mut tree = Table::new();
        for (name, value) in table.iter() {
            let written = name.get_ref().as_ref();
            let Some(key) = keys.iter().find(|key| key.name == written) else {
                self.unknown(written, name.span(), keys, place);
                continue;
            };
            if let Some(value) = self.key(key, name.span(), value, place) {
                tree.insert(key.name.into(), value);
            }
        }
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = match key.kind {
                Kind::Source => format!(
                    "{} has no source; write one such as source = {{ type = \"auto\" }}; types: {}",
                    place.label,
                    source_types()
                ),
                _ => format!("{} has no {:?}; write {}", place.label, key.name, key.kind.allowed()),
            };
            self.problem(span.clone(), place.key(key.name), message);
        }
        tree
    }

    fn key(
        &mut self,
        key: &'static Key,
        name_span: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        place: &Place,
    ) -> Option<Value> {
        let path = place.key(key.name);
        let span = value.span();
        match (&key.kind, value.get_ref()) {
            (Kind::Section(keys), DeValue::Table(table)) => {
                let label = if place.path.is_empty() {
                    format!("[{}]", key.name)
                } else {
                    format!("{} of {}", key.name, place.label)
                };
                let inner = Place { path, label };
                if key.name == "livekit" || key.name == "access" {
                    self.secret_or_file(table, &inner);
                }
                Some(self.section(table, Some(span), keys, &inner).into())
            }
            (Kind::Section(_), other) => {
                let name = key.name;
                let message = match (other, place.path.is_empty()) {
                    (DeValue::Array(_), true) => format!("there is only one {name}; write [{name}]"),
                    (_, true) => format!("{name} is a section; write [{name}] and its keys below it"),
                    _ => format!("{name} of {} is a table; write [camera.{name}] below it", place.label),
                };
                self.problem(Some(span), path, message);
                None
            }
            (Kind::Cameras, DeValue::Array(cameras)) => Some(self.cameras(cameras.iter())),
            (Kind::Cameras, _) => {
                let message = "there may be several cameras; write [[camera]] in double brackets".into();
                self.problem(Some(span), path, message);
                None
            }
            (Kind::Masks, DeValue::Array(masks)) => Some(self.masks(masks.iter(), &path, place)),
            (Kind::Masks, _) => {
                let message = "there may be several masks; write [[camera.mask]] in double brackets".into();
                self.problem(Some(span), path, message);
                None
            }
            (Kind::Users, DeValue::Array(users)) => Some(self.users(users.iter())),
            (Kind::Users, _) => {
                let message = "there may be several users; write [[access.user]] in double brackets".into();
                self.problem(Some(span), path, message);
                None
            }
            (Kind::Outputs, DeValue::Array(outputs)) => Some(self.outputs(outputs.iter())),
            (Kind::Outputs, _) => {
                let message =
                    "there may be several published outputs; write [[publish]] in double brackets".into();
                self.problem(Some(span), path, message);
                None
            }
            (Kind::Source, DeValue::Table(table)) => self.source(table, span, place),
            (Kind::Source, other) => {
                let mut message = format!("the source of {} is a table with a type", place.label);
                match other {
                    DeValue::String(kind) if schema::source(kind).is_some() => {
                        message.push_str(&format!("; write source = {{ type = {:?} }}", kind.as_ref()));
                    }
                    _ => message.push_str(", such as source = { type = \"auto\" }"),
                }
                self.problem(Some(span), path, message);
                None
            }
            (kind, _) => {
                let checked = match plain(value.get_ref()) {
                    Ok(value) => kind.check(&value).map(|()| value),
                    Err(message) => Err(format!("{message}; write {}", kind.allowed())),
                };
                match checked {
                    Ok(value) => {
                        self.found(path, name_span);
                        Some(value)
                    }
                    Err(message) => {
                        let message = format!("{:?} in {}: {message}", key.name, place.label);
                        self.problem(Some(span), path, message);
                        None
                    }
                }
            }
        }
    }

    fn cameras<'i, 'v>(&mut self, cameras: impl Iterator<Item = &'v Spanned<DeValue<'i>>>) -> Value
    where
        'i: 'v,
    {
        let mut list = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, camera) in cameras.enumerate() {
            let path = format!("camera.{index}");
            let DeValue::Table(table) = camera.get_ref() else {
                let message = "a camera is a table; write [[camera]] and its keys below it".into();
                self.problem(Some(camera.span()), path, message);
                continue;
            };
            let id = table.get("id").and_then(|id| match id.get_ref() {
                DeValue::String(text) => Some((text.to_string(), id.span())),
                _ => None,
            });
            let label = match &id {
                Some((id, _)) => format!("[[camera]] {}", shortened(id)),
                None => format!("[[camera]] number {}", index + 1),
            };
            self.found(path.clone(), camera.span());
            let tree = self.section(
                table,
                Some(camera.span()),
                schema::CAMERA,
                &Place { path: path.clone(), label },
            );
            if let Some((id, span)) = id
                && !ids.insert(id.clone())
            {
                let message = format!("two cameras have the id {}; each needs its own", shortened(&id));
                self.problem(Some(span), format!("{path}.id"), message);
            }
            list.push(tree.into());
        }
        Value::Array(list)
    }

    fn masks<'i, 'v>(
        &mut self,
        masks: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
        path: &str,
        camera: &Place,
    ) -> Value
    where
        'i: 'v,
    {
        let mut list = Vec::new();
        for (index, mask) in masks.enumerate() {
            let place = Place {
                path: format!("{path}.{index}"),
                label: format!("[[camera.mask]] number {} of {}", index + 1, camera.label),
            };
            let DeValue::Table(table) = mask.get_ref() else {
                let message = "a mask is a table; write [[camera.mask]] and its keys below it".into();
                self.problem(Some(mask.span()), place.path, message);
                continue;
            };
            self.found(place.path.clone(), mask.span());
            list.push(self.section(table, Some(mask.span()), schema::MASK, &place).into());
        }
        Value::Array(list)
    }

    fn source(&mut self, table: &DeTable<'_>, span: Range<usize>, camera: &Place) -> Option<Value> {
        let place = Place { path: camera.key("source"), label: format!("the source of {}", camera.label) };
        let Some(kind) = table.get("type") else {
            let message = format!(
                "{} has no type; write one such as source = {{ type = \"auto\" }}; types: {}",
                place.label,
                source_types()
            );
            self.problem(Some(span), place.key("type"), message);
            return None;
        };
        let written = match kind.get_ref() {
            DeValue::String(text) => text.as_ref(),
            _ => "",
        };
        let Some(keys) = schema::source(written) else {
            let mut message = format!(
                "\"type\" in {}: {} is not a type of source; write {}",
                place.label,
                shortened(written),
                source_types()
            );
            if let Some(near) = nearest(written, schema::SOURCES.iter().map(|(name, _)| *name)) {
                message.push_str(&format!("; did you mean {near:?}?"));
            }
            self.problem(Some(kind.span()), place.key("type"), message);
            return None;
        };
        if let Some((name, _)) = table.get_key_value("type") {
            self.found(place.key("type"), name.span());
        }
        let mut rest = table.clone();
        rest.remove("type");
        let mut tree = self.section(&rest, Some(span), keys, &place);
        tree.insert("type".into(), written.into());
        self.secrets(&tree, table, &place);
        Some(tree.into())
    }

    /// The rules between `url`, `username`, `password`, `password_file` and the `tls` keys of a source.
    fn secrets(&mut self, tree: &Table, table: &DeTable<'_>, place: &Place) {
        let text = |name: &str| tree.get(name).and_then(Value::as_str);
        let span = |name: &str| table.get_key_value(name).map(|(key, _)| key.span());
        let mut problem = |name: &str, message: String| {
            self.problem(span(name), place.key(name), format!("{message}, in {}", place.label));
        };
        let inside = text("url").and_then(|url| urls::take_credentials(url).1);
        if text("password").is_some() && text("password_file").is_some() {
            problem("password_file", "password and password_file are both set; keep one".into());
        }
        if let Some(inside) = inside {
            if text("username").is_some_and(|username| username != inside.username) {
                problem("username", "the url has another user in it than username; keep one".into());
            }
            for name in ["password", "password_file"] {
                if inside.password.is_some() && text(name).is_some() {
                    problem(name, format!("the url has a password in it, and {name} is set; keep one"));
                }
            }
        }
        let code = text("access_code").is_some() || text("access_code_file").is_some();
        if text("type") == Some("bambu-jpeg") && !code {
            problem("type", "there is no access_code; write the one that the printer's screen shows".into());
        }
        if text("access_code").is_some() && text("access_code_file").is_some() {
            problem("access_code_file", "access_code and access_code_file are both set; keep one".into());
        }
        let rtsp = text("type") == Some("rtsp");
        match (text("tls"), text("fingerprint").is_some()) {
            (Some("pin"), false) => problem(
                "tls",
                "tls = \"pin\" needs fingerprint, the SHA-256 of the certificate; a refused camera's message \
                 says which it has"
                    .into(),
            ),
            (tls, true) if rtsp && tls != Some("pin") => {
                problem("fingerprint", "fingerprint is only used with tls = \"pin\"".into());
            }
            _ => {}
        }
        match (text("tls"), text("tls_ca_file")) {
            (Some("file"), None) => {
                problem("tls", "tls = \"file\" needs tls_ca_file, the certificate to check against".into());
            }
            (tls, Some(_)) if tls != Some("file") => problem(
                "tls_ca_file",
                "tls_ca_file is only used with tls = \"file\"; without it the camera is not checked against it"
                    .into(),
            ),
            _ => {}
        }
    }

    fn unknown(&mut self, written: &str, span: Range<usize>, keys: &'static [Key], place: &Place) {
        let mut message = format!("unknown key {} in {}", shortened(written), place.label);
        let known: Vec<_> = keys.iter().map(|key| key.name).collect();
        if let Some(near) = nearest(written, known.iter().copied()) {
            message.push_str(&format!("; did you mean {near:?}?"));
        } else if let Some(home) = schema::home_of(written, &place.path) {
            message.push_str(&format!("; it belongs in {home}."));
        } else {
            message.push('.');
        }
        if known.is_empty() {
            message.push_str(" It has no keys but type");
        } else {
            message.push_str(&format!(" Known keys: {}", known.join(", ")));
        }
        self.problem(Some(span), place.key(written), message);
    }
}

fn source_types() -> String {
    let names: Vec<_> = schema::SOURCES.iter().map(|(name, _)| *name).collect();
    list(&names)
}

/// The value without its places.
fn plain(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Integer)
            .map_err(|_| "this number is too large".to_string())?,
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| "this is not a number".to_string())?)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(values) => {
            Value::Array(values.iter().map(|value| plain(value.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(_) => return Err("this is a table".into()),
    })
}
