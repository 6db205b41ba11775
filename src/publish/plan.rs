//! What one output is to do: its `[[publish]]` with everything put in that it takes from elsewhere. Pure.
//!
//! Two plans that are equal need no restart. What the configuration's check should have caught stands in
//! [`Plan::way`] as words, and becomes the output's error.

use std::path::PathBuf;

use url::Url;

use crate::config::model::{
    Config, LiveKit, Publish, PublishLiveKit, PublishMediamtx, PublishRtmp, PublishTls, PublishWhip, Target,
};
use crate::config::{self, Secret};

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub id: String,
    /// The camera's id.
    pub camera: String,
    pub kind: &'static str,
    /// Or why there is none.
    pub way: Result<Way, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    Livekit(Room),
    Whip(Whip),
    Rtmp(Rtmp),
    Mediamtx(Mediamtx),
}

/// Somebody in a room of a LiveKit server.
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// `http(s)://`.
    pub server: Url,
    pub pass: Pass,
    pub member: Member,
    pub stun: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub room: String,
    pub identity: String,
    /// For people.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Whip {
    pub endpoint: Url,
    pub pass: Pass,
    /// LiveKit's own WHIP: whom a fresh token is made for, and the server's `http(s)://`.
    pub livekit: Option<(Url, Member)>,
    pub stun: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rtmp {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// With its query, in which some servers want a token.
    pub application: Secret,
    pub key: Pass,
    pub login: Option<(String, Secret)>,
    /// Whom an ingress makes of it.
    pub member: Option<Member>,
}

/// A path of a MediaMTX server.
#[derive(Clone, Debug, PartialEq)]
pub struct Mediamtx {
    /// `rtsp(s)://` or `srt://`, without a user and a query.
    pub url: Url,
    /// What stood in the query opens the door (`?jwt=…`).
    pub query: Option<Secret>,
    /// Without slashes at its ends.
    pub path: String,
    pub username: Option<String>,
    pub pass: Pass,
    pub any_certificate: bool,
    /// The control API.
    pub api: Option<Url>,
    /// None: as the server has it.
    pub record: Option<bool>,
}

/// What opens the peer's door.
#[derive(Clone, Debug, PartialEq)]
pub enum Pass {
    None,
    /// A LiveKit key: a token is made for every attempt.
    Key {
        key: String,
        secret: Secret,
    },
    Text(Secret),
    /// The first line of a file, read for every attempt.
    File(PathBuf),
}

impl Plan {
    pub fn of(publish: &Publish, config: &Config) -> Self {
        let first = || config.cameras.first().map(|camera| camera.id.clone());
        let camera = publish.camera.clone().or_else(first).unwrap_or_default();
        let found = config.cameras.iter().find(|other| other.id == camera);
        let title = found.map_or(camera.as_str(), |camera| camera.display_name());
        let way = match &publish.target {
            Target::Livekit(livekit) => room(livekit, &config.livekit, &camera, title).map(Way::Livekit),
            Target::Whip(target) => whip(target, &config.livekit, &camera, title).map(Way::Whip),
            Target::Rtmp(target) => rtmp(target, &camera, title).map(Way::Rtmp),
            Target::Mediamtx(target) => mediamtx(target).map(Way::Mediamtx),
        };
        Self { id: publish.id.clone(), camera, kind: publish.target.kind(), way }
    }

    /// The peer's address without anything secret, for people.
    pub fn target(&self) -> String {
        match &self.way {
            Ok(Way::Livekit(room)) => shown(&room.server, false).replacen("http", "ws", 1),
            Ok(Way::Whip(whip)) => shown(&whip.endpoint, whip.pass == Pass::None),
            Ok(Way::Rtmp(rtmp)) => rtmp.shown(),
            Ok(Way::Mediamtx(mediamtx)) => mediamtx.shown(),
            Err(_) => String::new(),
        }
    }

    /// What of the peer's address opens its door, as it may stand in errors of those who go there.
    pub fn address_secret(&self) -> Option<Secret> {
        let Way::Whip(whip) = self.way.as_ref().ok()? else { return None };
        let mut shown = whip.endpoint.path().to_owned();
        match whip.endpoint.query() {
            Some(query) => shown = format!("{shown}?{query}"),
            None if whip.pass != Pass::None => return None,
            None => {}
        }
        (shown != "/").then(|| Secret::new(shown))
    }

