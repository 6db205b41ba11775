//! Who may do what: roles, users, API keys and tokens, and one policy that every door asks (HTTP, WHEP,
//! JSON-RPC, RTSP).
//!
//! [`Access`] follows the configuration as it is reloaded and looks API keys up in the database each time, so
//! that a key that is revoked is refused at once. Wrong logins are counted for each address: past
//! [`FAILURES`] a minute nothing is looked at any more. What can go wrong: a database that is not there,
//! which refuses API keys with words and nothing else.
//!
//! The rule, which docs/security.md explains: without `[access]` who reaches HTTP and RTSP may do everything,
//! and JSON-RPC so only on a loopback address; with it, control needs a login, and watching does when
//! `access.watch` says so. RTSP asks for a login as soon as there are users.

mod jwt;
pub mod keys;
pub mod limit;
mod session;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

pub use crate::config::model::Role;
use crate::config::model::{self, Watch};
pub use crate::config::{Algorithm, REALM};
use crate::config::{Config, Ha1, Secret};
use crate::storage::{ApiKey, Database};
use limit::Limiter;
pub use session::LONGEST as SESSION_LONGEST;
use session::Sessions;

/// Wrong logins of one address in a minute.
const FAILURES: u32 = 20;
/// How often what goes on is looked at though nothing is known to have changed: sessions grow old.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often it is looked whether a key was revoked.
const LOOK: Duration = Duration::from_secs(1);

/// The way somebody comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Pages, pictures, WHEP, REST.
    Http,
    /// JSON-RPC, on the address that is listened on.
    Rpc(IpAddr),
}

/// What somebody shows.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// An API key or a JSON Web Token.
    Token(&'a str),
    Password {
        name: &'a str,
        password: &'a str,
    },
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who somebody turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// For logs: a user's name, a key's name, a token's subject.
    pub name: String,
    pub role: Role,
    /// From then on it is nobody's.
    pub until: Option<SystemTime>,
    how: How,
    /// By which session: it ends with it.
    session: Option<session::Hash>,
}

/// By what somebody was let in at a door: for what goes on after that, see [`Access::ended`].
#[derive(Clone, Debug)]
pub struct Entered {
    pub door: Door,
    pub needs: Role,
    /// `None` who showed nothing.
    pub identity: Option<Identity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Key(String),
    /// What the token was signed with: another secret ends it.
    Token(Secret),
    /// What stood for the password: another password ends it.
    User(Ha1),
}

/// Why somebody does not get in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "this needs a login as {0}: an API key (`fanlight keys create`), a JSON Web Token, or a user's password"
    )]
    Login(&'static str),
    #[error("the login is wrong: {0}")]
    Wrong(String),
    #[error("this needs the role {needs}, and {name} is {has}")]
    Role { needs: &'static str, has: &'static str, name: String },
    #[error("too many wrong logins from this address; come again in {} s", .0.as_secs() + 1)]
    TooMany(Duration),
    #[error("API keys cannot be looked up: {0}")]
    Unavailable(String),
}

/// The policy and what it knows. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: watch::Receiver<Arc<Config>>,
    database: Result<Database, String>,
    failures: Mutex<Limiter>,
    sessions: Mutex<Sessions>,
    began: Instant,
    changes: watch::Sender<u64>,
}

impl Access {
    /// `database` is where API keys are, or why there is none.
    pub fn new(config: watch::Receiver<Arc<Config>>, database: Result<Database, String>) -> Self {
        Self(Arc::new(Inner {
            config,
            database,
            failures: Mutex::default(),
            sessions: Mutex::default(),
            began: Instant::now(),
            changes: watch::Sender::default(),
        }))
    }

    /// What somebody may do who shows nothing; `None` is nothing at all.
    pub fn anonymous(&self, door: Door) -> Option<Role> {
        anonymous(&self.0.config.borrow().access, door)
    }

    /// Whether RTSP readers have to log in (Digest).
    pub fn rtsp_login(&self) -> bool {
        !self.0.config.borrow().access.users.is_empty()
    }

