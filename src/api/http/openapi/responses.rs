//! What each path answers: status codes, what they mean, and the shape of the body.

use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Schema};

use crate::api::http::answer::ErrorBody;
use crate::api::http::cameras::{CameraList, CameraView, Restarting, Retrying, Streaming};
use crate::api::http::controls::{Capabilities, ControlList};
use crate::api::http::events::HouseView;
use crate::api::http::fleet::{NodeList, NodeView, Overview};
use crate::api::http::livekit::{ServerToken, ViewerToken};
use crate::api::http::login::SessionView;
use crate::api::http::metrics::Metrics;
use crate::api::http::printers::{CommandAnswer, FoundPrinters, PrinterTest};
use crate::api::http::probes::{CameraStatusBody, Health, Ready};
use crate::api::http::recordings::{RecordingList, SnapshotList, StorageView};
use crate::api::http::routes::{Route, Target, Verb};
use crate::api::http::stepper::{Ask, StepperView};
use crate::api::http::system::Stats;
use crate::api::http::transforms::TransformsView;
use crate::api::http::whep::dialect::Description;
use crate::api::http::whep::viewers::ViewerList;
use crate::control::external::{Discovered, ExternalStream, ExternalStreams, ScanInterval};
use crate::livekit::viewer::ViewerConfig;
use crate::printers::view::{PrinterView, StatusView};
use crate::record::{Cleanup, RecordingInfo, RecordingStatus, Retention, SnapshotInfo, TimelapseStatus};
use crate::telemetry::system::SystemMetrics;

/// Answers of recordings, snapshots and storage.
fn record_responses(verb: Verb, target: Target) -> Vec<(&'static str, Response)> {
    let gone = || ResponseBuilder::new().description("Deleted").build();
    let mut list = vec![match (target, verb) {
        (Target::Recordings, _) => ("200", json::<RecordingList>("One page")),
        (Target::Recording | Target::StoredSnapshot, Verb::Delete) => ("204", gone()),
        (Target::Recording | Target::KeepRecording, _) => ("200", json::<RecordingInfo>("The recording")),
        (Target::CameraRecording, Verb::Post) => {
            ("201", json::<RecordingStatus>("It records, or waits for pictures: see state"))
        }
        (Target::CameraRecording, _) => ("200", json::<RecordingStatus>("How it is")),
        (Target::Timelapse, Verb::Post) => ("201", json::<TimelapseStatus>("It has begun")),
        (Target::Timelapse, _) => ("200", json::<TimelapseStatus>("How it is")),
        (Target::TakeSnapshot, _) => ("201", json::<SnapshotInfo>("It is stored; Location")),
        (Target::Snapshots, _) => ("200", json::<SnapshotList>("One page")),
        (Target::StoredSnapshot, _) => ("200", json::<SnapshotInfo>("The snapshot")),
        (Target::Retention, _) => ("200", json::<Retention>("What holds now")),
        (Target::Cleanup, _) => ("200", json::<Cleanup>("What was deleted")),
        _ => ("200", json::<StorageView>("The disk")),
    }];
    if matches!(verb, Verb::Post | Verb::Patch | Verb::Delete) {
        list.push(("403", error("A page of an origin that is not listed asked")));
        list.push(("409", error("Not in this state: recording already, not recording, being written")));
    }
    if matches!((target, verb), (Target::CameraRecording | Target::TakeSnapshot, Verb::Post)) {
        list.push(("507", error("The disk is full")));
    }
    list.push(("400", error("A value or name is not possible")));
    if !matches!(target, Target::Recordings | Target::Snapshots | Target::Storage | Target::Cleanup) {
        list.push(("404", error("There is no such camera or file")));
    }
    list.push(("503", error("Camera, disk or database do not do their part")));
    list
}

