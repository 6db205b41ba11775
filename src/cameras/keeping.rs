//! Which captures there are: those of the configuration, then those that were discovered. Devices are given to
//! them when they come and taken from them when they go; a camera stays for as long as it is known.
//!
//! One owner behind a lock in [`super::Cameras`]. Nothing here waits for a device or a disk: what is to be kept is
//! written when the list has changed and the lock is free, and what cannot be is said and gone on without.

pub(super) mod added;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::aliases::{Aliases, alias};
use super::controls;
use super::identity::{self, Device, Known, Opens};
use super::pictures::{Memory, Wishes};
use super::place::{self, Place, Situation};
use super::roster::News;
use super::settings::Settings;
use super::{Entry, Identity, Presence};
use crate::capture::{Capture, Means, Origin};
use crate::config::Difference;
use crate::config::model::{Camera, Config, Discovery, Source};
use crate::config::transforms::Transforms;
use crate::storage::cameras::KeptCamera;
use crate::storage::{Database, StorageError};
use crate::telemetry;

#[derive(Debug)]
pub struct Keeping {
    means: Option<Means>,
    settings: Discovery,
    /// Whether devices are told of: `auto` waits for them instead of looking for itself then.
    discovering: bool,
    configured: Vec<Camera>,
    /// Everyone who was ever here, configured or not.
    known: Vec<Known>,
    /// Those who are cameras of their own.
    own: BTreeSet<String>,
    /// What other rooms brought; see [`added`].
    added: Vec<Camera>,
    /// Who is going to be added: their aliases wait for them.
    expected: BTreeSet<String>,
    /// What was changed about the own ones by API.
    changed: BTreeMap<String, Settings>,
    /// Devices that are here, by their node.
    here: BTreeMap<String, Here>,
    /// libcamera's names as they came, which is its order: a configuration may count them.
    sensors: Vec<String>,
    /// Where each camera that comes and goes is now.
    located: BTreeMap<String, watch::Sender<Option<Source>>>,
    aliases: Aliases,
    /// What was set and is set again.
    pub controls: BTreeMap<String, BTreeMap<String, i64>>,
    /// What is done to pictures by API.
    pub pictures: Wishes,
    pub database: Option<Database>,
    /// What is to be written when the list has changed.
    due: Vec<Due>,
    aliases_due: bool,
}

#[derive(Debug)]
struct Here {
    id: String,
    device: Device,
    place: Place,
}

#[derive(Debug)]
enum Due {
    Keep(String),
    Forget(String),
    /// What is done to its pictures: only when somebody says so.
    Uncover(String),
}

type Shown = (Vec<Capture>, BTreeMap<String, Entry>);

impl Keeping {
    pub fn new(configured: Vec<Camera>, settings: Discovery, discovering: bool) -> Self {
        Self {
            means: None,
            settings,
            discovering,
            configured,
            known: Vec::new(),
            own: BTreeSet::new(),
            added: Vec::new(),
            expected: BTreeSet::new(),
            changed: BTreeMap::new(),
            here: BTreeMap::new(),
            sensors: Vec::new(),
            located: BTreeMap::new(),
            aliases: Aliases::default(),
            controls: BTreeMap::new(),
            pictures: Wishes::none(),
            database: None,
            due: Vec::new(),
            aliases_due: false,
        }
    }

    /// Who is going to be added soon.
    pub fn expect(&mut self, ids: impl IntoIterator<Item = String>) {
        self.expected.extend(ids);
    }

    /// Reads what is kept from earlier runs.
    pub async fn remember(&mut self, memory: Memory) {
        let database = match memory {
            Memory::Database(database) => database,
            Memory::Nothing => return,
            Memory::Unreadable(words) => {
                self.pictures = Wishes::unknown(&words);
                return;
            }
        };
        self.pictures = match database.transforms().await {
            Ok(kept) => Wishes::kept(kept),
            Err(error) => Wishes::unknown(&error.to_string()),
        };
        let read = async {
            let cameras = database.cameras().await?;
            Ok::<_, StorageError>((cameras, database.aliases().await?, database.controls().await?))
        };
        match read.await {
            Ok((cameras, aliases, controls)) => {
                self.aliases = Aliases::new(aliases);
                self.controls = controls;
                for KeptCamera { id, name, model, serial, port, settings } in cameras {
                    self.changed.insert(id.clone(), Settings::of_text(&settings));
                    // Without discovery nobody would tell that they are back.
                    if self.discovering {
                        self.own.insert(id.clone());
                    }
                    self.known.push(Known { id, name, model, serial, port });
                }
            }
            Err(error) => tracing::error!("cameras of earlier runs are not known: {error}"),
        }
        self.database = Some(database);
    }

