//! What is promised about LiveKit beside publishing: viewers' tokens over HTTP, the command line, and the
//! check of the server, against the real binary and a real LiveKit.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use livekit_api::access_token::{Claims, TokenVerifier};
use serde_json::{Value, json};
use support::livekit::{self, Ingresses, LiveKit};
use support::namespace::inside;
use support::*;

const KEY: &str = "devkey";
const SECRET: &str = "a-secret-of-at-least-32-characters-000";
const CAMERA: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\n";

fn configured(more: &str) -> String {
    format!(
        "{CAMERA}[livekit]\nurl = \"ws://127.0.0.1:7880\"\napi_key = \"{KEY}\"\napi_secret = \"{SECRET}\"\n{more}"
    )
}

fn claims(token: &str) -> Claims {
    TokenVerifier::with_api_key(KEY, SECRET).verify(token).expect("a token signed with the configured key")
}

/// Everything that a viewer may do, and that it may not do anything else.
fn viewer_grants(room: &str) -> Value {
    json!({
        "roomCreate": false,
        "roomList": false,
        "roomRecord": false,
        "roomAdmin": false,
        "roomJoin": true,
        "room": room,
        "destinationRoom": "",
        "canPublish": false,
        "canSubscribe": true,
        "canPublishData": false,
        "canPublishSources": [],
        "canUpdateOwnMetadata": false,
        "ingressAdmin": false,
        "hidden": true,
        "recorder": false,
    })
}

#[track_caller]
fn post(service: &Fanlight, body: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    request(service.port(), "POST", "/webrtc/token", &headers, body.to_string().as_bytes())
        .expect("an answer")
}

#[test]
fn viewers_get_what_they_need_to_watch_and_nothing_else() {
    let service = Fanlight::start(&configured(
        "rooms = [\"garden\", \"attic\"]\npublic_url = \"wss://livekit.example.org\"\n\
         ice_servers = [\"stun:stun.example.org\", \"turn:turn.example.org\"]\nturn_static_secret = \"north\"\n",
    ));
    let config = service.get("/webrtc/config");
    assert_eq!((config.status, config.header("cache-control")), (200, Some("no-store")));
    let config = config.json();
    assert_eq!(config["host"], "wss://livekit.example.org");
    assert_eq!((&config["disabled"], &config["notes"]), (&json!(false), &json!([])));
    assert_eq!(config["iceServers"][0], json!({ "urls": ["stun:stun.example.org"] }));
    let turn = &config["iceServers"][1];
    let (expiry, _) = turn["username"].as_str().unwrap().split_once(':').unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now + 86_300..now + 86_500).contains(&expiry.parse::<u64>().unwrap()), "{expiry}");
    assert_eq!(turn["credential"].as_str().unwrap().len(), 28, "base64 of an SHA-1");

    let answer = service.get("/webrtc/token?room=attic&identity=anna");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let token = claims(answer["token"].as_str().unwrap());
    assert_eq!(serde_json::to_value(&token.video).unwrap(), viewer_grants("attic"));
    assert_eq!(answer["identity"], token.sub.as_str());
    assert!(token.sub.starts_with("anna-") && token.sub.len() > "anna-".len(), "{}", token.sub);
    assert!((590..=601).contains(&(token.exp as i64 - now as i64)), "{} at {now}", token.exp);
    let again = service.get("/webrtc/token?room=attic&identity=anna").json();
    assert_ne!(again["identity"], answer["identity"], "two tabs are two viewers");
    let unnamed = service.get("/webrtc/token").json();
    assert_eq!(claims(unnamed["token"].as_str().unwrap()).video.room, "garden", "the first room by default");

    let standard = post(
        &service,
        &json!({
            "room_name": "garden",
            "participant_identity": "wall",
            "participant_name": "The wall",
            "participant_metadata": "{\"canPublish\":true}",
            "participant_attributes": { "roomAdmin": "true" },
            "room_config": {},
        }),
    );
    assert_eq!(standard.status, 201, "{}", standard.text());
    let standard = standard.json();
    assert_eq!(standard["server_url"], "wss://livekit.example.org");
    let token = claims(standard["participant_token"].as_str().unwrap());
    assert_eq!(serde_json::to_value(&token.video).unwrap(), viewer_grants("garden"));
    assert_eq!((token.name.as_str(), token.attributes["roomAdmin"].as_str()), ("The wall", "true"));
    assert_eq!(request(service.port(), "POST", "/webrtc/token", &[], b"").unwrap().status, 201);

    for (answer, status, code) in [
        (service.get("/webrtc/token?room=cellar"), 403, "ROOM_NOT_ALLOWED"),
        (post(&service, &json!({ "room_name": "cellar" })), 403, "ROOM_NOT_ALLOWED"),
        (post(&service, &json!({ "room_config": { "name": "x" } })), 400, "VALIDATION_ERROR"),
        (post(&service, &json!({ "room_name": 5 })), 400, "VALIDATION_ERROR"),
        (post(&service, &json!({ "participant_metadata": "x".repeat(2000) })), 400, "VALIDATION_ERROR"),
        (request(service.port(), "DELETE", "/webrtc/token", &[], b"").unwrap(), 405, "METHOD_NOT_ALLOWED"),
    ] {
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)));
        assert!(!answer.text().contains("garden") && !answer.text().contains("attic"), "rooms stay unnamed");
    }
    assert!(!service.log().contains(SECRET) && !service.log().contains("north"));
}

