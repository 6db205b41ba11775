//! Brings the news of devices into the set of cameras. One task; where the news come from is handed in.

use std::time::Instant;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::Cameras;
use super::roster::{Change, News, Roster};

/// Where news of devices come from: udev, or a test.
pub trait Devices: Send {
    /// The next change; `None`: there will be no more.
    fn next(&mut self) -> BoxFuture<'_, Option<Change>>;
}

impl Devices for mpsc::Receiver<Change> {
    fn next(&mut self) -> BoxFuture<'_, Option<Change>> {
        Box::pin(self.recv())
    }
}

/// Runs until there is no more news, or until it is dropped.
pub async fn run(cameras: Cameras, mut devices: impl Devices) {
    let mut roster = Roster::default();
    // News are not kept waiting by a slow disk.
    let mut writing: Option<BoxFuture<'_, ()>> = None;
    let mut unwritten = false;
    loop {
        if unwritten && writing.is_none() {
            unwritten = false;
            writing = Some(Box::pin(cameras.persist()));
        }
        let deadline = roster.deadline();
        let news = tokio::select! {
            change = devices.next() => match change {
                Some(Change::Came(node)) => roster.came(*node, Instant::now()),
                Some(Change::Went(key)) => roster.went(&key).into_iter().collect(),
                None => break,
            },
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                roster.settle(Instant::now())
            }
            () = ready(&mut writing) => {
                writing = None;
                continue;
            }
        };
        for news in news {
            unwritten |= cameras.hear(news).await;
        }
    }
    if let Some(writing) = writing {
        writing.await;
    }
    cameras.persist().await;
}

/// Resolves when it is done; never without one.
async fn ready(writing: &mut Option<BoxFuture<'_, ()>>) {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

impl Cameras {
    /// Takes in that a device came or went. Whether something is to be written for it.
    async fn hear(&self, news: News) -> bool {
        let mut keeping = self.0.keeping.lock().await;
        if let Some((list, entries)) = keeping.news(news, &self.all()) {
            self.show(list, entries);
        }
        keeping.is_unwritten()
    }

    /// Writes what has changed and is not written. One at a time, so that the newest is what is kept; the set of
    /// cameras is not locked meanwhile.
    pub(super) async fn persist(&self) {
        let _turn = self.0.writing.lock().await;
        let unwritten = self.0.keeping.lock().await.take_unwritten();
        if let Some(unwritten) = unwritten {
            unwritten.write().await;
        }
    }

    /// Changes the settings of a discovered camera, which starts anew with them. Whether there is one. Goes through
    /// once begun, whether somebody waits or not.
    ///
    /// # Errors
    /// In words: what is not possible.
    pub async fn change(&self, id: &str, change: &Map<String, Value>) -> Result<bool, String> {
        let (cameras, id, change) = (self.clone(), id.to_owned(), change.clone());
        let changed = tokio::spawn(async move { cameras.change_settings(&id, &change).await });
        changed.await.unwrap_or_else(|panic| Err(format!("the change broke off: {panic}")))
    }

    async fn change_settings(&self, id: &str, change: &Map<String, Value>) -> Result<bool, String> {
        let mut keeping = self.0.keeping.lock().await;
        let Some((list, entries)) = keeping.change(id, change, &self.all()).await? else { return Ok(false) };
        self.show(list, entries);
        drop(keeping);
        self.persist().await;
        Ok(true)
    }

    /// Forgets a discovered camera that is away, with its alias and its settings. Whether there was one. Goes through
    /// once begun, whether somebody waits or not.
    pub async fn forget(&self, id: &str) -> bool {
        let (cameras, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move { cameras.forget_away(&id).await }).await.unwrap_or(false)
    }

    async fn forget_away(&self, id: &str) -> bool {
        let mut keeping = self.0.keeping.lock().await;
        let Some((list, entries)) = keeping.forget(id, &self.all()).await else { return false };
        self.show(list, entries);
        drop(keeping);
        self.persist().await;
        true
    }
}
