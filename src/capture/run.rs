//! One attempt of one pipeline, from building to NULL, as a task that its subject owns.
//!
//! Building, starting and stopping happen on blocking threads, because drivers and networks may hang in
//! any of them; the supervisor bounds the stop. Errors from the bus become words for people.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use gst::prelude::*;
use gstreamer as gst;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::dynamic;
use crate::config;
use crate::pipelines::build::BuildError;
use crate::pipelines::elements::Missing;
use crate::pipelines::library::LibraryError;
use crate::supervision::Failure;
use crate::supervision::Reports;

/// What an attempt builds.
pub struct Built {
    pub pipeline: gst::Pipeline,
    /// What it is about, for the words of a failure: an address without credentials, a path, an element.
    pub target: String,
    /// Dropped before the pipeline stops: feeders, guards.
    pub keep: Box<dyn Send>,
    pub on_end: OnEnd,
    /// Who makes words of an error; without anybody, what is usual for cameras is made of it.
    pub on_error: Option<OnError>,
}

/// Takes an error of the pipeline; `None` when the failure will be reported by somebody else, who has to
/// look into it first. The attempt is over either way.
pub type OnError = Box<dyn FnMut(&gst::message::Error) -> Option<Failure> + Send>;

/// What an end of stream means.
pub enum OnEnd {
    /// The peer ended it.
    Fail(&'static str),
    /// A file: it plays again, after the time for which its last picture is shown.
    Again(Box<dyn FnMut() -> Duration + Send>),
}

/// A running attempt.
#[derive(Debug)]
pub struct Attempt {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Attempt {
    /// Begins: `build` runs on a blocking thread. The DOT graph of a pipeline that fails is left in
    /// `graphs`.
    pub fn begin(
        name: String,
        reports: Reports,
        graphs: Option<PathBuf>,
        build: impl FnOnce() -> Result<Built, Failure> + Send + 'static,
    ) -> Self {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(name, reports, graphs, cancel.clone(), build));
        Self { cancel, task }
    }

    /// Resolves when the pipeline is in NULL and everything of it is gone.
    pub async fn end(self) {
        self.cancel.cancel();
        let _ = self.task.await;
    }
}

async fn run(
    name: String,
    reports: Reports,
    graphs: Option<PathBuf>,
    cancel: CancellationToken,
    build: impl FnOnce() -> Result<Built, Failure> + Send + 'static,
) {
    let built = match tokio::task::spawn_blocking(build).await {
        Ok(Ok(built)) => built,
        Ok(Err(failure)) => return reports.failed(failure),
        Err(panic) => return reports.failed(Failure::broken(format!("building the pipeline: {panic}"))),
    };
    let Built { pipeline, target, keep, mut on_end, mut on_error } = built;
    // Whatever changes the pipeline's state is one job at a time, and NULL waits for it: a PLAYING that
    // came after NULL would bring back a pipeline which nobody owns.
    let mut job = None;
    if !cancel.is_cancelled()
        && let Some(bus) = pipeline.bus()
    {
        let mut messages = bus.stream();
        let starting = pipeline.clone();
        // An error on the way to PLAYING is on the bus as well, with better words.
        job = Some(tokio::task::spawn_blocking(move || {
            let _ = starting.set_state(gst::State::Playing);
        }));
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = over(&mut job), if job.is_some() => job = None,
                message = messages.next(), if job.is_none() => {
                    let Some(message) = message else { break };
                    if let (Some(on_error), gst::MessageView::Error(error)) = (&mut on_error, message.view()) {
                        if let Some(failure) = on_error(error) {
                            reports.failed(failure);
                        }
                        leave_graph(graphs, &pipeline).await;
                        break;
                    }
                    match heed(&name, &target, &pipeline, &message, &mut on_end) {
                        Heed::Nothing => {}
                        Heed::Change(change) => job = Some(change.begin(&pipeline, &cancel)),
                        Heed::Failed(failure) => {
                            reports.failed(failure);
                            leave_graph(graphs, &pipeline).await;
                            break;
                        }
                    }
                }
            }
        }
        cancel.cancelled().await;
    }
    drop(keep);
    over(&mut job).await;
    let _ = tokio::task::spawn_blocking(move || pipeline.set_state(gst::State::Null)).await;
}