#[test]
fn one_address_cannot_fetch_tokens_without_end() {
    let service = Fanlight::start(&configured("rooms = [\"garden\"]\ntokens_per_minute = 3\n"));
    let ask = |address: &str| {
        request(service.port(), "GET", "/webrtc/token", &[("X-Forwarded-For", address)], b"").unwrap()
    };
    for _ in 0..3 {
        assert_eq!(ask("192.0.2.1").status, 200);
    }
    let refused = ask("192.0.2.1");
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("TOO_MANY_TOKENS")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    assert_eq!(ask("192.0.2.2").status, 200, "another address is not concerned");
}

#[test]
fn without_livekit_the_page_is_told_what_is_missing() {
    let service = Fanlight::start(CAMERA);
    let config = service.get("/webrtc/config").json();
    assert_eq!((&config["host"], &config["disabled"]), (&Value::Null, &json!(true)));
    let notes = config["notes"].to_string();
    assert!(notes.contains("LIVEKIT_HOST") && notes.contains("LIVEKIT_API_SECRET"), "{notes}");
    let refused = service.get("/webrtc/token");
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("LIVEKIT_DISABLED")));
}

#[test]
fn the_machine_and_the_publisher_are_told() {
    let service = Fanlight::start(&format!("health.publisher_file = \"publisher.json\"\n{CAMERA}"));
    let metrics = wait_for("a reading with a usage", Duration::from_secs(15), || {
        let answer = service.get("/api/system/metrics");
        (answer.status == 200).then(|| answer.json()).filter(|it| it["cpu"]["usage_percent"].is_number())
    });
    assert!(
        metrics["memory"]["total_bytes"].as_u64().unwrap()
            > metrics["memory"]["used_bytes"].as_u64().unwrap()
    );
    assert!(metrics["disk"]["total_bytes"].as_u64() > Some(0), "{metrics}");
    assert!(metrics["process"]["memory_bytes"].as_u64() > Some(1 << 20), "{metrics}");
    assert_eq!(metrics["cpu"]["load"].as_array().unwrap().len(), 3);
    let stats = service.get("/api/stats").json();
    for key in ["cpu_usage_percent", "memory_used_percent", "disk_used_percent"] {
        let share = stats[key].as_f64().unwrap_or_else(|| panic!("{key} in {stats}"));
        assert!((0.0..=100.0).contains(&share), "{key} {share}");
    }
    // Every field is in the document.
    let document = service.get("/api/openapi.json").json();
    for (schema, told) in [("Stats", &stats), ("SystemMetrics", &metrics)] {
        let known = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let told: BTreeSet<_> = told.as_object().unwrap().keys().collect();
        assert_eq!(told, known.keys().collect(), "{schema}");
    }
    let status = service.get("/camera/status").json();
    assert_eq!(status["publisher"]["state"], "missing");
    assert!(status["publisher"]["message"].is_string());
    let file = service.directory().join("publisher.json");
    let told: Value = wait_for("the publisher's file", Duration::from_secs(10), || {
        serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
    });
    assert_eq!((&told["state"], &told["outputs"]), (&json!("missing"), &json!([])));
}

