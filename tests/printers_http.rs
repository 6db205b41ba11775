//! Printers over HTTP, on the real binary: the registry, the roles, what is told and what is never told. With
//! printers that answer: simulated ones (package mosquitto).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::printer::Printers as Simulators;
use support::*;

/// Nothing listens on this machine's printers' port: they are there, and not connected.
fn config(more: &str) -> String {
    format!(
        "[[camera]]\nid = \"porch\"\nsource = {{ type = \"test\" }}\nfps = 5\nidle = \"close\"\n\
         [printers]\nmqtt_port = {}\n{more}",
        free_port()
    )
}

fn studio() -> Value {
    json!({ "name": "Studio X1", "host": "127.0.0.1", "serial": "00M1234ABC", "accessCode": "sesame88" })
}

fn send(service: &Fanlight, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    request(service.port(), method, path, &[("Content-Type", "application/json")], &body).unwrap()
}

#[track_caller]
fn add(service: &Fanlight, printer: &Value) -> i64 {
    let answer = send(service, "POST", "/api/printers", printer);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().unwrap()
}

/// The fields that an answer complains of.
fn fields(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let list = answer.json()["error"]["details"]["fields"].clone();
    list.as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap().to_owned()).collect()
}

/// A stream of server-sent events.
struct Events {
    socket: TcpStream,
    text: String,
}

impl Events {
    fn open(service: &Fanlight, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
        Self { socket, text: String::new() }
    }

    /// Takes in what there is; whether the stream goes on.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => return false,
            Ok(length) => self.text.push_str(&String::from_utf8_lossy(&bytes[..length])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
        !self.text.contains("\r\n0\r\n\r\n")
    }

    /// The first whole event `status` whose data fits: its id and data.
    #[track_caller]
    fn status(&mut self, what: &str, within: Duration, fits: impl Fn(&Value) -> bool) -> (String, Value) {
        wait_for(what, within, || {
            self.read();
            let events = self.text.split("id: ").skip(1);
            let whole = events.filter_map(|event| event.split_once("\n\n").map(|(event, _)| event));
            whole.filter_map(parse).find(|(_, data)| fits(data))
        })
    }
}

fn parse(event: &str) -> Option<(String, Value)> {
    let (id, rest) = event.split_once("\nevent: status\ndata: ")?;
    Some((id.to_owned(), serde_json::from_str(rest).ok()?))
}

