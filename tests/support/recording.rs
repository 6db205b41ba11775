//! What the tests of recordings share: the recordings of a service, and what ffprobe makes of a file.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Fanlight, Response, request};

/// A camera whose pictures cost little, a keyframe every second.
pub fn test_camera(id: &str, more: &str) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\" }}\nresolution = \"160x120\"\nfps = 10\n{more}\n\
         [camera.h264]\ngop_seconds = 1.0\n"
    )
}

/// A file as ffprobe reads it.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Pictures that are in it.
    pub packets: usize,
    /// From the first picture to the end of the last.
    pub duration: Duration,
    /// The longest distance of two pictures.
    pub longest_step: Duration,
    pub starts_with_keyframe: bool,
    pub width: u64,
}

/// Reads every packet of a file; fails the test when ffprobe says anything is wrong, unless the file's end
/// was `cut_off` in the middle of a fragment.
#[track_caller]
pub fn probe(path: &Path, cut_off: bool) -> Probed {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-of", "json", "-show_entries"])
        .arg("packet=pts_time,duration_time,flags:stream=width")
        .arg(path)
        .output()
        .expect("ffprobe can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffprobe {}: {said}", path.display());
    assert!(cut_off || said.is_empty(), "ffprobe {}: {said}", path.display());
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON of ffprobe");
    let packets = told["packets"].as_array().expect("packets");
    let seconds = |packet: &Value, key: &str| packet[key].as_str().and_then(|text| text.parse::<f64>().ok());
    let mut times: Vec<f64> = packets.iter().filter_map(|packet| seconds(packet, "pts_time")).collect();
    times.sort_by(f64::total_cmp);
    let last = packets.last().and_then(|packet| seconds(packet, "duration_time")).unwrap_or(0.0);
    let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
    let step = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    Probed {
        packets: packets.len(),
        duration: Duration::from_secs_f64(span + last),
        longest_step: Duration::from_secs_f64(step),
        starts_with_keyframe: packets
            .first()
            .is_some_and(|packet| packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K'))),
        width: told["streams"][0]["width"].as_u64().unwrap_or_default(),
    }
}

/// Decodes all of a file; fails the test when a decoder complains.
#[track_caller]
pub fn decode(path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "ffmpeg {}: {said}", path.display());
}

impl Fanlight {
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        request(self.port(), method, path, &[], body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Starts to record a camera and returns the file's name.
    #[track_caller]
    pub fn record(&self, camera: &str, body: &str) -> String {
        let answer = self.ask("POST", &format!("/api/cameras/{camera}/recording"), body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let status = answer.json();
        assert_eq!(status["state"], "recording", "{status}");
        status["name"].as_str().expect("a name").to_owned()
    }

    #[track_caller]
    pub fn recording(&self, camera: &str) -> Value {
        self.get(&format!("/api/cameras/{camera}/recording")).json()
    }

    #[track_caller]
    pub fn stop_recording(&self, camera: &str) -> Value {
        let answer = self.ask("DELETE", &format!("/api/cameras/{camera}/recording"), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Everything that is on disk, the newest first.
    #[track_caller]
    pub fn recordings(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/recordings{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["recordings"].as_array().expect("a list").clone()
    }

    /// Where this service keeps its recordings.
    pub fn recordings_directory(&self) -> std::path::PathBuf {
        self.directory().join("state/recordings")
    }
}
