//! Printers of the network, found by what they announce every few seconds on UDP port 2021.
//!
//! The port is open only while somebody adds a printer: [`Search::found`] opens it, and it is closed
//! [`LINGER`] after the last question. Nothing is sent. What is heard is text of strangers: it is offered to
//! a person, never acted on. At most [`MOST`] printers are remembered, each for [`KNOWN`].

mod announcement;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

pub use announcement::Announcement;
use announcement::MOST_BYTES;

/// Where printers announce themselves.
pub const PORT: u16 = 2021;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The port is closed this long after it was last asked for.
const LINGER: Duration = Duration::from_secs(60);
/// How long a printer is remembered that is not heard any more.
const KNOWN: Duration = Duration::from_secs(300);
/// More than a person looks through.
const MOST: usize = 128;
/// A flood of packets leaves the processor to others this often.
const BREATH: Duration = Duration::from_millis(1);

/// The search. Cloning it clones a reference.
#[derive(Clone, Debug, Default)]
pub struct Search(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    heard: BTreeMap<String, (Announcement, Instant)>,
    until: Option<Instant>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Search {
    /// The printers that were heard, by serial; listens from now on for a while.
    ///
    /// # Errors
    /// In words, when the port cannot be listened on.
    pub fn found(&self) -> Result<Vec<Announcement>, String> {
        let now = Instant::now();
        let mut state = self.state();
        state.until = Some(now + LINGER);
        if state.task.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let socket = open().map_err(|error| {
                format!("printers on the network cannot be listened for on UDP port {PORT}: {error}")
            })?;
            tracing::debug!("listening for printers on UDP port {PORT}");
            state.task = Some(AbortOnDropHandle::new(tokio::spawn(listen(socket, Arc::clone(&self.0)))));
        }
        state.heard.retain(|_, (_, at)| now - *at < KNOWN);
        Ok(state.heard.values().map(|(announcement, _)| announcement.clone()).collect())
    }

    /// Closes the port.
    pub fn shutdown(&self) {
        self.state().task = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn hear(&mut self, announcement: Announcement, now: Instant) {
        if self.heard.len() >= MOST && !self.heard.contains_key(&announcement.serial) {
            let oldest = self.heard.iter().min_by_key(|(_, (_, at))| *at).map(|(serial, _)| serial.clone());
            oldest.and_then(|serial| self.heard.remove(&serial));
        }
        self.heard.insert(announcement.serial.clone(), (announcement, now));
    }
}

/// Hears until nobody has asked for a while.
async fn listen(socket: UdpSocket, state: Arc<Mutex<State>>) {
    // One byte more than is looked at, to see what is too long.
    let mut packet = [0; MOST_BYTES + 1];
    loop {
        let Some(until) = lock(&state).until.filter(|until| *until > Instant::now()) else { return };
        match timeout_at(until, socket.recv_from(&mut packet)).await {
            Ok(Ok((length, sender))) => {
                if let Some(heard) = Announcement::parse(&packet[..length], sender.ip()) {
                    lock(&state).hear(heard, Instant::now());
                }
                tokio::time::sleep(BREATH).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a packet on UDP port {PORT} could not be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // Asked again in the meantime, or not.
            Err(_) => {}
        }
    }
}

/// The port beside others that listen there: the slicers do.
fn open() -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    // Broadcasts come by themselves, those to the group only where it was joined. An interface without
    // multicast is no reason not to hear the others.
    for interface in interfaces() {
        let _ = socket.join_multicast_v4(&GROUP, &interface);
    }
    UdpSocket::from_std(socket.into())
}

fn interfaces() -> Vec<Ipv4Addr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(serial: &str) -> Announcement {
        Announcement {
            serial: serial.into(),
            host: [10, 0, 0, 7].into(),
            name: String::new(),
            model: String::new(),
            firmware: String::new(),
            lan: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_announce_themselves_the_newest_are_remembered_and_no_more() {
        let mut state = State::default();
        for number in 0..3 * MOST {
            state.hear(announcement(&format!("S{number:06}")), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(state.heard.len(), MOST);
        assert!(state.heard.contains_key(&format!("S{:06}", 3 * MOST - 1)));
        state.hear(announcement(&format!("S{:06}", 3 * MOST - 1)), Instant::now());
        assert_eq!(state.heard.len(), MOST, "the same again is no other");
    }
}
