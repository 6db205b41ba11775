//! Opens what the service stands on: its database, the ports that it listens on, devices, the fleet. What cannot be had
//! is said here; only a port that somebody chose stops the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::access::Access;
use crate::cameras::Cameras;
use crate::cameras::pictures::Memory;
use crate::cameras::udev::Udev;
use crate::config;
use crate::config::model::Config;
use crate::fleet::registry::Registry;
use crate::fleet::registry::file::FileRegistry;
use crate::fleet::{self, Fleet};
use crate::printers;
use crate::serve::hls::Hls;
use crate::serve::rtsp::{Rtsp, RtspError};
use crate::serve::whep::{Whep, WhepError};
use crate::storage::external::KeptStream;
use crate::storage::{self, Database, StorageError};

/// Cameras that were added by API before, and how often others are looked for.
pub(super) async fn added(database: Option<&Database>) -> (Vec<KeptStream>, u32) {
    let Some(database) = database else { return Default::default() };
    let read = async { Ok::<_, StorageError>((database.streams().await?, database.scan_seconds().await?)) };
    read.await.unwrap_or_else(|error| {
        tracing::error!("cameras that were added by API are not known: {error}");
        Default::default()
    })
}

/// Takes up the nodes that are looked after from here, where that is wanted.
pub(super) async fn fleet(config: &Config, directory: &Path) -> anyhow::Result<Option<Fleet>> {
    let management = &config.management;
    if !management.enabled {
        return Ok(None);
    }
    let path = management.registry_path.clone().unwrap_or_else(|| {
        // The contract's place, where there is one: a container's volume.
        let data = Path::new("/data");
        if data.is_dir() { data } else { directory }.join("node-registry.json")
    });
    let tls = fleet::tls::client(management.tls_ca_file.as_deref())?;
    let client = fleet::client::Client::new(fleet::reach::rule(management, config.server.bind), tls);
    let opened = tokio::task::spawn_blocking(move || {
        FileRegistry::open(&path).map(|file| Box::new(file) as Box<dyn Registry>)
    });
    let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
    let (within, fresh) = (seconds(management.probe_timeout_seconds), seconds(management.probe_seconds));
    let fleet = Fleet::open(opened.await?, client, within, fresh).await;
    Ok(Some(fleet))
}

/// The cameras that other rooms are going to add.
pub(super) async fn expected(streams: &[KeptStream], database: Option<&Database>) -> Vec<String> {
    let mut ids: Vec<String> = streams.iter().map(|stream| stream.id.clone()).collect();
    if let Some(database) = database {
        // One that cannot be read is told of by the printers' own room.
        let printers = database.printers().await.unwrap_or_default();
        ids.extend(printers.iter().flat_map(|(id, _)| printers::camera_ids(*id)));
    }
    ids
}

/// Where devices are told of, if they are to be discovered and can be.
pub(super) fn devices(config: &Config) -> Option<Udev> {
    if !config.discovery.enabled {
        return None;
    }
    Udev::open().inspect_err(|words| tracing::info!("{words}")).ok()
}

/// Tells HLS of cameras that come and go.
pub(super) async fn follow_hls(hls: watch::Receiver<Hls>, cameras: Cameras) {
    let mut list = cameras.watch();
    while list.changed().await.is_ok() {
        let present = Arc::clone(&list.borrow_and_update());
        hls.borrow().cameras(&present);
    }
}

