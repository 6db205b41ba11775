//! The fleet: nodes that are registered here, how they are, and what is passed on to them.
//!
//! [`node`] says what a node is and [`registry`] where nodes are kept; [`client`] asks them, [`probe`] says what the
//! answers mean. [`Fleet`] is what the API asks: one owner of the list, whose changes are on the disk before they are
//! answered. A node that does not answer costs one probe's limit and delays nobody else.

pub mod client;
pub mod node;
pub mod probe;
pub mod reach;
pub mod registry;
pub mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use hyper::Method;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::telemetry;
use client::{Answer, AskError, Client, Question};
use node::{Node, Transport, Wrong};
use probe::Status;
use registry::{Registry, RegistryError};

/// Nodes that are kept; each is probed.
pub const MOST_NODES: usize = 5000;
/// Nodes that are probed at once: more than are ever dead at a time, fewer than there are descriptors for.
const AT_ONCE: usize = 256;
/// What an action sends and what it is answered with.
pub const LARGEST_BODY: usize = 64 << 10;
const LARGEST_ANSWER: usize = 1 << 20;

/// All nodes. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nodes: watch::Sender<Arc<Vec<Node>>>,
    /// Held while a change is made and written; `None`: the registry could not be had, and why.
    registry: Arc<tokio::sync::Mutex<Result<Box<dyn Registry>, String>>>,
    found: Mutex<HashMap<String, Arc<Status>>>,
    /// Told when a node is found to be otherwise than before.
    changed: watch::Sender<u64>,
    client: Client,
    within: Duration,
    /// A status that is no older is good.
    fresh: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("there is no node {0:?}; /api/nodes lists them")]
    NotFound(String),
    #[error("the node is not valid: {}", words(.0))]
    Invalid(Wrong),
    #[error("at most {MOST_NODES} nodes are kept")]
    Full,
    #[error("{0}")]
    Registry(String),
    #[error("action {action:?} is not among those that node {node:?} may be asked: {allowed}")]
    NotAllowed { node: String, action: String, allowed: String },
    #[error("node {node:?} has the transport docker, which is not supported")]
    Unsupported { node: String },
    #[error("node {node:?}: {error}")]
    Unreachable { node: String, error: AskError },
    #[error("node {0:?} does not take the token; give it another (auth)")]
    Unauthorized(String),
}

fn words(wrong: &Wrong) -> String {
    wrong.iter().map(|(field, words)| format!("{field} {words}")).collect::<Vec<_>>().join("; ")
}

impl From<RegistryError> for FleetError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error.to_string())
    }
}

