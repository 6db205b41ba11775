//! A network camera that is killed and comes back, twenty times: from the moment it accepts connections
//! again to a new picture at a viewer who stayed.

use std::time::Duration;

use crate::support::service::STARTS;
use crate::support::{CameraOptions, Fanlight, Viewer, percentile};
use crate::verdict::Verdicts;

const KILLS: usize = 20;
/// How long the camera stays away beyond the second after which its absence is seen, in ms: so that its
/// return meets every phase of the back-off.
const AWAY: [u64; 5] = [0, 300, 700, 1500, 3000];

pub fn run(verdicts: &mut Verdicts) {
    let mut camera = CameraOptions::clip().start();
    let service = Fanlight::start(&format!("[[camera]]\nid = \"cam\"\n{}\n", camera.source()));
    let viewer = Viewer::watch(service.port(), "/cameras/cam/stream.mjpg");
    viewer.wait_picture(STARTS);
    let mut times = Vec::new();
    for kill in 0..KILLS {
        camera.kill();
        viewer.wait_quiet(Duration::from_secs(1), Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(AWAY[kill % AWAY.len()]));
        camera.come_back();
        times.push(viewer.wait_since(viewer.mark(), "after a kill", Duration::from_secs(60)));
    }
    let seconds = |percent| percentile(&times, percent).as_secs_f64();
    println!(
        "  {KILLS} kills: p50 {:.2} s, p95 {:.2} s, longest {:.2} s",
        seconds(50.0),
        seconds(95.0),
        seconds(100.0)
    );
    verdicts.at_most("recovery: camera back to picture back, p95", seconds(95.0), 2.0, "s");
}
