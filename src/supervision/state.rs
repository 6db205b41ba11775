//! What a lifecycle shows of itself: the shape of health, API and pages.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

/// Where a supervised thing is. The words of logs, health and API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not wanted by anybody.
    Idle,
    /// An attempt runs and has not given a picture yet.
    Starting,
    /// Pictures flow.
    Live,
    /// Was live or starting, gives nothing, and has not failed either: kept open for a while.
    Stalled,
    /// Failed; waits before the next attempt.
    BackingOff,
    /// The peer refuses the credentials; tried again only rarely.
    Refused,
    /// Being stopped.
    Stopping,
}

/// What a lifecycle says about itself, for health, API and logs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Snapshot {
    pub state: State,
    /// When it came into this state.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "crate::telemetry::rfc3339")]
    pub since: SystemTime,
    /// Attempts begun since the service started.
    pub attempts: u64,
    /// Times it was live and had to begin again.
    pub restarts: u64,
    /// The newest failure in words; kept after recovery until the next one.
    pub last_error: Option<String>,
    /// When the next attempt is due, while one is.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "crate::telemetry::rfc3339_option")]
    pub next_try: Option<SystemTime>,
    /// Attempts that did not stop in time and were given up.
    pub frozen: u64,
}

impl Snapshot {
    /// Before anything was tried.
    pub fn idle(since: SystemTime) -> Self {
        Self {
            state: State::Idle,
            since,
            attempts: 0,
            restarts: 0,
            last_error: None,
            next_try: None,
            frozen: 0,
        }
    }
}
