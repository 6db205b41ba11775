//! AES-GCM for SRTP by ring, which costs half of what OpenSSL's interface costs per packet. Everything
//! else (DTLS, AES-CM, key derivation) stays with OpenSSL.

use std::sync::Arc;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
};

const TAG: usize = 16;

/// OpenSSL with ring for the packets.
pub fn provider() -> Arc<CryptoProvider> {
    let openssl = from_feature_flags();
    Arc::new(CryptoProvider { srtp_provider: &Provider, ..openssl })
}

#[derive(Debug)]
struct Provider;

impl SrtpProvider for Provider {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        from_feature_flags().srtp_provider.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Gcm
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Gcm
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

#[derive(Debug)]
struct Gcm;

impl SupportedAeadAes128Gcm for Gcm {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Cipher::new(&AES_128_GCM, &key))
    }
}

impl SupportedAeadAes256Gcm for Gcm {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Cipher::new(&AES_256_GCM, &key))
    }
}

#[derive(Debug)]
struct Cipher {
    /// `None` only for a key of the wrong length, which the types above do not let through.
    key: Option<LessSafeKey>,
    scratch: Vec<u8>,
}

impl Cipher {
    fn new(algorithm: &'static Algorithm, key: &[u8]) -> Self {
        let key = UnboundKey::new(algorithm, key).ok().map(LessSafeKey::new);
        Self { key, scratch: Vec::new() }
    }

    fn seal(&self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let key = self.key.as_ref().ok_or_else(|| failure("no key"))?;
        let (text, tag) = output
            .split_at_mut_checked(input.len())
            .filter(|(_, rest)| rest.len() >= TAG)
            .ok_or_else(|| failure("the output is too short"))?;
        text.copy_from_slice(input);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        tag[..TAG].copy_from_slice(sealed.map_err(|_| failure("sealing"))?.as_ref());
        Ok(())
    }

    fn open(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let key = self.key.as_ref().ok_or_else(|| failure("no key"))?;
        self.scratch.clear();
        self.scratch.extend_from_slice(input);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let opened = match aads {
            [aad] => key.open_in_place(nonce, Aad::from(*aad), &mut self.scratch),
            _ => key.open_in_place(nonce, Aad::from(aads.concat()), &mut self.scratch),
        };
        let text = opened.map_err(|_| failure("the packet is not authentic"))?;
        let to = output.get_mut(..text.len()).ok_or_else(|| failure("the output is too short"))?;
        to.copy_from_slice(text);
        Ok(text.len())
    }
}

impl AeadAes128GcmCipher for Cipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl AeadAes256GcmCipher for Cipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

fn failure(what: &str) -> CryptoError {
    CryptoError::Other(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7714 section 16.1: header, payload, IV, and the protected packets with keys of 00 01 02 ….
    const HEADER: &str = "8040f17b8041f8d35501a0b2";
    const PLAIN: &[u8] = b"Gallia est omnis divisa in partes tres";
    const IV: &str = "51753c6580c2726f20718414";
    const SEALED_128: &str = "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                              899d7f27beb16a9152cf765ee4390cce";
    const SEALED_256: &str = "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
                              7aa3db36dfffd6b0f9bb7878d7a76c13";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn key<const N: usize>() -> [u8; N] {
        std::array::from_fn(|n| n as u8)
    }

    #[test]
    fn packets_are_sealed_and_opened_as_in_rfc_7714() {
        let (iv, header): ([u8; 12], _) = (bytes(IV).try_into().unwrap(), bytes(HEADER));
        let gcm = provider().srtp_provider;
        let mut small = gcm.aead_aes_128_gcm().create_cipher(key(), true);
        let mut large = gcm.aead_aes_256_gcm().create_cipher(key(), true);
        let mut sealed = vec![0; PLAIN.len() + TAG];
        small.encrypt(&iv, &header, PLAIN, &mut sealed).unwrap();
        assert_eq!(sealed, bytes(SEALED_128));
        let mut plain = vec![0; PLAIN.len()];
        assert_eq!(small.decrypt(&iv, &[&header], &sealed, &mut plain).unwrap(), PLAIN.len());
        assert_eq!(plain, PLAIN);

        large.encrypt(&iv, &header, PLAIN, &mut sealed).unwrap();
        assert_eq!(sealed, bytes(SEALED_256));
        // Associated data may come in pieces.
        assert!(large.decrypt(&iv, &[&header[..5], &header[5..]], &sealed, &mut plain).is_ok());
        sealed[3] ^= 1;
        assert!(large.decrypt(&iv, &[&header], &sealed, &mut plain).is_err(), "a forged packet");
        assert!(large.decrypt(&iv, &[&header], &sealed[..7], &mut plain).is_err(), "shorter than a tag");
        assert!(large.encrypt(&iv, &header, PLAIN, &mut [0; 20]).is_err(), "no room");
    }

    proptest! {
        #[test]
        fn ring_and_openssl_make_the_same_packets(
            key in any::<[u8; 32]>(), iv in any::<[u8; 12]>(),
            header in proptest::collection::vec(any::<u8>(), 12..40),
            plain in proptest::collection::vec(any::<u8>(), 0..1300),
        ) {
            let seal = |provider: &CryptoProvider| {
                let mut sealed = vec![0; plain.len() + TAG];
                let mut cipher = provider.srtp_provider.aead_aes_256_gcm().create_cipher(key, true);
                cipher.encrypt(&iv, &header, &plain, &mut sealed).unwrap();
                sealed
            };
            let sealed = seal(&provider());
            prop_assert_eq!(&sealed, &seal(&from_feature_flags()));
            let mut opened = vec![0; plain.len()];
            let mut cipher = from_feature_flags().srtp_provider.aead_aes_256_gcm().create_cipher(key, false);
            cipher.decrypt(&iv, &[&header], &sealed, &mut opened).unwrap();
            prop_assert_eq!(opened, plain);
        }
    }
}
