//! Whether the address of the configuration can be listened on, and who has it if not.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

/// What became of listening there for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    Free,
    /// Somebody listens; `None` when that process is not ours to see.
    Taken(Option<Holder>),
    /// Below 1024, and we are not allowed to.
    Forbidden,
    /// The machine has no such address.
    NoAddress,
    Other(String),
}

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// As in `/proc/PID/comm`.
    pub name: String,
}

/// Listens for a moment, and looks into `/proc` when that fails.
pub fn look(address: IpAddr, port: u16) -> Port {
    match TcpListener::bind((address, port)) {
        Ok(_) => Port::Free,
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => Port::Taken(holder(port)),
            ErrorKind::PermissionDenied => Port::Forbidden,
            ErrorKind::AddrNotAvailable => Port::NoAddress,
            _ => Port::Other(error.to_string()),
        },
    }
}

fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let has = files.any(|file| {
            let target = file.ok().and_then(|file| fs::read_link(file.path()).ok());
            target.is_some_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        });
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        has.then(|| Holder { pid, name: name() })
    })
}

/// The inodes of sockets that listen on `port`, from the text of `/proc/net/tcp` (proc(5)).
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let ours = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        ours.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_on_the_port_are_taken_from_the_table() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41221 1 0 100 0
   1: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 41222 1 0 20 4
   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0
";
        assert_eq!(listening(table, 8080), [41221]);
        assert_eq!(listening(table, 81), [] as [u64; 0]);
        assert_eq!(listening("garbage\n: : :", 80), [] as [u64; 0]);
    }

    #[test]
    fn a_port_in_use_names_the_process_that_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let Port::Taken(Some(holder)) = look(address.ip(), address.port()) else {
            panic!("{:?}", look(address.ip(), address.port()));
        };
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty());
        drop(taken);
        assert_eq!(look(address.ip(), address.port()), Port::Free);
        assert_eq!(look("192.0.2.1".parse().unwrap(), 8080), Port::NoAddress);
    }
}
