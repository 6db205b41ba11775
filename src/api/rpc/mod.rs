//! JSON-RPC 2.0 over WebSocket: `/ws` on the HTTP port and, when configured, on a port of its own.
//!
//! [`engine`] is the protocol, pure; [`table`] the methods with their types, [`methods`] what they do, each a
//! thin coat over [`crate::control`]; [`session`] one connection's state, [`socket`] its reader and writer,
//! [`outbox`] what waits to be written; [`news`] tells subscribers what changes; [`document`] writes
//! `rpc.discover` and docs/json-rpc.md from the table. HTTP upgrades the connection and hands it in
//! ([`Rpc::connect`]); everything else is here. Each connection is a task that ends with the service.

mod document;
mod engine;
mod error;
mod methods;
mod news;
mod outbox;
mod session;
mod socket;
mod table;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::capture::Capture;
use crate::config::Config;
use crate::control::external::External;
use crate::control::{Control, Urls};
use crate::motion::Motion;
use crate::printers::Printers;
use crate::record::Recordings;
use crate::serve::mjpeg::Mjpeg;
use crate::serve::rtsp::Rtsp;
use crate::serve::whep::Whep;
use crate::supervision::published::PublishedNow;
use crate::telemetry::system::System;
pub use document::markdown;
pub use session::From;
use session::{Session, Topic};
use table::Method;

/// What the methods work with. Cloning it clones references.
#[derive(Clone, Debug)]
pub struct House {
    pub control: Control,
    pub external: External,
    pub access: Access,
    pub config: watch::Receiver<Arc<Config>>,
    pub mjpeg: Mjpeg,
    pub whep: Whep,
    pub rtsp: Option<Rtsp>,
    pub recordings: Recordings,
    pub printers: Printers,
    pub motion: Motion,
    pub published: PublishedNow,
    pub system: System,
    pub started: (SystemTime, Instant),
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
}

/// All connections. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Rpc(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    house: House,
    methods: Vec<Method>,
    /// What `rpc.discover` says, made when it is first asked for.
    document: OnceLock<serde_json::Value>,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    tasks: TaskTracker,
    next: AtomicU64,
    counts: Counts,
}

/// Of all connections since the service started.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
    microseconds: AtomicU64,
}

/// As many are connected as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub usize);

impl Rpc {
    pub fn new(house: House) -> Self {
        Self(Arc::new(Inner {
            house,
            methods: methods::all(),
            document: OnceLock::new(),
            sessions: Mutex::default(),
            tasks: TaskTracker::new(),
            next: AtomicU64::new(1),
            counts: Counts::default(),
        }))
    }

    pub fn document(&self) -> &serde_json::Value {
        self.0.document.get_or_init(|| document::openrpc(&self.0.methods))
    }

    /// Takes a connection that is being upgraded to a WebSocket.
    ///
    /// # Errors
    /// When there are too many.
    pub fn connect(&self, upgrade: OnUpgrade, from: From) -> Result<(), Full> {
        let most = self.house().config.borrow().rpc.max_connections;
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(id, self.clone(), from));
        {
            let mut sessions = self.sessions();
            if sessions.len() >= most {
                return Err(Full(most));
            }
            sessions.insert(id, Arc::clone(&session));
        }
        let seat = Seat { rpc: self.clone(), id };
        let stop = self.house().stop.clone();
        self.0.tasks.spawn(async move {
            let _seat = seat;
            socket::run(session, upgrade, stop).await;
        });
        Ok(())
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.sessions().len()
    }

    /// Tells subscribers what changes, until the service stops. One of these runs.
    pub async fn tell(self) {
        let stop = self.house().stop.clone();
        let telling =
            async { tokio::join!(news::cameras(&self), news::recordings(&self), news::printers(&self)) };
        stop.run_until_cancelled(telling).await;
    }

    /// Ends when every connection has, after the stop.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn house(&self) -> &House {
        &self.0.house
    }

    /// Where the pictures of a camera are, for who reaches HTTP at `base`.
    fn urls(&self, capture: &Capture, base: &str) -> Urls {
        let low_latency = self.house().config.borrow().hls.low_latency;
        Urls::of(capture, low_latency, self.house().rtsp.as_ref()).at(base)
    }

    fn methods(&self) -> &[Method] {
        &self.0.methods
    }

    fn method(&self, name: &str) -> Option<&Method> {
        self.0.methods.iter().find(|method| method.name == name)
    }

    fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Connections that are told of a topic.
    fn subscribers(&self, topic: Topic) -> usize {
        self.sessions().values().filter(|session| session.topics().contains_key(&topic)).count()
    }

    fn count(&self, took: Duration, done: bool) {
        let counts = &self.0.counts;
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.failed.fetch_add(u64::from(!done), Ordering::Relaxed);
        counts.microseconds.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Hands a notification about a camera, or a printer's, to everybody who wants it. `text` writes it for clients that
    /// reach HTTP at that address; those with the same address share the bytes.
    fn publish(&self, topic: Topic, camera: &str, text: impl Fn(&str) -> Option<String>) {
        let mut written: HashMap<&str, Option<Utf8Bytes>> = HashMap::new();
        let sessions = self.sessions();
        for session in sessions.values().filter(|session| session.wants(topic, camera)) {
            let base = session.from.base.as_str();
            let text = written.entry(base).or_insert_with(|| text(base).map(Utf8Bytes::from));
            if let Some(text) = text {
                session.outbox.news(text.clone());
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, Arc<Session>>> {
        // Plain data that is whole after every statement.
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, given back however it ends.
struct Seat {
    rpc: Rpc,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rpc.sessions().remove(&self.id);
    }
}
