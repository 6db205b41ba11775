//! The link to one printer, supervised as captures are: kept up by one actor, its liveness is what the
//! printer reports, a wrong access code or another certificate is *refused* and not hammered.
//!
//! The printer's worker owns a [`Link`] and ends it with [`Link::shutdown`]; dropped without, the link ends
//! itself soon. What is known of the printer outlives attempts. The certificate that is met first is
//! trusted once the printer has accepted the access code, and from then on no other: the owner stores what
//! [`Link::certificate`] says was learnt, and calls [`Link::accept`] when a person accepts a changed one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::command::{Command, CommandError};
use super::mqtt::{Broken, Connection, Step};
use super::reducer::{Action, Event, Moment, Patience, Reducer, not_connected};
use super::session;
use super::state::PrinterState;
use crate::capture::knock::{Knock, Knocker};
use crate::config::Network;
use crate::config::Secret;
use crate::supervision::{self, Handle, Reports, Snapshot, Subject, Timing, Vitals};
use crate::tls::Fingerprint;

/// Where these machines' brokers listen.
pub const PORT: u16 = 8883;
/// Beyond the answer's own limit, before a command is given up whatever happens.
const SLACK: Duration = Duration::from_secs(2);

/// What it takes to reach a printer.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSettings {
    /// A name or an address, IPv6 with or without brackets.
    pub host: String,
    pub port: u16,
    pub serial: String,
    pub access_code: Secret,
    /// The certificate that was learnt before.
    pub pin: Option<Fingerprint>,
    /// Where it may be, as of a [camera](crate::config::model::Camera::confined); `None`: anywhere.
    pub confined: Option<Vec<Network>>,
}

/// What is known of the printer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The printer was not met yet.
    Unknown,
    /// Only this one is accepted. Not in the settings yet if it was met for the first time.
    Pinned(Fingerprint),
    /// The printer, or somebody at its address, shows another one than before: [`Link::accept`] it or not.
    Changed { pinned: Fingerprint, offered: Fingerprint },
}

/// What is known of a printer while its links come and go: what was asked of it a moment ago is not asked again.
/// Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Known {
    origin: Instant,
    /// As it was when the last connection ended, and of which machine.
    last: Arc<Mutex<Option<(String, Reducer)>>>,
}

impl Default for Known {
    fn default() -> Self {
        Self { origin: Instant::now(), last: Arc::default() }
    }
}

impl Known {
    fn last(&self) -> MutexGuard<'_, Option<(String, Reducer)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One printer's link. Every method but [`Link::command`] and [`Link::shutdown`] returns at once.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    handle: Handle,
}

/// What attempts share, and the link shows.
#[derive(Debug)]
pub struct Shared {
    pub settings: LinkSettings,
    pub patience: Patience,
    known: Known,
    reducer: Mutex<Reducer>,
    state: watch::Sender<Arc<PrinterState>>,
    certificate: watch::Sender<Certificate>,
    /// To the attempt that is connected.
    orders: Mutex<Option<mpsc::Sender<Order>>>,
}

/// A command on its way to the printer.
#[derive(Debug)]
pub struct Order {
    pub command: Command,
    pub answer: oneshot::Sender<Result<(), CommandError>>,
}

impl Link {
    /// Starts the link and keeps it up. `label` is the printer's id, for logs. Call it inside the runtime.
    pub fn start(
        label: &str,
        settings: LinkSettings,
        patience: Patience,
        timing: &Timing,
        vitals: &Vitals,
    ) -> Self {
        let reducer = Reducer::new(&settings.serial, patience);
        Self::with(label, settings, reducer, patience, Known::default(), timing, vitals)
    }

    /// Starts a link that takes the place of another one of the same printer, and goes on with what that one knew.
    pub fn resume(
        label: &str,
        settings: LinkSettings,
        patience: Patience,
        known: Known,
        timing: &Timing,
        vitals: &Vitals,
    ) -> Self {
        let last = known.last().clone().filter(|(serial, _)| *serial == settings.serial);
        let reducer = match last {
            Some((_, last)) => last.resumed(patience),
            None => Reducer::new(&settings.serial, patience),
        };
        Self::with(label, settings, reducer, patience, known, timing, vitals)
    }

    /// Starts a second link beside the printer's own, for a look.
    pub fn visit(
        label: &str,
        settings: LinkSettings,
        patience: Patience,
        timing: &Timing,
        vitals: &Vitals,
    ) -> Self {
        let mut reducer = Reducer::new(&settings.serial, patience);
        reducer.make_guest();
        Self::with(label, settings, reducer, patience, Known::default(), timing, vitals)
    }

    fn with(
        label: &str,
        settings: LinkSettings,
        reducer: Reducer,
        patience: Patience,
        known: Known,
        timing: &Timing,
        vitals: &Vitals,
    ) -> Self {
        let certificate = settings.pin.map_or(Certificate::Unknown, Certificate::Pinned);
        let shared = Arc::new(Shared {
            patience,
            known,
            state: watch::Sender::new(Arc::new(reducer.state().clone())),
            reducer: Mutex::new(reducer),
            certificate: watch::Sender::new(certificate),
            orders: Mutex::default(),
            settings,
        });
        let knock = Knock::Tcp {
            host: shared.settings.host.trim_matches(['[', ']']).to_owned(),
            port: shared.settings.port,
        };
        let subject = LinkSubject {
            name: format!("printer {label}"),
            knocker: Arc::new(Knocker::new(knock)),
            shared: Arc::clone(&shared),
            attempt: None,
        };
        // The reducer has better words for silence, and says them before supervision would.
        let timing = Timing {
            start_timeout: timing.start_timeout.max(patience.connect + patience.first_word + SLACK),
            ..timing.clone()
        };
        let handle = supervision::spawn(subject, timing, vitals);
        handle.demand(true);
        Self { shared, handle }
    }

