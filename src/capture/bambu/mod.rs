//! The camera of a Bambu Lab A1 or P1: JPEGs over TLS on port 6000, handed to an appsrc.
//!
//! One task reads for as long as an attempt lasts. Every step is limited in time, and what is held is one
//! picture at most ([`frames`]). A printer says no by hanging up before the first byte; one that takes the
//! code and then sends nothing has its camera switched off or busy.

mod frames;
mod login;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_app as gst_app;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::pin;
use crate::config::model::BambuJpeg;
use crate::supervision::{Failure, Reports};
use crate::tls;
use frames::Frames;

/// For the connection, and for what is said first on it.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Less than a start may take, so that it is these words that are told.
const SILENCE: Duration = Duration::from_secs(8);
const CHUNK: usize = 32 * 1024;

/// The slowest of these cameras, in pictures a second.
pub const SLOWEST: f64 = 0.5;

/// Reads until the handle is dropped or the stream ends.
pub fn spawn(
    runtime: &tokio::runtime::Handle,
    bambu: BambuJpeg,
    appsrc: gst_app::AppSrc,
    reports: Reports,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(runtime.spawn(async move {
        if let Err(failure) = read(&bambu, &appsrc).await {
            reports.failed(failure);
        }
    }))
}

/// The camera's address, for words.
pub fn target(bambu: &BambuJpeg) -> String {
    match bambu.host.contains(':') {
        true => format!("[{}]:{}", bambu.host, bambu.port),
        false => format!("{}:{}", bambu.host, bambu.port),
    }
}

async fn read(bambu: &BambuJpeg, appsrc: &gst_app::AppSrc) -> Result<(), Failure> {
    let target = target(bambu);
    let mut stream = connect(bambu, &target).await?;
    let mut frames = Frames::default();
    let (mut began, mut seen) = (false, false);
    loop {
        frames.buffer.reserve(CHUNK);
        let arrived = match timeout(SILENCE, stream.read_buf(&mut frames.buffer)).await {
            Err(_) => return Err(silent(&target, seen)),
            Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(Failure::broken(format!("{target}: {error}")));
            }
            Ok(arrived) => arrived.unwrap_or(0),
        };
        if arrived == 0 {
            return Err(ended(&target, began, seen));
        }
        began = true;
        while let Some(picture) = frames.next().map_err(|error| strange(&target, &error.to_string()))? {
            seen = true;
            if appsrc.push_buffer(gst::Buffer::from_slice(picture)).is_err() {
                // The pipeline ends: so does the reading.
                return Ok(());
            }
        }
    }
}

/// Connects and says who we are.
async fn connect(bambu: &BambuJpeg, target: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let late = |what: &str| Failure::absent(format!("{target}: {what} within {} s", HANDSHAKE.as_secs()));
    let tcp = timeout(HANDSHAKE, TcpStream::connect((bambu.host.as_str(), bambu.port)));
    let tcp = tcp.await.map_err(|_| late("no answer"))?;
    let tcp = tcp.map_err(|error| Failure::absent(format!("{target}: {error}")))?;
    let (config, shown) =
        tls::pinned(bambu.fingerprint).map_err(|error| Failure::unsupported(format!("TLS: {error}")))?;
    // A name that is none for TLS is not sent; the certificate is not asked about its name.
    let nameless = || ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
    let name = ServerName::try_from(bambu.host.clone()).unwrap_or_else(|_| nameless());
    let greeted = async {
        let mut stream = TlsConnector::from(config).connect(name, tcp).await?;
        if let Some(code) = &bambu.access_code {
            stream.write_all(&login::packet(code)).await?;
            stream.flush().await?;
        }
        Ok(stream)
    };
    let greeted: io::Result<_> = timeout(HANDSHAKE, greeted).await.map_err(|_| late("no TLS handshake"))?;
    greeted.map_err(|error| match (bambu.fingerprint, shown.get()) {
        (Some(known), Some(shown)) if known != shown => pin::stranger(target, Some(shown)),
        _ => Failure::broken(format!("{target}: {error}")),
    })
}

fn silent(target: &str, seen: bool) -> Failure {
    let silence = SILENCE.as_secs();
    Failure::broken(match seen {
        true => format!("{target}: no picture for {silence} s"),
        false => format!(
            "{target}: the printer takes the connection and sends nothing for {silence} s; is its camera \
             switched on, and does another program hold it?"
        ),
    })
}

fn ended(target: &str, began: bool, seen: bool) -> Failure {
    match (began, seen) {
        (false, _) => Failure::refused(format!(
            "{target}: the printer hangs up on this access code; read the present one on its screen (Settings → \
             LAN Only)"
        )),
        (true, false) => strange(target, "it ended before a picture was whole"),
        (true, true) => Failure::broken(format!("{target}: the printer ended the stream")),
    }
}

fn strange(target: &str, why: &str) -> Failure {
    Failure::broken(format!(
        "{target}: what it sends is not the stream of an A1's or P1's camera: {why}; other models have theirs \
         at rtsps://…:322"
    ))
}
