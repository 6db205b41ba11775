//! What a TCP peer has not confirmed yet, by the kernel's own tables (proc_net_tcp(5)).
//!
//! The kernel takes megabytes for a peer that is gone: a slow stream would seem to be taken for minutes.
//! The elements do not show their sockets, so that neither TCP_USER_TIMEOUT nor TCP_INFO can be had. Which of
//! this process's sockets is whose is told by when it came: outputs that go to one port connect one after the
//! other, and each remembers what was there before.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Others to its port wait this long for one to connect. After that only what it began by then may be its own.
const TURN: Duration = Duration::from_secs(2);

/// The connections of this process that have an owner. Cloning it clones a reference.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// By the inodes of their sockets.
    owned: Arc<Mutex<HashSet<u64>>>,
    /// By port: whose turn it is. Only those that somebody has or waits for.
    turns: Arc<Mutex<HashMap<u16, Weak<Semaphore>>>>,
}

impl Connections {
    /// Whoever goes to connect to `port` of any peer. Waits until nobody else does to that port.
    pub async fn expect(&self, port: u16) -> Own {
        // The semaphore is never closed.
        let turn = self.turn(port).acquire_owned().await.ok();
        let before = tokio::task::spawn_blocking(move || own_rows(port)).await.unwrap_or_default();
        Own {
            all: self.clone(),
            port,
            before: before.iter().map(|row| row.inode).collect(),
            begun: None,
            inode: None,
            turn: turn.map(|turn| (turn, Instant::now())),
        }
    }

    /// Of those that connect to `port`.
    fn turn(&self, port: u16) -> Arc<Semaphore> {
        let mut turns = lock(&self.turns);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&port).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        turns.insert(port, Arc::downgrade(&turn));
        turn
    }

    fn owned(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.owned)
    }
}

/// The data under these locks is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One output's connection, as soon as it is known which it is.
#[derive(Debug)]
pub struct Own {
    all: Connections,
    port: u16,
    /// Sockets that were there before it began.
    before: HashSet<u64>,
    /// When its turn has passed: those that it can have begun.
    begun: Option<HashSet<u64>>,
    inode: Option<u64>,
    turn: Option<(OwnedSemaphorePermit, Instant)>,
}

impl Own {
    /// The bytes that wait for its peer, sent or not. None while it is not connected, where the kernel does not
    /// say, and when nothing tells which connection is its own: what waits for a server that hangs is not to be
    /// held against its neighbour. Blocking.
    pub fn unacknowledged(&mut self) -> Option<u64> {
        self.look(&own_rows(self.port), Instant::now())
    }

    fn look(&mut self, rows: &[Row], now: Instant) -> Option<u64> {
        if let Some(inode) = self.inode {
            if let Some(row) = rows.iter().find(|row| row.inode == inode) {
                return row.established.then_some(row.waiting);
            }
            self.all.owned().remove(&inode);
            self.inode = None;
        }
        let mut owned = self.all.owned();
        let mine = |row: &&Row| {
            let begun = self.begun.as_ref().is_none_or(|begun| begun.contains(&row.inode));
            begun && !self.before.contains(&row.inode) && !owned.contains(&row.inode)
        };
        let found: Vec<&Row> = rows.iter().filter(mine).collect();
        let mut established = found.iter().filter(|row| row.established);
        if let (Some(row), None) = (established.next(), established.next()) {
            owned.insert(row.inode);
            drop(owned);
            self.inode = Some(row.inode);
            self.turn = None;
            return Some(row.waiting);
        }
        if self.turn.as_ref().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= TURN) {
            self.begun = Some(found.iter().map(|row| row.inode).collect());
            self.turn = None;
        }
        None
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(inode) = self.inode {
            self.all.owned().remove(&inode);
        }
    }
}

/// This process's connections to this port, those that are being made too. Blocking.
fn own_rows(port: u16) -> Vec<Row> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let mut rows: Vec<Row> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| parse(&table, port))
        .collect();
    if !rows.is_empty() {
        let own = sockets(Path::new("/proc/self/fd"));
        rows.retain(|row| own.contains(&row.inode));
    }
    rows
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    waiting: u64,
    inode: u64,
    established: bool,
}

