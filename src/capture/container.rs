//! What kind of file a video file is, by its first bytes, and the element that takes it apart.
//!
//! `parsebin` would find out by itself, but it takes its own chain apart while a demultiplexer's thread
//! still adds to it: a stop in that moment ends the process (seen with GStreamer 1.22). A
//! demultiplexer that stands in the pipeline from the start is joined before it goes.

use std::io::Read;
use std::path::Path;

use gstreamer as gst;
use gstreamer_base::functions::type_find_helper_for_data;

use crate::pipelines::elements::registered;

/// A transport stream is known by several of its packets; everything else by less.
const HEAD: u64 = 64 * 1024;

/// The demultiplexer of this file; none when it is of no usual kind or cannot be read. Blocking.
pub fn demuxer(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    let (caps, _) = type_find_helper_for_data(None::<&gst::Object>, &head).ok()?;
    of(caps.structure(0)?.name()).filter(|element| registered(element))
}

fn of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "video/quicktime" => "qtdemux",
        "video/x-matroska" | "video/webm" => "matroskademux",
        "video/mpegts" => "tsdemux",
        "video/x-msvideo" => "avidemux",
        "video/x-flv" => "flvdemux",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use gstreamer::prelude::*;

    use super::*;

    #[test]
    fn usual_files_are_known_by_their_first_bytes_and_others_are_left_to_gstreamer() {
        gst::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for (muxer, expected) in [
            ("mp4mux", "qtdemux"),
            ("qtmux", "qtdemux"),
            ("matroskamux", "matroskademux"),
            ("webmmux", "matroskademux"),
            ("mpegtsmux", "tsdemux"),
            ("avimux", "avidemux"),
            ("flvmux", "flvdemux"),
        ] {
            let encoder = if muxer == "webmmux" { "vp8enc" } else { "x264enc ! h264parse" };
            let line = format!(
                "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=64 ! {encoder} ! {muxer} \
                 ! filesink location={}",
                path.display()
            );
            let pipeline = gst::parse::launch(&line).unwrap();
            pipeline.set_state(gst::State::Playing).unwrap();
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            let limit = gst::ClockTime::from_seconds(20);
            let end = pipeline.bus().unwrap().timed_pop_filtered(limit, &ends);
            assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos), "{muxer}");
            pipeline.set_state(gst::State::Null).unwrap();
            assert_eq!(demuxer(&path), Some(expected), "{muxer}");
        }
        for head in [&b"plain words"[..], b""] {
            std::fs::write(&path, head).unwrap();
            assert_eq!(demuxer(&path), None);
        }
        assert_eq!(demuxer(&directory.path().join("missing")), None);
    }
}