    /// Starts everyone who is known.
    pub fn begin(&mut self, means: &Means) -> Shown {
        self.means = Some(means.clone());
        if !self.discovering {
            // Nobody is going to tell when they come.
            for camera in &self.configured {
                if let (Source::V4l2(v4l2), Some(values)) = (&camera.source, self.controls.get(&camera.id)) {
                    controls::set_again(&camera.id, v4l2.device.clone(), values);
                }
            }
        }
        let list = self.list(&[]);
        (list, self.entries())
    }

    /// A device came or went. `None`: it makes no difference to the list or what is known of it.
    pub fn news(&mut self, news: News, present: &[Capture]) -> Option<Shown> {
        match news {
            News::Arrived(key, device) => self.arrived(key, device, present)?,
            News::Left(key) => self.left(&key, present)?,
        }
        let list = self.list(present);
        Some((list, self.entries()))
    }

    fn arrived(&mut self, key: String, device: Device, present: &[Capture]) -> Option<()> {
        let is_here = |id: &str| self.here.values().any(|here| here.id == id);
        let (id, new) = match identity::identify(&device, &self.known, is_here) {
            identity::Identity::Known(id) => (id, false),
            identity::Identity::New(known) => {
                let id = known.id.clone();
                self.known.push(known);
                (id, true)
            }
        };
        if let Some(known) = self.known.iter_mut().find(|known| known.id == id) {
            known.port.clone_from(&device.port);
        }
        self.sensors = self.libcamera(&device);
        let place = self.place(&id, &device, None);
        self.tell(&id, &device, &place, new);
        self.here.insert(key, Here { id: id.clone(), device: device.clone(), place: place.clone() });
        let was_own = self.own.contains(&id);
        self.settle_in(&id, &device, &place, present);
        (place != Place::LeftOut || was_own).then_some(())
    }

    fn left(&mut self, key: &str, present: &[Capture]) -> Option<()> {
        let Here { id, device, place } = self.here.remove(key)?;
        self.sensors.retain(|name| name != key);
        let name = &device.name;
        match &place {
            Place::LeftOut => return None,
            Place::Configured(camera) => {
                tracing::info!("camera {camera}: {name} was unplugged");
                return Some(());
            }
            Place::Adopted(camera) => tracing::info!("camera {camera}: {name} was unplugged"),
            Place::Own => tracing::info!("camera {id}: {name} was unplugged"),
        }
        if self.here.values().any(|here| here.id == id && here.place == place) {
            // It is back already, on another number.
            return Some(());
        }
        let camera = if let Place::Adopted(camera) = &place { camera } else { &id };
        if let Some(located) = self.located.get(camera) {
            located.send_replace(None);
        }
        // What is left of the pipeline ends now, and with it the hold on the device's number.
        if let Some(capture) = present.iter().find(|capture| capture.id() == camera) {
            capture.restart();
        }
        Some(())
    }

    /// `adopter`: the camera of type `auto` that has had it up to now.
    fn place(&self, id: &str, device: &Device, adopter: Option<&str>) -> Place {
        let libcamera = self.libcamera(device);
        let waits = |camera: &&Camera| {
            let taken = |here: &Here| here.place == Place::Adopted(camera.id.clone());
            self.comes_and_goes(camera) && !self.here.values().any(taken)
        };
        let mut waiting: Vec<&str> = self.configured.iter().filter(waits).map(|c| c.id.as_str()).collect();
        // The one that has had it first, then as they are written down.
        waiting.sort_by_key(|camera| adopter != Some(camera));
        let place = place::place(
            id,
            device,
            &Situation {
                configured: &self.configured,
                settings: &self.settings,
                libcamera: &libcamera,
                waiting: waiting.first().copied(),
                own: self.own.contains(id),
            },
        );
        let mut others = self.configured.iter().chain(&self.added);
        if place == Place::Own && others.any(|camera| camera.id == id) {
            tracing::warn!(
                "{} would be camera {id}, but another camera has that id: it is left out",
                device.name
            );
            return Place::LeftOut;
        }
        place
    }

    /// libcamera's names in its order, this device's among them.
    fn libcamera(&self, device: &Device) -> Vec<String> {
        let mut names = self.sensors.clone();
        if let Opens::Libcamera(name) = &device.opens
            && !names.contains(name)
        {
            names.push(name.clone());
        }
        names
    }

