//! Out of the merged status, what people want to know. Every field is read for itself and stands nothing on
//! its head when it is missing, of another type or absurd: it is then simply not known.

use serde_json::Value;

use super::hms::{self, Fault};
use super::merge::Tree;
use super::models::Lamp;
use super::state::{AmsUnit, Fans, Light, Nozzle, PrinterState, Tray};

/// Bit of `fun`: commands have to be signed, which only the maker's programs can.
const SIGNATURE_REQUIRED: u64 = 0x2000_0000;
/// `tray_now` of the holder outside of any AMS.
const EXTERNAL: i64 = 254;
/// Faults that are kept of a list.
const FAULTS: usize = 32;

/// Puts into `state` what the tree has. The model has to be there already.
pub fn read(tree: &Tree, state: &mut PrinterState) {
    let field = |key| tree.get(key);
    let device = |path: &[&str]| inside(field("device"), path);
    state.job_state = text(field("gcode_state"));
    state.percent = percent(field("mc_percent"));
    state.remaining_minutes = whole(field("mc_remaining_time"));
    (state.bed_c, state.bed_target_c) = match packed(device(&["bed", "info", "temp"])) {
        Some((now, target)) => (Some(now), Some(target)),
        None => (celsius(field("bed_temper")), celsius(field("bed_target_temper"))),
    };
    state.details.nozzles = nozzles(device(&["extruder", "info"]));
    let first = state.details.nozzles.first();
    state.nozzle_c = celsius(field("nozzle_temper")).or(first.map(|nozzle| nozzle.celsius));
    state.nozzle_target_c =
        celsius(field("nozzle_target_temper")).or(first.map(|nozzle| nozzle.target_celsius));
    (state.chamber_c, state.chamber_target_c) = match packed(device(&["ctc", "info", "temp"])) {
        _ if !state.model.has_chamber_sensor() => (None, None),
        Some((now, target)) => (Some(now), Some(target)),
        None => (celsius(field("chamber_temper")), None),
    };
    state.details.lights = lights(field("lights_report"));
    let mut lights = state.details.lights.iter();
    state.light =
        lights.find(|light| light.node == Lamp::ChamberLight.node()).map(|light| light.mode != "off");
    state.rtsp_url = text(inside(field("ipcam"), &["rtsp_url"]));
    state.task = text(field("subtask_id"));
    state.print_error_bits =
        bits(field("print_error")).and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0);

    let job = state.job();
    let details = &mut state.details;
    details.file = text(field("subtask_name")).or_else(|| text(field("gcode_file")));
    details.layer = whole(field("layer_num"));
    details.layers = whole(field("total_layer_num"));
    let stage = number(field("stg_cur")).and_then(|stage| hms::stage(stage as i64));
    details.stage = stage.filter(|_| job.active()).map(str::to_owned);
    details.speed_level = whole(field("spd_lvl")).and_then(|level| u8::try_from(level).ok());
    details.speed_percent = whole(field("spd_mag"));
    details.fans = Fans {
        part: fan(field("cooling_fan_speed")),
        auxiliary: fan(field("big_fan1_speed")),
        chamber: fan(field("big_fan2_speed")),
        heatbreak: fan(field("heatbreak_fan_speed")),
    };
    details.ams = ams(field("ams"));
    let now = number(inside(field("ams"), &["tray_now"])).map(|now| now as i64);
    let slots = entries(field("vir_slot")).iter();
    let external = field("vt_tray").or_else(|| slots.min_by_key(|slot| whole(slot.get("id"))));
    details.external_spool = external.and_then(|spool| tray(spool, now == Some(EXTERNAL), true));
    details.hms = faults(field("hms"));
    details.print_error = Fault::of_print_error(state.print_error_bits);
    details.wifi_dbm = number(field("wifi_signal")).map(|dbm| dbm as i32);
    details.developer_mode = bits(field("fun")).map(|fun| fun & SIGNATURE_REQUIRED == 0);
}