#[test]
fn an_output_that_fails_is_told_with_its_words_and_without_its_key() {
    let nobody = free_port();
    let service = Fanlight::start(&format!(
        "health.publisher_file = \"publisher.json\"\n{CAMERA}\
         [[publish]]\nid = \"tube\"\ntype = \"rtmp\"\nurl = \"rtmp://127.0.0.1:{nobody}/live/hunter2\"\n"
    ));
    let publisher = wait_for("a failed attempt", Duration::from_secs(20), || {
        let publisher = service.get("/camera/status").json()["publisher"].clone();
        publisher["outputs"][0]["last_error"].is_string().then_some(publisher)
    });
    let words = publisher["message"].as_str().unwrap();
    assert!(words.starts_with("output tube is "), "{words}");
    assert_eq!(publisher["outputs"][0]["type"], "rtmp");
    let file = service.directory().join("publisher.json");
    let text = wait_for("the failure in the file", Duration::from_secs(10), || {
        std::fs::read_to_string(&file).ok().filter(|text| text.contains("output tube is "))
    });
    for text in [&text, &publisher.to_string(), &service.log()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

// ---- the command line ----

/// `fanlight livekit …` with this configuration and nothing of LiveKit's from the environment.
fn fanlight(directory: &Path, config: &str, arguments: &[&str]) -> (i32, String) {
    let file = directory.join("fanlight.toml");
    std::fs::write(&file, config).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanlight"));
    command.current_dir(directory).arg("--config").arg(file).arg("livekit").args(arguments);
    for name in ["LIVEKIT_HOST", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_ICE_SERVERS"] {
        command.env_remove(name);
    }
    let began = Instant::now();
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "{arguments:?} took {:?}", began.elapsed());
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    for secret in [SECRET, livekit::SECRET] {
        assert!(!text.contains(secret), "the secret is printed by {arguments:?}");
    }
    (status.code().unwrap(), text)
}

#[test]
fn tokens_made_by_hand_have_the_rights_that_were_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (code, token) =
        fanlight(directory.path(), &configured(""), &["token", "--room", "garden", "--identity", "anna"]);
    assert_eq!(code, 0, "{token}");
    let viewer = claims(token.trim());
    assert_eq!(serde_json::to_value(&viewer.video).unwrap(), viewer_grants("garden"));
    let arguments = ["token", "--room", "garden", "--identity", "porch", "--publish", "--ttl", "10m"];
    let (code, token) = fanlight(directory.path(), &configured(""), &arguments);
    assert_eq!(code, 0, "{token}");
    let publisher = claims(token.trim());
    assert_eq!((publisher.video.can_publish, publisher.video.can_subscribe), (true, false));
    assert_eq!((publisher.sub.as_str(), publisher.video.hidden), ("porch", false));
    assert!((595..=600).contains(&(publisher.exp - publisher.nbf)), "{publisher:?}");
    let (code, words) = fanlight(directory.path(), CAMERA, &["token", "--room", "garden"]);
    assert!(code == 1 && words.contains("livekit.api_key"), "{words}");
    let (code, words) = fanlight(directory.path(), &configured(""), &["token", "--room", "r", "--publish"]);
    assert!(code == 2 && words.contains("--identity"), "{words}");
}

#[test]
fn check_says_that_nothing_listens_or_nothing_answers() {
    let directory = tempfile::tempdir().unwrap();
    let (code, words) = fanlight(directory.path(), CAMERA, &["check"]);
    assert!(code == 1 && words.contains("no address of a LiveKit server"), "{words}");
    let check = |port: u16| {
        let config = configured("").replace("7880", &port.to_string());
        fanlight(directory.path(), &config, &["check"])
    };
    let (code, words) = check(free_port());
    assert!(code == 1 && words.contains("FAIL    server: nothing listens"), "{words}");
    assert!(words.contains("start LiveKit"), "{words}");
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, words) = check(silent.local_addr().unwrap().port());
    assert!(code == 1 && words.contains("within 5 s") && words.contains("firewall"), "{words}");
}

