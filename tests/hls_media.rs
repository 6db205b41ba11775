//! What HLS segments and parts hold, judged by ffmpeg: real encoders in, decoded pictures out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fanlight::frames::AccessUnit;
use fanlight::serve::hls::packager::{Packager, Settings};
use fanlight::serve::hls::playlist::Container;
use fanlight::serve::hls::ring::{Numbers, Ring};
use gstreamer as gst;
use gstreamer::prelude::*;

/// 640x272, 25 fps, 10 s, with B-frames.
const FOOTAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bikes.mp4");

/// Runs a pipeline to its end; it must put H.264 out through an appsink called `out`.
fn access_units(pipeline: &str) -> Vec<AccessUnit> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "{pipeline} ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! appsink name=out sync=false"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut units = Vec::new();
    let (began, mut first) = (Instant::now(), None);
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().unwrap();
        let pts = Duration::from_nanos(buffer.pts().unwrap().nseconds());
        let pts = pts - *first.get_or_insert(pts);
        units.push(AccessUnit {
            data: Bytes::copy_from_slice(&buffer.map_readable().unwrap()),
            pts,
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            epoch: 1,
            captured_at: SystemTime::now(),
            captured: began + pts,
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(units[0].keyframe);
    units
}

fn encoded(b_frames: u32, fps: u32, frames: u32) -> Vec<AccessUnit> {
    access_units(&format!(
        "videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,width=320,height=240,framerate={fps}/1,format=I420 \
         ! x264enc bframes={b_frames} b-adapt=false key-int-max={} speed-preset=ultrafast",
        2 * fps
    ))
}

/// Real footage with B-frames.
fn footage() -> Vec<AccessUnit> {
    access_units(&format!("filesrc location=\"{FOOTAGE}\" ! qtdemux"))
}

/// Packages it all; a restart at the end makes the last segment whole.
fn package(units: &[AccessUnit], container: Container, part_seconds: f64) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(1000, 2.0, Numbers::default()));
    let settings = Settings { container, segment_seconds: 2.0, part_seconds };
    let mut packager = Packager::new("cam", settings, Arc::clone(&ring));
    for unit in units {
        packager.push(unit.clone());
    }
    packager.push(AccessUnit { epoch: 2, ..units[0].clone() });
    ring
}

/// All whole segments, behind the initialization section if there is one.
fn joined(ring: &Ring) -> Vec<u8> {
    let view = ring.view().unwrap();
    let mut all = view.segments[0].map.and_then(|map| ring.init(map)).unwrap_or_default().to_vec();
    for segment in &view.segments {
        all.extend(segment.slices(0, u64::MAX).concat());
    }
    all
}

struct Packet {
    pts: f64,
    dts: f64,
    keyframe: bool,
}

/// Decodes it with ffmpeg, which must find nothing to complain about, and lists its packets.
fn judge(media: &[u8], suffix: &str, frames: usize) -> Vec<Packet> {
    let file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    std::fs::write(file.path(), media).unwrap();
    let decode = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "warning", "-xerror", "-i"])
        .arg(file.path())
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg judges these tests: apt-get install ffmpeg");
    let said = String::from_utf8_lossy(&decode.stderr);
    assert!(decode.status.success() && said.is_empty(), "ffmpeg: {said}");
    let probe = |what: &[&str]| {
        let output =
            Command::new("ffprobe").args(["-v", "error"]).args(what).arg(file.path()).output().unwrap();
        assert!(output.stderr.is_empty(), "ffprobe: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let count = probe(&["-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    assert_eq!(count.lines().next().unwrap().trim_end_matches(','), frames.to_string());
    let listed = probe(&["-show_entries", "packet=pts_time,dts_time,flags", "-of", "csv=p=0"]);
    let packets: Vec<Packet> = listed
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line.split(',');
            Packet {
                pts: fields.next().unwrap().parse().unwrap(),
                dts: fields.next().unwrap().parse().unwrap(),
                keyframe: fields.next().unwrap().starts_with('K'),
            }
        })
        .collect();
    assert_eq!(packets.len(), frames);
    for pair in packets.windows(2) {
        assert!(pair[0].dts < pair[1].dts, "decoding times rise");
    }
    assert!(packets.iter().all(|packet| packet.dts <= packet.pts + 1e-6));
    packets
}

