//! A publisher's token for a LiveKit room: made fresh for each attempt, or judged before it is used.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livekit_api::access_token::{AccessToken, Claims, VideoGrants};

use super::plan::Member;
use crate::config::Secret;
use crate::supervision::Failure;

/// It is needed once, for joining: LiveKit renews it for those who are in.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// What a publisher may: join one room and publish, and nothing more.
pub fn grants(room: &str) -> VideoGrants {
    VideoGrants {
        room_join: true,
        room: room.to_owned(),
        can_publish: true,
        can_subscribe: false,
        can_publish_data: false,
        can_update_own_metadata: false,
        ..VideoGrants::default()
    }
}

/// A token to join and publish.
pub fn make(key: &str, secret: &Secret, member: &Member) -> Result<Secret, Failure> {
    let token = AccessToken::with_api_key(key, secret.expose())
        .with_ttl(GOOD_FOR)
        .with_identity(&member.identity)
        .with_name(&member.name)
        .with_grants(grants(&member.room));
    // The words of the error hold nothing of the key.
    token
        .to_jwt()
        .map(Secret::new)
        .map_err(|error| Failure::unsupported(format!("no token can be made: {error}")))
}

/// What is wrong with a ready-made token, as far as can be seen without its key. `whence` is where it
/// comes from, for the words.
pub fn judge(token: &Secret, whence: &str, member: &Member, now: SystemTime) -> Result<(), Failure> {
    let Ok(claims) = Claims::from_unverified(token.expose()) else {
        return Err(Failure::refused(format!("{whence} holds no LiveKit token; put one there")));
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if (claims.exp as u64) < now {
        let ago = now - claims.exp as u64;
        return Err(Failure::refused(format!(
            "the token in {whence} expired {ago} s ago; put a new one there, it is read at once"
        )));
    }
    let video = &claims.video;
    if !video.room_join {
        return Err(Failure::refused(format!(
            "the token in {whence} does not allow to join a room (roomJoin)"
        )));
    }
    if !video.can_publish {
        return Err(Failure::refused(format!(
            "the token in {whence} does not allow to publish (canPublish)"
        )));
    }
    if video.room != member.room {
        return Err(Failure::refused(format!(
            "the token in {whence} is for room {:?}, not for {:?}",
            video.room, member.room
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(room: &str) -> Member {
        Member { room: room.into(), identity: "porch".into(), name: "Porch".into() }
    }

    #[test]
    fn a_publishers_token_lets_it_publish_into_its_room_and_nothing_more() {
        let token = make("key", &Secret::new("secret-secret-secret-secret-secret"), &member("yard")).unwrap();
        let claims = Claims::from_unverified(token.expose()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as usize;
        assert!(claims.exp > now + 500 && claims.exp <= now + 600, "{}", claims.exp);
        assert_eq!(
            (claims.iss.as_str(), claims.sub.as_str(), claims.name.as_str()),
            ("key", "porch", "Porch")
        );
        let expected = VideoGrants {
            room_join: true,
            room: "yard".into(),
            can_subscribe: false,
            can_publish_data: false,
            ..VideoGrants::default()
        };
        assert_eq!(claims.video, expected);
    }

    #[test]
    fn a_token_that_cannot_do_is_refused_before_the_server_is_bothered() {
        let good = make("key", &Secret::new("secret"), &member("yard")).unwrap();
        let now = SystemTime::now();
        assert_eq!(judge(&good, "/f", &member("yard"), now), Ok(()));
        let later = now + Duration::from_secs(3600);
        let said = |token: &Secret, room, at| judge(token, "/f", &member(room), at).unwrap_err();
        assert!(said(&good, "yard", later).message.contains("expired"), "{:?}", said(&good, "yard", later));
        assert!(said(&good, "other", now).message.contains("\"yard\""));
        assert!(said(&Secret::new("nonsense"), "yard", now).message.contains("no LiveKit token"));
        let watch = VideoGrants {
            room_join: true,
            room: "yard".into(),
            can_publish: false,
            ..VideoGrants::default()
        };
        let watch =
            AccessToken::with_api_key("k", "s").with_identity("x").with_grants(watch).to_jwt().unwrap();
        assert!(said(&Secret::new(watch), "yard", now).message.contains("canPublish"));
    }
}
