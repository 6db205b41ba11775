//! A self-signed certificate, made by the `openssl` command in a directory of its own.

use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub struct SelfSigned {
    directory: tempfile::TempDir,
}

impl SelfSigned {
    /// For `localhost` and 127.0.0.1, valid for two days.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(directory.path().join("key.pem"))
            .arg("-out")
            .arg(directory.path().join("cert.pem"))
            .output()
            .expect("openssl is installed (package openssl)");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        Self { directory }
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// SHA-256 of the certificate, as a configuration has it.
    pub fn fingerprint(&self) -> String {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let certificate = CertificateDer::from_pem_file(self.certificate()).expect("a certificate");
        fanlight::tls::Fingerprint::of(&certificate).to_string()
    }

    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}
