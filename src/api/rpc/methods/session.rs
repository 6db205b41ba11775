//! Of the connection itself: who is there, what it wants to be told, what there is to ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::{Session, Topic};
use crate::api::rpc::table::{Method, Nothing, method, params};
use crate::telemetry;

pub fn methods() -> Vec<Method> {
    let viewer = Some(Role::Viewer);
    vec![
        method("ping", None, "Answers \"pong\".", ping),
        method("authenticate", None, "Logs in for the rest of the connection.", authenticate),
        method("subscribe_events", viewer, "Asks to be told what changes, by notifications.", subscribe),
        method("unsubscribe_events", viewer, "Ends that, for some topics or for all.", unsubscribe),
        method(
            "get_subscription_stats",
            viewer,
            "Who is told what, and how this connection keeps up.",
            stats,
        ),
        method("rpc.discover", viewer, "This interface as an OpenRPC document.", discover),
    ]
}

async fn ping(_: Arc<Session>, _: Nothing) -> Result<String, Error> {
    Ok("pong".to_owned())
}

params! {
    Authenticate {
        /// An API key (`fanlight keys create`) or a JSON Web Token (HS256).
        auth_token: String,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Authenticated {
    /// Always true: a token that is not taken is an error.
    authenticated: bool,
    role: Role,
    /// What it is called: the key's name, the token's subject.
    name: String,
    /// Methods that need one of these roles may be called.
    permissions: Vec<Role>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    expires_at: Option<SystemTime>,
}

async fn authenticate(session: Arc<Session>, params: Authenticate) -> Result<Authenticated, Error> {
    let identity = session.authenticate(&params.auth_token).await?;
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    Ok(Authenticated {
        authenticated: true,
        role: identity.role,
        permissions: roles.into_iter().filter(|role| *role <= identity.role).collect(),
        expires_at: identity.until,
        name: identity.name,
    })
}

params! {
    Subscribe {
        /// Which notifications to send.
        topics: Vec<Topic>,
        /// Only about these.
        filters: Option<Filters>,
    }
}

#[derive(Debug, Default, serde::Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    /// A camera: `camera0` or its id.
    device: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Subscribed {
    subscribed: bool,
    /// All topics of this connection.
    topics: Vec<Topic>,
    filters: Filters,
}

async fn subscribe(session: Arc<Session>, params: Subscribe) -> Result<Subscribed, Error> {
    if params.topics.is_empty() {
        return Err(Error::params("topics is empty; name at least one"));
    }
    let filters = params.filters.unwrap_or_default();
    let camera = match &filters.device {
        Some(device) => Some(session.rpc.house().control.camera(device)?.capture.id().to_owned()),
        None => None,
    };
    session.subscribe(&params.topics, camera.as_deref());
    Ok(Subscribed { subscribed: true, topics: session.topics().into_keys().collect(), filters })
}

params! {
    Unsubscribe {
        /// All of them when left out.
        topics: Option<Vec<Topic>>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Unsubscribed {
    unsubscribed: bool,
    /// What is left.
    topics: Vec<Topic>,
}

async fn unsubscribe(session: Arc<Session>, params: Unsubscribe) -> Result<Unsubscribed, Error> {
    session.unsubscribe(&params.topics.unwrap_or_default());
    Ok(Unsubscribed { unsubscribed: true, topics: session.topics().into_keys().collect() })
}

#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionStats {
    client: ClientStats,
    /// Connections now, subscribed or not.
    connections: usize,
    /// How many connections are told of each topic.
    subscribers: BTreeMap<String, usize>,
}

/// This connection.
#[derive(Debug, Serialize, ToSchema)]
struct ClientStats {
    id: u64,
    topics: Vec<Topic>,
    /// Messages that wait to be written.
    waiting: usize,
    /// Notifications sent.
    sent: u64,
    /// Notifications left out because this client read too slowly: the oldest go first. Answers never do.
    dropped: u64,
}

async fn stats(session: Arc<Session>, _: Nothing) -> Result<SubscriptionStats, Error> {
    let counts = session.outbox.counts();
    let subscribers =
        Topic::ALL.iter().map(|topic| (topic.name().to_owned(), session.rpc.subscribers(*topic)));
    Ok(SubscriptionStats {
        client: ClientStats {
            id: session.id,
            topics: session.topics().into_keys().collect(),
            waiting: counts.waiting,
            sent: counts.sent,
            dropped: counts.dropped,
        },
        connections: session.rpc.connections(),
        subscribers: subscribers.collect(),
    })
}

async fn discover(session: Arc<Session>, _: Nothing) -> Result<Value, Error> {
    Ok(session.rpc.document().clone())
}
