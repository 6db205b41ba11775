//! Which TLS is spoken: rustls with ring. Two providers are linked (a dependency of ours brings the other
//! one), and rustls refuses to choose by itself.
//!
//! [`Fingerprint`] names a certificate; [`pinned`] makes a client that trusts one peer by it, for machines
//! whose certificates no authority has signed.

mod fingerprint;
mod pin;
mod spki;

pub use fingerprint::Fingerprint;
pub use pin::{Seen, pinned};

/// Chooses for the whole process; call it once, before anything connects. Again is no harm.
pub fn install() {
    // An error means that a choice was made before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn after_the_choice_there_is_one_and_choosing_again_is_no_harm() {
        super::install();
        super::install();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
