//! Why an attempt failed, as the thing that was attempted reports it.

use serde::Serialize;

/// What sort of failure: it decides how soon the next attempt may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The peer answers and refuses the credentials. Tried again only rarely: cameras lock accounts.
    Refused,
    /// Nobody there: no such device or file, connection refused, no route.
    Absent,
    /// It broke, or the peer ended it.
    Broken,
    /// This machine cannot: an element, a codec or a permission is missing.
    Unsupported,
}

/// One failure. `message` is for people: what happened and, where known, what to do. No secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Absent, message)
    }

    pub fn broken(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Broken, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unsupported, message)
    }
}
