//! Cameras elsewhere, added by API over JSON-RPC and REST, against the real binary.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::service::STARTS;
use support::{CameraOptions, Fanlight, Response, namespace, request, wait_until};
use tokio_tungstenite::tungstenite::Message;

/// The longest that an answer may take on a busy machine.
const ANSWERS: Duration = Duration::from_secs(20);
const LOOPBACK: &str = "[external]\nallow_networks = [\"127.0.0.0/8\"]\n\
                        [[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\n";

/// One call over JSON-RPC; the code of the error.
fn call(service: &Fanlight, method: &str, params: Value) -> Result<Value, (i64, String)> {
    let port = service.port();
    let call = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
    let asked = async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let url = format!("ws://127.0.0.1:{port}/ws");
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        socket.send(Message::text(call.to_string())).await.expect("sent");
        socket.next().await.expect("an answer").expect("an answer")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let message = runtime.block_on(async { tokio::time::timeout(ANSWERS, asked).await }).expect("in time");
    let answer: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    match answer.get("error") {
        Some(error) => Err((error["code"].as_i64().unwrap(), error["data"]["reason"].to_string())),
        None => Ok(answer["result"].clone()),
    }
}

fn send(service: &Fanlight, method: &str, path: &str, body: &Value) -> Response {
    let body = body.to_string();
    request(service.port(), method, path, &[("Content-Type", "application/json")], body.as_bytes()).unwrap()
}

fn streams(service: &Fanlight) -> Value {
    service.get("/api/external-streams").json()
}

#[test]
fn a_stream_that_is_added_is_a_camera_like_any_other_and_is_one_after_a_restart() {
    let camera = CameraOptions::clip().digest("anna", "hunter2").start();
    let mut service = Fanlight::start(LOOPBACK);
    let address = format!("127.0.0.1:{}", camera.port());
    let added = call(
        &service,
        "add_external_stream",
        json!({ "stream_url": format!("rtsp://anna:hunter2@{address}/cam"), "stream_name": "The gate" }),
    )
    .unwrap();
    let shown = format!("rtsp://{address}/cam");
    assert_eq!((&added["id"], &added["device"]), (&json!("the-gate"), &json!("camera1")), "{added}");
    assert_eq!((&added["stream_url"], &added["has_login"]), (&json!(shown), &json!(true)), "{added}");

    let snapshot = |service: &Fanlight| {
        wait_until("the added camera gives pictures", STARTS, || {
            service.try_get("/cameras/the-gate/snapshot.jpg").is_some_and(|answer| answer.status == 200)
        })
    };
    snapshot(&service);
    assert_eq!(service.camera("camera1")["name"], "The gate");
    service.kill_and_restart();
    assert_eq!(service.camera("camera1")["id"], "the-gate", "the alias as well");
    snapshot(&service);
    let kept = streams(&service);
    assert_eq!(kept["external_streams"][0]["stream_url"], json!(shown), "{kept}");
    let said = [
        kept.to_string(),
        service.camera("the-gate").to_string(),
        service.get("/metrics").text(),
        service.log(),
        std::fs::read_to_string(service.health_file()).unwrap(),
    ];
    for text in said {
        assert!(!text.contains("hunter2"), "the password is told: {text}");
    }

    let removed = call(&service, "remove_external_stream", json!([shown])).unwrap();
    assert_eq!(removed["id"], "the-gate");
    assert_eq!(service.get("/api/cameras/the-gate").status, 404);
    assert_eq!(call(&service, "remove_external_stream", json!(["the-gate"])).unwrap_err().0, -32010);
    service.kill_and_restart();
    assert_eq!(streams(&service)["total"], 0);
}

#[test]
fn rest_does_the_same_as_json_rpc() {
    let service = Fanlight::start(LOOPBACK);
    let new = json!({ "stream_url": "http://127.0.0.1:9/mjpeg?token=hunter2", "id": "yard" });
    let added = send(&service, "POST", "/api/external-streams", &new);
    assert_eq!((added.status, added.header("location")), (201, Some("/api/external-streams/yard")));
    let one = service.get("/api/external-streams/camera1").json();
    assert_eq!(one["stream_url"], "http://127.0.0.1:9/mjpeg?token=***", "{one}");
    assert_eq!(call(&service, "get_external_streams", json!({})).unwrap(), streams(&service));
    assert_eq!(send(&service, "POST", "/api/external-streams", &new).status, 409, "twice");
    let wrong = send(&service, "DELETE", "/api/cameras/yard", &json!({}));
    assert!(wrong.status == 409 && wrong.text().contains("/api/external-streams/yard"), "{}", wrong.text());
    assert_eq!(send(&service, "DELETE", "/api/external-streams/yard", &json!({})).status, 204);
    assert_eq!(send(&service, "DELETE", "/api/external-streams/yard", &json!({})).status, 404);

    let every = |seconds: u32| {
        let path = "/api/external-streams/discovery";
        send(&service, "PUT", path, &json!({ "scan_interval": seconds })).status
    };
    assert_eq!((every(59), every(86_401), every(3600)), (400, 400, 200));
    assert_eq!(streams(&service)["scan_interval"], 3600);
    assert_eq!(call(&service, "set_discovery_interval", json!([0])).unwrap(), json!({ "scan_interval": 0 }));
    assert_eq!(service.get("/api/external-streams/discovery").json(), json!({ "scan_interval": 0 }));
}

