//! A network of its own for a test, made by `scripts/netns.sh`: `lo`, 10.77.0.1 and fd77::1 on `fan0`, and
//! no way out. The test runs itself again in there:
//!
//! ```ignore
//! #[test]
//! fn a_promise() {
//!     if !namespace::inside("a_promise") {
//!         return;
//!     }
//!     …
//! }
//! ```
//!
//! Each such test has its network and processes to itself, so ports never collide and nothing outlives it.
//! [`Trouble`] makes that network lose or swallow packets.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Process, skipped};

/// This machine's address in the namespace: ICE offers no loopback address.
pub const ADDRESS: &str = "10.77.0.1";
pub const ADDRESS_V6: &str = "fd77::1";
/// The interface that has them.
pub const INTERFACE: &str = "fan0";

/// Set for the test that runs in there.
const MARK: &str = "FANLIGHT_NAMESPACE";
/// Longer than any test takes.
const LIMIT: Duration = Duration::from_secs(600);

/// Whether this is the run in the namespace. Outside it runs the test in one, fails as that does, and says
/// no; where there are no namespaces it leaves the test out by name. `test` is its name as libtest knows
/// it, with the modules inside its file.
#[track_caller]
pub fn inside(test: &str) -> bool {
    if within() {
        return true;
    }
    if let Err(why) = possible() {
        skipped(test, &why);
        return false;
    }
    let mut command = Command::new(script());
    command.arg(std::env::current_exe().expect("the path of this test"));
    command.args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    let mut run = Process::spawn("the test in its namespace", command.env(MARK, "1"));
    let status = run.wait(LIMIT);
    // Indented: its closing line is not one of this run's.
    let output = run.output().replace('\n', "\n    ");
    assert!(status.success(), "{test} failed in its namespace ({status}):\n    {output}");
    // libtest is content with a name that it does not know.
    assert!(output.contains("test result: ok. 1 passed"), "{test} is not this test's name:\n    {output}");
    println!("    {output}");
    false
}

/// Whether this process runs in such a namespace.
pub fn within() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Why there are no namespaces on this machine.
pub fn possible() -> Result<(), String> {
    let check = Command::new(script()).arg("--check").output().expect("scripts/netns.sh can be run");
    if check.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&check.stderr).trim().replace('\n', "; "))
}

/// The script, for a command of one's own: `script() COMMAND…`.
pub fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/netns.sh")
}

/// Packet loss and silence, by nftables, until it is dropped. Packets vanish as in a real network: who sent
/// them is told nothing. Rules add up until [`Trouble::heal`]. Several of them are independent.
#[derive(Debug)]
pub struct Trouble {
    table: String,
}

impl Trouble {
    /// No trouble yet. `None` when the test is left out because `nft` is missing.
    pub fn brew(test: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(within(), "{test} would filter this machine's packets: only in a namespace");
        if super::lacks(test, &[("nft", "nftables")]) {
            return None;
        }
        let trouble = Self { table: format!("trouble{}", COUNT.fetch_add(1, Ordering::Relaxed)) };
        trouble.heal();
        Some(trouble)
    }

    /// All UDP packets to or from this port vanish.
    pub fn block_udp(&self, port: u16) {
        self.rule(&format!("udp dport {port} drop"));
        self.rule(&format!("udp sport {port} drop"));
    }

    /// All TCP packets to or from this port vanish: connections stall, new ones are not answered.
    pub fn block_tcp(&self, port: u16) {
        self.rule(&format!("tcp dport {port} drop"));
        self.rule(&format!("tcp sport {port} drop"));
    }

    /// All UDP packets vanish.
    pub fn block_all_udp(&self) {
        self.rule("meta l4proto udp drop");
    }

    /// Of the UDP packets to or from this port, so many in a thousand vanish.
    pub fn lose_udp(&self, port: u16, per_mille: u32) {
        for way in ["dport", "sport"] {
            self.rule(&format!("udp {way} {port} numgen random mod 1000 < {per_mille} drop"));
        }
    }

    /// Any rule of nftables for arriving packets.
    pub fn rule(&self, rule: &str) {
        self.run(&format!("add rule inet {} arriving {rule}", self.table));
    }

    /// The network is well again.
    pub fn heal(&self) {
        let table = &self.table;
        self.run(&format!(
            "add table inet {table}
             add chain inet {table} arriving {{ type filter hook input priority 0; }}
             flush table inet {table}"
        ));
    }

    fn run(&self, order: &str) {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let done = Command::new("nft").env("PATH", path).arg(order).output().expect("nft can be run");
        assert!(done.status.success(), "nft {order}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run(&format!("delete table inet {}", self.table));
        }
    }
}
