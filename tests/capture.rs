//! What a camera promises, from source to outlet, with real GStreamer pipelines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanlight::capture::outlet::Outlet;
use fanlight::capture::{Capture, LINGER, Means};
use fanlight::config::model::{Camera, File, Http, HttpMode, Idle, Resolution, Rotation, Source};
use fanlight::frames::AccessUnit;
use fanlight::h264;
use fanlight::pipelines::Library;
use fanlight::supervision::{State, Timing, Vitals};
use gstreamer as gst;
use gstreamer::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn means() -> Means {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    gst::init().unwrap();
    Means {
        library: Arc::new(Library::embedded()),
        timing: Timing::default(),
        vitals: Vitals::new(0),
        graphs: None,
        linger: LINGER,
    }
}

fn test_camera() -> Camera {
    let mut camera = Camera::new("test", Source::Test {});
    camera.resolution = Resolution { width: 320, height: 240 };
    camera.fps = 25;
    camera
}

fn file_camera(path: &Path) -> Camera {
    Camera::new("file", Source::File(File { path: path.to_owned() }))
}

/// A clip made by GStreamer: two seconds of H.264 at 25 pictures a second.
fn clip(directory: &Path, encoder: &str) -> PathBuf {
    let path = directory.join("clip.mp4");
    make(&path, 50, encoder);
    path
}

fn make(path: &Path, pictures: u32, encoder: &str) {
    gst::init().unwrap();
    let line = format!(
        "videotestsrc num-buffers={pictures} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! {encoder} ! mp4mux ! filesink name=sink"
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("sink").unwrap().set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos));
    pipeline.set_state(gst::State::Null).unwrap();
}

const PLAIN: &str = "x264enc tune=zerolatency key-int-max=25 ! h264parse";
const WITH_B_FRAMES: &str = "x264enc bframes=2 b-adapt=false key-int-max=25 ! h264parse";

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn take(outlet: &Arc<Outlet>, count: usize) -> Vec<AccessUnit> {
    let mut pictures = outlet.subscribe();
    let mut taken = Vec::new();
    let all = async {
        while taken.len() < count {
            taken.push(pictures.next().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("pictures within the deadline");
    taken
}

async fn jpeg(capture: &Capture) -> AccessUnit {
    let _permit = capture.jpeg().demand();
    let mut latest = capture.jpeg().latest();
    let picture = tokio::time::timeout(PATIENCE, latest.wait_for(Option::is_some)).await;
    let picture = picture.expect("a picture within the deadline").unwrap();
    picture.clone().unwrap()
}

fn encoders(capture: &Capture) -> Vec<String> {
    capture.elements().into_iter().filter(|name| name.contains("enc")).collect()
}

fn decoders(capture: &Capture) -> Vec<String> {
    let klass = |name: &str| {
        let factory = gst::ElementFactory::find(name.rsplit('/').next().unwrap());
        factory.map(|factory| factory.metadata("klass").unwrap_or_default().to_owned()).unwrap_or_default()
    };
    capture.elements().into_iter().filter(|name| klass(name).contains("Decoder")).collect()
}

#[tokio::test]
async fn an_encoder_runs_only_while_somebody_wants_its_pictures() {
    let capture = Capture::start(test_camera(), &means());
    until("the camera is live", || capture.status().lifecycle.state == State::Live).await;
    assert_eq!(encoders(&capture), Vec::<String>::new(), "nobody watches");

    let picture = jpeg(&capture).await;
    assert!(picture.data.starts_with(&[0xff, 0xd8]) && picture.data.ends_with(&[0xff, 0xd9]));
    assert!(picture.age(Instant::now()) < Duration::from_secs(2), "{:?}", picture.age(Instant::now()));
    until("the JPEG encoder is gone", || encoders(&capture).is_empty()).await;

    let units = take(capture.h264(), 60).await;
    assert!(units[0].keyframe, "a stream begins at an IDR picture");
    let kinds: Vec<u8> = h264::nals(&units[0].data).map(h264::kind).collect();
    assert!(kinds.contains(&7) && kinds.contains(&8) && kinds.contains(&5), "{kinds:?}");
    assert!(units.windows(2).all(|pair| pair[0].pts < pair[1].pts));
    let age = std::time::SystemTime::now().duration_since(units[59].captured_at);
    assert!(
        age.is_ok_and(|age| age < Duration::from_secs(1)),
        "captured just now: {:?}",
        units[59].captured_at
    );
    let keyframes: Vec<_> = units.iter().enumerate().filter(|(_, u)| u.keyframe).map(|(n, _)| n).collect();
    assert_eq!(keyframes, [0, 50], "a GOP of 2 s at 25 fps");
    until("the H.264 encoder is gone", || encoders(&capture).is_empty()).await;
    assert_eq!(capture.h264().counters().demand, 0);
    capture.shutdown().await;
    until("every pipeline is gone", || capture.elements().is_empty()).await;
}

#[tokio::test]
async fn h264_from_a_file_passes_through_without_a_decoder_and_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let capture = Capture::start(file_camera(&clip(directory.path(), PLAIN)), &means());
    // Twice around: 50 pictures a pass.
    let units = take(capture.h264(), 130).await;
    assert_eq!(decoders(&capture), Vec::<String>::new(), "passing through must not decode");
    assert_eq!(encoders(&capture), Vec::<String>::new(), "passing through must not encode");
    let steps: Vec<_> = units.windows(2).map(|pair| pair[1].pts.saturating_sub(pair[0].pts)).collect();
    assert!(
        steps.iter().all(|step| (30..=60).contains(&step.as_millis())),
        "timestamps are continuous over the loop: {steps:?}"
    );
    assert_eq!(capture.status().h264.encoder.as_deref(), Some("passthrough"));
    let first = units[0].captured;
    let paced = units[129].captured.duration_since(first);
    assert!(paced > Duration::from_secs(4), "read in real time, not {paced:?} for 5 s");
    capture.shutdown().await;
}

#[tokio::test]
async fn b_frames_are_noticed_and_said_and_passed_through() {
    let directory = tempfile::tempdir().unwrap();
    let capture = Capture::start(file_camera(&clip(directory.path(), WITH_B_FRAMES)), &means());
    let units = take(capture.h264(), 40).await;
    assert!(units.windows(2).any(|pair| pair[1].pts < pair[0].pts), "decoding order is kept");
    assert!(capture.status().notes.iter().any(|note| note.contains("B-frames")), "{:?}", capture.status());
    capture.shutdown().await;
}

#[tokio::test]
async fn a_jpeg_of_an_h264_camera_comes_from_the_kept_gop_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let slow = "x264enc tune=zerolatency key-int-max=50 ! h264parse";
    let capture = Capture::start(file_camera(&clip(directory.path(), slow)), &means());
    until("some of a GOP is kept", || capture.h264().counters().frames > 10).await;
    let asked = Instant::now();
    let picture = jpeg(&capture).await;
    assert!(picture.data.starts_with(&[0xff, 0xd8]));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}: it waited for the next IDR", asked.elapsed());
    capture.shutdown().await;
}

