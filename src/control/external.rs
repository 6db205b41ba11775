//! Cameras elsewhere that are added by API: kept in the database, cameras like any other while the service runs.
//! And what is found of them on the network.
//!
//! An address comes from whoever may use the API, so it is looked at: its form and its host here, and each time
//! that the camera is opened (see [`crate::reach`]). Its user and password are taken out and never given back.
//! One change at a time; the database is written first, so that what was answered is still so after a restart.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex as Short, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use utoipa::ToSchema;

use super::Refusal;
use crate::cameras::aliases::numbered;
use crate::cameras::scan::{self, Found};
use crate::cameras::{Cameras, Taken};
use crate::config::model::{Camera, Idle, Source};
use crate::config::{self, Config, Secret};
use crate::reach::{Reach, ReachError};
use crate::storage::Database;
use crate::storage::external::KeptStream;
use crate::supervision::State;
use crate::telemetry;

const SCHEMES: [&str; 4] = ["rtsp", "rtsps", "http", "https"];
const LONGEST_URL: usize = 2048;
const LONGEST_NAME: usize = 100;
const LONGEST_LOGIN: usize = 256;
/// A name that is not looked up by then is not known.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
/// Names that are looked up at once.
const LOOKUPS: usize = 8;
/// Seconds between two looks around, at least and at most.
pub const INTERVALS: std::ops::RangeInclusive<u32> = 60..=86_400;
/// What was found is forgotten when it was not seen for this long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// And the oldest when there is more.
const FOUND: usize = 256;

/// What is to be added.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExternalStream)]
pub struct NewStream {
    /// `rtsp://`, `rtsps://`, or `http(s)://` for MJPEG. A user and password in it are taken out.
    pub stream_url: String,
    /// For people; default: the host.
    #[serde(default)]
    pub stream_name: Option<String>,
    /// The camera's id: letters, digits, `-` and `_`. Default: made from the name.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
}

/// A camera that was added by API.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExternalStream {
    /// The camera's alias: `camera3`. Null while a camera of the configuration has its id.
    pub device: Option<String>,
    /// The camera's id.
    pub id: String,
    pub stream_name: String,
    /// Without user and password.
    pub stream_url: String,
    /// `rtsp`, `rtsps`, `http` or `https`.
    pub stream_type: String,
    /// Whether it logs in there.
    pub has_login: bool,
    /// How the camera is.
    pub state: Option<State>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub added_at: SystemTime,
}

/// What was added, what was found, and how often it is looked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExternalStreams {
    pub external_streams: Vec<ExternalStream>,
    pub total: usize,
    /// As many may be added.
    pub max_streams: usize,
    /// Found on the network within the last day.
    pub discovered_streams: Vec<Found>,
    /// Seconds between two looks around; 0: never by itself.
    pub scan_interval: u32,
    /// When the last look around ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339_option")]
    pub last_scan: Option<SystemTime>,
}

/// What one look around found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Discovered {
    pub discovered_streams: Vec<Found>,
    pub total: usize,
    /// Seconds that it took.
    pub scan_duration: f64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub scan_timestamp: SystemTime,
}

/// How often cameras are looked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanInterval {
    /// Seconds, 60 to 86400; 0: never by itself.
    pub scan_interval: u32,
}

/// The operations. Cloning it clones a reference.
#[derive(Clone, Debug)]
pub struct External(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cameras: Cameras,
    config: watch::Receiver<Arc<Config>>,
    /// Why there is none, in words.
    database: Result<Database, String>,
    /// The networks that were let through when the service started, as those of the cameras are.
    reach: Reach,
    kept: Mutex<Vec<KeptStream>>,
    interval: watch::Sender<u32>,
    /// One look around at a time.
    looking: Arc<Semaphore>,
    seen: Short<Seen>,
    /// Changes that go on, see [`External::whole`].
    changing: TaskTracker,
}

#[derive(Debug, Default)]
struct Seen {
    found: BTreeMap<IpAddr, Found>,
    last_scan: Option<SystemTime>,
}

