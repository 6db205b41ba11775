//! The camera of an A1 or P1 on a port of its own, that tells right codes from wrong ones, misbehaves as it is
//! told to, and counts who is connected.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::SelfSigned;

/// Between two pictures.
const PACE: Duration = Duration::from_millis(100);

/// What happens to those who are connected from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Pictures,
    /// Takes code and all, and says nothing.
    Silent,
    /// Anything but pictures, without end.
    Garbage,
    /// A picture of 9 MB between the others.
    Large,
    /// Half a picture, and the line is cut.
    Cut,
}

#[derive(Debug)]
pub struct PrinterCamera {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Shared {
    certificate: SelfSigned,
    picture: Vec<u8>,
    code: Mutex<String>,
    mood: Mutex<Mood>,
    /// Those that sent the right code, at present and ever; and all that sent any.
    open: AtomicUsize,
    let_in: AtomicUsize,
    asked: AtomicUsize,
}

impl PrinterCamera {
    pub fn start(code: &str) -> Self {
        let shared = Arc::new(Shared {
            certificate: SelfSigned::new(),
            picture: picture(),
            code: Mutex::new(code.to_owned()),
            mood: Mutex::new(Mood::Pictures),
            open: AtomicUsize::default(),
            let_in: AtomicUsize::default(),
            asked: AtomicUsize::default(),
        });
        let mut camera = Self { address: ([127, 0, 0, 1], 0).into(), shared, running: None };
        camera.come_back();
        camera
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its `source = { … }` for a configuration file; `more` keys begin with a comma.
    pub fn source(&self, code: &str, more: &str) -> String {
        format!(
            "source = {{ type = \"bambu-jpeg\", host = \"127.0.0.1\", port = {}, access_code = {code:?}{more} }}",
            self.port()
        )
    }

    pub fn certificate(&self) -> &SelfSigned {
        &self.shared.certificate
    }

    pub fn picture(&self) -> &[u8] {
        &self.shared.picture
    }

    pub fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn code(&self, code: &str) {
        *self.shared.code.lock().unwrap() = code.to_owned();
    }

    /// Connections with the right code at present.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections with the right code ever.
    pub fn let_in(&self) -> usize {
        self.shared.let_in.load(Ordering::SeqCst)
    }

    /// Connections with any code ever.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Cuts all connections; its port refuses new ones afterwards.
    pub fn kill(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().expect("the camera's thread");
        }
    }

    /// Starts it again on the same port.
    pub fn come_back(&mut self) {
        self.kill();
        let (address, shared) = (self.address, Arc::clone(&self.shared));
        let (stop, stopped) = oneshot::channel();
        let (listens, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind(address).await.expect("the camera's port");
                listens.send(listener.local_addr()).expect("somebody waits for it");
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, shared) => {}
                }
            });
        });
        self.address = listening.recv().expect("it listens").expect("the camera's address");
        self.running = Some((stop, thread));
    }
}

impl Drop for PrinterCamera {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let certificate = CertificateDer::from_pem_file(shared.certificate.certificate()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(shared.certificate.key()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    let tls = TlsAcceptor::from(Arc::new(config.expect("TLS")));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
    }
}

/// Counts itself out when it ends, however.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut stream = tls.accept(stream).await?;
    let mut packet = [0; 80];
    stream.read_exact(&mut packet).await?;
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let (head, code) = packet.split_at(48);
    let user = head.starts_with(&[0x40, 0, 0, 0, 0, 0x30, 0, 0]) && head[16..].starts_with(b"bblp\0");
    let right = code
        .strip_prefix(shared.code.lock().unwrap().as_bytes())
        .is_some_and(|rest| rest.iter().all(|b| *b == 0));
    if !user || !right {
        return stream.shutdown().await;
    }
    shared.let_in.fetch_add(1, Ordering::SeqCst);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&shared));
    let mood = *shared.mood.lock().unwrap();
    let mut large = shared.picture.clone();
    large.resize(9 * 1024 * 1024, 0);
    loop {
        match mood {
            Mood::Silent => {
                // Until the other side is tired of it.
                let _ = stream.read(&mut [0]).await;
                return Ok(());
            }
            Mood::Garbage => stream.write_all(&b"HTTP/1.1 400 Bad Request\r\n".repeat(4000)).await?,
            Mood::Cut => {
                let half = &framed(&shared.picture)[..200];
                stream.write_all(half).await?;
                return stream.flush().await;
            }
            Mood::Large => {
                stream.write_all(&framed(&large)).await?;
                stream.write_all(&framed(&shared.picture)).await?;
            }
            Mood::Pictures => {
                // The machines send headers by themselves.
                let frame = framed(&shared.picture);
                stream.write_all(&frame[..16]).await?;
                stream.flush().await?;
                stream.write_all(&frame[16..]).await?;
            }
        }
        stream.flush().await?;
        if mood != Mood::Garbage {
            tokio::time::sleep(PACE).await;
        }
    }
}

fn framed(picture: &[u8]) -> Vec<u8> {
    let length = u32::try_from(picture.len()).expect("a length");
    [&length.to_le_bytes()[..], &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], picture].concat()
}

/// A JPEG as these printers send them, 1280x720.
fn picture() -> Vec<u8> {
    gst::init().expect("GStreamer");
    let line = "videotestsrc num-buffers=1 ! video/x-raw,width=1280,height=720 ! jpegenc ! \
                fakesink name=sink enable-last-sample=true sync=false";
    let pipeline =
        gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    pipeline.bus().expect("a bus").timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    let sample: gst::Sample = pipeline.by_name("sink").expect("a sink").property("last-sample");
    pipeline.set_state(gst::State::Null).expect("it stops");
    sample.buffer().expect("a picture").map_readable().expect("its bytes").to_vec()
}
