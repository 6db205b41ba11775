//! The interface, written from the table of methods: an OpenRPC document (spec.open-rpc.org) for
//! `rpc.discover`, and docs/json-rpc.md from the same document. A test keeps the file current.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::error::CODES;
use super::methods::cameras::CameraUpdate;
use super::methods::files::RecordingUpdate;
use super::methods::printers::PrinterUpdate;
use super::table::Method;

/// The OpenRPC document.
pub fn openrpc(methods: &[Method]) -> Value {
    let mut schemas = Vec::new();
    CameraUpdate::schemas(&mut schemas);
    RecordingUpdate::schemas(&mut schemas);
    PrinterUpdate::schemas(&mut schemas);
    for method in methods {
        (method.schemas)(&mut schemas);
    }
    schemas.sort_by(|(a, _), (b, _)| a.cmp(b));
    let schemas: Map<String, Value> = schemas
        .iter()
        .filter_map(|(name, schema)| Some((name.clone(), serde_json::to_value(schema).ok()?)))
        .collect();
    let errors: Vec<Value> = CODES
        .iter()
        .map(|(code, name, when)| json!({ "code": code, "message": name, "data": { "reason": when } }))
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Fanlight",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Cameras: states, streams, recordings. JSON-RPC 2.0 over WebSocket at /ws.",
        },
        "methods": methods.iter().map(|method| row(method, &schemas)).collect::<Vec<_>>(),
        "components": { "schemas": schemas, "errors": errors },
        "x-notifications": [{
            "name": "camera_status_update",
            "summary": "A camera came, went, or is in another state.",
            "params": CameraUpdate::schema(),
        }, {
            "name": "recording_status_update",
            "summary": "A recording began, waits, failed or ended.",
            "params": RecordingUpdate::schema(),
        }, {
            "name": "printer_status_update",
            "summary": "A printer said something, came, went, or was changed or deleted.",
            "params": PrinterUpdate::schema(),
        }],
    })
}

fn row(method: &Method, schemas: &Map<String, Value>) -> Value {
    let params = serde_json::to_value((method.params)()).unwrap_or_default();
    let required = |name: &str| {
        params["required"].as_array().is_some_and(|required| required.iter().any(|each| each == name))
    };
    let described = |name: &&str| {
        let mut schema = params["properties"][name].clone();
        // One of another type that may be left out has its words beside the reference.
        let place = if schema["oneOf"][0].is_object() { "/oneOf/0" } else { "" };
        let place = schema.pointer_mut(place).and_then(Value::as_object_mut);
        let description = place.and_then(|schema| schema.remove("description"));
        let mut param = json!({ "name": name, "required": required(name), "schema": schema });
        // A reference leaves its words with the type.
        let target = param["schema"]["$ref"].as_str().and_then(|target| target.rsplit('/').next());
        let of_type = target.and_then(|name| schemas.get(name)).map(|schema| schema["description"].clone());
        let description = description.or(of_type);
        if let (Some(description), Some(param)) = (description, param.as_object_mut()) {
            param.insert("description".into(), description);
        }
        param
    };
    json!({
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": method.names.iter().map(described).collect::<Vec<_>>(),
        "result": { "name": "result", "schema": (method.result)() },
        "x-role": method.needs.map_or("none", |role| role.name()),
    })
}

