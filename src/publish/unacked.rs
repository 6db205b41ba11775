//! What a TCP peer has not confirmed yet, by the kernel's own tables (proc_net_tcp(5)).
//!
//! The kernel takes megabytes for a peer that is gone: a slow stream would seem to be taken for minutes.
//! The elements do not show their sockets, so that neither TCP_USER_TIMEOUT nor TCP_INFO can be had.

use std::collections::HashSet;
use std::path::Path;

/// The bytes that wait, sent or not, in this process's connection to `port` of any peer. None without such a
/// connection, or where the kernel does not say; and when there are several, for nothing tells whose is
/// whose: what waits for a server that hangs is not to be held against its neighbour. Blocking.
pub fn unacknowledged(port: u16) -> Option<u64> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let rows: Vec<Row> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|t| parse(&t, port))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let own = sockets(Path::new("/proc/self/fd"));
    let mut waiting = rows.iter().filter(|row| own.contains(&row.inode)).map(|row| row.waiting);
    waiting.next().filter(|_| waiting.next().is_none())
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    waiting: u64,
    inode: u64,
}

/// The established connections to this port. What is not understood is left out.
fn parse(table: &str, port: u16) -> Vec<Row> {
    const ESTABLISHED: &str = "01";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, remote, state, queues, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (_, remote) = remote.rsplit_once(':')?;
        let (waiting, _) = queues.split_once(':')?;
        (state == ESTABLISHED && u16::from_str_radix(remote, 16).ok()? == port).then_some(())?;
        Some(Row { waiting: u64::from_str_radix(waiting, 16).ok()?, inode: inode.parse().ok()? })
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
            3: nonsense\n\n\
            4: 00000000000000000000000001000000:E2CA 00000000000000000000000001000000:078F 01 00000002:0 0 0 0 0 9 1\n";
        let rows = parse(table, 1935);
        assert_eq!(rows, [Row { waiting: 0x15f10, inode: 4711 }, Row { waiting: 2, inode: 9 }]);
        assert_eq!(parse(table, 80), []);
        assert_eq!(parse("", 80), []);
    }

    #[test]
    fn of_several_connections_to_a_port_nothing_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let first = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(unacknowledged(port), Some(0));
        let second = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(unacknowledged(port), None);
        drop((first, second));
    }

    #[test]
    fn what_a_peer_does_not_read_is_counted_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(unacknowledged(port), None, "nobody is connected");
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(port), Some(0));
        client.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = client.write(&[0; 4096]) {
            sent += count;
        }
        let waiting = unacknowledged(port).unwrap();
        assert!(waiting > 0 && waiting <= sent as u64, "{waiting} of {sent}");
        server.read_exact(&mut vec![0; sent]).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while unacknowledged(port) != Some(0) {
            assert!(std::time::Instant::now() < deadline, "{:?}", unacknowledged(port));
            std::thread::yield_now();
        }
    }
}