fn check(units: &[AccessUnit], fps: f64) {
    for (container, suffix, part_seconds) in [(Container::Ts, ".ts", 0.333), (Container::Fmp4, ".mp4", 0.2)] {
        let ring = package(units, container, part_seconds);
        let packets = judge(&joined(&ring), suffix, units.len());
        // Presentation times are the camera's, moved by one constant.
        let offset = packets[0].pts - units[0].pts.as_secs_f64();
        for (packet, unit) in packets.iter().zip(units) {
            assert!((packet.pts - offset - unit.pts.as_secs_f64()).abs() < 0.0002, "{container:?}");
            assert_eq!(packet.keyframe, unit.keyframe);
        }
        // Each segment decodes by itself, and lasts as long as the list says.
        let view = ring.view().unwrap();
        let listed: u64 = view.segments.iter().map(|segment| segment.duration()).sum();
        assert!((listed as f64 / 90_000.0 - units.len() as f64 / fps).abs() < 0.001, "{listed}");
        for segment in &view.segments {
            assert!(segment.parts[0].independent);
            for (index, part) in segment.parts.iter().enumerate() {
                assert!(part.duration <= view.part_target, "{container:?} {index}");
                let enough = part.duration * 100 >= view.part_target * 85;
                assert!(
                    enough || part.independent || index + 1 == segment.parts.len(),
                    "{container:?} {index}"
                );
            }
            let mut alone = segment.map.and_then(|map| ring.init(map)).unwrap_or_default().to_vec();
            alone.extend(segment.slices(0, u64::MAX).concat());
            let frames = (segment.duration() as f64 / 90_000.0 * fps).round() as usize;
            judge(&alone, suffix, frames);
        }
    }
}

#[test]
fn every_picture_of_an_encoder_without_b_frames_arrives_with_its_time() {
    check(&encoded(0, 30, 300), 30.0);
}

#[test]
fn every_picture_of_an_encoder_with_b_frames_arrives_with_its_time() {
    let units = encoded(2, 25, 200);
    assert!(units.iter().any(|unit| fanlight::h264::access_unit_has_b_slice(&unit.data)));
    check(&units, 25.0);
}

#[test]
fn every_picture_of_real_footage_arrives_with_its_time() {
    let units = footage();
    assert!(units.iter().any(|unit| fanlight::h264::access_unit_has_b_slice(&unit.data)));
    check(&units, 25.0);
}

#[test]
fn one_picture_a_second_makes_parts_of_one_picture() {
    let units = encoded(0, 1, 12);
    let ring = package(&units, Container::Fmp4, 0.2);
    let view = ring.view().unwrap();
    assert_eq!(view.part_target, 99_000);
    assert!(view.segments.iter().flat_map(|segment| &segment.parts).all(|part| part.duration == 90_000));
    judge(&joined(&ring), ".mp4", 12);
}

#[test]
fn an_encoder_without_b_frames_has_no_b_slices() {
    let units = encoded(0, 30, 30);
    assert!(!units.iter().any(|unit| fanlight::h264::access_unit_has_b_slice(&unit.data)));
}

#[test]
fn a_restart_with_another_size_gets_a_new_map_and_both_decode() {
    let small = encoded(0, 30, 90);
    let large: Vec<AccessUnit> = access_units(
        "videotestsrc num-buffers=90 ! video/x-raw,width=640,height=480,framerate=30/1,format=I420 \
         ! x264enc bframes=0 key-int-max=60 speed-preset=ultrafast",
    )
    .into_iter()
    .map(|unit| AccessUnit { epoch: 2, captured: unit.captured + Duration::from_secs(20), ..unit })
    .collect();
    let ring = Arc::new(Ring::new(1000, 2.0, Numbers::default()));
    let settings = Settings { container: Container::Fmp4, segment_seconds: 2.0, part_seconds: 0.2 };
    let mut packager = Packager::new("cam", settings, Arc::clone(&ring));
    small.iter().chain(&large).for_each(|unit| packager.push(unit.clone()));
    packager.push(AccessUnit { epoch: 3, ..large[0].clone() });
    let view = ring.view().unwrap();
    let breaks: Vec<bool> = view.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks, [false, false, true, false]);
    for (range, frames) in [(0..2, 90), (2..4, 90)] {
        let segments = &view.segments[range];
        assert_eq!(segments[0].map, segments[1].map);
        let mut media = ring.init(segments[0].map.unwrap()).unwrap().to_vec();
        segments.iter().for_each(|segment| media.extend(segment.slices(0, u64::MAX).concat()));
        judge(&media, ".mp4", frames);
    }
    assert_ne!(view.segments[1].map, view.segments[2].map);
}
