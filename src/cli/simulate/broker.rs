//! The MQTT broker of a simulated printer: Debian's mosquitto with a configuration of its own, as a child.
//!
//! Clients come by TLS as `bblp`; the printer itself by a Unix socket in the same folder. The child is killed
//! when its guard goes. What can go wrong: it is not installed, or the port is taken; both are said.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use tokio::time::Instant;

use super::certificate::Files;

/// The user that clients come as, as on the machines.
pub const USER: &str = "bblp";
/// The one that the printer itself comes as.
pub const MACHINE: &str = "machine";
/// It listens well within this.
const STARTS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
/// As mosquitto counts them for passwords by default.
const ROUNDS: usize = 101;

/// What the broker is for.
#[derive(Clone, Debug)]
pub struct Settings {
    pub program: PathBuf,
    /// Where it listens for clients.
    pub address: SocketAddr,
    pub serial: String,
    pub access_code: String,
    pub machine_password: String,
    pub files: Files,
}

/// A broker that runs; killed when dropped.
#[derive(Debug)]
pub struct Broker(Child);

/// Finds mosquitto: on the path, or where Debian keeps servers.
pub fn find() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            anyhow!("mosquitto is missing, the broker of a simulated printer: apt install mosquitto")
        })
}

/// Where the printer itself connects.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("broker.sock")
}

impl Broker {
    /// Starts it with its files in `folder`; returns once it listens.
    pub async fn start(folder: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let socket = socket(folder);
        let file = |name: &str| folder.join(name);
        let passwords = [
            password_line(USER, &settings.access_code)?,
            password_line(MACHINE, &settings.machine_password)?,
        ];
        std::fs::write(file("passwords"), passwords.concat())?;
        std::fs::write(file("acl"), acl(&settings.serial))?;
        std::fs::write(file("mosquitto.conf"), configuration(folder, settings))?;
        // One that was killed leaves it behind.
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::create(file("mosquitto.log"))?;
        let child = bound_to_us(&settings.program)
            .arg("-c")
            .arg(file("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", settings.program.display()))?;
        let mut broker = Self(child);
        let began = Instant::now();
        // The socket is the last that it listens on.
        while !socket.exists() {
            let ended = broker.0.try_wait()?;
            if ended.is_some() || began.elapsed() > STARTS {
                let said = std::fs::read_to_string(file("mosquitto.log")).unwrap_or_default();
                bail!("mosquitto does not listen on {}: {}", settings.address, last_words(&said));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(broker)
    }
}

impl Drop for Broker {
    /// Ends it at once, as a printer that loses power; its port is free afterwards.
    fn drop(&mut self) {
        // An error means that it has ended. Killed, it is gone within a moment.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command for this program whose process ends with the thread that begins it, also when that is killed.
fn bound_to_us(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// What it said of its trouble.
fn last_words(log: &str) -> &str {
    log.lines()
        .rfind(|line| line.contains("Error"))
        .or_else(|| log.lines().last())
        .unwrap_or("it says nothing")
}

fn configuration(folder: &Path, settings: &Settings) -> String {
    let Settings { address, files, .. } = settings;
    format!(
        "per_listener_settings false\nallow_anonymous false\npersistence false\nlog_type error\nlog_type warning\n\
         log_dest stderr\npassword_file {passwords}\nacl_file {acl}\nmax_keepalive 65535\n{user}\
         listener {port} {ip}\ncertfile {certificate}\nkeyfile {key}\n\
         listener 0 {socket}\n",
        passwords = folder.join("passwords").display(),
        acl = folder.join("acl").display(),
        // As root it would become somebody who may not read the folder.
        user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" },
        port = address.port(),
        ip = address.ip(),
        certificate = files.certificate.display(),
        key = files.key.display(),
        socket = socket(folder).display(),
    )
}

fn acl(serial: &str) -> String {
    format!(
        "user {USER}\ntopic read device/{serial}/report\ntopic write device/{serial}/request\n\n\
         user {MACHINE}\ntopic read device/{serial}/request\ntopic write device/{serial}/report\n"
    )
}

/// A line of mosquitto's password file: PBKDF2 with SHA-512.
fn password_line(user: &str, password: &str) -> anyhow::Result<String> {
    let salt: [u8; 12] = rand::random();
    let mut hash = [0; 64];
    openssl::pkcs5::pbkdf2_hmac(password.as_bytes(), &salt, ROUNDS, MessageDigest::sha512(), &mut hash)?;
    Ok(format!("{user}:$7${ROUNDS}${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mosquitto_said_last_of_its_trouble_is_told() {
        for (log, words) in [
            (
                "1: mosquitto version\n1: Error: Address already in use\n1: bye",
                "1: Error: Address already in use",
            ),
            ("1: one\n1: two", "1: two"),
            ("", "it says nothing"),
        ] {
            assert_eq!(last_words(log), words);
        }
    }
}
