//! JSON Web Tokens that others make for us (RFC 7519): signed with HS256 and the configured secret, with the
//! claims `role` and `exp`. Pure: the time is passed in. Every other algorithm is refused, `none` first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use crate::config::model::Role;

/// Clocks of two machines differ.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// A token with a role is a few hundred bytes.
const LONGEST: usize = 4096;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub subject: String,
    pub role: Role,
    pub expires: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("the token is neither an API key nor a JSON Web Token")]
    Shape,
    #[error("the token is signed by another algorithm than HS256")]
    Algorithm,
    #[error("the token's signature is wrong; it was made with another secret")]
    Signature,
    #[error("the token has no claim \"role\" of viewer, operator or admin, or no \"exp\"")]
    Claims,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet; compare the clocks")]
    Early,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    role: Role,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

/// Checks a token.
///
/// # Errors
/// What is wrong with it; nothing of it is believed then.
pub fn verify(token: &str, secret: &str, now: SystemTime) -> Result<Claims, JwtError> {
    if token.len() > LONGEST {
        return Err(JwtError::Shape);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Shape)?;
    let (header, body) = signed.split_once('.').ok_or(JwtError::Shape)?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Shape);
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| JwtError::Shape)?;
    if header.alg != "HS256" {
        return Err(JwtError::Algorithm);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &part(signature)?).map_err(|_| JwtError::Signature)?;
    let body: Body = serde_json::from_slice(&part(body)?).map_err(|_| JwtError::Claims)?;
    let expires = time(body.exp)?;
    if now > expires + LEEWAY {
        return Err(JwtError::Expired);
    }
    if let Some(nbf) = body.nbf
        && now + LEEWAY < time(nbf)?
    {
        return Err(JwtError::Early);
    }
    let subject = body.sub.or(body.user_id).unwrap_or_else(|| "token".to_owned());
    Ok(Claims { subject, role: body.role, expires })
}

/// Seconds since 1970, within what a clock can be.
fn time(seconds: f64) -> Result<SystemTime, JwtError> {
    let fits = (0.0..=1e11).contains(&seconds);
    fits.then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds)).ok_or(JwtError::Claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn token(header: &str, body: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn only_a_whole_token_of_our_secret_in_its_time_is_believed() {
        const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
        let body = |more: &str| format!(r#"{{"sub":"anna","role":"operator","exp":1700000060{more}}}"#);
        let table = [
            (token(HS256, &body(""), SECRET), Ok(Role::Operator)),
            (token(HS256, &body(r#","nbf":1700000010"#), SECRET), Ok(Role::Operator)),
            (token(HS256, &body(r#","nbf":1700000060"#), SECRET), Err(JwtError::Early)),
            (token(HS256, &body(""), "another secret of thirty-two byte"), Err(JwtError::Signature)),
            (token(r#"{"alg":"none"}"#, &body(""), SECRET), Err(JwtError::Algorithm)),
            (token(r#"{"alg":"HS512"}"#, &body(""), SECRET), Err(JwtError::Algorithm)),
            (token(r#"{"alg":"hs256"}"#, &body(""), SECRET), Err(JwtError::Algorithm)),
            (token(HS256, r#"{"role":"admin"}"#, SECRET), Err(JwtError::Claims)),
            (token(HS256, r#"{"role":"root","exp":1700000060}"#, SECRET), Err(JwtError::Claims)),
            (token(HS256, r#"{"exp":1700000060}"#, SECRET), Err(JwtError::Claims)),
            (token(HS256, r#"{"role":"admin","exp":1e300}"#, SECRET), Err(JwtError::Claims)),
            (token(HS256, r#"{"role":"admin","exp":1699999969}"#, SECRET), Err(JwtError::Expired)),
            (token(HS256, r#"{"role":"admin","exp":1699999971}"#, SECRET), Ok(Role::Admin)),
            ("a.b".into(), Err(JwtError::Shape)),
            (String::new(), Err(JwtError::Shape)),
            ("x".repeat(5000), Err(JwtError::Shape)),
        ];
        for (token, expected) in table {
            assert_eq!(verify(&token, SECRET, now()).map(|claims| claims.role), expected, "{token}");
        }
        let whole = token(HS256, &body(""), SECRET);
        assert_eq!(verify(&whole, SECRET, now()).unwrap().subject, "anna");
        let unsigned = whole.rsplit_once('.').unwrap().0;
        assert_eq!(verify(&format!("{unsigned}."), SECRET, now()), Err(JwtError::Signature));
    }
}
