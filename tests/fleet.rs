//! A manager and the nodes that it looks after, all of them real: registered, probed, asked to act.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};
use support::service::STARTS;
use support::*;

const CAMERA: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 10\n";
const MANAGEMENT: &str = "[management]\nprobe_seconds = 1.0\nprobe_timeout_seconds = 2.0\n";

fn manager() -> Fanlight {
    Fanlight::start_with(MANAGEMENT, &[("APP_MODE", "management")])
}

fn node(id: &str, base_url: &str) -> Value {
    json!({
        "id": id, "name": id, "base_url": base_url, "auth": { "type": "none" }, "labels": { "room": "hall" },
        "last_seen": "2020-01-01T00:00:00Z", "capabilities": [], "transport": "http",
    })
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn ask(service: &Fanlight, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    request(service.port(), method, path, &[], &body).unwrap()
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn nodes_are_registered_changed_and_deleted_as_the_contract_says() {
    let manager = manager();
    assert_eq!(
        (manager.get("/ready").status, manager.get("/api/cameras").json()),
        (200, json!({ "cameras": [] }))
    );
    assert_eq!(manager.get("/api/nodes").json(), json!({ "nodes": [] }));
    let mut secret = node("hall", "http://10.0.0.5:8080");
    secret["auth"] = json!({ "type": "bearer", "token": "fl_very_secret" });
    let made = ask(&manager, "POST", "/api/nodes", &secret);
    assert_eq!((made.status, made.header("location")), (201, Some("/api/nodes/hall")), "{}", made.text());
    assert_eq!(made.json()["auth"], json!({ "type": "bearer" }), "the token is not given back");
    assert_eq!(code(&ask(&manager, "POST", "/api/nodes", &secret)), (400, "VALIDATION_ERROR".into()));
    let changed = ask(&manager, "PUT", "/api/nodes/hall", &json!({ "labels": { "room": "attic" } }));
    assert_eq!(changed.json()["labels"]["room"], "attic", "{}", changed.text());
    let basic = json!({ "auth": { "type": "basic", "username": "a", "password": "b" } });
    let refused = ask(&manager, "PUT", "/api/nodes/hall", &basic);
    assert_eq!(code(&refused), (400, "VALIDATION_ERROR".into()));
    assert!(
        refused.json()["error"]["details"]["fields"]["auth"].as_str().unwrap().contains("bearer"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.json()["error"]["node_id"], "hall");
    let missing = ask(&manager, "GET", "/api/nodes/attic", &Value::Null);
    assert_eq!(
        (code(&missing), &missing.json()["error"]["node_id"]),
        ((404, "NODE_NOT_FOUND".into()), &json!("attic"))
    );
    assert_eq!(ask(&manager, "DELETE", "/api/nodes/hall", &Value::Null).status, 204);
    assert_eq!(
        code(&ask(&manager, "DELETE", "/api/nodes/hall", &Value::Null)),
        (404, "NODE_NOT_FOUND".into())
    );
    assert!(!manager.log().contains("fl_very_secret"), "{}", manager.log());
}

#[test]
fn three_nodes_are_looked_after_and_one_that_dies_is_told() {
    let manager = manager();
    let mut nodes: Vec<Fanlight> = (0..3).map(|_| Fanlight::start(CAMERA)).collect();
    for (number, service) in nodes.iter().enumerate() {
        service.wait_state("porch", "live", STARTS);
        let made = ask(&manager, "POST", "/api/nodes", &node(&format!("n{number}"), &at(service.port())));
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let summary = |manager: &Fanlight| manager.get("/api/management/overview").json()["summary"].clone();
    wait_until("all have pictures", STARTS, || {
        summary(&manager) == json!({ "total_nodes": 3, "unavailable_nodes": 0, "stream_available_nodes": 3 })
    });
    let status = manager.get("/api/nodes/n0/status").json();
    assert_eq!(
        (&status["status"], &status["ready"], &status["stream_available"]),
        (&json!("ok"), &json!(true), &json!(true))
    );
    assert_eq!(status["probes"]["health"]["payload"]["status"], "healthy", "{status}");
    wait_until("it was seen", STARTS, || {
        !manager.get("/api/nodes/n0").json()["last_seen"].as_str().unwrap().starts_with("2020")
    });
    nodes.pop();
    wait_until("the dead one is told", STARTS, || summary(&manager)["unavailable_nodes"] == 1);
    let dead = manager.get("/api/nodes/n2/status");
    assert_eq!(code(&dead), (503, "NODE_UNREACHABLE".into()), "{}", dead.text());
    assert_eq!(summary(&manager)["stream_available_nodes"], 2);
}

#[test]
fn an_action_is_done_by_the_node_and_its_answer_comes_back() {
    let manager = manager();
    let service = Fanlight::start(CAMERA);
    service.wait_state("porch", "live", STARTS);
    assert_eq!(ask(&manager, "POST", "/api/nodes", &node("hall", &at(service.port()))).status, 201);
    let act = |action: &str, body: Value| {
        ask(&manager, "POST", &format!("/api/nodes/hall/actions/{action}"), &body)
    };
    let identity = act("identify", Value::Null);
    assert_eq!(
        (identity.status, &identity.json()["cameras"]),
        (200, &json!(["porch"])),
        "{}",
        identity.text()
    );
    let snapshot = act("snapshot", json!({ "camera": "porch" }));
    assert_eq!(snapshot.status, 201, "{}", snapshot.text());
    let recording = act("start_recording", json!({}));
    assert_eq!(recording.status, 201, "{}", recording.text());
    let stopped = act("stop_recording", json!({}));
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    assert_eq!(act("restart", json!({ "camera": "porch" })).status, 202);
    assert_eq!(act("restart", json!({ "camera": "attic" })).status, 404);
    let alone = act("restart_service", json!({}));
    assert_eq!(code(&alone), (409, "NOT_A_SERVICE".into()), "{}", alone.text());
    assert_eq!(code(&act("format_disk", json!({}))), (403, "ACTION_NOT_ALLOWED".into()));
    // Asked itself, it says what there is.
    let unknown = ask(&service, "POST", "/api/actions/format_disk", &Value::Null);
    assert_eq!(code(&unknown), (404, "ACTION_NOT_FOUND".into()));
    assert!(unknown.text().contains("start_recording"), "{}", unknown.text());
}

#[test]
fn a_service_of_systemd_is_started_anew_when_it_is_asked_for() {
    let service = Fanlight::start_with(CAMERA, &[("INVOCATION_ID", "0123456789abcdef")]);
    let mut service = service;
    assert_eq!(ask(&service, "POST", "/api/actions/restart_service", &Value::Null).status, 202);
    let ended = wait_for("it ends", STARTS, || service.process_mut().try_wait());
    assert_eq!(ended.code(), Some(75));
}

#[test]
fn a_node_that_never_ends_its_answer_is_given_up_and_one_that_refuses_the_token_is_told() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let (slow_port, refusing_port) =
        (slow.local_addr().unwrap().port(), refusing.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in slow.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                // A byte a second, until nobody listens any longer.
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".iter().cycle() {
                    std::thread::sleep(std::time::Duration::from_secs(1));
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    std::thread::spawn(move || {
        for mut stream in refusing.incoming().flatten() {
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    let manager = manager();
    for (id, port) in [("slow", slow_port), ("closed", refusing_port)] {
        assert_eq!(ask(&manager, "POST", "/api/nodes", &node(id, &at(port))).status, 201);
    }
    let given_up = manager.get("/api/nodes/slow/status");
    assert_eq!(code(&given_up), (503, "NODE_UNREACHABLE".into()), "{}", given_up.text());
    assert!(given_up.text().contains("no answer within"), "{}", given_up.text());
    assert_eq!(code(&manager.get("/api/nodes/closed/status")), (401, "NODE_UNAUTHORIZED".into()));
    let refused = ask(&manager, "POST", "/api/nodes/closed/actions/identify", &json!({}));
    assert_eq!(code(&refused), (401, "NODE_UNAUTHORIZED".into()));
    let metadata = node("cloud", "http://169.254.169.254");
    assert_eq!(ask(&manager, "POST", "/api/nodes", &metadata).status, 201);
    let closed = manager.get("/api/nodes/cloud/status");
    assert!(closed.text().contains("link-local"), "{}", closed.text());
}

#[test]
fn killed_at_any_moment_the_registry_is_whole_and_has_every_node_that_was_answered() {
    let mut manager = manager();
    let mut answered = 0;
    for round in 0..10 {
        let port = manager.port();
        let adding = std::thread::spawn(move || {
            let mut made = 0;
            for number in 0..1000 {
                let body =
                    serde_json::to_vec(&node(&format!("r{round}-{number}"), "http://10.0.0.9")).unwrap();
                match request(port, "POST", "/api/nodes", &[], &body) {
                    Ok(answer) if answer.status == 201 => made += 1,
                    _ => break,
                }
            }
            made
        });
        std::thread::sleep(std::time::Duration::from_millis(20 + 17 * round));
        manager.kill_and_restart();
        answered += adding.join().unwrap();
        let kept = manager.get("/api/nodes").json()["nodes"].as_array().unwrap().len();
        // One may have been written whose answer was cut off.
        assert!(
            (answered..=answered + 1 + round as usize).contains(&kept),
            "round {round}: {answered} answered, {kept} kept"
        );
    }
}

#[test]
fn a_service_without_management_has_no_nodes() {
    let service = Fanlight::start(CAMERA);
    let answer = service.get("/api/nodes");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("APP_MODE=management"), "{}", answer.text());
}
