//! The price of the service around the media: a test camera of 1280x720 at 30 pictures a second, encoded
//! and watched by one HLS viewer, beside `gst-launch-1.0` running the same elements for nobody.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::meter;
use crate::support::service::STARTS;
use crate::support::{Fanlight, Process, get, wait_until};
use crate::verdict::{Verdicts, median};

const CONFIG: &str =
    "[[camera]]\nid = \"cam\"\nresolution = \"1280x720\"\nfps = 30\nsource = { type = \"test\" }\n";
const ROUNDS: usize = 4;
const SETTLE: Duration = Duration::from_secs(3);
const MEASURE: Duration = Duration::from_secs(10);
/// As often as a player asks for a list whose segments last 2 s.
const RELOAD: Duration = Duration::from_secs(2);

pub fn run(verdicts: &mut Verdicts) {
    let line = bare_line();
    println!("  bare: {line}");
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let (own, bare) = if round % 2 == 0 {
            let own = own();
            (own, bare(&line))
        } else {
            let bare = bare(&line);
            (own(), bare)
        };
        ratios.push(own / bare);
        println!(
            "  round {}: fanlight {own:.1} %, gst-launch-1.0 {bare:.1} % of a core: {:.3}",
            round + 1,
            own / bare
        );
    }
    verdicts.at_most("cpu_hls: CPU, fanlight / bare gst-launch-1.0", median(&ratios), 1.10, "x");
}

/// What `fanlight pipeline show` prints, with the branch to H.264 only.
fn bare_line() -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let line = shown(directory.path(), CONFIG);
    let mut parts = line.split("  tee. ! queue ! ");
    let source = parts.next().unwrap_or_default();
    let branch = parts.find(|branch| branch.contains("h264")).expect("a branch to H.264");
    format!("{source}  tee. ! queue ! {branch}")
}

/// The line that shows the pipeline of the camera `cam`.
pub fn shown(directory: &Path, config: &str) -> String {
    let file = directory.join("shown.toml");
    std::fs::write(&file, config).expect("the configuration file");
    let output = Command::new(env!("CARGO_BIN_EXE_fanlight"))
        .args(["pipeline", "show", "cam", "--config"])
        .arg(&file)
        .output()
        .expect("fanlight runs");
    assert!(output.status.success(), "pipeline show: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs such a line.
pub fn launch(line: &str) -> Process {
    Process::spawn("gst-launch-1.0", Command::new("sh").args(["-c", &format!("exec {line}")]))
}

fn bare(line: &str) -> f64 {
    let process = launch(line);
    process.wait_line("plays", 0, STARTS, |line| line.contains("PLAYING").then_some(()));
    std::thread::sleep(SETTLE);
    meter::cpu_percent(process.pid(), MEASURE)
}

fn own() -> f64 {
    let service = Fanlight::start(CONFIG);
    service.wait_state("cam", "live", STARTS);
    let viewer = HlsViewer::watch(service.port(), "/hls/cam/");
    wait_until("the viewer has a segment", STARTS, || viewer.segments() > 0);
    std::thread::sleep(SETTLE);
    let before = viewer.segments();
    let percent = meter::cpu_percent(service.process().pid(), MEASURE);
    let got = viewer.segments() - before;
    let due = MEASURE.as_secs() / 2;
    assert!(got + 1 >= due, "the viewer got {got} segments in {MEASURE:?} instead of {due}");
    percent
}

/// Plays `stream.m3u8` as players do: asks for the list, then for every segment that is new in it.
struct HlsViewer {
    segments: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HlsViewer {
    fn watch(port: u16, base: &'static str) -> Self {
        let (segments, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (segments, stop) = (Arc::clone(&segments), Arc::clone(&stop));
            move || play(port, base, &segments, &stop)
        });
        Self { segments, stop, thread: Some(thread) }
    }

    fn segments(&self) -> u64 {
        self.segments.load(Ordering::SeqCst)
    }
}

impl Drop for HlsViewer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn play(port: u16, base: &str, segments: &AtomicU64, stop: &AtomicBool) {
    let mut known = HashSet::new();
    while !stop.load(Ordering::SeqCst) {
        let list = get(port, &format!("{base}stream.m3u8")).map(|answer| answer.text()).unwrap_or_default();
        for name in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if known.insert(name.to_owned())
                && get(port, &format!("{base}{name}")).is_ok_and(|answer| answer.status == 200)
            {
                segments.fetch_add(1, Ordering::SeqCst);
            }
        }
        std::thread::park_timeout(RELOAD);
    }
}
