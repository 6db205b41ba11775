//! A real LiveKit server in the test's namespace, with its room API. The server is the one that
//! `scripts/livekit.sh` finds; without one the test is left out by name.
//!
//! It answers HTTP on 127.0.0.1 and on [`namespace::ADDRESS`]; media goes to one UDP port of the latter.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};
use serde_json::{Value, json};

use super::{Process, Response, free_port, get, namespace, request, skipped, wait_for, wait_until};

pub const KEY: &str = "rigkey";
pub const SECRET: &str = "rig-secret-of-at-least-32-characters-000";

const STARTS: Duration = Duration::from_secs(20);
const TOKEN: Duration = Duration::from_secs(600);

/// What LiveKit offers ingresses with; without it LiveKit refuses to make any.
#[derive(Clone, Debug)]
pub struct Ingresses {
    /// `host:port` of a [`super::Redis`].
    pub redis: String,
    /// Of 127.0.0.1: an [`super::Ingress`] listens there, or a [`super::RtmpServer`] in its place.
    pub rtmp_port: u16,
    pub whip_port: u16,
}

impl Ingresses {
    /// The `url` of what CreateIngress makes; the stream key follows after a `/`.
    pub fn rtmp_base_url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.rtmp_port)
    }

    pub fn whip_base_url(&self) -> String {
        format!("http://127.0.0.1:{}/w", self.whip_port)
    }
}

#[derive(Debug)]
pub struct LiveKit {
    port: u16,
    udp_port: u16,
    binary: PathBuf,
    process: Process,
    directory: tempfile::TempDir,
}

