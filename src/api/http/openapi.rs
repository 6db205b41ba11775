//! `/api/openapi.json`: made from the table of routes, so that it lists what the router has.

mod responses;

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, Paths,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, Required};
use utoipa::{OpenApi, ToSchema};
use warp::http::StatusCode;

use super::actions::ActionBody;
use super::answer::{self, ErrorBody, ErrorDetail};
use super::cameras::{CameraList, CameraView, LiveKitRoom, Restarting, Retrying, Streaming};
use super::controls::{Capabilities, ControlList, ControlValues};
use super::door;
use super::events::HouseView;
use super::external::LookFor;
use super::fleet::{NodeList, NodeView, Overview};
use super::livekit::{ServerToken, TokenRequest, ViewerToken};
use super::login::{Login, SessionView};
use super::metrics::{CameraConfig, Metrics};
use super::printers::{AcceptCertificate, CommandAnswer, FoundPrinters, PrinterSettings, PrinterTest};
use super::probes::{CameraStatusBody, Health, Ready};
use super::recordings::{
    RecordingList, SnapshotList, StartRecording, StartTimelapse, StorageView, TakeSnapshot,
};
use super::routes::{ROUTES, Route, Target, Verb};
use super::stepper::{Ask, Move, Speed, StepperView};
use super::system::Stats;
use super::transforms::TransformsView;
use super::whep::dialect::{Description, Message};
use super::whep::viewers::ViewerList;
use crate::cameras::settings::Settings;
use crate::config::transforms::Transforms;
use crate::control::external::{Discovered, ExternalStream, ExternalStreams, NewStream, ScanInterval};
use crate::livekit::viewer::ViewerConfig;
use crate::printers::command::Command;
use crate::printers::view::{PrinterView, StatusView};
use crate::record::{Cleanup, RecordingInfo, RecordingStatus, Retention, SnapshotInfo, TimelapseStatus};
use crate::supervision::published::Publisher;
use crate::telemetry::system::SystemMetrics;
use responses::{error, responses};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanlight",
        description = "A camera as every stream people point at it. Paths without an id mean the first camera."
    ),
    components(schemas(
        ErrorBody,
        ErrorDetail,
        CameraList,
        CameraView,
        Restarting,
        Retrying,
        Streaming,
        ControlList,
        Settings,
        ControlValues,
        Capabilities,
        TransformsView,
        crate::control::pictures::Pictures,
        crate::control::pictures::SetBy,
        Transforms,
        LiveKitRoom,
        crate::publish::status::OutputStatus,
        HouseView,
        Metrics,
        CameraConfig,
        Health,
        Ready,
        CameraStatusBody,
        Publisher,
        ViewerList,
        Message,
        Description,
        ViewerConfig,
        ViewerToken,
        TokenRequest,
        ServerToken,
        Stats,
        SystemMetrics,
        RecordingList,
        RecordingInfo,
        RecordingStatus,
        SnapshotList,
        SnapshotInfo,
        StorageView,
        StartRecording,
        StartTimelapse,
        TimelapseStatus,
        TakeSnapshot,
        Retention,
        ActionBody,
        NodeList,
        NodeView,
        Overview,
        StepperView,
        Move,
        Speed,
        Cleanup,
        ExternalStreams,
        ExternalStream,
        NewStream,
        LookFor,
        Discovered,
        ScanInterval,
        SessionView,
        Login,
        PrinterView,
        PrinterSettings,
        StatusView,
        Command,
        CommandAnswer,
        AcceptCertificate,
        PrinterTest,
        FoundPrinters,
        crate::printers::FieldError,
        crate::serve::ready::NotReady
    ))
)]
struct Document;

pub fn document() -> answer::Response {
    answer::json(StatusCode::OK, &build())
}

fn build() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.paths = Paths::new();
    for route in ROUTES {
        let method = match route.verb {
            // HEAD has the same answer without its body and is not listed apart.
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
            Verb::Put => HttpMethod::Put,
            Verb::Patch => HttpMethod::Patch,
            Verb::Delete => HttpMethod::Delete,
        };
        let operation = operation(route);
        let item = PathItem::new(method, operation);
        match document.paths.paths.get_mut(route.path) {
            Some(present) => present.merge_operations(item),
            None => {
                document.paths.paths.insert(route.path.to_owned(), item);
            }
        }
    }
    document
}

