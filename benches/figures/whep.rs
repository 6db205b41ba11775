//! WebRTC viewers of one passed-through RTSP camera, 1280x720 at 30 pictures a second and 2 Mbit/s with a
//! keyframe every 2 s: CPU and memory a viewer, how soon the first whole keyframe is there, and how long the
//! last packet of a picture takes, beside MediaMTX (`MEDIAMTX=PATH`) and go2rtc (`GO2RTC=PATH`) where given.
//!
//! The viewers are of this process and send reports as Chromium does. "Last packet" is the time from when
//! another reader of the camera, by RTSP in this process, has the picture to when the only viewer has all of
//! it, as peers are compared; it is negative when the server is faster than that reader. The same with all
//! viewers holds the load client's own work as well, which one thread does for all of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::meter;
use crate::peers::{self, WhepPeer};
use crate::support::camera::CameraOptions;
use crate::support::service::STARTS;
use crate::support::whep_client::{Options, Seen, Watcher, tail, watch};
use crate::support::{Fanlight, RtspCamera, free_port, request, wait_for, wait_until};
use crate::verdict::{Verdicts, median};

const VIEWERS: usize = 40;
const ROUNDS: usize = 4;
const SETTLE: Duration = Duration::from_secs(4);
const MEASURE: Duration = Duration::from_secs(8);
pub const FPS: f64 = 30.0;
/// Longer than a measurement, or pictures could be taken for those of the round before.
const CLIP_SECONDS: u32 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fanlight,
    MediaMtx,
    Go2rtc,
}

struct Server {
    _guard: Box<dyn std::any::Any>,
    pid: u32,
    port: u16,
    path: &'static str,
}

#[derive(Debug)]
struct Cell {
    kind: Kind,
    /// Percent of a core: for one viewer, and the whole process with all.
    each: f64,
    all: f64,
    idle: f64,
    mb_idle: f64,
    mb_all: f64,
    /// Milliseconds.
    last_alone: (f64, f64),
    last_all: (f64, f64),
    first: Vec<f64>,
}

pub fn run(verdicts: &mut Verdicts) {
    gst::init().expect("GStreamer");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clip = clip(directory.path());
    let camera = CameraOptions::file(&clip).start();
    let mut kinds = vec![Kind::Fanlight];
    kinds.extend(peers::mediamtx().map(|_| Kind::MediaMtx));
    kinds.extend(peers::go2rtc().map(|_| Kind::Go2rtc));
    let mut cells = Vec::new();
    for round in 0..ROUNDS {
        let mut order = kinds.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            let cell = measure(kind, &camera);
            println!(
                "  {kind:9?} idle {:5.2} %, {VIEWERS} viewers {:6.2} % of a core, {:.3} % each; {:.0} MB, {:.0} MB; \
                 last packet p50 {:.1} p95 {:.1} ms, with all {:.1} and {:.1}; first keyframe {:.0} to {:.0} ms",
                cell.idle,
                cell.all,
                cell.each,
                cell.mb_idle,
                cell.mb_all,
                cell.last_alone.0,
                cell.last_alone.1,
                cell.last_all.0,
                cell.last_all.1,
                cell.first.iter().copied().fold(f64::INFINITY, f64::min),
                cell.first.iter().copied().fold(0.0, f64::max),
            );
            cells.push(cell);
        }
    }
    let middle = |kind: Kind, of: fn(&Cell) -> f64| {
        median(&cells.iter().filter(|cell| cell.kind == kind).map(of).collect::<Vec<_>>())
    };
    for (peer, most) in [(Kind::MediaMtx, 0.5), (Kind::Go2rtc, 0.4)] {
        if kinds.contains(&peer) {
            let each = middle(Kind::Fanlight, |c| c.each) / middle(peer, |c| c.each);
            let all = middle(Kind::Fanlight, |c| c.all) / middle(peer, |c| c.all);
            verdicts.at_most(&format!("whep: CPU a viewer, fanlight / {peer:?}"), each, most, "x");
            println!("  whole process at {VIEWERS} viewers, fanlight / {peer:?}: {all:.2}");
        }
    }
    let mb = middle(Kind::Fanlight, |cell| (cell.mb_all - cell.mb_idle) / VIEWERS as f64);
    verdicts.at_most("whep: memory a viewer", mb, 1.0, "MB");
    verdicts.at_most("whep: last packet, p95", middle(Kind::Fanlight, |cell| cell.last_alone.1), 2.0, "ms");
    let own = cells.iter().filter(|cell| cell.kind == Kind::Fanlight);
    let mut first: Vec<f64> = own.flat_map(|cell| cell.first.clone()).collect();
    verdicts.at_most("whep: request to first whole keyframe, p95", percentile(&mut first, 95.0), 150.0, "ms");
}

