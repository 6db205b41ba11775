//! Printers: Bambu Lab machines in LAN mode.
//!
//! [`Printers`] is the registry: it keeps them in the database and has one [`worker`] for each, which owns the
//! printer's link. One change at a time, each to its end; a change restarts that printer's worker and
//! touches no other. [`printer`] is what is set of one, checked; [`view`] how API, pages and events show one;
//! [`trial`] tries a printer before it is added; [`vault`] keeps access codes; [`ssdp`] finds printers on the
//! network. What can go wrong: a database or key file that cannot be read, which each answer or printer says.
//!
//! [`link`] is the connection to one, supervised: [`session`] carries an attempt over [`mqtt`], [`reducer`]
//! decides, out of what [`report`] reads, [`merge`] puts together and [`reading`] makes a [`state`] of.
//! [`models`] and [`hms`] are what is known of the machines, [`command`] what they may be asked.
//!
//! [`reach`] says where printers may be.
//!
//! [`camera`] says which camera a printer has, [`pictures`] puts it among the cameras; [`hooks`] says what a
//! print is an occasion for, [`recording`] does it.

pub mod camera;
pub mod command;
mod error;
pub mod hms;
pub mod hooks;
pub mod link;
mod merge;
pub mod models;
pub mod mqtt;
mod pictures;
pub mod printer;
mod reach;
mod reading;
mod recording;
pub mod reducer;
mod report;
mod session;
pub mod ssdp;
pub mod state;
pub mod trial;
mod vault;
pub mod view;
mod worker;

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::cameras::Cameras;
use crate::capture;
use crate::config::{Config, Secret};
use crate::pipelines::Library;
use crate::record::Recordings;
use crate::storage::{Database, KeptPrinter};
use crate::supervision::{Snapshot, State, Timing, Vitals};
use crate::tls::Fingerprint;
pub use camera::ids as camera_ids;
pub use command::{Command, CommandError};
pub use error::PrinterError;
pub use link::{Link, LinkSettings};
pub use models::Model;
pub use printer::{FieldError, Printer, Settings};
use ssdp::{Announcement, Search};
pub use state::PrinterState;
use trial::Step;
use vault::Vault;
use worker::{Lasting, Worker};

/// More than one house has; each is a connection and a task.
const MOST: usize = 200;
/// Connection tests at a time.
const TRIALS: usize = 2;

/// What printers work with. Cloning it clones references.
#[derive(Clone, Debug)]
pub struct Means {
    pub config: watch::Receiver<Arc<Config>>,
    pub vitals: Vitals,
    pub cameras: Cameras,
    pub recordings: Recordings,
    /// For a camera that is tried.
    pub capture: capture::Means,
}

impl Means {
    /// Of a house that has nothing else: nobody watches its cameras, and nothing is recorded.
    pub fn alone(config: watch::Receiver<Arc<Config>>) -> Self {
        let cameras = Cameras::new(Vec::new());
        let recordings = Recordings::none(cameras.watch());
        let vitals = Vitals::new(1);
        let capture = capture::Means {
            library: Arc::new(Library::embedded()),
            timing: Timing::default(),
            vitals: vitals.clone(),
            graphs: None,
            linger: capture::LINGER,
        };
        Self { config, vitals, cameras, recordings, capture }
    }
}

/// Before anything was heard of it.
fn untold() -> watch::Sender<Arc<PrinterState>> {
    watch::Sender::new(Arc::new(PrinterState { stale: true, ..PrinterState::default() }))
}

/// The registry. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Printers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Result<Database, String>,
    vault: Vault,
    means: Means,
    list: watch::Sender<Arc<[Entry]>>,
    /// One change at a time.
    changing: Mutex<()>,
    trials: Semaphore,
    search: Search,
}