/// What a client may get from a target.
fn operation(route: &Route) -> Operation {
    let Route { verb, path, target } = *route;
    let (tag, summary) = match target {
        Target::Page => {
            ("pages", "The dashboard; ?action=stream and ?action=snapshot as mjpg-streamer has them")
        }
        Target::Plain => ("pages", "A page that needs no script"),
        Target::Asset => ("pages", "A file of the dashboard"),
        Target::Icon => ("pages", "The icon of the dashboard"),
        Target::Webcam => ("pictures", "?action=stream or ?action=snapshot, as mjpg-streamer has them"),
        Target::Stream => ("pictures", "MJPEG stream"),
        Target::Snapshot => ("pictures", "The newest picture, never an old one"),
        Target::Hls => ("pictures", "HLS playlists, segments and parts"),
        Target::Health => ("probes", "The process runs and answers"),
        Target::Ready => ("probes", "Pictures flow and are fresh"),
        Target::Metrics => ("probes", "Figures as JSON, or as Prometheus text by Accept"),
        Target::CameraStatus => ("probes", "The first camera and its publisher"),
        Target::Cameras => ("cameras", "All cameras and how they are"),
        Target::Camera => ("cameras", "One camera and how it is"),
        Target::Change => {
            ("cameras", "Change a discovered camera, which starts anew; null goes back to the default")
        }
        Target::Forget => ("cameras", "Forget a discovered camera that is away, with what was set for it"),
        Target::SetControls => ("cameras", "Set controls, at once and again whenever the camera comes back"),
        Target::Controls => ("cameras", "The controls of a V4L2 camera and how they are set"),
        Target::Capabilities => ("cameras", "What a V4L2 camera offers: formats, sizes, rates, controls"),
        Target::ExternalStreams if verb == Verb::Post => {
            ("cameras", "Add a stream elsewhere as a camera; it need not be there yet")
        }
        Target::ExternalStreams => ("cameras", "Cameras that were added by API, and what was found"),
        Target::ExternalStream if verb == Verb::Delete => ("cameras", "Remove a camera that was added"),
        Target::ExternalStream => ("cameras", "One camera that was added"),
        Target::Discover => ("cameras", "Look for cameras on the network now, or at the hosts named"),
        Target::ScanInterval if verb == Verb::Put => {
            ("cameras", "Set how often cameras on the network are looked for")
        }
        Target::ScanInterval => ("cameras", "How often cameras on the network are looked for"),
        Target::Retry => ("cameras", "Try a published output again at once"),
        Target::Streaming => match verb {
            Verb::Post => ("cameras", "Keep a camera's stream running though nobody watches"),
            Verb::Delete => ("cameras", "End that; viewers keep their streams"),
            _ => ("cameras", "Whether a camera's stream is kept running"),
        },
        Target::Restart => ("cameras", "Begin anew with this camera, without waiting for a back-off"),
        Target::Transforms if verb == Verb::Put => {
            ("cameras", "Change rotation, flip, overlay and privacy masks while it runs; all of them at once")
        }
        Target::Transforms if verb == Verb::Delete => {
            ("cameras", "Go back to the rotation, flip, overlay and masks of the configuration")
        }
        Target::Transforms => ("cameras", "Rotation, flip, overlay and privacy masks of a camera"),
        Target::Events => ("cameras", "How everything is, pushed as server-sent events"),
        Target::WebrtcConfig => ("livekit", "Where LiveKit is, with ICE servers; notes say what is missing"),
        Target::ViewerToken => ("livekit", "A token to watch a room"),
        Target::StandardToken => ("livekit", "The same, as LiveKit's clients ask: a standard token endpoint"),
        Target::Stats => ("system", "The machine in a few figures"),
        Target::SystemMetrics => ("system", "The machine: processor, memory, disk, network, throttling"),
        Target::Recordings => ("recordings", "Recordings on disk, the newest first"),
        Target::Recording if verb == Verb::Delete => ("recordings", "Delete a recording"),
        Target::Recording => ("recordings", "One recording"),
        Target::KeepRecording if verb == Verb::Delete => {
            ("recordings", "Let retention delete a recording again")
        }
        Target::KeepRecording => ("recordings", "Keep a recording: retention leaves it alone"),
        Target::CameraRecording => match verb {
            Verb::Post => ("recordings", "Start to record a camera"),
            Verb::Delete => ("recordings", "Stop to record a camera"),
            _ => ("recordings", "Whether a camera is being recorded"),
        },
        Target::Timelapse => match verb {
            Verb::Post => ("recordings", "Start a timelapse of a camera"),
            Verb::Delete => ("recordings", "Stop a timelapse"),
            _ => ("recordings", "How a camera's timelapse is, or how its last one was"),
        },
        Target::TakeSnapshot => ("recordings", "Take a picture and store it"),
        Target::Snapshots => ("recordings", "Snapshots on disk, the newest first"),
        Target::StoredSnapshot if verb == Verb::Delete => ("recordings", "Delete a snapshot"),
        Target::StoredSnapshot => ("recordings", "One snapshot"),
        Target::Storage => ("recordings", "What is kept where, and what room there is"),
        Target::Retention if verb == Verb::Patch => {
            ("recordings", "Change what is deleted by itself: keys that are not named stay")
        }
        Target::Retention => ("recordings", "What is deleted by itself"),
        Target::Cleanup => ("recordings", "Delete what retention does not want, now"),
        Target::RecordingFile => ("recordings", "A recording's file; ?download to save it"),
        Target::RecordingPlaylist => {
            ("recordings", "An HLS playlist of a recording, also while it is being written")
        }
        Target::SnapshotFile => ("recordings", "A snapshot's file; ?download to save it"),
        Target::Printers if verb == Verb::Post => ("printers", "Add a printer"),
        Target::Printers => ("printers", "All printers, the first that was added first"),
        Target::Printer => match verb {
            Verb::Put => ("printers", "Change a printer; without accessCode it keeps the one that it has"),
            Verb::Delete => ("printers", "Delete a printer: its streams and connections end"),
            _ => ("printers", "One printer"),
        },
        Target::PrinterStatus => ("printers", "What a printer is doing"),
        Target::PrinterStream => ("printers", "What a printer is doing, pushed as server-sent events"),
        Target::PrinterCommand => ("printers", "Have a printer do something"),
        Target::PrinterCertificate => {
            ("printers", "Trust the certificate that a printer shows in place of the one that is known")
        }
        Target::PrinterTest if path.contains("{id}") => {
            ("printers", "Try changes to a printer; without accessCode with the one that it has")
        }
        Target::PrinterTest => ("printers", "Try a printer before it is added"),
        Target::FoundPrinters => ("printers", "Printers that announce themselves on the network; ask again"),
        Target::Stepper(ask) => ("stepper", ask.summary()),
        Target::Nodes => match (verb, path.contains("{id}")) {
            (Verb::Post, _) => ("fleet", "Register a node"),
            (Verb::Put, _) => ("fleet", "Change a node: what is not sent stays, the whole is validated"),
            (Verb::Delete, _) => ("fleet", "Delete a node"),
            (_, true) => ("fleet", "One node"),
            _ => ("fleet", "All nodes"),
        },
        Target::NodeStatus => ("fleet", "How a node is, by its /health, /ready and /metrics"),
        Target::NodeAction => ("fleet", "Pass an action on to a node, and its answer back"),
        Target::Overview => ("fleet", "All nodes and how they are"),
        Target::Action => ("fleet", "Do what a manager asks: restart, snapshot, start_recording, …"),
        Target::OpenApi => ("pages", "This document"),
        Target::Session => ("access", "Who asks, and what they may do"),
        Target::Login => ("access", "Log in a browser: a cookie for a name and password, or for a key"),
        Target::Logout => ("access", "End the browser's session"),
        Target::Viewers => ("cameras", "Who watches this camera by WebRTC, and how well it reaches them"),
        Target::Whep => ("webrtc", "WHEP: an offer makes a session"),
        Target::WhepSession if verb == Verb::Delete => ("webrtc", "WHEP: end a session"),
        Target::WhepSession => ("webrtc", "WHEP: trickle candidates, or restart ICE"),
        Target::Signalling => ("webrtc", "Signalling of camera-streamer and OctoPrint"),
        Target::Go2rtc => ("webrtc", "Signalling of go2rtc: WHEP, a description as JSON, or bare SDP"),
        Target::Go2rtcSocket => ("webrtc", "Signalling of go2rtc by WebSocket"),
        Target::Rpc => ("cameras", "JSON-RPC 2.0 by WebSocket; rpc.discover describes it (OpenRPC)"),
    };
    let mut operation = OperationBuilder::new().tag(tag).summary(Some(summary));
    for name in ["id", "file", "session", "action"] {
        if path.contains(&format!("{{{name}}}")) {
            operation = operation.parameter(text(name, ParameterIn::Path, Required::True));
        }
    }
    if matches!(target, Target::Page | Target::Webcam) {
        let action = text("action", ParameterIn::Query, Required::False);
        operation = operation.parameter(action.description(Some("stream or snapshot")));
    }
    if matches!(target, Target::Page | Target::Webcam | Target::Stream) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name("fps")
                .parameter_in(ParameterIn::Query)
                .description(Some("Pictures per second at most, 0.1 to 120"))
                .schema(Some(ObjectBuilder::new().schema_type(Type::Number))),
        );
    }
    if target == Target::Ready {
        let camera = text("camera", ParameterIn::Query, Required::False);
        operation =
            operation.parameter(camera.description(Some("The camera that decides; default: the first")));
    }
    if target == Target::Transforms && verb != Verb::Get {
        let restart = text("restart", ParameterIn::Query, Required::False);
        operation =
            operation.parameter(restart.description(Some(
                "true: also when encoders have to begin anew for it, which is 409 otherwise",
            )));
    }
    if matches!(target, Target::Go2rtc | Target::Go2rtcSocket) {
        let source = text("src", ParameterIn::Query, Required::False);
        operation = operation.parameter(source.description(Some("The camera; default: the first")));
    }
    if target == Target::WhepSession && verb == Verb::Patch {
        let etag = text("If-Match", ParameterIn::Header, Required::True);
        operation = operation.parameter(etag.description(Some("The session's ETag, or *")));
    }
    if target == Target::ViewerToken {
        for (name, what) in [
            ("room", "Default: the first room that viewers may ask for"),
            ("identity", "Gets a random ending: see the answer"),
        ] {
            let parameter = text(name, ParameterIn::Query, Required::False);
            operation = operation.parameter(parameter.description(Some(what)));
        }
    }
    if matches!(target, Target::Recordings | Target::Snapshots) {
        for (name, what) in [
            ("camera", "Only of this camera"),
            ("from", "Those that reach beyond this time (RFC 3339)"),
            ("to", "Those that begin before this time (RFC 3339)"),
            ("kept", "true or false"),
            ("limit", "At most so many, 1000 at most; default: 100"),
            ("offset", "After so many"),
        ] {
            let parameter = text(name, ParameterIn::Query, Required::False);
            operation = operation.parameter(parameter.description(Some(what)));
        }
    }
    if matches!(
        (target, verb),
        (Target::Printers | Target::Printer | Target::PrinterStatus | Target::PrinterStream, Verb::Get)
    ) {
        let full = text("full", ParameterIn::Query, Required::False);
        operation = operation.parameter(full.description(Some("1: with everything that is known")));
    }
    if target == Target::PrinterStream {
        let last = text("Last-Event-ID", ParameterIn::Header, Required::False);
        operation = operation.parameter(last.description(Some("The event that the client has already")));
    }
    if let Some(body) = body(verb, target) {
        operation = operation.request_body(Some(body));
    }
    if target == Target::Hls {
        for (name, what) in [
            ("_HLS_msn", "Low-latency playlists: answer when the list has this media sequence number"),
            ("_HLS_part", "With _HLS_msn: answer when the list has this part of it, 0 being the first"),
        ] {
            let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .description(Some(what))
                    .schema(Some(number)),
            );
        }
    }
    if target == Target::Ready {
        operation = operation.description(Some(
            "A camera with idle = \"close\" is ready while nobody watches and it is closed; camera_active \
             is false then.",
        ));
    }
    if let Some(role) = door::needs(target, verb == Verb::Get) {
        let login = format!("Once logins are configured: the role {}", role.name());
        operation =
            operation.response("401", error(&login)).response("403", error("Another role, or origin"));
    }
    for (status, response) in responses(route) {
        operation = operation.response(status, response);
    }
    operation.build()
}

