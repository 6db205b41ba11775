//! Whose certificates are taken of nodes by https: those of the machine's authorities, and of one file beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("management.tls_ca_file {path}: {words}; it is a PEM file with certificates of authorities")]
    File { path: PathBuf, words: String },
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// For connections to nodes. Reads a small file.
///
/// # Errors
/// The file is none, or the machine's authorities cannot be read.
pub fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match authorities {
        None => Verifier::new(Arc::clone(&provider))?,
        Some(path) => {
            let failed = |words: String| TlsError::File { path: path.to_owned(), words };
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let extra = read.map_err(|error| failed(error.to_string()))?;
            if extra.is_empty() {
                return Err(failed("there is no certificate in it".to_owned()));
            }
            Verifier::new_with_extra_roots(extra, Arc::clone(&provider))?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
