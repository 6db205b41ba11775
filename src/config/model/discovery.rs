//! Cameras that are found by themselves.

use serde::{Deserialize, Serialize};

use super::camera::{Camera, Idle, Resolution, Source};

/// Cameras that are found by themselves, beside those that are written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    pub enabled: bool,
    /// Only these; none at all: every one. See [`Discovery::takes`] for what may stand there.
    pub allow: Vec<String>,
    /// Never these, whatever `allow` says.
    pub deny: Vec<String>,
    /// What discovered cameras are set to.
    pub resolution: Resolution,
    pub fps: u32,
    pub idle: Idle,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            deny: Vec::new(),
            resolution: Resolution::default(),
            fps: 0,
            // Nobody has asked for this camera yet: it is dark until somebody watches.
            idle: Idle::Close,
        }
    }
}

impl Discovery {
    /// Whether a device is to be taken, by any of the words it is known by. `*` stands for anything, and
    /// upper and lower case are the same.
    pub fn takes(&self, words: &[&str]) -> bool {
        let any = |patterns: &[String]| {
            patterns.iter().any(|pattern| words.iter().any(|word| matches(pattern, word)))
        };
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    /// A discovered camera with the settings from here.
    pub fn camera(&self, id: &str, name: &str, source: Source) -> Camera {
        Camera {
            name: Some(name.to_owned()),
            resolution: self.resolution,
            fps: self.fps,
            idle: self.idle,
            ..Camera::new(id, source)
        }
    }
}

/// Whether `text` is `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
