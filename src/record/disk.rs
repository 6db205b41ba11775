//! Writes one camera's recordings, on a thread of its own: a slow disk delays nobody.
//!
//! Orders come through a queue that is bounded in bytes by whoever fills it ([`Writer::append`]); each
//! fragment is written and flushed to the medium before the next. A failure ends the thread: the file is
//! brought back to its last whole fragment, the attempt that wrote it is told, and the next one has a
//! writer of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc as events;
use tokio::sync::oneshot;

use super::cutter::{Fragment, Head};
use super::mp4::{self, Origin};
use super::names;
use crate::supervision::{Failure, Reports};

/// Files of one name: more in one second are a mistake.
const ATTEMPTS: u32 = 1000;

/// The files that are being written, all cameras together, by name.
#[derive(Clone, Debug, Default)]
pub struct Active(Arc<Mutex<HashMap<String, Written>>>);

impl Active {
    pub fn get(&self, name: &str) -> Option<Written> {
        self.lock().get(name).cloned()
    }

    pub fn holds(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// What a writer left behind that was given up while it hung.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Takes a name for this file; `false` when another file that is being written has it.
    fn claim(&self, written: &Written) -> bool {
        match self.lock().entry(written.name.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(written.clone());
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Written>> {
        // Whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recording as far as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub name: String,
    pub camera: String,
    pub began: SystemTime,
    pub duration: Duration,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
}

/// What a closed file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub modified: SystemTime,
    /// It may not be written: see [`is_kept`].
    pub kept: bool,
}

/// A recording that retention must leave alone is a file that its owner may not write: the mark survives a
/// lost index, and can be set by hand.
pub fn is_kept(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o200 == 0
}

/// What happened on the disk.
#[derive(Clone, Debug)]
pub enum Event {
    Opened(Written),
    Closed(Written, Option<Stamp>),
    /// Nothing more is written, and why.
    Failed {
        full: bool,
        message: String,
    },
}

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct Place {
    pub directory: PathBuf,
    pub camera: String,
    /// Template of the names.
    pub template: String,
    /// Free bytes that are left alone.
    pub reserve: u64,
    /// What may wait to be written, in bytes.
    pub queue: usize,
    pub active: Active,
}

/// The queue of one thread.
#[derive(Debug)]
pub struct Writer {
    orders: Sender<Order>,
    queued: Arc<AtomicUsize>,
    given_up: Arc<AtomicBool>,
    most: usize,
}

#[derive(Debug)]
enum Order {
    Open(Head, Reports),
    Append(Fragment, Reports),
    Close,
    /// Tells when everything before it is done.
    Done(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(place: Place, events: events::UnboundedSender<Event>) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let given_up = Arc::new(AtomicBool::new(false));
        let (name, most) = (format!("record-{}", place.camera), place.queue);
        let thread = Thread {
            place,
            events,
            queued: Arc::clone(&queued),
            given_up: Arc::clone(&given_up),
            file: None,
        };
        std::thread::Builder::new().name(name).spawn(move || thread.run(&queue))?;
        Ok(Self { orders, queued, given_up, most })
    }

    /// One whose disk hangs: orders are taken and nothing happens until the returned queue is dropped.
    #[cfg(test)]
    pub fn hanging() -> (Self, Box<dyn std::any::Any>) {
        let (orders, queue) = mpsc::channel();
        let writer = Self { orders, queued: Arc::default(), given_up: Arc::default(), most: usize::MAX };
        (writer, Box::new(queue))
    }

    /// Nobody waits for it any more: it writes what it has when the disk goes on, and what fails then is no
    /// failure of what is recorded meanwhile.
    pub fn give_up(self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Begins a file; whether anything is written at all.
    pub fn open(&self, head: Head, reports: &Reports) -> bool {
        self.orders.send(Order::Open(head, reports.clone())).is_ok()
    }

    /// Takes a fragment unless too much waits already; `Some(false)` when it was not taken, `None` when
    /// nothing is written any more.
    pub fn append(&self, fragment: Fragment, reports: &Reports) -> Option<bool> {
        let size = fragment.data.len();
        if self.queued.load(Ordering::Relaxed) + size > self.most {
            return Some(false);
        }
        self.queued.fetch_add(size, Ordering::Relaxed);
        self.orders.send(Order::Append(fragment, reports.clone())).ok().map(|()| true)
    }

    pub fn close(&self) {
        // A thread that is gone has closed its file.
        let _ = self.orders.send(Order::Close);
    }

    /// Resolves when everything that was ordered before is done, or never will be.
    pub fn done(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let _ = self.orders.send(Order::Done(tell));
        told
    }
}

struct Thread {
    place: Place,
    events: events::UnboundedSender<Event>,
    queued: Arc<AtomicUsize>,
    given_up: Arc<AtomicBool>,
    file: Option<(File, Written)>,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Order>) {
        while let Ok(order) = queue.recv() {
            match order {
                Order::Open(head, reports) => {
                    self.close();
                    if let Err(error) = self.begin(head) {
                        return self.fail(&error, &reports);
                    }
                }
                Order::Append(fragment, reports) => {
                    let appended = self.append(&fragment);
                    self.queued.fetch_sub(fragment.data.len(), Ordering::Relaxed);
                    match appended {
                        Ok(()) => (0..fragment.pictures).for_each(|_| reports.frame()),
                        Err(error) => return self.fail(&error, &reports),
                    }
                }
                Order::Close => self.close(),
                // Whoever asked may have gone.
                Order::Done(tell) => drop(tell.send(())),
            }
        }
        self.close();
    }

    fn append(&mut self, fragment: &Fragment) -> io::Result<()> {
        let Some((file, written)) = &mut self.file else { return Ok(()) };
        enough_room(&self.place, fragment.data.len() as u64)?;
        if let Err(error) = file.write_all(&fragment.data).and_then(|()| file.sync_data()) {
            // Half a fragment helps nobody, and on a full disk makes no room.
            let _ = file.set_len(written.bytes);
            return Err(error);
        }
        written.bytes += fragment.data.len() as u64;
        written.duration = fragment.end;
        self.place.active.lock().insert(written.name.clone(), written.clone());
        Ok(())
    }

    fn begin(&mut self, head: Head) -> io::Result<()> {
        enough_room(&self.place, head.init.len() as u64)?;
        let Place { directory, camera, template, active, .. } = &self.place;
        fs::create_dir_all(directory)?;
        let stem = names::fill(template, camera, head.began);
        let mut written = Written {
            name: String::new(),
            camera: camera.clone(),
            began: head.began,
            duration: Duration::ZERO,
            bytes: 0,
            width: head.width,
            height: head.height,
        };
        let mut file = None;
        for attempt in 0..ATTEMPTS {
            written.name = names::numbered(&stem, attempt, names::RECORDING);
            // Known as being written before it is there: nobody may take it for a ruin.
            if !active.claim(&written) {
                continue;
            }
            match create(&directory.join(&written.name)) {
                Ok(created) => {
                    file = Some(created);
                    break;
                }
                Err(error) => {
                    active.forget(&written.name);
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
            }
        }
        let Some(mut file) = file else { return Err(io::ErrorKind::AlreadyExists.into()) };
        let origin = mp4::origin_box(&Origin { camera: camera.clone(), began: head.began });
        let bytes = [&head.init[..], &origin].concat();
        let path = directory.join(&written.name);
        let stored = file.write_all(&bytes).and_then(|()| file.sync_data());
        // So that the name survives as well.
        let stored = stored.and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = stored {
            let _ = fs::remove_file(path);
            active.forget(&written.name);
            return Err(error);
        }
        written.bytes = bytes.len() as u64;
        active.lock().insert(written.name.clone(), written.clone());
        let _ = self.events.send(Event::Opened(written.clone()));
        self.file = Some((file, written));
        Ok(())
    }

    fn close(&mut self) {
        if let Some((file, written)) = self.file.take() {
            if written.duration.is_zero() {
                // Nothing came after its beginning.
                let _ = fs::remove_file(self.place.directory.join(&written.name));
            }
            let stamp = file
                .metadata()
                .and_then(|metadata| Ok(Stamp { modified: metadata.modified()?, kept: is_kept(&metadata) }));
            // It stays active until whoever listens has taken it into the index.
            let _ = self.events.send(Event::Closed(written, stamp.ok()));
        }
    }

    fn fail(mut self, error: &io::Error, reports: &Reports) {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let directory = self.place.directory.display();
        let message = if full {
            format!(
                "{directory}: {error}; recording goes on when there is space: delete something, or see \
                     record.retention"
            )
        } else {
            format!("{directory} cannot be written: {error}")
        };
        self.close();
        if self.given_up.load(Ordering::Relaxed) {
            tracing::warn!(camera = self.place.camera, "a recording that was given up: {message}");
            return;
        }
        let _ = self.events.send(Event::Failed { full, message: message.clone() });
        reports.failed(if full { Failure::absent(message) } else { Failure::broken(message) });
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)
}

/// Whether so much more leaves the reserve alone.
fn enough_room(place: &Place, more: u64) -> io::Result<()> {
    if has_room(&place.directory, place.reserve.saturating_add(more))? {
        return Ok(());
    }
    let words = format!("less than the reserve of {} MB is free", place.reserve / 1_000_000);
    Err(io::Error::new(io::ErrorKind::StorageFull, words))
}

/// Whether so many bytes are free there. A directory that does not exist yet is made in the one above.
pub fn has_room(directory: &Path, bytes: u64) -> io::Result<bool> {
    Ok(space(directory)?.1 >= bytes)
}

/// Size of the file system, and what of it is free for this user.
pub fn space(directory: &Path) -> io::Result<(u64, u64)> {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let system = rustix::fs::statvfs(there)?;
    Ok((system.f_blocks.saturating_mul(system.f_frsize), system.f_bavail.saturating_mul(system.f_frsize)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn files_of_one_name_get_different_ones_and_each_is_known_as_being_written() {
        let directory = tempfile::tempdir().unwrap();
        let (events, _happened) = events::unbounded_channel();
        let active = Active::default();
        let began = SystemTime::UNIX_EPOCH;
        let head = Head { init: Bytes::from_static(b"init"), width: 1, height: 1, began };
        let mut writers = Vec::new();
        for camera in ["front", "back"] {
            let place = Place {
                directory: directory.path().to_owned(),
                camera: camera.into(),
                template: "{date}".into(),
                reserve: 0,
                queue: 0,
                active: active.clone(),
            };
            let writer = Writer::start(place, events.clone()).unwrap();
            assert!(writer.open(head.clone(), &Reports::detached(1)));
            writer.done().await.unwrap();
            writers.push(writer);
        }
        let camera = |name| active.get(name).map(|written| written.camera);
        assert_eq!(camera("1970-01-01.mp4").as_deref(), Some("front"));
        assert_eq!(camera("1970-01-01-2.mp4").as_deref(), Some("back"));
    }
}
