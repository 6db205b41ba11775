//! What `doctor` found, as plain data. [`Facts::gather`] is the only place that looks; every look that
//! may hang is bounded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::ports::{self, Port};
use super::surroundings::{self, Clock, Directory, Node, Use, User};
use crate::capture::discover::{self, Found};
use crate::cli::bounded::within;
use crate::config::model::Source;
use crate::config::{Config, ConfigError, Loaded};
use crate::pipelines::{Library, Parameters, Value, build, elements};
use crate::supervision::health;

/// GStreamer reads all its plugins once after an installation; on a small board that takes a while.
const GSTREAMER_LIMIT: Duration = Duration::from_secs(60);
const CAMERAS_LIMIT: Duration = Duration::from_secs(10);
const FRAGMENTS_LIMIT: Duration = Duration::from_secs(20);
/// For one camera's address: name service and connection.
const PEER_LIMIT: Duration = Duration::from_secs(3);

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub struct Facts {
    pub gstreamer: Result<(u32, u32, u32), String>,
    /// Those of [`elements::PACKAGES`] that this machine has.
    pub registered: BTreeSet<&'static str>,
    /// Whether cameras with TLS can be opened.
    pub tls: bool,
    pub fragments: Fragments,
    /// The one in force, or the defaults when it cannot be read.
    pub config: Config,
    pub loading: Loading,
    /// `None`: looking for cameras did not end in time.
    pub found: Option<Vec<Found>>,
    /// How each configured camera's peer was reached, in the order of the cameras.
    pub peers: Vec<Peer>,
    pub user: User,
    pub nodes: Vec<Node>,
    pub port: Port,
    /// Of RTSP, and of RTSPS where it is configured.
    pub rtsp: Vec<(&'static str, SocketAddr, Port)>,
    pub directories: Vec<Directory>,
    pub clock: Clock,
    pub board: Option<String>,
}

/// How the configuration was read.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    pub file: Option<PathBuf>,
    pub warnings: Vec<String>,
    /// Every mistake, with its place.
    pub errors: Vec<String>,
}

/// How the fragments were read.
#[derive(Clone, Debug, Default)]
pub struct Fragments {
    pub embedded: usize,
    /// The operator's, by name.
    pub own: Vec<(String, PathBuf)>,
    /// Names of fragments that cannot be built, and why.
    pub broken: Vec<(String, String)>,
    /// Why they could not be read at all.
    pub error: Option<String>,
}

/// What a look at a camera's address, device or file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nothing to look at before it is opened.
    Unknown,
    Present,
    /// In words.
    Absent(String),
}

impl Facts {
    /// Looks around.
    pub fn gather(
        config: &Result<Loaded, ConfigError>,
        now: SystemTime,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let (loading, config) = match config {
            Ok(loaded) => {
                let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
                let loading = Loading { file: loaded.file.clone(), warnings, errors: Vec::new() };
                (loading, loaded.config.clone())
            }
            Err(error) => {
                let errors = error.to_string().lines().map(str::to_owned).collect();
                (Loading { errors, ..Loading::default() }, Config::default())
            }
        };
        let gstreamer = within(GSTREAMER_LIMIT, || start().map(|version| (version, registered())));
        let (gstreamer, registered) = match gstreamer {
            Some(Ok((version, registered))) => (Ok(version), registered),
            Some(Err(words)) => (Err(words), BTreeSet::new()),
            None => (Err(format!("it did not start in {} s", GSTREAMER_LIMIT.as_secs())), BTreeSet::new()),
        };
        let (fragments, found) = if gstreamer.is_ok() {
            let directory = config.pipelines.directory.clone();
            let fragments = within(FRAGMENTS_LIMIT, move || look_at_fragments(&directory));
            let slow = || Fragments {
                error: Some("building them did not end in time".into()),
                ..Default::default()
            };
            (fragments.unwrap_or_else(slow), within(CAMERAS_LIMIT, discover::all))
        } else {
            (Fragments::default(), Some(Vec::new()))
        };
        let health = config.health.file.clone().unwrap_or_else(|| health::default_path(&environment));
        let mut directories =
            vec![surroundings::directory("pipelines.directory", &config.pipelines.directory, Use::Read)];
        if let Some(parent) = health.parent() {
            directories.push(surroundings::directory("health.file", parent, Use::Write));
        }
        if let Some(path) = &config.hls.output_dir {
            directories.push(surroundings::directory("hls.output_dir", path, Use::Write));
        }
        if let Some(path) = surroundings::graphs(&environment) {
            directories.push(surroundings::directory("GST_DEBUG_DUMP_DOT_DIR", &path, Use::Write));
        }
        Self {
            gstreamer,
            registered,
            tls: within(GSTREAMER_LIMIT, elements::tls).unwrap_or(false),
            fragments,
            loading,
            found,
            peers: peers(&config),
            user: surroundings::user(),
            nodes: surroundings::nodes(),
            port: ports::look(config.server.bind, config.server.port),
            rtsp: rtsp(&config),
            directories,
            clock: Clock {
                now: now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
                synchronised: surroundings::synchronised(),
            },
            board: surroundings::board(),
            config,
        }
    }
}