impl External {
    /// With those that were kept, which [`External::begin`] starts.
    pub fn new(
        cameras: Cameras,
        config: watch::Receiver<Arc<Config>>,
        database: Result<Database, String>,
        kept: Vec<KeptStream>,
        scan_seconds: u32,
    ) -> Self {
        let reach = Reach::new(config.borrow().external.allow_networks.clone());
        Self(Arc::new(Inner {
            cameras,
            config,
            database,
            reach,
            kept: Mutex::new(kept),
            interval: watch::Sender::new(scan_seconds),
            looking: Arc::new(Semaphore::new(1)),
            changing: TaskTracker::new(),
            seen: Short::default(),
        }))
    }

    /// Starts the cameras that were added before.
    pub async fn begin(&self) {
        for stream in self.0.kept.lock().await.iter() {
            if let Err(taken) = self.0.cameras.add(self.camera(stream)).await {
                tracing::warn!("stream {:?} was added by API and is left out: {taken}", stream.id);
            }
        }
    }

    /// All that were added, the oldest first, and what was found.
    pub async fn list(&self) -> ExternalStreams {
        let kept = self.0.kept.lock().await;
        let external_streams: Vec<ExternalStream> = kept.iter().map(|stream| self.view(stream)).collect();
        let seen = self.seen();
        ExternalStreams {
            total: external_streams.len(),
            external_streams,
            max_streams: self.0.config.borrow().external.max_streams,
            discovered_streams: seen.found.values().cloned().collect(),
            scan_interval: *self.0.interval.borrow(),
            last_scan: seen.last_scan,
        }
    }

    /// One that was added, by its id or alias.
    pub async fn get(&self, name: &str) -> Result<ExternalStream, Refusal> {
        let kept = self.0.kept.lock().await;
        let found = self.named(&kept, name).map(|stream| self.view(stream));
        found.ok_or_else(|| Refusal::NoExternal(name.to_owned()))
    }

    /// Whether the camera of this id was added by API.
    pub async fn has(&self, id: &str) -> bool {
        self.0.kept.lock().await.iter().any(|stream| stream.id == id)
    }

    /// Adds a camera. It need not be there yet.
    pub async fn add(&self, new: NewStream) -> Result<ExternalStream, Refusal> {
        let stream = checked(new, SystemTime::now())?;
        // Before anybody else has to wait.
        self.reachable(&stream.url).await?;
        let own = self.clone();
        self.whole(async move { own.take_in(stream).await }).await
    }