#[test]
fn check_says_that_a_certificate_is_not_trusted() {
    let certificate = SelfSigned::new();
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
    command.arg(certificate.certificate()).arg("-key").arg(certificate.key());
    let _server = Process::spawn("openssl s_server", &mut command);
    wait_until("the server listens", Duration::from_secs(10), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let directory = tempfile::tempdir().unwrap();
    let config = configured("").replace("ws://127.0.0.1:7880", &format!("wss://localhost:{port}"));
    let (code, words) = fanlight(directory.path(), &config, &["check"]);
    assert!(
        code == 1 && words.contains("FAIL    server: no encrypted connection to wss://localhost"),
        "{words}"
    );
    assert!(words.contains("check the certificate"), "{words}");
}

#[test]
fn check_blames_the_clock_and_not_the_key() {
    // A LiveKit whose clock is an hour behind: it takes no token that is made here.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let now = SystemTime::now() - Duration::from_secs(3600);
    let date = jiff::Timestamp::try_from(now).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let head: Vec<String> =
                reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let first = head.first().cloned().unwrap_or_default();
            // A body that is left unread resets the connection at its end, and the answer with it.
            let length = head
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let _ = reader.read_exact(&mut vec![0; length.unwrap_or(0)]);
            let (status, body) = match first.split(' ').nth(1) {
                Some("/") => ("200 OK", "OK"),
                _ => ("401 Unauthorized", "{\"error\":\"token used before issued\"}"),
            };
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nDate: {date}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let config = configured("").replace("7880", &port.to_string());
    let (code, words) = fanlight(directory.path(), &config, &["check"]);
    assert_eq!(code, 1, "{words}");
    let skew = words.lines().find(|line| line.starts_with("FAIL    clock: ")).expect(&words);
    assert!(skew.contains("36") && skew.contains("ahead of the server's"), "{words}");
    assert!(words.contains("as the clocks differ") && words.contains("NTP"), "{words}");
}

// ---- a real LiveKit ----

fn real(server: &LiveKit, secret: &str, more: &str) -> String {
    format!(
        "{CAMERA}[livekit]\nurl = \"{}\"\napi_key = \"{}\"\napi_secret = \"{secret}\"\nrooms = [\"garden\"]\n{more}",
        server.url(),
        livekit::KEY
    )
}

#[test]
fn a_real_livekit_lets_our_viewers_in_and_not_publish() {
    const NAME: &str = "a_real_livekit_lets_our_viewers_in_and_not_publish";
    if !inside(NAME) {
        return;
    }
    let Some(server) = LiveKit::start(NAME) else { return };
    let outputs = format!(
        "[[publish]]\nid = \"world\"\ntype = \"whip\"\nroom = \"garden\"\n\
         [[publish]]\nid = \"thief\"\ntype = \"whip\"\nurl = \"{}/whip/v1\"\ntoken_file = \"viewer.token\"\n",
        server.http_url()
    );
    let service = Fanlight::start(&real(&server, livekit::SECRET, &outputs));
    let token = service.get("/webrtc/token?identity=anna").json()["token"].as_str().unwrap().to_owned();
    let valid = get(server.port(), &format!("/rtc/validate?access_token={token}")).unwrap();
    assert_eq!(valid.status, 200, "{}", valid.text());
    let bearer = format!("Bearer {token}");
    let twirp = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for (method, body) in [("ListRooms", "{}"), ("DeleteRoom", "{\"room\":\"garden\"}")] {
        let path = format!("/twirp/livekit.RoomService/{method}");
        let refused = request(server.port(), "POST", &path, &twirp, body.as_bytes()).unwrap();
        assert!(matches!(refused.status, 401 | 403), "{method}: {} {}", refused.status, refused.text());
    }
    // One output with a publisher's token, one with ours: the first shows that a picture could be seen.
    server.wait_video("garden", "porch", Duration::from_secs(30));
    let file = service.directory().join("viewer.token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    wait_for("an attempt with a viewer's token", Duration::from_secs(30), || {
        let outputs = service.get("/camera/status").json()["publisher"]["outputs"].clone();
        outputs
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["id"] == "thief" && it["attempts"].as_u64() > Some(0))
            .cloned()
    });
    hold_for("a viewer publishes nothing", Duration::from_secs(6), || {
        let others = server.participants("garden").into_iter().filter(|one| one["identity"] != "porch");
        others.into_iter().all(|one| one["tracks"].as_array().is_none_or(Vec::is_empty))
    });
}

