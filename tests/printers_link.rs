//! What the link to a printer promises, against real brokers: simulated printers, and mosquitto with a
//! machine of the test's own where the simulator is too well-behaved.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use fanlight::config::Secret;
use fanlight::printers::link::{self, Certificate};
use fanlight::printers::models::Lamp;
use fanlight::printers::mqtt::Step;
use fanlight::printers::reducer::Patience;
use fanlight::printers::state::Job;
use fanlight::printers::{Command, CommandError, Link, LinkSettings, PrinterState};
use fanlight::supervision::{Snapshot, State, Timing, Vitals};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use support::namespace::{self, Trouble};
use support::printer::{CODE, Printers, Simulated};
use support::{Process, free_port, lacks, skipped, wait_until};
use tokio_util::task::AbortOnDropHandle;

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(printer: &Simulated) -> LinkSettings {
    LinkSettings {
        host: printer.address.clone(),
        port: link::PORT,
        serial: printer.serial.clone(),
        access_code: Secret::new(CODE),
        pin: None,
        confined: None,
    }
}

fn start(settings: LinkSettings, patience: Patience) -> Link {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    // A wait that a busy machine cannot take for another one.
    let timing = Timing { backoff_first: Duration::from_millis(200), ..Timing::default() };
    Link::start("1", settings, patience, &timing, &Vitals::new(0))
}

async fn until(link: &Link, what: &str, holds: impl FnMut(&std::sync::Arc<PrinterState>) -> bool) {
    let mut states = link.watch();
    let held = tokio::time::timeout(PATIENCE, states.wait_for(holds)).await.map(|held| held.is_ok());
    assert_eq!(held, Ok(true), "{what}: {:#?} {:#?}", link.state(), link.lifecycle());
}

async fn lifecycle(link: &Link, what: &str, holds: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    let mut changes = link.lifecycle_changes();
    let held = tokio::time::timeout(PATIENCE, changes.wait_for(holds)).await;
    held.unwrap_or_else(|_| panic!("{what}: {:#?}", link.lifecycle())).unwrap().clone()
}

