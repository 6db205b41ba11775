//! JSON-RPC over WebSocket, against the real binary with a real client.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use ring::hmac;
use serde_json::{Value, json};
use support::service::STARTS;
use support::{Fanlight, free_port, wait_until};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The longest that an answer may take on a busy machine.
const ANSWERS: Duration = Duration::from_secs(20);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const CAMERAS: &str = "[[camera]]\nid = \"porch\"\nname = \"The porch\"\nsource = { type = \"test\" }\n\
                       [[camera]]\nid = \"yard\"\nsource = { type = \"rtsp\", url = \"rtsp://127.0.0.1:1/\" }\n";

type Socket = WebSocketStream<tokio::net::TcpStream>;

/// One client.
struct Client {
    socket: Socket,
    next: u64,
    /// Notifications that came while an answer was awaited.
    news: Vec<Value>,
}

impl Client {
    async fn connect(port: u16) -> Self {
        Self::try_connect(port).await.expect("a connection")
    }

    async fn try_connect(port: u16) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let (socket, _) =
            tokio_tungstenite::client_async(format!("ws://127.0.0.1:{port}/ws"), stream).await?;
        Ok(Self { socket, next: 0, news: Vec::new() })
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.expect("sent");
    }

    /// The next text message.
    async fn next(&mut self) -> Value {
        loop {
            match timeout(ANSWERS, self.socket.next()).await.expect("a message in time").expect("open") {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).expect("JSON"),
                Ok(Message::Close(frame)) => panic!("closed: {frame:?}"),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The answer to a message.
    async fn ask(&mut self, text: impl Into<String>) -> Value {
        self.send(text).await;
        loop {
            let message = self.next().await;
            if message.get("method").is_none() {
                return message;
            }
            self.news.push(message);
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next += 1;
        let call = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": self.next });
        let answer = self.ask(call.to_string()).await;
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(self.next)), "{answer}");
        match answer.get("error") {
            Some(error) => {
                assert!(error["message"].is_string() && error["data"]["reason"].is_string(), "{error}");
                Err(error.clone())
            }
            None => Ok(answer.get("result").unwrap_or_else(|| panic!("{answer}")).clone()),
        }
    }

    async fn result(&mut self, method: &str, params: Value) -> Value {
        self.call(method, params.clone()).await.unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// The code of the error that this has to be.
    async fn code(&mut self, method: &str, params: Value) -> i64 {
        let error = self.call(method, params.clone()).await.err();
        error.unwrap_or_else(|| panic!("{method} {params} is an error"))["code"].as_i64().unwrap()
    }

    /// The next notification that fits.
    async fn told(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.news.iter().position(&fits) {
            return self.news.remove(place);
        }
        loop {
            let message = self.next().await;
            if fits(&message) {
                return message;
            }
        }
    }

    /// Whether the service ends the connection, and why.
    async fn closed(&mut self) -> Option<CloseCode> {
        loop {
            match timeout(ANSWERS, self.socket.next()).await.expect("an end in time") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn jwt(role: &str, expires_in: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = json!({ "sub": "anna", "role": role, "exp": now + expires_in });
    let signed = format!("{}.{}", part(json!({ "alg": "HS256" })), part(body));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Runs `fanlight keys …` against the database of the service.
fn keys(service: &Fanlight, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fanlight"))
        .arg("--config")
        .arg(service.config_file())
        .arg("keys")
        .args(args)
        .env("STATE_DIRECTORY", service.directory().join("state"))
        .output()
        .expect("fanlight keys");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn every_method_about_cameras_answers_as_specified() {
    let service = Fanlight::start(CAMERAS);
    service.wait_state("porch", "live", STARTS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        assert_eq!(client.result("ping", json!({})).await, "pong");
        let list = client.result("get_camera_list", json!({})).await;
        assert_eq!((&list["total"], &list["connected"]), (&json!(2), &json!(1)), "{list}");
        let porch = &list["cameras"][0];
        assert_eq!((&porch["device"], &porch["id"]), (&json!("camera0"), &json!("porch")));
        assert_eq!((&porch["status"], &porch["state"]), (&json!("CONNECTED"), &json!("live")));
        assert_eq!((&porch["name"], &porch["resolution"]), (&json!("The porch"), &json!("640x480")));
        assert!(porch["fps"].is_number());
        let hls = format!("http://127.0.0.1:{}/hls/porch/stream.m3u8", service.port());
        assert_eq!(porch["streams"]["hls"], hls);
        let best = porch["streams"]["rtsp"].as_str().map_or(hls, str::to_owned);
        assert_eq!(list["cameras"][1]["status"], "DISCONNECTED");

        for params in [json!({ "device": "camera0" }), json!({ "device": "porch" }), json!(["porch"])] {
            let status = client.result("get_camera_status", params).await;
            assert_eq!(status["id"], "porch");
            assert!(status["metrics"]["frames"].as_u64().unwrap() > 0, "{status}");
        }
        let capabilities = client.result("get_camera_capabilities", json!(["porch"])).await;
        assert_eq!(capabilities["validation_status"], "confirmed", "{capabilities}");
        assert_eq!(capabilities["resolutions"], json!(["640x480"]));
        assert!(capabilities["outputs"].as_array().unwrap().contains(&json!("hls")), "{capabilities}");

        let url = client.result("get_stream_url", json!({ "device": "porch" })).await;
        assert_eq!((&url["stream_url"], &url["available"]), (&json!(best), &json!(true)), "{url}");
        let status = client.result("get_stream_status", json!(["porch"])).await;
        assert_eq!(
            (&status["status"], &status["readers"]["held"]),
            (&json!("IDLE"), &json!(false)),
            "{status}"
        );
        let started = client.result("start_streaming", json!(["camera0"])).await;
        assert_eq!((&started["status"], &started["stream_url"]), (&json!("STARTED"), &json!(best)));
        wait_until("the encoder runs though nobody watches", STARTS, || {
            service.camera("porch")["h264"]["frames"].as_u64().unwrap() > 0
        });
        let streams = client.result("get_streams", json!({})).await;
        assert_eq!((&streams["total"], &streams["active"]), (&json!(2), &json!(1)), "{streams}");
        assert_eq!(
            streams["streams"][0]["readers"],
            json!({ "mjpeg": 0, "webrtc": 0, "rtsp": 0, "held": true })
        );
        let stopped = client.result("stop_streaming", json!(["porch"])).await;
        assert_eq!((&stopped["status"], &stopped["start_time"]), (&json!("STOPPED"), &started["start_time"]));
        assert_eq!(service.camera("porch")["h264"]["demand"], 0);
        let again = client.result("stop_streaming", json!(["porch"])).await;
        assert_eq!(again["start_time"], Value::Null);
        // The same over REST.
        let streaming = |method: &str| {
            let path = "/api/cameras/camera0/streaming";
            support::request(service.port(), method, path, &[], b"").unwrap().json()
        };
        let posted = streaming("POST");
        assert_eq!((&posted["camera"], &posted["streaming"]), (&json!("porch"), &json!(true)), "{posted}");
        assert_eq!(streaming("GET"), posted);
        let status = client.result("get_stream_status", json!(["porch"])).await;
        assert_eq!(status["start_time"], posted["since"]);
        assert_eq!(streaming("DELETE")["streaming"], false);
        assert_eq!(streaming("GET")["since"], Value::Null);
    });
}

#[test]
fn pictures_are_changed_as_over_rest_and_what_cannot_be_is_said() {
    let mut service = Fanlight::start(CAMERAS);
    service.wait_state("porch", "live", STARTS);
    let mask = json!({ "x": 0.25, "y": 0.5, "width": 0.25, "height": 0.25 });
    run(async {
        let mut client = Client::connect(service.port()).await;
        let before = client.result("get_camera_transforms", json!(["camera0"])).await;
        assert_eq!((&before["device"], &before["id"]), (&json!("camera0"), &json!("porch")), "{before}");
        assert_eq!((&before["set_by"], &before["active"]), (&json!("configuration"), &json!(false)));
        let set = json!({ "device": "porch", "transforms": { "masks": [mask] } });
        let set = client.result("set_camera_transforms", set).await;
        assert_eq!((&set["set_by"], &set["kept"]), (&json!("api"), &json!(true)), "{set}");
        let over_rest = service.get("/api/cameras/porch/transforms").json();
        assert_eq!(over_rest["masks"], set["masks"]);

        let turned = |restart: Value| json!({ "device": "porch", "transforms": { "rotation": 90, "masks": [mask] }, "restart": restart });
        let refused = client.call("set_camera_transforms", turned(json!(false))).await.unwrap_err();
        assert_eq!(refused["code"], -32020, "{refused}");
        assert!(refused["data"]["restart_needed"].as_str().unwrap().contains("change places"), "{refused}");
        let done = client.result("set_camera_transforms", turned(json!(true))).await;
        assert_eq!(done["rotation"], 90, "{done}");

        let out = json!({ "masks": [{ "x": 0.9, "y": 0, "width": 0.5, "height": 0.5 }] });
        for (method, params, code) in [
            ("set_camera_transforms", json!(["porch", out]), -32602),
            ("set_camera_transforms", json!(["porch", { "spin": 1 }]), -32602),
            ("set_camera_transforms", json!(["cellar", {}]), -32010),
            ("get_camera_transforms", json!(["/dev/video0"]), -32602),
            ("get_camera_controls", json!(["porch"]), -32030),
            ("get_camera_controls", json!(["cellar"]), -32010),
            ("set_camera_controls", json!(["porch", { "gain": 3 }]), -32030),
            ("set_camera_controls", json!(["porch", { "gain": "high" }]), -32602),
        ] {
            assert_eq!(client.code(method, params.clone()).await, code, "{method} {params}");
        }
    });
    service.kill_and_restart();
    run(async {
        let mut client = Client::connect(service.port()).await;
        let after = client.result("get_camera_transforms", json!(["porch"])).await;
        assert_eq!((&after["set_by"], &after["rotation"]), (&json!("api"), &json!(90)), "{after}");
        let reset = json!({ "device": "porch", "restart": true });
        let back = client.result("reset_camera_transforms", reset).await;
        assert_eq!((&back["set_by"], &back["active"]), (&json!("configuration"), &json!(false)), "{back}");
    });
}

#[test]
fn every_method_about_the_service_answers_as_specified() {
    let service = Fanlight::start(CAMERAS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        let metrics = client.result("get_metrics", json!({})).await;
        assert_eq!((&metrics["active_connections"], &metrics["cameras"]["total"]), (&json!(1), &json!(2)));
        client.code("nothing_like_it", json!({})).await;
        let metrics = client.result("get_metrics", json!({})).await;
        assert_eq!(
            (&metrics["total_requests"], &metrics["error_rate"]),
            (&json!(2), &json!(0.5)),
            "{metrics}"
        );
        let status = client.result("get_status", json!({})).await;
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert!(status["components"]["camera yard"].is_string(), "{status}");
        assert!(["DEGRADED", "UNHEALTHY"].contains(&status["status"].as_str().unwrap()), "{status}");
        let system = client.result("get_system_status", json!({})).await;
        assert_eq!(system["cameras"]["total"], 2, "{system}");
        let info = client.result("get_server_info", json!({})).await;
        assert_eq!((&info["name"], &info["version"]), (&json!("fanlight"), &status["version"]));
        let document = client.result("rpc.discover", json!({})).await;
        assert_eq!(document["openrpc"], "1.3.2");
        let described: Vec<&Value> =
            document["methods"].as_array().unwrap().iter().map(|method| &method["name"]).collect();
        assert_eq!(described, info["methods"].as_array().unwrap().iter().collect::<Vec<_>>());
        for method in ["ping", "authenticate", "get_camera_list", "subscribe_events"] {
            assert!(described.contains(&&json!(method)), "{method}");
        }
    });
}

#[test]
fn recordings_and_snapshots_are_made_listed_told_of_and_deleted() {
    let service = Fanlight::start(CAMERAS);
    service.wait_state("porch", "live", STARTS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        client.result("subscribe_events", json!([["recording_status_update"]])).await;
        let taken =
            client.result("take_snapshot", json!({ "device": "camera0", "filename": "door.jpg" })).await;
        assert_eq!(
            (&taken["status"], &taken["filename"]),
            (&json!("SUCCESS"), &json!("door.jpg")),
            "{taken}"
        );
        let info = client.result("get_snapshot_info", json!(["door.jpg"])).await;
        assert_eq!((&info["camera"], &info["file_size"]), (&json!("porch"), &taken["file_size"]));
        let path = info["download_url"].as_str().unwrap().split_once("/files/").unwrap().1.to_owned();
        assert_eq!(
            service.get(&format!("/files/{path}")).body.len() as u64,
            info["file_size"].as_u64().unwrap()
        );
        assert_eq!(client.result("list_snapshots", json!([10, 0])).await["total"], 1);

        let started = client.result("start_recording", json!({ "device": "porch", "format": "mp4" })).await;
        assert_eq!((&started["device"], &started["format"]), (&json!("camera0"), &json!("mp4")), "{started}");
        assert_eq!(client.code("start_recording", json!(["porch"])).await, -32020, "twice");
        assert_eq!(client.code("start_recording", json!(["porch", 5.0, "avi"])).await, -32030);
        assert_eq!(client.code("start_recording", json!(["porch", -1.0])).await, -32602);
        let told = client.told(|message| message["method"] == "recording_status_update").await;
        assert_eq!((&told["params"]["device"], &told["params"]["id"]), (&json!("camera0"), &json!("porch")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stopped = client.result("stop_recording", json!(["porch"])).await;
        assert_eq!(stopped["status"], "STOPPED", "{stopped}");
        assert_eq!(client.code("stop_recording", json!(["porch"])).await, -32020, "twice");
        let list = client.result("list_recordings", json!({ "limit": 5 })).await;
        assert_eq!((&list["total"], &list["limit"]), (&json!(1), &json!(5)), "{list}");
        let name = list["files"][0]["filename"].clone();
        let info = client.result("get_recording_info", json!([name])).await;
        assert!(info["duration"].as_f64().unwrap() > 0.0 && info["recording"] == false, "{info}");
        for name in ["nothing.mp4", "../fanlight.db"] {
            let code = client.code("delete_recording", json!([name])).await;
            assert!([-32010, -32602].contains(&code), "{name}: {code}");
        }

        let storage = client.result("get_storage_info", json!({})).await;
        assert_eq!(
            (&storage["recordings_count"], &storage["snapshots_count"]),
            (&json!(1), &json!(1)),
            "{storage}"
        );
        let policy = json!({ "policy_type": "age", "max_age_days": 7.0, "enabled": true });
        let policy = client.result("set_retention_policy", policy).await;
        assert_eq!(
            (&policy["max_age_days"], &policy["max_size_gb"]),
            (&json!(7.0), &Value::Null),
            "{policy}"
        );
        assert_eq!(client.code("set_retention_policy", json!({ "max_age_days": -1.0 })).await, -32602);
        let cleaned = client.result("cleanup_old_files", json!({})).await;
        assert_eq!((&cleaned["cleanup_executed"], &cleaned["files_deleted"]), (&json!(true), &json!(0)));
        client.result("delete_recording", json!([name])).await;
        client.result("delete_snapshot", json!(["door.jpg"])).await;
        assert_eq!(client.code("get_snapshot_info", json!(["door.jpg"])).await, -32010);
        assert_eq!(client.result("list_recordings", json!({})).await["files"], json!([]));
    });
}

#[test]
fn what_is_wrong_gets_the_code_that_it_has() {
    let service = Fanlight::start(CAMERAS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        let table = [
            ("get_camera", json!({}), -32601),
            ("get_camera_status", json!({}), -32602),
            ("get_camera_status", json!({ "device": 0 }), -32602),
            ("get_camera_status", json!({ "device": "porch", "more": 1 }), -32602),
            ("get_camera_status", json!(["porch", "more"]), -32602),
            ("get_camera_status", json!({ "device": "/dev/video0" }), -32602),
            ("get_camera_status", json!({ "device": "camera7" }), -32010),
            ("start_streaming", json!({ "device": "attic" }), -32010),
            ("subscribe_events", json!({ "topics": [] }), -32602),
            ("subscribe_events", json!({ "topics": ["weather"] }), -32602),
            (
                "subscribe_events",
                json!({ "topics": ["camera_status_update"], "filters": { "device": "attic" } }),
                -32010,
            ),
            ("authenticate", json!({ "auth_token": "guess" }), -32001),
        ];
        for (method, params, code) in table {
            assert_eq!(client.code(method, params.clone()).await, code, "{method} {params}");
        }
        for (message, code) in [
            ("{\"jsonrpc\": \"2.0\", \"method\": \"ping\"", -32700),
            ("[]", -32600),
            ("{\"jsonrpc\": \"1.0\", \"method\": \"ping\", \"id\": null}", -32600),
        ] {
            let answer = client.ask(message).await;
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &Value::Null), "{message}");
        }
        let answer = client.ask("[1]").await;
        assert_eq!(answer[0]["error"]["code"], -32600, "{answer}");
        // Notifications and batches of them are not answered: the next answer is that of the ping.
        client.send(r#"{"jsonrpc":"2.0","method":"get_camera_status"}"#).await;
        client.send(r#"[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"nothing"}]"#).await;
        let answer = client.ask(r#"{"jsonrpc":"2.0","method":"ping","id":null}"#).await;
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "result": "pong", "id": null }));
    });
}

#[test]
fn without_a_login_only_ping_is_answered_and_each_role_may_do_its_part() {
    let config = format!("[access]\njwt_secret = \"{SECRET}\"\n{CAMERAS}");
    let service = Fanlight::start(&config);
    run(async {
        let port = service.port();
        let mut client = Client::connect(port).await;
        assert_eq!(client.result("ping", json!({})).await, "pong");
        for method in ["get_camera_list", "get_server_info", "rpc.discover", "get_subscription_stats"] {
            assert_eq!(client.code(method, json!({})).await, -32001, "{method}");
        }
        for (role, expected) in [("viewer", Err(-32002)), ("operator", Ok(())), ("admin", Ok(()))] {
            let authenticated = client.result("authenticate", json!({ "auth_token": jwt(role, 60) })).await;
            assert_eq!((&authenticated["role"], &authenticated["name"]), (&json!(role), &json!("anna")));
            assert_eq!(client.result("get_camera_list", json!({})).await["total"], 2);
            let started = client.call("start_streaming", json!(["porch"])).await;
            assert_eq!(
                started.map(drop).map_err(|error| error["code"].as_i64().unwrap()),
                expected,
                "{role}"
            );
        }
        // A wrong token takes nothing from who is logged in already.
        for wrong in [jwt("admin", -3600), format!("{}x", jwt("admin", 60)), "x".into()] {
            assert_eq!(client.code("authenticate", json!({ "auth_token": wrong })).await, -32001);
        }
        client.result("stop_streaming", json!(["porch"])).await;
        let mut other = Client::connect(port).await;
        assert_eq!(other.code("get_camera_list", json!({})).await, -32001, "a login is of one connection");
    });
    // The same policy at the door of HTTP: watching is open, control is not.
    assert_eq!(service.get("/api/cameras").status, 200);
    let restart = |headers: &[(&str, &str)]| {
        support::request(service.port(), "POST", "/api/cameras/porch/restart", headers, b"").unwrap().status
    };
    assert_eq!(restart(&[]), 401);
    assert_eq!(restart(&[("Authorization", &format!("Bearer {}", jwt("viewer", 60)))]), 403);
    assert_eq!(restart(&[("Authorization", &format!("Bearer {}", jwt("operator", 60)))]), 202);
}

#[test]
fn an_api_key_works_until_it_is_revoked() {
    let config = format!("[access]\nrequired = true\n[rpc]\nping_seconds = 1\n{CAMERAS}");
    let service = Fanlight::start(&config);
    let key = keys(&service, &["create", "--name", "phone", "--role", "operator"]);
    let listed = keys(&service, &["list"]);
    let id = listed.split_whitespace().next().unwrap().to_owned();
    assert!(listed.contains("operator") && listed.contains("phone") && !listed.contains(&key), "{listed}");
    run(async {
        let mut client = Client::connect(service.port()).await;
        let authenticated = client.result("authenticate", json!([key])).await;
        assert_eq!((&authenticated["role"], &authenticated["name"]), (&json!("operator"), &json!("phone")));
        assert_eq!(client.result("get_camera_list", json!({})).await["total"], 2);
        keys(&service, &["revoke", &id]);
        let mut other = Client::connect(service.port()).await;
        assert_eq!(other.code("authenticate", json!([key])).await, -32001, "at once for who comes");
        assert_eq!(client.closed().await, Some(CloseCode::Policy), "and an open connection ends");
    });
    let log = service.log();
    assert!(!log.contains(&key), "a key is never logged");
    // What was written last is in the log beside the database.
    let state = std::fs::read_dir(service.directory().join("state")).unwrap();
    let files: Vec<_> = state.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(files.iter().any(|path| path.ends_with("fanlight.db")), "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "only its hash is in {file:?}");
    }
}

#[test]
fn another_jwt_secret_ends_open_connections_at_once() {
    let config = |secret: &str| format!("[access]\njwt_secret = \"{secret}\"\n{CAMERAS}");
    let service = Fanlight::start(&config(SECRET));
    run(async {
        let mut client = Client::connect(service.port()).await;
        client.result("authenticate", json!([jwt("admin", 600)])).await;
        let mut visitor = Client::connect(service.port()).await;
        assert_eq!(visitor.result("ping", json!({})).await, "pong");
        std::fs::write(service.config_file(), config(&SECRET.replace('0', "9"))).unwrap();
        // Its ping comes every 20 s only.
        assert_eq!(client.closed().await, Some(CloseCode::Policy));
        assert_eq!(visitor.result("ping", json!({})).await, "pong", "who never logged in stays");
    });
}

#[test]
fn a_name_that_is_not_this_machines_opens_no_connection_and_changes_nothing() {
    let ask = |service: &Fanlight, method: &str, path: &str, host: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
        stream.set_read_timeout(Some(ANSWERS)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    let restart = "/api/cameras/porch/restart";
    let service = Fanlight::start(&format!("[server]\nhosts = [\"cam.example.org\"]\n{CAMERAS}"));
    for (host, websocket, post) in [
        ("evil.example", "421", "421"),
        ("localhost:8080", "101", "202"),
        ("cam.example.org", "101", "202"),
        ("192.168.1.7", "101", "202"),
    ] {
        assert_eq!(ask(&service, "GET", "/ws", host), websocket, "{host}");
        assert_eq!(ask(&service, "POST", restart, host), post, "{host}");
        assert_eq!(ask(&service, "GET", "/api/cameras", host), "200", "{host}");
    }
    let service = Fanlight::start(&format!("[access]\nrequired = true\n{CAMERAS}"));
    assert_eq!(ask(&service, "POST", restart, "evil.example"), "401", "a login is no page's own");
}

#[test]
fn on_an_address_of_the_network_a_login_is_needed_though_nothing_is_configured() {
    let port = free_port();
    let service = Fanlight::start(&format!("[rpc]\nbind = \"0.0.0.0\"\nport = {port}\n{CAMERAS}"));
    run(async {
        let mut local = Client::connect(service.port()).await;
        assert_eq!(local.result("get_camera_list", json!({})).await["total"], 2);
        let mut client = Client::connect(port).await;
        assert_eq!(client.result("ping", json!({})).await, "pong");
        assert_eq!(client.code("get_camera_list", json!({})).await, -32001);
        let key = keys(&service, &["create", "--name", "panel"]);
        client.result("authenticate", json!({ "auth_token": key })).await;
        let list = client.result("get_camera_list", json!({})).await;
        let hls = format!("http://127.0.0.1:{}/hls/porch/stream.m3u8", service.port());
        assert_eq!(list["cameras"][0]["streams"]["hls"], hls, "addresses are those of HTTP");
    });
    let nothing = support::get(port, "/api/cameras").unwrap();
    assert_eq!(nothing.status, 404, "the own port has JSON-RPC and nothing else");
}

#[test]
fn who_subscribed_is_told_of_every_change_and_nobody_else() {
    let service = Fanlight::start(CAMERAS);
    service.wait_state("porch", "live", STARTS);
    run(async {
        let port = service.port();
        let [mut all, mut yard, mut none] =
            [Client::connect(port).await, Client::connect(port).await, Client::connect(port).await];
        let topics = json!(["camera_status_update"]);
        let subscribed = all.result("subscribe_events", json!({ "topics": topics })).await;
        assert_eq!((&subscribed["subscribed"], &subscribed["topics"]), (&json!(true), &topics));
        yard.result("subscribe_events", json!({ "topics": topics, "filters": { "device": "camera1" } }))
            .await;
        let stats = none.result("get_subscription_stats", json!({})).await;
        assert_eq!(
            (&stats["connections"], &stats["subscribers"]["camera_status_update"]),
            (&json!(3), &json!(2))
        );
        // A changed file is taken over within seconds: one camera gets another name, then the other goes.
        std::fs::write(service.config_file(), CAMERAS.replace("The porch", "The gate")).unwrap();
        let update = |message: &Value| message["method"] == "camera_status_update";
        let renamed = all
            .told(|message| {
                let camera = &message["params"];
                update(message) && camera["name"] == "The gate" && camera["status"] == "CONNECTED"
            })
            .await;
        assert!(renamed.get("id").is_none() && renamed["jsonrpc"] == "2.0", "{renamed}");
        assert_eq!(
            (&renamed["params"]["device"], &renamed["params"]["id"]),
            (&json!("camera0"), &json!("porch"))
        );
        for key in ["fps", "streams"] {
            assert!(!renamed["params"][key].is_null(), "{renamed}");
        }
        let (porch, _) = CAMERAS.split_once("[[camera]]\nid = \"yard\"").unwrap();
        std::fs::write(service.config_file(), porch).unwrap();
        let gone =
            |message: &Value| message["params"]["id"] == "yard" && message["params"]["state"] == "stopping";
        assert_eq!(all.told(gone).await["params"]["status"], "DISCONNECTED");
        // The others: one is told of its own camera only, one of nothing.
        yard.told(|message| {
            assert_eq!(message["params"]["id"], "yard", "{message}");
            gone(message)
        })
        .await;
        none.result("ping", json!({})).await;
        assert!(none.news.is_empty());
        let left = all.result("unsubscribe_events", json!({})).await;
        assert_eq!((&left["unsubscribed"], &left["topics"]), (&json!(true), &json!([])));
    });
}

#[test]
fn limits_are_kept_and_said() {
    let config = format!("[rpc]\nmax_connections = 2\nmax_batch = 3\ncalls_per_second = 5\n{CAMERAS}");
    let service = Fanlight::start(&config);
    run(async {
        let mut client = Client::connect(service.port()).await;
        let call = json!({ "jsonrpc": "2.0", "method": "ping", "id": 1 });
        let answer = client.ask(json!([call, call, call, call]).to_string()).await;
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        let answer = client.ask(json!([call, call, call]).to_string()).await;
        assert_eq!(answer.as_array().unwrap().len(), 3);
        // Ten at once: more than a slow machine regains while it reads them, for they are on their way before
        // the first is answered.
        for id in 0..400 {
            client.send(json!({ "jsonrpc": "2.0", "method": "ping", "id": id }).to_string()).await;
        }
        let mut answers = Vec::new();
        while answers.len() < 400 {
            answers.push(client.next().await);
        }
        let refused = answers.iter().find(|answer| answer.get("error").is_some()).expect("an end of it");
        assert_eq!(refused["error"]["code"], -32040, "{refused}");
        assert!(refused["error"]["data"]["retry_after_seconds"].as_f64().unwrap() <= 1.0, "{refused}");
        assert!(answers.iter().any(|answer| answer["result"] == "pong"), "some are taken");

        let mut second = Client::connect(service.port()).await;
        assert!(Client::try_connect(service.port()).await.is_err(), "a third is one too many");
        let long = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}", "x".repeat(70_000));
        second.send(long).await;
        assert_eq!(second.closed().await, Some(CloseCode::Size));
        let began = Instant::now();
        while Client::try_connect(service.port()).await.is_err() {
            assert!(began.elapsed() < ANSWERS, "its place is free again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_page_of_another_site_opens_no_socket() {
    let service = Fanlight::start(CAMERAS);
    let upgrade = |origin: &str| {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Origin", origin),
        ];
        support::request(service.port(), "GET", "/ws", &headers, b"").unwrap().status
    };
    assert_eq!(upgrade("http://elsewhere.example"), 403);
    assert_eq!(service.get("/ws").status, 426);
}

/// A client of bare bytes, which does what no library would: nothing.
fn mute(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(ANSWERS)).unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer[..length]));
    stream
}

#[test]
fn who_does_not_answer_pings_is_cut_and_others_stay() {
    let service = Fanlight::start(&format!("[rpc]\nping_seconds = 1\n{CAMERAS}"));
    let began = Instant::now();
    let mut dead = mute(service.port());
    run(async {
        let mut client = Client::connect(service.port()).await;
        loop {
            let connections = client.result("get_metrics", json!({})).await["active_connections"].clone();
            if connections == 1 {
                break;
            }
            assert!(began.elapsed() < ANSWERS, "{connections}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "not before two pings");
    });
    let mut rest = Vec::new();
    dead.read_to_end(&mut rest).expect("the end of the stream");
    assert!(rest.contains(&0x89) && rest.contains(&0x88), "it was asked, and told");
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody_and_its_calls_are_no_longer_read() {
    let service = Fanlight::start(&format!("[rpc]\ncalls_per_second = 100000\n{CAMERAS}"));
    let port = service.port();
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket2::SockRef::from(&slow).set_recv_buffer_size(4096).unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).unwrap();
    slow.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // A masked text frame, mask zero: the document of the whole interface, which is large, again and again.
    let call = br#"{"jsonrpc":"2.0","method":"rpc.discover","id":1}"#;
    let mut frame = vec![0x81, 0x80 | call.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(call);
    let mut written = 0_u64;
    let began = Instant::now();
    while slow.write_all(&frame).is_ok() {
        written += 1;
        assert!(began.elapsed() < Duration::from_secs(60), "{written} calls are read without an end");
    }
    run(async {
        let mut client = Client::connect(port).await;
        for _ in 0..20 {
            assert_eq!(client.result("ping", json!({})).await, "pong");
        }
        let began = Instant::now();
        while client.result("get_metrics", json!({})).await["active_connections"] != 1 {
            assert!(began.elapsed() < Duration::from_secs(40), "it is cut in the end");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

#[test]
fn a_stop_of_the_service_is_said_to_every_connection() {
    let mut service = Fanlight::start(CAMERAS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        client.result("ping", json!({})).await;
        service.process_mut().terminate();
        assert_eq!(client.closed().await, Some(CloseCode::Away));
    });
}

#[test]
fn printers_are_listed_told_of_and_asked() {
    let test = "printers_are_listed_told_of_and_asked";
    let Some(printers) = support::printer::Printers::start(test, "P1S", 1, &["--speed", "600"]) else {
        return;
    };
    let service = Fanlight::start(CAMERAS);
    run(async {
        let mut client = Client::connect(service.port()).await;
        let none = client.result("get_printers", json!({})).await;
        assert_eq!(none, json!({ "printers": [], "total": 0, "connected": 0 }));
        client.result("subscribe_events", json!([["printer_status_update"]])).await;
        let body = serde_json::to_vec(&printers.all()[0].registration()).unwrap();
        let added = support::request(service.port(), "POST", "/api/printers", &[], &body).unwrap();
        let id = added.json()["id"].as_i64().unwrap();
        let update = client
            .told(|news| news["params"]["status"]["jobState"] == "RUNNING" && news["params"]["id"] == id)
            .await;
        assert_eq!(
            (&update["method"], &update["params"]["present"]),
            (&json!("printer_status_update"), &json!(true))
        );
        let list = client.result("get_printers", json!({ "full": true })).await;
        assert_eq!((&list["total"], &list["connected"]), (&json!(1), &json!(1)), "{list}");
        assert_eq!(list["printers"][0]["accessCode"], Value::Null);
        let status = client.result("get_printer_status", json!([id])).await;
        assert!(status["connected"] == true && status.get("details").is_none(), "{status}");
        let pause = json!({ "printer": id, "command": { "type": "pause" } });
        assert_eq!(client.result("printer_command", pause.clone()).await, json!({ "ok": true }));
        client.told(|news| news["params"]["status"]["jobState"] == "PAUSE").await;
        assert_eq!(client.code("printer_command", pause).await, -32020);
        let nothing = json!({ "printer": id, "command": { "type": "dance" } });
        assert_eq!(client.code("printer_command", nothing).await, -32602);
        assert_eq!(client.code("get_printer_status", json!([id + 1])).await, -32010);
        let path = format!("/api/printers/{id}");
        support::request(service.port(), "DELETE", &path, &[], b"").unwrap();
        client.told(|news| news["params"]["present"] == false).await;
    });
}
