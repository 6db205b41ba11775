//! One attempt at recording: from the outlet through the cutter to the writer's queue.
//!
//! What an attempt leaves for the next one stands in [`Standing`], so that a camera that was away for a
//! while goes on in the same file: the place in the stream, what was cut so far, and the open file. Only a
//! failed disk or a stop ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::cutter::{Cutter, Lengths, Step};
use super::disk::{Event, Place, Writer};
use super::preroll::{Most, PreRoll};
use crate::capture::Capture;
use crate::capture::outlet::Subscription;
use crate::frames::AccessUnit;
use crate::supervision::{Failure, Reports};

/// How long the end of a file may take.
const FINISH: Duration = Duration::from_secs(4);

/// What outlives an attempt. Whoever runs holds it; the others wait.
#[derive(Debug, Default)]
pub struct Standing {
    source: Option<Source>,
    session: Option<Session>,
    /// Of a file that was not closed in time: it tells when it is.
    unclosed: Option<oneshot::Receiver<()>>,
    /// Counts the sources: each begins a timeline of its own.
    sources: u64,
}

/// Where pictures come from, and those that were kept before the start.
#[derive(Debug)]
struct Source {
    capture: Capture,
    number: u64,
    pictures: Subscription,
    roll: PreRoll,
    /// Changes when what was given before is taken back.
    retractions: watch::Receiver<u64>,
}

impl Source {
    /// The next picture. Epochs of two captures of one camera are told apart.
    async fn next(&mut self) -> Option<AccessUnit> {
        loop {
            let unit = tokio::select! {
                biased;
                Ok(()) = self.retractions.changed() => {
                    self.roll.clear();
                    continue;
                }
                unit = self.pictures.next() => unit?,
            };
            return Some(AccessUnit { epoch: unit.epoch ^ (self.number << 40), ..unit });
        }
    }

    /// Whether what was given before was taken back at this moment, on another thread; nothing of it is kept.
    fn taken_back(&mut self) -> bool {
        let back = self.retractions.has_changed().unwrap_or_default();
        if back {
            self.retractions.mark_unchanged();
            self.roll.clear();
        }
        back
    }
}

#[derive(Debug)]
struct Session {
    cutter: Cutter,
    writer: Writer,
    /// A fragment was lost: the next ones up to a keyframe are too.
    skipping: bool,
}

/// How a recording is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub lengths: Lengths,
    /// How far back what was kept before the start is of use.
    pub pre_roll: Duration,
    pub place: Place,
    pub events: UnboundedSender<Event>,
    /// Pictures that were lost because the disk was too slow.
    pub lost: Arc<AtomicU64>,
}

/// Holds pictures in memory until it is dropped.
pub async fn roll(standing: Arc<Mutex<Standing>>, capture: Capture, most: Most) {
    let mut standing = standing.lock().await;
    let Some(source) = standing.source(&capture) else { return };
    while let Some(unit) = source.next().await {
        if !source.taken_back() {
            source.roll.keep(unit, most);
        }
    }
}

