//! One printer's owner: its link, its camera, what is made of its prints, and whom it tells of it.
//!
//! The registry starts a worker when a printer is added, changed or read from the database, and ends it when
//! the printer is changed or deleted. What the link hears goes to whoever watches the printer; what it learns
//! of the printer's certificate goes to the registry.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::command::{Command, CommandError};
use super::link::{Certificate, Known, Link, LinkSettings};
use super::pictures::{self, Shown};
use super::printer::Printer;
use super::recording;
use super::reducer::Patience;
use super::state::PrinterState;
use super::{Inner, Means, Printers};
use crate::config::Config;
use crate::supervision::{Snapshot, Timing};
use crate::tls::Fingerprint;

/// A worker that has not ended by then is left behind; its successor's camera comes when its own has gone.
const END_WITHIN: Duration = Duration::from_millis(1800);
/// A recording is closed before its camera goes, unless that takes longer.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// What outlives a printer's workers. Cloning it clones references.
#[derive(Clone, Debug, Default)]
pub struct Lasting {
    /// Held by the one that may put the printer's camera among the cameras and take it away.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Known,
}

/// The owner of one printer. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Worker(Option<Arc<Running>>);

#[derive(Debug)]
struct Running {
    printer: Arc<Printer>,
    link: Link,
    following: Mutex<Option<AbortOnDropHandle<()>>>,
    /// The tasks of camera and recording: they end by themselves when they are told to.
    pictures: Mutex<Option<JoinHandle<()>>>,
    shown: watch::Receiver<Shown>,
    stop: CancellationToken,
}

impl Worker {
    /// Of a printer that nobody can connect to.
    pub fn none() -> Self {
        Self(None)
    }

    /// Connects to the printer and follows it. `told` is who is told of its state.
    pub fn start(
        printer: Arc<Printer>,
        means: &Means,
        told: watch::Sender<Arc<PrinterState>>,
        lasting: &Lasting,
        registry: Weak<Inner>,
    ) -> Self {
        let config = Arc::clone(&means.config.borrow());
        let settings = link_settings(&printer, &config);
        let timing = Timing::from(&config.supervision);
        let link = Link::resume(
            &printer.id.to_string(),
            settings,
            Patience::default(),
            lasting.known.clone(),
            &timing,
            &means.vitals,
        );
        let following = {
            let tell = tell(link.watch(), told);
            let pin = follow_pin(Arc::clone(&printer), link.certificate(), registry);
            async move {
                tokio::join!(tell, pin);
            }
        };
        let following = Mutex::new(Some(AbortOnDropHandle::new(tokio::spawn(following))));
        let (stop, showing) = (CancellationToken::new(), watch::Sender::new(Shown::default()));
        let shown = showing.subscribe();
        let pictures = {
            let (stop, recorded, turn) = (stop.clone(), CancellationToken::new(), Arc::clone(&lasting.turn));
            let (states, certificates, means) = (link.watch(), link.certificate(), means.clone());
            let (camera, shown) = (Arc::clone(&printer), shown.clone());
            let recording =
                recording::keep(Arc::clone(&printer), means.clone(), states.clone(), shown, stop.clone());
            let gone = recorded.clone();
            let recording = async move {
                tokio::pin!(recording);
                let late = async {
                    stop.cancelled().await;
                    tokio::time::sleep(RECORDED_WITHIN).await;
                };
                let ended = tokio::select! {
                    () = &mut recording => true,
                    () = late => false,
                };
                recorded.cancel();
                if !ended {
                    recording.await;
                }
            };
            let camera = async move {
                let _turn = tokio::select! {
                    () = gone.cancelled() => return,
                    turn = turn.lock() => turn,
                };
                pictures::keep(camera, means, states, certificates, showing, gone.clone()).await;
            };
            tokio::spawn(async move {
                tokio::join!(camera, recording);
            })
        };
        let pictures = Mutex::new(Some(pictures));
        Self(Some(Arc::new(Running { printer, link, following, pictures, shown, stop })))
    }

    pub async fn command(&self, command: Command) -> Result<(), CommandError> {
        match &self.0 {
            Some(running) => running.link.command(command).await,
            None => Err(CommandError::NotConnected("its access code is not known".into())),
        }
    }

    /// How the link is.
    pub fn lifecycle(&self) -> Option<Snapshot> {
        self.0.as_ref().map(|running| running.link.lifecycle())
    }

    /// Its camera's id, or why it has none.
    pub fn camera(&self) -> Result<String, String> {
        let shown = self.0.as_ref().map(|running| running.shown.borrow().clone()).unwrap_or_default();
        shown.id.ok_or_else(|| shown.why.unwrap_or_else(|| "it has just begun".into()))
    }

    /// The certificate that the printer shows in place of the trusted one.
    pub fn offered(&self) -> Option<Fingerprint> {
        let certificate = *self.0.as_ref()?.link.certificate().borrow();
        match certificate {
            Certificate::Changed { offered, .. } => Some(offered),
            Certificate::Unknown | Certificate::Pinned(_) => None,
        }
    }

    /// Ends everything; bounded.
    pub async fn end(&self) {
        let Some(running) = &self.0 else { return };
        drop(running.following.lock().unwrap_or_else(PoisonError::into_inner).take());
        running.stop.cancel();
        let pictures = running.pictures.lock().unwrap_or_else(PoisonError::into_inner).take();
        let all = async {
            let pictures = async {
                if let Some(pictures) = pictures {
                    let _ = pictures.await;
                }
            };
            tokio::join!(pictures, running.link.shutdown());
        };
        if tokio::time::timeout(END_WITHIN, all).await.is_err() {
            let Printer { id, name, .. } = &*running.printer;
            tracing::warn!("printer {id} ({name}) has not ended within {END_WITHIN:?}; leaving it behind");
        }
    }
}

/// What it takes to reach a printer.
pub fn link_settings(printer: &Printer, config: &Config) -> LinkSettings {
    LinkSettings {
        host: printer.host.clone(),
        port: config.printers.mqtt_port,
        serial: printer.serial.clone(),
        access_code: printer.access_code.clone(),
        pin: printer.pin,
        confined: Some(super::reach::networks(config)),
    }
}

/// Passes the link's state on to who watches the printer.
async fn tell(mut states: watch::Receiver<Arc<PrinterState>>, told: watch::Sender<Arc<PrinterState>>) {
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        told.send_replace(state);
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Has the certificate of the first connection kept.
async fn follow_pin(
    printer: Arc<Printer>,
    mut certificates: watch::Receiver<Certificate>,
    registry: Weak<Inner>,
) {
    if printer.pin.is_some() {
        return;
    }
    let met = |certificate: &Certificate| matches!(certificate, Certificate::Pinned(_));
    let Ok(met) = certificates.wait_for(met).await.map(|certificate| *certificate) else { return };
    if let (Certificate::Pinned(shown), Some(registry)) = (met, registry.upgrade()) {
        Printers(registry).learn(&printer, shown).await;
    }
}
