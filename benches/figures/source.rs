//! An MJPEG camera: 720p JPEGs of 87 kB, 30 a second, each with its number in a comment segment, so that
//! viewers count every picture and know how old it is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const FPS: u64 = 30;
pub const BYTES: usize = 87_000;
/// Where the number stands: after SOI, the marker COM, and the segment's length; eight bytes.
pub const NUMBER_AT: usize = 6;
/// As much as a reader needs to know the number.
pub const NUMBERED: usize = NUMBER_AT + 8;

/// Runs until the process ends.
#[derive(Clone, Debug)]
pub struct Source {
    pub port: u16,
    clock: Clock,
}

/// Numbers pictures by the time since the start: the same number on every connection.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        (self.0.elapsed().as_secs_f64() * FPS as f64) as u64
    }

    fn due(self, number: u64) -> Instant {
        self.0 + Duration::from_secs_f64(number as f64 / FPS as f64)
    }
}

impl Source {
    pub fn start() -> Self {
        let picture = Arc::new(picture());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let clock = Clock(Instant::now());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let picture = Arc::clone(&picture);
                std::thread::spawn(move || serve(stream, &picture, clock));
            }
        });
        Self { port, clock }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/stream", self.port)
    }

    /// The number of the picture that is newest now.
    pub fn newest(&self) -> u64 {
        self.clock.now()
    }
}

/// The number of a picture of this source.
pub fn number(jpeg: &[u8]) -> Option<u64> {
    let bytes = jpeg.get(NUMBER_AT..NUMBERED)?;
    jpeg.starts_with(&[0xff, 0xd8, 0xff, 0xfe])
        .then(|| u64::from_be_bytes(bytes.try_into().unwrap_or_default()))
}

fn serve(mut stream: TcpStream, picture: &[u8], clock: Clock) {
    let mut request = [0; 4096];
    if stream.read(&mut request).is_err() || stream.set_nodelay(true).is_err() {
        return;
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\
                Connection: close\r\n\r\n--frame\r\n";
    if stream.write_all(head.as_bytes()).is_err() {
        return;
    }
    let opening = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    let mut part = [opening.as_bytes(), picture, b"\r\n--frame\r\n"].concat();
    let at = opening.len() + NUMBER_AT;
    let mut next = clock.now() + 1;
    loop {
        std::thread::sleep(clock.due(next).saturating_duration_since(Instant::now()));
        part[at..at + 8].copy_from_slice(&next.to_be_bytes());
        if stream.write_all(&part).is_err() {
            return;
        }
        next += 1;
    }
}

/// A real picture, brought to its size by comments (segments that decoders skip).
fn picture() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("picture.jpg");
    let made = Command::new("gst-launch-1.0")
        .args(["-q", "videotestsrc", "num-buffers=1", "!", "video/x-raw,width=1280,height=720", "!"])
        .args(["jpegenc", "quality=80", "!", "filesink"])
        .arg(format!("location={}", file.display()))
        .output()
        .expect("gst-launch-1.0 is installed");
    assert!(made.status.success(), "gst-launch-1.0: {}", String::from_utf8_lossy(&made.stderr));
    let jpeg = std::fs::read(&file).expect("the picture");
    let mut padding = BYTES.checked_sub(jpeg.len()).expect("the picture is smaller than asked");
    let mut picture = jpeg[..2].to_vec();
    while padding > 0 {
        // A segment is the marker (2 bytes) and up to 65,535 bytes that begin with their own length. What
        // is left over has to be enough for another one.
        let size = if padding > 60_000 { 50_000 } else { padding };
        picture.extend_from_slice(&[0xff, 0xfe]);
        picture.extend_from_slice(&u16::try_from(size - 2).expect("a short segment").to_be_bytes());
        picture.resize(picture.len() + size - 4, 0);
        padding -= size;
    }
    picture.extend_from_slice(&jpeg[2..]);
    picture
}
