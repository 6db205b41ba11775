//! MJPEG to a hundred clients: CPU and memory a client beside bare writes and go2rtc, and what happens to
//! a client that stalls and one that never reads.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bare;
use socket2::SockRef;

use crate::load::Load;
use crate::meter;
use crate::peers::{self, Go2rtc};
use crate::source::{self, Source};
use crate::support::service::STARTS;
use crate::support::{Fanlight, MjpegStream, Process, wait_until};
use crate::verdict::{Verdicts, median};

const CLIENTS: usize = 100;
const ROUNDS: usize = 4;
const SETTLE: Duration = Duration::from_secs(1);
const MEASURE: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_secs(6);
/// Of the client that stalls: little more than a picture.
const CLIENT_BUFFER: usize = 64 * 1024;
const OWN_PATH: &str = "/cameras/cam/stream.mjpg";

/// What runs: its guard, the process to measure, where its stream is.
struct Server {
    _guard: Box<dyn std::any::Any>,
    pid: u32,
    port: u16,
    path: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fanlight,
    Bare,
    Go2rtc,
}

/// One server with one client and with a hundred more.
#[derive(Clone, Copy, Debug)]
struct Cell {
    kind: Kind,
    cpu: f64,
    kb_per_client: f64,
}

pub fn run(verdicts: &mut Verdicts) {
    let source = Source::start();
    let kinds = match peers::go2rtc() {
        Some(_) => vec![Kind::Fanlight, Kind::Bare, Kind::Go2rtc],
        None => {
            println!("  go2rtc is not installed (GO2RTC=PATH names it): measured against bare writes only");
            vec![Kind::Fanlight, Kind::Bare]
        }
    };
    let mut cells = Vec::new();
    for round in 0..ROUNDS {
        let mut order = kinds.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        cells.extend(order.into_iter().map(|kind| measure(kind, &source)));
    }
    // Whatever else the machine does only ever adds to a server's CPU time: the least disturbed round of
    // each is compared. The ratios of single rounds tell how quiet the machine was.
    let ratio = |to: Kind| {
        let of = |cells: &[Cell], kind| {
            let cells = cells.iter().filter(|cell| cell.kind == kind);
            cells.map(|cell| cell.cpu).fold(f64::INFINITY, f64::min)
        };
        let between = |cells: &[Cell]| of(cells, Kind::Fanlight) / of(cells, to);
        let rounds: Vec<f64> = cells.chunks(kinds.len()).map(between).collect();
        let all = between(&cells);
        println!("  CPU per client, fanlight / {to:?}: {all:.2}; round by round {rounds:.2?}");
        all
    };
    ratio(Kind::Bare);
    if kinds.contains(&Kind::Go2rtc) {
        verdicts.at_most("mjpeg_fanout: CPU per client, fanlight / go2rtc", ratio(Kind::Go2rtc), 0.5, "x");
    }
    let own = cells.iter().filter(|cell| cell.kind == Kind::Fanlight);
    let memory = median(&own.map(|cell| cell.kb_per_client).collect::<Vec<_>>());
    verdicts.at_most("mjpeg_fanout: memory per client", memory, 256.0, "kB");

    let old = stalled(&start(Kind::Fanlight, &source), &source);
    println!("  fanlight: {old} old pictures after a stall of {STALL:?}");
    if kinds.contains(&Kind::Go2rtc) {
        let old = stalled(&start(Kind::Go2rtc, &source), &source);
        println!("  go2rtc:   {old} old pictures after a stall of {STALL:?}");
    }
    verdicts.at_most("mjpeg_fanout: old pictures after a stall", old as f64, 3.0, "");

    let gone = never_reading(&source);
    println!("  a client that never reads is gone after {:.1} s", gone.as_secs_f64());
    verdicts.at_most("mjpeg_fanout: client that never reads is gone in", gone.as_secs_f64(), 12.0, "s");
}

fn fanlight(source: &Source) -> Fanlight {
    let service = Fanlight::start(&format!(
        "[[camera]]\nid = \"cam\"\nsource = {{ type = \"http\", url = {:?}, mode = \"mjpeg\" }}\n",
        source.url()
    ));
    service.wait_state("cam", "live", STARTS);
    service
}

