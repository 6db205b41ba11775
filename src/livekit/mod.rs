//! The LiveKit server as this service uses it: tokens for viewers, TURN credentials, what a browser needs
//! to know, ingresses, and a check of it all.
//!
//! [`token`], [`turn`] and [`viewer`] are pure and serve HTTP; [`ingress`] and [`check`] ask the
//! server and serve the command line. What can go wrong is LiveKit being away, which no viewer of another
//! transport notices: nothing here is asked by the cameras.

pub mod check;
pub mod ingress;
pub mod token;
pub mod turn;
pub mod viewer;

use crate::config::Secret;
use crate::config::model::{Config, LiveKit, Target};

/// What tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub secret: Secret,
}

impl Key {
    /// The key of `[livekit]`, when both halves are there.
    pub fn of(livekit: &LiveKit) -> Option<Self> {
        Some(Self { name: livekit.api_key.clone()?, secret: livekit.api_secret.clone()? })
    }
}

/// The rooms that viewers may ask for: the configured ones, then those of the same server that cameras are
/// published into. The first one is meant when a viewer names none.
pub fn rooms(config: &Config) -> Vec<&str> {
    let mut rooms: Vec<&str> = Vec::new();
    let configured = config.livekit.rooms.iter().map(String::as_str);
    let published = config.publish.iter().filter_map(|output| match &output.target {
        Target::Livekit(to) if same_server(config, to.url.as_deref()) => Some(to.room.as_str()),
        Target::Whip(to) if same_server(config, to.url.as_deref()) => to.room.as_deref(),
        // An ingress is a server of its own: whose room it is cannot be told from its address.
        Target::Rtmp(to) => to.room.as_deref(),
        _ => None,
    });
    for room in configured.chain(published) {
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    rooms
}

/// Whether an output goes to the server of `[livekit]`, whose key viewers' tokens are signed with.
fn same_server(config: &Config, url: Option<&str>) -> bool {
    let Some(url) = url else { return true };
    let livekit = &config.livekit;
    [&livekit.url, &livekit.public_url].into_iter().flatten().any(|ours| authority(ours) == authority(url))
}

/// Host and port; `ws` and `http` lead to the same place.
fn authority(url: &str) -> (Option<String>, Option<u16>) {
    let Ok(url) = url::Url::parse(&http_url(url)) else { return (None, None) };
    (url.host_str().map(str::to_owned), url.port_or_known_default())
}

/// The server's HTTP side: `ws://sfu:7880/` as `http://sfu:7880`.
pub fn http_url(url: &str) -> String {
    let plain = url.trim_end_matches('/');
    match plain.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => format!("http://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => format!("https://{rest}"),
        _ => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::model::{Publish, PublishLiveKit, PublishWhip};

    use super::*;

    fn native(room: &str, url: Option<&str>) -> Target {
        Target::Livekit(PublishLiveKit {
            url: url.map(Into::into),
            api_key: None,
            api_secret: None,
            api_secret_file: None,
            token_file: None,
            room: room.into(),
            identity: None,
            name: None,
            stun_server: None,
        })
    }

    fn whip(room: Option<&str>, url: Option<&str>) -> Target {
        Target::Whip(PublishWhip {
            url: url.map(Into::into),
            token: None,
            token_file: None,
            room: room.map(Into::into),
            identity: None,
            name: None,
            stun_server: None,
        })
    }

    #[test]
    fn viewers_may_ask_for_the_configured_rooms_and_those_published_into_on_the_same_server() {
        let mut config = Config::default();
        config.livekit.url = Some("ws://sfu:7880".into());
        config.livekit.public_url = Some("wss://livekit.example.org".into());
        config.livekit.rooms = vec!["lobby".into(), "garden".into()];
        let targets = [
            native("garden", None),
            native("attic", Some("http://sfu:7880/")),
            native("far", Some("ws://elsewhere:7880")),
            whip(Some("cellar"), None),
            whip(Some("roof"), Some("https://livekit.example.org:443/whip/v1")),
            whip(Some("other"), Some("http://sfu:8080/w")),
            whip(None, Some("http://sfu:7880/whip/v1")),
        ];
        let publish =
            |(index, target): (usize, Target)| Publish { id: index.to_string(), camera: None, target };
        config.publish = targets.into_iter().enumerate().map(publish).collect();
        assert_eq!(rooms(&config), ["lobby", "garden", "attic", "cellar", "roof"]);
        assert_eq!(rooms(&Config::default()), [""; 0]);
    }

    #[test]
    fn the_http_side_of_a_server_is_known_by_its_scheme() {
        for (url, http) in [
            ("ws://sfu:7880", "http://sfu:7880"),
            ("wss://sfu/", "https://sfu"),
            ("http://sfu:7880/", "http://sfu:7880"),
            ("https://sfu/livekit", "https://sfu/livekit"),
        ] {
            assert_eq!(http_url(url), http);
        }
    }
}