impl Fleet {
    /// Takes the nodes out of their registry. One that cannot be had is said with every question; the service goes on.
    pub async fn open(
        registry: Result<Box<dyn Registry>, RegistryError>,
        client: Client,
        within: Duration,
        fresh: Duration,
    ) -> Self {
        let loaded = tokio::task::spawn_blocking(move || {
            let registry = registry?;
            Ok::<_, RegistryError>((registry.load()?, registry))
        });
        let loaded = match loaded.await {
            Ok(loaded) => loaded.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        let (nodes, registry) = match loaded {
            Ok((nodes, registry)) => (nodes, Ok(registry)),
            Err(words) => {
                tracing::error!("the fleet's registry is not there: {words}");
                (Vec::new(), Err(words))
            }
        };
        Self(Arc::new(Inner {
            nodes: watch::Sender::new(Arc::new(nodes)),
            registry: Arc::new(tokio::sync::Mutex::new(registry)),
            found: Mutex::default(),
            changed: watch::Sender::new(0),
            client,
            within,
            fresh,
        }))
    }

    /// All nodes.
    ///
    /// # Errors
    /// The registry could not be had.
    pub async fn nodes(&self) -> Result<Arc<Vec<Node>>, FleetError> {
        self.0.registry.lock().await.as_ref().map_err(|words| FleetError::Registry(words.clone()))?;
        Ok(Arc::clone(&self.0.nodes.borrow()))
    }

    /// # Errors
    /// There is no such node, or the registry could not be had.
    pub async fn node(&self, id: &str) -> Result<Node, FleetError> {
        let nodes = self.nodes().await?;
        nodes.iter().find(|node| node.id == id).cloned().ok_or_else(|| FleetError::NotFound(id.to_owned()))
    }

    /// # Errors
    /// It is not valid, its id is taken, or it cannot be written.
    pub async fn create(&self, sent: &Map<String, Value>) -> Result<Node, FleetError> {
        let node = Node::new(sent).map_err(FleetError::Invalid)?;
        self.edit(|nodes| {
            if nodes.iter().any(|other| other.id == node.id) {
                let words = format!("{:?} is another node's; change that one by PUT", node.id);
                return Err(FleetError::Invalid(Wrong::from([("id", words)])));
            }
            if nodes.len() >= MOST_NODES {
                return Err(FleetError::Full);
            }
            nodes.push(node.clone());
            Ok(())
        })
        .await?;
        Ok(node)
    }

    /// Puts what was sent over a node.
    ///
    /// # Errors
    /// There is no such node, the whole is not valid, or it cannot be written.
    pub async fn update(&self, id: &str, sent: &Map<String, Value>) -> Result<Node, FleetError> {
        let mut updated = None;
        self.edit(|nodes| {
            let node = nodes.iter_mut().find(|node| node.id == id);
            let node = node.ok_or_else(|| FleetError::NotFound(id.to_owned()))?;
            *node = node.with(sent).map_err(FleetError::Invalid)?;
            updated = Some(node.clone());
            Ok(())
        })
        .await?;
        // What was found before was found elsewhere, perhaps.
        self.found().remove(id);
        updated.ok_or_else(|| FleetError::NotFound(id.to_owned()))
    }

    /// # Errors
    /// There is no such node, or the registry cannot be written.
    pub async fn delete(&self, id: &str) -> Result<(), FleetError> {
        self.edit(|nodes| {
            let before = nodes.len();
            nodes.retain(|node| node.id != id);
            if nodes.len() == before { Err(FleetError::NotFound(id.to_owned())) } else { Ok(()) }
        })
        .await?;
        self.found().remove(id);
        Ok(())
    }

    /// Makes a change, writes it, and shows it then: what cannot be written has not happened.
    async fn edit(
        &self,
        change: impl FnOnce(&mut Vec<Node>) -> Result<(), FleetError>,
    ) -> Result<(), FleetError> {
        let registry = Arc::clone(&self.0.registry).lock_owned().await;
        registry.as_ref().map_err(|words| FleetError::Registry(words.clone()))?;
        let mut nodes = (**self.0.nodes.borrow()).clone();
        change(&mut nodes)?;
        let nodes = Arc::new(nodes);
        let writing = Arc::clone(&nodes);
        // The lock goes along: whoever gave up waiting has not left a half-made change to the next one.
        let shown = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            if let Ok(registry) = registry.as_ref() {
                registry.store(&writing)?;
                shown.0.nodes.send_replace(writing);
            }
            Ok::<_, RegistryError>(())
        });
        match written.await {
            Ok(written) => Ok(written?),
            Err(panic) => Err(FleetError::Registry(panic.to_string())),
        }
    }

    fn found(&self) -> MutexGuard<'_, HashMap<String, Arc<Status>>> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a node is: as it was found lately, or as it is found now.
    ///
    /// # Errors
    /// There is no such node, or the registry could not be had.
    pub async fn status(&self, id: &str) -> Result<Arc<Status>, FleetError> {
        Ok(self.look(&self.node(id).await?).await)
    }

    /// How all nodes are, in their order; those that are asked now are asked side by side.
    ///
    /// # Errors
    /// The registry could not be had.
    pub async fn overview(&self) -> Result<Vec<(Node, Arc<Status>)>, FleetError> {
        let nodes = self.nodes().await?;
        let looks = stream::iter(nodes.iter().cloned().enumerate()).map(|(place, node)| async move {
            let status = self.look(&node).await;
            (place, node, status)
        });
        // One that hangs holds its own place only.
        let mut all: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
        all.sort_unstable_by_key(|(place, ..)| *place);
        Ok(all.into_iter().map(|(_, node, status)| (node, status)).collect())
    }

    async fn look(&self, node: &Node) -> Arc<Status> {
        let known = self.found().get(&node.id).cloned();
        let age = |status: &Status| SystemTime::now().duration_since(status.checked_at).unwrap_or_default();
        match known {
            Some(status) if age(&status) < self.0.fresh => status,
            _ => self.probe(node).await,
        }
    }

    async fn probe(&self, node: &Node) -> Arc<Status> {
        let status = Arc::new(probe::probe(&self.0.client, node, self.0.within).await);
        let before = {
            let mut found = self.found();
            // It may have been deleted while it was asked.
            match self.0.nodes.borrow().iter().any(|known| known.id == node.id) {
                true => found.insert(node.id.clone(), Arc::clone(&status)),
                false => return status,
            }
        };
        if before.as_ref().map(|before| before.status) != Some(status.status) {
            match &status.error {
                Some(error) => tracing::warn!(node = node.id, "{}", error.message),
                None => tracing::info!(node = node.id, "it answers: {:?}", status.status),
            }
            self.0.changed.send_modify(|count| *count += 1);
        }
        status
    }

    /// Told when a node is found to be otherwise than before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Probes all nodes again and again, and keeps `last_seen` and `capabilities` of those that answer. The owner ends
    /// it by dropping it.
    pub async fn watch(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Ok(nodes) = self.nodes().await else { return };
            let probes = stream::iter(nodes.iter().cloned()).map(|node| {
                let fleet = self.clone();
                async move {
                    let status = fleet.probe(&node).await;
                    (node.id, status)
                }
            });
            let all: Vec<_> = probes.buffer_unordered(AT_ONCE).collect().await;
            if let Err(error) = self.remember(&all).await {
                tracing::warn!("{error}: last_seen of nodes is not kept");
            }
        }
    }

    async fn remember(&self, found: &[(String, Arc<Status>)]) -> Result<(), FleetError> {
        let reached: HashMap<&str, &Status> = found
            .iter()
            .filter(|(_, status)| status.reached())
            .map(|(id, status)| (id.as_str(), status.as_ref()))
            .collect();
        if reached.is_empty() {
            return Ok(());
        }
        self.edit(|nodes| {
            for node in nodes.iter_mut() {
                if let Some(status) = reached.get(node.id.as_str()) {
                    node.last_seen = telemetry::timestamp(status.checked_at);
                    if let Some(told) = capabilities(status) {
                        node.capabilities = told;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    /// Passes an action on.
    ///
    /// # Errors
    /// It may not be passed on, or the node does not answer or take the token.
    pub async fn act(
        &self,
        id: &str,
        action: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer, FleetError> {
        let node = self.node(id).await?;
        if node.transport == Transport::Docker {
            return Err(FleetError::Unsupported { node: node.id });
        }
        if !node.allows(action) {
            let allowed =
                node.actions.as_ref().map_or_else(|| node::DEFAULT_ACTIONS.join(", "), |own| own.join(", "));
            return Err(FleetError::NotAllowed {
                node: node.id,
                action: action.chars().take(64).collect(),
                allowed,
            });
        }
        let path = format!("/api/actions/{action}");
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        let largest = LARGEST_ANSWER;
        let question =
            Question { method: Method::POST, path: &path, body: Some(body), headers: &[], within, largest };
        let answer = self.0.client.ask(&node, &question).await;
        let answer = answer.map_err(|error| FleetError::Unreachable { node: node.id.clone(), error })?;
        match answer.status {
            401 | 403 => Err(FleetError::Unauthorized(node.id)),
            _ => Ok(answer),
        }
    }
}

/// What a node says it can do, where it does.
fn capabilities(status: &Status) -> Option<Vec<String>> {
    let told = status.probes.as_ref()?.metrics.payload.get("capabilities")?.as_array()?;
    let names = told.iter().filter_map(Value::as_str).filter(|name| name.len() <= 64 && !name.contains('/'));
    Some(names.take(64).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