    /// Where to knock.
    pub fn peer(&self) -> Option<(String, u16)> {
        let of_url = |url: &Url| {
            let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((host, url.port_or_known_default()?))
        };
        match self.way.as_ref().ok()? {
            Way::Livekit(room) => of_url(&room.server),
            Way::Whip(whip) => of_url(&whip.endpoint),
            Way::Rtmp(rtmp) => Some((rtmp.host.clone(), rtmp.port)),
            // Nobody can knock at a UDP port; the API is there when the server is.
            Way::Mediamtx(plan) if plan.by_srt() => of_url(plan.api.as_ref()?),
            Way::Mediamtx(Mediamtx { url, .. }) => {
                let port = url.port().unwrap_or(if url.scheme() == "rtsps" { 322 } else { 554 });
                Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), port))
            }
        }
    }

    /// Whom it is in a LiveKit room.
    pub fn member(&self) -> Option<&Member> {
        match self.way.as_ref().ok()? {
            Way::Livekit(room) => Some(&room.member),
            Way::Whip(whip) => whip.livekit.as_ref().map(|(_, member)| member),
            Way::Rtmp(rtmp) => rtmp.member.as_ref(),
            Way::Mediamtx(_) => None,
        }
    }

    /// The file whose content decides whether the peer lets it in.
    pub fn pass_file(&self) -> Option<&PathBuf> {
        let pass = match self.way.as_ref().ok()? {
            Way::Livekit(room) => &room.pass,
            Way::Whip(whip) => &whip.pass,
            Way::Rtmp(rtmp) => &rtmp.key,
            Way::Mediamtx(mediamtx) => &mediamtx.pass,
        };
        match pass {
            Pass::File(path) => Some(path),
            _ => None,
        }
    }
}

impl Mediamtx {
    pub fn shown(&self) -> String {
        let query = if self.query.is_some() { "?***" } else { "" };
        format!("{}{query}", self.url)
    }

    pub fn by_srt(&self) -> bool {
        self.url.scheme() == "srt"
    }

    /// The whole address, for an SRT sink: path and login are in the stream id, the query is the sink's own
    /// (`passphrase=…`, `latency=…`).
    pub fn srt_address(&self, login: Option<(&str, &str)>) -> Secret {
        let encoded = |text: &str| {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
        };
        let login = login.map(|(user, password)| format!(":{user}:{password}")).unwrap_or_default();
        let stream = encoded(&format!("publish:{}{login}", self.path));
        let query = self.query.as_ref().map(|query| format!("&{}", query.expose())).unwrap_or_default();
        Secret::new(format!("{}?streamid={stream}{query}", self.srt_server()))
    }

    /// Where those who have no login read it by SRT.
    pub fn srt_for_readers(&self) -> String {
        format!("{}?streamid=read:{}", self.srt_server(), self.path)
    }

    fn srt_server(&self) -> String {
        let port = self.url.port().unwrap_or(8890);
        format!("srt://{}:{port}", self.url.host_str().unwrap_or_default())
    }

    /// The whole address, for an RTSP sink.
    pub fn address(&self) -> Secret {
        let query = self.query.as_ref().map(|query| format!("?{}", query.expose())).unwrap_or_default();
        Secret::new(format!("{}{query}", self.url))
    }
}

impl Rtmp {
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        // What stands in a query opens the door at many servers (`?token=…`).
        let application = match self.application.expose().split_once('?') {
            Some((application, _)) => format!("{application}?***"),
            None => self.application.expose().to_owned(),
        };
        format!("{scheme}://{host}:{}/{application}", self.port)
    }
}

/// A URL for people. `keyed`: its last segment is the stream key.
fn shown(url: &Url, keyed: bool) -> String {
    let mut url = url.clone();
    if keyed && let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().pop().push("***");
    }
    config::redact_url(url.as_str()).trim_end_matches('/').to_owned()
}

fn parse(url: &str, schemes: &[&str]) -> Result<Url, String> {
    config::check_url(url, schemes).map_err(|error| format!("url: {error}"))?;
    Url::parse(url).map_err(|error| format!("url: {error}"))
}