/// Opens what outlives a restart: its directory, and the database in it. Without them cameras stream all the
/// same, covered if there is one that cannot be read.
pub(super) async fn storage(config: &Config) -> (PathBuf, Result<Database, String>, Memory) {
    let places = storage::places(config.storage.directory.as_deref(), config::process_environment);
    let best = places.first().cloned().unwrap_or_default();
    let named = config.storage.database.clone();
    let files = match &named {
        Some(file) => vec![file.clone()],
        None => places.iter().map(|place| place.join(storage::FILE)).collect(),
    };
    let order = Order(files.clone());
    // Looked for before there is one anew.
    let found = move || (storage::left_behind(&files), storage::first_writable(&places));
    let (left, opened) = match tokio::task::spawn_blocking(found).await {
        Ok((left, Ok(directory))) => {
            let file = named.unwrap_or_else(|| directory.join(storage::FILE));
            let opened = Database::open_file(file.clone()).await;
            if let (Some(other), Ok(database)) =
                (left.as_ref().filter(|left| order.passed_by(left, &file)), &opened)
            {
                let words = format!("{} is not this user's to write", other.display());
                tracing::error!(
                    "{words}: what was set for cameras' pictures may be in it, so they are covered"
                );
                return (directory, Ok(database.clone()), Memory::Unreadable(words));
            }
            (left, opened.map(|database| (directory, database)))
        }
        Ok((left, Err(error))) => (left, Err(error)),
        Err(panic) => return (best, Err(panic.to_string()), Memory::Unreadable(panic.to_string())),
    };
    match opened {
        Ok((directory, database)) => (directory, Ok(database.clone()), Memory::Database(database)),
        Err(error) => {
            tracing::error!(
                "{error}; cameras are served, without a list of recordings and without a memory of what was set, and \
                 no API key is known"
            );
            let memory = left.map_or(Memory::Nothing, |_| Memory::Unreadable(error.to_string()));
            (best, Err(error.to_string()), memory)
        }
    }
}

/// Where the database may be, the best place first.
pub(super) struct Order(Vec<PathBuf>);

impl Order {
    /// Whether a database in a better place was passed by, because this user may not write there.
    pub(super) fn passed_by(&self, left: &Path, opened: &Path) -> bool {
        let place = |file: &Path| self.0.iter().position(|known| known == file);
        place(left).is_some_and(|left| place(opened).is_none_or(|opened| left < opened))
    }
}

/// Opens the media port. One that was chosen must be free; when the one of the defaults is taken, by a second
/// Fanlight perhaps, another is: viewers are told which.
pub(super) fn whep(config: &Config) -> Result<Whep, WhepError> {
    let (settings, bind) = (&config.webrtc, config.server.bind);
    match Whep::start(settings, bind) {
        Err(WhepError::Bind { error, .. })
            if error.kind() == std::io::ErrorKind::AddrInUse
                && settings.port == config::model::Webrtc::default().port =>
        {
            let whep = Whep::start(&config::model::Webrtc { port: 0, ..settings.clone() }, bind)?;
            tracing::warn!(
                "the WebRTC port {} is in use; WebRTC goes by {} this time: a firewall or router that lets \
                 only the first through keeps viewers out. Set webrtc.port to a free one",
                settings.port,
                whep.port()
            );
            Ok(whep)
        }
        started => started,
    }
}

/// Opens the RTSP port. One that was chosen must be free; when the one of the defaults is taken, by another
/// media server perhaps, everything else goes on without RTSP: on another port nobody would look for it.
pub(super) fn rtsp(config: &Config, cameras: &Cameras, access: &Access) -> Result<Option<Rtsp>, RtspError> {
    let settings = &config.rtsp;
    if !settings.enabled {
        return Ok(None);
    }
    match Rtsp::start(settings, config.server.bind, cameras.watch(), access.clone()) {
        Err(error @ RtspError::InUse(_)) if settings.port == config::model::RtspServer::default().port => {
            tracing::warn!("{error}; everything else goes on");
            Ok(None)
        }
        started => started.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_was_passed_by_is_one_in_a_better_place() {
        let order = Order(["/var/a.db", "/home/a.db"].map(PathBuf::from).into());
        for (left, opened, expected) in [
            ("/var/a.db", "/var/a.db", false),
            ("/var/a.db", "/home/a.db", true),
            ("/home/a.db", "/var/a.db", false),
            ("/home/a.db", "/home/a.db", false),
        ] {
            assert_eq!(order.passed_by(Path::new(left), Path::new(opened)), expected, "{left} {opened}");
        }
    }
}
