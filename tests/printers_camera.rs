//! A printer's camera on the real binary: every stream of it under the printer's id, what is said when there is
//! none, and what is kept of its prints. With simulated printers (package mosquitto).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::printer::{Printers, Simulated};
use support::whep_client::{Options, watch};
use support::*;

/// On a busy machine, an encoder's start included.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = "[webrtc]\nport = 0\n[rtsp]\nport = 0\n[supervision]\nbackoff_first_seconds = 0.5\n\
                      backoff_max_seconds = 1\n[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 5\nidle = \"close\"\n";

fn send(service: &Fanlight, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    request(service.port(), method, path, &[("Content-Type", "application/json")], &body).unwrap()
}

/// Adds it and waits until it is connected.
#[track_caller]
fn add(service: &Fanlight, printer: &Simulated) -> String {
    let answer = send(service, "POST", "/api/printers", &printer.registration());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].to_string();
    wait_until("the printer is connected", PATIENCE, || connected(service, &id));
    id
}

fn connected(service: &Fanlight, id: &str) -> bool {
    service.get(&format!("/api/printers/{id}/status")).json()["connected"] == true
}

/// The printer as the API has it, with everything.
fn printer(service: &Fanlight, id: &str) -> Value {
    service.get(&format!("/api/printers/{id}?full=1")).json()
}

#[track_caller]
fn wait_picture(service: &Fanlight, camera: &str) {
    wait_until("a picture", PATIENCE, || {
        let answer = service.try_get(&format!("/cameras/{camera}/snapshot.jpg"));
        answer.is_some_and(|answer| answer.status == 200 && answer.body.starts_with(&[0xff, 0xd8]))
    });
}

/// What is wrong with the camera while somebody asks for it.
#[track_caller]
fn wait_error(service: &Fanlight, camera: &str, words: &[&str]) {
    let error = || {
        let _ = service.try_get(&format!("/cameras/{camera}/snapshot.jpg"));
        service.camera(camera)["last_error"].as_str().unwrap_or_default().to_lowercase()
    };
    wait_until(&format!("it says {words:?}"), PATIENCE, || {
        let error = error();
        words.iter().all(|word| error.contains(word))
    });
}

#[test]
fn a_printers_camera_is_served_in_every_form_under_the_printers_id() {
    let name = "a_printers_camera_is_served_in_every_form_under_the_printers_id";
    let Some(printers) = Printers::start(name, "X1C,A1", 2, &["--idle"]) else { return };
    let service = Fanlight::start(CONFIG);
    for (simulated, kind) in printers.all().iter().zip(["rtsp", "bambu-jpeg"]) {
        let id = add(&service, simulated);
        wait_until("its camera is there", PATIENCE, || printer(&service, &id)["camera"]["id"] == json!(id));
        assert_eq!(service.camera(&id)["source"], kind);
        assert_eq!(service.camera(&id)["name"], simulated.registration()["name"]);

        wait_until("HLS", PATIENCE, || service.get(&format!("/hls/{id}/stream.m3u8")).status == 200);
        let playlist = wait_for("a segment", PATIENCE, || {
            let text = service.get(&format!("/hls/{id}/stream.m3u8")).text();
            text.contains("seg").then_some(text)
        });
        let segment = playlist.lines().find(|line| line.starts_with("seg")).unwrap();
        assert!(segment.ends_with(".ts"), "{playlist}");
        let media = service.get(&format!("/hls/{id}/{segment}"));
        assert_eq!((media.status, media.body.first()), (200, Some(&0x47)), "{playlist}");
        assert_eq!(service.get(&format!("/hls/{id}/stream_ll.m3u8")).status, 200);

        let mut stream = MjpegStream::open(service.port(), &format!("/cameras/{id}/stream.mjpg")).unwrap();
        let picture = stream.next_within(PATIENCE).unwrap().expect("a picture");
        assert!(picture.jpeg.starts_with(&[0xff, 0xd8]));
        wait_picture(&service, &id);

        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (port, path) = (service.port(), format!("/cameras/{id}/whep"));
        let watcher = runtime.block_on(watch(Options::default(), async |offer| {
            let asked = move || {
                request(port, "POST", &path, &[("Content-Type", "application/sdp")], offer.as_bytes())
            };
            let answer = tokio::task::spawn_blocking(asked).await.unwrap().unwrap();
            assert_eq!(answer.status, 201, "{}", answer.text());
            Ok(answer.text())
        }));
        let watcher = watcher.unwrap();
        wait_until("pictures by WebRTC", PATIENCE, || watcher.pictures() >= 3);

        // All that came by one connection, and nothing of the code is told.
        assert_eq!(service.camera(&id)["attempts"], 1, "{}", service.camera(&id));
        assert!(!service.get("/api/cameras").text().contains(support::printer::CODE));
        assert!(!service.log().contains(support::printer::CODE), "the code is in the log");
    }
}