/// Answers of cameras that are added by API.
fn external_responses(verb: Verb, target: Target) -> Vec<(&'static str, Response)> {
    let mut list = vec![match (target, verb) {
        (Target::ExternalStreams, Verb::Post) => ("201", json::<ExternalStream>("It is a camera; Location")),
        (Target::ExternalStreams, _) => ("200", json::<ExternalStreams>("What was added, what was found")),
        (Target::ExternalStream, Verb::Delete) => ("204", Response::new("It is gone")),
        (Target::ExternalStream, _) => ("200", json::<ExternalStream>("The camera")),
        (Target::Discover, _) => ("200", json::<Discovered>("What is there now")),
        _ => ("200", json::<ScanInterval>("How often")),
    }];
    if verb != Verb::Get {
        list.push(("403", error("A page of an origin that is not listed asked")));
        list.push(("400", error("A value or address is not possible")));
        list.push(("409", error("As many as may be, one of that URL or id, or it is looked around already")));
        list.push(("503", error("It could not be kept, or a name not be looked up")));
    }
    if target == Target::ExternalStream {
        list.push(("404", error("No such stream was added")));
    }
    list
}

/// Answers about nodes, and of a node.
fn fleet_responses(verb: Verb, target: Target, one: bool) -> Vec<(&'static str, Response)> {
    let object = |description: &str| {
        let object = ObjectBuilder::new().schema_type(Type::Object);
        let content = ContentBuilder::new().schema(Some(object)).build();
        ResponseBuilder::new().description(description).content("application/json", content).build()
    };
    let mut list = vec![match (target, verb) {
        (Target::Nodes, Verb::Post) => ("201", object("The node, without its token; Location")),
        (Target::Nodes, Verb::Delete) => ("204", ResponseBuilder::new().description("Deleted").build()),
        (Target::Nodes, _) if one => ("200", object("The node, without its token")),
        (Target::Nodes, _) => ("200", json::<NodeList>("Without their tokens")),
        (Target::NodeStatus, _) => ("200", json::<NodeView>("How it is")),
        (Target::Overview, _) => {
            ("200", json::<Overview>("How all are; those that do not answer with their error"))
        }
        (Target::Action, _) => ("200", object("What was done; identify answers who this is")),
        _ => ("200", object("What the node answered, with its status")),
    }];
    if target == Target::Action {
        list.push(("201", object("A recording has begun, a snapshot is stored")));
        list.push(("202", object("It begins anew")));
        list.push(("409", error("Not in this state")));
    }
    if !matches!(target, Target::Overview | Target::NodeStatus) {
        list.push(("400", error("A field is missing or not possible: details.fields")));
        list.push(("403", error("The node may not be asked for this action, or a foreign page asked")));
    }
    if matches!(target, Target::NodeStatus | Target::NodeAction) {
        list.push(("401", error("The node does not take the token")));
    }
    if target == Target::NodeAction {
        list.push(("413", error("The body is too large")));
        list.push(("501", error("The node's transport is not supported")));
    }
    list.push(("404", error("No such node or action, or no management here")));
    list.push(("503", error("The node does not answer, or the registry is not there")));
    list
}

