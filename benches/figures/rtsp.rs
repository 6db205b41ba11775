//! RTSP readers of one passed-through camera, 1280x720 at 30 pictures a second and 2 Mbit/s with a keyframe
//! every 2 s: CPU and memory a reader, and how soon the first whole keyframe is there, beside go2rtc
//! (`GO2RTC=PATH`) where given. Every reader checks that it gets every packet.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::meter;
use crate::peers::{self, RtspPeer};
use crate::rtsp_load::Load;
use crate::support::camera::CameraOptions;
use crate::support::service::STARTS;
use crate::support::{Fanlight, RtspCamera, RtspClient, wait_until};
use crate::verdict::{Verdicts, median};
use crate::whep;

const READERS: usize = 100;
const ROUNDS: usize = 4;
const SETTLE: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(8);
/// Readers that come one after the other, at any point between two keyframes.
const JOINS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fanlight,
    Go2rtc,
}

struct Server {
    _guard: Box<dyn std::any::Any>,
    pid: u32,
    url: String,
}

#[derive(Debug)]
struct Cell {
    kind: Kind,
    /// Percent of a core for one reader.
    each: f64,
    kb_each: f64,
    /// Milliseconds.
    first: Vec<f64>,
}

pub fn run(verdicts: &mut Verdicts) {
    gstreamer::init().expect("GStreamer");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let camera = CameraOptions::file(&whep::clip(directory.path())).start();
    let mut kinds = vec![Kind::Fanlight];
    match peers::go2rtc() {
        Some(_) => kinds.push(Kind::Go2rtc),
        None => println!("  go2rtc is not installed (GO2RTC=PATH names it): fanlight alone"),
    }
    let mut cells = Vec::new();
    for round in 0..ROUNDS {
        let mut order = kinds.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        cells.extend(order.into_iter().map(|kind| measure(kind, &camera)));
    }
    let of = |kind: Kind, of: fn(&Cell) -> f64| {
        cells.iter().filter(|cell| cell.kind == kind).map(of).collect::<Vec<_>>()
    };
    // Whatever else the machine does only ever adds to a server's CPU time.
    let least = |kind| of(kind, |cell| cell.each).into_iter().fold(f64::INFINITY, f64::min);
    if kinds.contains(&Kind::Go2rtc) {
        let rounds: Vec<f64> = of(Kind::Fanlight, |cell| cell.each)
            .into_iter()
            .zip(of(Kind::Go2rtc, |cell| cell.each))
            .map(|(own, peer)| own / peer)
            .collect();
        let ratio = least(Kind::Fanlight) / least(Kind::Go2rtc);
        println!("  CPU a reader, fanlight / go2rtc: {ratio:.2}; round by round {rounds:.2?}");
        verdicts.at_most("rtsp: CPU a reader, fanlight / go2rtc", ratio, 0.55, "x");
    }
    verdicts.at_most("rtsp: memory a reader", median(&of(Kind::Fanlight, |cell| cell.kb_each)), 20.0, "kB");
    let own = cells.iter().filter(|cell| cell.kind == Kind::Fanlight);
    let mut first: Vec<f64> = own.flat_map(|cell| cell.first.clone()).collect();
    verdicts.at_most(
        "rtsp: connect to first whole keyframe, p95",
        whep::percentile(&mut first, 95.0),
        20.0,
        "ms",
    );
}

fn measure(kind: Kind, camera: &RtspCamera) -> Cell {
    let server = start(kind, camera);
    // With one reader both read the camera: go2rtc does not without.
    let one = readers(&server, 1);
    let alone = meter::cpu_percent(server.pid, MEASURE);
    let memory = meter::resident_kb(server.pid);
    let load = readers(&server, READERS);
    let before = load.counts.pictures.load(Ordering::Relaxed);
    let began = Instant::now();
    let crowded = meter::cpu_percent(server.pid, MEASURE);
    let due = began.elapsed().as_secs_f64() * whep::FPS * READERS as f64;
    let got = (load.counts.pictures.load(Ordering::Relaxed) - before) as f64;
    let gaps = load.counts.gaps.load(Ordering::Relaxed);
    let kb_each = meter::resident_kb(server.pid).saturating_sub(memory) as f64 / READERS as f64;
    assert_eq!(load.counts.failed.load(Ordering::Relaxed), 0, "readers ended");
    drop(load);
    let first: Vec<f64> = (0..JOINS)
        .map(|n| {
            std::thread::sleep(Duration::from_millis(100 + 137 * n as u64 % 400));
            let began = Instant::now();
            let mut client = RtspClient::play(&server.url);
            while !client.picture().keyframe {}
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    drop(one);
    let each = (crowded - alone) / READERS as f64;
    println!(
        "  {kind:9?} 1 reader {alone:5.2} %, {} readers {crowded:6.2} % of a core, {each:.4} % each; {kb_each:.0} kB each; \
         {:.1} % of all pictures arrived, {gaps} gaps; first keyframe p50 {:.1}, longest {:.1} ms",
        READERS + 1,
        got / due * 100.0,
        median(&first),
        first.iter().copied().fold(0.0, f64::max),
    );
    Cell { kind, each, kb_each, first }
}

fn start(kind: Kind, camera: &RtspCamera) -> Server {
    match kind {
        Kind::Fanlight => {
            // No jitter buffer: the camera comes by TCP from the same machine, and the peer has none.
            let source = camera.source().replace(" }", ", latency_ms = 0 }");
            let service = Fanlight::start(&format!("[[camera]]\nid = \"cam\"\n{source}\n"));
            service.wait_state("cam", "live", STARTS);
            let url = service.camera("cam")["urls"]["rtsp"].as_str().expect("a URL").to_owned();
            Server { pid: service.process().pid(), _guard: Box::new(service), url }
        }
        Kind::Go2rtc => {
            let executable = peers::go2rtc().expect("go2rtc is installed");
            let peer = RtspPeer::go2rtc(&executable, &camera.url());
            let url = format!("rtsp://127.0.0.1:{}/cam", peer.port);
            Server { pid: peer.process.pid(), _guard: Box::new(peer), url }
        }
    }
}

fn readers(server: &Server, count: usize) -> Load {
    let load = Load::start(&server.url, count);
    wait_until("all readers have a picture", STARTS, || {
        load.counts.begun.load(Ordering::Relaxed) == count as u64
    });
    std::thread::sleep(SETTLE);
    load
}