/// Noise: the encoder's rate control gives it all of 2 Mbit/s, and no two pictures are alike.
pub fn clip(directory: &Path) -> PathBuf {
    let path = directory.join("clip.mp4");
    let line = format!(
        "videotestsrc num-buffers={} pattern=snow ! video/x-raw,format=I420,width=1280,height=720,framerate={FPS}/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 bitrate=2000 key-int-max=60 \
         ! video/x-h264,profile=constrained-baseline ! h264parse ! mp4mux ! filesink location={}",
        CLIP_SECONDS * FPS as u32,
        path.display()
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a bus");
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(180), &ends);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos), "the clip is made");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let bytes = std::fs::metadata(&path).expect("the clip").len();
    println!("  the camera sends {:.1} Mbit/s", bytes as f64 * 8.0 / 1e6 / f64::from(CLIP_SECONDS));
    path
}

fn start(kind: Kind, camera: &RtspCamera) -> Server {
    let peer = |peer: WhepPeer, path| Server {
        pid: peer.process.pid(),
        port: peer.port,
        _guard: Box::new(peer),
        path,
    };
    match kind {
        Kind::Fanlight => {
            // No jitter buffer: the camera comes by TCP from the same machine, and the peers have none.
            let service = Fanlight::start(&format!(
                "[webrtc]\nport = {}\n[[camera]]\nid = \"cam\"\n\
                 source = {{ type = \"rtsp\", url = {:?}, latency_ms = 0 }}\n",
                free_port(),
                camera.url()
            ));
            service.wait_state("cam", "live", STARTS);
            let (pid, port) = (service.process().pid(), service.port());
            Server { _guard: Box::new(service), pid, port, path: "/cameras/cam/whep" }
        }
        Kind::MediaMtx => peer(WhepPeer::mediamtx(&named(peers::mediamtx()), &camera.url()), "/cam/whep"),
        Kind::Go2rtc => peer(WhepPeer::go2rtc(&named(peers::go2rtc()), &camera.url()), "/api/webrtc?src=cam"),
    }
}

fn named(path: Option<PathBuf>) -> PathBuf {
    path.expect("it was there a moment ago")
}

