//! The promises of the loader, and what their tests share.

mod environment;
mod example;
mod loading;
mod messages;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A camera to append keys to.
const PORCH: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\n";

fn nothing(_: &str) -> Option<String> {
    None
}

fn from_text(text: &str) -> Result<Loaded, ConfigError> {
    assemble(Some(Path::new("fanlight.toml")), text.as_bytes(), &nothing)
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(ToString::to_string);
    assemble(Some(Path::new("fanlight.toml")), text.as_bytes(), &environment).unwrap()
}

fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The example with every key taken out of its comment.
fn uncommented() -> String {
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}
