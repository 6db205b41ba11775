//! What the command line promises about pipelines and about itself: lines that run when pasted, values
//! that never become syntax, secrets that stay hidden, graphs, completions, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::service::STARTS;
use support::*;

const TEST_CAMERA: &str =
    "[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\nresolution = \"320x240\"\nfps = 15\n";
const RTSP_CAMERA: &str = "[[camera]]\nid = \"cam\"\n[camera.source]\ntype = \"rtsp\"\n\
                           url = \"rtsp://10.1.2.3/live\"\nusername = \"viewer\"\npassword = \"hunter2 'x\"\n";

/// Runs the binary to its end, with this configuration where `{}` stands in the arguments.
fn fanlight(config: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fanlight.toml");
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_fanlight"))
        .args(arguments.iter().map(|argument| argument.replace("{}", file)))
        .env("NO_COLOR", "1")
        .env("FANLIGHT_PORT", free_port().to_string())
        .output()
        .unwrap()
}

/// What it prints, of a run that has to succeed.
#[track_caller]
fn printed(config: &str, arguments: &[&str]) -> String {
    let output = fanlight(config, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn shown(config: &str) -> String {
    printed(config, &["--config", "{}", "pipeline", "show", "cam"])
}

/// Pastes a line into a shell and sees it play for two seconds.
#[track_caller]
fn plays(line: &str, directory: &Path) {
    // GStreamer keeps a registry in the home directory: one that goes with the test.
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &format!("exec {line}")]).current_dir(directory).env("HOME", home.path());
    let mut process = Process::spawn("gst-launch-1.0", &mut command);
    process.wait_line("plays", 0, STARTS, |line| line.contains("to PLAYING").then_some(()));
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        if let Some(status) = process.try_wait() {
            panic!("it ended with {status}: {}\n{line}", process.output());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = process.output();
    assert!(!output.contains("ERROR") && !output.contains("WARNING"), "{output}\n{line}");
}

#[test]
fn the_shown_line_of_a_test_camera_plays_when_pasted() {
    let directory = tempfile::tempdir().unwrap();
    plays(shown(TEST_CAMERA).trim_end(), directory.path());
    let turned = TEST_CAMERA.replace("fps = 15", "fps = 15\nrotation = 90\nflip = \"horizontal\"");
    let line = shown(&turned);
    assert!(line.contains("videoflip"), "{line}");
    plays(line.trim_end(), directory.path());
}

#[test]
fn the_shown_line_of_a_file_plays_when_pasted_whatever_its_name_is() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "plain.mp4",
        "with spaces.mp4",
        "it's \"quoted\".mp4",
        "x ! fakesink.mp4",
        "a\" ! fakesink name=\"b.mp4",
        "$HOME `touch pwned` $(touch pwned).mp4",
        "back\\slash\\ and\\\"more.mp4",
        "comma, equals=1; (x) {y} #z *.mp4",
    ] {
        let path = directory.path().join(name);
        std::fs::copy(bikes(), &path).unwrap();
        // A JSON string with these characters is a TOML string as well.
        let path = serde_json::to_string(path.to_str().unwrap()).unwrap();
        let config = format!("[[camera]]\nid = \"cam\"\nsource = {{ type = \"file\", path = {path} }}\n");
        plays(shown(&config).trim_end_matches('\n'), directory.path());
        assert!(!directory.path().join("pwned").exists(), "the shell ran a part of {name:?}");
    }
}

#[test]
fn a_path_with_a_line_break_in_it_is_refused_with_its_place() {
    let config = "[[camera]]\nid = \"cam\"\nsource = { type = \"file\", path = \"two\\nlines.mp4\" }\n";
    let output = fanlight(config, &["--config", "{}", "pipeline", "show", "cam"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("fanlight.toml:3:") && error.contains("path"), "{error}");
}

#[test]
fn a_shown_line_hides_the_password_unless_it_is_asked_for() {
    for arguments in [["pipeline", "show", "cam"], ["pipeline", "dot", "cam"]] {
        let text = printed(RTSP_CAMERA, &["--config", "{}", arguments[0], arguments[1], arguments[2]]);
        assert!(!text.contains("hunter2"), "{text}");
    }
    let hidden = shown(RTSP_CAMERA);
    assert!(hidden.contains("***") && hidden.contains("viewer") && hidden.contains("10.1.2.3"), "{hidden}");
    let open = printed(RTSP_CAMERA, &["--config", "{}", "pipeline", "show", "cam", "--secrets"]);
    assert!(open.contains("hunter2") && !open.contains("***"), "{open}");
    // The shell takes it as one word again.
    let words = Command::new("bash")
        .args(["--norc", "-c", &open.replacen("gst-launch-1.0", "printf '%s\\n'", 1)])
        .output()
        .unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.lines().any(|word| word == "user-pw=\"hunter2 'x\""), "{words}");
}

