//! Prints the effective configuration as TOML, each line with where its value came from. Secrets are
//! `***`, also those inside URLs.

use std::io::{self, Write};

use toml::Value;

use super::Loaded;
use super::schema::{self, Key};
use super::urls;
use super::value::Kind;

/// Writes the configuration; what is not set at all has no line.
pub fn show(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    let tree = Value::try_from(&loaded.config).map_err(io::Error::other)?;
    let mut printer = Printer { loaded, out };
    for key in schema::ROOT {
        match (&key.kind, tree.get(key.name)) {
            (Kind::Section(keys), Some(table)) => {
                writeln!(printer.out, "[{}]", key.name)?;
                printer.leaves(keys, table, key.name)?;
                writeln!(printer.out)?;
                for key in keys.iter().filter(|key| matches!(key.kind, Kind::Users)) {
                    printer.users(table.get(key.name))?;
                }
            }
            (Kind::Outputs, Some(Value::Array(outputs))) => {
                for (index, output) in outputs.iter().enumerate() {
                    printer.output(output, &format!("publish.{index}"))?;
                }
            }
            (Kind::Cameras, Some(Value::Array(cameras))) => {
                for (index, camera) in cameras.iter().enumerate() {
                    printer.camera(camera, &format!("camera.{index}"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

struct Printer<'l> {
    loaded: &'l Loaded,
    out: &'l mut dyn Write,
}

impl Printer<'_> {
    fn camera(&mut self, camera: &Value, path: &str) -> io::Result<()> {
        writeln!(self.out, "[[camera]]")?;
        self.leaves(schema::CAMERA, camera, path)?;
        for key in schema::CAMERA {
            let Some(table) = camera.get(key.name) else { continue };
            let path = format!("{path}.{}", key.name);
            match key.kind {
                Kind::Section(keys) => {
                    writeln!(self.out, "[camera.{}]", key.name)?;
                    self.leaves(keys, table, &path)?;
                }
                Kind::Masks => {
                    for (index, mask) in table.as_array().into_iter().flatten().enumerate() {
                        writeln!(self.out, "[[camera.{}]]", key.name)?;
                        self.leaves(schema::MASK, mask, &format!("{path}.{index}"))?;
                    }
                }
                Kind::Source => {
                    writeln!(self.out, "[camera.{}]", key.name)?;
                    let kind = table.get("type").cloned().unwrap_or("".into());
                    self.line("type", &kind, &path)?;
                    self.leaves(schema::source(kind.as_str().unwrap_or("")).unwrap_or(&[]), table, &path)?;
                }
                _ => {}
            }
        }
        writeln!(self.out)
    }

    fn users(&mut self, users: Option<&Value>) -> io::Result<()> {
        for (index, user) in users.and_then(Value::as_array).into_iter().flatten().enumerate() {
            writeln!(self.out, "[[access.user]]")?;
            self.leaves(schema::USER, user, &format!("access.user.{index}"))?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn output(&mut self, output: &Value, path: &str) -> io::Result<()> {
        writeln!(self.out, "[[publish]]")?;
        let text = |name: &str| output.get(name).and_then(Value::as_str);
        let kind = text("type").unwrap_or("");
        self.line("type", &kind.into(), path)?;
        let mut output = output.clone();
        // Without anything else to open the door, the address itself may.
        let bare =
            kind == "whip" && !["token", "token_file", "room"].iter().any(|name| output.get(name).is_some());
        if let (true, Some(Value::String(url))) = (bare, output.get_mut("url")) {
            *url = urls::redact_path(url);
        }
        self.leaves(schema::target(kind).unwrap_or(&[]), &output, path)?;
        writeln!(self.out)
    }

    fn leaves(&mut self, keys: &[Key], table: &Value, path: &str) -> io::Result<()> {
        for key in keys {
            match (&key.kind, table.get(key.name)) {
                (_, None)
                | (
                    Kind::Section(_)
                    | Kind::Cameras
                    | Kind::Users
                    | Kind::Source
                    | Kind::Masks
                    | Kind::Outputs,
                    _,
                ) => {}
                // It came out of the file, which has its own line; both together would not load again.
                (Kind::Secret, _) if table.get(format!("{}_file", key.name)).is_some() => {}
                (Kind::Url(_) | Kind::PlainUrl(_), Some(Value::String(url))) => {
                    self.line(key.name, &urls::redact(url).into(), path)?;
                }
                (_, Some(value)) => self.line(key.name, value, path)?,
            }
        }
        Ok(())
    }

    fn line(&mut self, name: &str, value: &Value, path: &str) -> io::Result<()> {
        let origin = self.loaded.origins.of(&format!("{path}.{name}"));
        writeln!(self.out, "{:<40} # {origin}", format!("{name} = {value}"))
    }
}
