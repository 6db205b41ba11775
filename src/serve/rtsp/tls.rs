//! RTSPS: TLS ends here, in a task for each connection, and the connection behind it is one like any other
//! by way of a pair of local sockets. Such a reader costs its encryption and two more copies.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
