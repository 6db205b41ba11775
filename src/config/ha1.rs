//! HA1, the hash that stands for a password in Digest authentication (RFC 7616, 3.4.2): of name, realm and
//! password. Filled when the configuration is loaded, so that no password is kept; asked by `access`.

use std::fmt::{self, Write as _};

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::secret::Secret;

/// The realm that logins belong to: part of each hash, so it can never change.
pub const REALM: &str = "fanlight";

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// The hash of a text in lower-case hex, as Digest wants it.
    pub fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&<Md5 as md5::Digest>::digest(text.as_bytes())),
            Algorithm::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }

    /// The name in `WWW-Authenticate` and `Authorization`.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// HA1 of a user of the realm [`REALM`].
    pub fn ha1(self, name: &str, password: &str) -> Secret {
        Secret::new(self.hash(&format!("{name}:{REALM}:{password}")))
    }

    /// Whether this can be a hash of the algorithm in hex.
    pub(super) fn fits(self, text: &str) -> bool {
        let digits = match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 => 64,
        };
        // What `config show` prints for it.
        text == HIDDEN || text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// As secrets are shown.
const HIDDEN: &str = "***";

/// What is known of a user's password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ha1 {
    md5: Option<Secret>,
    sha256: Option<Secret>,
}

impl Ha1 {
    pub fn of(name: &str, password: &str) -> Self {
        let by = |algorithm: Algorithm| Some(algorithm.ha1(name, password));
        Self { md5: by(Algorithm::Md5), sha256: by(Algorithm::Sha256) }
    }

    /// From hashes that somebody else made. A hidden one is none: Digest's key would be known to everybody.
    pub(super) fn written(md5: Option<Secret>, sha256: Option<Secret>) -> Self {
        let lower = |secret: Option<Secret>| {
            let kept = secret.filter(|secret| secret.expose() != HIDDEN);
            kept.map(|secret| Secret::new(secret.expose().to_ascii_lowercase()))
        };
        Self { md5: lower(md5), sha256: lower(sha256) }
    }

    pub fn get(&self, algorithm: Algorithm) -> Option<&Secret> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_ref(),
            Algorithm::Sha256 => self.sha256.as_ref(),
        }
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_other_tools() {
        // printf 'anna:fanlight:secret' | md5sum, sha256sum
        let ha1 = Ha1::of("anna", "secret");
        let of = |algorithm| ha1.get(algorithm).unwrap().expose().to_owned();
        assert_eq!(of(Algorithm::Md5), "b1291cf142b3e73ba889e87ff2360915");
        assert_eq!(of(Algorithm::Sha256), "e517cec872d38df98ccef36e5aad661d9829b04fa44e9390c4724d5d203e4bc5");
        assert!(Algorithm::Md5.fits(&of(Algorithm::Md5)) && !Algorithm::Md5.fits(&of(Algorithm::Sha256)));
        assert_eq!(format!("{ha1:?}"), "***");
    }

    #[test]
    fn a_hash_that_was_printed_hidden_is_read_and_opens_nothing() {
        assert!(Algorithm::Md5.fits(HIDDEN), "a printed configuration can be read again");
        let hidden = || Some(Secret::new(HIDDEN));
        let ha1 = Ha1::written(hidden(), hidden());
        assert!(ha1.get(Algorithm::Md5).is_none() && ha1.get(Algorithm::Sha256).is_none());
    }
}
