//! What is on this machine: files, devices, the test pattern and its turning, encoders that are not there.

use std::path::Path;
use std::time::{Duration, Instant};

use fanlight::capture::{Capture, discover};
use fanlight::config::model::{Camera, Flip, Rotation, Source};
use fanlight::pipelines::Library;
use fanlight::supervision::{State, Timing};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::support::{Fanlight, MjpegStream, bikes, skipped};
use super::*;

fn file_source(path: &Path) -> String {
    format!("source = {{ type = \"file\", path = {:?} }}", path.display().to_string())
}

#[tokio::test]
async fn a_file_removed_while_it_plays_is_said_at_the_restart_and_plays_within_two_seconds_of_its_return() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clip.mp4");
    std::fs::copy(bikes(), &path).unwrap();
    let capture = Capture::start(camera(&file_source(&path)), &means());
    until_live(&capture).await;
    std::fs::remove_file(&path).unwrap();
    capture.restart();
    let words = failure(&capture).await;
    assert_says(&words, &["clip.mp4", "no such file"]);
    until("two attempts found nothing", || capture.status().lifecycle.attempts >= 3).await;
    std::fs::copy(bikes(), &path).unwrap();
    let took = until("it plays again", || capture.status().lifecycle.state == State::Live).await;
    println!("file back to live: {took:.2?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    capture.shutdown().await;
}

#[tokio::test]
async fn a_file_without_video_and_one_of_garbage_are_said_clearly() {
    let directory = tempfile::tempdir().unwrap();
    let sound = directory.path().join("sound.mkv");
    launch(&format!(
        "audiotestsrc num-buffers=100 ! audioconvert ! flacenc ! matroskamux ! filesink location={}",
        quoted(&sound)
    ));
    let garbage = directory.path().join("garbage.mp4");
    std::fs::write(&garbage, [0x5a, 0xa5, 0x17].repeat(20_000)).unwrap();
    let empty = directory.path().join("empty.mp4");
    std::fs::write(&empty, b"").unwrap();
    for (path, expected) in
        [(sound, "but audio/x-flac"), (garbage, "garbage.mp4: it is not a video"), (empty, "empty.mp4")]
    {
        let capture = Capture::start(camera(&file_source(&path)), &means());
        let words = failure(&capture).await;
        assert_says(&words, &[expected]);
        until_state(&capture, State::BackingOff).await;
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_missing_device_is_absent_and_tried_as_soon_as_its_node_appears() {
    let directory = tempfile::tempdir().unwrap();
    let node = directory.path().join("video0");
    let source = format!("source = {{ type = \"v4l2\", device = {:?} }}", node.display().to_string());
    // The back-off alone would wait for minutes: what is quick here is the knock.
    let wait = Duration::from_secs(600);
    let timing = Timing { backoff_first: wait, backoff_max: wait, ..Timing::default() };
    let capture = Capture::start(camera(&source), &Means { timing, ..means() });
    let words = failure(&capture).await;
    assert_says(&words, &["video0", "no such"]);
    until_state(&capture, State::BackingOff).await;
    let attempts = capture.status().lifecycle.attempts;
    // Let a knock see that it is absent: only the turn from absent to present counts.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        capture.status().lifecycle.attempts,
        attempts,
        "an absent device is not tried again and again"
    );

    std::fs::write(&node, b"").unwrap();
    let tried = || capture.status().lifecycle.attempts > attempts;
    let took = within(Duration::from_secs(3), "it is tried again", tried).await;
    println!("node to attempt: {took:.2?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    until("the plain file is said to be no camera", || {
        let error = capture.status().lifecycle.last_error.unwrap_or_default();
        error.contains("video0") && error != words
    })
    .await;
    println!("in words: {:?}", capture.status().lifecycle.last_error);
    capture.shutdown().await;
}

#[tokio::test]
async fn without_any_camera_auto_says_what_to_do() {
    gst::init().unwrap();
    if !discover::all().is_empty() {
        skipped("without_any_camera_auto_says_what_to_do", "this machine has a camera");
        return;
    }
    let capture = Capture::start(camera("source = { type = \"auto\" }"), &means());
    assert_says(&failure(&capture).await, &["no camera was found", "plug one in", "source"]);
    until_state(&capture, State::BackingOff).await;
    capture.shutdown().await;
}

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
/// Brightness of a picture's quarters: upper left, upper right, lower left, lower right.
const QUARTERS: [u8; 4] = [30, 90, 150, 210];

/// Fragments whose test camera is a still picture of four quarters.
fn still(directory: &Path) -> Library {
    let mut picture = Vec::new();
    for y in 0..HEIGHT {
        picture.extend((0..WIDTH).map(|x| QUARTERS[2 * (2 * y / HEIGHT) + 2 * x / WIDTH]));
    }
    picture.extend(vec![128; WIDTH * HEIGHT / 2]);
    let file = directory.join("still.yuv");
    std::fs::write(&file, &picture).unwrap();
    std::fs::create_dir(directory.join("sources")).unwrap();
    let fragment = format!(
        "# A still of four quarters.\nfilesrc location={} blocksize={} \
         ! rawvideoparse format=i420 width={WIDTH} height={HEIGHT} framerate=10/1 ! imagefreeze is-live=true \
         ! video/x-raw,framerate=10/1",
        quoted(&file),
        picture.len()
    );
    std::fs::write(directory.join("sources/test.gst"), fragment).unwrap();
    Library::load(directory).unwrap()
}