    fn tell(&self, id: &str, device: &Device, place: &Place, new: bool) {
        let Device { name, opens, port, .. } = device;
        let node = node(opens);
        match place {
            Place::Configured(camera) | Place::Adopted(camera) => {
                tracing::info!("camera {camera}: {name} is plugged in at {node}");
            }
            Place::Own if new => tracing::info!("camera {id}: {name} was found at {node}, port {port}"),
            Place::Own => tracing::info!("camera {id}: {name} is back at {node}, port {port}"),
            Place::LeftOut => {
                tracing::info!("{name} at {node} is left out: discovery.allow and discovery.deny")
            }
        }
    }

    /// Gives a device to its camera.
    fn settle_in(&mut self, id: &str, device: &Device, place: &Place, present: &[Capture]) {
        let camera = match place {
            Place::LeftOut => {
                if self.own.remove(id) {
                    self.due.push(Due::Forget(id.to_owned()));
                }
                return;
            }
            Place::Configured(camera) => camera.clone(),
            Place::Adopted(camera) => camera.clone(),
            Place::Own => id.to_owned(),
        };
        match place {
            Place::Own => {
                self.own.insert(id.to_owned());
                self.due.push(Due::Keep(id.to_owned()));
            }
            _ if self.own.remove(id) => self.due.push(Due::Forget(id.to_owned())),
            _ => {}
        }
        if !matches!(place, Place::Configured(_)) {
            self.locate(&camera).send_replace(Some(place::source(device)));
        }
        if let (Opens::V4l2(path), Some(values)) = (&device.opens, self.controls.get(&camera)) {
            controls::set_again(&camera, path.clone(), values);
        }
        // Whoever waits for it is tried now; what runs already is left alone.
        if let Some(capture) = present.iter().find(|capture| capture.id() == camera) {
            capture.poke();
        }
    }

    fn locate(&mut self, camera: &str) -> &watch::Sender<Option<Source>> {
        self.located.entry(camera.to_owned()).or_insert_with(|| watch::Sender::new(None))
    }

    /// Brings everything to another configuration.
    pub async fn reload(
        &mut self,
        difference: &Difference,
        config: &Config,
        means: &Means,
        present: &[Capture],
    ) -> Shown {
        self.means = Some(means.clone());
        let fragments = difference.live.contains(&"pipelines");
        self.configured.clone_from(&config.cameras);
        self.settings.clone_from(&config.discovery);
        // Everyone looks for a place again: who was adopted first, so that nobody else takes the adopter.
        let here = std::mem::take(&mut self.here);
        let adopted = |here: &Here| match &here.place {
            Place::Adopted(id) => self.configured.iter().any(|it| it.id == *id && self.comes_and_goes(it)),
            _ => false,
        };
        let (first, then): (Vec<_>, Vec<_>) = here.into_iter().partition(|(_, here)| adopted(here));
        let sources = |located: &BTreeMap<String, watch::Sender<Option<Source>>>| -> BTreeMap<_, _> {
            located.iter().map(|(id, located)| (id.clone(), located.borrow().clone())).collect()
        };
        let before = sources(&self.located);
        let mut gone: BTreeSet<String> = self.located.keys().cloned().collect();
        for (key, Here { id, device, place: had }) in first.into_iter().chain(then) {
            let adopter = if let Place::Adopted(camera) = &had { Some(camera.as_str()) } else { None };
            let place = self.place(&id, &device, adopter);
            self.here.insert(key, Here { id: id.clone(), device: device.clone(), place: place.clone() });
            match &place {
                Place::Adopted(camera) => gone.remove(camera),
                Place::Own => gone.remove(&id),
                _ => false,
            };
            if place != had {
                self.settle_in(&id, &device, &place, &[]);
            }
        }
        for camera in gone {
            if let Some(located) = self.located.get(&camera) {
                located.send_replace(None);
            }
        }
        let stays = |capture: &&Capture| {
            let wanted = self.wanted().any(|(camera, _)| *capture.camera() == camera);
            let same = difference.unchanged.iter().any(|id| id == capture.id());
            let own = !config.cameras.iter().any(|camera| camera.id == capture.id());
            wanted && (same || own) && !fragments
        };
        let kept: Vec<Capture> = present.iter().filter(stays).cloned().collect();
        // Where it is opened is looked up when an attempt begins: what was taken from it is given up now.
        let after = sources(&self.located);
        let moved = |capture: &&Capture| before.get(capture.id()) != after.get(capture.id());
        kept.iter().filter(moved).for_each(Capture::restart);
        let ending = present.iter().filter(|capture| !kept.iter().any(|kept| kept.same(capture)));
        futures_util::future::join_all(ending.map(Capture::shutdown)).await;
        let list = self.list(&kept);
        (list, self.entries())
    }