fn start(kind: Kind, source: &Source) -> Server {
    let server = |guard: Box<dyn std::any::Any>, process: u32, port, path| Server {
        _guard: guard,
        pid: process,
        port,
        path,
    };
    match kind {
        Kind::Fanlight => {
            let service = fanlight(source);
            let (pid, port) = (service.process().pid(), service.port());
            server(Box::new(service), pid, port, OWN_PATH)
        }
        Kind::Bare => {
            let (process, port): (Process, u16) = bare::start(source.port);
            let pid = process.pid();
            server(Box::new(process), pid, port, "/")
        }
        Kind::Go2rtc => {
            let executable = peers::go2rtc().expect("go2rtc is installed");
            let server_ = Go2rtc::start(&executable, &source.url());
            let (pid, port) = (server_.process.pid(), server_.port);
            server(Box::new(server_), pid, port, Go2rtc::PATH)
        }
    }
}

fn measure(kind: Kind, source: &Source) -> Cell {
    let server = start(kind, source);
    // With one client both read the camera: go2rtc does not without.
    let first = viewers(&server, 1);
    let alone = meter::cpu_percent(server.pid, MEASURE);
    let memory = meter::resident_kb(server.pid);
    let load = viewers(&server, CLIENTS);
    let before = (load.counts.pictures.load(Ordering::Relaxed), load.counts.skipped.load(Ordering::Relaxed));
    let began = Instant::now();
    let crowded = meter::cpu_percent(server.pid, MEASURE);
    let due = began.elapsed().as_secs_f64() * source::FPS as f64 * CLIENTS as f64;
    let got = (load.counts.pictures.load(Ordering::Relaxed) - before.0) as f64;
    let skipped = load.counts.skipped.load(Ordering::Relaxed) - before.1;
    let memory = meter::resident_kb(server.pid).saturating_sub(memory) as f64 / CLIENTS as f64;
    println!(
        "  {:9} 1 client {alone:5.2} %, {} clients {crowded:6.2} % of a core; {memory:.0} kB a client; \
         {:.1} % of all pictures arrived, {skipped} skipped",
        format!("{kind:?}"),
        CLIENTS + 1,
        got / due * 100.0,
    );
    assert_eq!(load.counts.failed.load(Ordering::Relaxed), 0, "viewers ended");
    drop(first);
    Cell { kind, cpu: crowded - alone, kb_per_client: memory }
}

fn viewers(server: &Server, count: usize) -> Load {
    let load = Load::start(server.port, server.path, count);
    wait_until("all viewers have a picture", STARTS, || {
        load.counts.begun.load(Ordering::Relaxed) == count as u64
    });
    std::thread::sleep(SETTLE);
    load
}

/// Pictures that a viewer gets after it stood still, and that were not the newest any more when it went on.
fn stalled(server: &Server, source: &Source) -> usize {
    let mut stream = MjpegStream::open(server.port, server.path).expect("the stream opens");
    // What the server and its kernel keep is measured, so the client's own buffer stays small.
    SockRef::from(stream.socket()).set_recv_buffer_size(CLIENT_BUFFER).expect("a small buffer");
    let began = Instant::now();
    let mut next = || {
        let part =
            stream.next_within(Duration::from_secs(5)).expect("the stream goes on").expect("a picture");
        source::number(&part.jpeg).expect("the camera's picture")
    };
    while began.elapsed() < Duration::from_secs(2) {
        next();
    }
    std::thread::sleep(STALL);
    // One that was made within the last tenth of a second is on its way, not old.
    let newest = source.newest().saturating_sub(source::FPS / 10);
    let mut old = 0;
    while next() < newest {
        old += 1;
    }
    old
}

fn never_reading(source: &Source) -> Duration {
    let service = fanlight(source);
    let viewers = || service.get("/metrics").json()["mjpeg_viewers"].as_u64();
    let mut stream = TcpStream::connect(("127.0.0.1", service.port())).expect("it listens");
    write!(stream, "GET {OWN_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("the request");
    wait_until("the client is a viewer", STARTS, || viewers() == Some(1));
    let gone = wait_until("the client is gone", Duration::from_secs(30), || viewers() == Some(0));
    drop(stream);
    gone
}