/// The size of a JPEG, and how bright the middle of each quarter is.
fn quarters(jpeg: &[u8]) -> (usize, usize, [u8; 4]) {
    let line = "appsrc name=source caps=image/jpeg ! jpegdec ! videoconvert ! video/x-raw,format=GRAY8 \
                ! appsink name=sink sync=false";
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("source").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    source.push_buffer(gst::Buffer::from_slice(jpeg.to_vec())).unwrap();
    source.end_of_stream().unwrap();
    let sample = sink.pull_sample().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
    let (width, height, stride) = (info.width() as usize, info.height() as usize, info.stride()[0] as usize);
    let map = sample.buffer().unwrap().map_readable().unwrap();
    let at = |x: usize, y: usize| map[y * stride + x];
    let (left, right, upper, lower) = (width / 4, 3 * width / 4, height / 4, 3 * height / 4);
    (width, height, [at(left, upper), at(right, upper), at(left, lower), at(right, lower)])
}

/// Which of the original quarters each quarter now is.
fn order(found: [u8; 4]) -> [usize; 4] {
    let mut sorted = found;
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 30), "not four different quarters: {found:?}");
    found.map(|brightness| sorted.iter().position(|one| *one == brightness).unwrap())
}

/// A quarter turn clockwise, `n` times, and then a flip.
fn turned(rotation: Rotation, flip: Flip) -> [usize; 4] {
    let mut quarters = [0, 1, 2, 3];
    for _ in 0..rotation.degrees() / 90 {
        let [upper_left, upper_right, lower_left, lower_right] = quarters;
        quarters = [lower_left, upper_left, lower_right, upper_right];
    }
    let [a, b, c, d] = quarters;
    match flip {
        Flip::None => [a, b, c, d],
        Flip::Horizontal => [b, a, d, c],
        Flip::Vertical => [c, d, a, b],
    }
}

#[tokio::test]
async fn pictures_are_turned_clockwise_and_then_flipped_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let library = Arc::new(still(directory.path()));
    for rotation in [Rotation::None, Rotation::Clockwise90, Rotation::Half, Rotation::Clockwise270] {
        for flip in [Flip::None, Flip::Horizontal, Flip::Vertical] {
            let camera = Camera { rotation, flip, ..Camera::new("turned", Source::Test {}) };
            let capture = Capture::start(camera, &Means { library: Arc::clone(&library), ..means() });
            let picture = take_jpegs(&capture, 1).await.remove(0);
            let (width, height, found) = quarters(&picture.data);
            let sideways = rotation.degrees() % 180 == 90;
            let expected = if sideways { (HEIGHT, WIDTH) } else { (WIDTH, HEIGHT) };
            assert_eq!((width, height), expected, "{rotation:?} {flip:?}");
            assert_eq!(order(found), turned(rotation, flip), "{rotation:?} {flip:?}: {found:?}");
            capture.shutdown().await;
        }
    }
}

const TEST_CAMERA: &str =
    "[[camera]]\nid = \"cam\"\nsource = { type = \"test\" }\nresolution = \"320x240\"\nfps = 15\n";

#[test]
fn without_the_asked_h264_encoder_the_status_names_the_lack_hls_says_so_and_mjpeg_goes_on() {
    gst::init().unwrap();
    if gst::ElementFactory::find("vah264enc").is_some() {
        skipped(
            "without_the_asked_h264_encoder_the_status_names_the_lack_hls_says_so_and_mjpeg_goes_on",
            "this machine has vah264enc",
        );
        return;
    }
    let service = Fanlight::start(&format!("{TEST_CAMERA}[camera.h264]\nencoder = \"vah264enc\"\n"));
    service.wait_state("cam", "live", PATIENCE);
    for playlist in ["stream.m3u8", "stream_ll.m3u8", "stream_ll_fmp4.m3u8"] {
        let asked = Instant::now();
        let answer = service.get(&format!("/hls/cam/{playlist}"));
        let took = asked.elapsed();
        println!("{playlist}: {} after {took:.1?}", answer.status);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(took < Duration::from_secs(3), "{took:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_says(&message, &["vah264enc", "gstreamer1.0-plugins-bad", "hardware"]);
    }
    let status = service.camera("cam");
    let error = status["h264"]["last_error"].as_str().expect("an error").to_owned();
    assert_says(&error, &["vah264enc", "gstreamer1.0-plugins-bad", "hardware"]);
    assert_eq!(status["h264"]["state"], "backing_off", "{status}");
    assert_eq!(status["state"], "live", "{status}");

    let mut stream = MjpegStream::open(service.port(), "/stream.mjpg").expect("MJPEG works");
    for _ in 0..10 {
        assert!(stream.next_within(PATIENCE).expect("the stream").is_some(), "a picture");
    }
    assert_eq!(service.get("/snapshot.jpg").status, 200);
    assert_eq!(service.get("/ready").status, 200);
}

#[test]
fn a_fragment_of_the_operators_that_names_no_element_fails_its_output_alone_and_says_which() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("encoders")).unwrap();
    let fragment = "# mine\nvideoconvert ! fancyjpegenc name=encoder quality={quality:int}\n";
    std::fs::write(directory.path().join("encoders/jpeg-jpegenc.gst"), fragment).unwrap();
    let pipelines = format!("[pipelines]\ndirectory = {:?}\n", directory.path().display().to_string());
    let service = Fanlight::start(&format!("{pipelines}{TEST_CAMERA}"));
    service.wait_state("cam", "live", PATIENCE);
    for path in ["/stream.mjpg", "/snapshot.jpg"] {
        let asked = Instant::now();
        let answer = service.get(path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(asked.elapsed() < Duration::from_secs(15), "{path}: {:?}", asked.elapsed());
        assert_says(&answer.text(), &["fancyjpegenc"]);
    }
    let status = service.camera("cam");
    assert_says(status["jpeg"]["last_error"].as_str().expect("an error"), &["fancyjpegenc", "missing"]);
    assert_eq!(service.get("/hls/cam/stream.m3u8").status, 200);
}