/// A printer of the registry as it is now. Cloning it clones references.
#[derive(Clone, Debug)]
pub struct Entry {
    pub printer: Arc<Printer>,
    /// Why its access code is not known; nobody connects then.
    pub locked: Option<String>,
    /// Cancelled when it is deleted.
    pub gone: CancellationToken,
    /// Its state, whichever worker it has.
    told: watch::Sender<Arc<PrinterState>>,
    lasting: Lasting,
    kept: Arc<KeptPrinter>,
    worker: Worker,
}

impl Entry {
    pub fn state(&self) -> Arc<PrinterState> {
        Arc::clone(&self.told.borrow())
    }

    /// Its state and its changes, until it is deleted: see [`Entry::gone`].
    pub fn watch(&self) -> watch::Receiver<Arc<PrinterState>> {
        self.told.subscribe()
    }

    /// How its link is; `None` when its access code is not known.
    pub fn lifecycle(&self) -> Option<Snapshot> {
        self.worker.lifecycle()
    }

    /// Its camera's id among the cameras, or why it has none.
    pub fn camera(&self) -> Result<String, String> {
        match &self.locked {
            Some(locked) => Err(locked.clone()),
            None => self.worker.camera(),
        }
    }

    /// The certificate that it shows in place of the trusted one.
    pub fn offered(&self) -> Option<Fingerprint> {
        self.worker.offered()
    }
}

