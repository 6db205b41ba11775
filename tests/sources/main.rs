//! What each kind of source promises, with real GStreamer pipelines and cameras made for the test: RTSP
//! ([`rtsp`]), HTTP ([`http`]), and what is on this machine ([`local`]): files, devices, patterns.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod bambu;
mod http;
mod local;
mod rtsp;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanlight::capture::outlet::Outlet;
use fanlight::capture::{Capture, LINGER, Means};
use fanlight::config::model::Camera;
use fanlight::frames::AccessUnit;
use fanlight::pipelines::Library;
use fanlight::supervision::{State, Timing, Vitals};
use gstreamer as gst;
use gstreamer::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn means() -> Means {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    gst::init().unwrap();
    Means {
        library: Arc::new(Library::embedded()),
        timing: Timing::default(),
        vitals: Vitals::new(0),
        graphs: None,
        linger: LINGER,
    }
}

/// A camera with this `source = { … }` and whatever else stands in its table.
fn camera(toml: &str) -> Camera {
    toml::from_str(&format!("id = \"cam\"\n{toml}\n")).unwrap()
}

async fn until(what: &str, condition: impl FnMut() -> bool) -> Duration {
    within(PATIENCE, what, condition).await
}

async fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < time, "not in {time:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

async fn until_live(capture: &Capture) {
    let began = Instant::now();
    while capture.status().lifecycle.state != State::Live {
        assert!(began.elapsed() < PATIENCE, "not live: {:?}", capture.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_state(capture: &Capture, state: State) {
    let began = Instant::now();
    while capture.status().lifecycle.state != state {
        assert!(began.elapsed() < PATIENCE, "not {state:?}: {:?}", capture.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The camera's failure in words, once there is one.
async fn failure(capture: &Capture) -> String {
    until("it fails", || capture.status().lifecycle.last_error.is_some()).await;
    let words = capture.status().lifecycle.last_error.unwrap();
    println!("in words: {words}");
    words
}

#[track_caller]
fn assert_says(words: &str, expected: &[&str]) {
    for expected in expected {
        assert!(words.to_lowercase().contains(&expected.to_lowercase()), "{expected:?} is not in {words:?}");
    }
}

async fn take(outlet: &Arc<Outlet>, count: usize) -> Vec<AccessUnit> {
    let mut pictures = outlet.subscribe();
    let mut taken = Vec::new();
    let all = async {
        while taken.len() < count {
            taken.push(pictures.next().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("pictures within the deadline");
    taken
}

/// `count` JPEGs that come after each other, to a viewer that reads each newest one.
async fn take_jpegs(capture: &Capture, count: usize) -> Vec<AccessUnit> {
    let _permit = capture.jpeg().demand();
    let mut latest = capture.jpeg().latest();
    let mut taken = Vec::new();
    let all = async {
        while taken.len() < count {
            latest.changed().await.unwrap();
            taken.extend(latest.borrow_and_update().clone());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("pictures within the deadline");
    taken
}

fn of_class(capture: &Capture, class: &str) -> Vec<String> {
    let klass = |name: &str| {
        let factory = gst::ElementFactory::find(name.rsplit('/').next().unwrap());
        factory.map(|factory| factory.metadata("klass").unwrap_or_default().to_owned()).unwrap_or_default()
    };
    capture.elements().into_iter().filter(|name| klass(name).contains(class)).collect()
}

fn decoders(capture: &Capture) -> Vec<String> {
    of_class(capture, "Decoder")
}

fn encoders(capture: &Capture) -> Vec<String> {
    of_class(capture, "Encoder")
}

/// Runs a gst-launch line to its end.
fn launch(line: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos), "{line}");
}

/// A path for a gst-launch line.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
