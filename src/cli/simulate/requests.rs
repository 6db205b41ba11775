//! What a simulated printer makes of a request: the answers, in order, and the effect on the machine.
//!
//! As on the machines, an answer says that a command was taken, not that it was done; one that makes no sense
//! in the present state is taken and does nothing.

use serde_json::{Map, Value, json};

use super::machine::{Machine, Verifies};

/// Everything that a light's command has to have; newer machines ignore the short form.
const LIGHT_FIELDS: [&str; 6] =
    ["led_node", "led_mode", "led_on_time", "led_off_time", "loop_times", "interval_time"];

impl Machine {
    /// Hears a message on the request topic; what is published for it.
    pub fn hear(&mut self, payload: &[u8]) -> Vec<Value> {
        let Ok(Value::Object(message)) = serde_json::from_slice(payload) else { return Vec::new() };
        let wrapped = message.get("user_id").is_some_and(Value::is_string);
        let mut answers = Vec::new();
        for (namespace, body) in &message {
            let Some(body) = body.as_object() else { continue };
            let command = body.get("command").and_then(Value::as_str).unwrap_or_default();
            let answer = match (namespace.as_str(), command) {
                ("info", "get_version") => Some(self.version(body)),
                ("pushing", "pushall" | "start") => Some(self.full()),
                // Only reads go without the wrapper.
                ("print" | "system", _) if wrapped => self.order(namespace, command, body),
                _ => None,
            };
            answers.extend(answer);
        }
        // Silence is of the mouth: it still does what it is told.
        if self.manners.silent { Vec::new() } else { answers }
    }

    /// Does what is commanded; the acknowledgement, if there is one.
    fn order(&mut self, namespace: &str, command: &str, body: &Map<String, Value>) -> Option<Value> {
        match self.manners.verifies {
            None => {}
            Some(Verifies::Silently) => return None,
            Some(Verifies::Aloud) => {
                return Some(ack(namespace, body, "failed", "mqtt message verify failed"));
            }
        }
        let done = match namespace {
            "system" => self.light(command, body)?,
            _ => self.print(command, body),
        };
        if self.manners.no_acks {
            return None;
        }
        Some(match done {
            Ok(()) => ack(namespace, body, "success", "success"),
            Err(why) => ack(namespace, body, "failed", why),
        })
    }

    fn print(&mut self, command: &str, body: &Map<String, Value>) -> Result<(), &'static str> {
        let number = |key: &str| body.get(key).and_then(Value::as_f64);
        let param = body.get("param").and_then(Value::as_str).unwrap_or_default();
        match command {
            "pause" => self.pause(),
            "resume" => self.resume(),
            "stop" => self.stop(),
            "clean_print_error" => self.clear_error(),
            "print_speed" => match param.parse() {
                Ok(level @ 1..=4) => self.speed = level,
                _ => return Err("speed level invalid"),
            },
            "gcode_line" => param.lines().for_each(|line| self.gcode(line)),
            "set_bed_temp" => self.bed.target = number("temp").ok_or("temp missing")?,
            "set_nozzle_temp" => {
                let index = number("extruder_index").unwrap_or(0.0) as usize;
                let nozzle = self.nozzles.get_mut(index).ok_or("no such extruder")?;
                nozzle.target = number("target_temp").ok_or("target_temp missing")?;
            }
            _ => return Err("unsupported command"),
        }
        Ok(())
    }

    /// The few codes that set a target.
    fn gcode(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let code = words.next().unwrap_or_default();
        let Some(target) = words.find_map(|word| word.strip_prefix('S')?.parse::<f64>().ok()) else { return };
        match code {
            "M104" | "M109" => self.nozzles[0].target = target,
            "M140" | "M190" => self.bed.target = target,
            _ => {}
        }
    }

    fn light(&mut self, command: &str, body: &Map<String, Value>) -> Option<Result<(), &'static str>> {
        if command != "ledctrl" {
            return Some(Err("unsupported command"));
        }
        if !LIGHT_FIELDS.iter().all(|field| body.contains_key(*field)) {
            return None;
        }
        let node = body.get("led_node").and_then(Value::as_str).unwrap_or_default();
        let on = body.get("led_mode").and_then(Value::as_str) != Some("off");
        let light = self.lights.iter_mut().find(|(known, _)| *known == node);
        Some(light.map(|(_, lit)| *lit = on).ok_or("no such light"))
    }

    fn version(&self, body: &Map<String, Value>) -> Value {
        let module = |name: &str, version: &str, number: &str| {
            json!({
                "name": name, "sw_ver": version, "hw_ver": "AP05", "loader_ver": "00.00.00.00", "sn": number,
                "product_name": if name == "ota" { product(self.model.name) } else { "" }, "visible": name == "ota"
            })
        };
        let mut modules =
            vec![module("ota", self.model.firmware, &self.serial), module("mc", "00.00.36.61", "")];
        modules.extend((0..self.model.ams).map(|unit| {
            let name = if self.model.name == "A1" { "ams_f1" } else { "ams" };
            module(&format!("{name}/{unit}"), "00.00.06.49", &format!("00600A{unit:09}"))
        }));
        let sequence = body.get("sequence_id").cloned().unwrap_or_else(|| "0".into());
        json!({ "info": {
            "command": "get_version", "sequence_id": sequence, "module": modules,
            "result": "success", "reason": ""
        } })
    }
}

fn product(model: &str) -> &'static str {
    match model {
        "X1C" => "Bambu Lab X1 Carbon",
        "P1S" => "Bambu Lab P1S",
        "A1" => "Bambu Lab A1",
        "P2S" => "Bambu Lab P2S",
        _ => "Bambu Lab H2D",
    }
}

