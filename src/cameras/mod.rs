//! The set of cameras: who is here, in which order, under which id and alias; and its change when the
//! configuration changes or a device comes or goes.
//!
//! ```text
//! udev ─► roster (nodes → devices) ─► identity (who is it?) ─► place (whose is it?) ─► keeping ─► list
//! ```
//! [`identity`], [`roster`], [`place`] and [`aliases`] are pure; [`keeping`] puts them together and is the only
//! one that starts and ends captures; [`udev`] is where the news come from, [`discovery`] brings them in.
//! [`controls`] and [`pictures`] are what is set by API and outlives a restart.

pub mod aliases;
pub mod controls;
pub mod discovery;
pub mod identity;
mod keeping;
pub mod pictures;
mod place;
pub mod roster;
pub mod scan;
pub mod settings;
pub mod udev;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex, watch};
use utoipa::ToSchema;

use crate::capture::{Capture, Means};
use crate::config::model::{Camera, Config, Source};
use crate::config::{Difference, model};
use keeping::Keeping;
pub use keeping::added::Taken;
use pictures::Memory;

/// All cameras, first one first. Cloning it clones a reference; changes swap the list.
#[derive(Clone, Debug)]
pub struct Cameras(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    list: watch::Sender<Arc<[Capture]>>,
    entries: watch::Sender<Arc<BTreeMap<String, Entry>>>,
    /// One change at a time: a reload waits for a device that is being taken in, and the other way round.
    keeping: Mutex<Keeping>,
    /// One writing of what has changed at a time.
    writing: Mutex<()>,
    /// One setting of controls at a time, so that what is kept is what was set last.
    setting: Mutex<()>,
    /// The same for what is done to pictures.
    changing_pictures: Mutex<()>,
    looking: Arc<tokio::sync::Semaphore>,
}

/// What is known of a camera beside its pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Entry {
    /// A short name, the camera's for as long as it is known: `camera0`.
    pub alias: String,
    /// Found by itself, not written down.
    pub discovered: bool,
    /// Whether its device is plugged in; `null` when that is not known, as for cameras on the network.
    pub presence: Option<Presence>,
    /// Where it is plugged in now: `/dev/video0`, or libcamera's name.
    pub device: Option<String>,
    pub identity: Option<Identity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Present,
    /// Unplugged. It comes back with its name and its settings.
    Away,
}

/// By what a device is known again; see docs/cameras.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CameraIdentity)]
pub struct Identity {
    pub id: String,
    /// As the device calls itself.
    pub name: String,
    /// `046d:082d` on USB.
    pub model: String,
    /// `null` without one that tells it from others.
    pub serial: Option<String>,
    /// Where it is plugged in, or was last.
    pub port: String,
}

impl Cameras {
    /// These and no others, for services without a configuration.
    pub fn new(list: Vec<Capture>) -> Self {
        let cameras = Self::of(Keeping::new(Vec::new(), model::Discovery::default(), false));
        let entry = |(place, capture): (usize, &Capture)| {
            (capture.id().to_owned(), Entry { alias: format!("camera{place}"), ..Entry::default() })
        };
        let entries = list.iter().enumerate().map(entry).collect();
        cameras.show(list, entries);
        cameras
    }

    /// Starts every camera of a configuration, and nothing else.
    pub fn start(cameras: &[Camera], means: &Means) -> Self {
        let mut keeping = Keeping::new(cameras.to_vec(), model::Discovery::default(), false);
        let (list, entries) = keeping.begin(means);
        let cameras = Self::of(keeping);
        cameras.show(list, entries);
        cameras
    }

    /// Starts every camera of a configuration and those that were seen before. `discovering` says that
    /// [`discovery::run`] is going to tell of devices; `expected` are the ids of those that are going to be
    /// [added](Cameras::add), whose aliases wait for them.
    pub async fn open(
        config: &Config,
        means: &Means,
        memory: Memory,
        discovering: bool,
        expected: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut keeping = Keeping::new(config.cameras.clone(), config.discovery.clone(), discovering);
        keeping.expect(expected);
        keeping.remember(memory).await;
        let (list, entries) = keeping.begin(means);
        if let Some(unwritten) = keeping.take_unwritten() {
            unwritten.write().await;
        }
        let cameras = Self::of(keeping);
        cameras.show(list, entries);
        cameras
    }

    fn of(keeping: Keeping) -> Self {
        Self(Arc::new(Inner {
            list: watch::Sender::new(Arc::from([])),
            entries: watch::Sender::default(),
            keeping: Mutex::new(keeping),
            writing: Mutex::default(),
            setting: Mutex::default(),
            changing_pictures: Mutex::default(),
            looking: Arc::new(tokio::sync::Semaphore::new(controls::LOOKS)),
        }))
    }

    fn show(&self, list: Vec<Capture>, entries: BTreeMap<String, Entry>) {
        // Who wakes up for the list finds the entries that belong to it.
        self.0.entries.send_replace(Arc::new(entries));
        self.0.list.send_replace(list.into());
    }

    pub fn all(&self) -> Arc<[Capture]> {
        Arc::clone(&self.0.list.borrow())
    }

    /// The list and its changes, for those who outlive them. What is known of a camera changes with it.
    pub fn watch(&self) -> watch::Receiver<Arc<[Capture]>> {
        self.0.list.subscribe()
    }

    /// The camera that paths without an id mean.
    pub fn first(&self) -> Option<Capture> {
        self.0.list.borrow().first().cloned()
    }

    pub fn get(&self, id: &str) -> Option<Capture> {
        self.0.list.borrow().iter().find(|capture| capture.id() == id).cloned()
    }

    /// The camera of this id, or else of this alias.
    pub fn named(&self, name: &str) -> Option<Capture> {
        self.get(name).or_else(|| {
            let entries = Arc::clone(&self.0.entries.borrow());
            let (id, _) = entries.iter().find(|(_, entry)| entry.alias == name)?;
            self.get(id)
        })
    }

    /// What is known of a camera beside its pictures.
    pub fn entry(&self, id: &str) -> Option<Entry> {
        self.0.entries.borrow().get(id).cloned()
    }

    /// The V4L2 device of a camera, where it has one that is plugged in as far as is known.
    fn device(&self, id: &str) -> Option<PathBuf> {
        let capture = self.get(id)?;
        match self.entry(id).and_then(|entry| entry.device) {
            Some(device) => device
                .starts_with('/')
                .then(|| device.into())
                .filter(|path: &PathBuf| path.starts_with("/dev")),
            None => match &capture.camera().source {
                Source::V4l2(v4l2) if capture.is_fixed() => Some(v4l2.device.clone()),
                _ => None,
            },
        }
    }

    /// Brings the set to a new configuration: ends what is gone or changed, starts what is new or changed,
    /// and leaves the rest and its viewers alone. A device is given up before it is opened anew.
    pub async fn apply(&self, difference: &Difference, config: &Config, means: &Means) {
        let mut keeping = self.0.keeping.lock().await;
        let (list, entries) = keeping.reload(difference, config, means, &self.all()).await;
        self.show(list, entries);
        drop(keeping);
        self.persist().await;
    }

    /// Ends all; returns when each is gone or given up, and what there was to keep is written.
    pub async fn shutdown(&self) {
        let list = self.all();
        let ending = futures_util::future::join_all(list.iter().map(Capture::shutdown));
        tokio::join!(ending, self.persist());
    }
}
