//! What a simulated printer tells of itself: the full report in each model's shape, and the difference of two.
//!
//! Field names and types are those of the machines, oddities included: fans as text, a chamber of 5 where
//! there is no sensor, targets in the upper half of a number on newer models.

use serde_json::{Map, Value, json};

use super::machine::{Machine, Phase, Verifies};
use super::models::Chamber;

/// The bit of `fun` that says that commands have to be signed, which is to say: Developer Mode is off.
const SIGNED_ONLY: u64 = 0x2000_0000;
/// What the machine lists while it drops commands.
const NOT_VERIFIED: (u32, u32) = (0x0500_0500, 0x0001_0007);
/// Colours in the AMS, with what they are made of.
const FILAMENTS: [(&str, &str, &str, &str); 4] = [
    ("161616FF", "PLA", "GFA00", "PLA Basic"),
    ("F4EE2AFF", "PLA", "GFA01", "PLA Matte"),
    ("00AE42FF", "PETG", "GFG00", "PETG Basic"),
    ("F72323FF", "ABS", "GFB00", "ABS"),
];

/// Everything under `print` but what is of one message.
pub fn full(machine: &Machine) -> Value {
    let model = machine.model;
    let printing = matches!(machine.phase, Phase::Prepare | Phase::Running | Phase::Paused);
    let (progress, layers, name, number) =
        machine.job.map_or((0.0, 0, "", 0), |job| (job.progress(), job.layers, job.name, job.number + 1));
    let fan = |on: &str| if machine.phase == Phase::Running { on.to_owned() } else { "0".to_owned() };
    let mut hms = machine.hms.clone();
    let verifies = machine.manners.verifies.is_some();
    if machine.manners.verifies == Some(Verifies::Aloud) {
        hms.push(NOT_VERIFIED);
    }
    let fun = 0x3EC_18FF_9CFF & !SIGNED_ONLY | if verifies { SIGNED_ONLY } else { 0 };
    let job_fields = json!({
        "gcode_state": machine.phase.name(),
        "mc_percent": (progress * 100.0).floor() as u32,
        "mc_remaining_time": machine.remaining_minutes(),
        "mc_print_stage": if printing { "2" } else { "1" },
        "mc_print_sub_stage": 0,
        "mc_print_error_code": "0",
        "mc_print_line_number": ((progress * 200_000.0) as u32).to_string(),
        "stg_cur": stage(machine),
        "stg": [2, 14, 1],
        "layer_num": (progress * f64::from(layers)).floor() as u32,
        "total_layer_num": layers,
        "gcode_file": if name.is_empty() { String::new() } else { format!("/data/Metadata/plate_{number}.gcode") },
        "subtask_name": name,
        "subtask_id": number.to_string(),
        "task_id": number.to_string(),
        "project_id": number.to_string(),
        "profile_id": "0",
        "gcode_file_prepare_percent": if printing { "100" } else { "0" },
        "print_type": if printing { "local" } else { "idle" },
        "queue_number": 0
    });
    let machine_fields = json!({
        "print_error": machine.print_error,
        "hms": hms.iter().map(|(attr, code)| json!({ "attr": attr, "code": code })).collect::<Vec<_>>(),
        "nozzle_temper": degrees(machine.nozzles[0].now),
        "nozzle_target_temper": machine.nozzles[0].target,
        "bed_temper": degrees(machine.bed.now),
        "bed_target_temper": machine.bed.target,
        "nozzle_diameter": "0.4",
        "nozzle_type": "hardened_steel",
        "cooling_fan_speed": fan("15"),
        "big_fan1_speed": fan("11"),
        "big_fan2_speed": fan("6"),
        "heatbreak_fan_speed": fan("15"),
        "fan_gear": if machine.phase == Phase::Running { 11_862_268 } else { 0 },
        "spd_lvl": machine.speed,
        "spd_mag": machine.speed_percent(),
        "lights_report": machine.lights.iter()
            .map(|(node, on)| json!({ "node": node, "mode": if *on { "on" } else { "off" } }))
            .collect::<Vec<_>>(),
        "wifi_signal": "-47dBm",
        "sdcard": true,
        "force_upgrade": false,
        "home_flag": 23_192_271,
        "hw_switch_state": 1,
        "lifecycle": "product",
        "ams_status": if printing { 768 } else { 0 },
        "ams_rfid_status": 0,
        "ams": ams(machine),
        "vt_tray": spool(254, 0, true),
        "ipcam": ipcam(machine),
        "online": { "ahb": true, "rfid": false, "version": 1_437_930_187 },
        "upgrade_state": upgrade(machine),
        "upload": { "status": "idle", "progress": 0, "message": "" },
        "xcam": {
            "allow_skip_parts": false, "buildplate_marker_detector": true, "first_layer_inspector": true,
            "halt_print_sensitivity": "medium", "print_halt": true, "printing_monitor": true,
            "spaghetti_detector": true
        },
        "fun": format!("{fun:X}")
    });
    let mut fields = Map::new();
    for part in [job_fields, machine_fields] {
        if let Value::Object(part) = part {
            fields.extend(part);
        }
    }
    match model.chamber {
        Chamber::Fake => fields.insert("chamber_temper".into(), json!(5.0)),
        Chamber::Field => fields.insert("chamber_temper".into(), json!(degrees(machine.chamber))),
        Chamber::Device => None,
    };
    if model.device {
        fields.insert("device".into(), device(machine));
    }
    if model.job_stages > 0 {
        fields.insert("job".into(), job(machine));
    }
    Value::Object(fields)
}