fn inside<'a>(value: Option<&'a Value>, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value?, |value, key| value.get(key))
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number, also in a text, also with its unit behind it: `"-52dBm"`.
fn number(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => {
            let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
            text[..end].parse().ok()?
        }
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn whole(value: Option<&Value>) -> Option<u32> {
    number(value).filter(|number| (0.0..=f64::from(u32::MAX)).contains(number)).map(|number| number as u32)
}

fn percent(value: Option<&Value>) -> Option<u8> {
    number(value).filter(|number| *number >= 0.0).map(|number| number.min(100.0) as u8)
}

/// In sixteenths, as the machine has it.
fn fan(value: Option<&Value>) -> Option<u8> {
    number(value)
        .filter(|number| *number >= 0.0)
        .map(|number| (number.min(15.0) / 15.0 * 100.0).round() as u8)
}

fn celsius(value: Option<&Value>) -> Option<f64> {
    number(value).filter(|celsius| (-100.0..=1000.0).contains(celsius))
}

/// Newer firmware: what it is in the low half, what it shall be in the high one.
fn packed(value: Option<&Value>) -> Option<(f64, f64)> {
    let both = whole(value)?;
    Some((f64::from(both & 0xffff), f64::from(both >> 16)))
}

/// A number, or a text of hexadecimal digits.
fn bits(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            u64::from_str_radix(text.trim_start_matches("0x").trim_start_matches("0X"), 16).ok()
        }
        _ => None,
    }
}

fn entries(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// By number where the name is one: parts of a report come in any order.
fn sorted<T>(mut list: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let key = |entry: &T| {
        let id = id(entry);
        (id.parse::<u64>().unwrap_or(u64::MAX), id.to_owned())
    };
    list.sort_by_cached_key(key);
    list
}

fn nozzles(value: Option<&Value>) -> Vec<Nozzle> {
    let one = |entry: &Value| {
        let (celsius, target_celsius) = packed(entry.get("temp"))?;
        Some(Nozzle { id: whole(entry.get("id"))?, celsius, target_celsius })
    };
    let mut list: Vec<Nozzle> = entries(value).iter().filter_map(one).collect();
    list.sort_by_key(|nozzle| nozzle.id);
    list
}

fn lights(value: Option<&Value>) -> Vec<Light> {
    let one = |entry: &Value| Some(Light { node: text(entry.get("node"))?, mode: text(entry.get("mode"))? });
    let list = entries(value).iter().filter_map(one).collect();
    sorted(list, |light: &Light| &light.node)
}

fn faults(value: Option<&Value>) -> Vec<Fault> {
    let half = |entry: &Value, key| bits(entry.get(key)).and_then(|bits| u32::try_from(bits).ok());
    let one = |entry: &Value| Some(Fault::of_hms(half(entry, "attr")?, half(entry, "code")?));
    entries(value).iter().filter_map(one).take(FAULTS).collect()
}

fn ams(value: Option<&Value>) -> Vec<AmsUnit> {
    let exist = |key, bit: Option<u32>| {
        let bits = bits(inside(value, &[key]));
        // Units beyond the four of old are numbered otherwise, and are there when they are reported.
        bits.zip(bit).is_none_or(|(bits, bit)| bits >> bit & 1 == 1)
    };
    let now = number(inside(value, &["tray_now"])).map(|now| now as i64);
    let one = |entry: &Value| {
        let id = text(entry.get("id"))?;
        let index = id.parse::<u32>().ok().filter(|index| *index < 4);
        if !exist("ams_exist_bits", index) {
            return None;
        }
        let trays = entries(entry.get("tray")).iter().filter_map(|place| {
            let number = whole(place.get("id")).filter(|number| *number < 4);
            let place_index = index.zip(number).map(|(unit, number)| unit * 4 + number);
            let active = place_index.is_some() && now == place_index.map(i64::from);
            tray(place, active, exist("tray_exist_bits", place_index))
        });
        Some(AmsUnit {
            humidity_level: whole(entry.get("humidity")).and_then(|level| u8::try_from(level).ok()),
            humidity_percent: percent(entry.get("humidity_raw")),
            celsius: celsius(entry.get("temp")),
            drying_minutes: whole(entry.get("dry_time")).filter(|minutes| *minutes > 0),
            trays: sorted(trays.collect(), |tray: &Tray| &tray.id),
            id,
        })
    };
    let list = entries(inside(value, &["ams"])).iter().filter_map(one).collect();
    sorted(list, |unit: &AmsUnit| &unit.id)
}

fn tray(entry: &Value, active: bool, exists: bool) -> Option<Tray> {
    let id = text(entry.get("id"))?;
    let material = text(entry.get("tray_type"));
    if !exists || material.is_none() {
        return Some(Tray { id, empty: true, ..Tray::default() });
    }
    let colour = text(entry.get("tray_color"));
    let colour = colour.filter(|colour| colour.len() == 8 && colour.bytes().all(|b| b.is_ascii_hexdigit()));
    Some(Tray {
        id,
        empty: false,
        material,
        name: text(entry.get("tray_sub_brands")),
        colour: colour.map(|colour| format!("#{}", colour.to_ascii_uppercase())),
        remaining_percent: percent(entry.get("remain")),
        active,
    })
}
