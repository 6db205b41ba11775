//! Configuration: one TOML file, the environment over it, defaults under it.
//!
//! [`load`] reads all three and gives a [`Loaded`]: the typed [`Config`], where each value came from,
//! and warnings for the log. A bad file is a [`ConfigError`] with every mistake in it; a bad value in
//! the environment is a warning. [`Difference`] says what a reload has to restart.

mod addresses;
mod diff;
mod environment;
mod error;
mod file;
mod ha1;
pub mod model;
mod networks;
mod origins;
mod rules;
pub mod schedule;
mod schema;
mod secret;
mod settle;
mod show;
pub mod transforms;
mod urls;
mod value;
mod values;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

pub use addresses::{PublicAddress, PublicHost, is_turn};
pub use diff::{Changes, Difference};
pub use error::{ConfigError, Problem, Warning};
pub use ha1::{Algorithm, Ha1, REALM};
pub use model::Config;
pub use networks::{Network, NoNetwork};
pub use origins::{Origin, Origins, Position};
pub use secret::Secret;
pub use show::show;
pub use urls::{check as check_url, redact as redact_url, redact_path, take_credentials};
pub use value::nearest;

/// The file that is read when no other is named, if it exists.
pub const DEFAULT_PATH: &str = "/etc/fanlight/fanlight.toml";

/// The commented file with every key.
pub const EXAMPLE: &str = include_str!("../../fanlight.example.toml");

/// The id of the camera of a configuration without one.
const ANY_CAMERA: &str = "camera0";

/// Larger than any configuration; more is a mistake such as naming a video.
const FILE_LIMIT: u64 = 1 << 20;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub origins: Origins,
    /// For the log.
    pub warnings: Vec<Warning>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Reads the file, puts the environment over it and the defaults under it.
///
/// `file` is the one that somebody named, which must exist; without it [`DEFAULT_PATH`] is read if it
/// exists. Reads small files and blocks for that long.
pub fn load(
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    load_or(file, Path::new(DEFAULT_PATH), &environment)
}

/// The environment of this process, for [`load`].
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn load_or(
    named: Option<&Path>,
    default: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let (path, bytes) = match named {
        Some(path) => (Some(path), read_file(path)?),
        None => match read_file(default) {
            Ok(bytes) => (Some(default), bytes),
            Err(ConfigError::Missing(_)) => (None, Vec::new()),
            Err(error) => return Err(error),
        },
    };
    assemble(path, &bytes, environment)
}

/// Everything after the file is read.
fn assemble(
    path: Option<&Path>,
    bytes: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let invalid = |mut problems: Vec<Problem>| {
        problems.sort_by_key(|problem| problem.position);
        ConfigError::Invalid { path: path.unwrap_or(Path::new("configuration")).into(), problems }
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = "this is not UTF-8 text; save the file as UTF-8".into();
        invalid(vec![Problem { position: Some(Position { line, column: 1 }), key: String::new(), message }])
    })?;
    let reading = file::read(text);
    if !reading.problems.is_empty() {
        return Err(invalid(reading.problems));
    }
    let mut tree = reading.tree;
    let mut origins = Origins::from_file(path.unwrap_or(Path::new("")), reading.positions);
    let broken = rules::broken(&build(&tree)?);
    if !broken.is_empty() {
        return Err(invalid(
            broken
                .into_iter()
                .map(|finding| Problem {
                    position: origins.position(&finding.key).or_else(|| origins.position(&finding.other)),
                    message: format!("{}: {}", finding.key, finding.message),
                    key: finding.key,
                })
                .collect(),
        ));
    }
    if !matches!(tree.get("camera"), Some(Value::Array(cameras)) if !cameras.is_empty()) {
        tree.insert("camera".into(), Value::Array(vec![any_camera().into()]));
    }
    let mut warnings = environment::apply(&mut tree, &mut origins, environment)?;
    let mut config = build(&tree)?;
    let (problems, more) = settle::settle(&mut config, &mut origins, path);
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    warnings.extend(more);
    warnings.extend(rules::unwise(&config).into_iter().map(|(key, message)| Warning::new(key, message)));
    Ok(Loaded { config, origins, warnings, file: path.map(Path::to_path_buf) })
}

/// The camera of a configuration without one: the first that exists.
fn any_camera() -> Table {
    let source = Table::from_iter([("type".to_string(), Value::from("auto"))]);
    Table::from_iter([("id".to_string(), Value::from(ANY_CAMERA)), ("source".to_string(), source.into())])
}

/// Types from a tree that the reader or the environment has checked already.
fn build(tree: &Table) -> Result<Config, ConfigError> {
    Config::deserialize(Value::Table(tree.clone()))
        .map_err(|error| ConfigError::Internal(error.message().to_string()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { path: path.into(), error };
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing(path.into()),
        _ => unreadable(error),
    })?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT {
        let message = format!("it is larger than {FILE_LIMIT} bytes; is it a configuration?");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    Ok(bytes)
}
