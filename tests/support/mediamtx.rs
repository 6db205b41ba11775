//! MediaMTX, twice: a stand-in for its control API with GStreamer's RTSP server behind it, which takes RECORD
//! on the paths that were made; and the real `mediamtx`, where it is on the PATH.
//!
//! The stand-in answers as the real one does in what matters here: orders are answered before they are
//! carried out, paths that were made are lost with a restart, an unknown path is 404.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use rtsp::prelude::*;
use serde_json::{Value, json};

use super::{Process, free_port, skipped, wait_until};

/// An order is carried out this much after it was answered.
const RELOAD: Duration = Duration::from_millis(200);
const STARTS: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    started: Mutex<String>,
    paths: Mutex<BTreeMap<String, Value>>,
    streams: Mutex<BTreeMap<String, Arc<Stream>>>,
    /// Every order as `METHOD path`.
    orders: Mutex<Vec<String>>,
    /// The API takes connections and says nothing.
    dumb: AtomicBool,
    /// What the API counts no longer grows.
    blind: AtomicBool,
    login: Option<(String, String)>,
}

#[derive(Debug, Default)]
struct Stream {
    online: AtomicBool,
    bytes: AtomicU64,
}

#[derive(Debug)]
pub struct MediaMtx {
    pub api_port: u16,
    pub rtsp_port: u16,
    state: Arc<State>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    main_loop: glib::MainLoop,
    threads: Vec<JoinHandle<()>>,
}

impl MediaMtx {
    pub fn start() -> Self {
        Self::of(None)
    }

    /// One that lets in only this user, at both doors.
    pub fn with_login(user: &str, password: &str) -> Self {
        Self::of(Some((user.to_owned(), password.to_owned())))
    }

    fn of(login: Option<(String, String)>) -> Self {
        gst::init().expect("GStreamer");
        let state = Arc::new(State { login, ..State::default() });
        let mut server = Self { api_port: free_port(), rtsp_port: free_port(), state, running: None };
        server.come_back();
        server
    }

    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.rtsp_port)
    }

    /// Both doors closed, all connections cut, everything that was ordered forgotten.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.store(true, Ordering::SeqCst);
        running.main_loop.quit();
        for thread in running.threads {
            let _ = thread.join();
        }
        self.state.paths.lock().expect("paths").clear();
        self.state.streams.lock().expect("streams").clear();
    }

    /// On the same ports.
    pub fn come_back(&mut self) {
        *self.state.started.lock().expect("started") = format!("{:?}", std::time::SystemTime::now());
        let stop = Arc::new(AtomicBool::new(false));
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&self.rtsp_port.to_string());
        if let Some((user, password)) = &self.state.login {
            let auth = rtsp::RTSPAuth::new();
            let token =
                rtsp::RTSPToken::builder().field(&**rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE, "publisher").build();
            auth.set_supported_methods(rtsp::gst_rtsp::RTSPAuthMethod::Basic);
            auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
            server.set_auth(Some(&auth));
        }
        let mounts = server.mount_points().expect("mount points");
        let door = server.attach(Some(&context)).expect("the port is free");
        let listening = {
            let main_loop = main_loop.clone();
            std::thread::spawn(move || {
                let _ = context.with_thread_default(|| main_loop.run());
                // The source of the listening socket, in a context of its own.
                if let Some(source) = context.find_source_by_id(&door) {
                    source.destroy();
                }
                server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
                // Lets what was removed go.
                for _ in 0..20 {
                    context.iteration(false);
                }
            })
        };
        let listener = TcpListener::bind(("127.0.0.1", self.api_port)).expect("the API's port is free");
        listener.set_nonblocking(true).expect("non-blocking");
        let (state, stopped) = (Arc::clone(&self.state), Arc::clone(&stop));
        let answering = std::thread::spawn(move || {
            let mut held = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((connection, _)) if state.dumb.load(Ordering::SeqCst) => held.push(connection),
                    Ok((connection, _)) => {
                        let _ = answer(connection, &state, &mounts);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        self.running = Some(Running { stop, main_loop, threads: vec![listening, answering] });
    }

    /// The path and its stream are gone, as when the server reads its file again.
    pub fn forget(&self, path: &str) {
        self.state.paths.lock().expect("paths").remove(path);
    }

    pub fn dumb(&self, dumb: bool) {
        self.state.dumb.store(dumb, Ordering::SeqCst);
    }

    pub fn blind(&self, blind: bool) {
        self.state.blind.store(blind, Ordering::SeqCst);
    }

    pub fn orders(&self) -> Vec<String> {
        self.state.orders.lock().expect("orders").clone()
    }

    pub fn path(&self, path: &str) -> Option<Value> {
        self.state.paths.lock().expect("paths").get(path).cloned()
    }

    /// Bytes of pictures that came.
    pub fn arrived(&self, path: &str) -> u64 {
        let streams = self.state.streams.lock().expect("streams");
        streams.get(path).map_or(0, |stream| stream.bytes.load(Ordering::SeqCst))
    }
}

impl Drop for MediaMtx {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One request of one connection.
fn answer(
    mut connection: TcpStream,
    state: &Arc<State>,
    mounts: &rtsp::RTSPMountPoints,
) -> std::io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    let (head, body) = loop {
        let read = connection.read(&mut chunk)?;
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        if read == 0 {
            return Ok(());
        }
    };
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = if lets_in(state, &head) {
        respond(method, path, &body, state, mounts)
    } else {
        (401, json!({ "status": "error", "error": "authentication error" }))
    };
    let body = body.to_string();
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn lets_in(state: &State, head: &str) -> bool {
    let Some((user, password)) = &state.login else { return true };
    let wanted = format!("basic {}", glib::base64_encode(format!("{user}:{password}").as_bytes()));
    head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("authorization") && value.trim().to_lowercase() == wanted.to_lowercase()
        })
    })
}