async fn live(link: &Link) {
    until(link, "reports come", |state| state.connected && !state.stale && state.job_state.is_some()).await;
    lifecycle(link, "it is live", |snapshot| snapshot.state == State::Live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_model_is_read_over_tls_with_a_version_1_certificate() {
    let test = "each_model_is_read_over_tls_with_a_version_1_certificate";
    let Some(printers) = Printers::start(test, "X1C,P1S,A1,P2S,H2D", 5, &[]) else { return };
    for printer in printers.all() {
        let link = start(settings(printer), Patience::default());
        live(&link).await;
        let state = link.state();
        assert_eq!(state.model.name(), printer.model);
        assert!(state.nozzle_c.is_some() && state.bed_c.is_some() && state.percent.is_some(), "{state:#?}");
        assert_eq!(state.chamber_c.is_some(), state.model.has_chamber_sensor(), "{state:#?}");
        until(&link, "the version", |state| state.details.firmware.is_some()).await;
        assert!(matches!(*link.certificate().borrow(), Certificate::Pinned(_)));
        link.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_done_when_the_printer_has_said_so() {
    let test = "commands_are_done_when_the_printer_has_said_so";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let printer = printers.all()[0].clone();
    let link = start(settings(&printer), Patience::default());
    live(&link).await;
    until(&link, "it prints", |state| state.job() == Job::Printing).await;

    let refused = link.command(Command::Resume).await;
    assert!(matches!(&refused, Err(CommandError::NotNow(words)) if words.contains("RUNNING")), "{refused:?}");
    assert_eq!(link.command(Command::Pause).await, Ok(()));
    until(&link, "it pauses", |state| state.job() == Job::Paused).await;
    assert_eq!(link.command(Command::Resume).await, Ok(()));
    until(&link, "it goes on", |state| state.job() == Job::Printing).await;
    for on in [false, true, false] {
        assert_eq!(link.command(Command::Light { on, node: Lamp::ChamberLight }).await, Ok(()));
        until(&link, "the light", |state| state.light == Some(on)).await;
    }
    assert_eq!(link.command(Command::Speed { level: 3 }).await, Ok(()));
    until(&link, "the speed", |state| state.details.speed_level == Some(3)).await;
    assert_eq!(link.command(Command::NozzleTarget { celsius: 200.0 }).await, Ok(()));
    let hot = link.command(Command::BedTarget { celsius: 500.0 }).await;
    assert!(matches!(hot, Err(CommandError::Invalid(_))), "{hot:?}");
    assert_eq!(link.command(Command::Stop).await, Ok(()));
    until(&link, "it stops", |state| !state.job().active()).await;

    printers.order("developer-mode off aloud");
    let refused = link.command(Command::Light { on: true, node: Lamp::ChamberLight }).await;
    let Err(CommandError::Unauthorized(words)) = &refused else { panic!("{refused:?}") };
    assert!(words.contains("Developer Mode"), "{words}");
    printers.order("developer-mode on");
    printers.order("broker off");
    until(&link, "it is away", |state| !state.connected).await;
    let away = link.command(Command::Light { on: true, node: Lamp::ChamberLight }).await;
    assert!(matches!(away, Err(CommandError::NotConnected(_))), "{away:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_never_answered_times_out_in_words() {
    let test = "a_command_that_is_never_answered_times_out_in_words";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let patience = Patience { answer: Duration::from_millis(500), ..Patience::default() };
    let link = start(settings(&printers.all()[0].clone()), patience);
    live(&link).await;
    printers.order("acks off");
    let late = link.command(Command::Light { on: true, node: Lamp::ChamberLight }).await;
    assert!(matches!(&late, Err(CommandError::Timeout(words)) if words.contains("0.5 s")), "{late:?}");
    printers.order("acks on");
    printers.order("developer-mode off");
    let dropped = link.command(Command::Light { on: false, node: Lamp::ChamberLight }).await;
    match link.state().details.developer_mode {
        Some(false) => assert!(matches!(dropped, Err(CommandError::Unauthorized(_))), "{dropped:?}"),
        _ => assert!(dropped.is_err(), "{dropped:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_code_is_refused_in_words_and_not_tried_again_soon() {
    let test = "a_wrong_code_is_refused_in_words_and_not_tried_again_soon";
    let Some(printers) = Printers::start(test, "P1S", 1, &[]) else { return };
    let wrong = LinkSettings { access_code: Secret::new("87654321"), ..settings(&printers.all()[0]) };
    let tried = link::test(&wrong, Patience::default()).await;
    assert!(matches!(&tried, Err((Step::Code, words)) if words.contains("access code")), "{tried:?}");
    let link = start(wrong, Patience::default());
    let refused = lifecycle(&link, "it is refused", |snapshot| snapshot.state == State::Refused).await;
    assert!(refused.last_error.as_ref().unwrap().contains("access code"), "{refused:?}");
    assert!(refused.next_try.unwrap() > std::time::SystemTime::now() + Duration::from_secs(60));
    until(&link, "the trouble is told", |state| state.trouble.is_some()).await;
    let shown = format!("{:?} {:?} {:?}", link, link.state(), link.lifecycle());
    assert!(!shown.contains("87654321"), "the code is seen: {shown}");
    assert_eq!(*link.certificate().borrow(), Certificate::Unknown, "who refuses us is not trusted");
    assert_eq!(link.lifecycle().attempts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_refused_until_it_is_accepted() {
    let test = "another_certificate_is_refused_until_it_is_accepted";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let link = start(settings(&printers.all()[0].clone()), Patience::default());
    live(&link).await;
    let Certificate::Pinned(first) = *link.certificate().borrow() else { panic!("nothing was learnt") };
    printers.order("certificate");
    let refused = lifecycle(&link, "it is refused", |snapshot| snapshot.state == State::Refused).await;
    assert!(refused.last_error.as_ref().unwrap().contains("another certificate"), "{refused:?}");
    let mut certificates = link.certificate();
    let changed = |certificate: &Certificate| matches!(certificate, Certificate::Changed { .. });
    let Certificate::Changed { pinned, offered } = *certificates.wait_for(changed).await.unwrap() else {
        unreachable!()
    };
    assert!(pinned == first && offered != first);
    link.accept(offered);
    live(&link).await;
    assert_eq!(*link.certificate().borrow(), Certificate::Pinned(offered));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printer_that_comes_back_is_connected_soon_however_long_it_was_away() {
    let test = "a_printer_that_comes_back_is_connected_soon_however_long_it_was_away";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    // Only the knock can end such a wait in time.
    let hour = Duration::from_secs(3600);
    let timing = Timing { backoff_first: hour, backoff_max: hour, ..Timing::default() };
    let printer = settings(&printers.all()[0].clone());
    let link = Link::start("1", printer, Patience::default(), &timing, &Vitals::new(0));
    live(&link).await;
    printers.order("broker off");
    lifecycle(&link, "it waits", |snapshot| snapshot.state == State::BackingOff).await;
    until(&link, "it is told", |state| !state.connected && state.stale && state.trouble.is_some()).await;
    assert!(link.state().percent.is_some(), "what was known stays");
    // A knock has to find it away first.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    printers.order("broker on");
    live(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_printer_is_stale_then_asked_then_given_up() {
    let test = "a_silent_printer_is_stale_then_asked_then_given_up";
    let Some(mut printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let patience = Patience {
        silence: Duration::from_millis(2500),
        last_word: Duration::from_millis(1000),
        first_word: Duration::from_millis(1000),
        ..Patience::default()
    };
    let link = start(settings(&printers.all()[0].clone()), patience);
    live(&link).await;
    printers.order("silence on");
    until(&link, "it is stale while connected", |state| state.connected && state.stale).await;
    let lost = lifecycle(&link, "it is given up", |snapshot| snapshot.state == State::BackingOff).await;
    assert!(lost.last_error.as_ref().unwrap().contains("no report for"), "{lost:?}");
    printers.order("silence off");
    live(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_within_a_second_whatever_it_does() {
    let test = "a_link_ends_within_a_second_whatever_it_does";
    let Some(printers) = Printers::start(test, "X1C", 1, &[]) else { return };
    let good = settings(&printers.all()[0]);
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = deaf.local_addr().unwrap().port();
    let greeting =
        start(LinkSettings { host: "127.0.0.1".into(), port, ..good.clone() }, Patience::default());
    let (open, _) = deaf.accept().await.unwrap();
    let connected = start(good, Patience::default());
    live(&connected).await;
    for link in [greeting, connected] {
        let began = Instant::now();
        link.shutdown().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(link.lifecycle().frozen, 0);
    }
    drop(open);
}

#[tokio::test]
async fn what_cannot_be_reached_or_is_no_printer_is_told_by_step() {
    let gone = LinkSettings {
        host: "127.0.0.1".into(),
        port: free_port(),
        serial: "00M00A000000001".into(),
        access_code: Secret::new(CODE),
        pin: None,
        confined: None,
    };
    let failed = link::test(&gone, Patience::default()).await;
    assert!(matches!(failed, Err((Step::Reach, _))), "{failed:?}");
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let quick = Patience { connect: Duration::from_millis(300), ..Patience::default() };
    let failed = link::test(&LinkSettings { port, ..gone.clone() }, quick).await;
    assert!(matches!(failed, Err((Step::Tls, _))), "{failed:?}");
    let rude = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        // The first connection is the one above.
        for _ in 0..2 {
            let (mut stream, _) = mute.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let failed = link::test(&LinkSettings { port, ..gone }, Patience::default()).await;
    assert!(matches!(failed, Err((Step::Tls, _))), "{failed:?}");
    rude.await.unwrap();
}

#[tokio::test]
async fn a_printer_at_an_address_is_greeted_by_its_serial_number() {
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let printer = LinkSettings {
        host: "127.0.0.1".into(),
        port: door.local_addr().unwrap().port(),
        serial: SERIAL.into(),
        access_code: Secret::new(CODE),
        pin: None,
        confined: None,
    };
    // Of digits alone it is no name, and none is said.
    for (serial, name) in [(SERIAL, Some("00m00a000000001")), ("030123456789012", None)] {
        let printer = LinkSettings { serial: serial.into(), ..printer.clone() };
        let link = start(printer, Patience::default());
        let (stream, _) = door.accept().await.unwrap();
        let hello = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream).await.unwrap();
        assert_eq!(hello.client_hello().server_name(), name);
        link.shutdown().await;
    }
}

#[test]
fn a_black_hole_is_noticed_by_pings_and_left_when_it_is_over() {
    let test = "a_black_hole_is_noticed_by_pings_and_left_when_it_is_over";
    if !namespace::inside(test) {
        return;
    }
    let (Some(trouble), Some(printers)) = (Trouble::brew(test), Printers::start(test, "X1C", 1, &[])) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let patience = Patience {
            keep_alive: Duration::from_secs(1),
            pong: Duration::from_secs(1),
            connect: Duration::from_secs(2),
            ..Patience::default()
        };
        let link = start(settings(&printers.all()[0]), patience);
        live(&link).await;
        trouble.block_tcp(link::PORT);
        let lost = lifecycle(&link, "it is noticed", |snapshot| snapshot.state == State::BackingOff).await;
        assert!(lost.last_error.as_ref().unwrap().contains("ping"), "{lost:?}");
        until(&link, "it is told", |state| !state.connected && state.stale).await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            assert!(!link.state().connected);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        trouble.heal();
        live(&link).await;
        assert!(link.lifecycle().restarts >= 1);
        link.shutdown().await;
    });
}

/// mosquitto with the tests' certificate, and a printer that does what the test says.
struct Broker {
    _process: Process,
    port: u16,
    /// Where the machine itself connects.
    inside: u16,
    folder: tempfile::TempDir,
}

const SERIAL: &str = "00M00A000000001";

/// Servers are not on every user's path.
fn servers() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Broker {
    fn start(test: &str) -> Option<Self> {
        let tools = [("mosquitto", "mosquitto"), ("mosquitto_passwd", "mosquitto"), ("openssl", "openssl")];
        if lacks(test, &tools) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let fixture =
            |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/printers").join(name);
        for (kind, from, to) in [("x509", "v1.der", "cert.pem"), ("pkey", "v1-key.der", "key.pem")] {
            let mut convert = Program::new("openssl");
            convert.args([kind, "-inform", "DER", "-in"]).arg(fixture(from)).arg("-out").arg(file(to));
            assert!(convert.output().unwrap().status.success());
        }
        std::fs::write(file("passwords"), format!("bblp:{CODE}\n")).unwrap();
        let sealed = Program::new("mosquitto_passwd").arg("-U").arg(file("passwords")).output().unwrap();
        assert!(sealed.status.success());
        let (port, inside) = (free_port(), free_port());
        let path = folder.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let configuration = format!(
            "per_listener_settings true\npersistence false\n{user}\
             listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {path}/passwords\n\
             certfile {path}/cert.pem\nkeyfile {path}/key.pem\n\
             listener {inside} 127.0.0.1\nallow_anonymous true\n"
        );
        std::fs::write(file("mosquitto.conf"), configuration).unwrap();
        let mut command = Program::new("mosquitto");
        command.arg("-c").arg(file("mosquitto.conf")).env("PATH", servers());
        let mut process = Process::spawn("mosquitto", &mut command);
        wait_until("mosquitto listens", PATIENCE, || {
            assert!(process.try_wait().is_none(), "mosquitto ended: {}", process.output());
            std::net::TcpStream::connect(("127.0.0.1", inside)).is_ok()
        });
        Some(Self { _process: process, port, inside, folder })
    }

    /// nginx in front, which speaks TLS 1.2 and nothing newer, as mosquitto cannot be told to. It opens the
    /// door inside, where no code is asked for. `None` when the test is left out.
    fn aged(&mut self, test: &str) -> Option<Process> {
        const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
        if lacks(test, &[("nginx", "nginx-light")]) {
            return None;
        }
        if !Path::new(STREAM).exists() {
            skipped(test, "nginx's stream module is missing (package libnginx-mod-stream)");
            return None;
        }
        let (path, inside, port) = (self.folder.path(), self.inside, free_port());
        let shown = path.display();
        let configuration = format!(
            "daemon off; master_process off; pid {shown}/nginx.pid; error_log stderr; load_module {STREAM};
             events {{}}
             stream {{ server {{
                 listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2; proxy_pass 127.0.0.1:{inside};
                 ssl_certificate {shown}/cert.pem; ssl_certificate_key {shown}/key.pem;
             }} }}"
        );
        std::fs::write(path.join("nginx.conf"), configuration).unwrap();
        let mut command = Program::new("nginx");
        command.arg("-e").arg("stderr").arg("-c").arg(path.join("nginx.conf")).env("PATH", servers());
        let mut process = Process::spawn("nginx", &mut command);
        wait_until("nginx listens", PATIENCE, || {
            assert!(process.try_wait().is_none(), "nginx ended: {}", process.output());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        self.port = port;
        Some(process)
    }

    fn settings(&self) -> LinkSettings {
        LinkSettings {
            host: "localhost".into(),
            port: self.port,
            serial: SERIAL.into(),
            access_code: Secret::new(CODE),
            pin: None,
            confined: None,
        }
    }

    /// A machine that answers each request with what `answer` gives, each after its time; it listens when
    /// this returns.
    async fn machine(
        &self,
        answer: impl Fn(&Value) -> Vec<(Duration, Value)> + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let mut options = MqttOptions::new("machine", "127.0.0.1", self.inside);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe("device/+/request", QoS::AtMostOnce).await.unwrap();
        while !matches!(events.poll().await, Ok(Event::Incoming(Packet::SubAck(_)))) {}
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let Ok(Event::Incoming(Packet::Publish(request))) = events.poll().await else { continue };
                let report = request.topic.replace("request", "report");
                let request: Value = serde_json::from_slice(&request.payload).unwrap();
                for (after, message) in answer(&request) {
                    let (client, report) = (client.clone(), report.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        let _ = client.publish(report, QoS::AtMostOnce, false, message.to_string()).await;
                    });
                }
            }
        }))
    }
}

fn pushall(request: &Value) -> bool {
    request["pushing"]["command"] == "pushall"
}

fn everything() -> Value {
    let fixture = include_str!("fixtures/printers/x1c.json");
    let messages: Vec<Value> = serde_json::from_str(fixture).unwrap();
    messages[1].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_speaks_tls_1_2_only_is_a_printer_too() {
    let test = "a_broker_that_speaks_tls_1_2_only_is_a_printer_too";
    let Some(mut broker) = Broker::start(test) else { return };
    let Some(_nginx) = broker.aged(test) else { return };
    let modern = Program::new("openssl")
        .args(["s_client", "-tls1_3", "-connect", &format!("127.0.0.1:{}", broker.port)])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!modern.status.success(), "it speaks TLS 1.3: {}", String::from_utf8_lossy(&modern.stdout));
    let _machine = broker
        .machine(|request| match pushall(request) {
            true => vec![(Duration::ZERO, everything())],
            false => Vec::new(),
        })
        .await;
    let link = start(broker.settings(), Patience::default());
    live(&link).await;
    assert_eq!(link.state().percent, Some(42));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_report_among_nonsense_is_taken_and_a_monstrous_one_is_not() {
    let test = "a_large_report_among_nonsense_is_taken_and_a_monstrous_one_is_not";
    let Some(broker) = Broker::start(test) else { return };
    let _machine = broker.machine(|request| {
        if !pushall(request) {
            return Vec::new();
        }
        let mut large = everything();
        let junk: Vec<Value> =
            (0..900).map(|n| json!({ "name": format!("module {n}"), "status": "fine and well" })).collect();
        large["print"]["upgrade_state"]["new_ver_list"] = json!(junk);
        large["print"]["mc_percent"] = json!(77);
        assert!(large.to_string().len() > 36 * 1024);
        let monstrous =
            json!({ "print": { "mc_percent": 99, "hms": vec![json!({ "attr": 1, "code": 2 }); 30_000] } });
        let nonsense = json!(["no", "report", { "print": "at all" }]);
        [nonsense.clone(), monstrous, large, nonsense].map(|message| (Duration::ZERO, message)).into()
    }).await;
    let link = start(broker.settings(), Patience::default());
    until(&link, "the large report", |state| state.percent.is_some()).await;
    assert_eq!(link.state().percent, Some(77));
    assert_eq!(link.lifecycle().restarts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_nobody_else_s() {
    let test = "a_late_answer_is_nobody_else_s";
    let Some(broker) = Broker::start(test) else { return };
    let _machine = broker
        .machine(|request| {
            if pushall(request) {
                return vec![(Duration::ZERO, everything())];
            }
            let mut answer = request["system"].clone();
            if answer["command"] != "ledctrl" {
                return Vec::new();
            }
            // Off is obeyed late, on is refused at once.
            let on = answer["led_mode"] == "on";
            answer["result"] = json!(if on { "fail" } else { "success" });
            answer["reason"] = json!(if on { "no lamp" } else { "" });
            let after = Duration::from_millis(if on { 900 } else { 1200 });
            vec![(after, json!({ "system": answer }))]
        })
        .await;
    let patience = Patience { answer: Duration::from_secs(1), ..Patience::default() };
    let link = start(broker.settings(), patience);
    live(&link).await;
    let light = |on| Command::Light { on, node: Lamp::ChamberLight };
    let late = link.command(light(false)).await;
    assert!(matches!(late, Err(CommandError::Timeout(_))), "{late:?}");
    // While this one waits, the answer to the first comes.
    let refused = link.command(light(true)).await;
    assert_eq!(refused, Err(CommandError::Refused("no lamp".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printer_that_lets_us_in_and_says_nothing_is_told() {
    let test = "a_printer_that_lets_us_in_and_says_nothing_is_told";
    let Some(broker) = Broker::start(test) else { return };
    let patience = Patience { first_word: Duration::from_millis(500), ..Patience::default() };
    let link = start(broker.settings(), patience);
    let lost = lifecycle(&link, "it is given up", |snapshot| snapshot.last_error.is_some()).await;
    assert!(lost.last_error.as_ref().unwrap().contains("says nothing"), "{lost:?}");
}

/// Processor time and memory of this process.
fn usage() -> (Duration, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let number = |index: usize| fields[index].parse::<u64>().unwrap();
    let ticks = number(11) + number(12);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (Duration::from_millis(ticks * 10), kibibytes * 1024)
}

#[test]
fn fifty_printers_cost_less_than_0_3_percent_of_a_core_and_2_megabytes_each() {
    const COUNT: u32 = 50;
    const WATCHED: Duration = Duration::from_secs(15);
    // Alone in its process: others would be measured with it.
    let test = "fifty_printers_cost_less_than_0_3_percent_of_a_core_and_2_megabytes_each";
    if !namespace::inside(test) {
        return;
    }
    let Some(broker) = Broker::start(test) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _machine = broker
            .machine(|request| match pushall(request) {
                true => vec![(Duration::ZERO, everything())],
                false => Vec::new(),
            })
            .await;
        let serials: Vec<String> = (0..COUNT).map(|number| format!("00M00A0000000{number:02}")).collect();
        let (_, before) = usage();
        let printer = |serial: &String| LinkSettings { serial: serial.clone(), ..broker.settings() };
        let links: Vec<Link> =
            serials.iter().map(|serial| start(printer(serial), Patience::default())).collect();
        for link in &links {
            live(link).await;
        }
        let (client, mut events) =
            AsyncClient::new(MqttOptions::new("talker", "127.0.0.1", broker.inside), 100);
        let _talks =
            AbortOnDropHandle::new(tokio::spawn(async move { while events.poll().await.is_ok() {} }));
        let (began, busy) = (Instant::now(), usage().0);
        let mut percent = 0;
        while began.elapsed() < WATCHED {
            percent = (percent + 1) % 100;
            for serial in &serials {
                let part = json!({ "print": {
                    "command": "push_status", "msg": 1, "sequence_id": "1", "mc_percent": percent,
                    "nozzle_temper": 219.5, "bed_temper": 54.9, "layer_num": 80, "wifi_signal": "-45dBm",
                } });
                let topic = format!("device/{serial}/report");
                client.publish(topic, QoS::AtMostOnce, false, part.to_string()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (after, memory) = usage();
        let each = (after - busy).as_secs_f64() / began.elapsed().as_secs_f64() / f64::from(COUNT) * 100.0;
        let bytes = memory.saturating_sub(before) / u64::from(COUNT);
        println!("each printer: {each:.3} % of a core, {} KiB", bytes / 1024);
        until(&links[7], "reports come", |state| state.percent == Some(percent as u8)).await;
        assert!(each < 0.3, "{each} % of a core");
        assert!(bytes < 2_000_000, "{bytes} bytes");
    });
}