impl Printers {
    /// Reads the printers that are kept and starts a worker for each. Without a database there are none, and
    /// every change says why. Call it inside the runtime.
    pub async fn open(database: Result<Database, String>, means: Means) -> Self {
        let key_file = means.config.borrow().printers.key_file.clone();
        let vault = tokio::task::spawn_blocking(move || Vault::open(key_file.as_deref())).await;
        let vault = vault.unwrap_or_else(|_| Vault::open(None));
        let kept = match &database {
            Ok(database) => database.printers().await.unwrap_or_else(|error| {
                tracing::error!("the printers cannot be read: {error}");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let printers = Self(Arc::new(Inner {
            database,
            vault,
            means,
            list: watch::Sender::new(Arc::from([])),
            changing: Mutex::default(),
            trials: Semaphore::new(TRIALS),
            search: Search::default(),
        }));
        let mut list = Vec::new();
        for (id, kept) in kept {
            let kept = printers.sealed(id, kept).await;
            let told = untold();
            list.push(printers.entry(id, kept, told, CancellationToken::new(), Lasting::default()));
        }
        printers.show(list);
        printers
    }

    /// None at all, for a house without storage.
    pub fn none(config: watch::Receiver<Arc<Config>>) -> Self {
        let means = Means::alone(config);
        Self(Arc::new(Inner {
            database: Err("this service has no storage".into()),
            vault: Vault::open(None),
            means,
            list: watch::Sender::new(Arc::from([])),
            changing: Mutex::default(),
            trials: Semaphore::new(TRIALS),
            search: Search::default(),
        }))
    }

    /// In the order in which they were added.
    pub fn list(&self) -> Arc<[Entry]> {
        Arc::clone(&self.0.list.borrow())
    }

    /// The list and its changes.
    pub fn watch(&self) -> watch::Receiver<Arc<[Entry]>> {
        self.0.list.subscribe()
    }

    /// # Errors
    /// There is no such printer.
    pub fn get(&self, id: &str) -> Result<Entry, PrinterError> {
        let number: Option<i64> = id.parse().ok();
        let found = self.0.list.borrow().iter().find(|entry| Some(entry.printer.id) == number).cloned();
        found.ok_or_else(|| PrinterError::NoPrinter(id.chars().take(64).collect()))
    }

    /// Adds a printer.
    ///
    /// # Errors
    /// When a field is wrong, or it cannot be kept. Nothing has changed then.
    pub async fn create(&self, body: Map<String, Value>) -> Result<Entry, PrinterError> {
        self.change(|printers| async move {
            let database = printers.database()?;
            let list = printers.list();
            let settings = Settings::read(&body, list.iter().map(|entry| &*entry.printer), true)
                .map_err(PrinterError::Invalid)?;
            printers.may_reach(&settings).await?;
            if list.len() >= MOST {
                return Err(PrinterError::TooMany(MOST));
            }
            let Some(code) = &settings.access_code else { return Err(PrinterError::Invalid(Vec::new())) };
            let kept = KeptPrinter {
                code: printers.0.vault.seal(code)?,
                name: settings.name,
                host: settings.host,
                serial: settings.serial,
                rtsp_url: settings.rtsp_url,
                pin: None,
            };
            let id = database.add_printer(&kept).await?;
            let (told, gone) = (untold(), CancellationToken::new());
            let entry = printers.entry(id, kept, told, gone, Lasting::default());
            tracing::info!(printer = id, "printer {} at {} is added", entry.printer.name, entry.printer.host);
            printers.show(list.iter().cloned().chain([entry.clone()]).collect());
            Ok(entry)
        })
        .await
    }

    /// Changes a printer; without an access code it keeps the one that it has, as far as that may be. Its worker starts anew, unless
    /// there is nothing to change.
    ///
    /// # Errors
    /// When a field is wrong, or it cannot be kept. Nothing has changed then.
    pub async fn update(&self, id: &str, body: Map<String, Value>) -> Result<Entry, PrinterError> {
        let id = id.to_owned();
        self.change(|printers| async move {
            let (database, old) = (printers.database()?, printers.get(&id)?);
            let list = printers.list();
            let others = list.iter().map(|entry| &*entry.printer).filter(|it| it.id != old.printer.id);
            let settings = Settings::read(&body, others, false).map_err(PrinterError::Invalid)?;
            // The same access code again may be right now: a printer that refused it is tried anew.
            let refused = old.lifecycle().is_some_and(|link| link.state == State::Refused);
            let again = settings.access_code.is_some() && refused;
            if settings.is_of(&old.printer) && !again {
                return Ok(old);
            }
            settings.may_keep_code(&old.printer).map_err(PrinterError::Invalid)?;
            printers.may_reach(&settings).await?;
            let code = match &settings.access_code {
                Some(code) => printers.0.vault.seal(code)?,
                None => old.kept.code.clone(),
            };
            // Another machine has another certificate; the same one at another address has not.
            let pin = old.kept.pin.clone().filter(|_| settings.serial == old.printer.serial);
            let kept = KeptPrinter {
                code,
                pin,
                name: settings.name,
                host: settings.host,
                serial: settings.serial,
                rtsp_url: settings.rtsp_url,
            };
            database.keep_printer(old.printer.id, &kept).await?;
            tracing::info!(printer = old.printer.id, "printer {} is changed", kept.name);
            Ok(printers.restart(&old, kept).await)
        })
        .await
    }

    /// Deletes a printer: its connections and streams have ended when this returns, or soon after.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written. Nothing has changed then.
    pub async fn delete(&self, id: &str) -> Result<(), PrinterError> {
        let id = id.to_owned();
        self.change(|printers| async move {
            let (database, entry) = (printers.database()?, printers.get(&id)?);
            database.forget_printer(entry.printer.id).await?;
            let rest =
                printers.list().iter().filter(|it| it.printer.id != entry.printer.id).cloned().collect();
            printers.show(rest);
            entry.gone.cancel();
            entry.worker.end().await;
            for camera in camera::ids(entry.printer.id) {
                printers.0.means.cameras.remove(&camera).await;
            }
            tracing::info!(printer = entry.printer.id, "printer {} is deleted", entry.printer.name);
            Ok(())
        })
        .await
    }

    /// Trusts the certificate that a printer shows in place of the one that is kept. `shown` is the one that
    /// somebody looked at; `None` is whichever it shows.
    ///
    /// # Errors
    /// When it shows no other, or not that one.
    pub async fn accept_certificate(
        &self,
        id: &str,
        shown: Option<Fingerprint>,
    ) -> Result<Entry, PrinterError> {
        let id = id.to_owned();
        self.change(move |printers| async move {
            let (database, old) = (printers.database()?, printers.get(&id)?);
            let id = old.printer.id;
            let offered = old.offered().ok_or(PrinterError::NoCertificate(id))?;
            if shown.is_some_and(|shown| shown != offered) {
                return Err(PrinterError::OtherCertificate { id, shown: offered.to_string() });
            }
            let kept = KeptPrinter { pin: Some(offered.to_string()), ..(*old.kept).clone() };
            database.keep_printer(id, &kept).await?;
            tracing::info!(printer = id, "the certificate {offered} of printer {} is accepted", kept.name);
            Ok(printers.restart(&old, kept).await)
        })
        .await
    }

    /// Has a printer do something; returns when it has said that it will.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn command(&self, entry: &Entry, command: Command) -> Result<(), CommandError> {
        if let Some(locked) = &entry.locked {
            return Err(CommandError::NotConnected(locked.clone()));
        }
        entry.worker.command(command).await
    }

    /// Tries a printer that is to be added or, with an id, changes to one that there is: its access code is
    /// used where the body has none. A step that fails is no error.
    ///
    /// # Errors
    /// When there is no such printer, a field is wrong, or too many are being tried.
    pub async fn test(&self, id: Option<&str>, body: &Map<String, Value>) -> Result<Vec<Step>, PrinterError> {
        let own = id.map(|id| self.get(id)).transpose()?;
        let list = self.list();
        let others = list.iter().map(|entry| &*entry.printer);
        let others = others.filter(|it| own.as_ref().is_none_or(|own| own.printer.id != it.id));
        let known = own.as_ref().filter(|own| own.locked.is_none()).map(|own| &*own.printer);
        let settings = Settings::read(body, others, known.is_none()).map_err(PrinterError::Invalid)?;
        if let Some(known) = known {
            settings.may_keep_code(known).map_err(PrinterError::Invalid)?;
        }
        self.may_reach(&settings).await?;
        let code = settings.access_code.or_else(|| known.map(|known| known.access_code.clone()));
        let same = own.as_ref().filter(|own| own.printer.serial == settings.serial);
        let printer = Printer {
            id: own.as_ref().map_or(0, |own| own.printer.id),
            access_code: code.unwrap_or_else(|| Secret::new("")),
            pin: same.and_then(|own| own.printer.pin),
            name: settings.name,
            host: settings.host,
            serial: settings.serial,
            rtsp_url: settings.rtsp_url,
        };
        let _trial = self.0.trials.try_acquire().map_err(|_| PrinterError::Busy(TRIALS))?;
        Ok(trial::run(&printer, &self.0.means).await)
    }

    /// Printers of the network that announce themselves; they are listened for from now on for a while.
    ///
    /// # Errors
    /// When that is switched off or not possible.
    pub fn found(&self) -> Result<Vec<Announcement>, PrinterError> {
        if !self.0.means.config.borrow().printers.search {
            return Err(PrinterError::NoSearch);
        }
        self.0.search.found().map_err(PrinterError::Search)
    }

    /// Whether the API is to tell access codes.
    pub fn exposes(&self) -> bool {
        self.0.means.config.borrow().printers.expose_access_code
    }

    /// Ends every worker; bounded.
    pub async fn shutdown(&self) {
        self.0.search.shutdown();
        futures_util::future::join_all(self.list().iter().map(|entry| entry.worker.end())).await;
    }

    /// Keeps the certificate of the first connection.
    async fn learn(&self, printer: &Printer, shown: Fingerprint) {
        let _changing = self.0.changing.lock().await;
        let Ok(old) = self.get(&printer.id.to_string()) else { return };
        if old.printer.pin.is_some() || old.printer.serial != printer.serial {
            return;
        }
        let kept = KeptPrinter { pin: Some(shown.to_string()), ..(*old.kept).clone() };
        let written = match self.database() {
            Ok(database) => database.keep_printer(printer.id, &kept).await.map_err(PrinterError::from),
            Err(error) => Err(error),
        };
        let name = &printer.name;
        match written {
            Ok(()) => {
                tracing::info!(printer = printer.id, "printer {name} is known by its certificate {shown}")
            }
            Err(error) => tracing::error!(
                printer = printer.id,
                "printer {name} is known by its certificate {shown} until the service ends, and met anew after \
                 that: {error}"
            ),
        }
        let printer = Arc::new(Printer { pin: Some(shown), ..(*old.printer).clone() });
        self.put(Entry { printer, kept: Arc::new(kept), ..old });
    }

    async fn may_reach(&self, settings: &Settings) -> Result<(), PrinterError> {
        let config = Arc::clone(&self.0.means.config.borrow());
        reach::check(settings, &config).await.map_err(PrinterError::Invalid)
    }

    fn database(&self) -> Result<&Database, PrinterError> {
        self.0.database.as_ref().map_err(|why| PrinterError::NoDatabase(why.clone()))
    }

    /// Runs a change to its end, whether or not somebody still waits for it.
    async fn change<T, F>(&self, change: impl FnOnce(Self) -> F + Send + 'static) -> Result<T, PrinterError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PrinterError>> + Send,
    {
        let printers = self.clone();
        let running = tokio::spawn(async move {
            let own = printers.clone();
            let _changing = own.0.changing.lock().await;
            change(printers).await
        });
        running.await.unwrap_or(Err(PrinterError::Broken))
    }

    /// Puts another worker in the place of a printer's present one.
    async fn restart(&self, old: &Entry, kept: KeptPrinter) -> Entry {
        old.worker.end().await;
        let (told, gone, lasting) = (old.told.clone(), old.gone.clone(), old.lasting.clone());
        let entry = self.entry(old.printer.id, kept, told, gone, lasting);
        self.put(entry.clone());
        entry
    }

    /// A printer with a worker that has just begun.
    fn entry(
        &self,
        id: i64,
        kept: KeptPrinter,
        told: watch::Sender<Arc<PrinterState>>,
        gone: CancellationToken,
        lasting: Lasting,
    ) -> Entry {
        let (access_code, locked) = match self.0.vault.open_code(&kept.code) {
            Ok(code) => (code, None),
            Err(error) => {
                tracing::error!(printer = id, "printer {}: {error}", kept.name);
                (Secret::new(""), Some(error.to_string()))
            }
        };
        let printer = Arc::new(Printer {
            id,
            name: kept.name.clone(),
            host: kept.host.clone(),
            serial: kept.serial.clone(),
            access_code,
            rtsp_url: kept.rtsp_url.clone(),
            // One that cannot be read was never written by us: the printer is met anew.
            pin: kept.pin.as_deref().and_then(|pin| pin.parse().ok()),
        });
        let worker = match &locked {
            None => {
                let registry = Arc::downgrade(&self.0);
                Worker::start(Arc::clone(&printer), &self.0.means, told.clone(), &lasting, registry)
            }
            Some(_) => Worker::none(),
        };
        Entry { printer, locked, gone, told, lasting, kept: Arc::new(kept), worker }
    }

    /// Seals a code that was kept as text, now that there is a key.
    async fn sealed(&self, id: i64, kept: KeptPrinter) -> KeptPrinter {
        let (vault, Ok(database)) = (&self.0.vault, self.database()) else { return kept };
        let sealed = vault.wants(&kept.code).then(|| vault.open_code(&kept.code)).transpose();
        let Ok(Some(Ok(code))) = sealed.map(|code| code.map(|code| vault.seal(&code))) else { return kept };
        let sealed = KeptPrinter { code, ..kept.clone() };
        match database.keep_printer(id, &sealed).await {
            Ok(()) => sealed,
            Err(error) => {
                tracing::error!(printer = id, "the printer's access code could not be sealed: {error}");
                kept
            }
        }
    }

    fn put(&self, entry: Entry) {
        let replaced = |old: &Entry| match old.printer.id == entry.printer.id {
            true => entry.clone(),
            false => old.clone(),
        };
        self.show(self.list().iter().map(replaced).collect());
    }

    fn show(&self, list: Vec<Entry>) {
        self.0.list.send_replace(list.into());
    }
}