/// docs/json-rpc.md, between its head and its end.
pub fn markdown(head: &str) -> String {
    let document = openrpc(&super::methods::all());
    let mut out = head.to_owned();
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    out.push_str("\n## Methods\n");
    for method in list(&document["methods"]) {
        // Writing into a String cannot fail; so below.
        let _ = write!(out, "\n### `{}`\n\n{}", text(&method["name"]), text(&method["summary"]));
        let _ = match text(&method["x-role"]) {
            "none" => writeln!(out, " Needs no login."),
            role => writeln!(out, " Role: {role}."),
        };
        let params = list(&method["params"]);
        if !params.is_empty() {
            out.push_str("\n| parameter | type | |\n|---|---|---|\n");
            for param in &params {
                let kind = kind(&param["schema"]);
                let optional = if param["required"] == true { "" } else { ", optional" };
                let words = line(text(&param["description"]));
                let _ = writeln!(out, "| `{}` | {kind}{optional} | {words} |", text(&param["name"]));
            }
        }
        result(&mut out, &method["result"]["schema"]);
    }
    out.push_str("\n## Notifications\n");
    for notification in list(&document["x-notifications"]) {
        let _ =
            writeln!(out, "\n### `{}`\n\n{}", text(&notification["name"]), text(&notification["summary"]));
        fields(&mut out, &notification["params"], "parameter");
    }
    out.push_str("\n## Types\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let words = line(text(&schema["description"]));
        let _ = writeln!(out, "\n### {name}\n\n{words}");
        if schema.get("properties").is_some() || schema.get("allOf").is_some() {
            fields(&mut out, schema, "field");
        } else {
            let _ = writeln!(out, "\nOne of {}.", kind(schema));
        }
    }
    out.push_str(
        "\n## Errors\n\n`data.reason` says why, in words.\n\n| code | message | when |\n|---|---|---|\n",
    );
    for (code, name, when) in CODES {
        let _ = writeln!(out, "| {code} | {name} | {when} |");
    }
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    out
}

fn result(out: &mut String, schema: &Value) {
    if schema.get("properties").is_some() || schema.get("allOf").is_some() {
        fields(out, schema, "result");
    } else {
        let _ = writeln!(out, "\nResult: {}.", kind(schema));
    }
}

/// A table of the fields of an object; of parts that it is put together from by name.
fn fields(out: &mut String, schema: &Value, what: &str) {
    let mut rows = String::new();
    let whole = [schema.clone()];
    let parts = schema["allOf"].as_array().map_or(&whole[..], Vec::as_slice);
    for part in parts {
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            let words = line(text(&field["description"]));
            let _ = writeln!(rows, "| `{name}` | {} | {words} |", kind(field));
        }
        if part.get("$ref").is_some() {
            let _ = writeln!(rows, "| … | | the fields of {} |", kind(part));
        }
    }
    let _ = write!(out, "\n| {what} | type | |\n|---|---|---|\n{rows}");
}

/// A type in words.
fn kind(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(", ");
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(kinds) = schema[several].as_array() {
            return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let of = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", kind(&schema["additionalProperties"]))
        }
        "string" if schema["format"] == "date-time" => "time (RFC 3339)".to_owned(),
        name => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => of(name),
        Value::Array(names) => names.iter().map(|name| of(text(name))).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// On one line, for a table.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json-rpc.md");

    /// Every `$ref` of a document.
    fn targets(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(target) if key == "$ref" => drop(found.insert(target.clone())),
                        other => targets(other, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| targets(value, found)),
            _ => {}
        }
    }

    /// `UPDATE_DOCS=1 cargo test --lib rpc::document` writes the file.
    #[test]
    fn the_documentation_is_that_of_the_table() {
        let present = std::fs::read_to_string(FILE).unwrap();
        let head = present.split("\n## Methods\n").next().unwrap();
        let current = markdown(head);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(FILE, &current).unwrap();
        } else {
            assert!(
                present == current,
                "docs/json-rpc.md is old: UPDATE_DOCS=1 cargo test --lib rpc::document"
            );
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = openrpc(&super::super::methods::all());
        let mut wanted = BTreeSet::new();
        targets(&document, &mut wanted);
        for target in wanted {
            let path = target.strip_prefix('#').unwrap();
            assert!(document.pointer(path).is_some(), "{target}");
        }
        let methods = document["methods"].as_array().unwrap();
        let names: BTreeSet<&str> = methods.iter().map(|method| text(&method["name"])).collect();
        assert_eq!(names.len(), methods.len(), "each method once");
        for method in methods {
            assert!(!text(&method["summary"]).is_empty(), "{method}");
            for param in method["params"].as_array().unwrap() {
                assert!(param["schema"].is_object() && !text(&param["description"]).is_empty(), "{method}");
            }
        }
    }
}
