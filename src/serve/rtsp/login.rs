//! Who reads: Digest (RFC 7616 and, for older clients, RFC 2069) on every connection, Basic inside TLS only.
//!
//! The nonce is random and of one connection, so a login that was overheard is of no use on another. Wrong
//! logins are counted for each address. What the digest says of the URI is part of its hash and not compared
//! with the request: clients write the camera's, the track's or a path there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::{Answer, Status};
use crate::access::limit::Limiter;
use crate::access::{Access, Algorithm, Credentials, Denied, Door, Identity, REALM, Role, allow, same};
use crate::config::Secret;

/// Wrong logins of one address in a minute.
const FAILURES: u32 = 20;

/// What all connections ask who comes.
#[derive(Debug)]
pub struct Doorkeeper {
    access: Access,
    failures: Mutex<Limiter>,
    began: Instant,
}

impl Doorkeeper {
    pub fn new(access: Access) -> Self {
        Self { access, failures: Mutex::default(), began: Instant::now() }
    }

    /// Whether readers have to log in: there are users, or nobody may watch without.
    fn asks(&self) -> bool {
        self.access.rtsp_login() || self.access.anonymous(Door::Http) < Some(Role::Viewer)
    }

    /// Counts a wrong login when `wrong`; whether the address has too many of them.
    fn too_many(&self, from: IpAddr, wrong: bool) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.began.elapsed();
        if wrong {
            let _ = failures.take(Some(from), FAILURES, now);
        }
        failures.look(Some(from), FAILURES, now).is_err()
    }
}

/// The login of one connection.
#[derive(Debug)]
pub struct Login {
    nonce: String,
    from: IpAddr,
    tls: bool,
    who: Option<Who>,
}

/// Who came in, so that it can be asked again whether they still may.
#[derive(Debug)]
enum Who {
    Digest { name: String, algorithm: Algorithm, ha1: Secret },
    Basic(Identity),
}

impl Login {
    pub fn new(nonce: String, from: IpAddr, tls: bool) -> Self {
        Self { nonce, from: from.to_canonical(), tls, who: None }
    }

    /// Lets a request in, or answers it. `authorization` is the header as it came.
    pub async fn enter(
        &mut self,
        door: &Doorkeeper,
        method: &str,
        authorization: Option<&str>,
    ) -> Result<(), Answer> {
        if self.still(door).await {
            return Ok(());
        }
        self.who = None;
        let Some(shown) = authorization else { return Err(self.challenge()) };
        if door.too_many(self.from, false) {
            let why = "too many wrong logins from this address; come again in a minute";
            return Err(Answer::refusal(Status::Forbidden, why));
        }
        let (scheme, rest) = shown.split_once(' ').unwrap_or((shown, ""));
        let (who, name, role) = if scheme.eq_ignore_ascii_case("digest") {
            match self.digest(door, method, rest) {
                Some(entered) => entered,
                None => {
                    tracing::info!(from = %self.from, "an RTSP login was refused");
                    door.too_many(self.from, true);
                    return Err(self.challenge());
                }
            }
        } else if scheme.eq_ignore_ascii_case("basic") && self.tls {
            match self.basic(door, rest).await {
                Ok(identity) => {
                    let (name, role) = (identity.name.clone(), identity.role);
                    (Who::Basic(identity), name, role)
                }
                Err(Denied::TooMany(_)) => return Err(Answer::new(Status::Forbidden)),
                Err(_) => return Err(self.challenge()),
            }
        } else {
            // A password in the clear is not even looked at.
            return Err(self.challenge());
        };
        allow(Some(role), &name, Role::Viewer)
            .map_err(|denied| Answer::refusal(Status::Forbidden, &denied.to_string()))?;
        self.who = Some(who);
        Ok(())
    }

    /// Whether nothing is asked, or who came in earlier still may: a reload can change both.
    pub async fn still(&self, door: &Doorkeeper) -> bool {
        if !door.asks() {
            return true;
        }
        match &self.who {
            None => false,
            Some(Who::Basic(identity)) => door.access.still(identity).await,
            Some(Who::Digest { name, algorithm, ha1 }) => {
                door.access.digest(name, *algorithm).is_some_and(|(now, _)| same(now.expose(), ha1.expose()))
            }
        }
    }

