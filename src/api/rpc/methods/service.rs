//! The service: figures, health, what it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Role;
use crate::api::rpc::error::{CODES, Error};
use crate::api::rpc::session::{Session, Topic};
use crate::api::rpc::table::{Method, Nothing, method};
use crate::supervision::State;
use crate::telemetry::{self, system::SystemMetrics};

pub fn methods() -> Vec<Method> {
    let viewer = Some(Role::Viewer);
    vec![
        method("get_metrics", viewer, "Figures of the service.", metrics),
        method("get_status", viewer, "Whether all is well, part by part.", status),
        method("get_system_status", viewer, "How the machine and its cameras are.", system),
        method("get_server_info", viewer, "What this service is and can do.", info),
    ]
}

#[derive(Debug, Serialize, ToSchema)]
struct Metrics {
    /// WebSockets of this interface.
    active_connections: usize,
    /// Calls since the service started.
    total_requests: u64,
    average_response_time_ms: f64,
    /// Share of calls that were answered by an error, 0 to 1.
    error_rate: f64,
    cameras: CameraCount,
    viewers: ViewerCount,
    /// Of this process.
    memory_bytes: Option<u64>,
    /// Of the machine, 0 to 100.
    cpu_usage_percent: Option<f64>,
    uptime_seconds: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct CameraCount {
    total: usize,
    live: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct ViewerCount {
    mjpeg: usize,
    webrtc: usize,
    rtsp: usize,
}

fn count(session: &Session) -> CameraCount {
    let cameras = session.rpc.house().control.cameras();
    let live = cameras.iter().filter(|camera| camera.capture.status().lifecycle.state == State::Live).count();
    CameraCount { total: cameras.len(), live }
}

async fn metrics(session: Arc<Session>, _: Nothing) -> Result<Metrics, Error> {
    let house = session.rpc.house();
    let counts = session.rpc.counts();
    let [calls, failed, microseconds] =
        [&counts.calls, &counts.failed, &counts.microseconds].map(|count| count.load(Ordering::Relaxed));
    let share = |of: u64| if calls == 0 { 0.0 } else { of as f64 / calls as f64 };
    let machine = house.system.newest();
    let cameras = house.control.cameras();
    Ok(Metrics {
        active_connections: session.rpc.connections(),
        total_requests: calls,
        average_response_time_ms: share(microseconds) / 1000.0,
        error_rate: share(failed),
        cameras: count(&session),
        viewers: ViewerCount {
            mjpeg: house.mjpeg.viewers(),
            rtsp: house
                .rtsp
                .as_ref()
                .map_or(0, |rtsp| cameras.iter().map(|camera| rtsp.watching(camera.capture.id())).sum()),
            webrtc: cameras.iter().map(|camera| house.whep.watching(camera.capture.id())).sum(),
        },
        memory_bytes: machine.as_ref().and_then(|machine| machine.process.memory_bytes),
        cpu_usage_percent: machine.as_ref().and_then(|machine| machine.cpu.usage_percent),
        uptime_seconds: house.started.1.elapsed().as_secs_f64(),
    })
}

/// One word for it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Health {
    Healthy,
    /// Something does not work.
    Degraded,
    /// No camera works.
    Unhealthy,
}

#[derive(Debug, Serialize, ToSchema)]
struct ServiceStatus {
    status: Health,
    version: String,
    uptime_seconds: f64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    started: SystemTime,
    /// Each camera and published output by its id, with the state that it is in.
    components: BTreeMap<String, State>,
}

async fn status(session: Arc<Session>, _: Nothing) -> Result<ServiceStatus, Error> {
    let house = session.rpc.house();
    let cameras = house.control.cameras();
    let of_cameras = cameras
        .iter()
        .map(|camera| (format!("camera {}", camera.capture.id()), camera.capture.status().lifecycle.state));
    let published = house.published.ask();
    let outputs = published.iter().map(|output| (format!("output {}", output.id), output.lifecycle.state));
    let components: BTreeMap<String, State> = of_cameras.chain(outputs).collect();
    Ok(ServiceStatus {
        status: health(&session, components.values().all(|state| well(*state))),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: house.started.1.elapsed().as_secs_f64(),
        started: house.started.0,
        components,
    })
}

const fn well(state: State) -> bool {
    matches!(state, State::Live | State::Idle)
}

fn health(session: &Session, all_well: bool) -> Health {
    let cameras = session.rpc.house().control.cameras();
    let works = cameras.iter().any(|camera| well(camera.capture.status().lifecycle.state));
    match (works, all_well) {
        (false, _) => Health::Unhealthy,
        (true, false) => Health::Degraded,
        (true, true) => Health::Healthy,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct SystemStatus {
    status: Health,
    /// For people.
    message: String,
    cameras: CameraCount,
    /// Null before the first reading.
    machine: Option<SystemMetrics>,
}

async fn system(session: Arc<Session>, _: Nothing) -> Result<SystemStatus, Error> {
    let house = session.rpc.house();
    let cameras = count(&session);
    let all = house.control.cameras();
    let all_well = all.iter().all(|camera| well(camera.capture.status().lifecycle.state));
    Ok(SystemStatus {
        status: health(&session, all_well),
        message: format!("{} of {} cameras live", cameras.live, cameras.total),
        cameras,
        machine: house.system.newest().map(|machine| (*machine).clone()),
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct ServerInfo {
    name: String,
    version: String,
    /// `aarch64`, `x86_64`, …
    architecture: String,
    os: String,
    /// Names of all methods.
    methods: Vec<String>,
    /// Topics of notifications.
    topics: Vec<Topic>,
    /// Codes of errors that are used.
    error_codes: Vec<i64>,
    /// Forms in which cameras are served.
    #[schema(value_type = Vec<String>)]
    supported_formats: Vec<&'static str>,
}

async fn info(session: Arc<Session>, _: Nothing) -> Result<ServerInfo, Error> {
    Ok(ServerInfo {
        name: "fanlight".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        os: std::env::consts::OS.to_owned(),
        methods: session.rpc.methods().iter().map(|method| method.name.to_owned()).collect(),
        topics: Topic::ALL.to_vec(),
        error_codes: CODES.iter().map(|(code, ..)| *code).collect(),
        supported_formats: vec!["mjpeg", "jpeg", "hls", "ll-hls", "webrtc", "rtsp", "mp4"],
    })
}