/// Resolves when the job is done; at once without one.
async fn over(job: &mut Option<JoinHandle<()>>) {
    if let Some(job) = job {
        let _ = job.await;
    }
}

/// Leaves the pipeline as it failed for whoever looks into it: `<directory>/<pipeline>.dot`, the newest only.
async fn leave_graph(directory: Option<PathBuf>, pipeline: &gst::Pipeline) {
    let Some(directory) = directory else { return };
    let path = directory.join(format!("{}.dot", pipeline.name()));
    let pipeline = pipeline.clone();
    let written = tokio::task::spawn_blocking(move || {
        // Written beside and moved there: nobody's link is written through.
        let beside = path.with_extension(format!("dot.{}", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        std::fs::File::create_new(&beside)?.write_all(graph(&pipeline).as_bytes())?;
        std::fs::rename(&beside, &path)
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!("no graph of the failed pipeline in {}: {error}", directory.display());
    }
}

/// The graph of a pipeline. Without the elements' properties: passwords and addresses are among them.
fn graph(pipeline: &gst::Pipeline) -> String {
    let details = gst::DebugGraphDetails::MEDIA_TYPE
        | gst::DebugGraphDetails::CAPS_DETAILS
        | gst::DebugGraphDetails::STATES;
    pipeline.debug_to_dot_data(details).into()
}

/// What a bus message means for the attempt.
enum Heed {
    Nothing,
    Change(Change),
    Failed(Failure),
}

/// A change of a running pipeline's state.
enum Change {
    /// A file plays again from its start, once its last picture has been shown for this long.
    Again(Duration),
    /// The clock is gone: through PAUSED, another one is chosen.
    Clock,
}

impl Change {
    /// Begins it on a blocking thread. Through PAUSED, so that running time begins anew.
    fn begin(self, pipeline: &gst::Pipeline, cancel: &CancellationToken) -> JoinHandle<()> {
        let (pipeline, cancel) = (pipeline.clone(), cancel.clone());
        tokio::spawn(async move {
            if let Change::Again(after) = self {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(after) => {}
                }
            }
            let change = move || {
                let _ = pipeline.set_state(gst::State::Paused);
                if let Change::Again(_) = self {
                    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
                    if let Err(error) = pipeline.seek_simple(flags, gst::ClockTime::ZERO) {
                        let words = format!("it cannot be played again from its start: {error}");
                        gst::element_error!(pipeline, gst::StreamError::Failed, ("{words}"));
                    }
                }
                if !cancel.is_cancelled() {
                    let _ = pipeline.set_state(gst::State::Playing);
                }
            };
            let _ = tokio::task::spawn_blocking(change).await;
        })
    }
}

fn heed(
    name: &str,
    target: &str,
    pipeline: &gst::Pipeline,
    message: &gst::Message,
    on_end: &mut OnEnd,
) -> Heed {
    use gst::MessageView;
    match message.view() {
        MessageView::Error(error) => {
            tracing::debug!("{name}: {}", hidden(&error.debug().unwrap_or_default()));
            let factory = message.src().and_then(|src| src.downcast_ref::<gst::Element>()?.factory());
            let factory = factory.map(|factory| factory.name().to_string()).unwrap_or_default();
            let debug = error.debug().unwrap_or_default();
            Heed::Failed(
                unfit(target, &factory, error.error().message(), &debug)
                    .unwrap_or_else(|| of_error(target, &factory, &error.error())),
            )
        }
        MessageView::StreamCollection(streams) => {
            dynamic::without_video(message, &streams.stream_collection()).map_or(Heed::Nothing, Heed::Failed)
        }
        MessageView::Eos(_) => match on_end {
            OnEnd::Fail(words) => Heed::Failed(Failure::broken(format!("{target}: {words}"))),
            OnEnd::Again(begin) => Heed::Change(Change::Again(begin())),
        },
        MessageView::Warning(warning) => {
            tracing::debug!("{name}: {}", hidden(warning.error().message()));
            Heed::Nothing
        }
        MessageView::Latency(_) => {
            // Changes no state: it may come whenever it likes.
            pipeline.call_async(|pipeline| {
                let _ = pipeline.recalculate_latency();
            });
            Heed::Nothing
        }
        MessageView::ClockLost(_) => Heed::Change(Change::Clock),
        _ => Heed::Nothing,
    }
}

/// What an element says, with the secrets of addresses in it as `***`.
fn hidden(words: &str) -> String {
    let word = |word: &str| match word.contains("://") {
        true => {
            let address = word.trim_end();
            config::redact_url(address) + &word[address.len()..]
        }
        false => word.to_owned(),
    };
    words.split_inclusive(char::is_whitespace).map(word).collect()
}

/// A V4L2 device that does not do what it says it can.
fn unfit(target: &str, factory: &str, message: &str, debug: &str) -> Option<Failure> {
    if factory != "v4l2src" || debug.contains("busy") {
        return None;
    }
    // What GStreamer says when the device does not begin to stream.
    if message.starts_with("Failed to allocate required memory") {
        return Some(Failure::broken(format!(
            "{target}: it does not begin to give pictures: the USB bus has no room for it (another port, a smaller \
             resolution, fewer fps), or it does not have the format that it offers (source.format \"mjpeg\" or \
             \"raw\"); `dmesg` says more"
        )));
    }
    (debug.contains("not-negotiated") || debug.contains("Call to S_FMT failed")).then(|| {
        Failure::broken(format!(
            "{target}: it does not give the format that it offers; set source.format to \"mjpeg\" or \"raw\", or \
             another resolution (`fanlight probe {target}` lists what it says it has)"
        ))
    })
}

/// The error of an element of type `factory` in words, sorted by what helps.
fn of_error(target: &str, factory: &str, error: &gst::glib::Error) -> Failure {
    let words = format!("{target}: {}", hidden(error.message()).trim_end_matches('.'));
    if factory == "multipartdemux" {
        return Failure::broken(format!(
            "{target}: what it gives is not an MJPEG stream; if it gives one picture at a time, set \
             source.mode = \"jpeg\""
        ));
    }
    if factory == "filesrc" && error.matches(gst::ResourceError::NotFound) {
        return Failure::absent(format!("{target}: there is no such file"));
    }
    if error.matches(gst::StreamError::TypeNotFound) {
        return Failure::broken(format!("{target}: it is not a video in any form known here"));
    }
    if error.message().starts_with("No supported stream") {
        return Failure::unsupported(format!(
            "{target}: it gives no video, or none over the transport that source.transport asks for"
        ));
    }
    match error.kind::<gst::ResourceError>() {
        Some(gst::ResourceError::NotAuthorized) => {
            return Failure::refused(format!("{words}: it refuses this user name and password"));
        }
        Some(gst::ResourceError::Busy) => {
            return Failure::broken(format!("{words}; another program holds it: stop that one"));
        }
        Some(
            gst::ResourceError::NotFound
            | gst::ResourceError::OpenRead
            | gst::ResourceError::OpenReadWrite
            | gst::ResourceError::OpenWrite,
        ) => return Failure::absent(words),
        _ => {}
    }
    // Servers that answer 401 through a proxy or on a second request give it only in words.
    if words.contains("Unauthorized") || words.contains("(401)") {
        return Failure::refused(format!("{words}: it refuses this user name and password"));
    }
    Failure::broken(words)
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Failure::unsupported(error.to_string())
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Failure::unsupported(error.to_string())
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        Failure::unsupported(missing.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_that_is_left_behind_has_no_password_in_it() {
        gst::init().unwrap();
        let line = "rtspsrc name=source user-id=wanda user-pw=hunter2 location=rtsp://c/?token=zyx";
        let pipeline = gst::Pipeline::new();
        pipeline.add(&gst::parse::bin_from_description(line, false).unwrap()).unwrap();
        let graph = graph(&pipeline);
        assert!(graph.contains("rtspsrc") || graph.contains("RTSPSrc"), "{graph}");
        for secret in ["hunter2", "zyx", "wanda"] {
            assert!(!graph.contains(secret), "{graph}");
        }
    }

    #[test]
    fn what_elements_say_of_addresses_is_shown_without_their_secrets() {
        let said =
            "source:\nNot Found (404), URL: http://u:hunter2@cam/a,b?token=hunter3, Redirect to: (NULL)";
        let shown = hidden(said);
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.starts_with("source:\nNot Found (404), URL: http://"), "{shown}");
        assert!(shown.ends_with(" Redirect to: (NULL)"), "{shown}");
    }
}
