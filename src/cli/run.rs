//! `fanlight run`: the service with its configuration.

use std::path::Path;

use crate::config;

use super::service;

/// The configuration is wrong: starting again does not help (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// Runs until it is told to stop; the exit code of the process.
pub fn run(file: Option<&Path>) -> anyhow::Result<u8> {
    let loaded = match config::load(file, config::process_environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            eprintln!("fanlight does not start with a configuration that is wrong; mend it and start again");
            return Ok(EXIT_CONFIG);
        }
    };
    let reload = service::Reload { named: file.map(Path::to_owned), read: loaded.file };
    service::run(service::Start {
        config: loaded.config,
        warnings: loaded.warnings,
        reload: Some(reload),
        greet: None,
    })
}
