//! What the service says of a printer in trouble and how it comes out of it, on the real binary with simulated
//! printers (package mosquitto). Each test prints how long things took: `cargo test -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::namespace::{self, Trouble};
use support::printer::{CODE, Printers, Simulated};
use support::*;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = "[webrtc]\nport = 0\n[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 5\n\
                      idle = \"close\"\n";

fn send(service: &Fanlight, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    request(service.port(), method, path, &[("Content-Type", "application/json")], &body).unwrap()
}

/// A printer of the service.
struct Known<'a> {
    service: &'a Fanlight,
    id: String,
}

impl<'a> Known<'a> {
    #[track_caller]
    fn add(service: &'a Fanlight, printer: &Simulated) -> Self {
        let answer = send(service, "POST", "/api/printers", &printer.registration());
        assert_eq!(answer.status, 201, "{}", answer.text());
        Self { service, id: answer.json()["id"].to_string() }
    }

    fn path(&self) -> String {
        format!("/api/printers/{}", self.id)
    }

    fn status(&self) -> Value {
        self.service.get(&format!("{}/status?full=1", self.path())).json()
    }

    fn connected(&self) -> bool {
        let status = self.status();
        status["connected"] == true && status["details"]["state"] == "live"
    }

    #[track_caller]
    fn wait_connected(&self) -> Duration {
        wait_until("the printer is connected", PATIENCE, || self.connected())
    }

