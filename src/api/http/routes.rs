//! The table of all paths: what the router knows and what the OpenAPI document lists are this.
//!
//! Pure: [`find`] maps a method and a path to a target. The many spellings are those that printers'
//! interfaces and cameras' users have configured for years.

use warp::http::Method;

use super::stepper::Ask;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `/`: the page, or by `?action=` a stream or a snapshot.
    Page,
    /// The page that needs no script, whether the dashboard was built or not.
    Plain,
    /// Files of the dashboard under `assets/`.
    Asset,
    Icon,
    /// `/webcam/`: only by `?action=`.
    Webcam,
    Stream,
    Snapshot,
    Hls,
    Health,
    Ready,
    Metrics,
    CameraStatus,
    Cameras,
    Camera,
    Viewers,
    /// Forgets a discovered camera that is away.
    Forget,
    /// Changes the settings of a discovered camera.
    Change,
    Controls,
    SetControls,
    Capabilities,
    Restart,
    /// Whether a camera's stream is kept running; starts and ends that.
    Streaming,
    /// Cameras that were added by API.
    ExternalStreams,
    ExternalStream,
    /// How often cameras on the network are looked for.
    ScanInterval,
    /// Looks for them now.
    Discover,
    /// What is done to a camera's pictures.
    Transforms,
    /// Of a published output.
    Retry,
    Events,
    WebrtcConfig,
    /// `GET /webrtc/token`, for our pages and those like them.
    ViewerToken,
    /// `POST /webrtc/token`, as LiveKit's clients ask.
    StandardToken,
    Stats,
    SystemMetrics,
    /// The list of recordings on disk.
    Recordings,
    Recording,
    KeepRecording,
    /// Whether a camera is being recorded; starts and stops it.
    CameraRecording,
    /// The timelapse of a camera; starts and stops it.
    Timelapse,
    TakeSnapshot,
    /// The list of snapshots on disk.
    Snapshots,
    StoredSnapshot,
    Storage,
    Retention,
    Cleanup,
    RecordingFile,
    /// By which a browser plays a recording while it is being written.
    RecordingPlaylist,
    SnapshotFile,
    /// The list of printers; adds one.
    Printers,
    /// One printer; changes and deletes it.
    Printer,
    PrinterStatus,
    /// The same, pushed as server-sent events.
    PrinterStream,
    PrinterCommand,
    /// Trusts the certificate that a printer shows now.
    PrinterCertificate,
    /// Tries a printer before it is added or changed.
    PrinterTest,
    /// Printers of the network.
    FoundPrinters,
    /// The motor that turns the camera.
    Stepper(Ask),
    /// The nodes of a fleet.
    Nodes,
    NodeStatus,
    NodeAction,
    Overview,
    /// What a manager of many nodes asks of this one.
    Action,
    OpenApi,
    /// Who asks.
    Session,
    Login,
    Logout,
    /// Where offers are posted (WHEP).
    Whep,
    /// One viewer's session.
    WhepSession,
    /// camera-streamer's signalling, and OctoPrint's.
    Signalling,
    /// go2rtc's signalling over HTTP.
    Go2rtc,
    /// go2rtc's signalling over a WebSocket.
    Go2rtcSocket,
    /// JSON-RPC over a WebSocket.
    Rpc,
}

/// How a path is asked. `Get` includes HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// For `Allow` and preflight answers.
    const fn allow(self) -> &'static str {
        match self {
            Verb::Get => "GET, HEAD",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Verb::Get => matches!(*method, Method::GET | Method::HEAD),
            Verb::Post => *method == Method::POST,
            Verb::Put => *method == Method::PUT,
            Verb::Patch => *method == Method::PATCH,
            Verb::Delete => *method == Method::DELETE,
        }
    }
}

/// One path. `{name}` stands for one segment.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub verb: Verb,
    pub path: &'static str,
    pub target: Target,
}

const fn get(path: &'static str, target: Target) -> Route {
    Route { verb: Verb::Get, path, target }
}