/// Answers about printers.
fn printer_responses(verb: Verb, target: Target) -> Vec<(&'static str, Response)> {
    let none = || error("There is no such printer");
    let origin = || error("A page of an origin that is not listed asked");
    let fields = || error("details.fields says what is wrong with which field");
    let kept = || error("Database or key file do not do their part");
    match (target, verb) {
        (Target::Printers, Verb::Post) => vec![
            ("201", json::<PrinterView>("It is added; Location")),
            ("400", fields()),
            ("403", origin()),
            ("409", error("There are as many as there may be")),
            ("503", kept()),
        ],
        (Target::Printers, _) => {
            let list = ArrayBuilder::new().items(Ref::from_schema_name(PrinterView::name()));
            let content = ContentBuilder::new().schema(Some(list)).build();
            let list = ResponseBuilder::new().description("All of them");
            vec![("200", list.content("application/json", content).build())]
        }
        (Target::Printer, Verb::Put) => vec![
            ("200", json::<PrinterView>("The printer as it is now")),
            ("400", fields()),
            ("403", origin()),
            ("404", none()),
            ("503", kept()),
        ],
        (Target::Printer, Verb::Delete) => {
            vec![("204", Response::new("It is deleted")), ("403", origin()), ("404", none()), ("503", kept())]
        }
        (Target::Printer, _) => vec![("200", json::<PrinterView>("The printer")), ("404", none())],
        (Target::PrinterStatus, _) => vec![("200", json::<StatusView>("The newest")), ("404", none())],
        (Target::PrinterStream, _) => {
            let mut response = json::<StatusView>("Events `status`, at once and at each change");
            response.content =
                response.content.into_values().map(|it| ("text/event-stream".to_owned(), it)).collect();
            vec![
                ("200", response),
                ("404", none()),
                ("503", error("As many clients follow as may; Retry-After")),
            ]
        }
        (Target::PrinterCommand, _) => vec![
            ("200", json::<CommandAnswer>("The printer has said that it will")),
            ("400", json::<CommandAnswer>("This is no command")),
            ("401", json::<CommandAnswer>("A login is needed")),
            (
                "403",
                json::<CommandAnswer>(
                    "Not for this role or origin, or the printer obeys no programs: what to do",
                ),
            ),
            ("404", json::<CommandAnswer>("There is no such printer")),
            ("409", json::<CommandAnswer>("Not in what the printer is doing")),
            ("422", json::<CommandAnswer>("Not with this printer, or it refuses")),
            ("503", json::<CommandAnswer>("It is not connected")),
            ("504", json::<CommandAnswer>("It has not answered")),
        ],
        (Target::PrinterCertificate, _) => vec![
            ("200", json::<PrinterView>("It is trusted, and the printer is connected to again")),
            ("403", origin()),
            ("404", none()),
            ("409", error("The printer shows no other certificate, or another one than that")),
            ("503", kept()),
        ],
        (Target::PrinterTest, _) => vec![
            ("200", json::<PrinterTest>("How far it came, a step at a time")),
            ("400", fields()),
            ("403", origin()),
            ("404", none()),
        ],
        _ => vec![
            ("200", json::<FoundPrinters>("Those that were heard; it is listened for a minute from now on")),
            ("409", error("Searching is switched off")),
            ("503", error("The port cannot be listened on")),
        ],
    }
}

/// Answers of the motor.
fn stepper_responses(ask: Ask) -> Vec<(&'static str, Response)> {
    let mut list = match ask {
        Ask::Move | Ask::Home | Ask::Jog => vec![("202", json::<StepperView>("It has begun"))],
        _ => vec![("200", json::<StepperView>("How it is"))],
    };
    if ask != Ask::Status {
        list.push(("403", error("A page of an origin that is not listed asked")));
        list.push(("429", error("This address asked as often as it may; Retry-After")));
        list.push(("503", error("There is no motor, and why")));
        list.push(("504", error("The driver does not answer")));
    }
    if matches!(ask, Ask::Move | Ask::Home | Ask::Jog) {
        list.push(("409", error("Not now: it moves, or does not know where it is")));
    }
    if matches!(ask, Ask::Move | Ask::Speed | Ask::Jog) {
        list.push(("400", error("Outside of the limits, no such preset, or not the JSON that was expected")));
    }
    list
}