    /// What is known of the printer, as it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<PrinterState>> {
        self.shared.state.subscribe()
    }

    pub fn state(&self) -> Arc<PrinterState> {
        Arc::clone(&self.shared.state.borrow())
    }

    /// How the link itself is.
    pub fn lifecycle(&self) -> Snapshot {
        self.handle.snapshot()
    }

    /// How the link itself is, as it changes.
    pub fn lifecycle_changes(&self) -> watch::Receiver<Snapshot> {
        self.handle.changes()
    }

    /// What is known of the printer's certificate, as it changes.
    pub fn certificate(&self) -> watch::Receiver<Certificate> {
        self.shared.certificate.subscribe()
    }

    /// From now on this certificate is the printer's; the link begins anew with it.
    pub fn accept(&self, certificate: Fingerprint) {
        self.shared.certificate.send_replace(Certificate::Pinned(certificate));
        self.handle.restart();
    }

    /// Ends the present attempt or wait and begins anew.
    pub fn restart(&self) {
        self.handle.restart();
    }

    /// Has the printer do something; returns when it has said that it will.
    ///
    /// # Errors
    /// In words for people.
    pub async fn command(&self, command: Command) -> Result<(), CommandError> {
        let gone = || CommandError::NotConnected(not_connected(&self.state()));
        let orders = self.shared.orders().clone().ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        if let Err(error) = orders.try_send(Order { command, answer }) {
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => {
                    CommandError::NotNow("too many commands await the printer".into())
                }
                mpsc::error::TrySendError::Closed(_) => gone(),
            });
        }
        match tokio::time::timeout(self.shared.patience.answer + SLACK, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(CommandError::Timeout(format!("the printer has not answered {}", command.name()))),
        }
    }

    /// Ends the link for good and waits until it is gone, which takes well under a second.
    pub async fn shutdown(&self) {
        self.handle.shutdown().await;
    }
}

/// Tries a connection once and lets go of it: for the dialog that adds a printer. `Ok` is the certificate
/// that the printer shows.
///
/// # Errors
/// With the step that failed and why, in words.
pub async fn test(
    settings: &LinkSettings,
    patience: Patience,
) -> Result<Option<Fingerprint>, (Step, String)> {
    let opened = Connection::open(settings, settings.pin, patience.keep_alive, patience.connect).await;
    let connection = opened.map_err(|broken| (broken.step, broken.failure.message))?;
    let certificate = connection.certificate();
    connection.close().await;
    Ok(certificate)
}

impl Shared {
    /// Takes in what happened and shows what has become of it.
    pub fn handle(&self, event: Event<'_>) -> Vec<Action> {
        let at = Moment { now: self.known.origin.elapsed(), wall: SystemTime::now() };
        let mut reducer = self.reducer.lock().unwrap_or_else(PoisonError::into_inner);
        let over = matches!(event, Event::Disconnected(_));
        let actions = reducer.handle(at, event);
        if over {
            *self.known.last() = Some((self.settings.serial.clone(), reducer.clone()));
        }
        self.state.send_if_modified(|shown| {
            let changed = **shown != *reducer.state();
            if changed {
                *shown = Arc::new(reducer.state().clone());
            }
            changed
        });
        actions
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let reducer = self.reducer.lock().unwrap_or_else(PoisonError::into_inner);
        reducer.next_deadline().map(|at| self.known.origin + at)
    }

    pub fn pin(&self) -> Option<Fingerprint> {
        match *self.certificate.borrow() {
            Certificate::Unknown => None,
            Certificate::Pinned(pinned) | Certificate::Changed { pinned, .. } => Some(pinned),
        }
    }

    /// The printer let us in: what it showed is what it is known by.
    pub fn met(&self, shown: Option<Fingerprint>) {
        let Some(shown) = shown else { return };
        self.note(Certificate::Pinned(shown));
    }

    /// It showed another certificate.
    pub fn differs(&self, broken: &Broken) {
        let (Some(pinned), Some(offered)) = (self.pin(), broken.changed) else { return };
        self.note(Certificate::Changed { pinned, offered });
    }

    fn note(&self, certificate: Certificate) {
        self.certificate.send_if_modified(|present| {
            let changed = *present != certificate;
            *present = certificate;
            changed
        });
    }

    pub fn orders(&self) -> MutexGuard<'_, Option<mpsc::Sender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to one printer.
#[derive(Debug)]
struct LinkSubject {
    name: String,
    shared: Arc<Shared>,
    knocker: Arc<Knocker>,
    attempt: Option<(CancellationToken, AbortOnDropHandle<()>)>,
}

impl Subject for LinkSubject {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn begin(&mut self, reports: Reports) {
        let stop = CancellationToken::new();
        let session = session::run(Arc::clone(&self.shared), reports, stop.clone());
        self.attempt = Some((stop, AbortOnDropHandle::new(tokio::spawn(session))));
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let attempt = self.attempt.take();
        Box::pin(async move {
            let Some((stop, task)) = attempt else { return };
            stop.cancel();
            let _ = task.await;
        })
    }

    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        let knocker = Arc::clone(&self.knocker);
        Some(Box::pin(async move { knocker.present().await }))
    }

    fn expected_fps(&self) -> Option<f64> {
        // Ten intervals without a report are a stall; by then the reducer has given up.
        let patience = &self.shared.patience;
        Some(10.0 / (patience.silence + patience.last_word + SLACK).as_secs_f64())
    }
}