    fn digest(&self, door: &Doorkeeper, method: &str, shown: &str) -> Option<(Who, String, Role)> {
        let shown = parameters(shown);
        let get = |name: &str| shown.get(name).map(String::as_str);
        let algorithm = match get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => [Algorithm::Md5, Algorithm::Sha256]
                .into_iter()
                .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))?,
        };
        let (name, nonce, uri, response) = (get("username")?, get("nonce")?, get("uri")?, get("response")?);
        if nonce != self.nonce || get("realm") != Some(REALM) {
            return None;
        }
        let (ha1, role) = door.access.digest(name, algorithm)?;
        let ha2 = algorithm.hash(&format!("{method}:{uri}"));
        let text = match get("qop") {
            None => format!("{}:{nonce}:{ha2}", ha1.expose()),
            Some("auth") => {
                let (count, client) = (get("nc")?, get("cnonce")?);
                format!("{}:{nonce}:{count}:{client}:auth:{ha2}", ha1.expose())
            }
            Some(_) => return None,
        };
        let right = same(&algorithm.hash(&text), &response.to_ascii_lowercase());
        right.then(|| (Who::Digest { name: name.to_owned(), algorithm, ha1 }, name.to_owned(), role))
    }

    async fn basic(&self, door: &Doorkeeper, shown: &str) -> Result<Identity, Denied> {
        let decoded = STANDARD.decode(shown.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, password) = decoded.as_deref().unwrap_or_default().split_once(':').unwrap_or_default();
        door.access.identify(Some(self.from), Credentials::Password { name, password }).await
    }

    /// Asks for a login. MD5 comes last: clients that know one challenge only keep the last one.
    fn challenge(&self) -> Answer {
        let digest = |algorithm: Algorithm| {
            let (nonce, algorithm) = (&self.nonce, algorithm.name());
            format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm={algorithm}")
        };
        let mut answer = Answer::new(Status::Unauthorized);
        if self.tls {
            answer = answer.header("WWW-Authenticate", format!("Basic realm=\"{REALM}\""));
        }
        answer
            .header("WWW-Authenticate", digest(Algorithm::Sha256))
            .header("WWW-Authenticate", digest(Algorithm::Md5))
    }
}

