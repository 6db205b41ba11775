use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::printers::models::Lamp;
use crate::printers::state::Job;

fn fixture(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/printers/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const FIXTURES: [(&str, &str); 5] = [
    ("x1c", "00M00A000000001"),
    ("p1s", "01P00A000000001"),
    ("a1", "03900A000000001"),
    ("p2s", "22E00A000000001"),
    ("h2d", "09400A000000001"),
];

fn at(seconds: u64) -> Moment {
    let now = Duration::from_secs(seconds);
    Moment { now, wall: SystemTime::UNIX_EPOCH + now }
}

fn connected(serial: &str) -> Reducer {
    let mut reducer = Reducer::new(serial, Patience::default());
    reducer.handle(at(0), Event::Connected { first: 0 });
    reducer
}

fn say(reducer: &mut Reducer, seconds: u64, message: &Value) -> Vec<Action> {
    reducer.handle(at(seconds), Event::Message(message.to_string().as_bytes()))
}

/// A printer that has said the first `messages` of a fixture.
fn having_said(name: &str, messages: usize) -> Reducer {
    let serial = FIXTURES.iter().find(|fixture| fixture.0 == name).unwrap().1;
    let mut reducer = connected(serial);
    for message in &fixture(name)[..messages] {
        say(&mut reducer, 1, message);
    }
    reducer
}

/// The command and number of each request.
fn requests(actions: &[Action]) -> Vec<String> {
    let one = |action: &Action| {
        let Action::Publish(payload) = action else { return None };
        let payload: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(payload["user_id"], "1");
        let inner = payload.as_object().unwrap().values().find(|value| value.is_object()).unwrap();
        Some(format!("{} {}", inner["command"].as_str().unwrap(), inner["sequence_id"].as_str().unwrap()))
    };
    actions.iter().filter_map(one).collect()
}

fn answers(actions: &[Action]) -> Vec<(u64, Result<(), CommandError>)> {
    let one = |action: &Action| match action {
        Action::Answer { ticket, result } => Some((*ticket, result.clone())),
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

#[test]
fn an_x1c_is_read_in_full_and_in_parts() {
    let full = having_said("x1c", 2);
    let state = full.state();
    assert!(state.connected && !state.stale);
    assert_eq!(state.model, Model::X1C);
    assert_eq!((state.job(), state.percent, state.remaining_minutes), (Job::Printing, Some(42), Some(123)));
    assert_eq!((state.nozzle_c, state.nozzle_target_c), (Some(219.78125), Some(220.0)));
    assert_eq!((state.bed_target_c, state.chamber_c, state.light), (Some(55.0), Some(38.0), Some(true)));
    assert_eq!(state.rtsp_url.as_deref(), Some("rtsps://192.168.1.10:322/streaming/live/1"));
    let details = &state.details;
    assert_eq!(
        (details.file.as_deref(), details.layer, details.layers),
        (Some("Benchy"), Some(71), Some(240))
    );
    assert_eq!((details.stage.as_deref(), details.speed_level), (Some("printing"), Some(2)));
    assert_eq!((details.fans.part, details.fans.auxiliary), (Some(80), Some(40)));
    assert_eq!((details.wifi_dbm, details.firmware.as_deref()), (Some(-45), Some("01.09.00.00")));
    assert_eq!(details.developer_mode, Some(true));
    assert_eq!(details.hms[0].code, "0C00_0300_0003_0008");
    assert!(details.hms[0].text.as_ref().unwrap().contains("spaghetti"));
    let unit = &details.ams[0];
    assert_eq!((unit.humidity_level, unit.humidity_percent, unit.celsius), (Some(4), Some(32), Some(27.4)));
    let first = &unit.trays[0];
    assert_eq!((first.colour.as_deref(), first.remaining_percent), (Some("#00AE42FF"), Some(87)));
    assert!(first.active && !unit.trays[1].active && unit.trays[3].empty);

    let parts = having_said("x1c", 6);
    let state = parts.state();
    assert_eq!((state.percent, state.bed_c, state.details.wifi_dbm), (Some(43), Some(55.0), Some(-47)));
    assert_eq!((state.job(), state.chamber_c), (Job::Paused, Some(38.0)));
    assert_eq!(state.details.stage.as_deref(), Some("paused by a person"));
    assert_eq!(state.details.print_error.as_ref().unwrap().code, "0300_8001");
    let lights: Vec<_> = state.details.lights.iter().map(|l| (l.node.as_str(), l.mode.as_str())).collect();
    assert_eq!(lights, [("chamber_light", "on"), ("work_light", "on")], "the lamp left out is as it was");
}

#[test]
fn a_p1s_has_no_chamber_temperature_no_rtsp_and_parts_without_a_name() {
    let reducer = having_said("p1s", 6);
    let state = reducer.state();
    assert_eq!((state.model, state.chamber_c, state.rtsp_url.clone()), (Model::P1S, None, None));
    assert_eq!((state.job(), state.nozzle_c), (Job::Preparing, Some(140.5)));
    assert_eq!(state.details.stage.as_deref(), Some("preheating the heat bed"));
    assert_eq!((state.light, state.details.developer_mode), (Some(true), None));
    assert_eq!(state.details.external_spool.as_ref().unwrap().material.as_deref(), Some("PETG"));
}

#[test]
fn an_a1_empties_a_slot_and_finishes() {
    let full = having_said("a1", 2);
    assert!(full.state().details.ams[0].trays[1].active);
    let after = having_said("a1", 4);
    let state = after.state();
    assert_eq!((state.model, state.chamber_c, state.job()), (Model::A1, None, Job::Finished));
    let trays = &state.details.ams[0].trays;
    assert_eq!(trays.iter().map(|tray| tray.empty).collect::<Vec<_>>(), [false, true, true, true]);
    assert!(trays.iter().all(|tray| !tray.active));
}

#[test]
fn a_p2s_packs_its_temperatures_hides_its_camera_and_obeys_nobody() {
    let state = having_said("p2s", 2).state().clone();
    assert_eq!((state.model, state.bed_c, state.bed_target_c), (Model::P2S, Some(31.0), Some(60.0)));
    assert_eq!((state.chamber_c, state.nozzle_c), (Some(27.0), Some(24.5)));
    assert_eq!((state.rtsp_url.as_deref(), state.details.developer_mode), (Some("disable"), Some(false)));
    assert_eq!(state.details.hms[0].code, crate::printers::hms::NOT_AUTHORIZED);
    assert_eq!(state.details.ams[0].drying_minutes, Some(90));
    assert!(state.details.ams[0].trays[1].empty);
    let after = having_said("p2s", 4).state().clone();
    assert_eq!((after.bed_c, after.details.hms.len()), (Some(30.0), 0));
}

#[test]
fn an_h2d_has_two_nozzles_two_lamps_and_two_kinds_of_ams() {
    let state = having_said("h2d", 3).state().clone();
    assert_eq!((state.model, state.chamber_c, state.chamber_target_c), (Model::H2D, Some(58.0), Some(60.0)));
    let nozzles: Vec<_> = state.details.nozzles.iter().map(|n| (n.celsius, n.target_celsius)).collect();
    assert_eq!(nozzles, [(249.0, 250.0), (44.0, 220.0)]);
    assert!(state.has_lamp(Lamp::ChamberLight2));
    let units: Vec<_> = state.details.ams.iter().map(|unit| unit.id.as_str()).collect();
    assert_eq!(units, ["0", "128"]);
    assert_eq!(state.details.ams[1].trays[0].remaining_percent, Some(54));
    assert!(state.details.ams[0].trays[2].active);
}

#[test]
fn on_connecting_it_is_asked_who_it_is_and_for_everything() {
    let mut reducer = Reducer::new("00M00A000000001", Patience::default());
    assert!(reducer.state().stale && !reducer.state().connected);
    let actions = reducer.handle(at(0), Event::Connected { first: 0 });
    assert_eq!(requests(&actions), ["get_version 0", "pushall 1"]);
}

#[test]
fn a_small_machine_is_asked_for_everything_once_in_five_minutes_however_often_it_connects() {
    let mut reducer = connected("01P00A000000001");
    let mut asked = Vec::new();
    for seconds in 1..=700 {
        if seconds % 20 == 0 {
            reducer.handle(at(seconds), Event::Disconnected("it broke".into()));
            reducer.handle(at(seconds), Event::Connected { first: 0 });
        }
        say(&mut reducer, seconds, &json!({ "print": { "mc_percent": 1 } }));
        let actions = reducer.handle(at(seconds), Event::Tick);
        if requests(&actions).iter().any(|request| request.starts_with("pushall")) {
            asked.push(seconds);
        }
    }
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 300), "{asked:?}");
    assert!(reducer.last_pushall.unwrap() >= Duration::from_secs(600));
}

#[test]
fn a_small_machine_is_not_asked_for_everything_again_by_the_next_link_or_a_guest() {
    let connect = |reducer: &mut Reducer, seconds| {
        let actions = reducer.handle(at(seconds), Event::Connected { first: 0 });
        requests(&actions).iter().any(|request| request.starts_with("pushall"))
    };
    for (serial, small) in [("01P00A000000001", true), ("00M00A000000001", false)] {
        let mut first = Reducer::new(serial, Patience::default());
        assert!(connect(&mut first, 1000));
        say(&mut first, 1001, &json!({ "print": { "mc_percent": 12 } }));
        first.handle(at(1010), Event::Disconnected("the link was ended".into()));
        let mut next = first.resumed(Patience::default());
        let state = next.state();
        assert!(state.percent == Some(12) && state.stale && state.trouble.is_none());
        assert_eq!(connect(&mut next, 1020), !small);
        if small {
            assert_eq!(next.next_deadline(), Some(Duration::from_secs(1030)), "its first word");
            say(&mut next, 1021, &json!({ "print": { "mc_percent": 1 } }));
            say(&mut next, 1299, &json!({ "print": { "mc_percent": 1 } }));
            assert_eq!(next.next_deadline(), Some(Duration::from_secs(1300)));
        }
        let mut guest = Reducer::new(serial, Patience::default());
        guest.make_guest();
        assert_eq!(connect(&mut guest, 2000), !small);
    }
}

#[test]
fn silence_is_told_asked_about_and_given_up() {
    let mut reducer = having_said("x1c", 2);
    assert_eq!(reducer.next_deadline(), Some(Duration::from_secs(61)));
    assert_eq!(reducer.handle(at(60), Event::Tick), []);
    let actions = reducer.handle(at(61), Event::Tick);
    assert_eq!(requests(&actions), ["start 2"]);
    assert!(reducer.state().stale && reducer.state().connected);
    assert_eq!(reducer.handle(at(70), Event::Tick), [], "once");
    let actions = reducer.handle(at(76), Event::Tick);
    assert!(matches!(&actions[..], [Action::GiveUp(words)] if words.contains("75 s")), "{actions:?}");
}

#[test]
fn a_word_after_silence_makes_it_fresh_again() {
    let mut reducer = having_said("x1c", 2);
    reducer.handle(at(61), Event::Tick);
    assert_eq!(say(&mut reducer, 62, &json!({ "print": { "mc_percent": 44 } })), [Action::Heard]);
    assert!(!reducer.state().stale);
    assert_eq!(reducer.state().last_update, Some(at(62).wall));
    assert_eq!(reducer.next_deadline(), Some(Duration::from_secs(122)));
}

#[test]
fn a_printer_that_never_says_a_word_is_given_up_with_a_hint() {
    let mut reducer = connected("00M00A000000001");
    assert_eq!(reducer.next_deadline(), Some(Duration::from_secs(10)));
    let actions = reducer.handle(at(10), Event::Tick);
    assert!(
        matches!(&actions[..], [Action::GiveUp(words)] if words.contains("serial number")),
        "{actions:?}"
    );
}

#[test]
fn what_was_known_stays_after_a_broken_connection_and_is_marked_as_old_until_the_next_report() {
    let mut reducer = having_said("x1c", 2);
    reducer.handle(at(5), Event::Disconnected("the cable".into()));
    let state = reducer.state();
    assert_eq!((state.connected, state.stale, state.percent), (false, true, Some(42)));
    assert_eq!(state.trouble.as_deref(), Some("the cable"));
    assert_eq!(reducer.next_deadline(), None);
    reducer.handle(at(9), Event::Connected { first: 0 });
    assert!(reducer.state().connected && reducer.state().stale && reducer.state().trouble.is_none());
    say(&mut reducer, 10, &json!({ "print": { "mc_percent": 50 } }));
    assert!(!reducer.state().stale);
}

fn order(reducer: &mut Reducer, seconds: u64, command: Command) -> Vec<Action> {
    reducer.handle(at(seconds), Event::Command { command, ticket: 7 })
}

fn ack(command: &str, sequence: Value, result: &str, reason: &str) -> Value {
    json!({ "print": { "command": command, "param": "", "result": result, "reason": reason, "sequence_id": sequence } })
}

#[test]
fn a_command_is_done_when_its_own_answer_says_so() {
    let mut reducer = having_said("x1c", 2);
    assert_eq!(requests(&order(&mut reducer, 2, Command::Pause)), ["pause 2"]);
    for others in [
        ack("pause", json!("3"), "success", ""),
        ack("resume", json!("2"), "success", ""),
        json!({ "system": { "command": "pause", "result": "success", "sequence_id": "2" } }),
        json!({ "print": { "command": "pause", "sequence_id": "2" } }),
    ] {
        assert_eq!(answers(&say(&mut reducer, 3, &others)), [], "{others}");
    }
    let actions = say(&mut reducer, 3, &ack("pause", json!("2"), "SUCCESS", "success"));
    assert_eq!(answers(&actions), [(7, Ok(()))]);
    assert_eq!(answers(&say(&mut reducer, 3, &ack("pause", json!("2"), "success", ""))), [], "once");
}

#[test]
fn an_answer_is_never_taken_for_a_report() {
    let mut reducer = having_said("x1c", 2);
    let before = reducer.state().clone();
    for answer in [
        json!({ "print": { "command": "push_status", "result": "success", "sequence_id": "1", "mc_percent": 99 } }),
        json!({ "print": { "result": "success", "mc_percent": 99, "gcode_state": "IDLE" } }),
        json!({ "print": { "command": "gcode_line", "result": "success", "sequence_id": "9", "mc_percent": 99 } }),
        json!({ "print": { "command": "project_file", "sequence_id": "9", "mc_percent": 99 } }),
        json!({ "system": { "command": "ledctrl", "result": "success", "sequence_id": "9" } }),
        json!({ "pushing": { "mc_percent": 99 } }),
    ] {
        say(&mut reducer, 1, &answer);
        assert_eq!(reducer.state(), &before, "{answer}");
    }
}

#[test]
fn a_refusal_has_the_printers_words_or_the_mend() {
    for (reason, expected) in [
        ("busy", CommandError::Refused("busy".into())),
        ("", CommandError::Refused("failed".into())),
        ("mqtt message verify failed", CommandError::Unauthorized(MEND.into())),
    ] {
        let mut reducer = having_said("x1c", 2);
        order(&mut reducer, 2, Command::Pause);
        let actions = say(&mut reducer, 3, &ack("pause", json!(2), "failed", reason));
        assert_eq!(answers(&actions), [(7, Err(expected))]);
    }
}

#[test]
fn a_command_without_an_answer_times_out_and_where_nobody_is_obeyed_that_is_told() {
    let mut reducer = having_said("x1c", 2);
    order(&mut reducer, 2, Command::Pause);
    assert_eq!(reducer.next_deadline(), Some(Duration::from_secs(7)));
    let actions = reducer.handle(at(7), Event::Tick);
    assert!(matches!(&answers(&actions)[..], [(7, Err(CommandError::Timeout(_)))]), "{actions:?}");
    let late = say(&mut reducer, 8, &ack("pause", json!("2"), "success", ""));
    assert_eq!(answers(&late), []);

    let mut locked = having_said("p2s", 2);
    let light = Command::Light { on: true, node: Lamp::ChamberLight };
    order(&mut locked, 2, light);
    let actions = locked.handle(at(7), Event::Tick);
    assert_eq!(answers(&actions), [(7, Err(CommandError::Unauthorized(MEND.into())))]);
}

#[test]
fn a_broken_connection_answers_whoever_waits() {
    let mut reducer = having_said("x1c", 2);
    order(&mut reducer, 2, Command::Pause);
    let actions = reducer.handle(at(3), Event::Disconnected("the cable".into()));
    assert!(matches!(&answers(&actions)[..], [(7, Err(CommandError::NotConnected(_)))]));
    let actions = order(&mut reducer, 4, Command::Pause);
    assert!(
        matches!(&answers(&actions)[..], [(7, Err(CommandError::NotConnected(words)))] if words.contains("cable"))
    );
}

#[test]
fn only_so_many_commands_await_their_answers() {
    let mut reducer = having_said("x1c", 2);
    for _ in 0..PENDING {
        assert_eq!(answers(&order(&mut reducer, 2, Command::Speed { level: 2 })), []);
    }
    let actions = order(&mut reducer, 2, Command::Speed { level: 2 });
    assert!(matches!(&answers(&actions)[..], [(7, Err(CommandError::NotNow(_)))]));
    assert_eq!(requests(&actions), Vec::<String>::new());
}

#[test]
fn numbers_of_commands_begin_anew_with_each_connection_and_only_grow() {
    let mut reducer = having_said("x1c", 2);
    assert_eq!(requests(&order(&mut reducer, 2, Command::Pause)), ["pause 2"]);
    assert_eq!(requests(&order(&mut reducer, 2, Command::Stop)), ["stop 3"]);
    reducer.handle(at(3), Event::Disconnected(String::new()));
    let actions = reducer.handle(at(20), Event::Connected { first: 4_000_000_000 });
    assert_eq!(requests(&actions), ["get_version 4000000000", "pushall 4000000001"]);
}

#[test]
fn a_tree_that_grows_and_grows_is_thrown_away_and_asked_for() {
    let mut reducer = having_said("x1c", 2);
    let mut asked = false;
    for round in 0..200 {
        let mut device = Map::new();
        for key in 0..500 {
            device.insert(format!("{round}-{key}"), json!(1));
        }
        let actions = say(&mut reducer, 20 + round, &json!({ "print": { "device": device } }));
        asked |= requests(&actions).iter().any(|request| request.starts_with("pushall"));
        let size = serde_json::to_string(&format!("{:?}", reducer.tree)).unwrap().len();
        assert!(size < 1_000_000, "{size}");
    }
    assert!(asked);
}

/// Cuts a report into parts: every value goes into one of `count` of them, lists of named things entry by
/// entry.
fn parts(
    report: &Map<String, Value>,
    count: usize,
    draw: &mut impl FnMut() -> usize,
) -> Vec<Map<String, Value>> {
    let mut out = vec![Map::new(); count];
    for (key, value) in report {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                for (part, inner) in out.iter_mut().zip(parts(inner, count, draw)) {
                    if !inner.is_empty() {
                        part.insert(key.clone(), inner.into());
                    }
                }
            }
            Value::Array(list) if !list.is_empty() && list.iter().all(named) => {
                let mut lists = vec![Vec::new(); count];
                for entry in list {
                    let entry = entry.as_object().unwrap();
                    let tag = if entry.contains_key("id") { "id" } else { "node" };
                    if entry.len() == 1 {
                        lists[draw() % count].push(Value::Object(entry.clone()));
                        continue;
                    }
                    for (list, mut cut) in lists.iter_mut().zip(parts(entry, count, draw)) {
                        cut.remove(tag);
                        if !cut.is_empty() {
                            cut.insert(tag.into(), entry[tag].clone());
                            list.push(cut.into());
                        }
                    }
                }
                for (part, list) in out.iter_mut().zip(lists) {
                    if !list.is_empty() {
                        part.insert(key.clone(), list.into());
                    }
                }
            }
            value => {
                out[draw() % count].insert(key.clone(), value.clone());
            }
        }
    }
    out
}

