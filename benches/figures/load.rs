//! Many MJPEG viewers on one thread, each reading as fast as it can and counting every picture.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;

/// Or the client loses time that would be counted against the server.
const SOCKET_BUFFER: u32 = 2 * 1024 * 1024;
const READ: usize = 512 * 1024;

#[derive(Debug, Default)]
pub struct Counts {
    pub pictures: AtomicU64,
    /// Numbers that were left out between two pictures of one viewer.
    pub skipped: AtomicU64,
    /// Viewers that have had a picture.
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
    pub fn start(port: u16, path: &str, viewers: usize) -> Self {
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let thread = std::thread::spawn({
            let (counts, stop, path) = (Arc::clone(&counts), stop.clone(), path.to_owned());
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let mut all = JoinSet::new();
                    for _ in 0..viewers {
                        let (counts, path) = (Arc::clone(&counts), path.clone());
                        all.spawn(async move {
                            if let Err(words) = watch(port, &path, &counts).await {
                                eprintln!("  a viewer ended: {words}");
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

async fn watch(port: u16, path: &str, counts: &Counts) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let socket = TcpSocket::new_v4().map_err(words)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER).map_err(words)?;
    let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.map_err(words)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(words)?;
    let (mut parts, mut buffer) = (Parts::default(), vec![0; READ]);
    let mut last = None;
    loop {
        let count = stream.read(&mut buffer).await.map_err(words)?;
        if count == 0 {
            return Err("the server ended the stream".into());
        }
        parts.feed(&buffer[..count], &mut |number| {
            counts.pictures.fetch_add(1, Ordering::Relaxed);
            match last.replace(number) {
                None => {
                    counts.begun.fetch_add(1, Ordering::Relaxed);
                }
                Some(last) => {
                    let skipped = number.saturating_sub(last).saturating_sub(1);
                    counts.skipped.fetch_add(skipped, Ordering::Relaxed);
                }
            }
        })?;
    }
}
