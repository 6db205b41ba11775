//! How the machine is: `/api/system/metrics` all of it, `/api/stats` the few figures of a dashboard. Both
//! from the newest reading; nothing is read here.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::{StatusCode, header};

use super::AppState;
use super::answer::{self, Fault, Response};
use crate::telemetry::system::SystemMetrics;

/// The machine in a few figures. Null is what it does not tell.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Degrees Celsius.
    cpu_temperature_celsius: Option<f64>,
    /// 0 to 100, of all cores.
    cpu_usage_percent: Option<f64>,
    /// Processes that run or wait to, on average over a minute.
    load_1m: Option<f64>,
    /// 0 to 100.
    memory_used_percent: Option<f64>,
    /// 0 to 100, of the file system that the service keeps its state on.
    disk_used_percent: Option<f64>,
    /// Whether a Raspberry Pi's firmware limits anything now; null elsewhere.
    throttled: Option<bool>,
    /// Seconds since the machine started.
    uptime_seconds: Option<f64>,
    /// When this was read.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "crate::telemetry::rfc3339")]
    timestamp: SystemTime,
}

impl From<&SystemMetrics> for Stats {
    fn from(metrics: &SystemMetrics) -> Self {
        Self {
            cpu_temperature_celsius: metrics.cpu.temperature_celsius,
            cpu_usage_percent: metrics.cpu.usage_percent,
            load_1m: metrics.cpu.load.map(|[minute, ..]| minute),
            memory_used_percent: metrics.memory.as_ref().map(|memory| memory.used_percent),
            disk_used_percent: metrics.disk.as_ref().map(|disk| disk.used_percent),
            throttled: metrics.throttling.as_ref().map(|throttling| !throttling.now.is_empty()),
            uptime_seconds: metrics.uptime_seconds,
            timestamp: metrics.timestamp,
        }
    }
}

pub fn stats(state: &AppState) -> Result<Response, Fault> {
    let metrics = state.system.newest().ok_or_else(too_early)?;
    Ok(answer::json(StatusCode::OK, &Stats::from(&*metrics)))
}

pub fn metrics(state: &AppState) -> Result<Response, Fault> {
    let metrics = state.system.newest().ok_or_else(too_early)?;
    Ok(answer::json(StatusCode::OK, &*metrics))
}

fn too_early() -> Fault {
    let message = "the system has not been read yet; ask again in a second";
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READ_YET", message, json!({}))
        .with(header::RETRY_AFTER, 1)
}
