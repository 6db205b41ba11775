//! RTSPS: TLS ends here, in a task for each connection, and the connection behind it is one like any other
//! by way of a pair of local sockets. Such a reader costs its encryption and two more copies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, Error, InconsistentKeys};
use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is looked whether the certificate was renewed.
const LOOK: Duration = Duration::from_secs(1);
/// For the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// What the pair holds of a reader's pictures: all of it is latency.
const BUFFER: usize = 64 * 1024;

/// What is spoken with this certificate (chain) and key, both PEM.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    crate::tls::install();
    let unreadable =
        |path: &Path, error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(certificate, error))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in it", certificate.display()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    let unfit = |error: rustls::Error| format!("{} with {}: {error}", certificate.display(), key.display());
    let builder = rustls::ServerConfig::builder().with_no_client_auth();
    let secret = builder.crypto_provider().key_provider.load_private_key(secret).map_err(unfit)?;
    let certified = CertifiedKey::new(chain, secret);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        // One of version 1 can be served, only not compared: printers have such.
        Err(Error::InvalidCertificate(CertificateError::Other(why)))
            if why.to_string().contains("UnsupportedCertVersion") => {}
        Err(error) => return Err(unfit(error)),
    }
    let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Certificate and key as they are on disk: renewed ones are for who comes from then on.
#[allow(missing_debug_implementations)]
pub struct Renewed {
    files: [PathBuf; 2],
    acceptor: TlsAcceptor,
    seen: Option<[Stamp; 2]>,
    looked: Instant,
}

/// By which a file that was written anew is known.
type Stamp = (SystemTime, u64, u64);

impl Renewed {
    /// # Errors
    /// In words: what is wrong with one of the files.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, String> {
        let files = [certificate.to_owned(), key.to_owned()];
        // First: what is written meanwhile is seen later.
        let seen = stamps(&files);
        let acceptor = acceptor(certificate, key)?;
        Ok(Self { files, acceptor, seen, looked: Instant::now() })
    }

    /// For a client that comes now. Looks at the disk at most once in [`LOOK`].
    pub async fn acceptor(&mut self) -> TlsAcceptor {
        if self.looked.elapsed() < LOOK {
            return self.acceptor.clone();
        }
        self.looked = Instant::now();
        let (files, before) = (self.files.clone(), self.seen);
        let looking = tokio::task::spawn_blocking(move || {
            let seen = stamps(&files);
            (seen.is_some() && seen != before).then(|| (seen, acceptor(&files[0], &files[1])))
        });
        let Ok(Some((seen, opened))) = looking.await else { return self.acceptor.clone() };
        self.seen = seen;
        match opened {
            Ok(acceptor) => {
                tracing::info!("RTSPS: the certificate {} was renewed", self.files[0].display());
                self.acceptor = acceptor;
            }
            // It may be half written.
            Err(words) => tracing::warn!("RTSPS: {words}; the one before goes on"),
        }
        self.acceptor.clone()
    }
}

fn stamps(files: &[PathBuf; 2]) -> Option<[Stamp; 2]> {
    use std::os::unix::fs::MetadataExt as _;
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    Some([stamp(&files[0])?, stamp(&files[1])?])
}

/// Greets a client; gives the socket of the connection behind, and what carries its bytes until its end.
pub async fn open(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> io::Result<(UnixStream, impl Future<Output = ()> + use<>)> {
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
    let mut outside = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (inside, mut carried) = UnixStream::pair()?;
    SockRef::from(&inside).set_send_buffer_size(BUFFER)?;
    let carry = async move {
        let (mut from_client, mut to_client) = tokio::io::split(&mut outside);
        let (mut from_house, mut to_house) = carried.split();
        // Who ends it is of no matter: the other side is told by what follows.
        tokio::select! {
            _ = copy(&mut from_client, &mut to_house) => {}
            _ = copy(&mut from_house, &mut to_client) => {}
        }
        let _ = tokio::time::timeout(GOODBYE, outside.shutdown()).await;
    };
    Ok((inside, carry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_or_key_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let refused = || acceptor(&certificate, &key).err().unwrap();
        assert!(refused().contains("cert.pem"), "{}", refused());
        std::fs::write(&certificate, "nothing").unwrap();
        assert!(refused().contains("there is no certificate in it"), "{}", refused());
    }
}
