//! What systemd is told: ready, how it goes, that the process lives, that it stops.
//!
//! One datagram each to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); without that variable
//! nothing is sent. Main makes the [`Notifier`] and owns the watchdog task. Sent directly, because the
//! environment is an argument here and the socket must never block the runtime.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::vitals::Vitals;

/// The service manager's ear. Cloning clones a reference.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ear: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    ready: AtomicBool,
    deaf: AtomicBool,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. `env` is usually [`std::env::var_os`].
    pub fn new(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let ear = env("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let opened = address(&name).and_then(|address| Ok((socket()?, address)));
            opened
                .inspect_err(|error| {
                    tracing::warn!("systemd: cannot use NOTIFY_SOCKET {}: {error}", name.to_string_lossy());
                })
                .ok()
        });
        let number = |name| env(name).and_then(|value| value.to_str()?.trim().parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && ours).map(Duration::from_micros);
        Self(Arc::new(Inner { ear, watchdog, ready: false.into(), deaf: false.into() }))
    }

    /// Says that the service is up. Only the first time counts.
    pub fn ready(&self) {
        if !self.0.ready.swap(true, Ordering::Relaxed) {
            self.send("READY=1");
        }
    }

    /// How it goes, in words; `systemctl status` shows it.
    pub fn status(&self, words: &str) {
        self.send(&format!("STATUS={}", words.replace('\n', " ")));
    }

    /// Says that the service is going down.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Feeds the watchdog at half its time for as long as supervision is alive; never returns. Without
    /// a watchdog it just waits. Run it as a task on the runtime that it vouches for.
    pub async fn feed_watchdog(&self, vitals: &Vitals) {
        let Some(limit) = self.0.watchdog.filter(|_| self.0.ear.is_some()) else {
            return std::future::pending().await;
        };
        let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut starving = false;
        loop {
            beat.tick().await;
            match vitals.overdue() {
                None => {
                    starving = false;
                    self.send("WATCHDOG=1");
                }
                Some(name) if !starving => {
                    starving = true;
                    tracing::error!(
                        "the supervisor of {name} does not run; \
                         leaving it to systemd's watchdog to start the service anew"
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.0.ear else { return };
        // A full socket buffer loses one message of many; the next one comes.
        match socket.send_to_addr(message.as_bytes(), address) {
            Ok(_) => self.0.deaf.store(false, Ordering::Relaxed),
            Err(error) if self.0.deaf.swap(true, Ordering::Relaxed) => {
                tracing::debug!("systemd: {message} was not heard: {error}");
            }
            Err(error) => tracing::warn!("systemd: {message} was not heard: {error}"),
        }
    }
}

/// A path, or with `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}

fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn notifier(socket: &OsStr, usec: Option<&str>, pid: Option<&str>) -> Notifier {
        Notifier::new(|name| match name {
            "NOTIFY_SOCKET" => Some(socket.to_owned()),
            "WATCHDOG_USEC" => usec.map(Into::into),
            "WATCHDOG_PID" => pid.map(Into::into),
            _ => None,
        })
    }

    fn ear() -> (tempfile::TempDir, UnixDatagram, OsString) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        ear.set_nonblocking(true).unwrap();
        (dir, ear, path.into_os_string())
    }

    fn heard(ear: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        std::iter::from_fn(|| {
            ear.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into())
        })
        .collect()
    }

    #[test]
    fn systemd_hears_ready_once_and_the_status_in_words() {
        let (_dir, ear, path) = ear();
        let notifier = notifier(&path, None, None);
        notifier.ready();
        notifier.clone().ready();
        notifier.status("2 cameras live,\n1 backing off");
        notifier.stopping();
        assert_eq!(heard(&ear), ["READY=1", "STATUS=2 cameras live, 1 backing off", "STOPPING=1"]);
    }

    #[test]
    fn an_abstract_socket_is_heard_too() {
        let name = format!("fanlight-test-{}", std::process::id());
        let ear = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        ear.set_nonblocking(true).unwrap();
        notifier(OsStr::new(&format!("@{name}")), None, None).ready();
        assert_eq!(heard(&ear), ["READY=1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_at_half_its_time_only_while_supervision_lives() {
        let (_dir, ear, path) = ear();
        let notifier = notifier(&path, Some("20000000"), Some(&std::process::id().to_string()));
        let vitals = Vitals::new(0);
        let beat = vitals.enrol("camera porch");
        let (task_notifier, task_vitals) = (notifier.clone(), vitals.clone());
        let task = tokio::spawn(async move { task_notifier.feed_watchdog(&task_vitals).await });
        beat.sleeps_until(Some(Instant::now() + Duration::from_secs(100)));
        tokio::time::sleep(Duration::from_secs(101)).await;
        assert_eq!(heard(&ear), vec!["WATCHDOG=1"; 11]);
        // The loop does not come back: after its slack the feeding ends.
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(heard(&ear), Vec::<String>::new());
        beat.sleeps_until(None);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(heard(&ear), ["WATCHDOG=1"]);
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn without_systemd_nothing_is_sent_and_nothing_fails() {
        let none = Notifier::new(|_| None);
        none.ready();
        none.status("fine");
        let vitals = Vitals::new(0);
        let fed = tokio::time::timeout(Duration::from_secs(100), none.feed_watchdog(&vitals)).await;
        assert!(fed.is_err());
        // A socket that is not there, a name that is none, a watchdog that is another process's.
        notifier(OsStr::new("/nonexistent/notify"), None, None).ready();
        notifier(OsStr::new("vsock:2:1"), None, None).ready();
        let (_dir, ear, path) = ear();
        let others = notifier(&path, Some("1000000"), Some("1"));
        let _ = tokio::time::timeout(Duration::from_secs(10), others.feed_watchdog(&vitals)).await;
        assert_eq!(heard(&ear), Vec::<String>::new());
    }
}