/// Starts GStreamer, and makes the elements known that are linked into this program.
fn start() -> Result<(u32, u32, u32), String> {
    let version = elements::start()?;
    crate::publish::init()?;
    Ok(version)
}

fn registered() -> BTreeSet<&'static str> {
    let all = elements::PACKAGES.iter().flat_map(|(_, elements)| elements.iter().copied());
    all.filter(|element| elements::registered(element)).collect()
}

/// Fills every fragment with values of the right types and has GStreamer build it, as far as the machine
/// has its elements. Nothing is started.
fn look_at_fragments(directory: &std::path::Path) -> Fragments {
    let library = match Library::load(directory) {
        Ok(library) => library,
        Err(error) => return Fragments { error: Some(error.to_string()), ..Fragments::default() },
    };
    let mut fragments = Fragments::default();
    let values = sample();
    for (fragment, file) in library.iter() {
        match file {
            Some(file) => fragments.own.push((fragment.name.clone(), file.to_owned())),
            None => fragments.embedded += 1,
        }
        let built = fragment.fill(&values).map_err(|error| error.to_string()).and_then(|chain| {
            match build::bin(&chain) {
                Ok(_) => Ok(()),
                // Said once for each element, unless only the operator's fragment asks for it.
                Err(build::BuildError::Missing(missing)) if elements::package(&missing.element).is_some() => {
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }
        });
        if let Err(words) = built {
            fragments.broken.push((fragment.name.clone(), words));
        }
    }
    fragments
}

/// A value for every parameter that this program gives.
fn sample() -> Parameters {
    let int = |value| Value::Int(value);
    [
        ("width", int(640)),
        ("height", int(480)),
        ("fps", int(25)),
        ("latency", int(100)),
        ("quality", int(80)),
        ("gop", int(50)),
        ("bitrate_kbps", int(1000)),
        ("bitrate_bps", int(1_000_000)),
        ("level", Value::Level("4".into())),
        ("direction", Value::Word("180".into())),
        ("rectangles", Value::Text("0,0,0.5,0.5".into())),
        ("line", Value::Text("%H:%M".into())),
        ("font", Value::Text("Sans 14".into())),
        ("horizontal", Value::Word("left".into())),
        ("vertical", Value::Word("top".into())),
        ("silent", Value::Word("false".into())),
        ("protocols", Value::Flags("tcp".into())),
        ("tls", Value::Flags("validate-all".into())),
        ("url", Value::Text("rtsp://127.0.0.1/".into())),
        ("path", Value::Text("/nonexistent".into())),
        ("device", Value::Text("/dev/video0".into())),
        ("camera", Value::Text("0".into())),
        ("username", Value::Text("user".into())),
        ("password", Value::Secret("password".into())),
        ("host", Value::Text("127.0.0.1".into())),
        ("port", int(1935)),
        ("scheme", Value::Word("rtmp".into())),
        ("demuxer", Value::Word("qtdemux".into())),
        ("application", Value::Text("live".into())),
        ("stream", Value::Secret("key".into())),
    ]
    .into()
}

/// All at once: many cameras that are off take no longer than one.
fn peers(config: &Config) -> Vec<Peer> {
    let looks: Vec<_> = config
        .cameras
        .iter()
        .map(|camera| {
            let source = camera.source.clone();
            thread::spawn(move || {
                let slow = || Peer::Absent(format!("no answer in {} s", PEER_LIMIT.as_secs()));
                within(PEER_LIMIT, move || peer(&source)).unwrap_or_else(slow)
            })
        })
        .collect();
    looks.into_iter().map(|look| look.join().unwrap_or(Peer::Unknown)).collect()
}

fn peer(source: &Source) -> Peer {
    let path = |path: &std::path::Path| match std::fs::metadata(path) {
        Ok(_) => Peer::Present,
        Err(error) => Peer::Absent(format!("{}: {error}", path.display())),
    };
    match source {
        Source::V4l2(v4l2) => path(&v4l2.device),
        Source::File(file) => match std::fs::File::open(&file.path) {
            Ok(_) => Peer::Present,
            Err(error) => Peer::Absent(format!("{}: {error}", file.path.display())),
        },
        Source::Rtsp(rtsp) => connect(&rtsp.url),
        Source::Http(http) => connect(&http.url),
        Source::BambuJpeg(bambu) => reach(&bambu.host, bambu.port),
        Source::Auto {} | Source::Test {} | Source::Libcamera(_) => Peer::Unknown,
    }
}

/// One TCP connection, nothing said on it.
fn connect(url: &str) -> Peer {
    let Some((host, port)) = host_and_port(url) else { return Peer::Unknown };
    reach(&host, port)
}

fn reach(host: &str, port: u16) -> Peer {
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return Peer::Absent(format!("{host}: {error}")),
    };
    let mut newest = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, PEER_LIMIT) {
            Ok(_) => return Peer::Present,
            Err(error) => newest = format!("{address}: {error}"),
        }
    }
    Peer::Absent(newest)
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    let default = match url.scheme() {
        "rtsp" => 554,
        "rtsps" => 322,
        "https" => 443,
        _ => 80,
    };
    Some((host, url.port().unwrap_or(default)))
}

