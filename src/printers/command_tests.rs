use serde_json::{Value, json};

use super::*;
use crate::printers::hms::Fault;
use crate::printers::models::Model;
use crate::printers::state::Light;

fn printer(model: Model, job: Option<&str>) -> PrinterState {
    PrinterState {
        connected: true,
        model,
        job_state: job.map(str::to_owned),
        task: Some("4711".into()),
        ..PrinterState::default()
    }
}

fn read(body: &Value) -> Result<Command, CommandError> {
    Command::from_json(body.to_string().as_bytes())
}

#[test]
fn commands_are_read_as_the_api_writes_them() {
    for (body, command) in [
        (json!({ "type": "pause" }), Command::Pause),
        (json!({ "type": "resume" }), Command::Resume),
        (json!({ "type": "stop" }), Command::Stop),
        (json!({ "type": "clear_error" }), Command::ClearError),
        (json!({ "type": "light", "on": false }), Command::Light { on: false, node: Lamp::ChamberLight }),
        (
            json!({ "type": "light", "on": true, "node": "chamber_light2" }),
            Command::Light { on: true, node: Lamp::ChamberLight2 },
        ),
        (json!({ "type": "speed", "level": 3 }), Command::Speed { level: 3 }),
        (json!({ "type": "nozzle_target", "celsius": 215 }), Command::NozzleTarget { celsius: 215.0 }),
        (json!({ "type": "bed_target", "celsius": 60.5 }), Command::BedTarget { celsius: 60.5 }),
    ] {
        assert_eq!(read(&body), Ok(command), "{body}");
    }
    for bad in [
        json!({}),
        json!({ "type": "explode" }),
        json!({ "type": "light" }),
        json!({ "type": "light", "on": 1 }),
        json!({ "type": "light", "on": true, "node": "sun" }),
        json!({ "type": "light", "on": true, "colour": "red" }),
        json!({ "type": "speed", "level": 256 }),
        json!("pause"),
    ] {
        assert!(matches!(read(&bad), Err(CommandError::Invalid(_))), "{bad}");
    }
}

#[test]
fn a_command_that_makes_no_sense_now_says_why() {
    let all = [
        None,
        Some("IDLE"),
        Some("PREPARE"),
        Some("SLICING"),
        Some("RUNNING"),
        Some("PAUSE"),
        Some("FINISH"),
    ];
    for (command, fitting) in [
        (Command::Pause, &["PREPARE", "SLICING", "RUNNING"][..]),
        (Command::Resume, &["PAUSE"]),
        (Command::Stop, &["PREPARE", "SLICING", "RUNNING", "PAUSE"]),
        (Command::Speed { level: 4 }, &["PREPARE", "SLICING", "RUNNING", "PAUSE"]),
    ] {
        for job in all {
            let judged = command.judge(&printer(Model::X1C, job));
            match job.is_some_and(|job| fitting.contains(&job)) {
                true => assert_eq!(judged, Ok(()), "{command:?} while {job:?}"),
                false => match judged {
                    Err(CommandError::NotNow(words)) => {
                        assert!(words.contains(job.unwrap_or("has not said")), "{words}");
                    }
                    other => panic!("{command:?} while {job:?}: {other:?}"),
                },
            }
        }
    }
    let mut state = printer(Model::X1C, Some("PAUSE"));
    assert!(matches!(Command::ClearError.judge(&state), Err(CommandError::NotNow(_))));
    state.print_error_bits = 0x0300_8004;
    assert_eq!(Command::ClearError.judge(&state), Ok(()));
}

#[test]
fn temperatures_stay_within_what_each_machine_stands() {
    for (model, nozzle, bed) in [
        (Model::X1C, 300.0, 110.0),
        (Model::X1E, 320.0, 110.0),
        (Model::P1S, 300.0, 100.0),
        (Model::P2S, 300.0, 110.0),
        (Model::A1, 300.0, 100.0),
        (Model::A1Mini, 300.0, 80.0),
        (Model::H2D, 350.0, 120.0),
        (Model::Unknown, 300.0, 80.0),
    ] {
        let state = printer(model, Some("IDLE"));
        for (celsius, fits) in
            [(0.0, true), (nozzle, true), (nozzle + 1.0, false), (-1.0, false), (f64::NAN, false)]
        {
            let judged = Command::NozzleTarget { celsius }.judge(&state);
            assert_eq!(judged.is_ok(), fits, "{model} nozzle {celsius}: {judged:?}");
        }
        for (celsius, fits) in [(0.0, true), (bed, true), (bed + 1.0, false), (f64::INFINITY, false)] {
            let judged = Command::BedTarget { celsius }.judge(&state);
            assert_eq!(judged.is_ok(), fits, "{model} bed {celsius}: {judged:?}");
        }
    }
}

#[test]
fn a_lamp_is_asked_of_where_it_is() {
    let work = Command::Light { on: true, node: Lamp::WorkLight };
    assert_eq!(work.judge(&printer(Model::X1C, None)), Ok(()));
    let mut small = printer(Model::A1, None);
    assert!(matches!(work.judge(&small), Err(CommandError::Invalid(words)) if words.contains("A1")));
    small.details.lights = vec![Light { node: "work_light".into(), mode: "off".into() }];
    assert_eq!(work.judge(&small), Ok(()), "it reports one");
}

#[test]
fn every_command_is_written_in_full() {
    let mut state = printer(Model::X1C, Some("RUNNING"));
    state.print_error_bits = 0x0300_8004;
    let written = |command: Command| -> Value { serde_json::from_str(&command.payload(9, &state)).unwrap() };
    let print = |name: &str, param: &str| json!({ "user_id": "1", "print": { "sequence_id": "9", "command": name, "param": param } });
    assert_eq!(written(Command::Pause), print("pause", ""));
    assert_eq!(written(Command::Resume), print("resume", ""));
    assert_eq!(written(Command::Stop), print("stop", ""));
    assert_eq!(written(Command::Speed { level: 4 }), print("print_speed", "4"));
    assert_eq!(written(Command::NozzleTarget { celsius: 215.4 }), print("gcode_line", "M104 S215\n"));
    assert_eq!(written(Command::BedTarget { celsius: 0.0 }), print("gcode_line", "M140 S0\n"));
    assert_eq!(
        written(Command::Light { on: false, node: Lamp::ChamberLight }),
        json!({ "user_id": "1", "system": {
            "sequence_id": "9", "command": "ledctrl", "led_node": "chamber_light", "led_mode": "off",
            "led_on_time": 500, "led_off_time": 500, "loop_times": 0, "interval_time": 0,
        } })
    );
    assert_eq!(
        written(Command::ClearError),
        json!({ "user_id": "1", "print": {
            "sequence_id": "9", "command": "clean_print_error", "subtask_id": "4711", "print_error": 0x0300_8004,
        } })
    );
}

#[test]
fn authorization_control_is_known_by_three_signs() {
    assert!(unauthorized("mqtt message verify failed"));
    assert!(!unauthorized("busy"));
    let mut state = printer(Model::P2S, None);
    assert!(!locked(&state));
    state.details.developer_mode = Some(false);
    assert!(locked(&state));
    state.details.developer_mode = None;
    state.details.hms = vec![Fault::of_hms(0x0500_0500, 0x0001_0007)];
    assert!(locked(&state));
}