/// `name=value, name="value"` as a map, names in small letters; a quoted value may hold commas and `\"`.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let mut value = String::new();
        let used = if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let mut end = quoted.len();
            for (at, c) in quoted.char_indices() {
                match c {
                    _ if escaped => {
                        escaped = false;
                        value.push(c);
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    c => value.push(c),
                }
            }
            1 + end
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value = after[..end].trim().to_owned();
            end
        };
        found.insert(name.trim().to_ascii_lowercase(), value);
        rest = after[used..].trim_start_matches([',', ' ', '\t']);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::*;
    use crate::config::model::{self, User, Watch};
    use crate::config::{Config, Ha1};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn anna() -> User {
        User {
            name: "anna".into(),
            role: Role::Viewer,
            password_file: None,
            ha1_md5: None,
            ha1_sha256: None,
            ha1: Ha1::of("anna", "secret"),
        }
    }

    fn house(users: Vec<User>) -> (watch::Sender<Arc<Config>>, Doorkeeper) {
        let access = model::Access { users, ..Default::default() };
        let config = watch::Sender::new(Arc::new(Config { access, ..Config::default() }));
        let door = Doorkeeper::new(Access::new(config.subscribe(), Err("none".into())));
        (config, door)
    }

    fn digest(password: &str, nonce: &str, algorithm: Algorithm, qop: bool) -> String {
        let ha1 = algorithm.ha1("anna", password);
        let ha2 = algorithm.hash("DESCRIBE:rtsp://h/cam");
        let (middle, more) = if qop { ("1:c:auth:", ", qop=auth, nc=1, cnonce=\"c\"") } else { ("", "") };
        let response = algorithm.hash(&format!("{}:{nonce}:{middle}{ha2}", ha1.expose()));
        format!(
            "Digest username=\"anna\", realm=\"fanlight\", nonce=\"{nonce}\", uri=\"rtsp://h/cam\", \
             response=\"{response}\", algorithm={}{more}",
            algorithm.name()
        )
    }

    async fn status(login: &mut Login, door: &Doorkeeper, shown: Option<&str>) -> Option<Status> {
        login.enter(door, "DESCRIBE", shown).await.err().map(|answer| answer.status)
    }

    #[tokio::test]
    async fn a_digest_of_this_connection_lets_in_until_the_user_is_gone() {
        let (config, door) = house(vec![anna()]);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            for qop in [false, true] {
                let mut login = Login::new("n1".into(), HERE, false);
                assert_eq!(status(&mut login, &door, None).await, Some(Status::Unauthorized));
                let shown = digest("secret", "n1", algorithm, qop);
                assert_eq!(status(&mut login, &door, Some(&shown)).await, None, "{shown}");
                assert_eq!(status(&mut login, &door, None).await, None, "it has come in");
            }
        }
        let mut login = Login::new("n1".into(), HERE, false);
        for wrong in [
            digest("wrong", "n1", Algorithm::Sha256, false),
            digest("secret", "n2", Algorithm::Sha256, false),
            digest("secret", "n1", Algorithm::Sha256, false).replace("anna", "bert"),
            digest("secret", "n1", Algorithm::Md5, false).replace("MD5", "SHA-256"),
            digest("secret", "n1", Algorithm::Md5, true).replace("qop=auth", "qop=auth-int"),
            "Digest".into(),
            "Bearer x".into(),
        ] {
            assert_eq!(status(&mut login, &door, Some(&wrong)).await, Some(Status::Unauthorized), "{wrong}");
        }
        let shown = digest("secret", "n1", Algorithm::Md5, false);
        assert_eq!(status(&mut login, &door, Some(&shown)).await, None);
        config.send_modify(|config| Arc::make_mut(config).access.users[0].ha1 = Ha1::of("anna", "other"));
        assert!(!login.still(&door).await, "the password is another now");
        config.send_modify(|config| Arc::make_mut(config).access.users.clear());
        assert!(login.still(&door).await, "nobody is asked any more");
    }

    #[tokio::test]
    async fn basic_counts_inside_tls_only() {
        let (_config, door) = house(vec![anna()]);
        let shown = format!("Basic {}", STANDARD.encode("anna:secret"));
        let mut plain = Login::new("n".into(), HERE, false);
        assert_eq!(status(&mut plain, &door, Some(&shown)).await, Some(Status::Unauthorized));
        let mut tls = Login::new("n".into(), HERE, true);
        assert_eq!(status(&mut tls, &door, Some(&shown)).await, None);
        let wrong = format!("Basic {}", STANDARD.encode("anna:other"));
        let mut tls = Login::new("n".into(), HERE, true);
        assert_eq!(status(&mut tls, &door, Some(&wrong)).await, Some(Status::Unauthorized));
    }

    #[tokio::test]
    async fn who_guesses_is_not_listened_to_after_a_while() {
        let (_config, door) = house(vec![anna()]);
        let mut login = Login::new("n".into(), HERE, false);
        let wrong = digest("wrong", "n", Algorithm::Md5, false);
        for _ in 0..FAILURES {
            assert_eq!(status(&mut login, &door, Some(&wrong)).await, Some(Status::Unauthorized));
        }
        let right = digest("secret", "n", Algorithm::Md5, false);
        assert_eq!(status(&mut login, &door, Some(&right)).await, Some(Status::Forbidden));
        let mut other = Login::new("n".into(), IpAddr::from([10, 0, 0, 1]), false);
        assert_eq!(status(&mut other, &door, Some(&right)).await, None);
    }

    #[tokio::test]
    async fn a_login_is_asked_for_when_there_are_users_or_watching_needs_one() {
        let (config, door) = house(Vec::new());
        let login = Login::new("n".into(), HERE, false);
        assert!(login.still(&door).await);
        config.send_modify(|config| Arc::make_mut(config).access.watch = Watch::Login);
        assert!(!login.still(&door).await, "and without users nobody comes in");
    }

    #[test]
    fn parameters_are_read_with_and_without_quotes() {
        let found = parameters("username=\"a \\\"b, c\", Nonce=x ,uri = \"rtsp://h/?a=b\",qop=auth");
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!((get("username"), get("nonce")), (Some("a \"b, c"), Some("x")));
        assert_eq!((get("uri"), get("qop")), (Some("rtsp://h/?a=b"), Some("auth")));
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(text in "\\PC{0,200}", more in "[a=\", \\\\é]{0,50}") {
            parameters(&text);
            parameters(&more);
        }
    }
}
