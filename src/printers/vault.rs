//! The access codes at rest: sealed with a key file where there is one, as text in the private database
//! otherwise. Asked by the registry alone.
//!
//! A key file that is lost or another one costs the codes that were sealed with it and nothing else: each
//! printer says so, and works again when its code is typed in anew or the file is back.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::config::Secret;
use crate::storage::KeptCode;

const KEY_BYTES: usize = 32;
/// What is sealed here is nothing that was sealed elsewhere with the same key.
const PURPOSE: &[u8] = b"fanlight: access code of a printer";
/// More than the key in hex and a line's end; a larger file is a mistake.
const FILE_LIMIT: u64 = 4096;

/// Why a code is not sealed or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    #[error("the key file {} {trouble}", path.display())]
    File { path: PathBuf, trouble: String },
    #[error("the access code is sealed, and printers.key_file is not set; set it, or set the code again")]
    NoKey,
    #[error("the access code was sealed with another key file; put that back, or set the code again")]
    OtherKey,
}

pub struct Vault(Key);

// There is one for the whole service.
#[allow(clippy::large_enum_variant)]
enum Key {
    /// None is configured: codes are kept as text.
    None,
    Here(LessSafeKey),
    Lost(VaultError),
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.0 {
            Key::None => "no key",
            Key::Here(_) => "***",
            Key::Lost(_) => "the key is lost",
        };
        f.debug_tuple("Vault").field(&key).finish()
    }
}

impl Vault {
    /// Reads the key file, if there is to be one. Blocks for that long.
    pub fn open(file: Option<&Path>) -> Self {
        let Some(path) = file else { return Self(Key::None) };
        match read_key(path) {
            Ok(key) => Self(Key::Here(key)),
            Err(trouble) => Self(Key::Lost(VaultError::File { path: path.into(), trouble })),
        }
    }

    /// A code as it is kept. It is never kept as text because the key is lost.
    pub fn seal(&self, code: &Secret) -> Result<KeptCode, VaultError> {
        let key = match &self.0 {
            Key::None => return Ok(KeptCode::Plain(code.expose().to_owned())),
            Key::Here(key) => key,
            Key::Lost(error) => return Err(error.clone()),
        };
        // 96 random bits a code: far below the number at which two are likely to be the same.
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = code.expose().as_bytes().to_vec();
        let aad = Aad::from(PURPOSE);
        // It fails only for what is longer than 64 GiB.
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| VaultError::OtherKey)?;
        Ok(KeptCode::Sealed([&nonce[..], &sealed].concat()))
    }

    /// The code that is kept.
    pub fn open_code(&self, code: &KeptCode) -> Result<Secret, VaultError> {
        let sealed = match code {
            KeptCode::Plain(text) => return Ok(Secret::new(text)),
            KeptCode::Sealed(sealed) => sealed,
        };
        let key = match &self.0 {
            Key::None => return Err(VaultError::NoKey),
            Key::Here(key) => key,
            Key::Lost(error) => return Err(error.clone()),
        };
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::OtherKey)?;
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(nonce, Aad::from(PURPOSE), &mut sealed);
        let text = opened.ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.map(Secret::new).ok_or(VaultError::OtherKey)
    }

    /// Whether a code that is kept like this is to be sealed now that there is a key.
    pub fn wants(&self, code: &KeptCode) -> bool {
        matches!((&self.0, code), (Key::Here(_), KeptCode::Plain(_)))
    }
}

fn read_key(path: &Path) -> Result<LessSafeKey, String> {
    const MEND: &str = "make one with: openssl rand -hex 32";
    let unreadable = |error| format!("cannot be read: {error}; codes that were sealed with it wait for it");
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!("is no regular file; {MEND}"));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(unreadable)?;
    let digits = text.trim().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let hex = digits.iter().all(u8::is_ascii_hexdigit) && digits.len() == 2 * KEY_BYTES;
    let key: Option<Vec<u8>> = hex.then(|| digits.chunks(2).map(byte).collect()).flatten();
    let key = key.and_then(|key| UnboundKey::new(&AES_256_GCM, &key).ok());
    key.map(LessSafeKey::new).ok_or_else(|| format!("does not hold 64 hexadecimal digits; {MEND}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(directory: &Path, name: &str, text: &str) -> Vault {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        Vault::open(Some(&path))
    }

    #[test]
    fn a_sealed_code_is_opened_with_its_key_file_and_with_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let first = vault(directory.path(), "a", &format!("{}\n", "a7".repeat(32)));
        let other = vault(directory.path(), "b", &"b8".repeat(32));
        let code = Secret::new("12345678");
        let sealed = first.seal(&code).unwrap();
        assert_ne!(sealed, first.seal(&code).unwrap(), "the same code twice is not seen to be the same");
        let KeptCode::Sealed(bytes) = &sealed else { panic!("sealed") };
        assert!(!bytes.windows(8).any(|window| window == b"12345678"));
        assert_eq!(first.open_code(&sealed), Ok(code));
        assert_eq!(other.open_code(&sealed), Err(VaultError::OtherKey));
        assert_eq!(Vault::open(None).open_code(&sealed), Err(VaultError::NoKey));
        for cut in 0..bytes.len() {
            let error = first.open_code(&KeptCode::Sealed(bytes[..cut].to_vec())).unwrap_err();
            assert_eq!(error, VaultError::OtherKey);
        }
    }

    #[test]
    fn without_a_key_file_codes_are_text_and_are_sealed_when_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let plain = Vault::open(None).seal(&Secret::new("12345678")).unwrap();
        assert_eq!(plain, KeptCode::Plain("12345678".into()));
        assert!(!Vault::open(None).wants(&plain));
        let vault = vault(directory.path(), "a", &"a7".repeat(32));
        assert!(vault.wants(&plain) && !vault.wants(&vault.seal(&Secret::new("12345678")).unwrap()));
        assert_eq!(vault.open_code(&plain), Ok(Secret::new("12345678")));
    }

    #[test]
    fn a_key_file_that_is_lost_or_no_key_is_told_and_no_code_is_kept_as_text_for_it() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "secret", &"a7".repeat(31), &"zz".repeat(32)] {
            let error = vault(directory.path(), "bad", text).seal(&Secret::new("12345678")).unwrap_err();
            assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
        }
        let lost = Vault::open(Some(&directory.path().join("nothing")));
        let error = lost.seal(&Secret::new("12345678")).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("cannot be read"), "{error}");
        let sealed = KeptCode::Sealed(vec![7; 36]);
        assert!(matches!(lost.open_code(&sealed), Err(VaultError::File { .. })));
    }
}