#[tokio::test]
async fn turning_an_encoded_camera_decodes_it_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut camera = file_camera(&clip(directory.path(), PLAIN));
    camera.rotation = Rotation::Clockwise90;
    let capture = Capture::start(camera, &means());
    let units = take(capture.h264(), 3).await;
    let sps = h264::nals(&units[0].data).find(|nal| h264::kind(nal) == 7).and_then(h264::Sps::parse).unwrap();
    assert_eq!((sps.width, sps.height), (240, 320));
    assert!(!decoders(&capture).is_empty());
    assert!(
        capture.status().notes.iter().any(|note| note.contains("decoded and encoded again for a rotation"))
    );
    capture.shutdown().await;
}

#[tokio::test]
async fn with_idle_close_the_camera_is_open_only_for_viewers() {
    let mut camera = test_camera();
    camera.idle = Idle::Close;
    let capture = Capture::start(camera, &means());
    let permit = capture.jpeg().demand();
    until("the camera is live", || capture.status().lifecycle.state == State::Live).await;
    drop(permit);
    until("the camera is closed", || capture.elements().is_empty()).await;
    assert_eq!(capture.status().lifecycle.state, State::Idle);
    let again = jpeg(&capture).await;
    assert!(again.keyframe);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_missing_is_said_and_played_within_two_seconds_of_coming() {
    let directory = tempfile::tempdir().unwrap();
    let made = clip(directory.path(), PLAIN);
    let path = directory.path().join("later.mp4");
    let capture = Capture::start(file_camera(&path), &means());
    until("the failure is said", || {
        capture.status().lifecycle.last_error.is_some_and(|error| error.contains("later.mp4"))
    })
    .await;
    until("it waits", || capture.status().lifecycle.state == State::BackingOff).await;
    // Long enough for waits well over two seconds to be possible.
    until("several attempts failed", || capture.status().lifecycle.attempts >= 3).await;
    std::fs::copy(&made, &path).unwrap();
    let came = Instant::now();
    until("the camera is live", || capture.status().lifecycle.state == State::Live).await;
    assert!(came.elapsed() < Duration::from_secs(2), "{:?}", came.elapsed());
    capture.shutdown().await;
}

#[tokio::test]
async fn a_slow_consumer_loses_whole_pictures_and_slows_nobody() {
    let capture = Capture::start(test_camera(), &means());
    let mut slow = capture.h264().subscribe();
    let first = tokio::time::timeout(PATIENCE, slow.next()).await.unwrap().unwrap();
    assert!(first.keyframe);
    // 200 pictures go by while it does not read: more than the ring holds.
    let quick = take(capture.h264(), 200).await;
    assert_eq!(quick.len(), 200);
    let next = tokio::time::timeout(PATIENCE, slow.next()).await.unwrap().unwrap();
    assert!(slow.dropped() > 50, "{} lost", slow.dropped());
    assert!(next.keyframe, "it resumes at an IDR picture");
    assert_eq!(capture.h264().counters().dropped, slow.dropped());
    capture.shutdown().await;
}

#[tokio::test]
async fn a_keyframe_comes_on_request_and_requests_in_quick_succession_bring_one() {
    const THROTTLE: Duration = Duration::from_millis(300);
    let mut camera = test_camera();
    camera.fps = 60;
    camera.h264.gop_seconds = 10.0;
    let capture = Capture::start(camera, &means());
    let mut pictures = capture.h264().subscribe();
    let mut next = async || tokio::time::timeout(PATIENCE, pictures.next()).await.unwrap().unwrap();
    assert!(next().await.keyframe);
    for _ in 0..60 {
        assert!(!next().await.keyframe, "the GOP lasts ten seconds");
    }
    let began = Instant::now();
    let mut pairs = 0;
    // On a busy machine the second request may come too late to be one of a pair; then again.
    while pairs == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "requests never came close to each other");
        let asked = Instant::now();
        capture.request_keyframe();
        let mut waited = 0;
        while !next().await.keyframe {
            waited += 1;
            assert!(waited < 60, "a second went by without a keyframe");
        }
        // The encoder has served the first one, so that it cannot take the two for one.
        capture.request_keyframe();
        let pair = asked.elapsed() < THROTTLE;
        let mut keyframes = 0;
        for _ in 0..60 {
            keyframes += usize::from(next().await.keyframe);
        }
        if pair {
            assert_eq!(keyframes, 0, "the second of two requests within {THROTTLE:?} brings none");
            pairs += 1;
        }
    }
    capture.shutdown().await;
}

