//! Faults and stages in words: codes as the maker writes them, and what the commonest of them mean. The
//! full lists are the maker's, thousands of lines long and always newer; a code that is not here is shown
//! with the page that explains it.

use serde::Serialize;
use utoipa::ToSchema;

/// "A message was not signed": writes are dropped because Developer Mode is off.
pub const NOT_AUTHORIZED: &str = "0500_0500_0001_0007";

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Fatal,
    Serious,
    Common,
    Info,
    Unknown,
}

/// Something the machine complains of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// `0300_0D00_0001_0003` of the health system, `0300_8003` of a print.
    pub code: String,
    /// What it means, where it is known here.
    pub text: Option<String>,
    pub severity: Severity,
    /// The maker's page about it.
    pub page: String,
}

impl Fault {
    /// One entry of the health system's list.
    pub fn of_hms(attr: u32, code: u32) -> Self {
        let text =
            format!("{:04X}_{:04X}_{:04X}_{:04X}", attr >> 16, attr & 0xffff, code >> 16, code & 0xffff);
        let severity = match code >> 16 {
            1 => Severity::Fatal,
            2 => Severity::Serious,
            3 => Severity::Common,
            4 => Severity::Info,
            _ => Severity::Unknown,
        };
        let page = format!("https://wiki.bambulab.com/en/x1/troubleshooting/hmscode/{text}");
        // Of an AMS, whichever unit and slot of it: the same fault in words.
        let plain = if matches!(attr >> 24, 0x07 | 0x12) {
            format!("{:04X}_{:04X}_{}", (attr >> 16) & 0xfff8, attr & 0xf8ff, &text[10..])
        } else {
            text.clone()
        };
        Self { text: words(HMS, &plain), code: text, severity, page }
    }

    /// What stopped a print; zero is nothing.
    pub fn of_print_error(error: u32) -> Option<Self> {
        if error == 0 {
            return None;
        }
        let code = format!("{:04X}_{:04X}", error >> 16, error & 0xffff);
        let page = "https://wiki.bambulab.com/en/hms/error-code".to_owned();
        let severity = Severity::Serious;
        Some(Self { text: words(PRINT_ERRORS, &code), code, severity, page })
    }
}

fn words(table: &[(&str, &str)], code: &str) -> Option<String> {
    table.iter().find(|(known, _)| *known == code).map(|(_, words)| (*words).to_owned())
}

const HMS: &[(&str, &str)] = &[
    (NOT_AUTHORIZED, "a command was not authorized: Developer Mode is off"),
    ("0300_0100_0001_0001", "the heat bed's temperature is abnormal: its heater may be short-circuited"),
    ("0300_0100_0001_0002", "the heat bed does not heat: its heater may be broken"),
    ("0300_0200_0001_0001", "the nozzle's temperature is abnormal: its heater may be short-circuited"),
    ("0300_0200_0001_0002", "the nozzle does not heat: its heater may be broken"),
    ("0300_0300_0001_0001", "the hotend's cooling fan is slow or has stopped"),
    ("0300_0D00_0001_0003", "the build plate is not placed properly"),
    ("0500_0300_0001_0001", "the motion controller has a fault: restart the printer"),
    ("0500_0400_0001_0004", "unsupported print file"),
    ("0700_2000_0002_0001", "AMS: the filament has run out"),
    ("0700_2000_0002_0002", "AMS: the slot is empty"),
    ("0700_2000_0002_0003", "AMS: the filament may be broken in the tube"),
    ("0700_4500_0002_0003", "the filament cutter's handle is not released: it may be stuck"),
    ("0700_5000_0002_0001", "AMS: the printer does not hear it: look at its cable"),
    ("0C00_0100_0001_0001", "the lidar's camera is offline"),
    ("0C00_0300_0003_0007", "the first layer's inspection found a possible defect"),
    ("0C00_0300_0003_0008", "spaghetti: the print may have failed"),
    ("1200_2000_0002_0001", "AMS lite: the filament has run out"),
];

