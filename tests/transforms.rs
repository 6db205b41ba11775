//! Masks, rotation, flip and overlay, by the pixels of what leaves: in every outlet, switched while it runs, and
//! closed when something fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanlight::capture::outlet::{Outlet, Subscription};
use fanlight::capture::{Capture, Impact, LINGER, Means, Told};
use fanlight::config::model::{Camera, File, Flip, Resolution, Rotation, Source};
use fanlight::config::transforms::{Mask, Overlay, Position, Transforms};
use fanlight::frames::AccessUnit;
use fanlight::pipelines::Library;
use fanlight::supervision::{State, Timing, Vitals};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A picture as it is seen.
struct Picture {
    width: usize,
    height: usize,
    stride: usize,
    data: Vec<u8>,
}

impl Picture {
    /// Brightness at a place in shares of the picture.
    fn at(&self, x: f64, y: f64) -> u8 {
        let (x, y) = ((x * self.width as f64) as usize, (y * self.height as f64) as usize);
        let place = y.min(self.height - 1) * self.stride + x.min(self.width - 1) * 3;
        let pixel = &self.data[place..place + 3];
        ((u32::from(pixel[0]) + u32::from(pixel[1]) + u32::from(pixel[2])) / 3) as u8
    }

    /// Whether the rectangle is black, to its edges.
    fn is_black(&self, mask: &Mask) -> bool {
        let inside = |start: f64, side: f64| [0.05, 0.5, 0.95].map(|share| start + side * share);
        let rows = inside(mask.y, mask.height);
        inside(mask.x, mask.width).iter().all(|x| rows.iter().all(|y| self.at(*x, *y) < 40))
    }

    /// Pixels that are darker than the white of the scene.
    fn dark(&self) -> usize {
        let rows = self.data.chunks(self.stride).take(self.height);
        rows.flat_map(|row| row[..self.width * 3].chunks(3)).filter(|pixel| pixel[0] < 200).count()
    }
}

