//! `fanlight doctor`: whether this machine can do what the configuration asks, and the command that
//! mends each lack.
//!
//! [`facts`] looks around (thin, every look bounded in time, no camera is opened for streaming),
//! [`checks`] judges what was found (pure), and this file shows it. What can only come from outside and
//! may come by itself (a camera that is unplugged, a network peer that is off) is a warning; what keeps
//! the service from starting or from doing its work on this machine is a failure.
//!
//! With `--json`: `{ "version", "verdict": "ok"|"warn"|"fail", "summary", "checks": [ { "area", "name",
//! "state": "ok"|"warn"|"fail", "found", "mend": command or null } ] }`.

mod checks;
mod elements;
mod facts;
mod ports;
mod surroundings;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use crate::config::{ConfigError, Loaded};
pub use facts::Facts;

/// `fanlight doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON, for scripts.
    #[arg(long)]
    pub json: bool,
}

/// The area whose good findings are listed by package.
const ELEMENTS: &str = "Elements";

/// How a check came out. Ordered: the worst one is the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub area: &'static str,
    pub name: String,
    pub state: State,
    /// What was found, in words.
    pub found: String,
    /// The command, or the step, that mends it.
    pub mend: Option<String>,
}

impl Check {
    fn ok(area: &'static str, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { area, name: name.into(), state: State::Ok, found: found.into(), mend: None }
    }

    fn warn(
        area: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { state: State::Warn, mend: Some(mend.into()), ..Self::ok(area, name, found) }
    }

    fn fail(
        area: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { state: State::Fail, mend: Some(mend.into()), ..Self::ok(area, name, found) }
    }
}

/// Looks around, judges, and shows. Gives the exit code: 1 when something fails.
///
/// `config` is what loading gave: a configuration that cannot be read is a finding, and the rest is
/// checked with the defaults. Blocks for some seconds at most; call it outside the runtime.
pub fn run(config: &Result<Loaded, ConfigError>, json: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let facts = Facts::gather(config, std::time::SystemTime::now(), |name| std::env::var_os(name));
    let checks = checks::all(&facts);
    let verdict = verdict(&checks);
    if json {
        let report = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "verdict": verdict,
            "summary": summary(&checks),
            "checks": checks,
        });
        serde_json::to_writer_pretty(&mut *out, &report).context("the report could not be written")?;
        writeln!(out)?;
    } else {
        show(&checks, out).context("the report could not be written")?;
    }
    Ok(u8::from(verdict == State::Fail))
}

fn verdict(checks: &[Check]) -> State {
    checks.iter().map(|check| check.state).max().unwrap_or(State::Ok)
}

/// The last line.
fn summary(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let many = |count, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    match (count(State::Fail), count(State::Warn)) {
        (0, 0) => "Everything that Fanlight needs is here.".into(),
        (0, warnings) => format!("Fanlight can run; {} above.", many(warnings, "warning")),
        (failures, 0) => format!("{} to mend, see above.", many(failures, "failure")),
        (failures, warnings) => {
            format!("{} to mend and {}, see above.", many(failures, "failure"), many(warnings, "warning"))
        }
    }
}

