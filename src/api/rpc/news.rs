//! Notifications: what changes is told to who subscribed. The watching is that of the lifecycles, so a change
//! is told as soon as supervision knows of it; figures that always move are no news.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::engine::notification;
use super::methods::cameras::{CameraUpdate, Essence};
use super::methods::files::RecordingUpdate;
use super::{Rpc, Topic};
use crate::supervision::any_change;

/// Looks are at least this far apart: what flaps is told as it is then.
const SPACING: Duration = Duration::from_millis(20);
/// How often it is looked at for what tells nobody that it changed: the size of the pictures.
const LOOK: Duration = Duration::from_secs(1);

/// Tells `camera_status_update` until it is dropped.
pub async fn cameras(rpc: &Rpc) {
    let control = &rpc.house().control;
    let mut told: BTreeMap<String, Essence> = essences(rpc);
    let mut list = control.watch();
    loop {
        list.mark_unchanged();
        let present = control.cameras();
        let changed = any_change(present.iter().filter_map(|camera| camera.capture.changes()));
        let now = essences(rpc);
        for (id, essence) in &now {
            if told.get(id) != Some(essence) {
                tell(rpc, id, essence);
            }
        }
        for (id, essence) in told.iter().filter(|(id, _)| !now.contains_key(*id)) {
            tell(rpc, id, &essence.gone());
        }
        told = now;
        sleep(SPACING).await;
        let any = async {
            tokio::select! {
                () = changed => {}
                // The set of cameras lives as long as the service.
                _ = list.changed() => {}
            }
        };
        let _ = timeout(LOOK, any).await;
    }
}

/// Tells `recording_status_update` until it is dropped.
pub async fn recordings(rpc: &Rpc) {
    let mut changes = rpc.house().recordings.changes();
    loop {
        let change = match changes.recv().await {
            Ok(change) => change,
            // Some were missed; the next ones say how things are.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let camera = rpc.house().control.camera(&change.camera);
        let update = RecordingUpdate {
            device: camera.map_or_else(|_| change.camera.clone(), |camera| camera.alias),
            id: change.camera,
            status: change.status,
            filename: change.filename,
            duration: change.duration,
            message: change.message,
        };
        let topic = Topic::RecordingStatusUpdate;
        rpc.publish(topic, &update.id, |_| notification(topic.name(), &update).ok());
    }
}

fn essences(rpc: &Rpc) -> BTreeMap<String, Essence> {
    let cameras = rpc.house().control.cameras();
    cameras.iter().map(|camera| (camera.capture.id().to_owned(), Essence::of(rpc, camera))).collect()
}

fn tell(rpc: &Rpc, id: &str, essence: &Essence) {
    let topic = Topic::CameraStatusUpdate;
    rpc.publish(topic, id, |base| {
        let written = notification(topic.name(), &CameraUpdate::of(essence, base));
        written.inspect_err(|error| tracing::error!(%error, "a notification could not be written")).ok()
    });
}
