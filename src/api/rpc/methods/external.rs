//! Cameras elsewhere: added, removed, looked for.

use std::sync::Arc;

use crate::access::Role;
use crate::api::rpc::error::Error;
use crate::api::rpc::session::Session;
use crate::api::rpc::table::{Method, Nothing, method, params};
use crate::config::Secret;
use crate::control::external::{Discovered, ExternalStream, ExternalStreams, NewStream, ScanInterval};

pub fn methods() -> Vec<Method> {
    let (viewer, operator, admin) = (Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin));
    vec![
        method(
            "discover_external_streams",
            operator,
            "Looks for cameras on the network now: asks ONVIF devices (WS-Discovery) and knocks at RTSP's ports \
             of the neighbours, or of the hosts that are named. Takes up to about ten seconds.",
            discover,
        ),
        method(
            "add_external_stream",
            admin,
            "Makes a stream elsewhere a camera like any other, with an alias and every output. It need not be \
             there yet.",
            add,
        ),
        method(
            "remove_external_stream",
            admin,
            "Takes a camera that was added away again. Its viewers' streams end, its recordings stay.",
            remove,
        ),
        method("get_external_streams", viewer, "What was added, and what was found.", list),
        method(
            "set_discovery_interval",
            admin,
            "How often cameras on the network are looked for without being asked. Kept over a restart.",
            interval,
        ),
    ]
}

params! {
    Discover {
        /// Only at these hosts, at most 128: `192.168.1.7`, `camera.local:8554`.
        hosts: Option<Vec<String>>,
    }
}

async fn discover(session: Arc<Session>, params: Discover) -> Result<Discovered, Error> {
    Ok(session.rpc.house().external.discover(&params.hosts.unwrap_or_default()).await?)
}

params! {
    Add {
        /// `rtsp://`, `rtsps://`, or `http(s)://` for MJPEG. A user and password in it are taken out and never
        /// given back.
        stream_url: String,
        /// For people; default: the host.
        stream_name: Option<String>,
        /// The camera's id: letters, digits, `-` and `_`. Default: made from the name.
        id: Option<String>,
        /// For the stream.
        username: Option<String>,
        /// For the stream.
        #[schema(value_type = Option<String>)]
        password: Option<Secret>,
    }
}

async fn add(session: Arc<Session>, params: Add) -> Result<ExternalStream, Error> {
    let Add { stream_url, stream_name, id, username, password } = params;
    let new = NewStream { stream_url, stream_name, id, username, password };
    Ok(session.rpc.house().external.add(new).await?)
}

params! {
    Remove {
        /// The camera's id, its alias, or the stream's URL.
        stream: String,
    }
}

async fn remove(session: Arc<Session>, params: Remove) -> Result<ExternalStream, Error> {
    Ok(session.rpc.house().external.remove(&params.stream).await?)
}

async fn list(session: Arc<Session>, _: Nothing) -> Result<ExternalStreams, Error> {
    Ok(session.rpc.house().external.list().await)
}

params! {
    Interval {
        /// Seconds, 60 to 86400; 0: never.
        scan_interval: u32,
    }
}

async fn interval(session: Arc<Session>, params: Interval) -> Result<ScanInterval, Error> {
    let interval = ScanInterval { scan_interval: params.scan_interval };
    Ok(session.rpc.house().external.set_interval(interval).await?)
}