/// A LiveKit server's address as `http(s)://`, without a slash at its end.
fn server(url: Option<&String>) -> Result<Url, String> {
    let url = url.ok_or("it has no url, and [livekit] has none either")?;
    parse(url, &["ws", "wss", "http", "https"])?;
    let plain = match url.get(..2).filter(|start| start.eq_ignore_ascii_case("ws")) {
        Some(_) => format!("http{}", &url[2..]),
        None => url.clone(),
    };
    Url::parse(plain.trim_end_matches('/')).map_err(|error| format!("url: {error}"))
}

/// A path below a server's address, which may itself have one.
fn below(server: &Url, path: &str) -> Result<Url, String> {
    Url::parse(&format!("{}/{path}", server.as_str().trim_end_matches('/')))
        .map_err(|error| format!("url: {error}"))
}

fn key_of(livekit: &LiveKit) -> Option<Pass> {
    let (key, secret) = (livekit.api_key.clone()?, livekit.api_secret.clone()?);
    Some(Pass::Key { key, secret })
}

fn member(room: &str, identity: Option<&String>, name: Option<&String>, camera: &str, title: &str) -> Member {
    Member {
        room: room.to_owned(),
        identity: identity.map_or(camera, |identity| identity).to_owned(),
        name: name.map_or(title, |name| name).to_owned(),
    }
}

fn room(publish: &PublishLiveKit, livekit: &LiveKit, camera: &str, title: &str) -> Result<Room, String> {
    let own = publish.api_key.clone().zip(publish.api_secret.clone());
    let pass = match (&publish.token_file, own) {
        (Some(file), _) => Pass::File(file.clone()),
        (None, Some((key, secret))) => Pass::Key { key, secret },
        (None, None) => key_of(livekit)
            .ok_or("it has neither token_file nor api_key and api_secret, and [livekit] has no key either")?,
    };
    Ok(Room {
        server: server(publish.url.as_ref().or(livekit.url.as_ref()))?,
        pass,
        member: member(&publish.room, publish.identity.as_ref(), publish.name.as_ref(), camera, title),
        stun: publish.stun_server.clone(),
    })
}

fn whip(publish: &PublishWhip, livekit: &LiveKit, camera: &str, title: &str) -> Result<Whip, String> {
    let stun = publish.stun_server.clone();
    let url = publish.url.as_ref().map(|url| parse(url, &["http", "https"])).transpose()?;
    if let Some(room) = &publish.room {
        let pass = key_of(livekit).ok_or("with a room it needs api_key and api_secret of [livekit]")?;
        let server = match (&url, &livekit.url) {
            (_, Some(_)) => server(livekit.url.as_ref())?,
            (Some(url), None) => {
                let mut server = url.clone();
                server.set_path("");
                server
            }
            (None, None) => return Err("with a room it needs url, or the url of [livekit]".into()),
        };
        let endpoint = url.map_or_else(|| below(&server, "whip/v1"), Ok)?;
        let member = member(room, publish.identity.as_ref(), publish.name.as_ref(), camera, title);
        return Ok(Whip { endpoint, pass, livekit: Some((server, member)), stun });
    }
    let pass = match (&publish.token, &publish.token_file) {
        (_, Some(file)) => Pass::File(file.clone()),
        (Some(token), None) => Pass::Text(token.clone()),
        (None, None) => Pass::None,
    };
    Ok(Whip { endpoint: url.ok_or("it needs url or room")?, pass, livekit: None, stun })
}

