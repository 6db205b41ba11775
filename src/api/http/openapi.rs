//! `/api/openapi.json`: made from the table of routes, so that it lists what the router has.

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, Paths,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
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

fn responses(route: &Route) -> Vec<(&'static str, Response)> {
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

fn error(description: &str) -> Response {
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
