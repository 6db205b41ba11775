//! Network cameras by RTSP and RTSPS.

use std::time::Duration;

use fanlight::capture::Capture;
use fanlight::h264;
use fanlight::supervision::State;
use gstreamer as gst;

use super::support::{CameraOptions, Fanlight, RtspCamera, SelfSigned, skipped};
use super::*;

fn capture_of(camera_process: &RtspCamera) -> Capture {
    Capture::start(camera(&camera_process.source()), &means())
}

/// H.265 needs an encoder that not every machine has.
fn no_x265(test: &str) -> bool {
    gst::init().unwrap();
    let missing = gst::ElementFactory::find("x265enc").is_none();
    if missing {
        skipped(test, "x265enc is not registered (package gstreamer1.0-plugins-bad)");
    }
    missing
}

#[tokio::test]
async fn a_camera_that_asks_for_digest_or_basic_is_given_it() {
    for login in [CameraOptions::digest, CameraOptions::basic] {
        let camera = login(CameraOptions::clip(), "viewer", "p:w @/%20 \"ö").start();
        let capture = capture_of(&camera);
        assert!(take(capture.h264(), 5).await[0].keyframe);
        let error = capture.status().lifecycle.last_error.unwrap_or_default();
        assert!(!error.contains("password"), "it was refused at first: {error}");
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_self_signed_camera_is_taken_with_any_and_with_its_authority_and_refused_in_words_by_system() {
    let own = SelfSigned::new();
    let other = SelfSigned::new();
    let process = CameraOptions::clip().tls(&own.certificate(), &own.key()).start();
    let with = |tls: &str| {
        let source = process.source().replace(" }", &format!(", {tls} }}"));
        Capture::start(camera(&source), &means())
    };
    let file = |authority: &SelfSigned| {
        format!("tls = \"file\", tls_ca_file = {:?}", authority.certificate().display().to_string())
    };
    for accepted in ["tls = \"any\"".to_owned(), file(&own)] {
        let capture = with(&accepted);
        assert!(take(capture.h264(), 3).await[0].keyframe, "{accepted}");
        capture.shutdown().await;
    }
    for refused in ["tls = \"system\"".to_owned(), file(&other)] {
        let capture = with(&refused);
        let words = failure(&capture).await;
        assert_says(&words, &["certificate", "tls", &process.url()]);
        assert_eq!(capture.h264().counters().frames, 0, "{refused}: nothing may flow");
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_pinned_camera_is_taken_with_its_certificate_and_digest_and_refused_in_words_with_another() {
    let (own, other) = (SelfSigned::new(), SelfSigned::new());
    let process =
        CameraOptions::clip().tls(&own.certificate(), &own.key()).digest("bblp", "12345678").start();
    let pinned = |pin: &SelfSigned| {
        let keys = format!(", tls = \"pin\", fingerprint = {:?} }}", pin.fingerprint());
        Capture::start(camera(&process.source().replace(" }", &keys)), &means())
    };
    let capture = pinned(&own);
    assert!(take(capture.h264(), 3).await[0].keyframe);
    capture.shutdown().await;

    let capture = pinned(&other);
    until_state(&capture, State::Refused).await;
    let words = failure(&capture).await;
    assert_says(&words, &["certificate", "known by", &own.fingerprint(), &process.url()]);
    assert_eq!(capture.h264().counters().frames, 0, "nothing may flow");
    capture.shutdown().await;
}

#[tokio::test]
async fn a_camera_whose_rtp_timestamps_stand_still_is_timed_by_its_pictures_arrival() {
    let process = CameraOptions::pattern("320x240@25").with(&["--frozen-timestamps"]).start();
    let capture = capture_of(&process);
    let units = take(capture.h264(), 75).await;
    assert!(units[0].keyframe);
    assert!(units.windows(2).all(|pair| pair[0].pts < pair[1].pts), "time rises with every picture");
    // Both are taken at the same place: they agree on any machine.
    let (first, last) = (&units[10], &units[74]);
    let (shown, passed) = (last.pts - first.pts, last.captured - first.captured);
    assert!(shown.abs_diff(passed) < Duration::from_millis(100), "{shown:?} in {passed:?}");
    assert!(shown > Duration::from_secs(1), "{shown:?}");
    assert_eq!(capture.status().lifecycle.attempts, 1);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_missing_authority_file_is_said_by_its_path() {
    let own = SelfSigned::new();
    let process = CameraOptions::clip().tls(&own.certificate(), &own.key()).start();
    let tls = ", tls = \"file\", tls_ca_file = \"/nonexistent/ca.pem\" }";
    let capture = Capture::start(camera(&process.source().replace(" }", tls)), &means());
    assert_says(&failure(&capture).await, &["/nonexistent/ca.pem"]);
    capture.shutdown().await;
}

#[tokio::test]
async fn h264_passes_through_and_is_decoded_only_while_somebody_watches_mjpeg() {
    let process = CameraOptions::clip().start();
    let capture = capture_of(&process);
    let units = take(capture.h264(), 20).await;
    assert!(units[0].keyframe);
    let none = Vec::<String>::new();
    assert_eq!((decoders(&capture), encoders(&capture)), (none.clone(), none.clone()));
    assert_eq!(capture.status().h264.encoder.as_deref(), Some("passthrough"));

    let attempts = capture.status().lifecycle.attempts;
    let permit = capture.jpeg().demand();
    until("a decoder and an encoder for MJPEG", || {
        !decoders(&capture).is_empty() && !encoders(&capture).is_empty()
    })
    .await;
    take_jpegs(&capture, 3).await;
    drop(permit);
    until("the decoder is gone", || decoders(&capture).is_empty() && encoders(&capture).is_empty()).await;
    take(capture.h264(), 3).await;
    assert_eq!(capture.status().lifecycle.attempts, attempts, "the camera itself was not disturbed");
    capture.shutdown().await;
}

#[tokio::test]
async fn an_h265_camera_is_encoded_to_h264_for_hls_and_the_status_says_so() {
    if no_x265("an_h265_camera_is_encoded_to_h264_for_hls_and_the_status_says_so") {
        return;
    }
    let process = CameraOptions::pattern("320x240@15").with(&["--codec", "h265"]).start();
    let capture = capture_of(&process);
    until_live(&capture).await;
    assert_eq!(decoders(&capture), Vec::<String>::new(), "nobody watches");
    let units = take(capture.h264(), 10).await;
    let sps = h264::nals(&units[0].data).find(|nal| h264::kind(nal) == 7).and_then(h264::Sps::parse).unwrap();
    assert_eq!((sps.width, sps.height), (320, 240));
    let status = capture.status();
    assert!(status.format.as_deref().is_some_and(|format| format.starts_with("H.265")), "{status:?}");
    assert!(status.notes.iter().any(|note| note.contains("H.265") && note.contains("HLS")), "{status:?}");
    assert!(status.h264.encoder.is_some_and(|encoder| encoder != "passthrough"));
    capture.shutdown().await;
}

#[test]
fn hls_of_an_h265_camera_is_h264_for_every_player() {
    if no_x265("hls_of_an_h265_camera_is_h264_for_every_player") {
        return;
    }
    let process = CameraOptions::pattern("320x240@15").with(&["--codec", "h265"]).start();
    let service = Fanlight::start(&format!("[[camera]]\nid = \"cam\"\n{}\n", process.source()));
    service.wait_state("cam", "live", PATIENCE);
    let list = service.get("/hls/cam/stream.m3u8");
    assert_eq!(list.status, 200, "{}", list.text());
    let text = list.text();
    let segment = text.lines().find(|line| !line.starts_with('#')).expect("a segment");
    let path = service.directory().join("segment.ts");
    std::fs::write(&path, service.get(&format!("/hls/cam/{segment}")).body).unwrap();
    let probed = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "stream=codec_name", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .expect("ffprobe is installed");
    let codecs = String::from_utf8_lossy(&probed.stdout).into_owned();
    assert!(codecs.lines().any(|codec| codec == "h264") && !codecs.contains("hevc"), "{probed:?}");
    let status = service.camera("cam");
    assert!(status["notes"].to_string().contains("H.265"), "{status}");
}

#[tokio::test]
async fn a_camera_with_b_frames_is_passed_through_and_noted() {
    let process = CameraOptions::pattern("320x240@25").with(&["--bframes"]).start();
    let capture = capture_of(&process);
    take(capture.h264(), 40).await;
    until("it is noted", || capture.status().notes.iter().any(|note| note.contains("B-frames"))).await;
    assert_eq!(decoders(&capture), Vec::<String>::new());
    capture.shutdown().await;
}

#[tokio::test]
async fn a_camera_with_b_frames_is_encoded_again_for_webrtc_only_while_somebody_watches_there() {
    let process = CameraOptions::pattern("320x240@25").with(&["--bframes"]).start();
    let capture = capture_of(&process);
    until("it is noted", || capture.status().notes.iter().any(|note| note.contains("WebRTC"))).await;
    assert_eq!(encoders(&capture), Vec::<String>::new(), "nobody watches");
    let units = take(capture.realtime(), 50).await;
    assert!(units[0].keyframe && units.iter().all(|unit| !h264::access_unit_has_b_slice(&unit.data)));
    assert!(units.windows(2).all(|pair| pair[0].pts < pair[1].pts), "they are in order");
    assert!(capture.status().realtime.encoder.is_some_and(|encoder| encoder != "passthrough"));
    let passed = take(capture.h264(), 40).await;
    assert!(passed.iter().any(|unit| h264::access_unit_has_b_slice(&unit.data)), "HLS has the camera's own");
    until("the encoder is gone", || encoders(&capture).is_empty()).await;
    capture.shutdown().await;
}

#[tokio::test]
async fn webrtc_and_hls_have_the_same_pictures_of_a_camera_without_b_frames() {
    let process = CameraOptions::pattern("320x240@25").start();
    let capture = capture_of(&process);
    let (mut realtime, mut h264) = (capture.realtime().subscribe(), capture.h264().subscribe());
    for _ in 0..20 {
        let (one, other) = (realtime.next().await.unwrap(), h264.next().await.unwrap());
        assert_eq!(one.data.as_ptr(), other.data.as_ptr(), "shared, not copied");
    }
    assert_eq!(encoders(&capture), Vec::<String>::new());
    capture.shutdown().await;
}

#[tokio::test]
async fn an_mjpeg_camera_is_passed_through_and_encoded_only_for_hls() {
    let process = CameraOptions::pattern("320x240@15").with(&["--codec", "mjpeg"]).start();
    let capture = capture_of(&process);
    let pictures = take_jpegs(&capture, 10).await;
    for picture in &pictures {
        assert!(picture.data.starts_with(&[0xff, 0xd8]) && picture.data.ends_with(&[0xff, 0xd9]));
    }
    let none = Vec::<String>::new();
    assert_eq!((decoders(&capture), encoders(&capture)), (none.clone(), none));
    assert_eq!(capture.status().jpeg.encoder.as_deref(), Some("passthrough"));
    let units = take(capture.h264(), 3).await;
    assert!(units[0].keyframe);
    assert!(capture.status().notes.iter().any(|note| note.contains("JPEG")), "{:?}", capture.status());
    capture.shutdown().await;
}

#[tokio::test]
async fn the_sound_of_a_camera_does_not_get_in_the_way_of_its_picture() {
    let process = CameraOptions::pattern("320x240@25").with(&["--audio", "beside"]).start();
    let capture = capture_of(&process);
    until_live(&capture).await;
    let attempts = capture.status().lifecycle.attempts;
    let units = take(capture.h264(), 50).await;
    let span = units[49].captured.duration_since(units[0].captured);
    assert!(span < Duration::from_secs(5), "50 pictures in {span:?}");
    assert!(capture.status().lifecycle.state == State::Live);
    assert_eq!(capture.status().lifecycle.attempts, attempts);
    capture.shutdown().await;
}

#[tokio::test]
async fn udp_is_used_where_it_is_asked_for() {
    for transport in ["udp", "auto"] {
        let process = CameraOptions::pattern("320x240@25").start();
        let source = process.source().replace(" }", &format!(", transport = {transport:?} }}"));
        let capture = Capture::start(camera(&source), &means());
        assert!(take(capture.h264(), 10).await[0].keyframe, "{transport}");
        assert!(capture.elements().iter().any(|name| name.ends_with("/udpsrc")), "{:?}", capture.elements());
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_camera_with_sound_only_is_said_to_give_no_video() {
    let process = CameraOptions::default().with(&["--audio", "only"]).start();
    let capture = capture_of(&process);
    let words = failure(&capture).await;
    assert_says(&words, &["no video"]);
    capture.shutdown().await;
}
