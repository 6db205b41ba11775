//! The public key out of a certificate, read by hand: some printers' certificates are X.509 v1, which
//! webpki refuses to look at. Nothing else of the certificate is of interest to whoever pins it.

/// SEQUENCE, constructed.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `[0]`, constructed: the version, which a v1 certificate leaves out.
const VERSION: u8 = 0xA0;

/// A public key as a certificate holds it. Borrows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey<'a> {
    /// The contents of the AlgorithmIdentifier: which kind of key, on which curve.
    pub algorithm: &'a [u8],
    /// The key itself.
    pub key: &'a [u8],
}

/// Reads DER value after value; every step says `None` where the bytes are something else.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The contents of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if found != tag {
            return None;
        }
        // Short form, or the number of bytes that the length takes. Certificates are far below 2^24 bytes.
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(contents)
    }

    fn inside(&mut self) -> Option<Reader<'a>> {
        self.take(SEQUENCE).map(Reader)
    }
}

/// The public key of a certificate in DER, of any version. `None` if it is none.
pub fn public_key(certificate: &[u8]) -> Option<PublicKey<'_>> {
    let mut to_be_signed = Reader(certificate).inside()?.inside()?;
    if to_be_signed.0.first() == Some(&VERSION) {
        to_be_signed.take(VERSION)?;
    }
    to_be_signed.take(INTEGER)?;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        to_be_signed.take(SEQUENCE)?;
    }
    let mut info = to_be_signed.inside()?;
    let algorithm = info.take(SEQUENCE)?;
    // The first byte counts the bits that the last one does not use: none, of keys.
    match info.take(BIT_STRING)?.split_first()? {
        (0, key) => Some(PublicKey { algorithm, key }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `openssl x509 -req` without extensions makes version 1; this is one, with a key on P-256.
    const V1: &[u8] = include_bytes!("../../tests/fixtures/printers/v1.der");

    #[test]
    fn the_key_of_a_version_1_certificate_is_found() {
        let found = public_key(V1).unwrap();
        assert_eq!(found.algorithm, rustls::pki_types::alg_id::ECDSA_P256.as_ref());
        assert_eq!((found.key.len(), found.key[0]), (65, 4), "an uncompressed point");
    }

    #[test]
    fn a_certificate_cut_short_has_no_key_and_does_no_harm() {
        let end = V1.len() - 1;
        for length in 0..=end {
            assert_eq!(public_key(&V1[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = public_key(&bytes);
        }

        #[test]
        fn any_damage_is_survived(at in 0..V1.len(), byte: u8) {
            let mut damaged = V1.to_vec();
            damaged[at] = byte;
            let _ = public_key(&damaged);
        }
    }
}