    /// For Digest authentication in the realm [`REALM`]: HA1 of a user in hex, and the role. `None` for an
    /// unknown user, and for one whose hash of this algorithm is not known. Compare what you compute from
    /// it by [`same`], and hash by [`Algorithm::hash`].
    pub fn digest(&self, name: &str, algorithm: Algorithm) -> Option<(Secret, Role)> {
        let config = self.0.config.borrow();
        let user = config.access.users.iter().find(|user| user.name == name)?;
        Some((user.ha1.get(algorithm)?.clone(), user.role))
    }

    /// Finds out who somebody is. `from` is the address that wrong logins are counted for.
    ///
    /// # Errors
    /// Why the login is not taken.
    pub async fn identify(&self, from: Option<IpAddr>, shown: Credentials<'_>) -> Result<Identity, Denied> {
        let now = self.0.began.elapsed();
        self.failures().look(from, FAILURES, now).map_err(Denied::TooMany)?;
        let found = match shown {
            Credentials::Token(token) => self.token(token).await,
            Credentials::Password { name, password } => self.password(name, password),
        };
        if let Err(Denied::Wrong(why)) = &found {
            tracing::info!(?from, "a login was refused: {why}");
            // There was one just now.
            let _ = self.failures().take(from, FAILURES, now);
        }
        found
    }

    /// Finds out who somebody is and begins a session: what its cookie holds.
    ///
    /// # Errors
    /// Why the login is not taken.
    pub async fn login(
        &self,
        from: Option<IpAddr>,
        shown: Credentials<'_>,
    ) -> Result<(Identity, Secret), Denied> {
        let identity = self.identify(from, shown).await?;
        tracing::info!(?from, name = identity.name, role = identity.role.name(), "a session begins");
        let token = self.sessions().begin(identity.clone(), self.0.began.elapsed());
        Ok((identity, token))
    }

    /// Whose session it is, if it still goes on and its holder is still who they were.
    pub async fn session(&self, token: &str) -> Option<Identity> {
        let mut identity = self.sessions().of(token, self.0.began.elapsed())?;
        identity.session = Some(session::hash(token));
        if self.still(&identity).await {
            return Some(identity);
        }
        self.logout(token);
        None
    }

    pub fn logout(&self, token: &str) {
        if self.sessions().end(token) {
            self.0.changes.send_modify(|count| *count += 1);
        }
    }

    /// Waits until who was let in would not be any more: the session ended, the key was revoked, the token
    /// expired, the user or the permission to watch has gone.
    pub async fn ended(self, entered: Entered) {
        let mut changes = self.changes();
        while self.stands(&entered).await {
            let until = entered.identity.as_ref().and_then(|identity| identity.until);
            let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
            let wait = left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
            // Looked at again either way.
            let _ = tokio::time::timeout(wait, changes.changed()).await;
        }
    }

    async fn stands(&self, entered: &Entered) -> bool {
        if self.anonymous(entered.door) >= Some(entered.needs) {
            return true;
        }
        match &entered.identity {
            Some(identity) => identity.role >= entered.needs && self.still(identity).await,
            None => false,
        }
    }

    /// Changes when somebody who came in earlier may no longer be who it was: ask [`Access::still`] then.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Watches for that until it is dropped: the configuration, and the keys, which another process revokes.
    pub async fn watch(self) {
        let mut config = self.0.config.clone();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut keys = self.keys().await;
        loop {
            tokio::select! {
                changed = config.changed() => match changed {
                    Ok(()) => self.0.changes.send_modify(|count| *count += 1),
                    Err(_) => return,
                },
                _ = look.tick() => {
                    let now = self.keys().await;
                    // A database that is busy says nothing.
                    if now.is_some() && now != keys {
                        keys = now;
                        self.0.changes.send_modify(|count| *count += 1);
                    }
                }
            }
        }
    }

    async fn keys(&self) -> Option<Vec<ApiKey>> {
        self.0.database.as_ref().ok()?.keys().await.ok()
    }

