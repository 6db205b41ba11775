//! A house with detached cameras behind the real accept loop, and a client that sees every byte.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fanlight::api::http::AppState;
use fanlight::api::http::server::Server;
use fanlight::cameras::Cameras;
use fanlight::capture::Capture;
use fanlight::config::Config;
use fanlight::config::model::{Camera, Source};
use fanlight::frames::AccessUnit;
use fanlight::serve::hls::{Hls, Waits};
use fanlight::serve::whep::Whep;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The result, or a failed test: nothing here may hang.
pub async fn within<T>(seconds: f64, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs_f64(seconds), future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {seconds} s: {what}"),
    }
}

/// Waits for a condition, with a deadline.
pub async fn until(seconds: f64, what: &str, condition: impl Fn() -> bool) {
    within(seconds, what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub struct House {
    pub front: Capture,
    pub back: Capture,
    pub state: AppState,
    pub config: watch::Sender<Arc<Config>>,
    pub address: SocketAddr,
    pub running: JoinHandle<()>,
}

impl House {
    pub async fn open() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    /// Two cameras, `front` and `back`; the closures change the configuration and the first camera.
    pub async fn with(config: impl FnOnce(&mut Config), camera: impl FnOnce(&mut Camera)) -> Self {
        let mut settings = Config::default();
        settings.server.port = 0;
        settings.supervision.start_timeout_seconds = 0.3;
        config(&mut settings);
        let mut first = Camera::new("front", Source::Test {});
        camera(&mut first);
        let front = Capture::detached(first);
        let back = Capture::detached(Camera::new("back", Source::Test {}));
        let cameras = Cameras::new(vec![front.clone(), back.clone()]);
        let server = Server::bind(&settings.server).unwrap();
        let address = server.address();
        let config = watch::Sender::new(Arc::new(settings));
        let waits = Waits { first_segment: Duration::from_secs(1), ..Waits::default() };
        let hls = watch::Sender::new(Hls::with_waits(config.borrow().hls.clone(), waits));
        let free = fanlight::config::model::Webrtc { port: 0, ..config.borrow().webrtc.clone() };
        let whep = Whep::start(&free, address.ip()).unwrap();
        let state =
            AppState::new(cameras, config.subscribe(), hls.subscribe(), whep, CancellationToken::new());
        let running = tokio::spawn(server.run(state.clone()));
        Self { front, back, state, config, address, running }
    }

    /// Sends a request and leaves the connection open.
    pub async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// A client whose kernel takes little: what it does not read stays with the server.
    pub async fn send_from_a_small_client(&self, request: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// A whole answer.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut stream = self.send(&request).await;
        let mut bytes = Vec::new();
        within(15.0, path, stream.read_to_end(&mut bytes)).await.unwrap();
        Answer::parse(&bytes)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// An MJPEG stream whose head has been read.
    pub async fn watch(&self, path: &str) -> Reader {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        Reader::new(self.send(&request).await).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.state.stop.cancel();
    }
}

/// A head, and for whole answers the body.
#[derive(Debug)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer's head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        Self {
            version: first.next().unwrap().to_owned(),
            status: first.next().unwrap().parse().unwrap(),
            headers: lines
                .map(|line| line.split_once(": ").expect("a header"))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks the one error schema, and gives its code.
    pub fn error(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"]);
        let error = body["error"].as_object().unwrap();
        assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message", "details", "timestamp"]);
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert!(error["details"].is_object());
        error["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Reads an MJPEG stream strictly: every byte must be where it belongs.
pub struct Reader {
    pub head: Answer,
    stream: TcpStream,
    buffer: Vec<u8>,
    opened: bool,
}

pub struct Part {
    pub headers: Vec<String>,
    pub jpeg: Vec<u8>,
}

impl Part {
    pub fn number(&self) -> u32 {
        number(&self.jpeg)
    }
}

impl Reader {
    pub async fn new(mut stream: TcpStream) -> Self {
        let mut buffer = Vec::new();
        let end = within(15.0, "the head of a stream", async {
            loop {
                if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    return end + 4;
                }
                assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "ended in its head");
            }
        })
        .await;
        let head = Answer::parse(&buffer[..end]);
        buffer.drain(..end);
        Self { head, stream, buffer, opened: false }
    }

    /// The next part, its closing boundary included; `None` when the stream has ended between two.
    pub async fn part(&mut self) -> Option<Part> {
        if !self.opened {
            self.expect(b"--frame\r\n").await?;
            self.opened = true;
        }
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            headers.push(line);
        }
        let length = headers.iter().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let length = length.parse::<usize>().unwrap();
        let jpeg = self.take(length).await?;
        self.expect(b"\r\n--frame\r\n").await?;
        Some(Part { headers, jpeg })
    }

    /// Whether the connection has ended, bytes that were under way aside.
    pub async fn ended(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut rest).await;
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn expect(&mut self, wanted: &[u8]) -> Option<()> {
        let found = self.take(wanted.len()).await?;
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(wanted));
        Some(())
    }

    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.buffer).await.ok()? > 0).then_some(())
    }
}

/// A picture with a number in it, of `size` bytes, captured `age` ago.
pub fn picture(number: u32, size: usize, age: Duration) -> AccessUnit {
    let mut data = vec![0x42; size.max(8)];
    data[..2].copy_from_slice(&[0xFF, 0xD8]);
    data[2..6].copy_from_slice(&number.to_be_bytes());
    let end = data.len() - 2;
    data[end..].copy_from_slice(&[0xFF, 0xD9]);
    AccessUnit {
        data: Bytes::from(data),
        pts: Duration::from_millis(u64::from(number) * 33),
        keyframe: true,
        epoch: 1,
        captured_at: SystemTime::now() - age,
        captured: Instant::now() - age,
    }
}

/// An H.264 picture at 30 a second, every sixtieth an IDR with its parameter sets.
pub fn access_unit(index: u64) -> AccessUnit {
    let keyframe = index.is_multiple_of(60);
    let mut data = Vec::new();
    if keyframe {
        data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8]);
        data.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80]);
    }
    data.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x9a]);
    data.resize(data.len() + 300, 0x55);
    AccessUnit {
        data: Bytes::from(data),
        pts: Duration::from_micros(index * 1_000_000 / 30),
        keyframe,
        epoch: 1,
        captured_at: SystemTime::now(),
        captured: Instant::now(),
    }
}

pub fn number(jpeg: &[u8]) -> u32 {
    u32::from_be_bytes(jpeg[2..6].try_into().unwrap())
}

/// A camera's streaming thread: numbered pictures at a rate until it is dropped.
pub struct Shutter {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u32>>,
}

impl Shutter {
    pub fn start(capture: &Capture, rate: f64, size: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (capture, stopped) = (capture.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (start, mut count) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                capture.jpeg().push(picture(count, size, Duration::ZERO));
                count += 1;
                let due = start + Duration::from_secs_f64(f64::from(count) / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            count
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops, and says how many pictures there were.
    pub fn stop(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Shutter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
