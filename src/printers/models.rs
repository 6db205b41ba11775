//! What is known of each machine by its name alone: which camera it has, what of its reports is true, what
//! it may be asked. A machine nobody here knows is treated carefully and otherwise by what it reports.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A printer's model. Text form: `X1C`, `A1 mini`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Model {
    X1,
    X1C,
    X1E,
    X2D,
    P1P,
    P1S,
    P2S,
    A1Mini,
    A1,
    H2S,
    H2C,
    H2D,
    H2DPro,
    #[default]
    Unknown,
}

/// How a machine gives its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraProtocol {
    /// H.264 by RTSP over TLS, port 322.
    Rtsps,
    /// JPEG pictures over TLS, port 6000.
    Jpeg6000,
}

/// A lamp, by the name that reports and commands give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lamp {
    ChamberLight,
    #[serde(rename = "chamber_light2")]
    ChamberLight2,
    /// At the tool head.
    WorkLight,
}

/// The highest temperatures a machine is asked for, in degrees Celsius. Zero, which is off, always may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub nozzle: f64,
    pub bed: f64,
}

/// Name, how serial numbers begin, the maker's code (SSDP, `project_name`), nozzle and bed limits.
const TABLE: &[(Model, &str, &str, &str, f64, f64)] = &[
    (Model::X1, "X1", "00W", "BL-P002", 300.0, 110.0),
    (Model::X1C, "X1C", "00M", "BL-P001", 300.0, 110.0),
    (Model::X1E, "X1E", "03W", "C13", 320.0, 110.0),
    (Model::X2D, "X2D", "20P", "N6", 300.0, 110.0),
    (Model::P1P, "P1P", "01S", "C11", 300.0, 100.0),
    (Model::P1S, "P1S", "01P", "C12", 300.0, 100.0),
    (Model::P2S, "P2S", "22E", "N7", 300.0, 110.0),
    (Model::A1Mini, "A1 mini", "030", "N1", 300.0, 80.0),
    (Model::A1, "A1", "039", "N2S", 300.0, 100.0),
    (Model::H2S, "H2S", "093", "O1S", 350.0, 120.0),
    (Model::H2C, "H2C", "31B", "O1C", 350.0, 120.0),
    (Model::H2D, "H2D", "094", "O1D", 350.0, 120.0),
    (Model::H2DPro, "H2D Pro", "239", "O1E", 350.0, 120.0),
];
/// What every machine stands.
const CAREFUL: Limits = Limits { nozzle: 300.0, bed: 80.0 };

impl Model {
    pub const ALL: &'static [Model] = &[
        Model::X1,
        Model::X1C,
        Model::X1E,
        Model::X2D,
        Model::P1P,
        Model::P1S,
        Model::P2S,
        Model::A1Mini,
        Model::A1,
        Model::H2S,
        Model::H2C,
        Model::H2D,
        Model::H2DPro,
    ];

    fn row(self) -> Option<&'static (Model, &'static str, &'static str, &'static str, f64, f64)> {
        TABLE.iter().find(|row| row.0 == self)
    }

    fn find(fits: impl Fn(&(Model, &str, &str, &str, f64, f64)) -> bool) -> Self {
        TABLE.iter().find(|row| fits(row)).map_or(Model::Unknown, |row| row.0)
    }

    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |row| row.1)
    }

    /// By how the serial number begins.
    pub fn from_serial(serial: &str) -> Self {
        let serial = serial.to_ascii_uppercase();
        Self::find(|row| serial.starts_with(row.2))
    }

    /// By the maker's code, as SSDP announces it and `get_version` has it.
    pub fn from_code(code: &str) -> Self {
        Self::find(|row| row.3.eq_ignore_ascii_case(code))
    }

    /// The first three characters of such a machine's serial number.
    pub fn serial_prefix(self) -> &'static str {
        self.row().map_or("", |row| row.2)
    }

    /// By the list of modules that `get_version` answers with: the name in words where the firmware is new,
    /// the code of the mainboard where it is older.
    pub fn from_modules(modules: &[Value]) -> Self {
        let text = |module: &Value, key| module.get(key).and_then(Value::as_str).map(str::to_owned);
        let named = modules.iter().filter_map(|module| text(module, "product_name"));
        let coded = modules.iter().filter_map(|module| text(module, "project_name"));
        let known = |model: &Model| *model != Model::Unknown;
        named
            .map(|name| Self::from_product(&name))
            .chain(coded.map(|code| Self::from_code(&code)))
            .find(known)
            .unwrap_or_default()
    }

    /// `Bambu Lab X1 Carbon`, `Bambu Lab P1S`.
    fn from_product(name: &str) -> Self {
        let name = name.trim();
        let short = name.strip_prefix("Bambu Lab ").unwrap_or(name);
        match short {
            "X1 Carbon" => Model::X1C,
            _ => short.parse().unwrap_or_default(),
        }
    }

    /// `None`: the reports have to say.
    pub fn camera(self) -> Option<CameraProtocol> {
        match self {
            Model::P1P | Model::P1S | Model::A1 | Model::A1Mini => Some(CameraProtocol::Jpeg6000),
            Model::Unknown => None,
            _ => Some(CameraProtocol::Rtsps),
        }
    }

    /// Whether the temperature that is reported of the chamber is measured. A1 and P1 report a 5 for ever.
    pub fn has_chamber_sensor(self) -> bool {
        !matches!(self, Model::P1P | Model::P1S | Model::A1 | Model::A1Mini)
    }

    /// The lamps it is known to have, whatever it reports.
    pub fn lamps(self) -> &'static [Lamp] {
        match self {
            Model::X1 | Model::X1C | Model::X1E => &[Lamp::ChamberLight, Lamp::WorkLight],
            Model::H2S | Model::H2C | Model::H2D | Model::H2DPro => {
                &[Lamp::ChamberLight, Lamp::ChamberLight2, Lamp::WorkLight]
            }
            _ => &[Lamp::ChamberLight],
        }
    }

    pub fn limits(self) -> Limits {
        self.row().map_or(CAREFUL, |row| Limits { nozzle: row.4, bed: row.5 })
    }

    /// How often it may be asked for everything. The small machines stop printing smoothly while they
    /// compose their answer.
    pub fn pushall_every(self) -> Duration {
        match self {
            Model::P1P | Model::P1S | Model::A1 | Model::A1Mini | Model::Unknown => Duration::from_secs(300),
            _ => Duration::from_secs(10),
        }
    }

    /// Whether one more request for everything does it no harm.
    pub fn pushall_at_any_time(self) -> bool {
        self.pushall_every() < Duration::from_secs(60)
    }
}

