//! Nothing secret of a published output is ever written: not into the log at its finest level, health, API,
//! metrics, the process list or graphs, whether its peer lives or not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::time::Duration;

use support::livekit::{KEY, LiveKit, SECRET};
use support::rtmp::RtmpServer;
use support::{Fanlight, free_port, namespace, request, wait_until};

const PATIENCE: Duration = Duration::from_secs(40);
/// The beginning of every LiveKit token.
const TOKEN: &str = "eyJ";

#[test]
fn no_secret_is_ever_written() {
    let test = "no_secret_is_ever_written";
    if !namespace::inside(test) {
        return;
    }
    let Some(server) = LiveKit::start(test) else { return };
    let Some(nginx) = RtmpServer::start(test) else { return };
    let dead = free_port();
    let own = "an-own-secret-of-32-characters-0000000";
    let config = format!(
        r#"
[log]
level = "trace"
[health]
publisher_file = "publisher.json"
[livekit]
url = "{url}"
api_key = "{KEY}"
api_secret = "{SECRET}"
[[camera]]
id = "porch"
source = {{ type = "test" }}
resolution = "320x240"
fps = 25
[[publish]]
id = "native"
type = "livekit"
room = "yard"
[[publish]]
id = "native-dead"
type = "livekit"
room = "yard"
identity = "porch-dead"
url = "ws://127.0.0.1:{dead}"
api_key = "own"
api_secret = "{own}"
[[publish]]
id = "native-refused"
type = "livekit"
room = "yard"
identity = "porch-refused"
url = "{url}"
api_key = "{KEY}"
api_secret = "{own}"
[[publish]]
id = "whip"
type = "whip"
room = "yard"
identity = "porch-whip"
[[publish]]
id = "whip-dead"
type = "whip"
url = "http://127.0.0.1:{dead}/whip"
token = "whip-token-hunter2"
[[publish]]
id = "whip-refused"
type = "whip"
url = "{http}/whip/v1"
token = "whip-token-hunter3"
[[publish]]
id = "push"
type = "rtmp"
url = "{rtmp}"
stream_key = "stream-key-hunter4"
[[publish]]
id = "push-dead"
type = "rtmp"
url = "rtmp://127.0.0.1:{dead}/live"
stream_key = "stream-key-hunter5"
[[publish]]
id = "push-refused"
type = "rtmp"
url = "{refusing}"
stream_key = "stream-key-hunter6"
"#,
        url = server.url(),
        http = server.http_url(),
        rtmp = nginx.url(),
        refusing = nginx.refusing_url(),
    );
    let mut service = Fanlight::start(&config);
    let state = |id: &str| {
        let camera = service.camera("porch");
        let outputs = camera["outputs"].as_array().unwrap();
        outputs.iter().find(|output| output["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
    };
    for id in ["native", "whip", "push"] {
        wait_until(&format!("{id} is live"), PATIENCE, || state(id) == "live");
    }
    for id in ["native-refused", "whip-refused", "push-refused"] {
        wait_until(&format!("{id} is refused"), PATIENCE, || state(id) == "refused");
    }
    for id in ["native-dead", "whip-dead", "push-dead"] {
        wait_until(&format!("{id} backs off"), PATIENCE, || state(id) == "backing_off");
    }
    let retried = request(service.port(), "POST", "/api/outputs/push-dead/retry", &[], b"").unwrap();
    assert_eq!(retried.status, 202, "{}", retried.text());
    let unknown = request(service.port(), "POST", "/api/outputs/nothing/retry", &[], b"").unwrap();
    assert_eq!(unknown.status, 404);
    wait_until("the publisher's file", PATIENCE, || service.directory().join("publisher.json").exists());

    let mut written = Vec::new();
    for path in ["/api/cameras", "/api/cameras/porch", "/metrics", "/health", "/ready", "/camera/status", "/"]
    {
        written.push((path.to_owned(), service.get(path).text()));
    }
    let headers = [("Accept", "text/plain")];
    let metrics = request(service.port(), "GET", "/metrics", &headers, b"").unwrap().text();
    assert!(
        metrics.contains("fanlight_output_state{camera=\"porch\",output=\"native\",state=\"live\"} 1"),
        "{metrics}"
    );
    written.push(("/metrics as text".into(), metrics));
    let pid = service.process().pid();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        written.push((file.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    service.process_mut().terminate();
    service.process_mut().wait(Duration::from_secs(20));
    let mut graphs = 0;
    for entry in std::fs::read_dir(service.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("fanlight.toml") || path.is_dir() {
            continue;
        }
        graphs += usize::from(path.extension().is_some_and(|extension| extension == "dot"));
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        written.push((path.display().to_string(), text));
    }
    assert!(graphs > 0, "graphs of failed outputs are left");
    written.push(("the log".into(), service.log()));
    assert!(service.log().contains("TRACE"), "the log is at its finest level");
    for (place, text) in &written {
        for secret in [SECRET, own, "hunter", TOKEN] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in {place}: {line:?}");
        }
    }
    let health = written.iter().find(|(place, _)| place.ends_with("health.json")).expect("a health file");
    assert!(health.1.contains("native-refused"), "outputs are in the health file");
}
