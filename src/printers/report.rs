//! What a printer sends, read within bounds: JSON of any size and shape from whoever sits at the printer's
//! address. Only what somebody reads is kept, the rest is skimmed without being stored.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest message that is taken from the network.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;
/// Values in one message, of the keys that are kept. A full report of the largest machine has about 2,500.
pub const VALUES: usize = 8192;
/// Values inside of values inside of values.
const DEPTH: usize = 12;
/// Entries of one list.
pub const LIST: usize = 256;
/// A text is cut to so many bytes.
pub const TEXT: usize = 512;

const ROOT: &[&str] = &["print", "system", "info"];
const ANSWER: &[&str] = &["command", "sequence_id", "result", "reason"];
const INFO: &[&str] = &["command", "sequence_id", "result", "module"];
/// What [`super::reading`] reads, and what tells a report from an answer.
const PRINT: &[&str] = &[
    "command",
    "sequence_id",
    "result",
    "reason",
    "msg",
    "gcode_state",
    "mc_percent",
    "mc_remaining_time",
    "nozzle_temper",
    "nozzle_target_temper",
    "bed_temper",
    "bed_target_temper",
    "chamber_temper",
    "device",
    "lights_report",
    "ipcam",
    "hms",
    "print_error",
    "subtask_id",
    "subtask_name",
    "gcode_file",
    "layer_num",
    "total_layer_num",
    "stg_cur",
    "spd_lvl",
    "spd_mag",
    "cooling_fan_speed",
    "big_fan1_speed",
    "big_fan2_speed",
    "heatbreak_fan_speed",
    "ams",
    "vt_tray",
    "vir_slot",
    "wifi_signal",
    "fun",
];

/// One message, sorted by what it is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The printer's status, all of it (`full`) or what has changed.
    Status { full: bool, fields: Map<String, Value> },
    /// The modules of `get_version`.
    Version { modules: Vec<Value> },
    /// The answer to a command, ours or another program's.
    Answer { space: &'static str, command: String, sequence: String, result: String, reason: Option<String> },
}

/// Why a message is none.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// Reads one message. It may hold several things, or nothing of interest.
///
/// # Errors
/// When it is no JSON or more than any printer sends.
pub fn parse(bytes: &[u8]) -> Result<Vec<Report>, Unfit> {
    if bytes.len() > MESSAGE_LIMIT {
        return Err(Unfit::TooLong(bytes.len()));
    }
    let left = Cell::new(VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Bounded { left: &left, depth: 0, keep: Some(ROOT) }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    let Value::Object(spaces) = value else { return Ok(Vec::new()) };
    Ok(spaces.into_iter().filter_map(|(space, value)| sort(&space, value)).collect())
}

fn sort(space: &str, value: Value) -> Option<Report> {
    let Value::Object(mut fields) = value else { return None };
    let text = |fields: &Map<String, Value>, key: &str| match fields.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let command = text(&fields, "command");
    // An answer repeats the command's fields beside its result: of a status it would make nonsense.
    let space = match (space, command.as_deref()) {
        ("info", Some("get_version")) => {
            let Some(Value::Array(modules)) = fields.remove("module") else { return None };
            return Some(Report::Version { modules });
        }
        ("print", None | Some("push_status")) if !fields.contains_key("result") => {
            // Zero is everything; whatever does not say so is a part.
            let full = fields.get("msg").and_then(Value::as_i64) == Some(0);
            for key in ["command", "sequence_id", "msg", "reason"] {
                fields.remove(key);
            }
            return Some(Report::Status { full, fields });
        }
        ("print", _) => "print",
        ("system", _) => "system",
        _ => return None,
    };
    Some(Report::Answer {
        space,
        command: command?,
        sequence: text(&fields, "sequence_id")?,
        result: text(&fields, "result")?,
        reason: text(&fields, "reason"),
    })
}

/// Builds a value within the bounds.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
    depth: usize,
    /// Of an object: the only keys that are kept.
    keep: Option<&'static [&'static str]>,
}

impl Bounded<'_> {
    fn inside<E: serde::de::Error>(self, key: Option<&str>) -> Result<Self, E> {
        if self.depth >= DEPTH {
            return Err(E::custom("it is nested too deeply"));
        }
        let keep = match (self.depth, key) {
            (0, Some("print")) => Some(PRINT),
            (0, Some("info")) => Some(INFO),
            (0, Some("system")) => Some(ANSWER),
            _ => None,
        };
        Ok(Self { depth: self.depth + 1, keep, ..self })
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("it has too many values"))?;
        self.left.set(left);
        Ok(())
    }
}

/// The text, or as much of it as is kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(cut(value).into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let seed = self.inside(None)?;
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element_seed(seed)? {
            if list.len() >= LIST {
                return Err(A::Error::custom("a list in it is too long"));
            }
            list.push(entry);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if self.keep.is_some_and(|keep| !keep.contains(&key.as_str())) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let seed = self.inside(Some(&key))?;
            map.insert(cut(&key).to_owned(), entries.next_value_seed(seed)?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