    /// Does it to its end, also when whoever asked has gone: half of a change would be none that anybody knows of.
    async fn whole<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = self.0.changing.spawn(change).await;
        done.unwrap_or_else(|panic| Err(Refusal::Dependency(panic.to_string())))
    }

    /// Waits for changes that have begun: before the cameras end.
    pub async fn finish(&self) {
        self.0.changing.close();
        self.0.changing.wait().await;
    }

    async fn take_in(&self, mut stream: KeptStream) -> Result<ExternalStream, Refusal> {
        let mut kept = self.0.kept.lock().await;
        let most = self.0.config.borrow().external.max_streams;
        if kept.len() >= most {
            return Err(Refusal::Conflict(format!(
                "there are {most} external streams already, as many as there may be; remove one, or set \
                 external.max_streams"
            )));
        }
        if let Some(same) = kept.iter().find(|kept| kept.url == stream.url) {
            return Err(Refusal::Conflict(format!("that stream is camera {:?} already", same.id)));
        }
        let taken = |id: &str| self.0.cameras.get(id).is_some() || kept.iter().any(|kept| kept.id == id);
        match stream.id.as_str() {
            "" => stream.id = free_id(&stream.name, taken),
            id if taken(id) => return Err(Refusal::Conflict(Taken(id.to_owned()).to_string())),
            _ => {}
        }
        let database = self.database()?;
        database.keep_stream(&stream).await.map_err(|error| Refusal::NotKept(error.to_string()))?;
        if let Err(taken) = self.0.cameras.add(self.camera(&stream)).await {
            if let Err(error) = database.forget_stream(&stream.id).await {
                tracing::error!("{error}: stream {:?} is tried again after a restart", stream.id);
            }
            return Err(Refusal::Conflict(taken.to_string()));
        }
        tracing::info!(camera = stream.id, "added by API: {}", config::redact_url(&stream.url));
        let view = self.view(&stream);
        kept.push(stream);
        Ok(view)
    }

    /// Takes one away, by its id, alias or URL; its viewers' streams end.
    pub async fn remove(&self, name: &str) -> Result<ExternalStream, Refusal> {
        let (own, name) = (self.clone(), name.to_owned());
        self.whole(async move { own.take_out(&name).await }).await
    }

    async fn take_out(&self, name: &str) -> Result<ExternalStream, Refusal> {
        let mut kept = self.0.kept.lock().await;
        let none = || Refusal::NoExternal(config::redact_url(name));
        let id = self.named(&kept, name).or_else(|| by_url(&kept, name)).ok_or_else(none)?.id.clone();
        let place = kept.iter().position(|stream| stream.id == id).ok_or_else(none)?;
        let forgotten = self.database()?.forget_stream(&id).await;
        forgotten.map_err(|error| Refusal::NotKept(error.to_string()))?;
        let view = self.view(&kept[place]);
        kept.remove(place);
        self.0.cameras.remove(&id).await;
        tracing::info!(camera = id, "removed by API");
        Ok(view)
    }

    /// Looks around now: at these hosts (`192.168.1.7`, `camera.local:8554`), or in this machine's networks.
    pub async fn discover(&self, hosts: &[String]) -> Result<Discovered, Refusal> {
        if hosts.len() > scan::HOSTS {
            return Err(Refusal::Invalid(format!("at most {} hosts at a time", scan::HOSTS)));
        }
        let Ok(turn) = Arc::clone(&self.0.looking).try_acquire_owned() else {
            return Err(Refusal::Conflict("it is being looked around already; its results come soon".into()));
        };
        let hosts: Vec<Host> = hosts.iter().map(|host| Host::parse(host)).collect::<Result<_, _>>()?;
        Ok(self.look(hosts, turn).await)
    }

    /// Sets how often it is looked around, from now on and after a restart.
    pub async fn set_interval(&self, interval: ScanInterval) -> Result<ScanInterval, Refusal> {
        let seconds = interval.scan_interval;
        if seconds != 0 && !INTERVALS.contains(&seconds) {
            return Err(Refusal::Invalid(format!(
                "scan_interval={seconds} is not possible: {} to {} seconds, or 0 for never",
                INTERVALS.start(),
                INTERVALS.end()
            )));
        }
        let kept = self.database()?.keep_scan_seconds(seconds).await;
        kept.map_err(|error| Refusal::NotKept(error.to_string()))?;
        self.0.interval.send_replace(seconds);
        tracing::info!("cameras on the network are looked for every {seconds} s (0: never)");
        Ok(interval)
    }

    pub fn interval(&self) -> ScanInterval {
        ScanInterval { scan_interval: *self.0.interval.borrow() }
    }

    /// Looks around as often as is set, until the service stops.
    pub async fn scan(self, stop: CancellationToken) {
        let mut interval = self.0.interval.subscribe();
        let scanning = async {
            loop {
                let seconds = *interval.borrow_and_update();
                let due = async {
                    match seconds {
                        0 => std::future::pending().await,
                        _ => sleep(Duration::from_secs(seconds.into())).await,
                    }
                };
                tokio::select! {
                    () = due => {
                        // Somebody who looks at the moment does it for this one too.
                        if let Ok(turn) = Arc::clone(&self.0.looking).try_acquire_owned() {
                            self.look(Vec::new(), turn).await;
                        }
                    }
                    changed = interval.changed() => if changed.is_err() { return },
                }
            }
        };
        stop.run_until_cancelled(scanning).await;
    }

    /// `turn` ends with the last look-up of a name, which nothing can break off.
    async fn look(&self, mut hosts: Vec<Host>, turn: OwnedSemaphorePermit) -> Discovered {
        let began = Instant::now();
        let named = !hosts.is_empty();
        // Addresses first: they wait for nobody.
        hosts.sort_by_key(|host| host.name.parse::<IpAddr>().is_err());
        let turn = Arc::new(turn);
        let looking =
            stream::iter(hosts).map(|host| host.resolve(Arc::clone(&turn))).buffer_unordered(LOOKUPS);
        let looked_up = looking.take_until(Box::pin(sleep(LOOKUP_WITHIN)));
        let addresses: Vec<SocketAddr> = looked_up.filter_map(std::future::ready).collect().await;
        let found = match named && addresses.is_empty() {
            true => Vec::new(),
            false => scan::look(&addresses, &self.0.reach).await,
        };
        let now = SystemTime::now();
        let mut seen = self.seen();
        for one in &found {
            seen.found.insert(one.address, one.clone());
        }
        seen.last_scan = Some(now);
        let old = |found: &Found| now.duration_since(found.last_seen).is_ok_and(|age| age > FORGOTTEN_AFTER);
        seen.found.retain(|_, found| !old(found));
        while seen.found.len() > FOUND {
            let oldest = seen.found.values().min_by_key(|found| found.last_seen).map(|found| found.address);
            let Some(oldest) = oldest else { break };
            seen.found.remove(&oldest);
        }
        Discovered {
            total: found.len(),
            discovered_streams: found,
            scan_duration: began.elapsed().as_secs_f64(),
            scan_timestamp: now,
        }
    }

    /// Whether the URL's host may be gone to now. A name that is not known is refused too: it may be misspelt.
    async fn reachable(&self, url: &str) -> Result<(), Refusal> {
        let (reach, url) = (self.0.reach.clone(), url.to_owned());
        let looking = tokio::task::spawn_blocking(move || reach.pinned(&url));
        match timeout(LOOKUP_WITHIN, looking).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error @ ReachError::Lookup(..)))) => Err(Refusal::Invalid(format!(
                "{error}; write the camera's address, or look whether the name is right"
            ))),
            Ok(Ok(Err(error))) => Err(Refusal::Invalid(error.to_string())),
            Ok(Err(_)) | Err(_) => {
                let seconds = LOOKUP_WITHIN.as_secs();
                Err(Refusal::Dependency(format!("the host could not be looked up within {seconds} s")))
            }
        }
    }

    fn database(&self) -> Result<&Database, Refusal> {
        self.0.database.as_ref().map_err(|why| Refusal::NotKept(why.clone()))
    }

    fn named<'k>(&self, kept: &'k [KeptStream], name: &str) -> Option<&'k KeptStream> {
        kept.iter().find(|stream| stream.id == name).or_else(|| {
            let id = self.0.cameras.named(name)?.id().to_owned();
            kept.iter().find(|stream| stream.id == id)
        })
    }

    fn view(&self, stream: &KeptStream) -> ExternalStream {
        // Another camera may have the id by now.
        let capture = self.0.cameras.get(&stream.id).filter(|capture| capture.camera().confined.is_some());
        let entry = capture.as_ref().and_then(|capture| self.0.cameras.entry(capture.id()));
        ExternalStream {
            device: entry.map(|entry| entry.alias),
            id: stream.id.clone(),
            stream_name: stream.name.clone(),
            stream_url: config::redact_url(&stream.url),
            stream_type: scheme(&stream.url),
            has_login: stream.username.is_some() || stream.password.is_some(),
            state: capture.map(|capture| capture.status().lifecycle.state),
            added_at: stream.added,
        }
    }

    fn camera(&self, stream: &KeptStream) -> Camera {
        let KeptStream { id, name, url, username, password, .. } = stream.clone();
        let source = Source::network(url, username, password);
        Camera {
            name: Some(name),
            idle: Idle::Close,
            confined: Some(self.0.reach.networks().to_vec()),
            ..Camera::new(id, source)
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Plain data that is whole after every statement.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is going to be kept, if its form is good. The id is empty when none was given.
fn checked(new: NewStream, now: SystemTime) -> Result<KeptStream, Refusal> {
    let NewStream { stream_url, stream_name, id, username, password } = new;
    let invalid = |words: String| Refusal::Invalid(words);
    if stream_url.len() > LONGEST_URL {
        return Err(invalid(format!("stream_url is longer than {LONGEST_URL} bytes")));
    }
    config::check_url(&stream_url, &SCHEMES).map_err(|words| invalid(format!("stream_url: {words}")))?;
    let (url, inside) = config::take_credentials(&stream_url);
    let (user_inside, password_inside) = inside.map_or((None, None), |it| (Some(it.username), it.password));
    let username = username.or(user_inside).filter(|name| !name.is_empty());
    let password = password.or(password_inside);
    for (what, text) in
        [("username", username.as_deref()), ("password", password.as_ref().map(Secret::expose))]
    {
        if text.is_some_and(|text| text.len() > LONGEST_LOGIN || text.chars().any(char::is_control)) {
            return Err(invalid(format!(
                "{what} is longer than {LONGEST_LOGIN} bytes or has a control character in it"
            )));
        }
    }
    if let Some(id) = &id {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(invalid(format!("id {id:?} is not possible: 1 to 64 letters, digits, - and _")));
        }
        if numbered(id).is_some() {
            return Err(invalid(format!("id {id:?} is not possible: such names are aliases")));
        }
        if is_of_printers(id) {
            return Err(invalid(format!("id {id:?} is not possible: cameras of printers have such ids")));
        }
    }
    let host = || Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name = stream_name.unwrap_or_else(host);
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(invalid(format!("stream_name has 1 to {LONGEST_NAME} characters, none of control")));
    }
    let id = id.unwrap_or_default();
    Ok(KeptStream { id, name: name.to_owned(), url, username, password, added: now })
}