/// As the machines' sensors give it.
fn degrees(value: f64) -> f64 {
    (value * 32.0).round() / 32.0
}

fn stage(machine: &Machine) -> i64 {
    match machine.phase {
        Phase::Running => 0,
        Phase::Prepare if (machine.bed.now - machine.bed.target).abs() > 2.0 => 2,
        Phase::Prepare => 7,
        Phase::Paused => 16,
        Phase::Idle | Phase::Finish | Phase::Failed => machine.model.idle_stage,
    }
}

fn ipcam(machine: &Machine) -> Value {
    let mut ipcam = json!({
        "ipcam_dev": "1", "ipcam_record": "enable", "timelapse": "disable", "resolution": "1080p",
        "tutk_server": "disable", "mode_bits": 3
    });
    if let (Some(url), Some(fields)) = (&machine.rtsp_url, ipcam.as_object_mut()) {
        fields.insert("rtsp_url".into(), url.as_str().into());
    }
    ipcam
}

fn ams(machine: &Machine) -> Value {
    let units: Vec<_> = (0..machine.model.ams)
        .map(|unit| {
            let trays: Vec<_> = (0..4).map(|tray| spool(tray, unit, false)).collect();
            json!({
                "id": unit.to_string(), "humidity": (4 - unit % 3).to_string(),
                "humidity_raw": (24 + 3 * unit).to_string(), "temp": "25.4", "dry_time": 0, "info": "2003",
                "tray": trays
            })
        })
        .collect();
    let printing = matches!(machine.phase, Phase::Prepare | Phase::Running | Phase::Paused);
    json!({
        "ams": units,
        "ams_exist_bits": format!("{:x}", (1_u32 << machine.model.ams) - 1),
        "tray_exist_bits": format!("{:x}", (1_u64 << (4 * machine.model.ams)) - 1),
        "tray_is_bbl_bits": format!("{:x}", (1_u64 << (4 * machine.model.ams)) - 1),
        "tray_now": if printing { "0" } else { "255" },
        "tray_pre": "255", "tray_tar": if printing { "0" } else { "255" },
        "insert_flag": true, "power_on_flag": false, "version": 4
    })
}

