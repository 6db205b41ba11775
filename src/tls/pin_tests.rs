use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// X.509 v1, as some printers have it, and its key. A certificate of the tests' own.
const V1: &[u8] = include_bytes!("../../tests/fixtures/printers/v1.der");
const KEY: &[u8] = include_bytes!("../../tests/fixtures/printers/v1-key.der");

/// rustls would refuse to serve a v1 certificate without being asked like this.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn printer(version: &'static SupportedProtocolVersion, key: &[u8]) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let key = ring::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(vec![CertificateDer::from(V1)], key);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    TlsAcceptor::from(Arc::new(config))
}

/// Greets a printer; gives the name it was greeted by, and what it showed.
async fn greet(
    printer: TlsAcceptor,
    expected: Option<Fingerprint>,
) -> (Result<Option<String>, String>, Option<Fingerprint>) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let (config, seen) = pinned(expected).unwrap();
    let name = ServerName::try_from("00M00A000000001").unwrap();
    let (greeted, accepted) =
        tokio::join!(TlsConnector::from(config).connect(name, near), printer.accept(far));
    let name = accepted.ok().and_then(|stream| stream.get_ref().1.server_name().map(str::to_owned));
    (greeted.map(|_| name).map_err(|error| error.to_string()), seen.get())
}

#[tokio::test]
async fn a_version_1_certificate_is_trusted_at_first_use_and_known_again() {
    for version in [&version::TLS12, &version::TLS13] {
        let (greeted, seen) = greet(printer(version, KEY), None).await;
        assert_eq!(greeted, Ok(Some("00m00a000000001".into())), "{version:?}: the serial is the name");
        assert_eq!(seen, Some(Fingerprint::of(V1)));
        let (greeted, _) = greet(printer(version, KEY), seen).await;
        assert!(greeted.is_ok(), "{version:?}: {greeted:?}");
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_ends_the_handshake_and_is_told() {
    for version in [&version::TLS12, &version::TLS13] {
        let (greeted, seen) = greet(printer(version, KEY), Some(Fingerprint::of(b"another"))).await;
        assert!(greeted.is_err(), "{version:?}");
        assert_eq!(seen, Some(Fingerprint::of(V1)));
    }
}

#[tokio::test]
async fn a_copy_of_the_certificate_without_its_key_is_an_impostor() {
    let random = ::ring::rand::SystemRandom::new();
    let curve = &::ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let other = ::ring::signature::EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
    for version in [&version::TLS12, &version::TLS13] {
        for expected in [None, Some(Fingerprint::of(V1))] {
            let (greeted, _) = greet(printer(version, other.as_ref()), expected).await;
            assert!(greeted.is_err(), "{version:?} {expected:?}");
        }
    }
}