#[test]
fn a_printer_is_added_listed_changed_and_deleted_as_clients_know_it() {
    let mut service = Fanlight::start(&config(""));
    assert_eq!(service.get("/api/printers").json(), json!([]));
    let answer = send(&service, "POST", "/api/printers", &studio());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_i64().unwrap();
    let path = format!("/api/printers/{id}");
    assert_eq!(answer.header("location"), Some(path.as_str()));
    let expected = json!({
        "id": id, "name": "Studio X1", "host": "127.0.0.1", "serial": "00M1234ABC", "accessCode": null,
        "hasAccessCode": true, "rtspUrl": null,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(service.get("/api/printers").json(), json!([expected]));
    assert_eq!(service.get(&path).json(), expected);

    // What was got, with a change, is what is put; the access code stays.
    let mut changed = expected.clone();
    changed["name"] = "Studio".into();
    changed["rtspUrl"] = "rtsps://127.0.0.1:322/streaming/live/1".into();
    let answer = send(&service, "PUT", &path, &changed);
    assert_eq!((answer.status, answer.json()), (200, changed.clone()), "{}", answer.text());
    service.kill_and_restart();
    assert_eq!(service.get("/api/printers").json(), json!([changed]), "it outlives a restart");

    assert_eq!(send(&service, "PUT", &path, &changed).status, 200);
    wait_until("it was tried", Duration::from_secs(15), || {
        service.get(&format!("{path}/status?full=1")).json()["details"]["error"].is_string()
    });
    let starts = service.log().matches(&format!("printer {id}: starting (attempt 1)")).count();
    assert_eq!(starts, 1, "nothing to change is no reason to begin anew: {}", service.log());

    let answer = send(&service, "DELETE", &path, &Value::Null);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(service.get(&path).status, 404);
    assert_eq!(service.get(&format!("{path}/status")).status, 404);
    assert_eq!(send(&service, "DELETE", &path, &Value::Null).status, 404);
    assert!(add(&service, &studio()) > id, "an id is never given again");
}

#[test]
fn what_is_wrong_is_told_field_by_field_and_changes_nothing() {
    let service = Fanlight::start(&config(""));
    let bad = |body: Value| fields(&send(&service, "POST", "/api/printers", &body));
    assert_eq!(bad(json!({})), ["name", "host", "serial", "accessCode"]);
    assert_eq!(bad(json!({ "name": "x", "host": "http://x", "serial": "a/b", "accessCode": 7 })).len(), 3);
    let id = add(&service, &studio());
    assert_eq!(bad(studio()), ["host", "serial"], "both are taken");
    let mut other = studio();
    other["host"] = "fd00::7".into();
    other["serial"] = "00M9999".into();
    add(&service, &other);
    let answer = send(&service, "PUT", &format!("/api/printers/{id}"), &other);
    assert_eq!(fields(&answer), ["host", "serial"]);
    let mut metadata = studio();
    metadata["host"] = "169.254.169.254".into();
    metadata["serial"] = "00M7777".into();
    metadata["rtspUrl"] = "rtsp://[fe80::1]/x".into();
    for (method, path) in [("POST", "/api/printers".to_owned()), ("PUT", format!("/api/printers/{id}"))] {
        assert_eq!(fields(&send(&service, method, &path, &metadata)), ["host", "rtspUrl"], "{method}");
    }
    assert_eq!(fields(&send(&service, "POST", "/api/printers/test", &metadata)), ["host", "rtspUrl"]);
    assert_eq!(service.get("/api/printers").json().as_array().unwrap().len(), 2);
    let answer = request(service.port(), "POST", "/api/printers", &[], b"[1]").unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn a_printer_that_is_not_there_says_so_and_does_nothing() {
    let service = Fanlight::start(&config(""));
    let id = add(&service, &studio());
    let path = format!("/api/printers/{id}");
    wait_until("the trouble is told", Duration::from_secs(15), || {
        service.get(&format!("{path}/status?full=1")).json()["details"]["error"].is_string()
    });
    let status = service.get(&format!("{path}/status")).json();
    let expected = json!({
        "connected": false, "jobState": null, "percent": null, "remainingMinutes": null, "nozzleC": null,
        "bedC": null, "chamberC": null, "light": null, "lastUpdate": null,
    });
    assert_eq!(status, expected, "exactly the fields that clients know");
    for (command, status) in [
        (json!({ "type": "pause" }), 503),
        (json!({ "type": "dance" }), 400),
        (json!({ "type": "light" }), 400),
        (Value::Null, 400),
    ] {
        let answer = send(&service, "POST", &format!("{path}/command"), &command);
        assert_eq!(answer.status, status, "{command}: {}", answer.text());
        let body = answer.json();
        assert!(body["ok"] == false && body["error"].is_string(), "{body}");
    }
    let answer = send(&service, "POST", "/api/printers/77/command", &json!({ "type": "pause" }));
    assert_eq!((answer.status, answer.json()["ok"].clone()), (404, json!(false)));
    // The connection test names the step that failed, and what was not tried after it.
    let mut body = studio();
    body.as_object_mut().unwrap().remove("accessCode");
    let test = send(&service, "POST", &format!("{path}/test"), &body).json();
    assert_eq!((&test["ok"], &test["steps"][0]["name"]), (&json!(false), &json!("reach")), "{test}");
    assert_eq!((&test["steps"][0]["ok"], &test["steps"][1]["ok"]), (&json!(false), &Value::Null), "{test}");
    assert_eq!(send(&service, "POST", &format!("{path}/certificate"), &Value::Null).status, 409);
}

#[test]
fn an_access_code_is_told_to_nobody_unless_that_is_configured() {
    let service = Fanlight::start(&config(""));
    let id = add(&service, &studio());
    for path in [
        "/api/printers".to_owned(),
        "/api/printers?full=1".into(),
        format!("/api/printers/{id}?full=1"),
        format!("/api/printers/{id}/status?full=1"),
        "/metrics".into(),
    ] {
        let text = service.get(&path).text();
        assert!(!text.contains("sesame88"), "{path}: {text}");
    }
    assert!(!service.log().contains("sesame88"), "{}", service.log());
    let health = std::fs::read_to_string(service.health_file()).unwrap();
    assert!(!health.contains("sesame88"), "{health}");
    std::fs::write(service.config_file(), config("expose_access_code = true\n")).unwrap();
    wait_until("the configuration is taken over", Duration::from_secs(15), || {
        service.get("/api/printers").json()[0]["accessCode"] == "sesame88"
    });
}

#[test]
fn a_code_that_is_kept_is_sent_to_no_other_machine() {
    let service = Fanlight::start(&config(""));
    let id = add(&service, &studio());
    for (field, value) in [("serial", "00M9999999"), ("host", "127.0.0.9")] {
        let mut other = studio();
        other["accessCode"] = Value::Null;
        other[field] = value.into();
        for (method, path) in
            [("PUT", format!("/api/printers/{id}")), ("POST", format!("/api/printers/{id}/test"))]
        {
            let answer = send(&service, method, &path, &other);
            assert_eq!((answer.status, fields(&answer)), (400, vec!["accessCode".to_owned()]), "{field}");
        }
    }
    assert_eq!(service.get(&format!("/api/printers/{id}")).json()["host"], "127.0.0.1");
}

#[test]
fn access_codes_are_sealed_with_the_key_file_and_a_lost_one_costs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (key, kept) = (directory.path().join("printers.key"), directory.path().join("printers.db"));
    std::fs::write(&key, "5e".repeat(32)).unwrap();
    let config = config(&format!("expose_access_code = true\nkey_file = {key:?}\n"));
    let url = format!("sqlite://{}", kept.display());
    let mut service = Fanlight::start_with(&config, &[("DATABASE_URL", &url)]);
    let id = add(&service, &studio());
    service.kill_and_restart();
    assert_eq!(service.get("/api/printers").json()[0]["accessCode"], "sesame88");
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"sesame88"), "nothing on the disk says it");
    }

    std::fs::remove_file(&key).unwrap();
    service.kill_and_restart();
    let printer = service.get(&format!("/api/printers/{id}?full=1")).json();
    assert_eq!(
        (&printer["name"], &printer["hasAccessCode"], &printer["accessCode"]),
        (&json!("Studio X1"), &json!(false), &Value::Null)
    );
    let error = printer["status"]["details"]["error"].as_str().unwrap();
    assert!(error.contains("printers.key"), "{error}");
    let answer = send(
        &service,
        "POST",
        "/api/printers",
        &json!({
            "name": "b", "host": "127.0.0.2", "serial": "00M0000002", "accessCode": "12345678",
        }),
    );
    assert_eq!(answer.status, 503, "no code is kept as text for it: {}", answer.text());

    std::fs::write(&key, "5e".repeat(32)).unwrap();
    service.kill_and_restart();
    assert_eq!(service.get("/api/printers").json()[0]["accessCode"], "sesame88", "and with it back, all is");
}

