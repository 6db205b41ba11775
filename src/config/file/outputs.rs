//! Reads the `[[publish]]` tables: which keys each type takes, and the rules between the keys of one
//! output. What depends on other tables or on the environment is in `rules`.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::super::schema;
use super::super::urls;
use super::super::value::{list, nearest, shortened};
use super::{Place, Reader};

impl Reader<'_> {
    pub(super) fn outputs<'i, 'v>(&mut self, outputs: impl Iterator<Item = &'v Spanned<DeValue<'i>>>) -> Value
    where
        'i: 'v,
    {
        let mut outputs_read = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, output) in outputs.enumerate() {
            let path = format!("publish.{index}");
            let DeValue::Table(table) = output.get_ref() else {
                let message = "a published output is a table; write [[publish]] and its keys below it".into();
                self.problem(Some(output.span()), path, message);
                continue;
            };
            let id = table.get("id").and_then(|id| match id.get_ref() {
                DeValue::String(text) => Some((text.to_string(), id.span())),
                _ => None,
            });
            let label = match &id {
                Some((id, _)) => format!("[[publish]] {}", shortened(id)),
                None => format!("[[publish]] number {}", index + 1),
            };
            self.found(path.clone(), output.span());
            if let Some((id, span)) = id
                && !ids.insert(id.clone())
            {
                let message =
                    format!("two published outputs have the id {}; each needs its own", shortened(&id));
                self.problem(Some(span), format!("{path}.id"), message);
            }
            if let Some(tree) = self.output(table, output.span(), &Place { path, label }) {
                outputs_read.push(tree.into());
            }
        }
        Value::Array(outputs_read)
    }

    fn output(&mut self, table: &DeTable<'_>, span: Range<usize>, place: &Place) -> Option<Table> {
        let Some(kind) = table.get("type") else {
            let message = format!("{} has no type; write type = {}", place.label, target_types());
            self.problem(Some(span), place.key("type"), message);
            return None;
        };
        let written = match kind.get_ref() {
            DeValue::String(text) => text.as_ref(),
            _ => "",
        };
        let Some(keys) = schema::target(written) else {
            let mut message = format!(
                "\"type\" in {}: {} is not a type of published output; write {}",
                place.label,
                shortened(written),
                target_types()
            );
            if let Some(near) = nearest(written, schema::TARGETS.iter().map(|(name, _)| *name)) {
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
        let mut tree = self.section(&rest, Some(span.clone()), keys, place);
        tree.insert("type".into(), written.into());
        self.ways_in(written, &tree, table, span, place);
        Some(tree)
    }

    /// The rules between the keys that say where an output goes and what opens the door there.
    fn ways_in(&mut self, kind: &str, tree: &Table, table: &DeTable<'_>, span: Range<usize>, place: &Place) {
        let text = |name: &str| tree.get(name).and_then(Value::as_str);
        let has = |name: &str| table.contains_key(name);
        let mut problem = |name: &str, message: &str| {
            let at = table.get_key_value(name).map_or(span.clone(), |(key, _)| key.span());
            self.problem(Some(at), place.key(name), format!("{message}, in {}", place.label));
        };
        for (value, file) in [
            ("api_secret", "api_secret_file"),
            ("token", "token_file"),
            ("stream_key", "stream_key_file"),
            ("password", "password_file"),
        ] {
            if has(value) && has(file) {
                problem(file, &format!("{value} and {file} are both set; keep one"));
            }
        }
        match kind {
            "livekit" => {
                let secret = has("api_secret") || has("api_secret_file");
                if has("token_file") && (secret || has("api_key")) {
                    problem("token_file", "a ready-made token and a key are both set; keep one");
                } else if has("api_key") && !secret {
                    problem("api_key", "api_key has no secret; write api_secret_file");
                } else if secret && !has("api_key") {
                    let name = if has("api_secret") { "api_secret" } else { "api_secret_file" };
                    problem(name, "the secret has no key; write api_key");
                }
                if has("token_file") {
                    for name in ["identity", "name"].into_iter().filter(|name| has(name)) {
                        problem(name, &format!("{name} is not used with token_file: it stands in the token"));
                    }
                }
            }
            "whip" => {
                if !has("url") && !has("room") {
                    problem(
                        "url",
                        "there is no url; write one, or a room of the LiveKit server in [livekit]",
                    );
                }
                if has("room") {
                    for name in ["token", "token_file"].into_iter().filter(|name| has(name)) {
                        problem(name, "with a room each attempt makes its own token; keep room or the token");
                    }
                } else {
                    for name in ["identity", "name"].into_iter().filter(|name| has(name)) {
                        problem(name, &format!("{name} is only used with room"));
                    }
                }
            }
            "mediamtx" => {
                let password = has("password") || has("password_file");
                if has("username") != password {
                    let name = if password { "password" } else { "username" };
                    let name = if has(name) { name } else { "password_file" };
                    problem(name, "username and password belong together; write both or none");
                }
                let path = text("url").and_then(|url| url::Url::parse(url).ok());
                if path.is_some_and(|url| url.path().trim_matches('/').is_empty()) {
                    problem(
                        "url",
                        "it has no path, which names the stream there; write rtsp://host:8554/porch",
                    );
                }
                if has("record") && !has("api") {
                    problem(
                        "record",
                        "recording is switched by the control API; write api, such as http://host:9997",
                    );
                }
            }
            _ => {
                let inside = text("url").is_some_and(|url| urls::take_stream_key(url).1.is_some());
                if text("url").is_some() && !inside && !has("stream_key") && !has("stream_key_file") {
                    problem(
                        "url",
                        "there is no stream key; write stream_key_file, or the key after the url's path",
                    );
                }
            }
        }
    }

    /// A secret of a section may come from a file instead, not as well.
    pub(super) fn secret_or_file(&mut self, table: &DeTable<'_>, place: &Place) {
        for (value, file) in [
            ("api_secret", "api_secret_file"),
            ("turn_static_secret", "turn_static_secret_file"),
            ("jwt_secret", "jwt_secret_file"),
        ] {
            if let (true, Some((key, _))) = (table.contains_key(value), table.get_key_value(file)) {
                let message = format!("{value} and {file} are both set; keep one, in {}", place.label);
                self.problem(Some(key.span()), place.key(file), message);
            }
        }
    }
}

fn target_types() -> String {
    let names: Vec<_> = schema::TARGETS.iter().map(|(name, _)| format!("{name:?}")).collect();
    list(&names)
}