    /// Forgets a camera that is away.
    pub async fn forget(&mut self, id: &str, present: &[Capture]) -> Option<Shown> {
        if !self.is_own(id) || self.here.values().any(|here| here.id == id) {
            return None;
        }
        self.own.remove(id);
        self.known.retain(|known| known.id != id);
        self.controls.remove(id);
        self.pictures.forget(id);
        self.changed.remove(id);
        self.located.remove(id);
        self.due.extend([Due::Forget(id.to_owned()), Due::Uncover(id.to_owned())]);
        if let Some(capture) = present.iter().find(|capture| capture.id() == id) {
            capture.shutdown().await;
        }
        let list = self.list(present);
        Some((list, self.entries()))
    }

    /// Whether a camera of the configuration takes what is plugged in.
    fn comes_and_goes(&self, camera: &Camera) -> bool {
        self.discovering && matches!(camera.source, Source::Auto {})
    }

    /// Whether it is a camera of its own: who is written down under that id is not.
    fn is_own(&self, id: &str) -> bool {
        self.own.contains(id) && !self.configured.iter().any(|camera| camera.id == id)
    }

    /// The cameras that there are to be, and whether each comes and goes.
    fn wanted(&self) -> impl Iterator<Item = (Camera, bool)> {
        let configured = self.configured.iter().map(|camera| (camera.clone(), self.comes_and_goes(camera)));
        let own = self.known.iter().filter(|known| self.is_own(&known.id)).map(|known| {
            let mut camera = self.settings.camera(&known.id, &known.name, place::kind(known));
            if let Some(changed) = self.changed.get(&known.id) {
                changed.apply(&mut camera);
            }
            (camera, true)
        });
        let mut own: Vec<_> = own.collect();
        own.sort_by_key(|(camera, _)| self.aliases.number(&camera.id).unwrap_or(u32::MAX));
        configured.chain(own).chain(self.visible().map(|camera| (camera.clone(), false)))
    }

    /// Those of the expected who have an alias, which is theirs while they are not here.
    fn waiting(&self) -> impl Iterator<Item = &str> {
        self.expected.iter().map(String::as_str).filter(|id| self.aliases.number(id).is_some())
    }

    /// The captures of those; who is in `present` goes on.
    fn list(&mut self, present: &[Capture]) -> Vec<Capture> {
        let here = self.wanted().map(|(camera, _)| camera.id);
        let ids: Vec<String> = here.chain(self.waiting().map(ToOwned::to_owned)).collect();
        self.aliases_due |= self.aliases.give(ids.iter().map(String::as_str));
        let wanted: Vec<_> = self.wanted().collect();
        let Some(means) = self.means.clone() else { return present.to_vec() };
        let start = |(camera, comes_and_goes): (Camera, bool)| {
            if let Some(capture) = present.iter().find(|capture| capture.id() == camera.id) {
                return capture.clone();
            }
            let located = comes_and_goes.then(|| self.locate(&camera.id).subscribe());
            let told = self.pictures.told(&camera);
            if told.origin == Origin::Api && Transforms::of(&camera).any() {
                tracing::warn!(
                    "camera {}: what was set by API is done to its pictures, not what the configuration says; DELETE \
                     /api/cameras/{}/transforms goes back to that",
                    camera.id,
                    camera.id
                );
            }
            Capture::start_told(camera, located, told, &means)
        };
        wanted.into_iter().map(start).collect()
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry = |(camera, _): (Camera, bool)| {
            let own = self.is_own(&camera.id);
            let is_mine = |here: &&Here| match &here.place {
                Place::Configured(id) | Place::Adopted(id) => *id == camera.id,
                Place::Own => own && here.id == camera.id,
                Place::LeftOut => false,
            };
            let here = self.here.values().find(is_mine);
            let id = here.map(|here| here.id.as_str()).or(own.then_some(camera.id.as_str()));
            let known = id.and_then(|id| self.known.iter().find(|known| known.id == id));
            let local = matches!(camera.source, Source::V4l2(_) | Source::Libcamera(_) | Source::Auto {});
            let presence = match here {
                Some(_) => Some(Presence::Present),
                None => (self.discovering && local).then_some(Presence::Away),
            };
            let entry = Entry {
                alias: alias(self.aliases.number(&camera.id).unwrap_or_default()),
                discovered: own,
                presence,
                device: here.map(|here| node(&here.device.opens)),
                identity: known.map(|known| Identity {
                    id: known.id.clone(),
                    name: known.name.clone(),
                    model: known.model.clone(),
                    serial: known.serial.clone(),
                    port: known.port.clone(),
                }),
            };
            (camera.id, entry)
        };
        self.wanted().map(entry).collect()
    }