fn spool(tray: usize, unit: usize, external: bool) -> Value {
    let (colour, kind, index, name) = FILAMENTS[(tray + unit) % FILAMENTS.len()];
    json!({
        "id": tray.to_string(), "tray_type": kind, "tray_sub_brands": name, "tray_info_idx": index,
        "tray_color": colour, "cols": [colour], "ctype": 0,
        "tray_id_name": format!("A{unit:02}-K{tray}"), "tray_weight": "1000", "tray_diameter": "1.75",
        "tray_temp": "55", "tray_time": "8", "bed_temp_type": "1", "bed_temp": "35",
        "nozzle_temp_max": "230", "nozzle_temp_min": "190", "xcam_info": "803E803EE803E803CDCC4C3F",
        "tag_uid": if external { "0000000000000000".to_owned() } else { format!("5A6B{unit:04X}{tray:04X}0100") },
        "tray_uuid": format!("{:032X}", unit * 4 + tray + 1), "drying_temp": "55", "drying_time": "8",
        "remain": 90_i64.saturating_sub(17 * (tray % 4) as i64), "k": 0.019, "n": 1.4, "cali_idx": -1,
        "total_len": 330_000, "state": 11
    })
}

fn upgrade(machine: &Machine) -> Value {
    json!({
        "sequence_id": 0, "progress": "0", "status": "IDLE", "consistency_request": false,
        "dis_state": 0, "err_code": 0, "force_upgrade": false, "message": "0%, 0B/s", "module": "",
        "new_version_state": 2, "cur_state_code": 0, "idx2": 0, "sn": machine.serial, "new_ver_list": []
    })
}

/// Target in the upper half, what it is in the lower.
fn packed(now: f64, target: f64) -> i64 {
    (target as i64) << 16 | now.round() as i64
}

fn device(machine: &Machine) -> Value {
    let extruders: Vec<_> = machine
        .nozzles
        .iter()
        .enumerate()
        .map(|(id, nozzle)| {
            json!({
                "id": id, "temp": packed(nozzle.now, nozzle.target), "hnow": id, "hpre": id, "htar": id,
                "snow": 65_535, "spre": 65_535, "star": 65_535, "stat": 0, "info": 8, "filam_bak": []
            })
        })
        .collect();
    let nozzles: Vec<_> = (0..machine.nozzles.len())
        .map(|id| json!({ "id": id, "type": "HS01", "diameter": 0.4, "wear": 0, "tm": 0 }))
        .collect();
    json!({
        "bed": { "info": { "temp": packed(machine.bed.now, machine.bed.target) }, "state": 0 },
        "bed_temp": packed(machine.bed.now, machine.bed.target),
        "ctc": { "info": { "temp": packed(machine.chamber, 0.0) }, "state": 0 },
        "extruder": { "info": extruders, "state": machine.nozzles.len() },
        "nozzle": { "exist": (1 << machine.nozzles.len()) - 1, "info": nozzles, "state": 0 },
        "fan": 0, "plate": { "base": 0, "cali2d_id": "", "cur_id": "", "mat": 1, "tar_id": "" },
        "type": 1
    })
}

/// Newer firmware lists every step of a job; long prints have long lists.
fn job(machine: &Machine) -> Value {
    let stages: Vec<_> = (0..machine.model.job_stages)
        .map(|index| {
            json!({
                "idx": index, "type": index % 4, "tool": "HS01", "platform": "PEI",
                "print_then": index % 2 == 1, "clock_in": false, "cool_time": 0, "est_time": 60 * (index + 1),
                "heated_time": 0, "color": [FILAMENTS[index % 4].0], "material": FILAMENTS[index % 4].1,
                "err_code": [0, 0, 0, 0], "params": format!("{:064X}", index * 7919)
            })
        })
        .collect();
    json!({ "cur_stage": { "idx": 0, "state": u8::from(machine.job.is_some()) }, "stage": stages })
}

/// What has to be merged into `old` to get `new`: members that are not the same, lists whole. `None` when
/// there is nothing. A member that is gone cannot be told that way, and no report loses one.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| new.clone());
    };
    let changed: Map<_, _> = new
        .iter()
        .filter_map(|(key, value)| {
            let change = match old.get(key) {
                Some(before) => difference(before, value)?,
                None => value.clone(),
            };
            Some((key.clone(), change))
        })
        .collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}