/// Answers to WebRTC signalling.
fn webrtc_responses(verb: Verb, target: Target) -> Vec<(&'static str, Response)> {
    let mut list = vec![("403", error("A page of an origin that is not listed asked"))];
    let session = || error("The session has ended or never was, or there is no such camera");
    match target {
        Target::Whep | Target::Go2rtc => {
            list.push(("200", json::<Description>("The answer to an offer as JSON")));
            list.push(("201", binary("The answer; Location, ETag, Link", &["application/sdp"])));
            list.push(("415", error("Neither SDP nor JSON; Accept-Post")));
        }
        Target::Signalling => list.push(("200", json::<Description>("An offer, an answer, or {}"))),
        Target::WhepSession if verb == Verb::Patch => {
            list.push(("200", binary("ICE restarted; ETag", &["application/trickle-ice-sdpfrag"])));
            list.push(("204", ResponseBuilder::new().description("Candidates were taken").build()));
            list.push(("400", error("The body is no SDP fragment")));
            list.push(("412", error("If-Match is not the session's ETag")));
            list.push(("415", error("No SDP fragment; Accept-Patch")));
            list.push(("428", error("If-Match is missing")));
        }
        Target::WhepSession => list.push(("200", ResponseBuilder::new().description("Ended").build())),
        Target::Go2rtcSocket => {
            list.push(("101", ResponseBuilder::new().description("A WebSocket").build()));
            list.push(("426", error("Not a WebSocket's handshake")));
        }
        _ => {}
    }
    match target {
        Target::WhepSession => list.push(("404", session())),
        Target::Go2rtcSocket => {}
        _ => {
            list.push(("400", error("No SDP, no message, or an offer without H.264 video")));
            list.push(("404", error("No such camera or session, or this output is switched off")));
            list.push(("409", error("The camera has no live picture: reason, age, Retry-After")));
            list.push(("413", error("The body is too large")));
        }
    }
    list.push(("503", error("As many viewers watch as allowed, or the service stops; Retry-After")));
    list
}