impl LiveKit {
    /// Starts it and returns once it answers; `None` when the test is left out.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, None)
    }

    pub fn start_with(test: &str, ingresses: Option<&Ingresses>) -> Option<Self> {
        assert!(namespace::within(), "{test}: LiveKit is started in a namespace only");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/livekit.sh");
        let found = Command::new(script).output().expect("scripts/livekit.sh can be run");
        if !found.status.success() {
            skipped(test, String::from_utf8_lossy(&found.stderr).trim());
            return None;
        }
        let binary = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, udp_port) = (free_port(), free_port());
        let config = config(port, udp_port, ingresses);
        std::fs::write(directory.path().join("livekit.yaml"), config).expect("its configuration");
        let process = spawn(&binary, directory.path());
        let mut server = Self { port, udp_port, binary, process, directory };
        server.wait_answering();
        Some(server)
    }

    fn wait_answering(&mut self) {
        wait_until("LiveKit answers", STARTS, || {
            if let Some(status) = self.process.try_wait() {
                panic!("LiveKit ended by itself: {status}");
            }
            get(self.port, "/").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// For publishers and browsers: `ws://10.77.0.1:…`.
    pub fn url(&self) -> String {
        format!("ws://{}:{}", namespace::ADDRESS, self.port)
    }

    pub fn http_url(&self) -> String {
        format!("http://{}:{}", namespace::ADDRESS, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of all media, for [`namespace::Trouble`].
    pub fn udp_port(&self) -> u16 {
        self.udp_port
    }

    /// For signals: [`Process::stop`] freezes it, [`Process::cont`] thaws it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it logged since it was last started.
    pub fn log(&self) -> String {
        self.process.output()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A new server, with no rooms, where the killed one was; returns once it answers.
    pub fn come_back(&mut self) {
        self.process.kill();
        self.process = spawn(&self.binary, self.directory.path());
        self.wait_answering();
    }

    /// A token with these grants, signed with the server's key.
    pub fn token_with(&self, identity: &str, grants: VideoGrants, ttl: Duration) -> String {
        sign(KEY, SECRET, identity, grants, ttl)
    }

    /// Joins the room, publishes, and hears nobody.
    pub fn publisher_token(&self, room: &str, identity: &str) -> String {
        let grants = VideoGrants { can_subscribe: false, ..join(room) };
        self.token_with(identity, grants, TOKEN)
    }

    /// Joins the room and watches.
    pub fn viewer_token(&self, room: &str, identity: &str) -> String {
        let grants = VideoGrants { can_publish: false, can_publish_data: false, ..join(room) };
        self.token_with(identity, grants, TOKEN)
    }

    /// CreateIngress with this input, `RTMP_INPUT` or `WHIP_INPUT`; the IngressInfo: `url`, `stream_key`, ….
    #[track_caller]
    pub fn create_ingress(&self, input: &str, room: &str, identity: &str) -> Value {
        let body = json!({
            "input_type": input, "name": identity, "room_name": room, "participant_identity": identity,
        });
        let grants = VideoGrants { ingress_admin: true, ..VideoGrants::default() };
        let answer = self.twirp("Ingress", "CreateIngress", grants, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Asks `livekit.<service>/<method>` with these grants; the answer whatever it is.
    #[track_caller]
    pub fn twirp(&self, service: &str, method: &str, grants: VideoGrants, body: &Value) -> Response {
        let token = self.token_with("rig", grants, TOKEN);
        let headers = [("Authorization", &*format!("Bearer {token}")), ("Content-Type", "application/json")];
        let path = format!("/twirp/livekit.{service}/{method}");
        request(self.port, "POST", &path, &headers, body.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[track_caller]
    fn room(&self, room: &str, method: &str, body: &Value) -> Response {
        let grants = VideoGrants {
            room_admin: true,
            room_create: true,
            room_list: true,
            room: room.to_owned(),
            ..VideoGrants::default()
        };
        self.twirp("RoomService", method, grants, body)
    }

    #[track_caller]
    pub fn create_room(&self, room: &str) {
        let answer = self.room(room, "CreateRoom", &json!({ "name": room }));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// All in it are disconnected.
    #[track_caller]
    pub fn delete_room(&self, room: &str) {
        let answer = self.room(room, "DeleteRoom", &json!({ "room": room }));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The names of the rooms there are.
    #[track_caller]
    pub fn rooms(&self) -> Vec<String> {
        let answer = self.room("", "ListRooms", &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let rooms = answer.json()["rooms"].as_array().cloned().unwrap_or_default();
        rooms.iter().filter_map(|room| room["name"].as_str().map(str::to_owned)).collect()
    }

    /// Who is in the room, hidden ones too, as LiveKit's ParticipantInfo; nobody when there is no such room.
    #[track_caller]
    pub fn participants(&self, room: &str) -> Vec<Value> {
        let answer = self.room(room, "ListParticipants", &json!({ "room": room }));
        if answer.status == 404 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["participants"].as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    pub fn participant(&self, room: &str, identity: &str) -> Option<Value> {
        self.participants(room).into_iter().find(|participant| participant["identity"] == identity)
    }

    /// Disconnects this one.
    #[track_caller]
    pub fn remove_participant(&self, room: &str, identity: &str) {
        let body = json!({ "room": room, "identity": identity });
        let answer = self.room(room, "RemoveParticipant", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The video track of this participant (LiveKit's TrackInfo).
    #[track_caller]
    pub fn video(&self, room: &str, identity: &str) -> Option<Value> {
        let participant = self.participant(room, identity)?;
        participant["tracks"].as_array()?.iter().find(|track| track["type"] == "VIDEO").cloned()
    }

    /// Waits until this participant has one.
    #[track_caller]
    pub fn wait_video(&self, room: &str, identity: &str, within: Duration) -> Value {
        wait_for(&format!("{identity} has a video track in {room}"), within, || self.video(room, identity))
    }
}

/// What lets one join this room, publish and subscribe.
pub fn join(room: &str) -> VideoGrants {
    VideoGrants { room_join: true, room: room.to_owned(), ..VideoGrants::default() }
}

/// A token signed with any key: for wrong ones.
pub fn sign(key: &str, secret: &str, identity: &str, grants: VideoGrants, ttl: Duration) -> String {
    let token = AccessToken::with_api_key(key, secret).with_identity(identity).with_ttl(ttl);
    token.with_grants(grants).to_jwt().expect("a token")
}

/// Media on the namespace's address only, no port for ICE over TCP, and a STUN server that is none: with
/// none in the configuration LiveKit names public ones to its clients.
fn config(port: u16, udp_port: u16, ingresses: Option<&Ingresses>) -> String {
    let mut config = json!({
        "port": port,
        "bind_addresses": ["127.0.0.1", namespace::ADDRESS],
        "keys": { KEY: SECRET },
        "rtc": {
            "udp_port": udp_port,
            "tcp_port": 0,
            "use_external_ip": false,
            "node_ip": namespace::ADDRESS,
            "interfaces": { "includes": [namespace::INTERFACE] },
            "stun_servers": ["127.0.0.1:3478"],
        },
    });
    if let Some(ingresses) = ingresses {
        config["redis"] = json!({ "address": ingresses.redis });
        config["ingress"] =
            json!({ "rtmp_base_url": ingresses.rtmp_base_url(), "whip_base_url": ingresses.whip_base_url() });
    }
    // JSON is YAML.
    config.to_string()
}

fn spawn(binary: &Path, directory: &Path) -> Process {
    let mut command = Command::new(binary);
    command.arg("--config").arg(directory.join("livekit.yaml")).current_dir(directory);
    Process::spawn("livekit-server", &mut command)
}