/// Records until it is dropped, or the disk fails.
pub async fn record(standing: Arc<Mutex<Standing>>, capture: Capture, plan: Plan, reports: Reports) {
    let mut standing = standing.lock().await;
    let standing = &mut *standing;
    if standing.source(&capture).is_none() {
        return;
    }
    if standing.hangs() {
        let message = format!(
            "{}: the last recording is not closed yet, the disk is slow or hangs; recording goes on when it is",
            plan.place.directory.display()
        );
        let _ = plan.events.send(Event::Failed { full: false, message: message.clone() });
        return reports.failed(Failure::absent(message));
    }
    let (Some(source), session) = (&mut standing.source, &mut standing.session) else { return };
    let present = match session {
        Some(present) => present,
        None => match Writer::start(plan.place.clone(), plan.events.clone()) {
            Ok(writer) => {
                session.insert(Session { cutter: Cutter::new(plan.lengths), writer, skipping: false })
            }
            Err(error) => {
                return reports.failed(Failure::broken(format!("no thread can be started: {error}")));
            }
        },
    };
    let mut alive = true;
    source.taken_back();
    for unit in source.roll.take(plan.pre_roll, std::time::Instant::now()) {
        alive &= present.take(unit, &plan, &reports);
    }
    let mut flush_at = Instant::now() + plan.lengths.fragment;
    while alive {
        tokio::select! {
            unit = source.next() => {
                let Some(unit) = unit else { break };
                let steps = present.cutter.push(unit);
                if !steps.is_empty() {
                    flush_at = Instant::now() + plan.lengths.fragment;
                }
                alive = present.order(steps, &plan, &reports);
            }
            () = sleep_until(flush_at) => {
                flush_at = Instant::now() + plan.lengths.fragment;
                let steps = present.cutter.flush();
                alive = present.order(steps, &plan, &reports);
            }
        }
    }
    if !alive {
        // The thread has said why, and closed its file.
        *session = None;
    }
}

impl Standing {
    /// The pictures of this capture: those that are being read, or anew.
    fn source(&mut self, capture: &Capture) -> Option<&mut Source> {
        if self.source.as_ref().is_none_or(|source| !source.capture.same(capture)) {
            self.sources += 1;
            let retractions = capture.h264().retractions();
            let pictures = capture.h264().subscribe();
            let (capture, number, roll) = (capture.clone(), self.sources, PreRoll::default());
            self.source = Some(Source { capture, number, pictures, roll, retractions });
        }
        self.source.as_mut()
    }

    /// Gives the camera's pictures back.
    pub fn leave(&mut self) {
        self.source = None;
    }

    /// Closes the file; returns when that is done, or takes too long.
    pub async fn finish(&mut self, plan: &Plan) {
        let Some(mut session) = self.session.take() else { return };
        let steps = session.cutter.finish();
        session.order(steps, plan, &Reports::detached(0));
        let mut closed = session.writer.done();
        if timeout(FINISH, &mut closed).await.is_err() {
            tracing::warn!(
                camera = plan.place.camera,
                "the recording was not closed within {FINISH:?}: the disk is slow or hangs"
            );
            session.writer.give_up();
            self.unclosed = Some(closed);
        }
    }

    /// Whether an earlier file is still not closed: there is one thread that waits for the disk, not one for
    /// each attempt.
    fn hangs(&mut self) -> bool {
        let waits = |closed: &mut oneshot::Receiver<()>| {
            matches!(closed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        };
        let hangs = self.unclosed.as_mut().is_some_and(waits);
        if !hangs {
            self.unclosed = None;
        }
        hangs
    }
}

impl Session {
    fn take(&mut self, unit: AccessUnit, plan: &Plan, reports: &Reports) -> bool {
        let steps = self.cutter.push(unit);
        self.order(steps, plan, reports)
    }

