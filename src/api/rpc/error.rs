//! The errors of JSON-RPC: codes, words, and `data` that says why.

use serde::Serialize;
use serde_json::{Value, json};

use crate::access::Denied;
use crate::cameras::controls::ControlError;
use crate::cameras::pictures::TransformError;
use crate::control::Refusal;
use crate::control::pictures::NotSet;
use crate::printers::{CommandError, PrinterError};
use crate::record::RecordError;

/// Every code that is used, for the documents: code, name, when.
pub const CODES: &[(i64, &str, &str)] = &[
    (-32700, "Parse error", "the message is not JSON"),
    (-32600, "Invalid Request", "the message is JSON but no call, or too large a batch"),
    (-32601, "Method not found", "there is no such method; `rpc.discover` lists them"),
    (-32602, "Invalid params", "a parameter is missing, unknown or of another kind"),
    (-32603, "Internal error", "something broke here; the log says what"),
    (-32001, "Authentication failed or required", "`authenticate` first, or the token is not taken"),
    (-32002, "Permission denied", "the role does not suffice"),
    (-32010, "Not found", "no such camera, printer, file or stream"),
    (-32020, "Invalid state", "not possible as things are now"),
    (-32030, "Unsupported", "this camera or this service cannot do that"),
    (-32040, "Rate limit exceeded", "too many calls or connections; `data.retry_after_seconds`"),
    (-32050, "Dependency failed", "the camera, the printer, the disk or the database did not do its part"),
];

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Error {
    pub code: i64,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Error {
    fn new(code: i64, reason: impl Into<String>) -> Self {
        let name = CODES.iter().find(|(known, ..)| *known == code).map_or("Error", |(_, name, _)| name);
        let data = json!({ "reason": reason.into() });
        Self { code, message: name.to_owned(), data: Some(data) }
    }

    fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Some(Value::Object(data)) = &mut self.data {
            data.insert(key.to_owned(), value.into());
        }
        self
    }

    pub fn parse(error: &serde_json::Error) -> Self {
        Self::new(-32700, error.to_string())
    }

    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::new(-32600, reason)
    }

    pub fn no_method(method: &str) -> Self {
        let method: String = method.chars().take(100).collect();
        Self::new(-32601, format!("there is no method {method:?}; rpc.discover lists them"))
    }

    pub fn params(reason: impl Into<String>) -> Self {
        Self::new(-32602, reason)
    }

    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(-32603, reason)
    }

    pub fn rate(reason: impl Into<String>, wait: std::time::Duration) -> Self {
        Self::new(-32040, reason).detail("retry_after_seconds", wait.as_secs_f64())
    }

    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self::new(-32030, reason)
    }

    pub fn state(reason: impl Into<String>) -> Self {
        Self::new(-32020, reason)
    }

    pub fn dependency(reason: impl Into<String>) -> Self {
        Self::new(-32050, reason)
    }

    pub fn too_long(seconds: u64) -> Self {
        Self::new(-32050, format!("it took longer than {seconds} s and was given up"))
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        let reason = denied.to_string();
        match denied {
            Denied::Login(needs) => Self::new(-32001, reason).detail("required_role", needs),
            Denied::Wrong(_) => Self::new(-32001, reason),
            Denied::Role { needs, has, .. } => {
                Self::new(-32002, reason).detail("required_role", needs).detail("role", has)
            }
            Denied::TooMany(wait) => Self::rate(reason, wait),
            Denied::Unavailable(_) => Self::new(-32050, reason),
        }
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let code = match &error {
            RecordError::NoCamera(_) | RecordError::NotFound { .. } => -32010,
            RecordError::InvalidState(_) => -32020,
            RecordError::InvalidName { .. } | RecordError::Invalid(_) => -32602,
            _ => -32050,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PrinterError> for Error {
    fn from(error: PrinterError) -> Self {
        let code = match &error {
            PrinterError::NoPrinter(_) => -32010,
            PrinterError::Invalid(_) => -32602,
            _ => -32050,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::Invalid(_) => -32602,
            CommandError::NotNow(_) => -32020,
            _ => -32050,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NoCamera(_) | Refusal::NoOutput(_) | Refusal::NoExternal(_) => -32010,
            Refusal::Path(_) | Refusal::Invalid(_) => -32602,
            Refusal::Conflict(_) => -32020,
            Refusal::Dependency(_) | Refusal::NotKept(_) => -32050,
            Refusal::NoStream(_) => -32030,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<NotSet> for Error {
    fn from(error: NotSet) -> Self {
        let code = match &error {
            NotSet::Refused(refusal) => return refusal.clone().into(),
            NotSet::Pictures(error) => match error {
                TransformError::NoCamera(_) => -32010,
                TransformError::Invalid(_) => -32602,
                TransformError::Restart { why, .. } => {
                    return Self::new(-32020, error.to_string()).detail("restart_needed", *why);
                }
                TransformError::NotKept(_) => -32050,
                TransformError::Broken(_) => -32603,
            },
            NotSet::Controls(error) => match error {
                ControlError::NoCamera(_) => -32010,
                ControlError::None(_) => -32030,
                ControlError::Away(_) => -32020,
                ControlError::Invalid(_) => -32602,
                ControlError::Device(_) | ControlError::Slow(_) | ControlError::NotKept(_) => -32050,
            },
        };
        Self::new(code, error.to_string())
    }
}