fn respond(
    method: &str,
    path: &str,
    body: &str,
    state: &Arc<State>,
    mounts: &rtsp::RTSPMountPoints,
) -> (u16, Value) {
    let ok = (200, json!({ "status": "ok" }));
    let error = |status, words: &str| (status, json!({ "status": "error", "error": words }));
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    if method != "GET" {
        state.orders.lock().expect("orders").push(format!("{method} {path}"));
    }
    let of = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    if path == "/v3/info" {
        return (200, json!({ "version": "v1.20.1", "started": *state.started.lock().expect("started") }));
    }
    if path == "/v3/config/global/get" {
        return (
            200,
            json!({ "hls": true, "hlsAddress": ":8888", "webrtc": true, "webrtcAddress": ":8889" }),
        );
    }
    if let Some(name) = of("/v3/config/paths/get/") {
        return match state.paths.lock().expect("paths").get(&name) {
            Some(found) => (200, found.clone()),
            None => error(404, "path configuration not found"),
        };
    }
    if let Some(name) = of("/v3/config/paths/add/") {
        if state.paths.lock().expect("paths").contains_key(&name) {
            return error(400, "path already exists");
        }
        let (state, mounts) = (Arc::clone(state), mounts.clone());
        // Answered before it is done.
        std::thread::spawn(move || {
            std::thread::sleep(RELOAD);
            mounts.add_factory(&format!("/{name}"), factory(&name, &state));
            let mut path = json!({ "name": name, "source": "publisher", "record": false });
            path.as_object_mut().expect("an object").extend(body.as_object().cloned().unwrap_or_default());
            state.paths.lock().expect("paths").insert(name, path);
        });
        return ok;
    }
    if let Some(name) = of("/v3/config/paths/patch/") {
        if !state.paths.lock().expect("paths").contains_key(&name) {
            return error(404, "path configuration not found");
        }
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            std::thread::sleep(RELOAD);
            if let Some(path) = state.paths.lock().expect("paths").get_mut(&name) {
                path.as_object_mut()
                    .expect("an object")
                    .extend(body.as_object().cloned().unwrap_or_default());
            }
        });
        return ok;
    }
    if let Some(name) = of("/v3/paths/get/") {
        let streams = state.streams.lock().expect("streams");
        let Some(stream) = streams.get(&name) else { return error(404, "path not found") };
        let blind = state.blind.load(Ordering::SeqCst);
        let bytes = if blind { 1 } else { stream.bytes.load(Ordering::SeqCst) };
        // A path that exists is available, whether anything comes or not.
        return (
            200,
            json!({ "name": name, "available": true, "online": stream.online.load(Ordering::SeqCst), "inboundBytes": bytes }),
        );
    }
    error(404, "not found")
}

