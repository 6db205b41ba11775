//! `camera0`, `camera1`, …: a short name for every camera, given once and kept for as long as the camera is
//! known. Pure; kept in the database by whoever holds it.

use std::collections::BTreeMap;

/// How an alias begins.
const PREFIX: &str = "camera";

/// The numbers that are given, by camera.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<String, u32>);

impl Aliases {
    pub fn new(given: BTreeMap<String, u32>) -> Self {
        Self(given)
    }

    pub fn all(&self) -> &BTreeMap<String, u32> {
        &self.0
    }

    pub fn number(&self, camera: &str) -> Option<u32> {
        self.0.get(camera).copied()
    }

    /// Gives a number to each of `cameras` that has none, the lowest that is free, and takes those of all
    /// others back. A camera whose id is an alias has that one, whoever had it before. Whether anything
    /// changed.
    pub fn give<'c>(&mut self, cameras: impl IntoIterator<Item = &'c str>) -> bool {
        let before = self.0.clone();
        let cameras: Vec<&str> = cameras.into_iter().collect();
        self.0.retain(|camera, _| cameras.contains(&camera.as_str()));
        for camera in &cameras {
            if let Some(own) = numbered(camera) {
                self.0.retain(|_, number| *number != own);
                self.0.insert((*camera).to_owned(), own);
            }
        }
        for camera in cameras {
            if !self.0.contains_key(camera) {
                let free = (0..).find(|number| !self.0.values().any(|given| given == number));
                self.0.insert(camera.to_owned(), free.unwrap_or_default());
            }
        }
        self.0 != before
    }
}

/// The alias with this number.
pub fn alias(number: u32) -> String {
    format!("{PREFIX}{number}")
}

/// The number of an alias.
pub fn numbered(text: &str) -> Option<u32> {
    let digits = text.strip_prefix(PREFIX)?;
    let number: u32 = digits.parse().ok()?;
    // `camera01` is not camera1.
    (alias(number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_given_once_and_free_again_when_a_camera_is_forgotten() {
        let mut aliases = Aliases::default();
        // Who is known, and the aliases then.
        for (known, expected) in [
            (&["porch", "yard"][..], "porch=0 yard=1"),
            (&["yard", "porch", "gate"], "gate=2 porch=0 yard=1"),
            (&["yard", "gate"], "gate=2 yard=1"),
            (&["yard", "gate", "attic"], "attic=0 gate=2 yard=1"),
            // An id that is an alias means that camera, or two would answer to one name.
            (&["yard", "gate", "attic", "camera2"], "attic=0 camera2=2 gate=3 yard=1"),
        ] {
            aliases.give(known.iter().copied());
            let got: Vec<String> =
                aliases.all().iter().map(|(id, number)| format!("{id}={number}")).collect();
            assert_eq!(got.join(" "), expected, "{known:?}");
        }
        assert!(!aliases.give(["yard", "gate", "attic", "camera2"]));
    }

    #[test]
    fn only_what_is_written_like_an_alias_is_one() {
        for (text, expected) in [
            ("camera0", Some(0)),
            ("camera17", Some(17)),
            ("camera01", None),
            ("camera", None),
            ("camera-1", None),
        ] {
            assert_eq!(numbered(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_two_cameras_share_a_number_and_the_known_keep_theirs(
            first in proptest::collection::btree_set("[a-c]{1,2}|camera[0-4]", 0..6),
            second in proptest::collection::btree_set("[a-c]{1,2}", 0..6),
        ) {
            let mut aliases = Aliases::default();
            aliases.give(first.iter().map(String::as_str));
            let before = aliases.clone();
            let all: std::collections::BTreeSet<&String> = first.union(&second).collect();
            aliases.give(all.iter().map(|id| id.as_str()));
            let numbers: std::collections::BTreeSet<u32> = aliases.all().values().copied().collect();
            prop_assert_eq!(numbers.len(), all.len());
            for id in &first {
                prop_assert_eq!(aliases.number(id), before.number(id));
            }
        }
    }
}