impl Lamp {
    pub const ALL: &'static [Lamp] = &[Lamp::ChamberLight, Lamp::ChamberLight2, Lamp::WorkLight];

    /// As reports and commands have it.
    pub fn node(self) -> &'static str {
        match self {
            Lamp::ChamberLight => "chamber_light",
            Lamp::ChamberLight2 => "chamber_light2",
            Lamp::WorkLight => "work_light",
        }
    }
}

impl fmt::Display for Lamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.node())
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    /// Without regard to case, spaces and hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |text: &str| {
            text.chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|c| c.to_ascii_uppercase())
                .collect::<String>()
        };
        let wanted = plain(text);
        match Self::find(|row| plain(row.1) == wanted) {
            Model::Unknown => {
                let names: Vec<&str> = Self::ALL.iter().map(|model| model.name()).collect();
                Err(format!("there is no model {text:?}; known are {}", names.join(", ")))
            }
            model => Ok(model),
        }
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_known_by_serial_name_and_code() {
        assert_eq!(Model::ALL.len(), TABLE.len());
        for model in Model::ALL {
            let row = model.row().unwrap();
            assert_eq!(Model::from_serial(&format!("{}00A000000001", row.2.to_lowercase())), *model);
            assert_eq!(Model::from_code(row.3), *model);
            assert_eq!(row.1.parse(), Ok(*model));
        }
        for nothing in ["", "0", "000", "00", "ZZZ00000"] {
            assert_eq!(Model::from_serial(nothing), Model::Unknown);
        }
        assert_eq!("a1-MINI".parse(), Ok(Model::A1Mini));
        assert!("X9".parse::<Model>().unwrap_err().contains("X1C"));
    }

    #[test]
    fn a_machine_says_its_model_in_its_version() {
        for (modules, model) in [
            (json!([{ "name": "ota", "product_name": "Bambu Lab X1 Carbon" }]), Model::X1C),
            (json!([{ "name": "ota", "product_name": "Bambu Lab A1 mini" }]), Model::A1Mini),
            (json!([{ "name": "ams" }, { "name": "esp32", "project_name": "C12" }]), Model::P1S),
            (json!([{ "name": "esp32", "project_name": 12, "product_name": null }]), Model::Unknown),
            (json!(["nothing"]), Model::Unknown),
            (json!([]), Model::Unknown),
        ] {
            assert_eq!(Model::from_modules(modules.as_array().unwrap()), model, "{modules}");
        }
    }

    #[test]
    fn the_small_machines_have_pictures_on_port_6000_and_no_chamber_sensor() {
        for model in [Model::P1P, Model::P1S, Model::A1, Model::A1Mini] {
            assert_eq!(model.camera(), Some(CameraProtocol::Jpeg6000));
            assert!(!model.has_chamber_sensor());
            assert_eq!(model.pushall_every(), Duration::from_secs(300));
        }
        for model in [Model::X1C, Model::P2S, Model::H2D, Model::X2D] {
            assert_eq!(model.camera(), Some(CameraProtocol::Rtsps));
            assert!(model.has_chamber_sensor());
        }
        assert_eq!(Model::Unknown.camera(), None);
    }
}
