//! Notifications: what changes is told to who subscribed. The watching is that of the lifecycles, so a change
//! is told as soon as supervision knows of it; figures that always move are no news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::engine::notification;
use super::methods::cameras::{CameraUpdate, Essence};
use super::methods::files::RecordingUpdate;
use super::methods::printers::PrinterUpdate;
use super::{Rpc, Topic};
use crate::printers::Entry;
use crate::printers::state::PrinterState;
use crate::supervision::any_change;

/// Looks are at least this far apart: what flaps is told as it is then.
const SPACING: Duration = Duration::from_millis(20);
/// How often it is looked at for what tells nobody that it changed: the size of the pictures.
const LOOK: Duration = Duration::from_secs(1);

/// How often printers are looked at while somebody wants to be told: they say something once a second each.
const PRINTERS_LOOK: Duration = Duration::from_millis(250);

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

/// Tells `printer_status_update` until it is dropped.
pub async fn printers(rpc: &Rpc) {
    let topic = Topic::PrinterStatusUpdate;
    let tell = |entry: &Entry, present| {
        let id = entry.printer.id.to_string();
        rpc.publish(topic, &id, |_| notification(topic.name(), &PrinterUpdate::of(entry, present)).ok());
    };
    let mut told: BTreeMap<i64, (Entry, Arc<PrinterState>)> = BTreeMap::new();
    loop {
        let list = rpc.house().printers.list();
        let now: BTreeMap<i64, _> =
            list.iter().map(|entry| (entry.printer.id, (entry.clone(), entry.state()))).collect();
        if rpc.subscribers(topic) == 0 {
            // What was true then is not told later.
            told = now;
            sleep(LOOK).await;
            continue;
        }
        for (id, (entry, state)) in &now {
            let same = told.get(id).is_some_and(|(old, before)| {
                Arc::ptr_eq(&old.printer, &entry.printer) && Arc::ptr_eq(before, state)
            });
            if !same {
                tell(entry, true);
            }
        }
        for (entry, _) in told.iter().filter(|(id, _)| !now.contains_key(*id)).map(|(_, entry)| entry) {
            tell(entry, false);
        }
        told = now;
        sleep(PRINTERS_LOOK).await;
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