/// For people: a heading an area, one line a finding. Good findings of the same words share a line.
fn show(checks: &[Check], out: &mut dyn Write) -> std::io::Result<()> {
    let mut lines: Vec<(Check, usize)> = Vec::new();
    for check in checks {
        let alike = |(line, _): &&mut (Check, usize)| {
            (line.area, line.state, &line.found) == (check.area, check.state, &check.found)
                && check.state == State::Ok
        };
        match lines.iter_mut().find(alike) {
            Some((line, count)) => {
                line.name = format!("{}, {}", line.name, check.name);
                *count += 1;
            }
            None => lines.push((check.clone(), 1)),
        }
    }
    let listed =
        |(line, count): &(Check, usize)| *count > 1 || (line.area == ELEMENTS && line.state == State::Ok);
    let single = lines.iter().filter(|line| !listed(line)).map(|(line, _)| line.name.chars().count());
    let width = single.max().unwrap_or(0).min(28);
    let mut area = "";
    for entry in &lines {
        let (line, _) = entry;
        if line.area != area {
            writeln!(out, "{}{}", if area.is_empty() { "" } else { "\n" }, line.area)?;
            area = line.area;
        }
        let word = match line.state {
            State::Ok => "ok  ",
            State::Warn => "WARN",
            State::Fail => "FAIL",
        };
        if !listed(entry) {
            let mut found = line.found.lines();
            writeln!(out, "  {word}  {:width$}  {}", line.name, found.next().unwrap_or_default())?;
            for more in found {
                writeln!(out, "        {:width$}  {more}", "")?;
            }
        } else {
            writeln!(out, "  {word}  {}:", line.found)?;
            for row in wrapped(&line.name, 88) {
                writeln!(out, "          {row}")?;
            }
        }
        if let Some(mend) = &line.mend {
            writeln!(out, "        {:width$}  -> {mend}", "")?;
        }
    }
    writeln!(out, "\n{}", summary(checks))
}

/// Words in rows of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.len() + 1 + word.len() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(checks: &[Check]) -> String {
        let mut out = Vec::new();
        show(checks, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn findings_are_aligned_and_end_with_the_verdict() {
        let text = shown(&[
            Check::ok("GStreamer", "version", "1.22.0"),
            Check::ok("Elements", "queue", "in libgstreamer1.0-0"),
            Check::ok("Elements", "tee", "in libgstreamer1.0-0"),
            Check::fail("Elements", "x264enc", "missing", "sudo apt install gstreamer1.0-plugins-ugly"),
            Check::warn("Cameras", "found", "none\nat all", "plug one in"),
        ]);
        let expected = "\
GStreamer
  ok    version  1.22.0

Elements
  ok    in libgstreamer1.0-0:
          queue, tee
  FAIL  x264enc  missing
                 -> sudo apt install gstreamer1.0-plugins-ugly

Cameras
  WARN  found    none
                 at all
                 -> plug one in

1 failure to mend and 1 warning, see above.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_a_failure_is_a_bad_verdict() {
        let (ok, warn) = (Check::ok("a", "b", "c"), Check::warn("a", "b", "c", "d"));
        let fail = Check::fail("a", "b", "c", "d");
        assert_eq!(verdict(&[]), State::Ok);
        assert_eq!(verdict(&[ok.clone(), warn.clone()]), State::Warn);
        assert_eq!(verdict(&[warn.clone(), fail, ok.clone()]), State::Fail);
        assert_eq!(summary(std::slice::from_ref(&ok)), "Everything that Fanlight needs is here.");
        assert_eq!(summary(&[ok, warn]), "Fanlight can run; 1 warning above.");
    }

    #[test]
    fn the_whole_examination_of_this_machine_is_readable_by_people_and_machines() {
        let config = crate::config::load(None, |_| None);
        let mut human = Vec::new();
        let code = run(&config, false, &mut human).unwrap();
        let human = String::from_utf8(human).unwrap();
        let mut json = Vec::new();
        assert_eq!(run(&config, true, &mut json).unwrap(), code);
        let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(code == 1, report["verdict"] == "fail", "{human}");
        assert!(human.contains("version"), "{human}");
        assert!(human.trim_end().ends_with(report["summary"].as_str().unwrap()), "{human}");
        let checks = report["checks"].as_array().unwrap();
        for (_, elements) in crate::pipelines::elements::PACKAGES {
            for element in elements {
                assert!(checks.iter().any(|check| check["name"] == *element), "{element} is not reported");
            }
        }
        for check in checks {
            let bad = check["state"] != "ok";
            assert!(!bad || check["mend"].as_str().is_some_and(|mend| !mend.is_empty()), "{check}");
        }
    }
}
