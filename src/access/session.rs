//! Sessions of browsers: who logged in on the dashboard's page and holds a cookie for it. Pure: time is passed in.
//!
//! Kept in memory, by the hash of what the cookie holds: a restart of the service ends them all. Bounded in number
//! and in age; what goes first is what was used longest ago.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Identity;
use crate::config::Secret;

/// A session ends when it was not used for this long, …
const IDLE: Duration = Duration::from_secs(7 * 86_400);
/// … and at the latest then.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Sessions at once.
const MOST: usize = 1024;
/// Sessions of one holder: nobody takes the others' places.
const MOST_OF_ONE: usize = 16;
const TOKEN_BYTES: usize = 32;

pub type Hash = [u8; 32];

#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<Hash, Session>,
}

#[derive(Debug)]
struct Session {
    identity: Identity,
    began: Duration,
    used: Duration,
}

impl Session {
    fn over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) > IDLE || now.saturating_sub(self.began) > LONGEST
    }
}

impl Sessions {
    /// Begins one, at `now` since any fixed moment: what its cookie holds, seen this once.
    pub fn begin(&mut self, identity: Identity, now: Duration) -> Secret {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
        if self.open.len() >= MOST {
            self.open.retain(|_, session| !session.over(now));
        }
        let same = |session: &Session| {
            session.identity.name == identity.name && session.identity.how == identity.how
        };
        self.make_room(MOST_OF_ONE, same);
        self.make_room(MOST, |_| true);
        self.open.insert(hash(&token), Session { identity, began: now, used: now });
        Secret::new(token)
    }

    /// Of those that are counted there is room for one more.
    fn make_room(&mut self, most: usize, counted: impl Fn(&Session) -> bool) {
        let counted = || self.open.iter().filter(|(_, session)| counted(session));
        if counted().count() < most {
            return;
        }
        let oldest = counted().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
        if let Some(oldest) = oldest {
            self.open.remove(&oldest);
        }
    }

    /// Whose it is, if it still goes on.
    pub fn of(&mut self, token: &str, now: Duration) -> Option<Identity> {
        let hash = hash(token);
        let session = self.open.get_mut(&hash)?;
        if session.over(now) {
            self.open.remove(&hash);
            return None;
        }
        session.used = now;
        Some(session.identity.clone())
    }

    /// Whether it still goes on. That is a use of it: something is watched by it.
    pub fn goes_on(&mut self, hash: &Hash, now: Duration) -> bool {
        let session = self.open.get_mut(hash).filter(|session| !session.over(now));
        session.map(|session| session.used = now).is_some()
    }

    /// Whether there was one.
    pub fn end(&mut self, token: &str) -> bool {
        self.open.remove(&hash(token)).is_some()
    }
}

/// The token has 256 random bits: its plain hash is one that nobody reverses.
pub fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::super::{How, Role};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn anna() -> Identity {
        Identity {
            name: "anna".into(),
            role: Role::Operator,
            until: None,
            how: How::Token(Secret::new("hush")),
            session: None,
        }
    }

    #[test]
    fn a_session_is_its_holders_until_it_is_ended() {
        let mut sessions = Sessions::default();
        let (one, other) = (sessions.begin(anna(), HOUR), sessions.begin(anna(), HOUR));
        assert_ne!(one, other);
        assert_eq!(sessions.of(one.expose(), HOUR), Some(anna()));
        assert_eq!(sessions.of("guess", HOUR), None);
        sessions.end(one.expose());
        assert_eq!(sessions.of(one.expose(), HOUR), None);
        assert_eq!(sessions.of(other.expose(), HOUR), Some(anna()));
    }

    #[test]
    fn a_session_lives_by_its_use_but_not_for_ever() {
        let mut sessions = Sessions::default();
        let (used, unused) = (sessions.begin(anna(), HOUR), sessions.begin(anna(), HOUR));
        let mut now = HOUR;
        while now < HOUR + LONGEST {
            assert!(sessions.of(used.expose(), now).is_some(), "{now:?}");
            now += IDLE - HOUR;
        }
        assert_eq!(sessions.of(unused.expose(), now), None);
        assert_eq!(sessions.of(used.expose(), HOUR + LONGEST + HOUR), None);
        assert!(sessions.open.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn there_are_only_so_many_and_the_one_that_is_not_used_goes_first() {
        let mut sessions = Sessions::default();
        let kept = sessions.begin(anna(), Duration::ZERO);
        let unused = sessions.begin(anna(), Duration::ZERO);
        assert!(sessions.of(kept.expose(), HOUR).is_some());
        for n in 0..MOST - 1 {
            sessions.begin(Identity { name: n.to_string(), ..anna() }, HOUR);
        }
        assert_eq!(sessions.open.len(), MOST);
        assert!(sessions.of(unused.expose(), HOUR).is_none() && sessions.of(kept.expose(), HOUR).is_some());
    }

    #[test]
    fn nobody_ends_the_sessions_of_others_by_many_of_their_own() {
        let mut sessions = Sessions::default();
        let other = sessions.begin(Identity { name: "bert".into(), ..anna() }, Duration::ZERO);
        let mine: Vec<Secret> = (0..MOST_OF_ONE as u64 + 1)
            .map(|n| sessions.begin(anna(), HOUR + Duration::from_secs(n)))
            .collect();
        let now = HOUR * 2;
        assert!(sessions.of(other.expose(), now).is_some());
        assert!(sessions.of(mine[0].expose(), now).is_none(), "the oldest goes");
        assert!(mine[1..].iter().all(|token| sessions.of(token.expose(), now).is_some()));
    }
}