/// Takes a stream and counts it.
fn factory(name: &str, state: &State) -> rtsp::RTSPMediaFactory {
    let stream = Arc::<Stream>::default();
    state.streams.lock().expect("streams").insert(name.to_owned(), Arc::clone(&stream));
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch("( rtph264depay name=depay0 ! h264parse ! identity name=count signal-handoffs=true ! fakesink sync=false async=false )");
    factory.set_transport_mode(rtsp::RTSPTransportMode::RECORD);
    factory.set_latency(0);
    if state.login.is_some() {
        factory.add_role_from_structure(
            &gst::Structure::builder("publisher")
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build(),
        );
    }
    factory.connect_media_configure(move |_, media| {
        let Some(bin) = media.element().downcast::<gst::Bin>().ok() else { return };
        if let Some(count) = bin.by_name("count") {
            let counting = Arc::clone(&stream);
            count.connect("handoff", false, move |values| {
                let buffer = values[1].get::<gst::Buffer>().expect("a buffer");
                counting.bytes.fetch_add(buffer.size() as u64, Ordering::SeqCst);
                counting.online.store(true, Ordering::SeqCst);
                None
            });
        }
        let gone = Arc::clone(&stream);
        media.connect_unprepared(move |_| gone.online.store(false, Ordering::SeqCst));
    });
    factory
}

/// The real server, in a directory of its own.
#[derive(Debug)]
pub struct RealMediaMtx {
    pub api_port: u16,
    pub rtsp_port: u16,
    pub srt_port: u16,
    directory: tempfile::TempDir,
    process: Option<Process>,
}

impl RealMediaMtx {
    /// `None` when the test is left out because it is not installed.
    pub fn start(test: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|place| place.join("mediamtx").is_file()) {
            skipped(test, "mediamtx is missing (github.com/bluenviron/mediamtx, no package)");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [api_port, rtsp_port, srt_port] = [(); 3].map(|()| free_port());
        let mut server = Self { api_port, rtsp_port, srt_port, directory, process: None };
        // Without paths of its own: only what is made by the API is taken.
        let config = format!(
            "api: yes\napiAddress: 127.0.0.1:{}\nrtspAddress: 127.0.0.1:{}\nrtspTransports: [tcp]\nrtmp: no\n\
             srt: yes\nsrtAddress: 127.0.0.1:{}\nhls: yes\nhlsAddress: 127.0.0.1:{}\nwebrtc: no\npathDefaults:\n  recordPath: {}/%path/%Y-%m-%d_%H-%M-%S-%f\n",
            server.api_port,
            server.rtsp_port,
            server.srt_port,
            free_port(),
            server.recordings().display()
        );
        std::fs::write(server.directory.path().join("mediamtx.yml"), config).expect("its configuration");
        server.come_back();
        Some(server)
    }

    pub fn recordings(&self) -> std::path::PathBuf {
        self.directory.path().join("recordings")
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn come_back(&mut self) {
        let mut command = Command::new("mediamtx");
        command.arg(self.directory.path().join("mediamtx.yml")).current_dir(self.directory.path());
        self.process = Some(Process::spawn("mediamtx", &mut command));
        wait_until("mediamtx listens", STARTS, || TcpStream::connect(("127.0.0.1", self.api_port)).is_ok());
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }
}