#[test]
fn a_printers_camera_goes_with_the_printer_and_comes_back_after_a_restart() {
    let name = "a_printers_camera_goes_with_the_printer_and_comes_back_after_a_restart";
    let Some(mut printers) = Printers::start(name, "A1", 1, &["--idle"]) else { return };
    // A camera of the configuration has the number already.
    let config =
        format!("{CONFIG}[[camera]]\nid = \"1\"\nsource = {{ type = \"test\" }}\nidle = \"close\"\n");
    let mut service = Fanlight::start(&config);
    let id = add(&service, &printers.all()[0]);
    assert_eq!(id, "1");
    wait_until("the other id", PATIENCE, || printer(&service, &id)["camera"]["id"] == "printer-1");
    wait_picture(&service, "printer-1");
    assert_eq!(service.camera("1")["source"], "test");

    service.kill_and_restart();
    wait_until("it is there again", PATIENCE, || {
        service.try_get("/api/cameras/printer-1").is_some_and(|a| a.status == 200)
    });
    wait_picture(&service, "printer-1");

    // The camera refuses while MQTT is fine, and the other way round.
    printers.order("camera off");
    wait_error(&service, "printer-1", &["refused"]);
    assert!(connected(&service, &id));
    printers.order("camera on");
    wait_picture(&service, "printer-1");
    printers.order("broker off");
    wait_until("MQTT is away", PATIENCE, || !connected(&service, &id));
    wait_picture(&service, "printer-1");

    assert_eq!(send(&service, "DELETE", "/api/printers/1", &Value::Null).status, 204);
    wait_until("its camera is gone", Duration::from_secs(10), || {
        service.get("/cameras/printer-1/snapshot.jpg").status == 404
    });
}

#[test]
fn why_a_printer_shows_nothing_is_said_and_mended() {
    let name = "why_a_printer_shows_nothing_is_said_and_mended";
    let Some(mut printers) = Printers::start(name, "P2S", 1, &["--idle"]) else { return };
    let service = Fanlight::start(CONFIG);
    let simulated = printers.all()[0].clone();
    let tried = |service: &Fanlight| {
        let test = send(service, "POST", "/api/printers/test", &simulated.registration()).json();
        test["steps"].as_array().unwrap().iter().find(|step| step["name"] == "camera").unwrap().clone()
    };
    let camera = tried(&service);
    assert!(camera["ok"] == true && camera["message"].as_str().unwrap().contains("H.264"), "{camera}");
    let id = add(&service, &simulated);
    wait_picture(&service, &id);

    printers.order("liveview off");
    let camera = wait_for("it is known", PATIENCE, || {
        let camera = printer(&service, &id)["camera"].clone();
        camera["id"].is_null().then_some(camera)
    });
    assert!(camera["error"].as_str().unwrap().contains("LAN Only Liveview"), "{camera}");
    assert_eq!(service.get(&format!("/hls/{id}/stream.m3u8")).status, 404);
    printers.order("liveview on");
    wait_until("its camera is back", PATIENCE, || printer(&service, &id)["camera"]["id"] == json!(id));
    wait_picture(&service, &id);

    // Another certificate is refused until somebody accepts it, by the camera as well.
    printers.order("certificate");
    wait_error(&service, &id, &["certificate", "known by"]);
    let accepted = format!("/api/printers/{id}/certificate");
    wait_until("it is accepted", PATIENCE, || send(&service, "POST", &accepted, &Value::Null).status == 200);
    wait_until("it is connected", PATIENCE, || connected(&service, &id));
    wait_picture(&service, &id);

    // A wrong code.
    let mut wrong = simulated.registration();
    wrong["accessCode"] = "00000000".into();
    assert_eq!(send(&service, "PUT", &format!("/api/printers/{id}"), &wrong).status, 200);
    wait_until("its camera is there", PATIENCE, || printer(&service, &id)["camera"]["id"] == json!(id));
    wait_error(&service, &id, &["refuses this user name and password"]);
    assert_eq!(service.state(&id), "refused");
}

