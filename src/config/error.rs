//! What is wrong with a configuration, in words: errors that stop the start, warnings that do not.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origins::Position;

/// Problems shown at once; a file with more has one cause for most of them.
const SHOWN: usize = 50;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "the configuration file {} does not exist; write one (fanlight config --example shows every \
         key) or leave --config out",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("the configuration file {} cannot be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// Everything that is wrong with the file, in the order of its lines.
    #[error("{}", display(.path, .problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
    /// Nothing an operator can mend: the table of keys and the types disagree.
    #[error("the configuration cannot be built from defaults and environment: {0}")]
    Internal(String),
}

impl ConfigError {
    /// The single problems of a bad file.
    pub fn problems(&self) -> &[Problem] {
        match self {
            ConfigError::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }
}

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; none when it is about the file as a whole.
    pub position: Option<Position>,
    /// The path of the key, such as `camera.0.resolution`; empty for a mistake of syntax.
    pub key: String,
    pub message: String,
}

fn display(path: &std::path::Path, problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .take(SHOWN)
        .map(|problem| match problem.position {
            Some(Position { line, column }) => {
                format!("{}:{line}:{column}: {}", path.display(), problem.message)
            }
            None => format!("{}: {}", path.display(), problem.message),
        })
        .collect();
    if problems.len() > SHOWN {
        lines.push(format!("{}: and {} more", path.display(), problems.len() - SHOWN));
    }
    lines.join("\n")
}

/// Something that was set but is not used as written, or is unwise. The caller logs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The name in the environment, or the path of the key.
    pub name: String,
    pub message: String,
}

impl Warning {
    pub(super) fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}
