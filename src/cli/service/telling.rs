//! What tells the outside how the service is: the health file, the publisher's own, systemd.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::cameras::Cameras;
use crate::capture::status::CameraStatus;
use crate::config;
use crate::config::model::Config;
use crate::printers::Printers;
use crate::printers::view::PrinterHealth;
use crate::publish::Publishers;
use crate::record::Recordings;
use crate::serve::rtsp::Rtsp;
use crate::supervision::published::{PublishedNow, Publisher};
use crate::supervision::systemd::Notifier;
use crate::supervision::{State, Vitals, any_change, health};
use crate::telemetry;

/// How often the status line for systemd is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The health file's content.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) cameras: Cameras,
    pub(super) publishers: Publishers,
    pub(super) recordings: Recordings,
    pub(super) printers: Printers,
    pub(super) published: PublishedNow,
    pub(super) rtsp: Option<Rtsp>,
    pub(super) vitals: Vitals,
    pub(super) started: SystemTime,
}

impl Document {
    pub(super) fn json(&self) -> serde_json::Value {
        let cameras: Vec<CameraStatus> = self.cameras.all().iter().map(|c| c.status()).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started": telemetry::timestamp(self.started),
            "updated": telemetry::timestamp(SystemTime::now()),
            "status": words(&cameras),
            "frozen": self.vitals.frozen(),
            // Null when it is off, or its port could not be had.
            "rtsp": self.rtsp.as_ref().map(Rtsp::address),
            "cameras": cameras,
            "outputs": self.publishers.statuses(),
            "recordings": self.recordings.statuses(),
            "printers": self.printers.list().iter().map(PrinterHealth::of).collect::<Vec<_>>(),
        })
    }

    /// The publisher's part alone, for those who look for it in a file of its own.
    pub(super) fn publisher(&self) -> serde_json::Value {
        let Publisher { state, message, outputs } = Publisher::of(self.published.ask());
        json!({
            "state": state,
            "message": message,
            "outputs": outputs,
            "pid": std::process::id(),
            "updated": telemetry::timestamp(SystemTime::now()),
        })
    }
}

pub(super) fn health_path(config: &Config) -> PathBuf {
    config.health.file.clone().unwrap_or_else(|| health::default_path(|name| std::env::var_os(name)))
}

/// What tells the outside: the health file, the publisher's own when one is wanted, and systemd.
pub(super) struct Telling {
    health: health::Writer,
    publisher: Option<health::Writer>,
    task: AbortOnDropHandle<()>,
}

impl Telling {
    pub(super) fn begin(config: &Config, document: &Document, notifier: &Notifier) -> Self {
        let content = document.clone();
        let health =
            health::Writer::spawn(health_path(config), config.health.file_mode, move || content.json());
        let publisher = config.health.publisher_file.clone().map(|path| {
            let content = document.clone();
            health::Writer::spawn(path, config.health.file_mode, move || content.publisher())
        });
        let changed = [Some(&health), publisher.as_ref()].into_iter().flatten().map(health::Writer::changed);
        let task = tell(document.clone(), notifier.clone(), changed.collect());
        Self { health, publisher, task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    pub(super) async fn end(self) {
        drop(self.task);
        let publisher = async {
            if let Some(publisher) = self.publisher {
                publisher.stop().await;
            }
        };
        tokio::join!(self.health.stop(), publisher);
    }
}

/// Tells systemd and the health file how the cameras are, whenever that changes.
pub(super) async fn tell(document: Document, notifier: Notifier, changed: Vec<health::Changed>) {
    let Document { cameras, publishers, recordings, .. } = document;
    let mut recorded = recordings.changes();
    let mut list = cameras.watch();
    let mut last = String::new();
    loop {
        let present = cameras.all();
        let statuses: Vec<CameraStatus> = present.iter().map(|capture| capture.status()).collect();
        // The first camera is live or has definitely failed: whoever waits for the service may go on.
        let settled = |status: &CameraStatus| status.lifecycle.state != State::Starting;
        if statuses.first().is_none_or(|first| settled(first) && begun(first, &present[0])) {
            notifier.ready();
        }
        let words = words(&statuses);
        if words != last {
            notifier.status(&words);
            last = words;
        }
        changed.iter().for_each(health::Changed::notify);
        let any = any_change(present.iter().filter_map(|capture| capture.changes()));
        tokio::select! {
            () = any => {}
            () = publishers.changed() => {}
            _ = recorded.recv() => {}
            _ = list.changed() => {}
            () = tokio::time::sleep(STATUS_EVERY) => {}
        }
    }
}

/// Whether a camera has been tried, or is not to be tried before somebody watches.
pub(super) fn begun(status: &CameraStatus, capture: &crate::capture::Capture) -> bool {
    status.lifecycle.state != State::Idle
        || status.lifecycle.attempts > 0
        || capture.camera().idle == config::model::Idle::Close
}

/// All cameras in one line: `2 cameras: porch live, 25 fps; yard backing off: connection refused`.
pub(super) fn words(cameras: &[CameraStatus]) -> String {
    let camera = |status: &CameraStatus| match status.lifecycle.state {
        State::Live => format!("{} live, {:.0} fps", status.id, status.fps),
        State::Idle => format!("{} idle", status.id),
        state => {
            let error = status.lifecycle.last_error.as_deref().unwrap_or("no pictures yet");
            let state = format!("{state:?}");
            format!("{} {}: {error}", status.id, spaced(&state))
        }
    };
    let each: Vec<String> = cameras.iter().map(camera).collect();
    let noun = if cameras.len() == 1 { "camera" } else { "cameras" };
    format!("{} {noun}: {}", cameras.len(), each.join("; "))
}

/// `BackingOff` as `backing off`.
pub(super) fn spaced(state: &str) -> String {
    let mut words = String::new();
    for c in state.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}
