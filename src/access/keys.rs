//! API keys as text: `fl_ID_SECRET`. The secret has 256 bits from the system's generator, so its plain
//! SHA-256 is a hash that nobody reverses. Pure but for the random bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

const PREFIX: &str = "fl_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A key that was just made: the only time that it is seen.
#[derive(Debug)]
pub struct NewKey {
    pub id: String,
    pub key: Secret,
    pub hash: Vec<u8>,
}

impl NewKey {
    pub fn make() -> Self {
        let id: String = rand::random::<[u8; ID_BYTES]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
        let key = format!("{PREFIX}{id}_{secret}");
        Self { id, hash: hash(&key), key: Secret::new(key) }
    }
}

/// The part of a key that names it, if this is a key.
pub fn id_of(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let fits = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (fits && !secret.is_empty()).then_some(id)
}

/// Whether this is the key of that hash; takes as long for every wrong one.
pub fn is_key_of(key: &str, kept: &[u8]) -> bool {
    hash(key).ct_eq(kept).into()
}

fn hash(key: &str) -> Vec<u8> {
    Sha256::digest(key.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_itself_and_fits_to_its_hash_only() {
        let (one, other) = (NewKey::make(), NewKey::make());
        assert_ne!(one.key, other.key);
        assert_eq!(id_of(one.key.expose()), Some(one.id.as_str()));
        assert!(is_key_of(one.key.expose(), &one.hash));
        assert!(!is_key_of(one.key.expose(), &other.hash));
        assert!(!is_key_of(&format!("{}x", one.key.expose()), &one.hash));
        for text in
            ["", "fl_", "fl_abc_def", "eyJhbGciOi.eyJyb2xl.c2ln", "fl_0123456789ab_", "fl_0123456789az_x"]
        {
            assert_eq!(id_of(text), None, "{text}");
        }
    }
}