/// The command itself comes back, with what became of it.
fn ack(namespace: &str, body: &Map<String, Value>, result: &str, reason: &str) -> Value {
    let mut body = body.clone();
    body.insert("result".into(), result.into());
    body.insert("reason".into(), reason.into());
    json!({ namespace: body })
}

#[cfg(test)]
mod tests {
    use super::super::machine::Phase;
    use super::super::models;
    use super::*;

    fn printing(name: &str) -> Machine {
        let model = models::find(name).unwrap();
        let mut machine = Machine::new(model, model.serial(1), true);
        machine.advance(1500);
        assert_eq!(machine.phase, Phase::Running);
        machine
    }

    fn say(machine: &mut Machine, message: &Value) -> Vec<Value> {
        machine.hear(message.to_string().as_bytes())
    }

    fn print(command: &str, param: &str) -> Value {
        json!({ "user_id": "1", "print": { "command": command, "param": param, "sequence_id": "42" } })
    }

    fn light(node: &str, mode: &str) -> Value {
        json!({ "user_id": "1", "system": {
            "command": "ledctrl", "sequence_id": "7", "led_node": node, "led_mode": mode, "led_on_time": 500,
            "led_off_time": 500, "loop_times": 0, "interval_time": 0
        } })
    }

    #[test]
    fn a_command_is_acknowledged_with_its_own_number_and_done() {
        type Holds = fn(&Machine) -> bool;
        let table: [(Value, Holds); 7] = [
            (print("pause", ""), |m| m.phase == Phase::Paused),
            (print("stop", ""), |m| m.phase == Phase::Failed),
            (print("print_speed", "4"), |m| m.speed == 4),
            (print("gcode_line", "M104 S230\nM140 S70\n"), |m| {
                (m.nozzles[0].target, m.bed.target) == (230.0, 70.0)
            }),
            (print("clean_print_error", ""), |m| m.print_error == 0),
            (light("chamber_light", "off"), |m| m.lights[0] == ("chamber_light", false)),
            (light("work_light", "off"), |m| m.lights[1] == ("work_light", false)),
        ];
        for (message, holds) in table {
            let mut machine = printing("X1C");
            let answers = say(&mut machine, &message);
            let namespace = if message.get("print").is_some() { "print" } else { "system" };
            let asked = &message[namespace];
            assert_eq!(answers.len(), 1, "{message}");
            let answer = &answers[0][namespace];
            assert_eq!(answer["sequence_id"], asked["sequence_id"], "{message}");
            assert_eq!((&answer["command"], &answer["result"]), (&asked["command"], &json!("success")));
            assert!(holds(&machine), "{message}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_what_is_no_command_ignored() {
        for (message, result) in [
            (print("print_speed", "9"), Some("failed")),
            (print("dance", ""), Some("failed")),
            (light("moon", "on"), Some("failed")),
            (json!({ "print": { "command": "pause", "sequence_id": "1" } }), None),
            (
                json!({ "user_id": "1", "system": { "command": "ledctrl", "led_node": "chamber_light" } }),
                None,
            ),
            (json!([1]), None),
            (json!({ "user_id": "1", "print": 5 }), None),
        ] {
            let mut machine = printing("A1");
            let answers = say(&mut machine, &message);
            let got = answers.first().map(|answer| {
                let body = answer.get("print").or(answer.get("system")).unwrap();
                body["result"].as_str().unwrap()
            });
            assert_eq!(got, result, "{message}");
            assert_eq!(machine.phase, Phase::Running, "{message}");
        }
        assert!(printing("A1").hear(b"\xff{").is_empty());
    }

    #[test]
    fn reads_are_answered_with_and_without_the_wrapper() {
        let mut machine = printing("H2D");
        let version = say(&mut machine, &json!({ "info": { "command": "get_version", "sequence_id": "0" } }));
        assert_eq!(version[0]["info"]["module"][0]["sn"], machine.serial);
        for command in ["pushall", "start"] {
            let full = say(
                &mut machine,
                &json!({ "user_id": "1", "pushing": { "command": command, "sequence_id": "1" } }),
            );
            let print = &full[0]["print"];
            assert_eq!((&print["command"], &print["msg"]), (&json!("push_status"), &json!(0)), "{command}");
        }
    }

    #[test]
    fn with_developer_mode_off_reads_work_and_commands_do_nothing() {
        for (verifies, answers) in [(Verifies::Silently, 0), (Verifies::Aloud, 1)] {
            let mut machine = printing("P2S");
            machine.manners.verifies = Some(verifies);
            let refused = say(&mut machine, &print("pause", ""));
            assert_eq!((refused.len(), machine.phase), (answers, Phase::Running));
            let full = say(&mut machine, &json!({ "pushing": { "command": "pushall", "sequence_id": "1" } }));
            let fun = u64::from_str_radix(full[0]["print"]["fun"].as_str().unwrap(), 16).unwrap();
            assert_ne!(fun & 0x2000_0000, 0);
        }
    }

    #[test]
    fn a_machine_without_acks_does_it_all_the_same_and_a_silent_one_says_nothing() {
        let mut machine = printing("X1C");
        machine.manners.no_acks = true;
        assert!(say(&mut machine, &print("pause", "")).is_empty());
        assert_eq!(machine.phase, Phase::Paused);
        machine.manners.silent = true;
        assert!(say(&mut machine, &json!({ "pushing": { "command": "pushall" } })).is_empty());
        assert!(machine.delta().is_none());
    }
}