    /// Whether somebody who came in earlier is still who it was: the key may be revoked, the token expired,
    /// the user gone.
    pub async fn still(&self, identity: &Identity) -> bool {
        if identity.until.is_some_and(|until| SystemTime::now() >= until) {
            return false;
        }
        if identity.session.is_some_and(|session| !self.sessions().goes_on(&session, self.0.began.elapsed()))
        {
            return false;
        }
        match &identity.how {
            How::Token(secret) => self.0.config.borrow().access.jwt_secret.as_ref() == Some(secret),
            How::User(ha1) => {
                let config = self.0.config.borrow();
                let same = |user: &model::User| {
                    user.name == identity.name && user.role == identity.role && user.ha1 == *ha1
                };
                config.access.users.iter().any(same)
            }
            How::Key(id) => match &self.0.database {
                // A database that is busy throws nobody out.
                Ok(database) => {
                    let same = |key: Option<ApiKey>| key.is_some_and(|key| key.role == identity.role);
                    database.key(id).await.map_or(true, same)
                }
                Err(_) => false,
            },
        }
    }

    async fn token(&self, token: &str) -> Result<Identity, Denied> {
        if let Some(id) = keys::id_of(token) {
            return self.key(id, token).await;
        }
        let secret = self.0.config.borrow().access.jwt_secret.clone();
        let Some(secret) = secret else {
            return Err(Denied::Wrong("it is not an API key, and access.jwt_secret is not set".into()));
        };
        let claims = jwt::verify(token, secret.expose(), SystemTime::now())
            .map_err(|error| Denied::Wrong(error.to_string()))?;
        let jwt::Claims { subject, role, expires } = claims;
        Ok(Identity {
            name: subject,
            role,
            until: Some(expires + jwt::LEEWAY),
            how: How::Token(secret),
            session: None,
        })
    }

    async fn key(&self, id: &str, key: &str) -> Result<Identity, Denied> {
        let database = self.0.database.as_ref().map_err(|why| Denied::Unavailable(why.clone()))?;
        let kept = database.key(id).await.map_err(|error| Denied::Unavailable(error.to_string()))?;
        let kept = kept.filter(|kept| keys::is_key_of(key, &kept.hash));
        let kept = kept.ok_or_else(|| Denied::Wrong("there is no such API key".into()))?;
        if kept.expires.is_some_and(|expires| SystemTime::now() >= expires) {
            return Err(Denied::Wrong(format!("the API key {id} has expired")));
        }
        Ok(Identity {
            name: kept.name,
            role: kept.role,
            until: kept.expires,
            how: How::Key(kept.id),
            session: None,
        })
    }