/// Whether cameras of printers have such ids: `7`, `printer-7`.
fn is_of_printers(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_digit()) || id.starts_with("printer-")
}

/// An id like the name that is not taken.
fn free_id(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut plain = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' | '_' => plain.push(c),
            _ if !plain.is_empty() && !plain.ends_with('-') => plain.push('-'),
            _ => {}
        }
        if plain.len() == 56 {
            break;
        }
    }
    let plain = plain.trim_end_matches('-');
    let plain = match plain {
        "" => "stream".to_owned(),
        plain if is_of_printers(plain) => format!("stream-{plain}"),
        plain => plain.to_owned(),
    };
    let good = |id: &String| !taken(id) && numbered(id).is_none() && !is_of_printers(id);
    let more = (2_u32..).map(|number| format!("{plain}-{number}"));
    // There are fewer cameras than numbers.
    std::iter::once(plain.to_owned()).chain(more).find(good).unwrap_or_default()
}

/// The stream of this URL, written with its secrets or as it is shown. Two that are shown alike are neither.
fn by_url<'k>(kept: &'k [KeptStream], url: &str) -> Option<&'k KeptStream> {
    let (plain, _) = config::take_credentials(url);
    let exact = kept.iter().find(|stream| stream.url == plain);
    let mut shown = kept.iter().filter(|stream| config::redact_url(&stream.url) == plain);
    exact.or_else(|| shown.next().filter(|_| shown.next().is_none()))
}

