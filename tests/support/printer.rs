//! Simulated printers: `fanlight simulate printer` as a process that tests give orders, and mosquitto's own
//! tools as an independent client of them.
//!
//! Printers keep the ports of the machines; each has an address of 127.0.0.0/8 of its own instead, so that
//! tests run beside each other.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Process, lacks};

/// On a busy machine, with several printers.
const STARTS: Duration = Duration::from_secs(60);
/// A broker is restarted within this, too.
const OBEYS: Duration = Duration::from_secs(20);
pub const CODE: &str = "12345678";

/// One of them, as it was printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    pub model: String,
    pub address: String,
    pub serial: String,
    /// `rtsps://ADDRESS:PORT/streaming/live/1`, or `ADDRESS:PORT` of JPEGs.
    pub camera: String,
}

#[derive(Debug)]
pub struct Printers {
    process: Process,
    list: Vec<Simulated>,
    _folder: tempfile::TempDir,
}

impl Printers {
    /// So many printers of these models (`X1C,A1`) in turn, with more arguments; `None` when the test is
    /// left out because there is no mosquitto.
    pub fn start(test: &str, models: &str, count: usize, arguments: &[&str]) -> Option<Self> {
        if lacks(test, &[("mosquitto", "mosquitto")]) {
            return None;
        }
        // It is killed with its guard and cannot clear up.
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanlight"));
        command
            .args(["simulate", "printer", "--access-code", CODE, "--model", models])
            .args(["--count", &count.to_string(), "--bind", &addresses(count)])
            .args(arguments)
            .env("TMPDIR", folder.path())
            .env("NO_COLOR", "1");
        let process = Process::spawn("the simulated printers", &mut command);
        process.wait_line("are ready", 0, STARTS, |line| (line == "ready").then_some(()));
        let list: Vec<_> = process.output().lines().filter_map(read).collect();
        assert_eq!(list.len(), count, "{}", process.output());
        Some(Self { process, list, _folder: folder })
    }

    pub fn all(&self) -> &[Simulated] {
        &self.list
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Gives an order and waits until it is obeyed.
    #[track_caller]
    pub fn order(&mut self, order: &str) {
        let from = self.process.line_count();
        self.process.write_line(order);
        let answer = self.process.wait_line(&format!("answers {order:?}"), from, OBEYS, |line| {
            let rest = line.strip_prefix("ok ").or_else(|| line.strip_prefix("no "))?;
            rest.starts_with(order).then(|| line.to_owned())
        });
        assert!(answer.starts_with("ok "), "{answer}");
    }
}

/// The first of so many addresses that nobody else has.
fn addresses(count: usize) -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(1);
    let first = TAKEN.fetch_add(count as u32, Ordering::Relaxed);
    let process = std::process::id();
    std::net::Ipv4Addr::from(0x7f40_0000 | (process & 0x3fff) << 8 | first).to_string()
}

/// `X1C  127.64.0.1  serial …  access code …  MQTT 8883  camera …`
fn read(line: &str) -> Option<Simulated> {
    let after = |word: &str| line.split_once(word)?.1.split_whitespace().next();
    let mut words = line.split_whitespace();
    let (model, address) = (words.next()?.to_owned(), words.next()?.to_owned());
    let serial = after(" serial ")?.to_owned();
    let camera = after("  camera ").filter(|word| *word != "JPEG").or_else(|| after(" JPEG on "))?.to_owned();
    Some(Simulated { model, address, serial, camera })
}

impl Simulated {
    /// What `POST /api/printers` wants of it.
    pub fn registration(&self) -> Value {
        json!({
            "name": format!("Simulated {}", self.model), "host": self.address, "serial": self.serial,
            "accessCode": CODE
        })
    }

    /// The camera's URL with this login, for readers of RTSPS.
    pub fn camera_url(&self, code: &str) -> String {
        self.camera.replace("rtsps://", &format!("rtsps://bblp:{code}@"))
    }

    /// The certificate of its MQTT port in PEM; `None` while nobody answers.
    pub fn certificate(&self) -> Option<String> {
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", &format!("{}:8883", self.address)])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed (package openssl)");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let begin = shown.find("-----BEGIN")?;
        let end = "-----END CERTIFICATE-----\n";
        Some(shown[begin..shown.find(end)? + end.len()].to_owned())
    }

    /// Listens to its reports with this code; `None` when the test is left out.
    pub fn listen(&self, test: &str, code: &str) -> Option<Listener> {
        if lacks(test, &[("mosquitto_sub", "mosquitto-clients"), ("openssl", "openssl")]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let authority = folder.path().join("printer.pem");
        std::fs::write(&authority, self.certificate().expect("a certificate")).expect("its file");
        let mut tool = vec!["-h".to_owned(), self.address.clone(), "--cafile".into()];
        tool.push(authority.display().to_string());
        tool.extend(["-p", "8883", "--insecure", "-u", "bblp", "-P", code].map(str::to_owned));
        // Into a pipe it would write by the block.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub"]).args(&tool).args([
            "-d",
            "-t",
            &format!("device/{}/report", self.serial),
        ]);
        let process = Process::spawn("mosquitto_sub", &mut command);
        Some(Listener { process, tool, request: format!("device/{}/request", self.serial), _folder: folder })
    }
}

/// mosquitto_sub and mosquitto_pub.
#[derive(Debug)]
pub struct Listener {
    process: Process,
    tool: Vec<String>,
    request: String,
    _folder: tempfile::TempDir,
}

impl Listener {
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until its subscription holds.
    #[track_caller]
    pub fn wait_subscribed(&self) {
        self.process.wait_line("is subscribed", 0, OBEYS, |line| line.contains("Subscribed").then_some(()));
    }

    /// Reports so far, for [`Listener::wait`].
    pub fn heard(&self) -> usize {
        self.process.line_count()
    }

    /// Waits for a message for which `pick` has an answer, after the first `from` lines.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, from: usize, pick: impl Fn(&Value) -> Option<T>) -> T {
        self.process.wait_line(what, from, OBEYS, |line| pick(&serde_json::from_str(line).ok()?))
    }

    /// Publishes a request.
    #[track_caller]
    pub fn request(&self, message: &Value) {
        let done = Command::new("mosquitto_pub")
            .args(&self.tool)
            .args(["-t", &self.request, "-m", &message.to_string()])
            .output()
            .expect("mosquitto_pub can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Publishes a command and gives its acknowledgement.
    #[track_caller]
    pub fn command(&self, namespace: &str, command: Value) -> Value {
        let from = self.heard();
        self.request(&json!({ "user_id": "1", namespace: command }));
        let sequence = &command["sequence_id"];
        self.wait(&format!("acknowledges {command}"), from, |message| {
            let answer = &message[namespace];
            (answer["result"].is_string() && answer["sequence_id"] == *sequence).then(|| answer.clone())
        })
    }
}