    fn password(&self, name: &str, password: &str) -> Result<Identity, Denied> {
        let wrong = || Denied::Wrong("there is no such user, or the password is another".into());
        let right = |algorithm: Algorithm| {
            let (ha1, role) = self.digest(name, algorithm)?;
            Some((same(ha1.expose(), algorithm.ha1(name, password).expose()), role))
        };
        let found = right(Algorithm::Sha256).or_else(|| right(Algorithm::Md5));
        match found {
            Some((true, role)) => {
                let config = self.0.config.borrow();
                let user = config.access.users.iter().find(|user| user.name == name).ok_or_else(wrong)?;
                let how = How::User(user.ha1.clone());
                Ok(Identity { name: name.to_owned(), role, until: None, how, session: None })
            }
            _ => Err(wrong()),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Limiter> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two texts are the same; takes as long for every wrong one of a length.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Whether who has this role, or none, may do what needs that one.
///
/// # Errors
/// What is missing.
pub fn allow(has: Option<Role>, name: &str, needs: Role) -> Result<(), Denied> {
    match has {
        Some(has) if has >= needs => Ok(()),
        Some(has) => Err(Denied::Role { needs: needs.name(), has: has.name(), name: name.to_owned() }),
        None => Err(Denied::Login(needs.name())),
    }
}

fn anonymous(access: &model::Access, door: Door) -> Option<Role> {
    match (access.configured(), door) {
        (false, Door::Http) => Some(Role::Admin),
        (false, Door::Rpc(bind)) => bind.to_canonical().is_loopback().then_some(Role::Admin),
        (true, Door::Http) => (access.watch == Watch::Open).then_some(Role::Viewer),
        (true, Door::Rpc(_)) => None,
    }
}

/// The address that a service without any configuration listens on.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::keys::NewKey;
    use super::*;
    use crate::config::model::User;
    use crate::storage::ApiKey;

    const NETWORK: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn user(name: &str, role: Role) -> User {
        User {
            name: name.into(),
            role,
            password_file: None,
            ha1_md5: None,
            ha1_sha256: None,
            ha1: Ha1::of(name, "secret"),
        }
    }

    fn config(access: model::Access) -> watch::Sender<Arc<Config>> {
        watch::Sender::new(Arc::new(Config { access, ..Config::default() }))
    }

    #[test]
    fn who_shows_nothing_may_do_what_the_configuration_says() {
        let none = model::Access::default();
        let required = model::Access { required: true, ..none.clone() };
        let users = model::Access { users: vec![user("anna", Role::Viewer)], ..none.clone() };
        let closed = model::Access { watch: Watch::Login, ..none.clone() };
        let (admin, viewer) = (Some(Role::Admin), Some(Role::Viewer));
        let table = [
            (&none, admin, admin, None),
            (&required, viewer, None, None),
            (&users, viewer, None, None),
            (&closed, None, None, None),
        ];
        for (access, http, rpc, rpc_on_a_network) in table {
            assert_eq!(anonymous(access, Door::Http), http, "{access:?}");
            assert_eq!(anonymous(access, Door::Rpc(LOOPBACK)), rpc, "{access:?}");
            assert_eq!(anonymous(access, Door::Rpc(NETWORK)), rpc_on_a_network, "{access:?}");
        }
    }

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        let roles = [Role::Viewer, Role::Operator, Role::Admin];
        for (n, has) in roles.into_iter().enumerate() {
            for (m, needs) in roles.into_iter().enumerate() {
                assert_eq!(allow(Some(has), "anna", needs).is_ok(), n >= m, "{has:?} {needs:?}");
            }
            assert_eq!(allow(None, "", has), Err(Denied::Login(has.name())));
        }
    }

    #[tokio::test]
    async fn users_keys_and_tokens_are_known_until_they_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let new = NewKey::make();
        let (name, created) = ("phone".to_owned(), SystemTime::now());
        let kept = |id: &str, hash: &[u8], expires| ApiKey {
            id: id.to_owned(),
            name: name.clone(),
            role: Role::Operator,
            hash: hash.to_vec(),
            created,
            expires,
        };
        database.add_key(&kept(&new.id, &new.hash, None)).await.unwrap();
        let old = NewKey::make();
        database.add_key(&kept(&old.id, &old.hash, Some(created - Duration::from_secs(1)))).await.unwrap();
        let sender = config(model::Access { users: vec![user("anna", Role::Admin)], ..Default::default() });
        let access = Access::new(sender.subscribe(), Ok(database.clone()));
        let key = access.identify(None, Credentials::Token(new.key.expose())).await.unwrap();
        assert_eq!((key.name.as_str(), key.role), ("phone", Role::Operator));
        let password = |password| Credentials::Password { name: "anna", password };
        let anna = access.identify(None, password("secret")).await.unwrap();
        assert_eq!(anna.role, Role::Admin);
        for wrong in [
            password("Secret"),
            Credentials::Password { name: "bert", password: "secret" },
            Credentials::Token(old.key.expose()),
            Credentials::Token(NewKey::make().key.expose()),
            Credentials::Token("eyJhbGciOiJIUzI1NiJ9.e30.x"),
            Credentials::Token(""),
        ] {
            let refused = access.identify(None, wrong).await;
            assert!(matches!(refused, Err(Denied::Wrong(_))), "{refused:?}");
        }
        assert!(access.still(&key).await && access.still(&anna).await);
        let mut changes = access.changes();
        let watching = tokio::spawn(access.clone().watch());
        tokio::time::sleep(Duration::from_millis(1)).await;
        database.remove_key(&new.id).await.unwrap();
        tokio::time::timeout(LOOK * 20, changes.changed()).await.unwrap().unwrap();
        assert!(!access.still(&key).await && access.still(&anna).await);
        let mut other = user("anna", Role::Admin);
        other.ha1 = Ha1::of("anna", "another");
        let users = model::Access { users: vec![other], ..Default::default() };
        sender.send_replace(Arc::new(Config { access: users, ..Config::default() }));
        tokio::time::timeout(LOOK * 20, changes.changed()).await.unwrap().unwrap();
        assert!(!access.still(&anna).await, "her password is another");
        watching.abort();
        sender.send_replace(Arc::default());
        assert!(!access.still(&key).await && !access.still(&anna).await);
        assert!(!access.still(&Identity { until: Some(created), ..anna }).await);
    }