#[test]
fn viewers_look_operators_command_and_admins_change_printers() {
    let service =
        Fanlight::start(&config("expose_access_code = true\n[access]\nrequired = true\nwatch = \"login\"\n"));
    let key = |role: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_fanlight"))
            .arg("--config")
            .arg(service.config_file())
            .args(["keys", "create", "--name", role, "--role", role])
            .env("STATE_DIRECTORY", service.directory().join("state"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let keys = [key("viewer"), key("operator"), key("admin")];
    let ask = |role: usize, method: &str, path: &str, body: &Value| {
        let body = serde_json::to_vec(body).unwrap();
        request(service.port(), method, path, &[("X-API-Key", &keys[role])], &body).unwrap()
    };
    assert_eq!(ask(1, "POST", "/api/printers", &studio()).status, 403);
    let answer = ask(2, "POST", "/api/printers", &studio());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let path = format!("/api/printers/{}", answer.json()["id"]);
    for (role, code) in [(0, Value::Null), (1, Value::Null), (2, json!("sesame88"))] {
        assert_eq!(ask(role, "GET", "/api/printers", &Value::Null).json()[0]["accessCode"], code, "{role}");
        assert_eq!(ask(role, "GET", &path, &Value::Null).json()["accessCode"], code, "{role}");
    }
    let nothing = json!({});
    let refused = ask(0, "POST", &format!("{path}/command"), &nothing).json();
    assert!(refused["ok"] == false && refused["error"].is_string(), "{refused}");
    let stranger = send(&service, "POST", &format!("{path}/command"), &nothing);
    assert_eq!((stranger.status, stranger.json()["ok"].clone()), (401, json!(false)), "{}", stranger.text());
    for (role, method, suffix, allowed) in [
        (0, "GET", "", true),
        (0, "GET", "/status", true),
        (0, "POST", "/command", false),
        (1, "POST", "/command", true),
        (1, "PUT", "", false),
        (1, "DELETE", "", false),
        (1, "POST", "/certificate", false),
        (1, "POST", "/test", false),
        (2, "PUT", "", true),
        (2, "POST", "/certificate", true),
    ] {
        let status = ask(role, method, &format!("{path}{suffix}"), &nothing).status;
        assert_eq!(status != 403, allowed, "role {role}: {method} {suffix} is {status}");
    }
    assert_eq!(ask(1, "GET", "/api/printers/found", &Value::Null).status, 403);
    assert_eq!(service.get("/api/printers").status, 401);
}

#[test]
fn pages_of_other_origins_change_no_printer() {
    let service = Fanlight::start(&config("[server]\ncors_origins = []\n"));
    let id = add(&service, &studio());
    let foreign = [("Origin", "https://elsewhere.example")];
    for (method, path) in [
        ("POST", "/api/printers".to_owned()),
        ("PUT", format!("/api/printers/{id}")),
        ("DELETE", format!("/api/printers/{id}")),
        ("POST", format!("/api/printers/{id}/command")),
        ("POST", "/api/printers/test".into()),
    ] {
        let answer = request(service.port(), method, &path, &foreign, b"{}").unwrap();
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        let told = answer.json()["error"].clone();
        assert_eq!(told.is_string(), path.ends_with("/command"), "{path}: {told}");
    }
}

#[test]
fn a_status_stream_begins_with_the_state_and_ends_when_the_printer_is_deleted() {
    let service = Fanlight::start(&config(""));
    let id = add(&service, &studio());
    let path = format!("/api/printers/{id}/status/stream");
    let mut events = Events::open(&service, &path, "");
    let soon = Duration::from_secs(5);
    let (event, data) = events.status("the state at once", soon, |_| true);
    assert_eq!(data, service.get(&format!("/api/printers/{id}/status")).json());
    // A client that has it already is not told again: only an end or a heartbeat comes.
    let mut again = Events::open(&service, &path, &format!("Last-Event-ID: {event}\r\n"));
    wait_until("the stream is open", soon, || {
        again.read();
        again.text.contains("retry: ")
    });
    let deleted = Instant::now();
    assert_eq!(send(&service, "DELETE", &format!("/api/printers/{id}"), &Value::Null).status, 204);
    wait_until("both streams have ended", soon, || !events.read() && !again.read());
    assert!(deleted.elapsed() < Duration::from_secs(4), "{:?}", deleted.elapsed());
    assert!(!again.text.contains("event: status"), "{}", again.text);
    assert_eq!(service.get(&path).status, 404);
}

#[test]
fn printers_on_the_network_are_found_while_somebody_asks() {
    if !namespace::inside("printers_on_the_network_are_found_while_somebody_asks") {
        return;
    }
    let service = Fanlight::start(&config(""));
    assert_eq!(service.get("/api/printers/found").json(), json!({ "found": [] }));
    let packet = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1990\r\nServer: UPnP/1.0\r\n\
        Location: 10.77.0.9\r\nNT: urn:bambulab-com:device:3dprinter:1\r\nUSN: 00M09A123456789\r\n\
        DevModel.bambu.com: BL-P001\r\nDevName.bambu.com: Studio\r\nDevConnect.bambu.com: lan\r\n\
        DevVersion.bambu.com: 01.08.02.00\r\n\r\n";
    let socket = UdpSocket::bind((namespace::ADDRESS, 0)).unwrap();
    socket.set_broadcast(true).unwrap();
    let found = wait_for("the printer is found", Duration::from_secs(10), || {
        socket.send_to(b"NOTIFY of something else", ("10.77.0.255", 2021)).unwrap();
        socket.send_to(packet.as_bytes(), ("10.77.0.255", 2021)).unwrap();
        let found = service.get("/api/printers/found").json()["found"].clone();
        (found != json!([])).then_some(found)
    });
    let expected = json!([{
        "serial": "00M09A123456789", "host": "10.77.0.9", "name": "Studio", "model": "X1C",
        "firmware": "01.08.02.00", "lanMode": true, "printer": null,
    }]);
    assert_eq!(found, expected);
    let mut printer = studio();
    printer["serial"] = "00M09A123456789".into();
    let id = add(&service, &printer);
    assert_eq!(service.get("/api/printers/found").json()["found"][0]["printer"], id);
    std::fs::write(service.config_file(), config("search = false\n")).unwrap();
    wait_until("searching is switched off", Duration::from_secs(15), || {
        service.get("/api/printers/found").status == 409
    });
}

/// A printer that is connected and says what it is doing.
#[track_caller]
fn connected(service: &Fanlight, id: i64) -> Value {
    let path = format!("/api/printers/{id}/status?full=1");
    wait_for("the printer is connected and reports", LIVE, || {
        let status = service.get(&path).json();
        (status["connected"] == true && status["jobState"].is_string()).then_some(status)
    })
}

fn order(service: &Fanlight, id: i64, command: &Value) -> Response {
    send(service, "POST", &format!("/api/printers/{id}/command"), command)
}

const CAMERA: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 5\nidle = \"close\"\n\
                      [supervision]\nbackoff_first_seconds = 0.2\nrefused_retry_seconds = 2\n";
/// The longest that a printer at hand may take, on a busy machine.
const LIVE: Duration = Duration::from_secs(40);

#[test]
fn a_printer_shows_its_print_everywhere_and_obeys() {
    let test = "a_printer_shows_its_print_everywhere_and_obeys";
    let Some(printers) = Simulators::start(test, "X1C", 1, &["--speed", "60"]) else { return };
    let service = Fanlight::start(CAMERA);
    let body = printers.all()[0].registration();
    let trial = send(&service, "POST", "/api/printers/test", &body).json();
    let steps: Vec<_> = trial["steps"].as_array().unwrap().iter().map(|step| &step["ok"]).collect();
    assert!(steps.iter().take(4).all(|ok| **ok == true), "{trial}");
    assert_eq!(service.get("/api/printers").json(), json!([]), "nothing is kept of a test");

    let id = add(&service, &body);
    let mut events = Events::open(&service, &format!("/api/printers/{id}/status/stream"), "");
    let status = connected(&service, id);
    assert_eq!(status["details"]["model"], "X1C", "{status}");
    assert!(status["nozzleC"].is_number() && status["lastUpdate"].is_string(), "{status}");
    events.status("the stream tells that it prints", LIVE, |data| data["jobState"] == "RUNNING");

    // The same in all the other places.
    let known = service.get(&format!("/api/printers/{id}?full=1")).json();
    assert!(known["certificate"]["known"].is_string(), "{known}");
    assert_eq!(known["status"]["details"]["state"], "live", "{known}");
    wait_until("the health file has it", LIVE, || {
        let health: Value =
            serde_json::from_slice(&std::fs::read(service.health_file()).unwrap()).unwrap_or_default();
        health["printers"][0]["connected"] == true
    });
    let metrics = request(service.port(), "GET", "/metrics", &[("Accept", "text/plain")], b"").unwrap();
    let line = format!("fanlight_printer_connected{{printer=\"{id}\",name=\"Simulated X1C\"}} 1\n");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    let mut house = Events::open(&service, "/api/events", "");
    wait_until("the dashboard's stream has it", LIVE, || {
        house.read();
        house.text.contains("\"jobState\":\"RUNNING\"")
    });

    let job = |state: &str| {
        wait_until(&format!("it is {state}"), LIVE, || {
            service.get(&format!("/api/printers/{id}/status")).json()["jobState"] == state
        });
    };
    for (command, becomes) in [("pause", "PAUSE"), ("resume", "RUNNING"), ("stop", "FAILED")] {
        let answer = order(&service, id, &json!({ "type": command }));
        assert_eq!((answer.status, answer.json()), (200, json!({ "ok": true })), "{command}");
        job(becomes);
    }
    let answer = order(&service, id, &json!({ "type": "pause" }));
    assert_eq!(answer.status, 409, "{}", answer.text());
    for (on, light) in [(false, "off"), (true, "on")] {
        let answer = order(&service, id, &json!({ "type": "light", "on": on }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        wait_until(&format!("the light is {light}"), LIVE, || {
            service.get(&format!("/api/printers/{id}/status")).json()["light"] == light
        });
    }
}

#[test]
fn a_wrong_access_code_is_told_and_the_right_one_mends_it() {
    let test = "a_wrong_access_code_is_told_and_the_right_one_mends_it";
    let Some(printers) = Simulators::start(test, "P1S,X1C", 2, &[]) else { return };
    let service = Fanlight::start(CAMERA);
    let body = printers.all()[0].registration();
    let (id, other) = (add(&service, &body), add(&service, &printers.all()[1].registration()));
    connected(&service, id);
    let since = connected(&service, other);
    let path = format!("/api/printers/{id}");
    let mut wrong = body.clone();
    wrong["accessCode"] = "00000000".into();
    let trial = send(&service, "POST", &format!("{path}/test"), &wrong).json();
    assert_eq!((&trial["steps"][2]["name"], &trial["steps"][2]["ok"]), (&json!("code"), &json!(false)));
    assert_eq!(trial["steps"][3]["ok"], Value::Null, "{trial}");
    assert_eq!(send(&service, "PUT", &path, &wrong).status, 200);
    let status = wait_for("it is refused", LIVE, || {
        let status = service.get(&format!("{path}/status?full=1")).json();
        (status["details"]["state"] == "refused").then_some(status)
    });
    assert_eq!(status["connected"], false);
    assert!(status["details"]["error"].as_str().unwrap().contains("access code"), "{status}");
    let answer = order(&service, id, &json!({ "type": "light", "on": true }));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(send(&service, "PUT", &path, &body).status, 200);
    connected(&service, id);
    let now = service.get(&format!("/api/printers/{other}/status?full=1")).json();
    assert!(now["connected"] == true && since["connected"] == true, "the other one goes on: {now}");
    assert!(!service.log().contains("00000000"), "{}", service.log());
    assert_eq!(service.log().matches(&format!("printer {other}: starting")).count(), 1, "{}", service.log());
}

#[test]
fn a_changed_certificate_is_refused_until_it_is_accepted() {
    let test = "a_changed_certificate_is_refused_until_it_is_accepted";
    let Some(mut printers) = Simulators::start(test, "A1", 1, &[]) else { return };
    let mut service = Fanlight::start(CAMERA);
    let id = add(&service, &printers.all()[0].registration());
    connected(&service, id);
    let path = format!("/api/printers/{id}");
    let certificate =
        |service: &Fanlight| service.get(&format!("{path}?full=1")).json()["certificate"].clone();
    let first = wait_for("it is kept", LIVE, || certificate(&service)["known"].as_str().map(str::to_owned));
    printers.order("certificate");
    service.kill_and_restart();
    let offered = wait_for("the other one is seen, also after a restart", LIVE, || {
        certificate(&service)["offered"].as_str().map(str::to_owned)
    });
    assert_eq!(certificate(&service)["known"], first.as_str(), "the known one stays");
    let status = service.get(&format!("{path}/status?full=1")).json();
    assert_eq!((&status["connected"], &status["details"]["state"]), (&json!(false), &json!("refused")));
    let accept = |body: &Value| send(&service, "POST", &format!("{path}/certificate"), body);
    let answer = accept(&json!({ "fingerprint": first }));
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (409, json!("OTHER_CERTIFICATE")));
    assert_eq!(accept(&json!({ "fingerprint": "a7" })).status, 400);
    assert_eq!(accept(&json!({ "fingerprint": offered })).status, 200);
    connected(&service, id);
    assert_eq!(certificate(&service), json!({ "known": offered, "offered": null }));
}

#[test]
fn a_deleted_printer_is_let_go_of_within_two_seconds() {
    let test = "a_deleted_printer_is_let_go_of_within_two_seconds";
    let Some(printers) = Simulators::start(test, "X1C", 1, &[]) else { return };
    let service = Fanlight::start(CAMERA);
    let printer = &printers.all()[0];
    let id = add(&service, &printer.registration());
    connected(&service, id);
    let (ip, port): (std::net::Ipv4Addr, u16) = (printer.address.parse().unwrap(), 8883);
    let connections = || sockets_to(service.process().pid(), ip, port);
    assert_eq!(connections(), 1);
    let mut events = Events::open(&service, &format!("/api/printers/{id}/status/stream"), "");
    events.status("the stream is open", LIVE, |_| true);
    let asked = Instant::now();
    assert_eq!(send(&service, "DELETE", &format!("/api/printers/{id}"), &Value::Null).status, 204);
    wait_until("connection and stream have ended", LIVE, || connections() == 0 && !events.read());
    // Twice what is promised: the machine may be busy.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

/// Established TCP connections of a process to an address: those of `/proc/PID/net/tcp` in state 1 that are
/// among its descriptors.
fn sockets_to(pid: u32, ip: std::net::Ipv4Addr, port: u16) -> usize {
    let remote = format!("{:08X}:{port:04X}", u32::from(ip).swap_bytes());
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let descriptors: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2] == remote && row[3] == "01")
        .filter(|row| descriptors.contains(&format!("socket:[{}]", row[9])))
        .count()
}