#[test]
fn a_print_is_recorded_and_pictured_as_the_configuration_wants() {
    let name = "a_print_is_recorded_and_pictured_as_the_configuration_wants";
    let Some(mut printers) = Printers::start(name, "X1C", 1, &["--idle", "--speed", "1"]) else { return };
    let keys = "[printers]\nrecord = true\ntimelapse_seconds = 1\nsnapshot_at_end = true\nsnapshot_on_error = true\n";
    let service = Fanlight::start(&format!("{keys}{CONFIG}"));
    let id = add(&service, &printers.all()[0]);
    let snapshots =
        || service.get(&format!("/api/snapshots?camera={id}")).json()["snapshots"].as_array().unwrap().len();
    let recording = || service.recording(&id)["state"] == "recording";
    let of_camera = || service.recordings(&format!("?camera={id}"));
    assert!(!recording());

    printers.order("start");
    wait_until("it is recorded", PATIENCE, recording);
    printers.order("pause");
    wait_until("it is paused", PATIENCE, || {
        service.get(&format!("/api/printers/{id}/status")).json()["jobState"] == "PAUSE"
    });
    assert!(recording(), "a pause is no end");
    printers.order("resume");
    wait_until("the timelapse has pictures", PATIENCE, || {
        let timelapse = service.get(&format!("/api/cameras/{id}/timelapse"));
        timelapse.status == 200 && timelapse.json()["pictures"].as_u64() >= Some(2)
    });
    printers.order("finish");
    wait_until("it is over", PATIENCE, || !recording());
    wait_until("its end is pictured", PATIENCE, || snapshots() == 1);
    wait_until("both files are there", PATIENCE, || of_camera().len() == 2);

    printers.order("start");
    wait_until("the next one is recorded", PATIENCE, recording);
    printers.order("fail");
    wait_until("it is over", PATIENCE, || !recording());
    wait_until("its failure is pictured", PATIENCE, || snapshots() >= 2);
}

#[test]
fn whoever_watches_a_printer_that_is_deleted_has_no_stream_any_more() {
    let name = "whoever_watches_a_printer_that_is_deleted_has_no_stream_any_more";
    for model in ["X1C", "A1"] {
        let Some(printers) = Printers::start(name, model, 1, &[]) else { return };
        let service = Fanlight::start(CONFIG);
        let id = add(&service, &printers.all()[0]);
        wait_picture(&service, &id);
        let mut stream = MjpegStream::open(service.port(), &format!("/cameras/{id}/stream.mjpg")).unwrap();
        assert!(stream.next_within(PATIENCE).unwrap().is_some());
        let asked = Instant::now();
        let deleted = send(&service, "DELETE", &format!("/api/printers/{id}"), &Value::Null);
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        let ended =
            wait_for("the stream ends", PATIENCE, || match stream.next_within(Duration::from_millis(200)) {
                Ok(_) => None,
                Err(_) => Some(asked.elapsed()),
            });
        println!("{model}: the stream ended {ended:?} after the printer was asked to be deleted");
        assert_eq!(service.get(&format!("/cameras/{id}/snapshot.jpg")).status, 404);
    }
}
