//! Logs to standard error, as text for people and journald or as JSON lines for machines.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::model::{Log, LogFormat};

/// The HTTP client names whole addresses at its finer levels, and there are tokens in them.
const QUIET: [&str; 2] = ["ureq=warn", "ureq_proto=warn"];

/// Changes the level of a running process.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

#[derive(Debug, Error)]
pub enum LogError {
    #[error(
        "log.level {level:?} is not a filter: {error}; write a level such as info, or info,fanlight::capture=debug"
    )]
    Filter { level: String, error: tracing_subscriber::filter::ParseError },
    #[error("logging was set up before: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    #[error("the log level cannot be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// Starts logging, once in a process.
pub fn start(log: &Log) -> Result<Level, LogError> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    match log.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Text => {
            let terminal = std::io::stderr().is_terminal();
            // journald has the time already.
            let journal = std::env::var_os("JOURNAL_STREAM").is_some();
            match journal {
                true => registry.with(layer.with_ansi(false).without_time()).try_init()?,
                false => registry.with(layer.with_ansi(terminal)).try_init()?,
            }
        }
    }
    Ok(Level(handle))
}

impl Level {
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let refused = |error| LogError::Filter { level: level.to_owned(), error };
    let mut filter = EnvFilter::try_new(level).map_err(refused)?;
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().map_err(refused)?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused_with_what_is_allowed() {
        assert!(filter("info,fanlight::capture=debug").is_ok());
        let error = filter("info,fanlight=loudly").unwrap_err().to_string();
        assert!(error.contains("write a level such as info"), "{error}");
    }
}