fn rtmp(publish: &PublishRtmp, camera: &str, title: &str) -> Result<Rtmp, String> {
    let (plain, credentials) = config::take_credentials(&publish.url);
    let url = parse(&plain, &["rtmp", "rtmps"])?;
    let tls = url.scheme() == "rtmps";
    let mut application = url.path().trim_matches('/').to_owned();
    if let Some(query) = url.query() {
        application = format!("{application}?{query}");
    }
    let key = match (&publish.stream_key, &publish.stream_key_file) {
        (_, Some(file)) => Pass::File(file.clone()),
        (Some(key), None) => Pass::Text(key.clone()),
        // The usual form with everything in the address: rtmp://host/app/key.
        (None, None) => {
            let (before, key) = application
                .rsplit_once('/')
                .ok_or("it needs stream_key, stream_key_file, or /app/key in url")?;
            let (before, key) = (before.to_owned(), Pass::Text(Secret::new(key)));
            application = before;
            key
        }
    };
    if application.is_empty() {
        return Err("url needs the application's name: rtmp://host/app".into());
    }
    let login = credentials.map(|login| (login.username, login.password.unwrap_or_else(|| Secret::new(""))));
    Ok(Rtmp {
        host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(if tls { 443 } else { 1935 }),
        tls,
        application: Secret::new(application),
        key,
        login,
        member: publish
            .room
            .as_ref()
            .map(|room| member(room, publish.identity.as_ref(), None, camera, title)),
    })
}