const PRINT_ERRORS: &[(&str, &str)] = &[
    ("0300_4000", "printing stopped: the Z axis could not be homed"),
    ("0300_8000", "printing was paused by something unknown"),
    ("0300_8001", "printing was paused on the printer's screen or by a program"),
    ("0300_8002", "the first layer's inspection paused the print"),
    ("0300_8003", "spaghetti: the print may have failed"),
    ("0300_8004", "the filament has run out"),
    ("0300_8005", "the tool head's front cover fell off"),
    ("0300_8006", "the build plate's marker was not found"),
    ("0300_8008", "the nozzle's temperature malfunctions"),
    ("0300_8009", "the heat bed's temperature malfunctions"),
    ("0300_400C", "the task was cancelled"),
    ("0500_400E", "printing was cancelled"),
    ("0500_4003", "the file could not be read: slice and send it again"),
    ("0700_8010", "AMS: the assist motor is overloaded: the filament may be tangled"),
    ("0700_8011", "AMS: the filament has run out"),
    ("07FF_8003", "pull the filament out of the extruder"),
    ("0C00_8001", "the first layer may be defective"),
];

/// `stg_cur` in words; `None` while it does nothing in particular, or for a number not known here.
pub fn stage(number: i64) -> Option<&'static str> {
    let index = usize::try_from(number).ok()?;
    STAGES.get(index).copied()
}

const STAGES: &[&str] = &[
    "printing",
    "levelling the bed",
    "preheating the heat bed",
    "sweeping XY mechanics",
    "changing filament",
    "paused by the print file",
    "paused: filament ran out",
    "heating the hotend",
    "calibrating extrusion",
    "scanning the bed's surface",
    "inspecting the first layer",
    "identifying the build plate",
    "calibrating the lidar",
    "homing the tool head",
    "cleaning the nozzle tip",
    "checking the extruder's temperature",
    "paused by a person",
    "paused: the front cover fell off",
    "calibrating the lidar",
    "calibrating extrusion flow",
    "paused: the nozzle's temperature malfunctions",
    "paused: the heat bed's temperature malfunctions",
    "unloading filament",
    "paused: a motor skipped steps",
    "loading filament",
    "calibrating motor noise",
    "paused: the AMS is lost",
    "paused: the hotend's fan is slow",
    "paused: the chamber's temperature cannot be held",
    "cooling the chamber",
    "paused by the print file",
    "showing off motor noise",
    "paused: filament covers the nozzle",
    "paused: the cutter has a fault",
    "paused: the first layer has a fault",
    "paused: the nozzle is clogged",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_the_maker_writes_them() {
        let fault = Fault::of_hms(0x0500_0500, 0x0001_0007);
        assert_eq!(fault.code, NOT_AUTHORIZED);
        assert_eq!(fault.severity, Severity::Fatal);
        assert!(fault.text.unwrap().contains("Developer Mode"));
        assert!(fault.page.ends_with(NOT_AUTHORIZED));
        assert_eq!(Fault::of_hms(u32::MAX, u32::MAX).code, "FFFF_FFFF_FFFF_FFFF");
        let error = Fault::of_print_error(0x0300_8004).unwrap();
        assert_eq!(
            (error.code.as_str(), error.text.as_deref()),
            ("0300_8004", Some("the filament has run out"))
        );
        assert_eq!(Fault::of_print_error(0), None);
    }

    #[test]
    fn a_fault_of_any_unit_and_slot_of_the_ams_has_its_words() {
        let fault = Fault::of_hms(0x0702_2200, 0x0002_0001);
        assert_eq!(fault.code, "0702_2200_0002_0001");
        assert_eq!(fault.text.as_deref(), Some("AMS: the filament has run out"));
    }

    #[test]
    fn stages_have_words_and_idle_has_none() {
        assert_eq!(stage(0), Some("printing"));
        assert_eq!(stage(35), Some("paused: the nozzle is clogged"));
        for nothing in [-1, 255, 36, i64::MAX, i64::MIN] {
            assert_eq!(stage(nothing), None);
        }
    }
}
