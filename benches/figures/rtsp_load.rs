//! Many RTSP readers on one thread, each reading as fast as it can, counting every picture and looking for
//! gaps in the sequence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Or the client loses time that would be counted against the server.
const SOCKET_BUFFER: u32 = 2 * 1024 * 1024;
const READ: usize = 512 * 1024;
/// Signs of life, far more often than anybody asks for.
const REPORT_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Counts {
    pub pictures: AtomicU64,
    /// Packets that were missing between two of one reader, as often as that happened.
    pub gaps: AtomicU64,
    /// Readers that have had a picture.
    pub begun: AtomicU64,
    pub failed: AtomicU64,
}

/// Ends with its guard.
#[derive(Debug)]
pub struct Load {
    pub counts: Arc<Counts>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub fn start(url: &str, readers: usize) -> Self {
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let thread = std::thread::spawn({
            let (counts, stop, url) = (Arc::clone(&counts), stop.clone(), url.to_owned());
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let mut all = JoinSet::new();
                    for _ in 0..readers {
                        let (counts, url) = (Arc::clone(&counts), url.clone());
                        all.spawn(async move {
                            if let Err(words) = read(&url, &counts).await {
                                eprintln!("  a reader ended: {words}");
                                counts.failed.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                    stop.cancelled().await;
                });
            }
        });
        Self { counts, stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn read(url: &str, counts: &Counts) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let host = url.trim_start_matches("rtsp://").split('/').next().unwrap_or_default();
    let address: SocketAddr = host.parse().map_err(|error| format!("{host}: {error}"))?;
    let socket = TcpSocket::new_v4().map_err(words)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER).map_err(words)?;
    let mut stream = socket.connect(address).await.map_err(words)?;
    let mut waiting = Vec::new();
    ask(&mut stream, &mut waiting, &format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n")).await?;
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
    let setup = format!("SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\n{transport}\r\n\r\n");
    let head = ask(&mut stream, &mut waiting, &setup).await?;
    let session = head.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap_or_default();
    let session = session.split(';').next().unwrap_or_default();
    let play = format!("PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n");
    ask(&mut stream, &mut waiting, &play).await?;
    let (mut buffer, mut last) = (vec![0; READ], None);
    let mut report = tokio::time::interval(REPORT_EVERY);
    loop {
        let used = count(&waiting, &mut last, counts);
        waiting.drain(..used);
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let read = read.map_err(words)?;
                if read == 0 {
                    return Err("the server ended the stream".into());
                }
                waiting.extend_from_slice(&buffer[..read]);
            }
            _ = report.tick() => {
                let empty = [b'$', 1, 0, 8, 0x80, 201, 0, 1, 0, 0, 0, 1];
                stream.write_all(&empty).await.map_err(words)?;
            }
        }
    }
}

/// Looks at the whole frames; how many bytes they are.
fn count(bytes: &[u8], last: &mut Option<u16>, counts: &Counts) -> usize {
    let mut used = 0;
    while let [b'$', channel, high, low, rest @ ..] = &bytes[used..] {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(packet) = rest.get(..length) else { break };
        used += 4 + length;
        let [_, marker, high, low, ..] = packet else { continue };
        if *channel != 0 {
            continue;
        }
        let sequence = u16::from_be_bytes([*high, *low]);
        let before = last.replace(sequence);
        if before.is_some_and(|before| before.wrapping_add(1) != sequence) {
            counts.gaps.fetch_add(1, Ordering::Relaxed);
        }
        if before.is_none() {
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
        counts.pictures.fetch_add(u64::from(marker >> 7), Ordering::Relaxed);
    }
    used
}

/// Asks and gives the head of the answer; what comes after it is left in `waiting`.
async fn ask(stream: &mut TcpStream, waiting: &mut Vec<u8>, request: &str) -> Result<String, String> {
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(end) = waiting.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&waiting[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            if waiting.len() >= end + 4 + length {
                waiting.drain(..end + 4 + length);
                let good = head.split(' ').nth(1) == Some("200");
                return if good { Ok(head) } else { Err(head) };
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) => return Err("the server ended the connection".into()),
            Ok(count) => waiting.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
}