fn mediamtx(publish: &PublishMediamtx) -> Result<Mediamtx, String> {
    let mut url = parse(&publish.url, &["rtsp", "rtsps", "srt"])?;
    let query = url.query().map(Secret::new);
    url.set_query(None);
    let path = url.path().trim_matches('/').to_owned();
    if path.is_empty() {
        return Err("url needs the path of the stream: rtsp://host:8554/porch".into());
    }
    let pass = match (&publish.password, &publish.password_file) {
        (_, Some(file)) => Pass::File(file.clone()),
        (Some(password), None) => Pass::Text(password.clone()),
        (None, None) => Pass::None,
    };
    Ok(Mediamtx {
        url,
        query,
        path,
        username: publish.username.clone(),
        pass,
        any_certificate: publish.tls == PublishTls::Any,
        api: publish.api.as_ref().map(|api| parse(api, &["http", "https"])).transpose()?,
        record: publish.record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, Source};

    fn config() -> Config {
        let mut camera = Camera::new("porch", Source::Test {});
        camera.name = Some("The porch".into());
        Config {
            cameras: vec![camera],
            livekit: LiveKit {
                url: Some("wss://live.example.org/sfu/".into()),
                api_key: Some("key".into()),
                api_secret: Some(Secret::new("hunter2")),
                ..LiveKit::default()
            },
            ..Config::default()
        }
    }

    fn plan(target: Target) -> Plan {
        Plan::of(&Publish { id: "out".into(), camera: None, target }, &config())
    }

    fn livekit() -> PublishLiveKit {
        serde_json::from_str(r#"{ "room": "yard" }"#).unwrap()
    }

    fn whip() -> PublishWhip {
        serde_json::from_str("{}").unwrap()
    }

    #[test]
    fn a_room_takes_address_and_key_from_the_livekit_section_and_names_from_the_camera() {
        let plan = plan(Target::Livekit(livekit()));
        assert_eq!(plan.target(), "wss://live.example.org/sfu");
        assert_eq!(plan.peer(), Some(("live.example.org".into(), 443)));
        let member = plan.member().unwrap();
        assert_eq!((&*member.identity, &*member.name, &*member.room), ("porch", "The porch", "yard"));
        assert!(!format!("{plan:?}").contains("hunter2"));
    }

    #[test]
    fn whip_with_a_room_goes_to_livekits_own() {
        let plan = plan(Target::Whip(PublishWhip { room: Some("yard".into()), ..whip() }));
        assert_eq!(plan.target(), "https://live.example.org/sfu/whip/v1");
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = Config { livekit: LiveKit::default(), ..config() };
        let of = |target| Plan::of(&Publish { id: "out".into(), camera: None, target }, &none).way;
        assert!(of(Target::Livekit(livekit())).unwrap_err().contains("[livekit]"));
        assert!(of(Target::Whip(whip())).unwrap_err().contains("url or room"));
        let rtmp = PublishRtmp {
            url: "rtmp://h/app".into(),
            stream_key: None,
            stream_key_file: None,
            room: None,
            identity: None,
        };
        assert!(of(Target::Rtmp(rtmp)).unwrap_err().contains("stream_key"));
    }

    #[test]
    fn an_address_is_taken_apart_and_its_key_is_never_shown() {
        let of = |url: &str, key: Option<&str>| {
            let stream_key = key.map(Secret::new);
            plan(Target::Rtmp(PublishRtmp {
                url: url.into(),
                stream_key,
                stream_key_file: None,
                room: Some("yard".into()),
                identity: None,
            }))
        };
        for (url, key, target, application, stream) in [
            ("rtmp://h/app", Some("s3cret"), "rtmp://h:1935/app", "app", "s3cret"),
            ("rtmps://h/app/s3cret", None, "rtmps://h:443/app", "app", "s3cret"),
            ("rtmp://h:77/a/b/s3cret?x=1", None, "rtmp://h:77/a/b", "a/b", "s3cret?x=1"),
            ("rtmp://h/app?token=s3cret", Some("k"), "rtmp://h:1935/app?***", "app?token=s3cret", "k"),
            ("rtmp://u:s3cret@[::1]/app/", Some("k"), "rtmp://[::1]:1935/app", "app", "k"),
        ] {
            let plan = of(url, key);
            assert_eq!(plan.target(), target);
            let Ok(Way::Rtmp(rtmp)) = &plan.way else { panic!("{plan:?}") };
            assert_eq!(rtmp.application.expose(), application);
            assert_eq!(rtmp.key, Pass::Text(Secret::new(stream)));
            assert!(!format!("{plan:?}").contains("s3cret"), "{plan:?}");
        }
        let keyed = PublishWhip { url: Some("http://h/w/s3cret".into()), ..whip() };
        assert_eq!(plan(Target::Whip(keyed)).target(), "http://h/w/***");
    }

    #[test]
    fn a_mediamtx_address_names_its_path_and_shows_no_secret() {
        let of = |url: &str| {
            let text = format!(r#"{{ "url": "{url}", "username": "u", "password": "s3cret" }}"#);
            plan(Target::Mediamtx(serde_json::from_str(&text).unwrap()))
        };
        for (url, target, path, port) in [
            ("rtsp://h:8554/yard/porch/", "rtsp://h:8554/yard/porch/", "yard/porch", 8554),
            ("rtsp://h/porch?jwt=s3cret", "rtsp://h/porch?***", "porch", 554),
            ("rtsps://h/porch", "rtsps://h/porch", "porch", 322),
        ] {
            let plan = of(url);
            assert_eq!((plan.target().as_str(), plan.peer()), (target, Some(("h".into(), port))));
            let Ok(Way::Mediamtx(mediamtx)) = &plan.way else { panic!("{plan:?}") };
            assert_eq!(mediamtx.path, path);
            assert!(!format!("{plan:?} {}", plan.target()).contains("s3cret"));
        }
        let plan = of("srt://h/yard/porch?passphrase=s3cret99999");
        assert_eq!((plan.target().as_str(), plan.peer()), ("srt://h/yard/porch?***", None));
        let Ok(Way::Mediamtx(mediamtx)) = &plan.way else { panic!("{plan:?}") };
        let address = mediamtx.srt_address(Some(("u", "s3 cret+%")));
        let stream = "publish%3Ayard%2Fporch%3Au%3As3%20cret%2B%25";
        let whole = format!("srt://h:8890?streamid={stream}&passphrase=s3cret99999");
        assert_eq!(address.expose(), whole);
        assert!(!format!("{plan:?} {address:?}").contains("s3"));
        assert!(of("rtsp://h:8554/").way.unwrap_err().contains("path of the stream"));
    }

    #[test]
    fn a_whip_address_that_is_a_key_is_known_as_one() {
        for (url, token, expected) in [
            ("http://h/w/s3cret", None, Some("/w/s3cret")),
            ("http://h/w?key=s3cret", Some("t"), Some("/w?key=s3cret")),
            ("http://h/whip", Some("t"), None),
            ("http://h/", None, None),
        ] {
            let whip = PublishWhip {
                url: Some(url.into()),
                token: token.map(Secret::new),
                token_file: None,
                room: None,
                identity: None,
                name: None,
                stun_server: None,
            };
            let publish = Publish { id: "o".into(), camera: None, target: Target::Whip(whip) };
            let secret = Plan::of(&publish, &Config::default()).address_secret();
            assert_eq!(secret.as_ref().map(Secret::expose), expected, "{url}");
        }
    }
}
