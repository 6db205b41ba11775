//! What a printer has said so far, put together from full reports and parts of them.
//!
//! Objects are merged key by key, however deep. A list whose entries carry a name of their own (`id` of a
//! spool, `node` of a lamp) is merged entry by entry; any other list is replaced, and so is every list by a
//! full report's. So it makes no difference into which parts a printer cuts its report. It cannot grow
//! without bound: a tree that has become too large is thrown away and asked for anew.

use serde_json::{Map, Value};

use super::report::{LIST, VALUES};

/// The merged status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree(Map<String, Value>);

/// The tree had grown beyond what any printer reports, and is empty now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overgrown;

impl Tree {
    /// Takes a report in.
    ///
    /// # Errors
    /// When nothing is known any more and all has to be asked for.
    pub fn merge(&mut self, full: bool, fields: Map<String, Value>) -> Result<(), Overgrown> {
        merge_object(&mut self.0, fields, full);
        if self.0.values().map(count).sum::<usize>() > VALUES {
            self.0.clear();
            return Err(Overgrown);
        }
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

fn merge_object(old: &mut Map<String, Value>, new: Map<String, Value>, full: bool) {
    for (key, value) in new {
        match old.get_mut(&key) {
            Some(present) => merge_value(present, value, full),
            None => {
                let mut fresh = Value::Null;
                merge_value(&mut fresh, value, full);
                old.insert(key, fresh);
            }
        }
    }
}

fn merge_value(old: &mut Value, new: Value, full: bool) {
    match (&mut *old, new) {
        (Value::Object(old), Value::Object(new)) => merge_object(old, new, full),
        (_, Value::Object(new)) => {
            let mut fresh = Map::new();
            merge_object(&mut fresh, new, full);
            *old = Value::Object(fresh);
        }
        (_, Value::Array(new)) if new.is_empty() || !new.iter().all(|entry| name(entry).is_some()) => {
            *old = Value::Array(new);
        }
        (_, Value::Array(new)) => {
            let before = match old.take() {
                Value::Array(before) if !full => before,
                _ => Vec::new(),
            };
            *old = Value::Array(merge_list(before, new, full));
        }
        (_, new) => *old = new,
    }
}

fn merge_list(mut old: Vec<Value>, new: Vec<Value>, full: bool) -> Vec<Value> {
    old.retain(|entry| name(entry).is_some());
    for entry in new {
        // A place for a spool that has nothing but its name has nothing in it.
        let bare = entry.as_object().is_some_and(|entry| entry.len() == 1);
        let index = match old.iter().position(|present| name(present) == name(&entry)) {
            Some(index) => index,
            None if old.len() < LIST => {
                old.push(Value::Null);
                old.len() - 1
            }
            None => continue,
        };
        match old.get_mut(index) {
            Some(present) if bare => *present = entry,
            Some(present) => merge_value(present, entry, full),
            None => {}
        }
    }
    old
}

/// What tells an entry of a list from its neighbours.
fn name(entry: &Value) -> Option<&Value> {
    let entry = entry.as_object()?;
    let named = entry.get("id").or_else(|| entry.get("node"))?;
    (named.is_string() || named.is_number()).then_some(named)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum::<usize>(),
        _ => 0,
    }
}
