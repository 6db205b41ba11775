//! The figures of printers. What a printer has not said is left out.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::Page;
use crate::printers::Entry;
use crate::supervision::State;

/// A printer in figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrinterMetrics {
    id: i64,
    name: String,
    /// Whether it is connected and has said something within a minute.
    connected: bool,
    /// Of the connection; null when the access code is not known.
    state: Option<State>,
    attempts: u64,
    restarts: u64,
    job_state: Option<String>,
    percent: Option<u8>,
    remaining_seconds: Option<u64>,
    nozzle_celsius: Option<f64>,
    bed_celsius: Option<f64>,
    chamber_celsius: Option<f64>,
    /// Since its newest report.
    report_age_seconds: Option<f64>,
}

impl PrinterMetrics {
    pub fn of(entry: &Entry) -> Self {
        let (state, lifecycle) = (entry.state(), entry.lifecycle());
        let age = |at: SystemTime| SystemTime::now().duration_since(at).unwrap_or_default().as_secs_f64();
        Self {
            id: entry.printer.id,
            name: entry.printer.name.clone(),
            connected: state.connected && !state.stale,
            state: lifecycle.as_ref().map(|lifecycle| lifecycle.state),
            attempts: lifecycle.as_ref().map_or(0, |lifecycle| lifecycle.attempts),
            restarts: lifecycle.map_or(0, |lifecycle| lifecycle.restarts),
            job_state: state.job_state.clone(),
            percent: state.percent,
            remaining_seconds: state.remaining_minutes.map(|minutes| u64::from(minutes) * 60),
            nozzle_celsius: state.nozzle_c,
            bed_celsius: state.bed_c,
            chamber_celsius: state.chamber_c,
            report_age_seconds: state.last_update.map(age),
        }
    }
}

type Figure = fn(&PrinterMetrics) -> Option<f64>;

const FIGURES: &[(&str, &str, &str, Figure)] = &[
    ("fanlight_printer_connected", "gauge", "1 while it is connected and talks.", |it| {
        Some(f64::from(u8::from(it.connected)))
    }),
    ("fanlight_printer_attempts_total", "counter", "Attempts to connect.", |it| Some(it.attempts as f64)),
    ("fanlight_printer_restarts_total", "counter", "Times it had to be connected to again.", |it| {
        Some(it.restarts as f64)
    }),
    ("fanlight_printer_progress_percent", "gauge", "How far the print is.", |it| it.percent.map(f64::from)),
    ("fanlight_printer_remaining_seconds", "gauge", "How long it goes on printing.", |it| {
        it.remaining_seconds.map(|seconds| seconds as f64)
    }),
    ("fanlight_printer_report_age_seconds", "gauge", "Age of the newest report.", |it| it.report_age_seconds),
];

const TEMPERATURES: &[(&str, Figure)] =
    &[("nozzle", |it| it.nozzle_celsius), ("bed", |it| it.bed_celsius), ("chamber", |it| it.chamber_celsius)];

/// The families of printers.
pub fn families(page: &mut Page, printers: &[PrinterMetrics]) {
    for (name, kind, help, figure) in FIGURES {
        page.family(name, kind, help);
        for printer in printers {
            if let Some(value) = figure(printer) {
                page.sample(name, &[("printer", &printer.id.to_string()), ("name", &printer.name)], value);
            }
        }
    }
    let name = "fanlight_printer_temperature_celsius";
    page.family(name, "gauge", "Temperatures.");
    for printer in printers {
        for (place, figure) in TEMPERATURES {
            if let Some(value) = figure(printer) {
                let id = printer.id.to_string();
                page.sample(name, &[("printer", &id), ("name", &printer.name), ("at", place)], value);
            }
        }
    }
    let name = "fanlight_printer_job_state";
    page.family(name, "gauge", "1 for what the printer says that it is doing.");
    for printer in printers {
        if let Some(job) = &printer.job_state {
            let id = printer.id.to_string();
            page.sample(name, &[("printer", &id), ("name", &printer.name), ("state", job)], 1.0);
        }
    }
}