    /// Passes on what is to be done; `false` when nothing is written any more.
    fn order(&mut self, steps: Vec<Step>, plan: &Plan, reports: &Reports) -> bool {
        for step in steps {
            match step {
                Step::Open(head) => {
                    self.skipping = false;
                    if !self.writer.open(head, reports) {
                        return false;
                    }
                }
                Step::Fragment(fragment) => {
                    let pictures = u64::from(fragment.pictures);
                    let taken = match self.skipping && !fragment.keyframe {
                        true => Some(false),
                        false => self.writer.append(fragment, reports),
                    };
                    let Some(taken) = taken else { return false };
                    if !taken {
                        if !std::mem::replace(&mut self.skipping, true) {
                            tracing::warn!(
                                camera = plan.place.camera,
                                "the disk does not keep up: a group of pictures is missing in the recording"
                            );
                        }
                        plan.lost.fetch_add(pictures, Ordering::Relaxed);
                    } else {
                        self.skipping = false;
                    }
                }
                Step::Close => self.writer.close(),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::super::cutter::{Fragment, Head};
    use super::super::disk::Active;
    use super::*;

    fn fragment(second: u64) -> Step {
        Step::Fragment(Fragment {
            data: Bytes::from_static(&[7; 1000]),
            keyframe: second.is_multiple_of(2),
            pictures: 25,
            end: Duration::from_secs(second + 1),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_disk_hangs_on_the_last_file_no_other_thread_begins_and_then_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
        let lengths = Lengths {
            fragment: Duration::from_secs(1),
            segment: Duration::from_secs(60),
            segment_bytes: u64::MAX,
        };
        let place = Place {
            directory: directory.path().to_owned(),
            camera: "front".into(),
            template: "{camera}".into(),
            reserve: 0,
            queue: usize::MAX,
            active: Active::default(),
        };
        let plan = Plan { lengths, pre_roll: Duration::ZERO, place, events, lost: Arc::default() };
        let capture = Capture::detached(crate::config::model::Camera::new(
            "front",
            crate::config::model::Source::Test {},
        ));
        let (writer, disk) = Writer::hanging();
        let session = Session { cutter: Cutter::new(lengths), writer, skipping: false };
        let standing = Arc::new(Mutex::new(Standing { session: Some(session), ..Standing::default() }));
        standing.lock().await.finish(&plan).await;

        let reports = Reports::detached(1);
        record(Arc::clone(&standing), capture.clone(), plan.clone(), reports.clone()).await;
        let words = match happened.try_recv() {
            Ok(Event::Failed { full: false, message }) => message,
            other => panic!("{other:?}"),
        };
        assert!(words.contains("not closed yet"), "{words}");
        assert!(standing.lock().await.session.is_none(), "no thread was started");

        drop(disk);
        let recording = tokio::spawn(record(Arc::clone(&standing), capture, plan, reports));
        tokio::task::yield_now().await;
        assert!(!recording.is_finished() && happened.try_recv().is_err());
        recording.abort();
        let _ = recording.await;
        assert!(standing.lock().await.session.is_some());
    }

    #[tokio::test]
    async fn a_disk_that_does_not_keep_up_costs_whole_groups_of_pictures_which_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (events, _happened) = tokio::sync::mpsc::unbounded_channel();
        let plan = |queue| Plan {
            lengths: Lengths {
                fragment: Duration::from_secs(1),
                segment: Duration::from_secs(60),
                segment_bytes: u64::MAX,
            },
            pre_roll: Duration::ZERO,
            place: Place {
                directory: directory.path().to_owned(),
                camera: "front".into(),
                template: "{camera}".into(),
                reserve: 0,
                queue,
                active: Active::default(),
            },
            events: events.clone(),
            lost: Arc::default(),
        };
        let reports = Reports::detached(1);
        let (full, free) = (plan(0), plan(usize::MAX));
        let began = SystemTime::UNIX_EPOCH;
        let head = Head { init: Bytes::from_static(b"init"), width: 1, height: 1, began };
        let writer = Writer::start(free.place.clone(), events.clone()).unwrap();
        let mut session = Session { cutter: Cutter::new(free.lengths), writer, skipping: false };
        assert!(session.order(vec![Step::Open(head), fragment(0)], &free, &reports));
        // Nothing more goes in: as if the first one were still being written.
        let stuck = Writer::start(full.place.clone(), events.clone()).unwrap();
        let writer = std::mem::replace(&mut session.writer, stuck);
        assert!(session.order(vec![fragment(1), fragment(2)], &free, &reports));
        session.writer = writer;
        // There is room again, and the rest of the group is of no use.
        assert!(session.order(vec![fragment(3), fragment(4), fragment(5)], &free, &reports));
        assert_eq!(free.lost.load(Ordering::Relaxed), 3 * 25);
        session.writer.close();
        session.writer.done().await.unwrap();
        assert_eq!(reports.frames(), 3 * 25, "the others are written");
        let size = std::fs::metadata(directory.path().join("front.mp4")).unwrap().len();
        assert!((3000..3200).contains(&size), "{size}");
    }
}