/// Serves `picture` as MJPEG, 25 a second, to everybody who connects; its address.
fn mjpeg_camera(picture: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n--frame\r\n";
    let part = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    let part = [part.as_bytes(), &picture, b"\r\n--frame\r\n"].concat();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let part = part.clone();
            std::thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                let mut open = client.write_all(head.as_bytes()).is_ok();
                while open {
                    open = client.write_all(&part).is_ok();
                    std::thread::sleep(Duration::from_millis(40));
                }
            });
        }
    });
    format!("http://{address}/stream")
}

#[tokio::test]
async fn an_mjpeg_camera_over_http_passes_byte_for_byte_and_nothing_is_decoded() {
    let capture = Capture::start(test_camera(), &means());
    let picture = jpeg(&capture).await.data.to_vec();
    capture.shutdown().await;
    let url = mjpeg_camera(picture.clone());
    let source = Http { url, mode: HttpMode::Mjpeg, username: None, password: None, password_file: None };
    let capture = Capture::start(Camera::new("http", Source::Http(source)), &means());
    for _ in 0..3 {
        assert_eq!(*jpeg(&capture).await.data, *picture);
    }
    assert_eq!(decoders(&capture), [""; 0]);
    assert_eq!(encoders(&capture), [""; 0]);
    // The other codec is made from it.
    assert!(take(capture.h264(), 3).await[0].keyframe);
    capture.shutdown().await;
}

#[tokio::test]
async fn restarts_in_quick_succession_leave_no_pipeline_behind() {
    let directory = tempfile::tempdir().unwrap();
    let cameras = [test_camera(), file_camera(&clip(directory.path(), PLAIN))];
    for camera in cameras {
        let capture = Capture::start(camera, &means());
        for n in 0..300_u64 {
            capture.restart();
            tokio::time::sleep(Duration::from_micros(n * 37 % 6000)).await;
        }
        until("the camera is live", || capture.status().lifecycle.state == State::Live).await;
        let sources = || {
            let elements = capture.elements();
            elements
                .iter()
                .filter(|name| name.ends_with("/videotestsrc") || name.ends_with("/filesrc"))
                .count()
        };
        until("one pipeline is left", || sources() == 1).await;
        capture.shutdown().await;
        until("every pipeline is gone", || capture.elements().is_empty()).await;
    }
}

#[tokio::test]
async fn a_file_of_one_picture_shows_it_once_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.mp4");
    make(&path, 1, PLAIN);
    let capture = Capture::start(file_camera(&path), &means());
    take(capture.h264(), 2).await;
    let (before, since) = (capture.h264().counters().frames, Instant::now());
    take(capture.h264(), 3).await;
    let pictures = capture.h264().counters().frames - before;
    assert!(
        pictures as f64 <= since.elapsed().as_secs_f64() * 2.0 + 2.0,
        "{pictures} in {:?}",
        since.elapsed()
    );
    capture.shutdown().await;
}
