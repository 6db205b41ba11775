//! `probe` against a real file, devices that are not there, and peers that refuse or keep silent.

use std::io::{BufRead, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use serde_json::Value;

use super::*;

fn probe(target: &str, timeout: f64) -> (u8, Value) {
    let args = ProbeArgs { target: target.into(), timeout, json: true };
    let mut out = Vec::new();
    let code = run(&args, &mut out).unwrap();
    (code, serde_json::from_slice(&out).unwrap())
}

/// Runs a pipeline to its end.
fn launch(line: &str, path: &Path) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("sink").unwrap().set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos));
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Two seconds at 25 a second, a GOP of one second, with a tone.
fn clip(directory: &Path) -> PathBuf {
    let path = directory.join("My clip.mp4");
    launch(
        "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc bframes=2 b-adapt=false key-int-max=25 ! h264parse ! mp4mux name=mux ! filesink name=sink \
         audiotestsrc num-buffers=80 ! audio/x-raw,rate=44100,channels=1 ! audioconvert ! avenc_aac ! mux.",
        &path,
    );
    path
}

#[test]
fn a_file_is_described_by_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = clip(directory.path());
    let (code, report) = probe(path.to_str().unwrap(), 20.0);
    assert_eq!((code, &report["result"]), (0, &Value::from("live")), "{report:#}");
    let measured = &report["measured"];
    let fps = measured["fps"].as_f64().unwrap();
    assert!((24.0..26.0).contains(&fps), "{measured:#}");
    assert_eq!(measured["size"], serde_json::json!([320, 240]));
    assert_eq!(measured["b_frames"], true);
    assert_eq!(measured["gop_pictures"], 25);
    assert!(measured["profile"].as_str().unwrap().starts_with("High "), "{measured:#}");
    assert_eq!(report["outputs"][1]["passed_through"], true);
    assert_eq!(report["outputs"][0]["passed_through"], false);
    assert!(report["audio"][0].as_str().unwrap().contains("mpeg"), "{report:#}");
    let camera = report["camera"].as_str().unwrap();
    assert!(camera.contains("id = \"my-clip\"") && camera.contains("My clip.mp4"), "{camera}");
}

#[test]
fn a_device_that_is_not_there_is_said_so() {
    let (code, report) = probe("/dev/video_nonexistent", 2.0);
    assert_eq!((code, &report["result"]), (1, &Value::from("failed")));
    assert!(report["error"].as_str().unwrap().contains("video_nonexistent"), "{report:#}");
    let (code, report) = probe("no such thing", 2.0);
    assert_eq!(code, 1);
    assert!(report["error"].as_str().unwrap().contains("cameras on this machine"), "{report:#}");
}

/// An RTSP or HTTP server that answers every request so; RTSP answers carry the request's CSeq.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test's process: it only ever waits.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines();
            loop {
                let head: Vec<String> =
                    lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                if head.is_empty() {
                    break;
                }
                let sequence = head.iter().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("");
                if (&stream).write_all(&answer(sequence)).is_err() || sequence.is_empty() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn a_camera_that_refuses_is_said_to_and_the_password_is_never_printed() {
    let port = server(|sequence| {
        let challenge = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"1\"";
        format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {sequence}\r\n{challenge}\r\n\r\n").into_bytes()
    });
    let url = |user: &str| format!("rtsp://{user}127.0.0.1:{port}/live");
    for (user, words) in [("ada:hunter2@", "password"), ("", "it wants a user name and password")] {
        let (code, report) = probe(&url(user), 10.0);
        assert_eq!((code, &report["result"]), (1, &Value::from("refused")), "{report:#}");
        assert!(report["error"].as_str().unwrap().contains(words), "{report:#}");
        let text = report.to_string();
        assert!(!text.contains("hunter2") && !text.contains("ada"), "{text}");
    }
}

/// An RTSP camera with a picture and a tone, for as long as the loop's owner keeps it.
fn rtsp_camera() -> (gst::glib::MainLoop, String) {
    use gstreamer_rtsp_server::{RTSPMediaFactory, RTSPServer, prelude::*};
    gst::init().unwrap();
    let context = gst::glib::MainContext::new();
    let server = RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service("0");
    let factory = RTSPMediaFactory::new();
    factory.set_launch(
        "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=20/1 \
         ! x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96 \
         audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 )",
    );
    server.mount_points().unwrap().add_factory("/live", factory);
    server.attach(Some(&context)).unwrap();
    let main_loop = gst::glib::MainLoop::new(Some(&context), false);
    let (running, port) = (main_loop.clone(), server.bound_port());
    thread::spawn(move || {
        let _ = context.with_thread_default(|| running.run());
        drop(server);
    });
    (main_loop, format!("rtsp://127.0.0.1:{port}/live"))
}

#[test]
fn a_network_camera_is_described_with_the_audio_that_is_not_used() {
    let (camera, url) = rtsp_camera();
    let (code, report) = probe(&url, 20.0);
    camera.quit();
    assert_eq!((code, &report["result"]), (0, &Value::from("live")), "{report:#}");
    assert_eq!(report["audio"], serde_json::json!(["PCMA"]));
    assert_eq!(report["measured"]["gop_pictures"], 10);
    assert_eq!(report["measured"]["b_frames"], false);
    let fps = report["measured"]["fps"].as_f64().unwrap();
    assert!((18.0..22.0).contains(&fps), "{report:#}");
    assert_eq!((&report["credentials"], &report["format"]), (&"not needed".into(), &"H.264 320x240".into()));
}

#[test]
fn a_camera_that_keeps_silent_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let began = Instant::now();
    let (code, report) = probe(&url, 1.0);
    assert_eq!(code, 1, "{report:#}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(listener);
    let (code, report) = probe(&url, 5.0);
    assert_eq!((code, &report["result"]), (1, &Value::from("failed")), "{report:#}");
}

#[test]
fn an_http_camera_is_told_by_what_it_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("picture.jpg");
    launch(
        "videotestsrc num-buffers=1 ! video/x-raw,width=320,height=240 ! jpegenc ! filesink name=sink",
        &path,
    );
    let mut picture = Vec::new();
    std::fs::File::open(&path).unwrap().read_to_end(&mut picture).unwrap();
    let port = server(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            picture.len()
        );
        [head.into_bytes(), picture.clone()].concat()
    });
    let (code, report) = probe(&format!("http://127.0.0.1:{port}/image.jpg"), 6.0);
    assert_eq!((code, &report["result"]), (0, &Value::from("live")), "{report:#}");
    assert!(report["format"].as_str().unwrap().starts_with("JPEG"), "{report:#}");
    assert!(report["camera"].as_str().unwrap().contains("mode = \"jpeg\""), "{report:#}");
    assert_eq!(report["outputs"][0]["passed_through"], true);
    assert_eq!(report["credentials"], "not needed");
}
