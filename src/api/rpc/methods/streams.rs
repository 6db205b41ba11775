//! Streams: where they are, how they are, and keeping one running though nobody watches.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::cameras::{Device, Status};
use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, Nothing, method};
use crate::capture::status::OutletStatus;
use crate::control::{Named, Refusal, Urls};
use crate::supervision::State;
use crate::telemetry;

pub fn methods() -> Vec<Method> {
    let (viewer, operator) = (Some(Role::Viewer), Some(Role::Operator));
    vec![
        method(
            "start_streaming",
            operator,
            "Keeps a camera's stream running though nobody watches, until `stop_streaming`: the service itself \
             is a reader of it. Streams need not be started to be watched; started, they are there at once.",
            start,
        ),
        method(
            "stop_streaming",
            operator,
            "Ends what `start_streaming` began. Viewers keep their streams; without any, encoder and camera rest.",
            stop,
        ),
        method("get_stream_url", viewer, "Where a camera's pictures are.", url),
        method("get_stream_status", viewer, "How a camera's stream is, and who takes it.", status),
        method("get_streams", viewer, "All streams.", list),
    ]
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Running {
    Started,
    Stopped,
}

#[derive(Debug, Serialize, ToSchema)]
struct Started {
    device: String,
    /// The camera's id.
    stream_name: String,
    stream_url: String,
    status: Running,
    /// Since when; an earlier time if it was running already.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    start_time: SystemTime,
}

async fn start(session: Arc<Session>, params: Device) -> Result<Started, Error> {
    let control = &session.rpc.house().control;
    let stream_url = best(&session, &control.camera(&params.device)?)?;
    let (camera, start_time) = control.start_streaming(&params.device)?;
    Ok(Started {
        stream_url,
        stream_name: camera.capture.id().to_owned(),
        device: camera.alias,
        status: Running::Started,
        start_time,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct Stopped {
    device: String,
    stream_name: String,
    status: Running,
    /// Since when it had been kept running; null if it had not.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    start_time: Option<SystemTime>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    end_time: SystemTime,
    /// Seconds.
    duration: f64,
    /// Whether it runs on because something takes it: viewers, a recording, an output.
    stream_continues: bool,
}

async fn stop(session: Arc<Session>, params: Device) -> Result<Stopped, Error> {
    let (camera, start_time) = session.rpc.house().control.stop_streaming(&params.device)?;
    let end_time = SystemTime::now();
    let duration = start_time.and_then(|began| end_time.duration_since(began).ok()).unwrap_or_default();
    Ok(Stopped {
        stream_name: camera.capture.id().to_owned(),
        status: Running::Stopped,
        start_time,
        end_time,
        duration: duration.as_secs_f64(),
        stream_continues: demand(&camera) > 0,
        device: camera.alias,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct StreamUrl {
    device: String,
    stream_name: String,
    /// The one that most players take.
    stream_url: String,
    /// All of them.
    streams: Urls,
    /// Whether pictures come now, or would if somebody watched.
    available: bool,
    /// Those who take H.264 or JPEGs now; the service itself is one after `start_streaming`.
    active_consumers: usize,
}

async fn url(session: Arc<Session>, params: Device) -> Result<StreamUrl, Error> {
    let house = session.rpc.house();
    let camera = house.control.camera(&params.device)?;
    Ok(StreamUrl {
        stream_url: best(&session, &camera)?,
        stream_name: camera.capture.id().to_owned(),
        streams: session.rpc.urls(&camera.capture, &session.from.base),
        available: Status::of(&camera) == Status::Connected,
        active_consumers: demand(&camera),
        device: camera.alias,
    })
}

/// The address that most players take.
fn best(session: &Session, camera: &Named) -> Result<String, Error> {
    let streams = session.rpc.urls(&camera.capture, &session.from.base);
    let best = streams.best().map(str::to_owned);
    Ok(best.ok_or_else(|| Refusal::NoStream(camera.capture.id().to_owned()))?)
}

fn demand(camera: &Named) -> usize {
    camera.capture.h264().counters().demand + camera.capture.jpeg().counters().demand
}

#[derive(Debug, Serialize, ToSchema)]
struct Readers {
    mjpeg: usize,
    webrtc: usize,
    rtsp: usize,
    /// Whether the service itself keeps it running.
    held: bool,
}

fn readers(session: &Session, camera: &Named) -> Readers {
    let (house, id) = (session.rpc.house(), camera.capture.id());
    Readers {
        mjpeg: house.mjpeg.viewers_of(id),
        webrtc: house.whep.watching(id),
        rtsp: house.rtsp.as_ref().map_or(0, |rtsp| rtsp.watching(id)),
        held: house.control.streaming(id).is_some(),
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct StreamStatus {
    device: String,
    stream_name: String,
    status: Activity,
    /// Whether pictures come now.
    ready: bool,
    readers: Readers,
    /// Since when `start_streaming` keeps it running.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    start_time: Option<SystemTime>,
    h264: OutletStatus,
    jpeg: OutletStatus,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Activity {
    /// Pictures leave it.
    Active,
    /// Nobody takes it.
    Idle,
    /// Somebody takes it and nothing comes.
    Waiting,
}

fn activity(camera: &Named) -> Activity {
    match (demand(camera), camera.capture.status().lifecycle.state) {
        (0, _) => Activity::Idle,
        (_, State::Live) => Activity::Active,
        _ => Activity::Waiting,
    }
}

async fn status(session: Arc<Session>, params: Device) -> Result<StreamStatus, Error> {
    let control = &session.rpc.house().control;
    let camera = control.camera(&params.device)?;
    let status = camera.capture.status();
    Ok(StreamStatus {
        device: camera.alias.clone(),
        status: activity(&camera),
        ready: status.lifecycle.state == State::Live,
        readers: readers(&session, &camera),
        start_time: control.streaming(camera.capture.id()),
        stream_name: status.id,
        h264: status.h264,
        jpeg: status.jpeg,
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct StreamList {
    streams: Vec<Stream>,
    total: usize,
    active: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct Stream {
    /// The camera's id.
    name: String,
    device: String,
    /// Kind of source.
    source: String,
    status: Activity,
    ready: bool,
    readers: Readers,
    /// Encoded since the service started.
    bytes: u64,
}

async fn list(session: Arc<Session>, _: Nothing) -> Result<StreamList, Error> {
    let of = |camera: &Named| {
        let status = camera.capture.status();
        Stream {
            device: camera.alias.clone(),
            source: status.source.to_owned(),
            status: activity(camera),
            ready: status.lifecycle.state == State::Live,
            readers: readers(&session, camera),
            bytes: status.h264.counters.bytes + status.jpeg.counters.bytes,
            name: status.id,
        }
    };
    let streams: Vec<Stream> = session.rpc.house().control.cameras().iter().map(of).collect();
    let active = streams.iter().filter(|stream| matches!(stream.status, Activity::Active)).count();
    Ok(StreamList { total: streams.len(), active, streams })
}