const fn post(path: &'static str, target: Target) -> Route {
    Route { verb: Verb::Post, path, target }
}

const fn put(path: &'static str, target: Target) -> Route {
    Route { verb: Verb::Put, path, target }
}

const fn patch(path: &'static str, target: Target) -> Route {
    Route { verb: Verb::Patch, path, target }
}

const fn delete(path: &'static str, target: Target) -> Route {
    Route { verb: Verb::Delete, path, target }
}

pub const ROUTES: &[Route] = &[
    get("/", Target::Page),
    get("/plain", Target::Plain),
    get("/assets/{file}", Target::Asset),
    get("/icon.svg", Target::Icon),
    get("/webcam/", Target::Webcam),
    get("/stream.mjpg", Target::Stream),
    get("/stream", Target::Stream),
    get("/camera/stream.mjpg", Target::Stream),
    get("/cameras/{id}/stream.mjpg", Target::Stream),
    get("/snapshot.jpg", Target::Snapshot),
    get("/snapshot", Target::Snapshot),
    get("/camera/snapshot", Target::Snapshot),
    get("/cameras/{id}/snapshot.jpg", Target::Snapshot),
    get("/hls/{id}/{file}", Target::Hls),
    get("/health", Target::Health),
    get("/healthz", Target::Health),
    get("/health/live", Target::Health),
    get("/health/ready", Target::Ready),
    get("/health/detailed", Target::Ready),
    get("/ready", Target::Ready),
    get("/metrics", Target::Metrics),
    get("/camera/status", Target::CameraStatus),
    get("/api/cameras", Target::Cameras),
    get("/api/cameras/{id}", Target::Camera),
    patch("/api/cameras/{id}", Target::Change),
    delete("/api/cameras/{id}", Target::Forget),
    get("/api/cameras/{id}/controls", Target::Controls),
    put("/api/cameras/{id}/controls", Target::SetControls),
    get("/api/cameras/{id}/capabilities", Target::Capabilities),
    get("/api/cameras/{id}/viewers", Target::Viewers),
    post("/api/cameras/{id}/restart", Target::Restart),
    get("/api/cameras/{id}/streaming", Target::Streaming),
    post("/api/cameras/{id}/streaming", Target::Streaming),
    delete("/api/cameras/{id}/streaming", Target::Streaming),
    get("/api/cameras/{id}/transforms", Target::Transforms),
    put("/api/cameras/{id}/transforms", Target::Transforms),
    delete("/api/cameras/{id}/transforms", Target::Transforms),
    get("/api/external-streams", Target::ExternalStreams),
    post("/api/external-streams", Target::ExternalStreams),
    get("/api/external-streams/discovery", Target::ScanInterval),
    post("/api/external-streams/discovery", Target::Discover),
    put("/api/external-streams/discovery", Target::ScanInterval),
    get("/api/external-streams/{id}", Target::ExternalStream),
    delete("/api/external-streams/{id}", Target::ExternalStream),
    post("/api/outputs/{id}/retry", Target::Retry),
    get("/api/events", Target::Events),
    get("/webrtc/config", Target::WebrtcConfig),
    get("/webrtc/token", Target::ViewerToken),
    post("/webrtc/token", Target::StandardToken),
    get("/api/stats", Target::Stats),
    get("/api/system/metrics", Target::SystemMetrics),
    get("/api/cameras/{id}/recording", Target::CameraRecording),
    post("/api/cameras/{id}/recording", Target::CameraRecording),
    delete("/api/cameras/{id}/recording", Target::CameraRecording),
    get("/api/cameras/{id}/timelapse", Target::Timelapse),
    post("/api/cameras/{id}/timelapse", Target::Timelapse),
    delete("/api/cameras/{id}/timelapse", Target::Timelapse),
    post("/api/cameras/{id}/snapshots", Target::TakeSnapshot),
    get("/api/recordings", Target::Recordings),
    get("/api/recordings/{file}", Target::Recording),
    delete("/api/recordings/{file}", Target::Recording),
    post("/api/recordings/{file}/keep", Target::KeepRecording),
    delete("/api/recordings/{file}/keep", Target::KeepRecording),
    get("/api/snapshots", Target::Snapshots),
    get("/api/snapshots/{file}", Target::StoredSnapshot),
    delete("/api/snapshots/{file}", Target::StoredSnapshot),
    get("/api/storage", Target::Storage),
    get("/api/storage/retention", Target::Retention),
    patch("/api/storage/retention", Target::Retention),
    post("/api/storage/cleanup", Target::Cleanup),
    get("/files/recordings/{file}", Target::RecordingFile),
    get("/files/recordings/{file}/index.m3u8", Target::RecordingPlaylist),
    get("/files/snapshots/{file}", Target::SnapshotFile),
    get("/api/printers", Target::Printers),
    post("/api/printers", Target::Printers),
    get("/api/printers/found", Target::FoundPrinters),
    post("/api/printers/test", Target::PrinterTest),
    get("/api/printers/{id}", Target::Printer),
    put("/api/printers/{id}", Target::Printer),
    delete("/api/printers/{id}", Target::Printer),
    get("/api/printers/{id}/status", Target::PrinterStatus),
    get("/api/printers/{id}/status/stream", Target::PrinterStream),
    post("/api/printers/{id}/command", Target::PrinterCommand),
    post("/api/printers/{id}/certificate", Target::PrinterCertificate),
    post("/api/printers/{id}/test", Target::PrinterTest),
    get("/api/stepper/status", Target::Stepper(Ask::Status)),
    post("/api/stepper/move", Target::Stepper(Ask::Move)),
    post("/api/stepper/home", Target::Stepper(Ask::Home)),
    post("/api/stepper/stop", Target::Stepper(Ask::Stop)),
    post("/api/stepper/enable", Target::Stepper(Ask::Enable)),
    post("/api/stepper/disable", Target::Stepper(Ask::Disable)),
    post("/api/stepper/speed", Target::Stepper(Ask::Speed)),
    post("/api/stepper/jog", Target::Stepper(Ask::Jog)),
    get("/api/nodes", Target::Nodes),
    post("/api/nodes", Target::Nodes),
    get("/api/nodes/{id}", Target::Nodes),
    put("/api/nodes/{id}", Target::Nodes),
    delete("/api/nodes/{id}", Target::Nodes),
    get("/api/nodes/{id}/status", Target::NodeStatus),
    post("/api/nodes/{id}/actions/{action}", Target::NodeAction),
    get("/api/management/overview", Target::Overview),
    post("/api/actions/{action}", Target::Action),
    get("/api/openapi.json", Target::OpenApi),
    get("/api/session", Target::Session),
    post("/api/login", Target::Login),
    post("/api/logout", Target::Logout),
    // WHEP, and WHEP at `<stream_url>/whep` for every stream_url that people have configured.
    post("/cameras/{id}/whep", Target::Whep),
    patch("/cameras/{id}/whep/{session}", Target::WhepSession),
    delete("/cameras/{id}/whep/{session}", Target::WhepSession),
    post("/whep", Target::Whep),
    patch("/whep/{session}", Target::WhepSession),
    delete("/whep/{session}", Target::WhepSession),
    post("/stream/whep", Target::Whep),
    patch("/stream/whep/{session}", Target::WhepSession),
    delete("/stream/whep/{session}", Target::WhepSession),
    post("/stream.mjpg/whep", Target::Whep),
    patch("/stream.mjpg/whep/{session}", Target::WhepSession),
    delete("/stream.mjpg/whep/{session}", Target::WhepSession),
    post("/webcam/whep", Target::Whep),
    patch("/webcam/whep/{session}", Target::WhepSession),
    delete("/webcam/whep/{session}", Target::WhepSession),
    post("/camera/whep", Target::Whep),
    patch("/camera/whep/{session}", Target::WhepSession),
    delete("/camera/whep/{session}", Target::WhepSession),
    post("/camera/stream.mjpg/whep", Target::Whep),
    patch("/camera/stream.mjpg/whep/{session}", Target::WhepSession),
    delete("/camera/stream.mjpg/whep/{session}", Target::WhepSession),
    post("/webrtc/whep", Target::Whep),
    patch("/webrtc/whep/{session}", Target::WhepSession),
    delete("/webrtc/whep/{session}", Target::WhepSession),
    post("/cameras/{id}/stream.mjpg/whep", Target::Whep),
    patch("/cameras/{id}/stream.mjpg/whep/{session}", Target::WhepSession),
    delete("/cameras/{id}/stream.mjpg/whep/{session}", Target::WhepSession),
    post("/cameras/{id}/webrtc/whep", Target::Whep),
    patch("/cameras/{id}/webrtc/whep/{session}", Target::WhepSession),
    delete("/cameras/{id}/webrtc/whep/{session}", Target::WhepSession),
    post("/cameras/{id}/webrtc", Target::Signalling),
    post("/webrtc", Target::Signalling),
    post("/webcam/webrtc", Target::Signalling),
    post("/camera/webrtc", Target::Signalling),
    post("/api/webrtc", Target::Go2rtc),
    get("/api/ws", Target::Go2rtcSocket),
    get("/ws", Target::Rpc),
];