/// The ports of RTSP that are configured; 0 is a free one by itself.
fn rtsp(config: &Config) -> Vec<(&'static str, SocketAddr, Port)> {
    let rtsp = &config.rtsp;
    let bind = rtsp.bind.unwrap_or(config.server.bind);
    let wanted = [("rtsp.port", Some(rtsp.port)), ("rtsp.tls_port", rtsp.tls_port)];
    let chosen = wanted.into_iter().filter_map(|(key, port)| Some((key, port.filter(|port| *port != 0)?)));
    let chosen = chosen.filter(|_| rtsp.enabled);
    chosen.map(|(key, port)| (key, SocketAddr::new(bind, port), ports::look(bind, port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Camera, File, V4l2, V4l2Format};

    #[test]
    fn every_parameter_of_the_embedded_fragments_has_a_sample_and_every_fragment_builds() {
        start().unwrap();
        let fragments = look_at_fragments(std::path::Path::new("/nonexistent"));
        assert_eq!((fragments.error, fragments.broken), (None, Vec::new()));
        assert_eq!(fragments.embedded, Library::embedded().iter().count());
    }

    #[test]
    fn a_fragment_of_the_operators_that_cannot_be_built_is_found() {
        start().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("transforms")).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(directory.path().join("transforms").join(name), text).unwrap();
        };
        file("good.gst", "identity");
        file("unknown.gst", "nosuchelement");
        file("asks.gst", "identity sleep-time={patience:int}");
        file("wrong.gst", "identity nosuchproperty=1");
        let fragments = look_at_fragments(directory.path());
        assert_eq!(fragments.own.len(), 4);
        let broken: Vec<&str> = fragments.broken.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(broken, ["transforms/asks", "transforms/unknown", "transforms/wrong"]);
    }

    #[test]
    fn peers_are_looked_at_without_being_opened() {
        let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = |port: u16| format!("rtsp://127.0.0.1:{port}/cam");
        assert_eq!(connect(&url(here.local_addr().unwrap().port())), Peer::Present);
        let port = here.local_addr().unwrap().port();
        drop(here);
        assert!(matches!(connect(&url(port)), Peer::Absent(words) if words.contains("127.0.0.1")));
        assert_eq!(host_and_port("rtsps://[::1]/x"), Some(("::1".into(), 322)));
        let config = Config {
            cameras: vec![
                Camera::new("a", Source::Test {}),
                Camera::new("b", Source::File(File { path: "/nonexistent.mp4".into() })),
                Camera::new("c", Source::V4l2(V4l2 { device: "/dev/null".into(), format: V4l2Format::Auto })),
            ],
            ..Config::default()
        };
        let peers = peers(&config);
        assert_eq!((&peers[0], &peers[2]), (&Peer::Unknown, &Peer::Present));
        assert!(matches!(&peers[1], Peer::Absent(words) if words.contains("/nonexistent.mp4")));
    }
}