fn named(entry: &Value) -> bool {
    entry.get("id").is_some() || entry.get("node").is_some()
}

fn print_of(message: &Value) -> Option<&Map<String, Value>> {
    let print = message.get("print")?.as_object()?;
    (!print.contains_key("result")).then_some(print)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_cut_of_a_report_into_parts_gives_the_same_state(
        which in 0..FIXTURES.len(),
        count in 1usize..7,
        draws in prop::collection::vec(any::<usize>(), 64..256),
    ) {
        let (name, serial) = FIXTURES[which];
        let messages = fixture(name);
        let full = print_of(&messages[1]).unwrap();
        let mut whole = connected(serial);
        say(&mut whole, 1, &messages[0]);
        say(&mut whole, 1, &messages[1]);

        let mut at = 0;
        let mut draw = || { at += 1; draws[at % draws.len()] };
        let mut report = full.clone();
        report.retain(|key, _| !matches!(key.as_str(), "msg" | "command" | "sequence_id"));
        let mut cut = connected(serial);
        say(&mut cut, 1, &messages[0]);
        for (index, mut part) in parts(&report, count, &mut draw).into_iter().enumerate() {
            part.insert("msg".into(), json!(1));
            part.insert("sequence_id".into(), json!(index.to_string()));
            if draw() % 2 == 0 {
                part.insert("command".into(), json!("push_status"));
            }
            say(&mut cut, 1, &json!({ "print": part }));
        }
        prop_assert_eq!(cut.state(), whole.state());
    }

    #[test]
    fn the_same_report_again_changes_nothing(which in 0..FIXTURES.len(), times in 1usize..4) {
        let (name, serial) = FIXTURES[which];
        let messages = fixture(name);
        let mut reducer = connected(serial);
        let mut states = Vec::new();
        for message in &messages {
            for _ in 0..=times {
                say(&mut reducer, 1, message);
                states.push(reducer.state().clone());
            }
            let last = states.len() - 1;
            prop_assert_eq!(&states[last], &states[last - 1]);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut reducer = having_said("x1c", 2);
        reducer.handle(at(2), Event::Message(&bytes));
    }

    #[test]
    fn any_damage_to_a_report_is_survived(
        which in 0..FIXTURES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (name, serial) = FIXTURES[which];
        let mut reducer = connected(serial);
        for message in &fixture(name) {
            let mut bytes = message.to_string().into_bytes();
            for (index, byte) in &damage {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            reducer.handle(at(1), Event::Message(&bytes));
        }
    }

    #[test]
    fn any_json_in_any_field_is_survived(
        key in prop::sample::select(vec![
            "gcode_state", "mc_percent", "mc_remaining_time", "nozzle_temper", "device", "lights_report", "ipcam",
            "hms", "print_error", "ams", "vt_tray", "vir_slot", "wifi_signal", "fun", "stg_cur", "spd_lvl",
            "big_fan1_speed", "layer_num",
        ]),
        values in prop::collection::vec(json_value(), 1..4),
    ) {
        let mut reducer = having_said("h2d", 2);
        for value in values {
            say(&mut reducer, 2, &json!({ "print": { key: value } }));
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-0-9a-zA-Z.é]{0,12}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "id",
        "node",
        "mode",
        "ams",
        "tray",
        "bed",
        "info",
        "temp",
        "extruder",
        "ctc",
        "attr",
        "code",
        "rtsp_url",
        "tray_now",
        "tray_exist_bits",
        "tray_color",
        "tray_type",
        "remain",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ]
    })
}