/// The connections to this port that stand or are being made. What is not understood is left out.
fn parse(table: &str, port: u16) -> Vec<Row> {
    const ESTABLISHED: &str = "01";
    const SYN_SENT: &str = "02";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, remote, state, queues, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (_, remote) = remote.rsplit_once(':')?;
        let (waiting, _) = queues.split_once(':')?;
        let established = state == ESTABLISHED;
        let ours = (established || state == SYN_SENT) && u16::from_str_radix(remote, 16).ok()? == port;
        let (waiting, inode) = (u64::from_str_radix(waiting, 16).ok()?, inode.parse().ok()?);
        ours.then_some(Row { waiting, inode, established })
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The inodes of the sockets that stand open here.
fn sockets(descriptors: &Path) -> HashSet<u64> {
    let entries = std::fs::read_dir(descriptors).into_iter().flatten().flatten();
    let inode = |entry: std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn rows_are_read_by_port_and_state_and_nonsense_is_left_out() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:E2C8 0100007F:078F 01 00015F10:00000000 01:00000014 00000003     0        0 4711 2 0 20\n\
            1: 0100007F:078F 0100007F:E2C8 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20\n\
            2: 0100007F:E2C9 0100007F:078F 06 00000001:00000000 00:00000000 00000000     0        0 0 1 0 20\n\
            5: 0100007F:E2CB 0100007F:078F 02 00000001:00000000 00:00000000 00000000     0        0 4713 2 0 20\n\
            3: nonsense\n\n\
            4: 00000000000000000000000001000000:E2CA 00000000000000000000000001000000:078F 01 00000002:0 0 0 0 0 9 1\n";
        let rows = parse(table, 1935);
        let row = |waiting, inode, established| Row { waiting, inode, established };
        assert_eq!(rows, [row(0x15f10, 4711, true), row(1, 4713, false), row(2, 9, true)]);
        assert_eq!(parse(table, 80), []);
        assert_eq!(parse("", 80), []);
    }

    #[tokio::test]
    async fn outputs_to_one_port_are_told_apart_by_when_they_connect() {
        let row = |inode, established| Row { waiting: inode * 100, inode, established };
        let connections = Connections::default();
        let closed = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() };
        let began = Instant::now();
        let mut first = connections.expect(closed).await;
        assert_eq!(first.look(&[], began), None);
        assert!(connections.turn(closed).try_acquire().is_err(), "the next one waits");
        // Its peer does not answer: the next one may go, and knows its socket.
        assert_eq!(first.look(&[row(1, false)], began + 2 * TURN), None);
        let mut second = connections.expect(closed).await;
        second.before.insert(1);
        assert_eq!(second.look(&[row(1, false), row(2, true)], began), Some(200));
        // One that came since is not its own, and its own is when it stands.
        assert_eq!(first.look(&[row(1, false), row(2, true), row(3, true)], began), None);
        assert_eq!(first.look(&[row(1, true), row(2, true), row(3, true)], began), Some(100));
        assert_eq!(second.look(&[row(1, true), row(2, true)], began), Some(200));
        // Two at once: nobody knows.
        let mut third = connections.expect(closed).await;
        assert_eq!(third.look(&[row(1, true), row(4, true), row(5, true)], began), None);
        assert_eq!(third.look(&[row(1, true), row(5, true)], began), Some(500), "the other one is gone");
        drop((first, second, third));
        assert!(connections.owned().is_empty());
    }

    #[tokio::test]
    async fn whoever_connects_elsewhere_does_not_wait_for_a_server_that_hangs() {
        let connections = Connections::default();
        let hangs = connections.expect(1935).await;
        let elsewhere = connections.expect(1936).await;
        assert!(
            connections.turn(1935).try_acquire().is_err() && connections.turn(1936).try_acquire().is_err()
        );
        drop((hangs, elsewhere));
        drop(connections.expect(1937).await);
        assert_eq!(lock(&connections.turns).len(), 1, "those that are over are forgotten");
    }

    #[tokio::test]
    async fn what_a_peer_does_not_read_is_counted_until_it_does_and_not_against_its_neighbour() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Connections::default();
        let mut own = connections.expect(port).await;
        assert_eq!(own.unacknowledged(), None, "nobody is connected");
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(own.unacknowledged(), Some(0));
        let mut other = connections.expect(port).await;
        let neighbour = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(other.unacknowledged(), Some(0));
        client.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = client.write(&[0; 4096]) {
            sent += count;
        }
        let waiting = own.unacknowledged().unwrap();
        assert!(waiting > 0 && waiting <= sent as u64, "{waiting} of {sent}");
        assert_eq!(other.unacknowledged(), Some(0));
        server.read_exact(&mut vec![0; sent]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while own.unacknowledged() != Some(0) {
            assert!(Instant::now() < deadline, "{:?}", own.unacknowledged());
            std::thread::yield_now();
        }
        drop(neighbour);
        assert_eq!(other.unacknowledged(), None);
    }
}
