//! `fanlight config`: the example, the check of a file, what is in force. Each writes to what it is
//! given and returns the exit code of the process.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::config::{self, ConfigError};

const OK: u8 = 0;
const BAD: u8 = 1;

/// `fanlight config --example`: the commented file with every key.
pub fn example(out: &mut dyn Write) -> anyhow::Result<u8> {
    out.write_all(config::EXAMPLE.as_bytes()).context("the example could not be written")?;
    Ok(OK)
}

/// `fanlight config check FILE`: the file by itself, without the environment.
pub fn check(file: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
    let loaded = match config::load(Some(file), |_| None) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error, out),
    };
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let cameras: Vec<_> = loaded
        .config
        .cameras
        .iter()
        .map(|camera| format!("{} ({})", camera.id, camera.source.kind()))
        .collect();
    let noun = if cameras.len() == 1 { "camera" } else { "cameras" };
    writeln!(out, "ok: {} {noun}: {}", cameras.len(), cameras.join(", "))?;
    Ok(OK)
}

/// `fanlight config show`: the effective configuration as TOML, with where each value came from.
pub fn show(
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let loaded = match config::load(file, environment) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error, out),
    };
    for warning in &loaded.warnings {
        // A comment, so that the output stays TOML.
        writeln!(out, "# warning: {}", warning.to_string().replace(char::is_control, " "))?;
    }
    match &loaded.file {
        Some(path) => {
            writeln!(out, "# file: {}\n", path.display().to_string().replace(char::is_control, "?"))?;
        }
        None => writeln!(out, "# no file: {} does not exist\n", config::DEFAULT_PATH)?,
    }
    config::show(&loaded, out)?;
    Ok(OK)
}

fn report(error: &ConfigError, out: &mut dyn Write) -> anyhow::Result<u8> {
    writeln!(out, "{error}")?;
    let count = error.problems().len();
    if count > 1 {
        writeln!(out, "{count} mistakes")?;
    }
    Ok(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<u8>) -> (u8, String) {
        let mut out = Vec::new();
        let code = command(&mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fanlight.toml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn example_prints_a_file_that_check_finds_good() {
        let (code, text) = run(|out| example(out));
        assert_eq!(code, 0);
        let (_directory, path) = file(&text);
        assert_eq!(run(|out| check(&path, out)), (0, "ok: 1 camera: camera0 (auto)\n".into()));
    }

    #[test]
    fn check_counts_the_cameras_and_shows_warnings() {
        let (_directory, path) = file(
            "[[camera]]\nid = 'a'\nsource = { type = 'test' }\n[camera.h264]\ngop_seconds = 4\n\
             [[camera]]\nid = 'b'\nsource = { type = 'v4l2', device = '/dev/video0' }\n",
        );
        let (code, text) = run(|out| check(&path, out));
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("warning: camera.0.h264.gop_seconds: "), "{text}");
        assert!(text.ends_with("ok: 2 cameras: a (test), b (v4l2)\n"), "{text}");
    }

    #[test]
    fn check_lists_every_mistake_and_fails() {
        let (_directory, path) = file("[server]\nport = 99999\nbnid = '::'\n[hsl]\n");
        let (code, text) = run(|out| check(&path, out));
        assert_eq!(code, 1);
        for expected in [
            "fanlight.toml:2:8: \"port\" in [server]: 99999 is not allowed; write a whole number from 0 to 65535\n",
            "fanlight.toml:3:1: unknown key \"bnid\" in [server]; did you mean \"bind\"? Known keys: bind, port, cors_origins, hosts\n",
            "fanlight.toml:4:2: unknown key \"hsl\" in the top level; did you mean \"hls\"?",
            "3 mistakes\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn check_of_a_missing_file_says_so_and_fails() {
        let (code, text) = run(|out| check(Path::new("/nonexistent/fanlight.toml"), out));
        assert_eq!(code, 1);
        assert!(text.contains("/nonexistent/fanlight.toml does not exist"), "{text}");
    }

    #[test]
    fn show_is_toml_that_says_where_each_value_came_from_and_hides_secrets() {
        let (_directory, path) = file(
            "[server]\nport = 9000\n[[camera]]\nid = 'porch'\n\
             source = { type = 'rtsp', url = 'rtsp://bob:hunter2@cam/live?token=hunter3' }\n",
        );
        let environment = |name: &str| (name == "RESOLUTION").then(|| "1280x720".to_string());
        let (code, text) = run(|out| show(Some(&path), environment, out));
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("hunter"), "{text}");
        let line = |key: &str| {
            let begin = format!("{key} = ");
            let line =
                text.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{key}: {text}"));
            let (value, origin) = line.split_once(" # ").unwrap();
            (value.trim().to_string(), origin.to_string())
        };
        let at = |number: usize| format!("{}:{number}", path.display());
        assert_eq!(line("port"), ("port = 9000".into(), at(2)));
        assert_eq!(line("bind"), ("bind = \"127.0.0.1\"".into(), "default".into()));
        // Discovered cameras have a default of the same name.
        let (_, camera) = text.split_once("[[camera]]").unwrap();
        let resolution = camera.lines().find(|line| line.starts_with("resolution = ")).unwrap();
        assert!(resolution.starts_with("resolution = \"1280x720\""), "{resolution}");
        assert!(resolution.ends_with(" # environment RESOLUTION"), "{resolution}");
        assert_eq!(line("url"), ("url = \"rtsp://cam/live?token=***\"".into(), at(5)));
        assert_eq!(line("username"), ("username = \"bob\"".into(), at(5)));
        assert_eq!(line("password"), ("password = \"***\"".into(), at(5)));
        assert_eq!(line("type"), ("type = \"rtsp\"".into(), at(5)));

        let shown: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(shown["camera"][0]["jpeg"]["quality"].as_integer(), Some(100));
        let (_directory, path) = file(&text);
        assert_eq!(run(|out| check(&path, out)).0, 0, "what show prints loads again");
    }
}