#[test]
fn check_names_what_a_real_livekit_lacks() {
    const NAME: &str = "check_names_what_a_real_livekit_lacks";
    if !inside(NAME) {
        return;
    }
    let Some(server) = LiveKit::start(NAME) else { return };
    let directory = tempfile::tempdir().unwrap();
    let check = |config: &str| fanlight(directory.path(), config, &["check"]);
    // It has all that this configuration needs; that it knows no ingresses is worth a note.
    let (code, words) = check(&real(&server, livekit::SECRET, ""));
    assert_eq!(code, 0, "{words}");
    for line in ["ok      server: ", "ok      clock: ", "ok      key: ", "ok      WHIP: "] {
        assert!(words.contains(line), "{line} in {words}");
    }
    assert!(words.contains("note    ingress: ingress not connected"), "{words}");
    assert!(words.contains("redis.address"), "{words}");
    let (code, words) = check(&real(&server, "another-secret-of-at-least-32-characters", ""));
    assert!(code == 1 && words.contains("FAIL    key: the server does not take the key"), "{words}");
    assert!(words.contains("under keys:"), "{words}");
    let unknown = real(&server, livekit::SECRET, "").replace(livekit::KEY, "strangekey");
    let (code, words) = check(&unknown);
    assert!(code == 1 && words.contains("FAIL    key: "), "{words}");
    // An RTMP output needs the ingress, and somebody at its address.
    let rtmp = format!(
        "[[publish]]\nid = \"tube\"\ntype = \"rtmp\"\nurl = \"rtmp://127.0.0.1:{}/x\"\nstream_key = \"hunter2\"\n",
        free_port()
    );
    let (code, words) = check(&real(&server, livekit::SECRET, &rtmp));
    assert!(code == 1 && words.contains("FAIL    ingress: ingress not connected"), "{words}");
    assert!(words.contains("FAIL    output tube: nothing listens"), "{words}");
    assert!(!words.contains("hunter2"), "{words}");
    let create = ["ingress", "create", "--room", "garden", "--name", "porch", "--out", "k"];
    let (code, words) = fanlight(directory.path(), &real(&server, livekit::SECRET, ""), &create);
    assert!(code == 1 && words.contains("runs without Redis"), "{words}");
    assert!(!directory.path().join("k").exists(), "a file without a key is not left");
    let wrong = real(&server, "another-secret-of-at-least-32-characters", "");
    let (code, words) = fanlight(directory.path(), &wrong, &["ingress", "list"]);
    assert!(code == 1 && words.contains("does not take the key"), "{words}");
}

#[test]
fn an_ingress_is_made_kept_secret_listed_and_deleted() {
    const NAME: &str = "an_ingress_is_made_kept_secret_listed_and_deleted";
    if !inside(NAME) {
        return;
    }
    let Some(redis) = Redis::start(NAME) else { return };
    let ingresses = Ingresses { redis: redis.address(), rtmp_port: free_port(), whip_port: free_port() };
    let Some(server) = LiveKit::start_with(NAME, Some(&ingresses)) else { return };
    let directory = tempfile::tempdir().unwrap();
    let config = real(&server, livekit::SECRET, "");
    let run = |arguments: &[&str]| fanlight(directory.path(), &config, arguments);
    let (code, words) = run(&["check"]);
    assert!(code == 0 && words.contains("ok      ingress: the server knows ingresses, 0 so far"), "{words}");
    for (kind, url) in [("rtmp", ingresses.rtmp_base_url()), ("whip", ingresses.whip_base_url())] {
        let create = ["ingress", "create", "--room", "garden", "--name", kind, "--type", kind, "--out", kind];
        let (code, pasted) = run(&create);
        assert_eq!(code, 0, "{pasted}");
        let file = directory.path().join(kind);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let key = std::fs::read_to_string(&file).unwrap().lines().next().unwrap().to_owned();
        assert!(key.len() > 8 && !pasted.contains(&key), "{pasted}");
        // What is printed is taken as it is.
        let (code, words) = fanlight(directory.path(), &format!("{config}{pasted}"), &["ingress", "list"]);
        assert!(code == 0 && !words.contains(&key), "{words}");
        let line = words.lines().find(|line| line.contains(&format!("  {kind}  {kind}  "))).expect(&words);
        assert!(line.starts_with("IN_") && line.contains("in room garden") && line.contains(&url), "{line}");
        assert!(pasted.contains(&format!("url = \"{url}\"")), "{pasted}");
        let (code, words) = run(&create);
        assert!(code == 1 && words.contains("choose another file"), "{words}");
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().next(), Some(key.as_str()));
    }
    let (code, words) = run(&["ingress", "delete", "--room", "garden", "--name", "rtmp"]);
    assert!(code == 0 && words.starts_with("deleted IN_"), "{words}");
    let (code, words) = run(&["ingress", "delete", "--room", "garden", "--name", "rtmp"]);
    assert!(code == 1 && words.contains("there is no ingress"), "{words}");
    let (_, words) = run(&["ingress", "list", "--room", "garden"]);
    let id = words.split("  ").next().unwrap().to_owned();
    assert!(words.lines().count() == 1 && words.contains("  whip  "), "{words}");
    assert_eq!(run(&["ingress", "delete", &id]).0, 0);
    let (code, words) = run(&["ingress", "delete", &id]);
    assert!(code == 1 && words.contains("LiveKit says not_found"), "{words}");
    assert_eq!(run(&["ingress", "list"]), (0, "no ingresses\n".into()));
}
