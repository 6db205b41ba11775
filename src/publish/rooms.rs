//! Asks a LiveKit server who is in a room: its signalling does not tell a participant why it was sent away.

use std::time::Duration;

use livekit_api::services::ServiceError;
use livekit_api::services::room::RoomClient;
use url::Url;

use super::plan::Member;
use crate::config::Secret;

/// A server that has not answered by then says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What the server knows of a member. The room's id is another one each time a room of its name is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There, under this id, which is another one each time somebody joins.
    Present {
        room: String,
        sid: String,
    },
    Absent {
        room: String,
    },
    NoRoom,
    /// It did not say.
    Unknown,
}

impl Presence {
    /// The id of the room.
    pub fn room(&self) -> Option<&str> {
        match self {
            Self::Present { room, .. } | Self::Absent { room } => Some(room),
            Self::NoRoom | Self::Unknown => None,
        }
    }
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
            let rooms = client.list_rooms(vec![member.room.clone()]).await?;
            let Some(room) = rooms.into_iter().find(|room| room.name == member.room) else {
                return Ok(Presence::NoRoom);
            };
            let all = client.list_participants(&member.room).await?;
            let found = all.into_iter().find(|participant| participant.identity == member.identity);
            Ok(match found {
                Some(participant) => Presence::Present { room: room.sid, sid: participant.sid },
                None => Presence::Absent { room: room.sid },
            })
        };
        match runtime.block_on(async { tokio::time::timeout(ANSWER_LIMIT, asked).await }) {
            Ok(Ok(presence)) => presence,
            // It went between the two questions.
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