/// Makes nonsense of fields that are read: other types, other ranges.
pub fn spoil(report: &mut Value) {
    let Some(fields) = report.as_object_mut() else { return };
    for (key, nonsense) in [
        ("gcode_state", json!(7)),
        ("mc_percent", json!("many")),
        ("mc_remaining_time", json!(-5)),
        ("nozzle_temper", json!("hot")),
        ("bed_temper", json!([60])),
        ("lights_report", json!({ "node": 1 })),
        ("hms", json!("none")),
        ("ams", json!([])),
        ("ipcam", json!(null)),
        ("device", json!({ "bed": 5 })),
        ("print_error", json!("0300")),
    ] {
        fields.insert(key.into(), nonsense);
    }
}

/// What a reader does with a difference.
#[cfg(test)]
pub fn merge(into: &mut Value, change: &Value) {
    match (into.as_object_mut(), change.as_object()) {
        (Some(fields), Some(changes)) => {
            for (key, change) in changes {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        _ => *into = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::models::{MODELS, find};
    use super::*;

    fn of(name: &str, seconds: u64) -> Value {
        let model = find(name).unwrap();
        let mut machine = Machine::new(model, model.serial(1), true);
        machine.advance(seconds);
        full(&machine)
    }

    #[test]
    fn each_model_reports_in_its_shape() {
        for (name, chamber, device, lights, stage) in [
            ("X1C", Some(24.0), false, 2, -1),
            ("P1S", Some(5.0), false, 1, 255),
            ("A1", Some(5.0), false, 1, 255),
            ("P2S", None, true, 1, -1),
            ("H2D", None, true, 3, -1),
        ] {
            let report = of(name, 0);
            assert_eq!(report["chamber_temper"].as_f64(), chamber, "{name}");
            assert_eq!(report.get("device").is_some(), device, "{name}");
            assert_eq!(report["lights_report"].as_array().unwrap().len(), lights, "{name}");
            assert_eq!(report["stg_cur"], stage, "{name}");
        }
    }

    #[test]
    fn reports_are_as_long_as_the_machines_are() {
        let size = |name| of(name, 2000).to_string().len();
        let sizes: Vec<_> = MODELS.iter().map(|model| (model.name, size(model.name))).collect();
        println!("{sizes:?}");
        assert!((28_000..36_000).contains(&size("X1C")), "{sizes:?}");
        assert!((4_000..9_000).contains(&size("A1")), "{sizes:?}");
    }

    #[test]
    fn newer_models_pack_target_and_current_into_one_number() {
        let report = of("H2D", 2000);
        let bed = report["device"]["bed"]["info"]["temp"].as_i64().unwrap();
        assert_eq!((bed >> 16, bed & 0xFFFF), (55, 55));
        let nozzles = report["device"]["extruder"]["info"].as_array().unwrap();
        assert_eq!((nozzles.len(), nozzles[0]["temp"].as_i64().unwrap() >> 16), (2, 220));
    }

    #[test]
    fn a_difference_has_what_changed_and_no_more() {
        let old = json!({ "a": 1, "b": { "c": 2, "d": [1, 2] }, "e": "x" });
        for (new, difference_is) in [
            (old.clone(), None),
            (json!({ "a": 2, "b": { "c": 2, "d": [1, 2] }, "e": "x" }), Some(json!({ "a": 2 }))),
            (json!({ "a": 1, "b": { "c": 2, "d": [1] }, "e": "x" }), Some(json!({ "b": { "d": [1] } }))),
            (json!({ "a": 1, "b": { "c": 2, "d": [1, 2] }, "e": "x", "f": 0 }), Some(json!({ "f": 0 }))),
        ] {
            assert_eq!(difference(&old, &new), difference_is, "{new}");
        }
    }
}