    #[tokio::test]
    async fn a_session_is_over_with_a_logout_another_password_and_without_its_user() {
        let users = |password: &str| {
            let anna = User { ha1: Ha1::of("anna", password), ..user("anna", Role::Operator) };
            Arc::new(Config {
                access: model::Access { users: vec![anna], ..Default::default() },
                ..Config::default()
            })
        };
        let sender = watch::Sender::new(users("secret"));
        let access = Access::new(sender.subscribe(), Err("no database".into()));
        let login =
            async |password| access.login(None, Credentials::Password { name: "anna", password }).await;
        assert!(login("guess").await.is_err());
        let (anna, token) = login("secret").await.unwrap();
        let found = access.session(token.expose()).await.unwrap();
        assert_eq!((&found.name, found.role), (&anna.name, anna.role));
        assert_eq!(access.session("guess").await, None);
        let entered = Entered { door: Door::Http, needs: Role::Operator, identity: Some(found) };
        let watching = tokio::spawn(access.clone().ended(entered.clone()));
        let whoever = Entered { identity: Some(anna), ..entered };
        tokio::task::yield_now().await;
        assert!(!watching.is_finished());
        access.logout(token.expose());
        tokio::time::timeout(LOOK * 20, watching).await.expect("what goes on ends with it").unwrap();
        assert!(access.stands(&whoever).await, "and not what came by the password itself");
        assert_eq!(access.session(token.expose()).await, None);
        let (_, token) = login("secret").await.unwrap();
        sender.send_replace(users("another"));
        assert_eq!(access.session(token.expose()).await, None);
        sender.send_replace(users("secret"));
        assert_eq!(access.session(token.expose()).await, None, "it does not come back");
    }

    #[tokio::test]
    async fn an_address_that_guesses_is_not_listened_to_for_a_while() {
        let sender = config(model::Access { users: vec![user("anna", Role::Admin)], ..Default::default() });
        let access = Access::new(sender.subscribe(), Err("no database".into()));
        let right = Credentials::Password { name: "anna", password: "secret" };
        for _ in 0..FAILURES {
            let wrong = Credentials::Password { name: "anna", password: "guess" };
            assert!(matches!(access.identify(Some(LOOPBACK), wrong).await, Err(Denied::Wrong(_))));
        }
        assert!(matches!(access.identify(Some(LOOPBACK), right).await, Err(Denied::TooMany(_))));
        let other = Some(IpAddr::from([192, 0, 2, 1]));
        assert!(access.identify(other, right).await.is_ok(), "others are");
        let key = NewKey::make();
        let denied = access.identify(other, Credentials::Token(key.key.expose())).await;
        assert_eq!(denied, Err(Denied::Unavailable("no database".into())));
    }

    #[test]
    fn digest_finds_users_by_name_and_algorithm() {
        let mut bert = user("bert", Role::Operator);
        bert.ha1 = Ha1::default();
        let sender =
            config(model::Access { users: vec![user("anna", Role::Viewer), bert], ..Default::default() });
        let access = Access::new(sender.subscribe(), Err("no database".into()));
        let (ha1, role) = access.digest("anna", Algorithm::Md5).unwrap();
        assert_eq!(
            (ha1.expose(), role),
            (Algorithm::Md5.hash("anna:fanlight:secret").as_str(), Role::Viewer)
        );
        assert_eq!(access.digest("bert", Algorithm::Md5), None);
        assert_eq!(access.digest("carl", Algorithm::Sha256), None);
        assert!(access.rtsp_login() && same(ha1.expose(), ha1.expose()) && !same(ha1.expose(), ""));
    }
}