    fn kept(&self, known: &Known) -> KeptCamera {
        let settings = self.changed.get(&known.id).cloned().unwrap_or_default().text();
        let Known { id, name, model, serial, port } = known.clone();
        KeptCamera { id, name, model, serial, port, settings }
    }

    /// Changes the settings of a discovered camera, and starts it anew with them. `None`: there is no such
    /// camera.
    ///
    /// # Errors
    /// In words: what is not possible. Nothing has changed then.
    pub async fn change(
        &mut self,
        id: &str,
        change: &Map<String, Value>,
        present: &[Capture],
    ) -> Result<Option<Shown>, String> {
        if !self.is_own(id) {
            return Ok(None);
        }
        let before = self.changed.get(id).cloned().unwrap_or_default();
        self.changed.insert(id.to_owned(), before.merged(change)?);
        self.due.push(Due::Keep(id.to_owned()));
        let wanted = self.wanted().find(|(camera, _)| camera.id == id);
        let other = |capture: &Capture| {
            capture.id() == id && wanted.as_ref().is_some_and(|(camera, _)| capture.camera() != camera)
        };
        let ending = present.iter().filter(|capture| other(capture));
        futures_util::future::join_all(ending.map(Capture::shutdown)).await;
        let kept: Vec<Capture> = present.iter().filter(|capture| !other(capture)).cloned().collect();
        let list = self.list(&kept);
        Ok(Some((list, self.entries())))
    }

    pub fn is_unwritten(&self) -> bool {
        self.aliases_due || !self.due.is_empty()
    }

    /// What has changed since this was called last; `None`: nothing, or it is not kept.
    pub fn take_unwritten(&mut self) -> Option<Unwritten> {
        let written = !self.is_unwritten();
        let due = std::mem::take(&mut self.due);
        let aliases = std::mem::take(&mut self.aliases_due);
        let database = self.database.clone().filter(|_| !written)?;
        let row = |due| match due {
            Due::Keep(id) => {
                let known = self.known.iter().find(|known| known.id == id)?;
                Some(Row::Keep(self.kept(known)))
            }
            Due::Forget(id) => Some(Row::Forget(id)),
            // What was set since then is nothing that was forgotten.
            Due::Uncover(id) => (!self.pictures.has(&id)).then_some(Row::Uncover(id)),
        };
        let rows = due.into_iter().filter_map(row).collect();
        let aliases = aliases.then(|| self.aliases.all().clone());
        Some(Unwritten { database, rows, aliases })
    }
}

/// Changes on their way to the database.
#[derive(Debug)]
pub struct Unwritten {
    database: Database,
    rows: Vec<Row>,
    aliases: Option<BTreeMap<String, u32>>,
}

#[derive(Debug)]
enum Row {
    Keep(KeptCamera),
    Forget(String),
    Uncover(String),
}

impl Unwritten {
    /// Writes them. What cannot be written is said; the cameras go on.
    pub async fn write(self) {
        let Self { database, rows, aliases } = self;
        let now = telemetry::timestamp(SystemTime::now());
        for row in rows {
            let written = match &row {
                Row::Keep(camera) => database.keep_camera(camera, &now).await,
                Row::Forget(id) => database.forget_camera(id).await,
                Row::Uncover(id) => database.keep_transforms(id, None).await,
            };
            if let Err(error) = written {
                tracing::error!("{error}: a camera is not remembered after a restart");
            }
        }
        if let Some(aliases) = aliases
            && let Err(error) = database.keep_aliases(&aliases).await
        {
            tracing::error!("{error}: aliases may be others after a restart");
        }
    }
}

fn node(opens: &Opens) -> String {
    match opens {
        Opens::V4l2(path) => path.display().to_string(),
        Opens::Libcamera(name) => name.clone(),
    }
}