    /// Waits until it is not connected, in this state and with these words; how long that took.
    #[track_caller]
    fn wait_trouble(&self, what: &str, state: &str, words: &[&str]) -> Duration {
        let mut told = Value::Null;
        let began = Instant::now();
        while began.elapsed() < 2 * PATIENCE {
            told = self.status();
            let error = told["details"]["error"].as_str().unwrap_or_default().to_lowercase();
            if told["connected"] == false
                && told["details"]["state"] == state
                && words.iter().all(|word| error.contains(word))
            {
                println!("{what}: {state} after {:.1?}: {error}", began.elapsed());
                return began.elapsed();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{what}: not {state} with {words:?}: {told}");
    }

    fn camera(&self) -> Value {
        self.service.camera(&self.id)
    }
}

#[test]
fn each_trouble_of_a_printer_is_told_in_words_and_ends_when_it_does() {
    let test = "each_trouble_of_a_printer_is_told_in_words_and_ends_when_it_does";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let service = Fanlight::start(CONFIG);
    let simulated = printers.all()[0].clone();
    let printer = Known::add(&service, &simulated);
    printer.wait_connected();
    let back = |what: &str| println!("{what}: back after {:.1?}", printer.wait_connected());

    printers.order("broker off");
    printer.wait_trouble("broker killed", "backing_off", &["refuse"]);
    // What was known is still there to be read, and said to be old.
    let old = printer.status();
    assert!(old["nozzleC"].is_number() && old["details"]["stale"] == true, "{old}");
    printers.order("broker on");
    back("broker killed");

    printers.order("reboot 5");
    printer.wait_trouble("rebooted", "backing_off", &[]);
    back("rebooted for 5 s");

    printers.order("code 11112222");
    printer.wait_trouble("another code", "refused", &["access code"]);
    let mut mended = simulated.registration();
    mended["accessCode"] = "11112222".into();
    assert_eq!(send(&service, "PUT", &printer.path(), &mended).status, 200);
    back("the right code written");

    printers.order("certificate");
    printer.wait_trouble("another certificate", "refused", &["certificate"]);
    assert_eq!(send(&service, "POST", &format!("{}/certificate", printer.path()), &json!({})).status, 200);
    back("the certificate accepted");

    // Nonsense in reports is no reason to let go.
    printers.order("nonsense on");
    hold_for("it stays connected", Duration::from_secs(3), || printer.connected());
    printers.order("nonsense off");
    for code in [CODE, "11112222"] {
        assert!(!service.log().contains(code), "{}", service.log());
    }
}

#[test]
fn trouble_of_the_camera_and_trouble_of_mqtt_do_not_touch_each_other() {
    let test = "trouble_of_the_camera_and_trouble_of_mqtt_do_not_touch_each_other";
    let Some(mut printers) = Printers::start(test, "X1C,A1", 2, &[]) else { return };
    let service = Fanlight::start(CONFIG);
    let list = printers.all().to_vec();
    for simulated in &list {
        let printer = Known::add(&service, simulated);
        printer.wait_connected();
        let path = format!("/cameras/{}/stream.mjpg", printer.id);
        wait_until("its camera is there", PATIENCE, || {
            service.get(&format!("/api/cameras/{}", printer.id)).status == 200
        });
        let viewer = Viewer::watch(service.port(), &path);
        viewer.wait_picture(PATIENCE);
        for order in ["camera off", "camera mute"] {
            printers.order(&format!("{} {order}", simulated.serial));
            let told = || printer.camera()["last_error"].as_str().unwrap_or_default().to_owned();
            let took = wait_until("the camera is in trouble", PATIENCE, || {
                printer.camera()["state"] != "live" && !told().is_empty()
            });
            println!("{} {order}: noticed after {took:.1?}: {}", simulated.model, told());
            hold_for("the printer stays connected", Duration::from_secs(2), || printer.connected());
            // Cut off is what it was; attempts after that may fail in other words.
            let attempts = || printer.camera()["attempts"].as_u64().unwrap_or(0);
            let before = attempts();
            wait_until("another attempt has failed", PATIENCE, || {
                attempts() > before && printer.camera()["state"] == "backing_off"
            });
            println!("{} {order}: then {}", simulated.model, told());
            printers.order(&format!("{} camera on", simulated.serial));
            let took = wait_until("pictures again", PATIENCE, || printer.camera()["state"] == "live");
            println!("{} {order}: pictures again after {took:.1?}", simulated.model);
        }
        printers.order(&format!("{} broker off", simulated.serial));
        printer.wait_trouble("only the broker is away", "backing_off", &[]);
        hold_for("pictures go on", Duration::from_secs(2), || printer.camera()["state"] == "live");
        printers.order(&format!("{} broker on", simulated.serial));
        println!("{}: connected again after {:.1?}", simulated.model, printer.wait_connected());
        assert_eq!(printer.camera()["state"], "live", "{}", printer.camera());
    }
}

#[test]
fn a_network_that_swallows_everything_for_a_minute_is_told_and_left_when_it_is_over() {
    let test = "a_network_that_swallows_everything_for_a_minute_is_told_and_left_when_it_is_over";
    if !namespace::inside(test) {
        return;
    }
    let (Some(trouble), Some(printers)) = (Trouble::brew(test), Printers::start(test, "X1C", 1, &[])) else {
        return;
    };
    let service = Fanlight::start(CONFIG);
    let printer = Known::add(&service, &printers.all()[0]);
    printer.wait_connected();
    let began = Instant::now();
    trouble.block_tcp(8883);
    trouble.block_tcp(322);
    printer.wait_trouble("black hole", "backing_off", &[]);
    // Nothing that would be noticed happens until the minute is over.
    let minute = Duration::from_secs(60).saturating_sub(began.elapsed());
    hold_for("it stays away", minute, || printer.status()["connected"] == false);
    trouble.heal();
    println!("back {:.1?} after the network", printer.wait_connected());
    assert_eq!(service.get("/health").status, 200);
}

#[test]
fn fifty_printers_at_once_cost_little() {
    let test = "fifty_printers_at_once_cost_little";
    const MANY: usize = 50;
    let Some(printers) = Printers::start(test, "X1C,P1S,A1,P2S,H2D", MANY, &[]) else { return };
    let service = Fanlight::start(CONFIG);
    let pid = service.process().pid();
    let before = figures(pid);
    let known: Vec<_> = printers.all().iter().map(|printer| Known::add(&service, printer)).collect();
    let took = wait_until("all are connected", 2 * PATIENCE, || {
        let list = service.get("/api/printers?full=1").json();
        list.as_array().unwrap().iter().filter(|it| it["status"]["connected"] == true).count() == MANY
    });
    assert_eq!(known.len(), MANY);
    let connected = figures(pid);
    let began = Instant::now();
    hold_for("they stay connected", Duration::from_secs(20), || known[MANY - 1].connected());
    let (spent, after) = (began.elapsed(), figures(pid));
    let each = |kb: u64| kb.saturating_sub(before.kb) as f64 / MANY as f64 / 1024.0;
    // Asking as above all the time is in it.
    let cpu = (after.cpu - connected.cpu).as_secs_f64() / spent.as_secs_f64() * 100.0;
    println!(
        "{MANY} printers: connected after {took:.1?}; {:.2} MB each; {cpu:.1} % of a core together, {:.2} % \
         each; {} threads more",
        each(after.kb),
        cpu / MANY as f64,
        after.threads.saturating_sub(before.threads)
    );
    assert!(each(after.kb) <= 2.0, "{:.2} MB each", each(after.kb));
    assert!(after.threads <= before.threads + 8, "{} threads, then {}", before.threads, after.threads);
}

/// What a process has used.
struct Figures {
    kb: u64,
    threads: u64,
    cpu: Duration,
}

fn figures(pid: u32) -> Figures {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words: Vec<_> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    let ticks: u64 = words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap();
    // A hundred ticks are a second on every Linux that there is.
    let cpu = Duration::from_millis(ticks * 10);
    Figures { kb: number("VmRSS:"), threads: number("Threads:"), cpu }
}
