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