/// What stands in a path for `{id}`, `{file}`, `{session}` and `{action}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    pub id: Option<&'a str>,
    pub file: Option<&'a str>,
    pub session: Option<&'a str>,
    pub action: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Route(Target, Params<'a>),
    /// OPTIONS on a path that exists.
    Preflight {
        allow: String,
        target: Target,
    },
    WrongMethod {
        allow: String,
    },
    Nothing,
}

/// The route of a request. A trailing slash makes no difference.
pub fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let mut allow = String::new();
    let mut there = None;
    for route in ROUTES {
        let Some(params) = fits(route.path, path) else { continue };
        if route.verb.takes(method) {
            return Found::Route(route.target, params);
        }
        there = Some(route.target);
        allow.push_str(route.verb.allow());
        allow.push_str(", ");
    }
    let Some(target) = there else { return Found::Nothing };
    allow.push_str("OPTIONS");
    match *method == Method::OPTIONS {
        true => Found::Preflight { allow, target },
        false => Found::WrongMethod { allow },
    }
}

fn fits<'a>(template: &str, path: &'a str) -> Option<Params<'a>> {
    let plain = |path: &str| path.len() - usize::from(path.ends_with('/'));
    let mut wanted = template[..plain(template)].split('/');
    let mut given = path[..plain(path)].split('/');
    let mut params = Params::default();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(params),
            (Some("{id}"), Some(id)) if !id.is_empty() => params.id = Some(id),
            (Some("{file}"), Some(file)) if !file.is_empty() => params.file = Some(file),
            (Some("{session}"), Some(session)) if !session.is_empty() => params.session = Some(session),
            (Some("{action}"), Some(action)) if !action.is_empty() => params.action = Some(action),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_leads_where_people_expect() {
        let first = Params::default();
        let front = Params { id: Some("front"), ..first };
        let table = [
            ("GET", "/", Found::Route(Target::Page, first)),
            ("HEAD", "/", Found::Route(Target::Page, first)),
            (
                "GET",
                "/assets/index-4f2a.js",
                Found::Route(Target::Asset, Params { file: Some("index-4f2a.js"), ..first }),
            ),
            ("GET", "/assets/", Found::Nothing),
            ("GET", "/assets/../fanlight.toml", Found::Nothing),
            ("GET", "/webcam", Found::Route(Target::Webcam, first)),
            ("GET", "/webcam/", Found::Route(Target::Webcam, first)),
            ("GET", "/stream.mjpg", Found::Route(Target::Stream, first)),
            ("GET", "/stream", Found::Route(Target::Stream, first)),
            ("GET", "/stream/", Found::Route(Target::Stream, first)),
            ("GET", "/camera/stream.mjpg", Found::Route(Target::Stream, first)),
            ("GET", "/cameras/front/stream.mjpg", Found::Route(Target::Stream, front)),
            ("HEAD", "/cameras/front/snapshot.jpg", Found::Route(Target::Snapshot, front)),
            ("GET", "/camera/snapshot", Found::Route(Target::Snapshot, first)),
            ("GET", "/camera/status", Found::Route(Target::CameraStatus, first)),
            (
                "GET",
                "/hls/front/stream.m3u8",
                Found::Route(Target::Hls, Params { file: Some("stream.m3u8"), ..front }),
            ),
            ("POST", "/api/cameras/front/restart", Found::Route(Target::Restart, front)),
            ("GET", "/api/cameras/front/restart", Found::WrongMethod { allow: "POST, OPTIONS".into() }),
            ("POST", "/stream.mjpg", Found::WrongMethod { allow: "GET, HEAD, OPTIONS".into() }),
            ("GET", "/webrtc/token", Found::Route(Target::ViewerToken, first)),
            ("POST", "/webrtc/token", Found::Route(Target::StandardToken, first)),
            (
                "OPTIONS",
                "/webrtc/token",
                Found::Preflight { allow: "GET, HEAD, POST, OPTIONS".into(), target: Target::StandardToken },
            ),
            ("DELETE", "/", Found::WrongMethod { allow: "GET, HEAD, OPTIONS".into() }),
            (
                "OPTIONS",
                "/snapshot.jpg",
                Found::Preflight { allow: "GET, HEAD, OPTIONS".into(), target: Target::Snapshot },
            ),
            ("POST", "/cameras/front/whep", Found::Route(Target::Whep, front)),
            ("POST", "/whep/", Found::Route(Target::Whep, first)),
            ("POST", "/webcam/whep", Found::Route(Target::Whep, first)),
            ("POST", "/cameras/front/stream.mjpg/whep", Found::Route(Target::Whep, front)),
            (
                "PATCH",
                "/cameras/front/whep/abc",
                Found::Route(Target::WhepSession, Params { session: Some("abc"), ..front }),
            ),
            (
                "DELETE",
                "/webrtc/whep/abc",
                Found::Route(Target::WhepSession, Params { session: Some("abc"), ..first }),
            ),
            ("GET", "/cameras/front/whep", Found::WrongMethod { allow: "POST, OPTIONS".into() }),
            ("GET", "/whep/abc", Found::WrongMethod { allow: "PATCH, DELETE, OPTIONS".into() }),
            (
                "OPTIONS",
                "/whep/abc",
                Found::Preflight { allow: "PATCH, DELETE, OPTIONS".into(), target: Target::WhepSession },
            ),
            ("POST", "/webrtc", Found::Route(Target::Signalling, first)),
            ("POST", "/cameras/front/webrtc", Found::Route(Target::Signalling, front)),
            ("POST", "/api/webrtc", Found::Route(Target::Go2rtc, first)),
            ("GET", "/ws", Found::Route(Target::Rpc, first)),
            ("GET", "/api/ws", Found::Route(Target::Go2rtcSocket, first)),
            ("OPTIONS", "/nowhere", Found::Nothing),
            ("GET", "/cameras//stream.mjpg", Found::Nothing),
            ("GET", "//", Found::Nothing),
            ("GET", "", Found::Route(Target::Page, first)),
            ("GET", "/stream.mjpg/more", Found::Nothing),
            ("GET", "/hls/front/", Found::Nothing),
            ("GET", "/../etc/passwd", Found::Nothing),
        ];
        for (method, path, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(find(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_path_of_the_table_is_found_by_itself() {
        for route in ROUTES {
            let method = match route.verb {
                Verb::Get => Method::GET,
                Verb::Post => Method::POST,
                Verb::Put => Method::PUT,
                Verb::Patch => Method::PATCH,
                Verb::Delete => Method::DELETE,
            };
            let path = route.path.replace("{id}", "x").replace("{file}", "y").replace("{session}", "z");
            assert!(
                matches!(find(&method, &path), Found::Route(target, _) if target == route.target),
                "{path}"
            );
        }
    }
}
