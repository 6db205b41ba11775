//! Writes the standard playlist and its segments of one camera to a directory, for web servers and
//! recorders that read files. Run as a task by `Hls`; it watches the ring, so that slow storage delays
//! nobody: what left the list before it was written is not written.
//!
//! Segments and playlist appear whole (written beside, then renamed), the playlist after the segments
//! it names. A full or missing disk is one warning; every new segment tries again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::playlist::{self, Container};
use super::request::Asset;
use super::ring::View;
use super::stream::Stream;

/// Segments that stay after they left the playlist, for players that still load them.
const KEPT: u64 = 4;

/// How often to look whether packaging still runs while nothing comes.
const LOOK: Duration = Duration::from_secs(5);

/// Packages the stream and writes it until aborted.
pub async fn write(stream: Arc<Stream>, directory: PathBuf) {
    let mut progress = stream.ring().progress();
    let mut written = None;
    let mut failing = false;
    loop {
        // Always wanted, and started again should it have broken off.
        let _watching = stream.watch();
        let _ = tokio::time::timeout(LOOK, progress.changed()).await;
        let Some(view) = stream.ring().view() else { continue };
        let newest = view.segments.last().map(|segment| segment.msn);
        if newest == written {
            continue;
        }
        let target = directory.clone();
        // A panic in there would be reported by the runtime; the next segment tries again.
        let Ok(result) = tokio::task::spawn_blocking(move || store(&target, &view)).await else { continue };
        match result {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(directory = %directory.display(), "HLS files are written again");
                }
                written = newest;
            }
            Err(error) => {
                // Not again before the next segment.
                written = newest;
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        directory = %directory.display(),
                        %error,
                        "HLS files cannot be written: check space and permissions; streaming goes on, \
                         and writing is tried again with every segment"
                    );
                }
            }
        }
    }
}

/// Brings the directory to this moment of the ring.
fn store(directory: &Path, view: &View) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let first = view.segments.first().map_or(0, |segment| segment.msn);
    let listed: BTreeSet<u64> = view.segments.iter().map(|segment| segment.msn).collect();
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let unfinished = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        let Some(Asset::Segment(Container::Ts, msn)) = Asset::parse(unfinished.unwrap_or(name)) else {
            continue;
        };
        if unfinished.is_some() {
            // Left by a process that was killed while it wrote.
            fs::remove_file(entry.path())?;
            continue;
        }
        if listed.contains(&msn) || (msn + KEPT >= first && msn < first) {
            there.insert(msn);
        } else {
            // Room first: on a full disk this is what lets the next segment in.
            fs::remove_file(entry.path())?;
        }
    }
    for segment in view.segments.iter().filter(|segment| !there.contains(&segment.msn)) {
        let name = Container::Ts.segment_name(segment.msn);
        replace(directory, &name, segment.parts.iter().map(|part| &part.data[..]))?;
    }
    replace(directory, "stream.m3u8", [playlist::standard(view).as_bytes()])
}

fn replace<'a>(directory: &Path, name: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    let beside = directory.join(format!(".{name}.part"));
    let result = (|| {
        let mut file = fs::File::create(&beside)?;
        for chunk in chunks {
            file.write_all(chunk)?;
        }
        fs::rename(&beside, directory.join(name))
    })();
    if result.is_err() {
        // Half a segment helps nobody, least of all on a full disk.
        let _ = fs::remove_file(&beside);
    }
    result
}