pub fn responses(route: &Route) -> Vec<(&'static str, Response)> {
    const MULTIPART: &str = "multipart/x-mixed-replace";
    let Route { verb, path, target } = *route;
    let mut list = match target {
        Target::Page => {
            vec![("200", binary("The page, stream or picture", &["text/html", MULTIPART, "image/jpeg"]))]
        }
        Target::Plain => vec![("200", binary("The page", &["text/html"]))],
        Target::Asset | Target::Icon => vec![
            ("200", binary("The file", &["text/javascript", "text/css", "image/svg+xml"])),
            ("304", Response::new("The client has it")),
            ("404", error("No such file, or no dashboard in this binary")),
        ],
        Target::Webcam => vec![("200", binary("Stream or picture", &[MULTIPART, "image/jpeg"]))],
        Target::Stream => vec![("200", binary("One JPEG a part, boundary=frame", &[MULTIPART]))],
        Target::Snapshot => vec![("200", binary("A JPEG; Age and X-Timestamp say how old", &["image/jpeg"]))],
        Target::Hls => vec![
            (
                "200",
                binary("Playlist or media", &["application/vnd.apple.mpegurl", "video/mp2t", "video/mp4"]),
            ),
            ("206", binary("A byte range of it", &["video/mp2t", "video/mp4"])),
        ],
        Target::Health => vec![("200", json::<Health>("Always"))],
        Target::Ready => {
            vec![
                ("200", json::<Ready>("Pictures flow")),
                ("503", json::<Ready>("They do not; reason says why")),
            ]
        }
        Target::Metrics => vec![("200", {
            let mut response = json::<Metrics>("Figures");
            response.content.extend(binary("", &["text/plain"]).content);
            response
        })],
        Target::CameraStatus => vec![("200", json::<CameraStatusBody>("The first camera"))],
        Target::Cameras => vec![("200", json::<CameraList>("All cameras"))],
        Target::Camera => vec![("200", json::<CameraView>("The camera"))],
        Target::Change => vec![
            ("200", json::<CameraView>("The camera as it is now")),
            ("400", error("A setting that is not possible")),
            ("403", error("A page of an origin that is not listed asked")),
            ("409", error("It stands in the configuration")),
        ],
        Target::Forget => vec![
            ("204", Response::new("It is forgotten")),
            ("403", error("A page of an origin that is not listed asked")),
            ("409", error("It is plugged in, or stands in the configuration")),
        ],
        Target::Controls | Target::SetControls | Target::Capabilities => {
            let mut list = vec![
                (
                    "200",
                    match target {
                        Target::Controls | Target::SetControls => {
                            json::<ControlList>("The controls as they are now")
                        }
                        _ => json::<Capabilities>("What the device says"),
                    },
                ),
                ("409", error("The camera is away")),
                ("501", error("This source has none that can be set while it runs")),
                ("503", error("The device cannot be opened: why, and what to do")),
                ("504", error("The device does not answer")),
            ];
            if target == Target::SetControls {
                list.push(("400", error("A control that is not there, or a value that it does not take")));
                list.push(("403", error("A page of an origin that is not listed asked")));
            }
            list
        }
        Target::ExternalStreams | Target::ExternalStream | Target::ScanInterval | Target::Discover => {
            return external_responses(verb, target);
        }
        Target::Retry => vec![
            ("202", json::<Retrying>("Asked for")),
            ("403", error("A page of an origin that is not listed asked")),
        ],
        Target::Streaming => {
            let mut list = vec![("200", json::<Streaming>("How it is now"))];
            if verb != Verb::Get {
                list.push(("403", error("A page of an origin that is not listed asked")));
            }
            list
        }
        Target::Restart => vec![
            ("202", json::<Restarting>("Asked for")),
            ("403", error("A page of an origin that is not listed asked")),
        ],
        Target::Transforms => {
            let mut list = vec![("200", json::<TransformsView>("What is done to its pictures now"))];
            if verb != Verb::Get {
                list.push(("403", error("A page of an origin that is not listed asked")));
                list.push(("409", error("Encoders would begin anew: the reason; nothing was changed")));
                list.push(("500", error("It is done, but could not be kept for the next start")));
            }
            if verb == Verb::Put {
                list.push(("400", error("Not JSON, an unknown key, or a mask outside the picture")));
            }
            list
        }
        Target::Viewers => vec![("200", json::<ViewerList>("The viewers"))],
        Target::Events => vec![
            ("200", {
                let mut response = json::<HouseView>(
                    "Events `state` at each change and at least every 5 s, with this as their data; `bye` \
                     before the service ends",
                );
                response.content =
                    response.content.into_values().map(|it| ("text/event-stream".to_owned(), it)).collect();
                response
            }),
            ("503", error("As many clients listen as may; Retry-After")),
        ],
        Target::WebrtcConfig => {
            vec![("200", json::<ViewerConfig>("Always; disabled says whether it is of use"))]
        }
        Target::ViewerToken => vec![("200", json::<ViewerToken>("A token for a viewer"))],
        Target::StandardToken => vec![("201", json::<ServerToken>("A token for a viewer"))],
        Target::Stats => vec![("200", json::<Stats>("The newest reading"))],
        Target::SystemMetrics => vec![("200", json::<SystemMetrics>("The newest reading"))],
        Target::RecordingFile | Target::SnapshotFile => {
            let kind = if target == Target::RecordingFile { "video/mp4" } else { "image/jpeg" };
            vec![
                ("200", binary("The file; ETag, Last-Modified, Content-Disposition", &[kind])),
                ("206", binary("A byte range of it", &[kind])),
                ("304", Response::new("The client has it")),
                ("404", error("There is no such file")),
                ("416", error("The range begins past the end; Content-Range has the length")),
            ]
        }
        Target::RecordingPlaylist => vec![
            ("200", binary("The playlist", &["application/vnd.apple.mpegurl"])),
            ("404", error("There is no such recording")),
            ("409", error("It is no fragmented MP4")),
        ],
        Target::Recordings
        | Target::Recording
        | Target::KeepRecording
        | Target::CameraRecording
        | Target::Timelapse
        | Target::TakeSnapshot
        | Target::Snapshots
        | Target::StoredSnapshot
        | Target::Storage
        | Target::Retention
        | Target::Cleanup => return record_responses(verb, target),
        Target::Printers
        | Target::Printer
        | Target::PrinterStatus
        | Target::PrinterStream
        | Target::PrinterCommand
        | Target::PrinterCertificate
        | Target::PrinterTest
        | Target::FoundPrinters => return printer_responses(verb, target),
        Target::Session => vec![("200", json::<SessionView>("Also when nobody is logged in"))],
        Target::Login => vec![
            ("200", json::<SessionView>("Set-Cookie: fanlight_session, HttpOnly, SameSite=Strict")),
            ("400", error("The body is neither of both")),
            ("401", error("The login is wrong")),
            ("403", error("A page of an origin that is not listed asked")),
            ("429", error("Too many wrong logins from this address; Retry-After")),
        ],
        Target::Logout => vec![
            ("204", Response::new("The cookie is gone")),
            ("403", error("A page of an origin that is not listed asked")),
        ],
        Target::Stepper(ask) => return stepper_responses(ask),
        Target::Nodes | Target::NodeStatus | Target::NodeAction | Target::Overview | Target::Action => {
            return fleet_responses(verb, target, path.contains("{id}"));
        }
        Target::OpenApi => vec![("200", binary("OpenAPI 3.1", &["application/json"]))],
        Target::Rpc => {
            return vec![
                ("101", ResponseBuilder::new().description("A WebSocket").build()),
                ("403", error("The page's origin is not allowed")),
                ("426", error("Not a WebSocket's handshake")),
                ("503", error("As many are connected as may be; Retry-After")),
            ];
        }
        Target::Whep | Target::WhepSession | Target::Signalling | Target::Go2rtc | Target::Go2rtcSocket => {
            return webrtc_responses(verb, target);
        }
    };
    if matches!(target, Target::Page | Target::Webcam | Target::Stream) {
        list.push(("400", error("A query value is not possible")));
        list.push(("429", error("As many streams are open as allowed; Retry-After")));
    }
    if matches!(target, Target::ViewerToken | Target::StandardToken) {
        list.push(("400", error("Something that was asked for is too long or not possible")));
        list.push(("403", error("Viewers may not ask for this room")));
        list.push(("429", error("This address fetched as many as it may; Retry-After")));
        list.push(("503", error("LiveKit is not configured; notes say what is missing")));
    }
    if matches!(target, Target::Stats | Target::SystemMetrics) {
        list.push(("503", error("Right after the start; Retry-After")));
    }
    if target == Target::Hls {
        list.push(("400", error("_HLS_msn or _HLS_part makes no sense")));
        list.push(("416", error("The range begins past the end; Content-Range has the length")));
    }
    if path.contains("{id}") || matches!(target, Target::Stream | Target::Snapshot | Target::Ready) {
        list.push(("404", error("No such camera, or this output is switched off")));
    }
    if matches!(target, Target::Page | Target::Webcam | Target::Stream | Target::Snapshot | Target::Hls) {
        list.push(("503", error("The camera has no live picture: reason, age, Retry-After")));
    }
    list
}

fn json<T: ToSchema>(description: &str) -> Response {
    let schema = RefOr::Ref::<Schema>(Ref::from_schema_name(T::name()));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

pub fn error(description: &str) -> Response {
    json::<ErrorBody>(description)
}

fn binary(description: &str, types: &[&str]) -> Response {
    let mut response = ResponseBuilder::new().description(description);
    for kind in types {
        let mut schema = ObjectBuilder::new().schema_type(Type::String);
        if !kind.starts_with("text/") && *kind != "application/json" {
            schema = schema.format(Some(SchemaFormat::Custom("binary".into())));
        }
        response = response.content(*kind, ContentBuilder::new().schema(Some(schema)).build());
    }
    response.build()
}
