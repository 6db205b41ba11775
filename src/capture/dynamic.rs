//! Linking a source to its appsink, at once or when its pads appear.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use super::plan;
use crate::pipelines::{Chain, Library, Parameters, build};
use crate::supervision::Failure;
use crate::supervision::Reports;

/// Between what is linked.
#[derive(Debug)]
pub struct Ends<'e> {
    /// The source's bin.
    pub bin: &'e gst::Bin,
    pub pipeline: &'e gst::Pipeline,
    pub sink: &'e gst::Element,
}

/// Links the first video pad that appears on `element` to the sink, through the tail that suits its caps;
/// reports when there turns out to be none.
pub fn follow(
    element: &gst::Element,
    ends: &Ends<'_>,
    library: &Arc<Library>,
    paced: bool,
    reports: &Reports,
) {
    let (bin, pipeline, sink) = (ends.bin.downgrade(), ends.pipeline.downgrade(), ends.sink.downgrade());
    let (library, failing) = (Arc::clone(library), reports.clone());
    element.connect_pad_added(move |_, pad| {
        let (Some(bin), Some(pipeline), Some(sink)) = (bin.upgrade(), pipeline.upgrade(), sink.upgrade())
        else {
            return;
        };
        if pad.direction() != gst::PadDirection::Src {
            return;
        }
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let ends = Ends { bin: &bin, pipeline: &pipeline, sink: &sink };
        let linked = match plan::tail_for(&caps) {
            Some(tail) if !is_linked(&sink) => through(tail, paced, &library)
                .and_then(|tail| link(ends.pipeline, &expose(ends.bin, pad)?, &tail, ends.sink)),
            // Audio, metadata, a second video.
            _ => discard(&ends, pad),
        };
        if let Err(failure) = linked {
            failing.failed(failure);
        }
    });
    let (sink, reports) = (ends.sink.downgrade(), reports.clone());
    element.connect_no_more_pads(move |element| {
        if sink.upgrade().is_some_and(|sink| !is_linked(&sink)) {
            let given: Vec<gst::Caps> =
                element.src_pads().iter().filter_map(|pad| pad.current_caps()).collect();
            reports.failed(no_video(&given));
        }
    });
}

/// Says it when a file holds no video that can be played: `parsebin` tells what it found in a collection
/// of streams, and never that there will be no more pads.
pub fn without_video(message: &gst::Message, streams: &gst::StreamCollection) -> Option<Failure> {
    let factory = message.src()?.downcast_ref::<gst::Element>()?.factory()?;
    if factory.name() != "parsebin" {
        return None;
    }
    let caps: Vec<gst::Caps> = streams.iter().map(|stream| stream.caps()).collect::<Option<_>>()?;
    let playable = |caps: &gst::Caps| plan::tail_for(caps).is_some();
    (!caps.iter().any(playable)).then(|| no_video(&caps))
}

fn no_video(given: &[gst::Caps]) -> Failure {
    let kind = |caps: &gst::Caps| {
        let structure = caps.structure(0)?;
        let encoding = structure.get::<String>("encoding-name").ok();
        Some(encoding.unwrap_or_else(|| structure.name().to_string()))
    };
    let kinds: Vec<String> = given.iter().filter_map(kind).collect();
    let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
    Failure::unsupported(format!(
        "it gives no video in H.264, H.265 or JPEG, but {kinds}; choose another encoding"
    ))
}

/// Links `from` to the sink through `tail`, and brings what is new to the pipeline's state.
pub fn link(
    pipeline: &gst::Pipeline,
    from: &gst::Element,
    tail: &Chain,
    sink: &gst::Element,
) -> Result<(), Failure> {
    if tail.syntax().is_empty() {
        return from.link(sink).map_err(broken);
    }
    let tail = build::bin(tail)?;
    pipeline.add(&tail).map_err(broken)?;
    tail.link(sink).map_err(broken)?;
    tail.sync_state_with_parent().map_err(broken)?;
    from.link(&tail).map_err(broken)
}

/// The chain for a tail's name and pacing.
fn through(tail: Option<&str>, paced: bool, library: &Library) -> Result<Chain, Failure> {
    let none = Parameters::new();
    let mut chain = tail.map(|tail| library.fill(tail, &none)).transpose()?.unwrap_or_default();
    if paced {
        chain = chain.then(library.fill("tails/paced", &none)?);
    }
    Ok(chain)
}

/// Makes `pad`, inside the bin, a pad of the bin; the bin is what is linked then.
fn expose(bin: &gst::Bin, pad: &gst::Pad) -> Result<gst::Element, Failure> {
    let ghost = gst::GhostPad::builder_with_target(pad).map_err(broken)?.name("src").build();
    ghost.set_active(true).map_err(broken)?;
    bin.add_pad(&ghost).map_err(broken)?;
    Ok(bin.clone().upcast())
}

/// Lets what nobody wants flow nowhere, so that it does not end the stream as not linked.
fn discard(ends: &Ends<'_>, pad: &gst::Pad) -> Result<(), Failure> {
    let nowhere = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()
        .map_err(broken)?;
    ends.bin.add(&nowhere).map_err(broken)?;
    nowhere.sync_state_with_parent().map_err(broken)?;
    match nowhere.static_pad("sink") {
        Some(sink) => pad.link(&sink).map(|_| ()).map_err(broken),
        None => Ok(()),
    }
}

fn is_linked(sink: &gst::Element) -> bool {
    sink.static_pad("sink").is_some_and(|pad| pad.is_linked())
}

/// A refusal of GStreamer's that has no better words.
pub fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::broken(format!("linking the pipeline: {error}"))
}