/// What comes out of a chain of elements into which `units` go.
fn decoded(units: &[impl AsRef<[u8]>], caps: &str, decoder: &str) -> Vec<Picture> {
    gst::init().unwrap();
    let line = format!(
        "appsrc name=source caps={caps} format=time ! {decoder} ! videoconvert ! video/x-raw,format=RGB ! appsink \
         name=sink sync=false"
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("source").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (index, unit) in units.iter().enumerate() {
        let mut buffer = gst::Buffer::from_slice(unit.as_ref().to_vec());
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(index as u64 * 40));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut pictures = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let map = sample.buffer().unwrap().map_readable().unwrap();
        pictures.push(Picture {
            width: info.width() as usize,
            height: info.height() as usize,
            stride: info.stride()[0] as usize,
            data: map.to_vec(),
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    pictures
}

fn jpeg(unit: &AccessUnit) -> Picture {
    decoded(&[&unit.data], "image/jpeg", "jpegdec").pop().expect("a picture")
}

/// All pictures of access units of which the first is an IDR.
fn h264(units: &[AccessUnit]) -> Vec<Picture> {
    let data: Vec<_> = units.iter().map(|unit| unit.data.clone()).collect();
    decoded(&data, "video/x-h264,stream-format=byte-stream,alignment=au", "h264parse ! avdec_h264")
}

/// The program's fragments, a white scene, and these over them.
fn means(own: &[(&str, &str)]) -> (Means, tempfile::TempDir) {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    gst::init().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let scene = "# white\nvideotestsrc name=source is-live=true pattern=white \
                 ! video/x-raw,format=I420,width={width:int},height={height:int},framerate={fps:int}/1";
    for (name, text) in [("sources/test", scene)].iter().chain(own) {
        let path = directory.path().join(format!("{name}.gst"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let means = Means {
        library: Arc::new(Library::load(directory.path()).unwrap()),
        timing: Timing::default(),
        vitals: Vitals::new(0),
        graphs: None,
        linger: LINGER,
    };
    (means, directory)
}

fn raw_camera() -> Camera {
    let mut camera = Camera::new("white", Source::Test {});
    camera.resolution = Resolution { width: 320, height: 240 };
    camera.fps = 20;
    camera
}

/// A camera that plays ten seconds of a white picture in this encoding.
fn encoded_camera(directory: &Path, encoder: &str) -> Camera {
    let path: PathBuf = directory.join("white.mkv");
    let line = format!(
        "videotestsrc num-buffers=250 pattern=white ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         {encoder} ! matroskamux ! filesink name=sink"
    );
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("sink").unwrap().set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos));
    pipeline.set_state(gst::State::Null).unwrap();
    Camera::new("white", Source::File(File { path }))
}

const H264: &str = "x264enc tune=zerolatency key-int-max=25 ! h264parse";
const MJPEG: &str = "jpegenc";

fn mask() -> Mask {
    Mask { name: None, enabled: true, x: 0.25, y: 0.5, width: 0.25, height: 0.25 }
}

fn masks(list: &[Mask]) -> Told {
    Told::by_api(Transforms { masks: list.to_vec(), ..Transforms::default() })
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn next(pictures: &mut Subscription) -> AccessUnit {
    tokio::time::timeout(PATIENCE, pictures.next()).await.expect("a picture in time").expect("an outlet")
}

async fn take(outlet: &Arc<Outlet>, count: usize) -> Vec<AccessUnit> {
    let mut pictures = outlet.subscribe();
    let mut units = Vec::new();
    while units.len() < count {
        units.push(next(&mut pictures).await);
    }
    units
}

/// The newest picture, or the next one.
async fn snapshot(capture: &Capture) -> AccessUnit {
    let _permit = capture.jpeg().demand();
    let mut latest = capture.jpeg().latest();
    let unit = tokio::time::timeout(PATIENCE, latest.wait_for(Option::is_some)).await;
    unit.expect("a picture in time").expect("an outlet").clone().expect("a picture")
}

/// Sees what every outlet gives now.
async fn seen(capture: &Capture) -> Vec<(&'static str, Picture)> {
    let mut seen = vec![("jpeg", jpeg(&snapshot(capture).await))];
    for (name, outlet) in [("h264", capture.h264()), ("realtime", capture.realtime())] {
        let units = take(outlet, 3).await;
        seen.extend(h264(&units).into_iter().map(|picture| (name, picture)));
    }
    seen
}

async fn is_masked_everywhere(camera: Camera) -> Capture {
    let (means, _directory) = means(&[]);
    let capture = Capture::start(Camera { masks: vec![mask()], ..camera }, &means);
    let seen = seen(&capture).await;
    assert!(seen.len() >= 5, "{}", seen.len());
    for (outlet, picture) in seen {
        assert!(picture.is_black(&mask()), "{outlet}");
        for (x, y) in [(0.1, 0.6), (0.6, 0.6), (0.35, 0.4), (0.35, 0.85)] {
            assert!(picture.at(x, y) > 220, "{outlet}: beside the mask, at {x},{y}: {}", picture.at(x, y));
        }
    }
    capture
}

#[tokio::test]
async fn a_raw_cameras_mask_is_black_in_every_outlet_and_its_neighbourhood_is_not() {
    is_masked_everywhere(raw_camera()).await.shutdown().await;
}

#[tokio::test]
async fn a_camera_that_encodes_itself_is_decoded_for_its_mask_and_says_so() {
    for encoder in [H264, MJPEG] {
        let directory = tempfile::tempdir().unwrap();
        let capture = is_masked_everywhere(encoded_camera(directory.path(), encoder)).await;
        let status = capture.status();
        for outlet in [&status.jpeg, &status.h264, &status.realtime] {
            assert_ne!(outlet.encoder.as_deref(), Some("passthrough"), "{encoder}");
        }
        let said = "decoded and encoded again for a privacy mask";
        assert!(status.notes.iter().any(|note| note.contains(said)), "{encoder}: {:?}", status.notes);
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_mask_is_put_on_while_it_runs_and_from_the_answer_on_no_picture_is_without_it() {
    let (means, _directory) = means(&[]);
    let capture = Capture::start(raw_camera(), &means);
    let mut stream = capture.h264().subscribe();
    let _jpegs = capture.jpeg().demand();
    let epoch = next(&mut stream).await.epoch;
    until("a JPEG", || capture.jpeg().latest().borrow().is_some()).await;
    assert!(!jpeg(&snapshot(&capture).await).is_black(&mask()));

    let changing = capture.clone();
    let impact =
        tokio::task::spawn_blocking(move || changing.transform(masks(&[mask()]), false)).await.unwrap();
    let answered = Instant::now();
    assert_eq!(impact, Ok(Impact::Live));
    // Whoever joins now gets nothing of before, whoever was there gets a keyframe first.
    assert!(jpeg(&snapshot(&capture).await).is_black(&mask()));
    let joined = take(capture.h264(), 20).await;
    assert!(joined[0].keyframe && joined.iter().all(|unit| unit.epoch == epoch), "nothing began anew");
    assert!(h264(&joined).iter().all(|picture| picture.is_black(&mask())));
    let mut after = Vec::new();
    while after.len() < 20 {
        let unit = next(&mut stream).await;
        if !after.is_empty() || unit.keyframe && unit.captured > answered {
            after.push(unit);
        }
    }
    assert!(h264(&after).iter().all(|picture| picture.is_black(&mask())));

    let changing = capture.clone();
    let impact = tokio::task::spawn_blocking(move || changing.transform(masks(&[]), false)).await.unwrap();
    assert_eq!(impact, Ok(Impact::Live));
    assert!(!jpeg(&snapshot(&capture).await).is_black(&mask()), "and off again");
    assert_eq!(take(capture.h264(), 1).await[0].epoch, epoch);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_passed_through_is_masked_only_after_the_restart_was_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let (means, _own) = means(&[]);
    let capture = Capture::start(encoded_camera(directory.path(), H264), &means);
    let passed = take(capture.h264(), 2).await;
    assert_eq!(capture.status().h264.encoder.as_deref(), Some("passthrough"));

    let changing = capture.clone();
    let refused =
        tokio::task::spawn_blocking(move || changing.transform(masks(&[mask()]), false)).await.unwrap();
    assert!(
        matches!(refused, Err(Impact::Restart(why)) if why.contains("decoded and encoded")),
        "{refused:?}"
    );
    assert_eq!(capture.transforms(), Transforms::default(), "nothing was changed");

    let attempts = capture.status().lifecycle.restarts;
    let mut stream = capture.h264().subscribe();
    let changing = capture.clone();
    let done = tokio::task::spawn_blocking(move || changing.transform(masks(&[mask()]), true)).await.unwrap();
    let answered = Instant::now();
    assert!(matches!(done, Ok(Impact::Restart(_))), "{done:?}");
    for (outlet, picture) in seen(&capture).await {
        assert!(picture.is_black(&mask()), "{outlet}");
    }
    let mut after = Vec::new();
    while after.len() < 10 {
        let unit = next(&mut stream).await;
        assert!(unit.captured < answered || unit.epoch != passed[0].epoch, "a picture of the camera's own");
        if unit.epoch != passed[0].epoch {
            after.push(unit);
        }
    }
    assert!(h264(&after).iter().all(|picture| picture.is_black(&mask())));
    assert_eq!(capture.status().lifecycle.restarts, attempts, "the camera itself went on");

    let changing = capture.clone();
    let done = tokio::task::spawn_blocking(move || changing.transform(masks(&[]), true)).await.unwrap();
    assert!(matches!(done, Ok(Impact::Restart(_))), "{done:?}");
    take(capture.h264(), 2).await;
    assert_eq!(capture.status().h264.encoder.as_deref(), Some("passthrough"), "and passed through again");
    capture.shutdown().await;
}

#[tokio::test]
async fn with_a_broken_fragment_for_its_mask_no_picture_leaves_a_camera() {
    let directory = tempfile::tempdir().unwrap();
    for (broken, words) in [
        ("# nothing\nidentity silent=true", "transforms/mask"),
        ("# another element of that name\nidentity name=mask", "rectangles"),
        ("# an element that is not there\nnosuchelement name=mask", "nosuchelement"),
        ("# no syntax\nidentity name=mask ! ! fakesink", "transforms/mask"),
        ("# a parameter that nobody gives\nidentity name=mask sleep-time={sleep:int}", "sleep"),
    ] {
        for camera in [raw_camera(), encoded_camera(directory.path(), H264)] {
            let (means, _own) = means(&[("transforms/mask", broken)]);
            let kind = camera.source.kind();
            let capture = Capture::start(Camera { masks: vec![mask()], ..camera }, &means);
            let _demands = [capture.jpeg().demand(), capture.h264().demand(), capture.realtime().demand()];
            until("the camera is live", || capture.status().lifecycle.state == State::Live).await;
            until("both encoders have failed", || {
                let status = capture.status();
                let failed =
                    |outlet: &fanlight::capture::status::OutletStatus| outlet.lifecycle.last_error.is_some();
                failed(&status.jpeg) && failed(&status.h264)
            })
            .await;
            let error = capture.status().h264.lifecycle.last_error.unwrap();
            assert!(
                words == "transforms/mask" || format!("{error:?}").contains(words),
                "{broken}: {error:?}"
            );
            for outlet in [capture.jpeg(), capture.h264(), capture.realtime()] {
                assert_eq!(outlet.counters().frames, 0, "{kind}: {broken}");
            }
            capture.shutdown().await;
        }
    }
}

#[tokio::test]
async fn an_element_that_fails_in_the_middle_lets_nothing_out_unmasked() {
    let directory = tempfile::tempdir().unwrap();
    let broken = "# dies after fifteen pictures\nvideoconvert ! fanlightmask name=mask rectangles={rectangles:text} ! \
                  identity error-after=15";
    for camera in [raw_camera(), encoded_camera(directory.path(), H264)] {
        let (means, _own) = means(&[("transforms/mask", broken)]);
        let capture = Capture::start(Camera { masks: vec![mask()], ..camera }, &means);
        let mut stream = capture.h264().subscribe();
        let _permit = capture.jpeg().demand();
        let mut units = vec![next(&mut stream).await];
        until("both have failed", || {
            let status = capture.status();
            status.h264.lifecycle.last_error.is_some() && status.jpeg.lifecycle.last_error.is_some()
        })
        .await;
        // Over the next attempts as well: every picture that comes is masked.
        let until = Instant::now() + Duration::from_secs(3);
        while let Ok(Some(unit)) = tokio::time::timeout_at(until.into(), stream.next()).await {
            units.push(unit);
        }
        for run in units.chunk_by(|one, two| one.epoch == two.epoch) {
            assert!(run.len() <= 15, "{}", run.len());
            assert!(h264(run).iter().all(|picture| picture.is_black(&mask())));
        }
        if let Some(unit) = capture.jpeg().latest().borrow().clone() {
            assert!(jpeg(&unit).is_black(&mask()));
        }
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn turning_swaps_sides_flips_live_and_uncovers_nothing() {
    let (means, _directory) = means(&[]);
    let capture = Capture::start(Camera { masks: vec![mask()], ..raw_camera() }, &means);
    let _jpegs = capture.jpeg().demand();
    snapshot(&capture).await;
    let go = |new: Transforms, restart| {
        let capture = capture.clone();
        tokio::task::spawn_blocking(move || capture.transform(Told::by_api(new), restart))
    };
    let of = |rotation, flip| Transforms { rotation, flip, masks: vec![mask()], overlay: None };
    let fresh = async |since: Instant| {
        let mut latest = capture.jpeg().latest();
        let unit = latest.wait_for(|unit| unit.as_ref().is_some_and(|unit| unit.captured > since));
        jpeg(&tokio::time::timeout(PATIENCE, unit).await.unwrap().unwrap().clone().unwrap())
    };

    assert_eq!(go(of(Rotation::Half, Flip::None), false).await.unwrap(), Ok(Impact::Live));
    let picture = fresh(Instant::now()).await;
    assert_eq!((picture.width, picture.height), (320, 240));
    assert!(picture.is_black(&Mask { x: 0.5, y: 0.25, ..mask() }), "the mask turns with what it hides");

    assert_eq!(go(of(Rotation::None, Flip::Horizontal), false).await.unwrap(), Ok(Impact::Live));
    assert!(fresh(Instant::now()).await.is_black(&Mask { x: 0.5, ..mask() }));

    let refused = go(of(Rotation::Clockwise90, Flip::None), false).await.unwrap();
    assert!(matches!(refused, Err(Impact::Restart(why)) if why.contains("change places")), "{refused:?}");
    assert!(go(of(Rotation::Clockwise90, Flip::None), true).await.unwrap().is_ok());
    let picture = fresh(Instant::now()).await;
    assert_eq!((picture.width, picture.height), (240, 320));
    assert!(picture.is_black(&Mask { x: 0.25, y: 0.25, width: 0.25, height: 0.25, ..mask() }));
    capture.shutdown().await;
}

#[tokio::test]
async fn an_overlay_writes_into_pictures_is_switched_live_and_its_text_is_text() {
    let (means, _directory) = means(&[]);
    let overlay =
        Overlay { text: "<b>&{name}% %Y".into(), position: Position::BottomRight, ..Overlay::default() };
    let camera = Camera { overlay: Some(overlay.clone()), ..raw_camera() };
    let capture = Capture::start(camera, &means);
    let written = jpeg(&snapshot(&capture).await);
    assert!(written.dark() > 300, "{}", written.dark());
    assert!(written.at(0.1, 0.1) > 220, "it stands where it was put");
    let of = |overlay: &Overlay| Transforms { overlay: Some(overlay.clone()), ..Transforms::default() };
    let _jpegs = capture.jpeg().demand();
    for (overlay, dark) in [
        (Overlay { enabled: false, ..overlay.clone() }, false),
        (Overlay { text: "&lt;".into(), ..overlay.clone() }, true),
    ] {
        let (changing, new) = (capture.clone(), of(&overlay));
        let impact =
            tokio::task::spawn_blocking(move || changing.transform(Told::by_api(new), false)).await.unwrap();
        assert_eq!(impact, Ok(Impact::Live));
        let since = Instant::now();
        let mut latest = capture.jpeg().latest();
        let fresh = latest.wait_for(|unit| unit.as_ref().is_some_and(|unit| unit.captured > since));
        let picture = jpeg(&tokio::time::timeout(PATIENCE, fresh).await.unwrap().unwrap().clone().unwrap());
        assert_eq!(picture.dark() > 100, dark, "{overlay:?}: {}", picture.dark());
    }
    capture.shutdown().await;
}

/// The request that changes them.
fn put(service: &support::Fanlight, query: &str, body: &Value) -> support::Response {
    let path = format!("/api/cameras/white/transforms{query}");
    let headers = [("Content-Type", "application/json")];
    support::request(service.port(), "PUT", &path, &headers, body.to_string().as_bytes()).unwrap()
}

#[test]
fn masks_are_changed_over_rest_and_hls_and_snapshots_have_them() {
    let directory = tempfile::tempdir().unwrap();
    let camera = encoded_camera(directory.path(), H264);
    let Source::File(file) = &camera.source else { unreachable!() };
    let service = support::Fanlight::start(&format!(
        "[[camera]]\nid = \"white\"\nsource = {{ type = \"file\", path = {:?} }}\n",
        file.path
    ));
    service.wait_state("white", "live", support::service::STARTS);
    let shown = service.get("/api/cameras/white/transforms").json();
    assert_eq!((&shown["active"], &shown["masks"]), (&json!(false), &json!([])));

    let rectangle = json!({ "x": 0.25, "y": 0.5, "width": 0.25, "height": 0.25 });
    let body = json!({ "masks": [rectangle] });
    let refused = put(&service, "", &body);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "RESTART_NEEDED");
    assert!(refused.text().contains("decoded and encoded again"), "{}", refused.text());

    let listed = || {
        let list = service.try_get("/hls/white/stream.m3u8").filter(|answer| answer.status == 200)?;
        Some(list.text().lines().find(|line| line.ends_with(".ts"))?.to_owned())
    };
    let before = support::wait_for("an HLS segment without a mask", PATIENCE, listed);
    assert_eq!(service.get(&format!("/hls/white/{before}")).status, 200);
    let done = put(&service, "?restart=true", &body);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json()["active"], true);
    assert!(service.log().contains("privacy mask"), "the log says so");
    support::wait_until("what HLS had of before is gone", PATIENCE, || {
        service.get(&format!("/hls/white/{before}")).status != 200
    });
    let picture = support::wait_for("a snapshot", PATIENCE, || {
        service.try_get("/cameras/white/snapshot.jpg").filter(|answer| answer.status == 200)
    });
    assert!(decoded(&[&picture.body], "image/jpeg", "jpegdec")[0].is_black(&mask()));
    let status = service.camera("white");
    assert_ne!(status["h264"]["encoder"], "passthrough");
    assert!(status["notes"].to_string().contains("privacy mask"), "{}", status["notes"]);

    let segment = support::wait_for("an HLS segment", PATIENCE, || {
        service.try_get(&format!("/hls/white/{}", listed()?)).filter(|answer| answer.status == 200)
    });
    let pictures =
        decoded(&[&segment.body], "video/mpegts,systemstream=true", "tsdemux ! h264parse ! avdec_h264");
    assert!(pictures.len() > 5 && pictures.iter().all(|picture| picture.is_black(&mask())));

    for (bad, words) in [
        (json!({ "masks": [{ "x": 0.9, "y": 0, "width": 0.5, "height": 0.5 }] }), "reaches out"),
        (json!({ "masks": [{ "x": 0.9 }] }), "missing field"),
        (json!({ "rotation": 45 }), "0, 90, 180 or 270"),
        (json!({ "spin": 1 }), "unknown field"),
        (json!({ "overlay": { "text": "{nme}" } }), "{nme} is not known"),
    ] {
        let answer = put(&service, "?restart=true", &bad);
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        assert!(answer.text().contains(words), "{bad}: {}", answer.text());
    }
    assert_eq!(service.get("/api/cameras/white/transforms").json()["masks"].as_array().unwrap().len(), 1);
    let path = "/api/cameras/white/transforms?restart=true";
    let back = support::request(service.port(), "DELETE", path, &[], b"").unwrap();
    assert_eq!((back.status, &back.json()["active"]), (200, &json!(false)), "{}", back.text());
}

/// A service with one white camera that sends H.264 itself.
fn white(directory: &Path) -> support::Fanlight {
    let camera = encoded_camera(directory, H264);
    let Source::File(file) = &camera.source else { unreachable!() };
    let source = format!("source = {{ type = \"file\", path = {:?} }}", file.path);
    support::Fanlight::start(&format!("[[camera]]\nid = \"white\"\n{source}\n"))
}

/// The first pictures that a service that just began gives, in each of these ways.
fn first_pictures(service: &support::Fanlight) -> Vec<(&'static str, Picture)> {
    let mut stream = support::MjpegStream::open(service.port(), "/cameras/white/stream.mjpg").unwrap();
    let part = stream.next_within(PATIENCE).unwrap().unwrap();
    let snapshot = support::wait_for("a snapshot", PATIENCE, || {
        service.try_get("/cameras/white/snapshot.jpg").filter(|answer| answer.status == 200)
    });
    let segment = support::wait_for("an HLS segment", PATIENCE, || {
        let list = service.try_get("/hls/white/stream.m3u8").filter(|answer| answer.status == 200)?;
        let first = list.text().lines().find(|line| line.ends_with(".ts"))?.to_owned();
        service.try_get(&format!("/hls/white/{first}")).filter(|answer| answer.status == 200)
    });
    let mut seen: Vec<(&str, Picture)> = Vec::new();
    for (way, body) in [("MJPEG", &part.jpeg), ("snapshot", &snapshot.body)] {
        seen.extend(decoded(&[body], "image/jpeg", "jpegdec").into_iter().map(|picture| (way, picture)));
    }
    let pictures =
        decoded(&[&segment.body], "video/mpegts,systemstream=true", "tsdemux ! h264parse ! avdec_h264");
    seen.extend(pictures.into_iter().map(|picture| ("HLS", picture)));
    assert!(seen.len() > 5, "{}", seen.len());
    seen
}

fn shown(service: &support::Fanlight) -> Value {
    service.get("/api/cameras/white/transforms").json()
}

#[test]
fn a_mask_that_was_set_over_rest_is_on_the_first_picture_after_a_kill_until_it_is_reset() {
    let directory = tempfile::tempdir().unwrap();
    let mut service = white(directory.path());
    service.wait_state("white", "live", support::service::STARTS);
    assert_eq!(shown(&service)["set_by"], "configuration");
    let rectangle = json!({ "x": 0.25, "y": 0.5, "width": 0.25, "height": 0.25 });
    let done = put(&service, "?restart=true", &json!({ "masks": [rectangle] })).json();
    assert_eq!((&done["set_by"], &done["kept"]), (&json!("api"), &json!(true)), "{done}");

    service.kill_and_restart();
    for (way, picture) in first_pictures(&service) {
        assert!(picture.is_black(&mask()), "{way}");
        assert!(picture.at(0.1, 0.6) > 220, "{way}: beside the mask");
    }
    assert_eq!((&shown(&service)["set_by"], &shown(&service)["active"]), (&json!("api"), &json!(true)));

    let path = "/api/cameras/white/transforms?restart=true";
    let back = support::request(service.port(), "DELETE", path, &[], b"").unwrap().json();
    assert_eq!(back["set_by"], "configuration", "{back}");
    service.kill_and_restart();
    for (way, picture) in first_pictures(&service) {
        assert!(!picture.is_black(&mask()), "{way}");
    }
}

#[test]
fn with_a_database_that_cannot_be_read_nothing_is_seen_of_a_camera_until_somebody_says_what() {
    let directory = tempfile::tempdir().unwrap();
    let mut service = white(directory.path());
    service.process_mut().kill();
    let database = service.directory().join("state/fanlight.db");
    for more in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{more}", database.display()));
    }
    std::fs::write(&database, "no database at all, and longer than the header of one ".repeat(40)).unwrap();
    service.kill_and_restart();
    let everything = Mask { x: 0.0, y: 0.0, width: 1.0, height: 1.0, ..mask() };
    for (way, picture) in first_pictures(&service) {
        assert!(picture.is_black(&everything) && picture.is_black(&mask()), "{way}");
    }
    assert_eq!(shown(&service)["set_by"], "caution");
    let notes = service.camera("white")["notes"].to_string();
    assert!(notes.contains("fanlight.db") && notes.contains("covered"), "{notes}");
    assert!(service.log().contains("the whole picture is covered"));

    let rectangle = json!({ "x": 0.25, "y": 0.5, "width": 0.25, "height": 0.25 });
    let done = put(&service, "?restart=true", &json!({ "masks": [rectangle] })).json();
    assert_eq!((&done["set_by"], &done["kept"]), (&json!("api"), &json!(false)), "{done}");
    let picture = support::wait_for("a picture that is covered no more", PATIENCE, || {
        let answer = service.try_get("/cameras/white/snapshot.jpg").filter(|answer| answer.status == 200)?;
        decoded(&[&answer.body], "image/jpeg", "jpegdec").pop().filter(|picture| picture.at(0.1, 0.6) > 220)
    });
    assert!(picture.is_black(&mask()));
}