fn scheme(url: &str) -> String {
    url.split_once("://").map_or(url, |(scheme, _)| scheme).to_ascii_lowercase()
}

/// A host to knock at; port 0 is those of RTSP.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: String,
    port: u16,
}

impl Host {
    /// `192.168.1.7`, `camera.local`, `[fd00::7]:8554`.
    fn parse(text: &str) -> Result<Self, Refusal> {
        let address: Result<config::PublicAddress, _> = text.parse();
        let address = address.map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            Refusal::Invalid(format!(
                "{shown:?} is no host; write 192.168.1.7, camera.local:8554 or [fd00::7]"
            ))
        })?;
        let name = match address.host {
            config::PublicHost::Ip(ip) => ip.to_string(),
            config::PublicHost::Name(name) => name,
        };
        Ok(Self { name, port: address.port.unwrap_or(0) })
    }

    /// The first of its addresses; nobody when it is not known.
    async fn resolve(self, turn: Arc<OwnedSemaphorePermit>) -> Option<SocketAddr> {
        if let Ok(ip) = self.name.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, self.port));
        }
        let looking = tokio::task::spawn_blocking(move || {
            let found = (self.name.as_str(), self.port).to_socket_addrs();
            drop(turn);
            found.ok()?.next()
        });
        looking.await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(url: &str) -> NewStream {
        NewStream { stream_url: url.into(), ..NewStream::default() }
    }

    fn check(stream: NewStream) -> Result<KeptStream, Refusal> {
        checked(stream, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn credentials_are_taken_out_of_a_url_and_those_beside_it_go_first() {
        let of = |stream: NewStream| {
            let kept = check(stream).unwrap();
            let password = kept.password.map(|password| password.expose().to_owned());
            (kept.url, kept.username, password)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(new("rtsp://a:b%40c@cam/x")), ("rtsp://cam/x".into(), some("a"), some("b@c")));
        assert_eq!(of(new("rtsp://cam/x")), ("rtsp://cam/x".into(), None, None));
        let beside =
            NewStream { username: some("u"), password: Some(Secret::new("p")), ..new("http://a:b@cam/x") };
        assert_eq!(of(beside), ("http://cam/x".into(), some("u"), some("p")));
    }

    #[test]
    fn what_is_no_stream_is_refused_with_words_that_show_no_password() {
        let id = |id: &str| NewStream { id: Some(id.into()), ..new("rtsp://cam/") };
        let name = |name: &str| NewStream { stream_name: Some(name.into()), ..new("rtsp://cam/") };
        let long = format!("rtsp://cam/{}", "x".repeat(LONGEST_URL));
        for stream in [
            new(""),
            new("cam"),
            new("file:///etc/passwd"),
            new("rtmp://cam/x"),
            new("udp://239.0.0.1:1234"),
            new("rtsp://a:hunter2@/x"),
            new("ftp://a:hunter2@cam/x"),
            new("rtsp://a:hunter2@cam:99999/x"),
            new("rtsp://cam/a b"),
            new(&long),
            new("rtsp://a:hunter2%0d%0aX@cam/x"),
            id("a b"),
            id("../x"),
            id(""),
            id("camera3"),
            id("17"),
            id("printer-1"),
            name("  "),
            name(&"x".repeat(101)),
            name("a\nb"),
            NewStream { username: Some("a\r\nb".into()), ..new("rtsp://cam/") },
        ] {
            let Err(Refusal::Invalid(words)) = check(stream.clone()) else { panic!("{stream:?}") };
            assert!(!words.contains("hunter2"), "{words}");
        }
    }

    #[test]
    fn an_id_is_made_from_the_name() {
        let taken = ["gate".to_owned(), "gate-2".to_owned()];
        for (name, id) in [
            ("The Yard", "the-yard"),
            ("Gate", "gate-3"),
            ("192.168.1.7", "192-168-1-7"),
            ("[fd00::7]", "fd00-7"),
            ("Über die Straße!", "ber-die-stra-e"),
            ("日本", "stream"),
            ("camera0", "camera0-2"),
            ("17", "stream-17"),
            ("Printer 3", "stream-printer-3"),
        ] {
            assert_eq!(free_id(name, |id| taken.contains(&id.to_owned())), id, "{name}");
        }
    }

    #[test]
    fn a_stream_is_found_by_its_url_as_it_was_written_or_is_shown() {
        let of = |id: &str, url: &str| KeptStream { id: id.into(), ..check(new(url)).unwrap() };
        let kept = [
            of("a", "rtsp://anna:x@cam/1"),
            of("b", "rtsp://cam/2?token=one"),
            of("c", "rtsp://cam/3?token=one"),
            of("d", "rtsp://cam/3?token=two"),
        ];
        for (url, id) in [
            ("rtsp://cam/1", Some("a")),
            ("rtsp://anna:x@cam/1", Some("a")),
            ("rtsp://cam/2?token=***", Some("b")),
            ("rtsp://cam/3?token=two", Some("d")),
            ("rtsp://cam/3?token=***", None),
            ("rtsp://cam/4", None),
        ] {
            assert_eq!(by_url(&kept, url).map(|stream| stream.id.as_str()), id, "{url}");
        }
    }

    #[test]
    fn hosts_are_addresses_or_names_with_a_port_or_without() {
        for (text, expected) in [
            ("192.168.1.7", Some(("192.168.1.7", 0))),
            ("camera.local:8554", Some(("camera.local", 8554))),
            ("[fd00::7]:1", Some(("fd00::7", 1))),
            ("rtsp://x", None),
            ("a b", None),
            ("", None),
            ("224.0.0.1", None),
        ] {
            let host = Host::parse(text).ok();
            assert_eq!(host.as_ref().map(|host| (host.name.as_str(), host.port)), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_added_has_an_id_that_is_one_and_a_url_without_a_login(
            name in "\\PC{1,100}",
            user in "[a-z@:/%]{0,8}",
            path in "[a-z0-9/?=&@:]{0,20}",
        ) {
            let stream = NewStream { stream_name: Some(name), ..new(&format!("rtsp://{user}@cam/{path}")) };
            if let Ok(kept) = check(stream) {
                let id = free_id(&kept.name, |_| false);
                let again = check(NewStream { id: Some(id), ..new("rtsp://cam/") });
                prop_assert!(again.is_ok());
                let parsed = Url::parse(&kept.url).unwrap();
                prop_assert!(parsed.username().is_empty() && parsed.password().is_none());
            }
        }
    }
}