fn measure(kind: Kind, camera: &RtspCamera) -> Cell {
    let server = start(kind, camera);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    // Some servers read the camera only while somebody watches: the first viewer is part of idle.
    let one = view(&runtime, &server);
    wait_until("the first viewer has a keyframe", STARTS, || one.seen().keyframes > 0);
    std::thread::sleep(SETTLE);
    let mut first = vec![];
    // In the middle of groups of pictures, at different places.
    for place in 0..5 {
        std::thread::sleep(Duration::from_millis(270 + 90 * place));
        let viewer = view(&runtime, &server);
        wait_until("a keyframe", STARTS, || viewer.seen().keyframes > 0);
        first.push(viewer.seen().first_keyframe.map_or(f64::NAN, milliseconds));
    }
    std::thread::sleep(SETTLE);
    let reference = Reference::read(&camera.url());
    std::thread::sleep(SETTLE);
    let before = one.seen();
    let (idle, mb_idle) = (meter::cpu_percent(server.pid, MEASURE), megabytes(server.pid));
    let mut last_alone = lags(&one.seen(), &before, &reference.arrivals());
    let viewers: Vec<Watcher> = (1..VIEWERS).map(|_| view(&runtime, &server)).chain([one]).collect();
    wait_until("all have pictures", STARTS, || viewers.iter().all(|viewer| viewer.pictures() > 0));
    std::thread::sleep(SETTLE);
    let began = Instant::now();
    let before: Vec<Seen> = viewers.iter().map(Watcher::seen).collect();
    let all = meter::cpu_percent(server.pid, MEASURE);
    let mb_all = megabytes(server.pid);
    let passed = began.elapsed().as_secs_f64();
    let mut last_all = Vec::new();
    let arrivals = reference.arrivals();
    for (viewer, before) in viewers.iter().zip(before) {
        let seen = viewer.seen();
        let rate = (seen.pictures - before.pictures) as f64 / passed;
        let lost = (seen.broken - before.broken, seen.missing - before.missing);
        if (rate - FPS).abs() > 1.5 || lost != (0, 0) {
            println!("  a viewer of {kind:?} had {rate:.1} pictures a second, (broken, missing) {lost:?}");
        }
        last_all.extend(lags(&seen, &before, &arrivals));
    }
    drop(viewers);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Cell {
        kind,
        each: (all - idle) / (VIEWERS - 1) as f64,
        all,
        idle,
        mb_idle,
        mb_all,
        last_alone: (percentile(&mut last_alone, 50.0), percentile(&mut last_alone, 95.0)),
        last_all: (percentile(&mut last_all, 50.0), percentile(&mut last_all, 95.0)),
        first,
    }
}

/// By how many milliseconds a viewer had each picture since `before` later than the reference.
fn lags(seen: &Seen, before: &Seen, arrivals: &HashMap<u64, Instant>) -> Vec<f64> {
    let new = seen.whole[before.whole.len()..].iter();
    new.filter_map(|picture| {
        let came = arrivals.get(&picture.tail)?;
        Some(match picture.at.checked_duration_since(*came) {
            Some(after) => milliseconds(after),
            None => -milliseconds(*came - picture.at),
        })
    })
    .collect()
}

fn view(runtime: &tokio::runtime::Runtime, server: &Server) -> Watcher {
    let (port, path) = (server.port, server.path);
    let signal = move |offer: String| async move {
        let post = move || {
            let headers = [("Content-Type", "application/sdp")];
            request(port, "POST", path, &headers, offer.as_bytes()).map_err(|error| error.to_string())
        };
        let answer = tokio::task::spawn_blocking(post).await.map_err(|error| error.to_string())??;
        match answer.status {
            200 | 201 => Ok(answer.text()),
            status => Err(format!("{status}: {}", answer.text())),
        }
    };
    // A server that has just started may not have the camera yet.
    wait_for("a session", STARTS, || runtime.block_on(watch(Options::default(), signal)).ok())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn megabytes(pid: u32) -> f64 {
    meter::resident_kb(pid) as f64 / 1024.0
}

pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Another reader of the camera, which notes when each picture came.
struct Reference {
    pipeline: gst::Pipeline,
    arrivals: Arc<Mutex<HashMap<u64, Instant>>>,
}

impl Reference {
    fn read(url: &str) -> Self {
        let line = format!(
            "rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse \
             ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
        );
        let pipeline =
            gst::parse::launch(&line).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
        let arrivals = Arc::new(Mutex::new(HashMap::new()));
        let sink = pipeline
            .by_name("sink")
            .and_then(|sink| sink.downcast::<gst_app::AppSink>().ok())
            .expect("a sink");
        let noted = Arc::clone(&arrivals);
        let note = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                noted.lock().expect("arrivals").insert(tail(&map), Instant::now());
            }
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(note).build());
        pipeline.set_state(gst::State::Playing).expect("it plays");
        Self { pipeline, arrivals }
    }

    fn arrivals(&self) -> HashMap<u64, Instant> {
        self.arrivals.lock().expect("arrivals").clone()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
