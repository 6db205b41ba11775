//! A service that nobody watches: CPU and memory with a file camera and with a network camera, each
//! beside `gst-launch-1.0` that takes the same source in, all at the same time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cpu_hls::{launch, shown};
use crate::meter;
use crate::support::service::STARTS;
use crate::support::{CameraOptions, Fanlight, Process};
use crate::verdict::Verdicts;

const SETTLE: Duration = Duration::from_secs(5);
const MEASURE: Duration = Duration::from_secs(20);

pub fn run(verdicts: &mut Verdicts) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clip = directory.path().join("clip.mp4");
    make_clip(&clip);
    let path = clip.to_str().expect("a plain path");
    let camera = CameraOptions::default().with(&["--file", path]).start();
    let sources = [
        ("file camera", format!("source = {{ type = \"file\", path = {path:?} }}")),
        ("RTSP camera", camera.source()),
    ];
    let cells: Vec<(&str, Fanlight, Process)> = sources
        .iter()
        .map(|(name, source)| {
            let config = format!("[[camera]]\nid = \"cam\"\nresolution = \"1280x720\"\n{source}\n");
            let service = Fanlight::start(&config);
            service.wait_state("cam", "live", STARTS);
            let line = shown(directory.path(), &config);
            let taken_in = line.split(" ! tee name=tee").next().unwrap_or_default();
            (*name, service, launch(&format!("{taken_in} ! fakesink")))
        })
        .collect();
    std::thread::sleep(SETTLE);
    let pids: Vec<u32> =
        cells.iter().flat_map(|(_, service, bare)| [service.process().pid(), bare.pid()]).collect();
    let cpu = meter::cpu_percent_of(&pids, MEASURE);
    for (index, (name, service, bare)) in cells.iter().enumerate() {
        let (own, peer) = (cpu[2 * index], cpu[2 * index + 1]);
        let resident = |pid| meter::resident_kb(pid) as f64 / 1024.0;
        let (own_mb, peer_mb) = (resident(service.process().pid()), resident(bare.pid()));
        println!(
            "  {name}: fanlight {own:.2} %, {own_mb:.1} MB; gst-launch-1.0 {peer:.2} %, {peer_mb:.1} MB"
        );
        assert_eq!(service.state("cam"), "live", "{name}: pictures flow");
        verdicts.at_most(&format!("idle, {name}: CPU"), own, 1.5, "%");
        verdicts.at_most(&format!("idle, {name}: resident memory"), own_mb, 40.0, "MB");
    }
}

/// 30 s of 1280x720 at 30 pictures a second and 2 Mbit/s, constrained baseline.
fn make_clip(path: &Path) {
    let made = Command::new("gst-launch-1.0")
        .args(["-q", "videotestsrc", "num-buffers=900", "horizontal-speed=4", "!"])
        .args(["video/x-raw,format=I420,width=1280,height=720,framerate=30/1", "!"])
        .args(["x264enc", "tune=zerolatency", "speed-preset=ultrafast", "bitrate=2000", "key-int-max=60"])
        .args([
            "option-string=nal-hrd=cbr",
            "!",
            "video/x-h264,profile=constrained-baseline",
            "!",
            "h264parse",
            "!",
        ])
        .args(["mp4mux", "!", "filesink"])
        .arg(format!("location={}", path.display()))
        .output()
        .expect("gst-launch-1.0 is installed");
    assert!(made.status.success(), "gst-launch-1.0: {}", String::from_utf8_lossy(&made.stderr));
}