fn text(name: &str, place: ParameterIn, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// What is sent with a request.
fn body(verb: Verb, target: Target) -> Option<RequestBody> {
    let sdp = || ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
    let message = || ContentBuilder::new().schema(Some(Ref::from_schema_name(Message::name()))).build();
    let body = RequestBodyBuilder::new().required(Some(Required::True));
    Some(match (target, verb) {
        (Target::Whep | Target::Go2rtc, _) => {
            body.content("application/sdp", sdp()).content("application/json", message()).build()
        }
        (Target::WhepSession, Verb::Patch) => body.content("application/trickle-ice-sdpfrag", sdp()).build(),
        (Target::Change, _) => {
            let schema = Ref::from_schema_name(Settings::name());
            body.content("application/json", ContentBuilder::new().schema(Some(schema)).build()).build()
        }
        (Target::SetControls, _) => {
            let schema = Ref::from_schema_name(ControlValues::name());
            body.content("application/json", ContentBuilder::new().schema(Some(schema)).build()).build()
        }
        (Target::Transforms, Verb::Put) => {
            let schema = Ref::from_schema_name(Transforms::name());
            body.content("application/json", ContentBuilder::new().schema(Some(schema)).build()).build()
        }
        (Target::ExternalStreams, Verb::Post) => needed::<NewStream>(),
        (Target::ScanInterval, Verb::Put) => needed::<ScanInterval>(),
        (Target::Discover, _) => optional::<LookFor>(),
        (Target::Login, _) => {
            let schema = Ref::from_schema_name(Login::name());
            body.content("application/json", ContentBuilder::new().schema(Some(schema)).build()).build()
        }
        (Target::Signalling, _) => body.content("application/json", message()).build(),
        (Target::StandardToken, _) => {
            let schema = Ref::from_schema_name(TokenRequest::name());
            let token = ContentBuilder::new().schema(Some(schema)).build();
            RequestBodyBuilder::new().content("application/json", token).build()
        }
        (Target::Printers, Verb::Post) | (Target::Printer, Verb::Put) | (Target::PrinterTest, _) => {
            needed::<PrinterSettings>()
        }
        (Target::PrinterCommand, _) => needed::<Command>(),
        (Target::PrinterCertificate, _) => optional::<AcceptCertificate>(),
        (Target::CameraRecording, Verb::Post) => optional::<StartRecording>(),
        (Target::Timelapse, Verb::Post) => optional::<StartTimelapse>(),
        (Target::TakeSnapshot, _) => optional::<TakeSnapshot>(),
        (Target::Retention, Verb::Patch) => optional::<Retention>(),
        (Target::Nodes, Verb::Post | Verb::Put) | (Target::NodeAction, _) => {
            let object = ObjectBuilder::new().schema_type(Type::Object);
            let content = ContentBuilder::new().schema(Some(object)).build();
            RequestBodyBuilder::new().content("application/json", content).build()
        }
        (Target::Action, _) => optional::<ActionBody>(),
        (Target::Stepper(Ask::Move), _) => optional::<Move>(),
        (Target::Stepper(Ask::Speed | Ask::Jog), _) => optional::<Speed>(),
        _ => return None,
    })
}

fn needed<T: ToSchema>() -> RequestBody {
    let mut body = optional::<T>();
    body.required = Some(Required::True);
    body
}

fn optional<T: ToSchema>() -> RequestBody {
    let schema = Ref::from_schema_name(T::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    RequestBodyBuilder::new().content("application/json", content).build()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(build()).unwrap()
    }

    #[test]
    fn the_document_lists_every_route_with_its_parameters_and_answers() {
        let document = document();
        let listed = document["paths"].as_object().unwrap().values();
        let operations = listed.map(|path| path.as_object().unwrap().len()).sum::<usize>();
        assert_eq!(operations, ROUTES.len());
        for route in ROUTES {
            let verb = match route.verb {
                Verb::Get => "get",
                Verb::Post => "post",
                Verb::Put => "put",
                Verb::Patch => "patch",
                Verb::Delete => "delete",
            };
            let operation = &document["paths"][route.path][verb];
            assert!(operation["summary"].is_string(), "{}", route.path);
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{}", route.path);
            for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = name.trim_end_matches('}');
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters.iter().any(|it| it["name"] == name && it["in"] == "path"),
                    "{}",
                    route.path
                );
            }
        }
    }

    #[test]
    fn the_directives_of_a_blocking_reload_are_optional_numbers_of_hls_alone() {
        let document = document();
        let hls = &document["paths"]["/hls/{id}/{file}"]["get"];
        for name in ["_HLS_msn", "_HLS_part"] {
            let parameters = hls["parameters"].as_array().unwrap();
            let found = parameters.iter().find(|it| it["name"] == name).unwrap();
            assert_eq!((&found["in"], &found["schema"]["type"]), (&"query".into(), &"integer".into()));
            assert_ne!(found["required"], true, "{name}");
        }
        for status in ["400", "404", "416", "503"] {
            assert!(hls["responses"][status].is_object(), "{status}");
        }
        let elsewhere = document["paths"]["/stream.mjpg"]["get"]["parameters"].to_string();
        assert!(!elsewhere.contains("_HLS"));
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        fn names(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(name)) = map.get("$ref") {
                        found.push(name.clone());
                    }
                    map.values().for_each(|value| names(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| names(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        names(&document, &mut found);
        assert!(found.iter().any(|name| name.ends_with("/Snapshot")), "the states of a camera are described");
        for name in found {
            let pointer = name.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{name}");
        }
    }
}
