//! Asks a LiveKit server who is in a room: its signalling does not tell a participant why it was sent away.

use std::time::Duration;

use livekit_api::services::ServiceError;
use livekit_api::services::room::RoomClient;
use url::Url;

use super::plan::Member;
use crate::config::Secret;

/// A server that has not answered by then says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What the server knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There, under this id, which is another one each time somebody joins.
    Present(String),
    Absent,
    NoRoom,
    /// It did not say.
    Unknown,
}

/// How to ask.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub server: Url,
    pub key: String,
    pub secret: Secret,
}

impl Rooms {
    /// Blocks for as long as it takes, a few seconds at most: for threads that may.
    pub fn presence(&self, member: &Member, runtime: &tokio::runtime::Handle) -> Presence {
        let asked = async {
            let client = RoomClient::with_api_key(self.server.as_str(), &self.key, self.secret.expose());
            tokio::time::timeout(ANSWER_LIMIT, client.list_participants(&member.room)).await
        };
        match runtime.block_on(asked) {
            Ok(Ok(all)) => {
                let found = all.into_iter().find(|participant| participant.identity == member.identity);
                found.map_or(Presence::Absent, |participant| Presence::Present(participant.sid))
            }
            Ok(Err(ServiceError::Twirp(error))) if error.to_string().contains("not_found") => {
                Presence::NoRoom
            }
            Ok(Err(error)) => {
                tracing::debug!("asking {} who is in room {}: {error}", self.server, member.room);
                Presence::Unknown
            }
            Err(_) => Presence::Unknown,
        }
    }
}
