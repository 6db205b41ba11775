//! Peers that are known by their certificate: which one `rtspsrc` was shown, and what is said of another.

use gio::prelude::*;

use crate::supervision::Failure;
use crate::tls::Fingerprint;

/// The certificate's fingerprint.
pub fn of(certificate: &gio::TlsCertificate) -> Option<Fingerprint> {
    certificate.certificate().map(|der| Fingerprint::of(&der))
}

/// A certificate that is not the one that was pinned.
pub fn stranger(target: &str, shown: Option<Fingerprint>) -> Failure {
    let shown = shown.map_or_else(|| "one that cannot be read".to_owned(), |shown| shown.to_string());
    Failure::refused(format!(
        "{target}: its TLS certificate is not the one that it is known by; now it shows {shown}. If it was reset or \
         changed, accept that one (source.fingerprint, or the printer's settings); if not, something else answers \
         in its place"
    ))
}
