//! Logs to standard error, as text for people and journald or as JSON lines for machines.
//!
//! A thread of its own writes: whoever reads the log may be stuck, and the service goes on. Then up to
//! [`LINES`] lines wait, and what is logged beyond them is lost.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use thiserror::Error;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::model::{Log, LogFormat};

/// The HTTP and WebSocket clients write whole addresses and headers at their finer levels, and there are
/// tokens in them.
const QUIET: [&str; 8] = [
    "ureq=warn",
    "ureq_proto=warn",
    "tungstenite=info",
    "tokio_tungstenite=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    // What it has to say is in the output's own words.
    "livekit_api=error",
];

/// How many lines wait for a slow reader.
const LINES: usize = 8192;
/// How long the end of the process waits for the last lines to be written: a stop is over within five seconds.
const FLUSH_WITHIN: Duration = Duration::from_millis(250);

/// Logging as long as it is kept. Dropped, it writes what still waits: after the last line.
#[derive(Debug)]
#[must_use = "what still waits is written when it is dropped"]
pub struct Logs {
    level: Level,
    writer: Option<WorkerGuard>,
}

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
pub fn start(log: &Log) -> Result<Logs, LogError> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let (lines, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_target(false);
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
    Ok(Logs { level: Level(handle), writer: Some(writer) })
}

impl Logs {
    pub fn level(&self) -> Level {
        self.level.clone()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        // The guard waits about a second for a stuck reader, and then complains on standard output, where
        // the same reader may be: the process ends without it.
        let (flushed, waits) = mpsc::sync_channel(1);
        let flush = move || {
            drop(writer);
            let _ = flushed.send(());
        };
        if std::thread::Builder::new().name("log-flush".into()).spawn(flush).is_ok() {
            let _ = waits.recv_timeout(FLUSH_WITHIN);
        }
    }
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