#[test]
fn what_only_this_machine_can_reach_is_refused_and_the_number_is_bounded() {
    let service = Fanlight::start(
        "[external]\nmax_streams = 1\n[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\n",
    );
    for url in [
        "rtsp://127.0.0.1/x",
        "rtsp://localhost/x",
        "rtsp://2130706433/x",
        "http://[::1]:8080/",
        "http://169.254.169.254/latest/meta-data/",
        "rtsp://0.0.0.0/x",
        "file:///etc/passwd",
        "rtsp://nobody.invalid/x",
    ] {
        let (code, reason) = call(&service, "add_external_stream", json!([url])).unwrap_err();
        assert_eq!(code, -32602, "{url}: {reason}");
    }
    for id in ["porch", "camera7"] {
        let (code, _) =
            call(&service, "add_external_stream", json!(["rtsp://198.51.100.7/x", "x", id])).unwrap_err();
        assert!([-32020, -32602].contains(&code), "{id}: {code}");
    }
    assert_eq!(streams(&service)["total"], 0);
    call(&service, "add_external_stream", json!(["rtsp://198.51.100.7/x"])).unwrap();
    let (code, reason) = call(&service, "add_external_stream", json!(["rtsp://198.51.100.8/x"])).unwrap_err();
    assert!(code == -32020 && reason.contains("external.max_streams"), "{code} {reason}");
}

#[test]
fn an_http_camera_that_sends_elsewhere_is_not_followed() {
    use std::io::{Read as _, Write as _};
    let service = Fanlight::start(LOOPBACK);
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (camera, elsewhere) = (listen(), listen());
    let target = elsewhere.local_addr().unwrap();
    let new = json!({ "stream_url": format!("http://{}/", camera.local_addr().unwrap()), "id": "sly" });
    let viewer = std::thread::spawn(move || {
        // Knocks come as well, and say nothing.
        for stream in camera.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            if stream.read(&mut request).unwrap_or(0) > 0 {
                let answer =
                    format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                return;
            }
        }
    });
    assert_eq!(send(&service, "POST", "/api/external-streams", &new).status, 201);
    let watching = service.port();
    let _watcher = std::thread::spawn(move || support::get(watching, "/cameras/sly/snapshot.jpg"));
    viewer.join().unwrap();
    wait_until("the camera says that it is none", STARTS, || {
        service.camera("sly")["last_error"].as_str().is_some_and(|words| !words.is_empty())
    });
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "nobody came");
}

#[test]
fn cameras_on_the_network_are_found_by_what_they_answer() {
    if !namespace::inside("cameras_on_the_network_are_found_by_what_they_answer") {
        return;
    }
    let ip: Ipv4Addr = namespace::ADDRESS.parse().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 3702)).unwrap();
    socket.join_multicast_v4(&Ipv4Addr::new(239, 255, 255, 250), &ip).unwrap();
    let answering = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut probe = vec![0; 65536];
        while let Ok((length, from)) = answering.recv_from(&mut probe) {
            let probe = String::from_utf8_lossy(&probe[..length]).into_owned();
            let id = probe.split_once("MessageID>").unwrap().1.split('<').next().unwrap().to_owned();
            let of = |id: &str, name: &str| {
                format!(
                    "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Header>\
                     <w:RelatesTo>{id}</w:RelatesTo></e:Header><e:Body><d:ProbeMatches><d:ProbeMatch>\
                     <d:Types>dn:NetworkVideoTransmitter</d:Types>\
                     <d:Scopes>onvif://www.onvif.org/name/{name}</d:Scopes>\
                     <d:XAddrs>http://10.77.0.1/onvif/device_service</d:XAddrs>\
                     </d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
                )
            };
            for answer in [of("urn:uuid:other", "Liar"), "<broken".repeat(500), of(&id, "The%20gate")] {
                answering.send_to(answer.as_bytes(), from).unwrap();
            }
        }
    });
    let rtsp = std::net::TcpListener::bind((ip, 8554)).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in rtsp.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"RTSP/1.0 401 Unauthorized\r\n\r\n");
        }
    });
    let test = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\n";
    {
        let service = Fanlight::start(test);
        let found = call(&service, "discover_external_streams", json!({})).unwrap();
        assert_eq!(found["total"], 0, "this machine itself is no camera elsewhere: {found}");
    }
    let service = Fanlight::start(&format!("[external]\nallow_networks = [\"10.77.0.0/24\"]\n{test}"));
    let found = call(&service, "discover_external_streams", json!({})).unwrap();
    assert_eq!(found["total"], 1, "{found}");
    let one = &found["discovered_streams"][0];
    assert_eq!((&one["address"], &one["onvif"]), (&json!("10.77.0.1"), &json!(true)), "{one}");
    assert_eq!((&one["name"], &one["rtsp_port"]), (&json!("The gate"), &json!(8554)), "{one}");
    assert_eq!(one["service"], "http://10.77.0.1/onvif/device_service");
    assert_eq!(one["stream_url"], "rtsp://10.77.0.1:8554/");
    assert_eq!(streams(&service)["discovered_streams"][0]["address"], "10.77.0.1");
    let named = json!({ "hosts": ["10.77.0.1"] });
    let named = send(&service, "POST", "/api/external-streams/discovery", &named).json();
    assert_eq!((&named["total"], &named["discovered_streams"][0]["onvif"]), (&json!(1), &json!(false)));
    let (code, _) =
        call(&service, "discover_external_streams", json!({ "hosts": ["rtsp://x"] })).unwrap_err();
    assert_eq!(code, -32602);
}
