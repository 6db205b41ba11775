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
    match shown {
        Some(shown) => unknown(target, &format!("; now it shows {shown}")),
        None => unknown(target, ""),
    }
}

/// One that an authority of this machine vouches for, and yet not the one that was pinned.
pub fn trusted_stranger(target: &str) -> Failure {
    unknown(
        target,
        ", but one that this machine's authorities trust (to take those, source.tls = \"system\")",
    )
}

fn unknown(target: &str, instead: &str) -> Failure {
    Failure::refused(format!(
        "{target}: its TLS certificate is not the one that it is known by{instead}. If it was reset or changed, \
         accept that one (source.fingerprint, or the printer's settings); if not, something else answers in its place"
    ))
}
