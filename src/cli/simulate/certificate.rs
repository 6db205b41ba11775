//! The certificate of a simulated printer: self-made, X.509 v1 as on the machines, its name the serial number.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};

/// The one key of all simulated printers: making it takes longer than everything else.
pub fn key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_rsa(Rsa::generate(2048)?)
}

/// Certificate and key as files, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A new certificate for this serial number each time, in the folder.
pub fn write(folder: &Path, serial: &str, key: &PKey<Private>) -> anyhow::Result<Files> {
    let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, certificate(serial, key)?.to_pem()?)?;
    std::fs::write(&files.key, key.private_key_to_pem_pkcs8()?)?;
    Ok(files)
}

fn certificate(serial: &str, key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", serial)?;
    let name = name.build();
    let mut number = BigNum::new()?;
    number.rand(120, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    // Zero stands for version 1.
    builder.set_version(0)?;
    let number = number.to_asn1_integer()?;
    builder.set_serial_number(&number)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    let (from, until) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(3650)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    builder.set_pubkey(key)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_version_one_of_that_name_and_another_each_time() {
        let key = key().unwrap();
        let (first, second) =
            (certificate("00M00A000000001", &key).unwrap(), certificate("00M00A000000001", &key).unwrap());
        assert_eq!(first.version(), 0);
        let name = first.subject_name().entries().next().unwrap().data().to_string().unwrap();
        assert_eq!(name, "00M00A000000001");
        let digest = |certificate: &X509| certificate.digest(MessageDigest::sha256()).unwrap().to_vec();
        assert_ne!(digest(&first), digest(&second));
    }
}
