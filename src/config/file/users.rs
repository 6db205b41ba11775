//! Reads the `[[access.user]]` tables, and the rules between the keys of one user.

use std::collections::BTreeSet;

use toml::de::DeValue;
use toml::{Spanned, Value};

use super::super::ha1::Algorithm;
use super::super::schema;
use super::super::value::shortened;
use super::{Place, Reader};

impl Reader<'_> {
    pub(super) fn users<'i, 'v>(&mut self, users: impl Iterator<Item = &'v Spanned<DeValue<'i>>>) -> Value
    where
        'i: 'v,
    {
        let mut list = Vec::new();
        let mut names = BTreeSet::new();
        for (index, user) in users.enumerate() {
            let path = format!("access.user.{index}");
            let DeValue::Table(table) = user.get_ref() else {
                let message = "a user is a table; write [[access.user]] and its keys below it".into();
                self.problem(Some(user.span()), path, message);
                continue;
            };
            self.found(path.clone(), user.span());
            let label = format!("[[access.user]] number {}", index + 1);
            let place = Place { path, label };
            let tree = self.section(table, Some(user.span()), schema::USER, &place);
            let text = |name: &str| tree.get(name).and_then(Value::as_str);
            let span =
                |name: &str| table.get_key_value(name).map(|(key, _)| key.span()).or(Some(user.span()));
            if let Some(name) = text("name")
                && !names.insert(name.to_owned())
            {
                let message = format!("two users have the name {}; each needs its own", shortened(name));
                self.problem(span("name"), place.key("name"), message);
            }
            let hashes = [("ha1_md5", Algorithm::Md5), ("ha1_sha256", Algorithm::Sha256)];
            let hashed = hashes.iter().find(|(name, _)| table.contains_key(*name)).map(|(name, _)| *name);
            match (table.contains_key("password_file"), hashed) {
                (true, Some(name)) => {
                    let message =
                        format!("password_file and {name} are both set; keep one, in {}", place.label);
                    self.problem(span(name), place.key(name), message);
                }
                (false, None) => {
                    let message =
                        format!("{} has no password; write password_file or ha1_sha256", place.label);
                    self.problem(span("name"), place.key("password_file"), message);
                }
                _ => {}
            }
            for (name, algorithm) in hashes {
                if text(name).is_some_and(|hash| !algorithm.fits(hash)) {
                    let message = format!(
                        "{name} is not an {} hash in hex; it is that of NAME:fanlight:PASSWORD, in {}",
                        algorithm.name(),
                        place.label
                    );
                    self.problem(span(name), place.key(name), message);
                }
            }
            list.push(tree.into());
        }
        Value::Array(list)
    }
}
