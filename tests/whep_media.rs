//! A GStreamer viewer (`whepclientsrc`: webrtcbin and libnice) decodes what WHEP gives it. It runs in a network
//! of its own: libnice offers no loopback address.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use support::service::STARTS;
use support::*;

/// A viewer that counts its decoded pictures.
struct GstViewer {
    pipeline: gst::Pipeline,
    pictures: Arc<AtomicU64>,
}

impl GstViewer {
    fn open(endpoint: &str) -> Self {
        let pipeline = gst::parse::launch(
            "whepclientsrc name=viewer ! queue ! videoconvert ! video/x-raw,format=I420 ! fakesink name=sink",
        )
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let viewer = pipeline.by_name("viewer").unwrap();
        viewer.set_property("stun-server", None::<String>);
        viewer.property::<gst::glib::Object>("signaller").set_property("whep-endpoint", endpoint);
        let pictures = Arc::new(AtomicU64::new(0));
        let pad = pipeline.by_name("sink").unwrap().static_pad("sink").unwrap();
        let counted = Arc::clone(&pictures);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, pictures }
    }

    /// What went wrong in it so far.
    fn error(&self) -> Option<String> {
        let bus = self.pipeline.bus().unwrap();
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(format!("{} ({:?})", error.error(), error.debug())),
            _ => None,
        }
    }

    fn size(&self) -> (i32, i32) {
        let pad = self.pipeline.by_name("sink").unwrap().static_pad("sink").unwrap();
        let caps = pad.current_caps().unwrap();
        let caps = caps.structure(0).unwrap();
        (caps.get("width").unwrap(), caps.get("height").unwrap())
    }
}

impl Drop for GstViewer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[test]
fn a_gstreamer_viewer_decodes_both_passed_through_and_encoded_pictures_and_leaves() {
    if !namespace::inside("a_gstreamer_viewer_decodes_both_passed_through_and_encoded_pictures_and_leaves") {
        return;
    }
    gst::init().unwrap();
    gstrswebrtc::plugin_register_static().unwrap();
    let camera = CameraOptions::pattern("640x360@25").start();
    let config = format!(
        "[webrtc]\nport = 0\n[[camera]]\nid = \"through\"\n{}\n[[camera]]\nid = \"encoded\"\nsource = {{ type = \
         \"test\" }}\nresolution = \"320x180\"\nfps = 15\n",
        camera.source()
    );
    let service = Fanlight::start_with(&config, &[("FANLIGHT_BIND", "0.0.0.0")]);
    for (id, size) in [("through", (640, 360)), ("encoded", (320, 180))] {
        service.wait_state(id, "live", STARTS);
        let endpoint = format!("http://{}:{}/cameras/{id}/whep", namespace::ADDRESS, service.port());
        let viewer = GstViewer::open(&endpoint);
        wait_until("50 pictures are decoded", Duration::from_secs(30), || {
            if let Some(error) = viewer.error() {
                panic!("{id}: {error}\n{}", service.log());
            }
            viewer.pictures.load(Ordering::Relaxed) >= 50
        });
        assert_eq!(viewer.size(), size, "{id}");
        let listed = service.get(&format!("/api/cameras/{id}/viewers")).json();
        assert_eq!(listed["viewers"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["viewers"][0]["client"], namespace::ADDRESS, "{listed}");
        drop(viewer);
        wait_until("the viewer has left", Duration::from_secs(5), || {
            service.camera(id)["viewers"]["webrtc"] == 0
        });
    }
}