#[test]
fn the_list_names_every_fragment_and_marks_the_operators_own() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("transforms")).unwrap();
    let own = directory.path().join("transforms/rate.gst");
    std::fs::write(&own, "# My own rate.\nvideorate drop-only=true max-rate={fps:int}\n").unwrap();
    let config = format!("[pipelines]\ndirectory = {:?}\n{TEST_CAMERA}", directory.path().to_str().unwrap());
    let list = printed(&config, &["--config", "{}", "pipeline", "list"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    for group in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(group.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().with_extension("");
            assert!(list.contains(name.to_str().unwrap()), "{} is not listed:\n{list}", name.display());
        }
    }
    let line = list.lines().find(|line| line.starts_with("transforms/rate")).unwrap();
    assert!(line.contains("My own rate.") && line.contains(own.to_str().unwrap()), "{line}");
}

/// Graphviz takes it, where it is installed.
#[track_caller]
fn is_a_graph(text: &str) {
    assert!(text.starts_with("digraph") && text.trim_end().ends_with('}'), "{text}");
    let dot = Command::new("dot").arg("-Tsvg").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut dot) = dot else {
        eprintln!("Graphviz is not installed: only the beginning of the graph was looked at");
        return;
    };
    dot.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let drawn = dot.wait_with_output().unwrap();
    assert!(drawn.status.success() && String::from_utf8_lossy(&drawn.stdout).contains("<svg"));
}

#[test]
fn the_dot_of_a_camera_is_a_graph_of_its_pipeline() {
    let text = printed(TEST_CAMERA, &["--config", "{}", "pipeline", "dot", "cam"]);
    for element in ["GstVideoTestSrc", "GstTee", "jpegenc"] {
        assert!(text.to_lowercase().contains(&element.to_lowercase()), "{element} is not in the graph");
    }
    is_a_graph(&text);
}

#[test]
fn a_camera_that_is_not_there_is_named_with_those_that_are() {
    let output = fanlight(TEST_CAMERA, &["--config", "{}", "pipeline", "show", "porch"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("porch") && error.contains("cam"), "{error}");
}

#[test]
fn a_pipeline_that_fails_leaves_its_graph_beside_the_health_file_and_no_password_in_it() {
    let mut camera = CameraOptions::clip().digest("user", "hunter2").start();
    let service = Fanlight::start(&format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source()));
    service.wait_state("cam", "live", STARTS);
    camera.kill();
    let path = service.health_file().with_file_name("camera-cam.dot");
    wait_until("the graph is there", STARTS, || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.trim_end().ends_with('}'))
    });
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("GstRTSPSrc"), "{text}");
    assert!(!text.contains("hunter2"), "a password in the graph");
    is_a_graph(&text);
}

#[test]
fn completions_are_made_for_bash_zsh_and_fish() {
    for (shell, expected) in
        [("bash", "complete -F"), ("zsh", "#compdef fanlight"), ("fish", "complete -c fanlight")]
    {
        let script = printed("", &["completions", shell]);
        assert!(script.contains(expected) && script.contains("pipeline"), "{shell}: {script}");
    }
    // Bash itself takes its script.
    let script = printed("", &["completions", "bash"]);
    let mut bash = Command::new("bash").args(["--norc", "-n"]).stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn help_mentions_every_command_with_what_it_does() {
    let help = printed("", &["--help"]);
    for command in ["run", "demo", "doctor", "config", "pipeline", "probe", "healthcheck", "completions"] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
        let line = line.unwrap_or_else(|| panic!("{command} is not in the help:\n{help}"));
        assert!(line.split_whitespace().count() > 3, "{command} is not explained: {line}");
        // Each answers for itself.
        assert!(printed("", &[command, "--help"]).contains("Usage"), "{command}");
    }
    // Nothing that the help shows is unknown.
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    for line in listed.take_while(|line| !line.trim().is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        if line.starts_with("  ") && !line.starts_with("    ") && name != "help" {
            assert!(printed("", &[name, "--help"]).contains("Usage"), "{name}");
        }
    }
    assert!(printed("", &["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn exit_codes_tell_a_wrong_configuration_from_a_wrong_command() {
    let bad = "[server]\nprot = 8080\n";
    let run = fanlight(bad, &["run", "--config", "{}"]);
    assert_eq!(run.status.code(), Some(78), "EX_CONFIG: starting again does not help");
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(error.contains("fanlight.toml:2:1") && error.contains("port"), "{error}");
    let bare = fanlight(bad, &["--config", "{}"]);
    assert_eq!(bare.status.code(), Some(78), "run is what happens without a command");

    let check = fanlight(bad, &["config", "check", "{}"]);
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(fanlight(TEST_CAMERA, &["config", "check", "{}"]).status.code(), Some(0));
    assert_eq!(fanlight("", &["config", "check", "/nonexistent/fanlight.toml"]).status.code(), Some(1));
    assert_eq!(fanlight("", &["--config", "/nonexistent/fanlight.toml"]).status.code(), Some(78));
    assert_eq!(fanlight("", &["no-such-command"]).status.code(), Some(2));
}
