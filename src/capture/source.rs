//! The subject that captures: one attempt is one run of the source's pipeline into the [`Tap`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::bambu;
use super::discover;
use super::dynamic;
use super::knock::{Knock, Knocker};
use super::pin;
use super::plan;
use super::poll;
use super::run::{Attempt, Built, OnEnd};
use super::shared::Shared;
use super::tap::Tap;
use super::timeline::Timeline;
use crate::config;
use crate::config::model::{BambuJpeg, Camera, Http, HttpMode, Rtsp, Source, TlsCheck};
use crate::pipelines::{Library, Parameters, build};
use crate::reach::{Reach, ReachError};
use crate::supervision::{Failure, Reports, Subject};

/// Captures one camera.
#[derive(Debug)]
pub struct SourceSubject {
    shared: Arc<Shared>,
    library: Arc<Library>,
    /// Where a DOT graph of a pipeline that failed is left.
    graphs: Option<PathBuf>,
    knocker: Option<Arc<Knocker>>,
    attempt: Option<Attempt>,
}

impl SourceSubject {
    pub fn new(shared: Arc<Shared>, library: Arc<Library>, graphs: Option<PathBuf>) -> Self {
        let knocker = Knock::for_source(&shared.camera.source).map(|knock| {
            let reach = shared.camera.confined.clone().map(Reach::new);
            Arc::new(Knocker::new(knock).within(reach))
        });
        Self { shared, library, graphs, knocker, attempt: None }
    }
}

impl Subject for SourceSubject {
    fn name(&self) -> String {
        format!("camera {}", self.shared.camera.id)
    }

    fn begin(&mut self, reports: Reports) {
        let (shared, library) = (Arc::clone(&self.shared), Arc::clone(&self.library));
        let runtime = tokio::runtime::Handle::current();
        let reporting = reports.clone();
        let attempt = Attempt::begin(self.name(), reports, self.graphs.clone(), move || {
            assemble(&shared, &library, &reporting, &runtime)
        });
        self.attempt = Some(attempt);
    }

    fn end(&mut self) -> BoxFuture<'static, ()> {
        let attempt = self.attempt.take();
        Box::pin(async move {
            if let Some(attempt) = attempt {
                attempt.end().await;
            }
        })
    }

    fn knock(&mut self) -> Option<BoxFuture<'static, bool>> {
        if let Some(located) = &self.shared.located {
            let here = located.borrow().is_some();
            return Some(Box::pin(std::future::ready(here)));
        }
        let knocker = Arc::clone(self.knocker.as_ref()?);
        Some(Box::pin(async move { knocker.present().await }))
    }

    fn expected_fps(&self) -> Option<f64> {
        if self.shared.camera.fps > 0 && matches!(self.shared.camera.source, Source::Test {}) {
            return Some(self.shared.camera.fps.into());
        }
        if let Source::Http(http) = &self.shared.camera.source
            && http.mode == HttpMode::Jpeg
        {
            return Some(poll::rate(self.shared.camera.fps));
        }
        if let Source::BambuJpeg(_) = self.shared.camera.source {
            return Some(bambu::SLOWEST);
        }
        self.shared.format.borrow().as_ref().and_then(|format| format.fps)
    }
}

/// Builds the source's pipeline. Runs on a blocking thread: it may look at devices.
fn assemble(
    shared: &Arc<Shared>,
    library: &Arc<Library>,
    reports: &Reports,
    runtime: &tokio::runtime::Handle,
) -> Result<Built, Failure> {
    let found;
    let here = shared.located.as_ref().map(|located| located.borrow().clone());
    let source = match &shared.camera.source {
        _ if let Some(here) = here => {
            found = here.ok_or_else(|| away(shared))?;
            &found
        }
        Source::Auto {} => {
            found = discover::first().ok_or_else(|| {
                Failure::absent("no camera was found on this machine; plug one in, or name one as source")
            })?;
            &found
        }
        named => {
            found = confined(&shared.camera, named)?;
            &found
        }
    };
    let plan = plan::source(library, &shared.camera, source)?;
    let pipeline = gst::Pipeline::with_name(&format!("camera-{}", shared.camera.id));
    shared.watch_pipeline(&pipeline);
    let bin = match plan.dynamic {
        Some(_) => build::dynamic_bin(&plan.chain)?,
        None => build::bin(&plan.chain)?,
    };
    for control in &plan.controls {
        build::set(&bin, control)?;
    }
    pipeline.add(&bin).map_err(dynamic::broken)?;

    let timeline = match source {
        Source::Rtsp(_) => Timeline::remote(),
        _ => Timeline::default(),
    };
    let tap = Arc::new(Mutex::new(Tap::new(Arc::clone(shared), reports.clone(), timeline)));
    let sink = appsink(&tap);
    pipeline.add(&sink).map_err(dynamic::broken)?;
    if let Source::Rtsp(rtsp) = source {
        prepare_rtsp(&bin, rtsp, shared, reports)?;
    }
    match plan.dynamic {
        Some(name) => {
            let element = bin.by_name(name).ok_or_else(|| {
                Failure::unsupported(format!("the source's fragment has no element named {name}"))
            })?;
            let announcing = Arc::downgrade(shared);
            element.connect_pad_added(move |_, pad| {
                let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
                if let Some(shared) = announcing.upgrade() {
                    announce(&shared, &caps);
                }
            });
            let ends = dynamic::Ends { bin: &bin, pipeline: &pipeline, sink: sink.upcast_ref() };
            dynamic::follow(&element, &ends, library, plan.paced, reports);
        }
        None => {
            let tail = plan.tail.map(|tail| library.fill(tail, &Parameters::new())).transpose()?;
            dynamic::link(&pipeline, bin.upcast_ref(), &tail.unwrap_or_default(), sink.upcast_ref())?;
        }
    }
    if let Source::Http(http) = source
        && http.mode == HttpMode::Mjpeg
    {
        bound_pictures(&bin, &sink, reports);
        if shared.camera.confined.is_some()
            && let Some(element) = bin.by_name("source")
        {
            // The other address was not looked at.
            element.set_property("automatic-redirect", false);
        }
    }
    let appsrc = |fragment: &str| {
        let element = bin.by_name("source").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
        element.ok_or_else(|| Failure::unsupported(format!("{fragment} has no appsrc named source")))
    };
    let fed = match source {
        Source::BambuJpeg(bambu) => {
            let appsrc = appsrc("sources/bambu-jpeg")?;
            Some(bambu::spawn(runtime, bambu.clone(), appsrc, reports.clone()))
        }
        Source::Http(http) if http.mode == HttpMode::Jpeg => {
            let appsrc = appsrc("sources/http-jpeg")?;
            let every = Duration::from_secs_f64(1.0 / poll::rate(shared.camera.fps));
            Some(poll::spawn(runtime, http.clone(), every, appsrc, reports.clone()))
        }
        _ => None,
    };
    let on_end = if plan.paced {
        let tap = Arc::clone(&tap);
        OnEnd::Again(Box::new(move || tap.lock().unwrap_or_else(PoisonError::into_inner).begin_again()))
    } else {
        OnEnd::Fail("the camera ended the stream")
    };
    Ok(Built { pipeline, target: target(source), keep: Box::new((fed, tap)), on_end, on_error: None })
}

/// The source as it is opened: one of a camera that was added by API goes to an address that was looked at.
/// Looks names up: for a blocking thread.
fn confined(camera: &Camera, source: &Source) -> Result<Source, Failure> {
    let Some(networks) = &camera.confined else { return Ok(source.clone()) };
    let reach = Reach::new(networks.clone());
    let failed = |error: ReachError| match error {
        ReachError::Lookup(..) => Failure::absent(error.to_string()),
        error => Failure::refused(error.to_string()),
    };
    let pinned = |url: &str| reach.pinned(url).map_err(failed);
    Ok(match source {
        Source::Rtsp(rtsp) => Source::Rtsp(Rtsp { url: pinned(&rtsp.url)?, ..rtsp.clone() }),
        Source::BambuJpeg(bambu) => {
            let found = reach.resolve(&bambu.host, bambu.port).map_err(failed)?;
            let host = found.first().map_or_else(|| bambu.host.clone(), |found| found.ip().to_string());
            Source::BambuJpeg(BambuJpeg { host, ..bambu.clone() })
        }
        Source::Http(http) => Source::Http(Http { url: pinned(&http.url)?, ..http.clone() }),
        other => other.clone(),
    })
}

fn away(shared: &Shared) -> Failure {
    Failure::absent(match shared.camera.source {
        Source::Auto {} => "no camera is plugged in; plug one in".to_owned(),
        _ => format!("{} is not plugged in; plug it in again", shared.camera.display_name()),
    })
}

/// What the source is, for the words of a failure. No credentials.
fn target(source: &Source) -> String {
    match source {
        Source::Rtsp(rtsp) => config::redact_url(&rtsp.url),
        Source::Http(http) => config::redact_url(&http.url),
        Source::BambuJpeg(bambu) => bambu::target(bambu),
        Source::V4l2(v4l2) => v4l2.device.display().to_string(),
        Source::File(file) => file.path.display().to_string(),
        Source::Libcamera(libcamera) => libcamera.camera.clone().unwrap_or_else(|| "libcamera".to_owned()),
        Source::Test {} | Source::Auto {} => source.kind().to_owned(),
    }
}

/// The end of every source: hands pictures to the tap on the streaming thread.
fn appsink(tap: &Arc<Mutex<Tap>>) -> gst_app::AppSink {
    let sink = gst_app::AppSink::builder()
        .name("tee")
        .sync(false)
        .async_(false)
        .max_buffers(4)
        .enable_last_sample(false)
        .build();
    // Weak: the attempt owns the tap, and with it ends what the tap gave.
    let tap = Arc::downgrade(tap);
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let tap = tap.upgrade().ok_or(gst::FlowError::Flushing)?;
                let taken = tap.lock().unwrap_or_else(PoisonError::into_inner).take(sink);
                taken.map(|()| gst::FlowSuccess::Ok)
            })
            .build(),
    );
    sink
}

/// Notes a stream by its caps: RTP's media and encoding, or the media type.
fn announce(shared: &Shared, caps: &gst::CapsRef) {
    let Some(structure) = caps.structure(0) else { return };
    let field = |name| structure.get::<String>(name).ok();
    let words = match field("media").zip(field("encoding-name")) {
        Some((media, encoding)) => format!("{media} {encoding}"),
        None => structure.name().as_str().replacen("/x-", " ", 1).replacen('/', " ", 1),
    };
    shared.announce(words);
}

/// Ends the attempt when more bytes than any picture has came since the last one: `multipartdemux` would
/// gather them without end.
fn bound_pictures(bin: &gst::Bin, sink: &gst_app::AppSink, reports: &Reports) {
    let pads = (bin.by_name("source").and_then(|source| source.static_pad("src")), sink.static_pad("sink"));
    let (Some(bytes_in), Some(pictures_out)) = pads else { return };
    let gathered = Arc::new(AtomicU64::new(0));
    let (reports, gathering) = (reports.clone(), Arc::clone(&gathered));
    bytes_in.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let more = info.buffer().map_or(0, |buffer| buffer.size() as u64);
        if gathering.fetch_add(more, Ordering::Relaxed) + more <= poll::LARGEST {
            return gst::PadProbeReturn::Ok;
        }
        reports.failed(Failure::broken("what the camera gives as one picture is larger than 16 MiB"));
        gst::PadProbeReturn::Drop
    });
    pictures_out.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        gathered.store(0, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

/// What cannot be said in a fragment: which streams to take, and the authority to trust.
fn prepare_rtsp(bin: &gst::Bin, rtsp: &Rtsp, shared: &Arc<Shared>, reports: &Reports) -> Result<(), Failure> {
    let Some(source) = bin.by_name("source") else {
        return Err(Failure::unsupported("sources/rtsp has no element named source"));
    };
    if rtsp.tls == TlsCheck::Pin {
        let (target, reports, pinned) = (config::redact_url(&rtsp.url), reports.clone(), rtsp.fingerprint);
        // Not asked about: a session that is resumed, which only the peer of before can do, and a certificate
        // that an authority of this machine has signed for this very address.
        source.connect("accept-certificate", false, move |values| {
            let certificate = values.get(2).and_then(|value| value.get::<gio::TlsCertificate>().ok());
            let shown = certificate.as_ref().and_then(pin::of);
            let right = shown.is_some() && shown == pinned;
            if !right {
                reports.failed(pin::stranger(&target, shown));
            }
            Some(right.to_value())
        });
    }
    // Audio and metadata are not even set up.
    let shared = Arc::downgrade(shared);
    source.connect("select-stream", false, move |values| {
        let caps = values.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        if let (Some(shared), Some(caps)) = (shared.upgrade(), &caps) {
            announce(&shared, caps);
        }
        let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        Some((media.as_deref() == Some("video")).to_value())
    });
    if matches!(rtsp.tls, TlsCheck::System | TlsCheck::File) {
        let (target, reports) = (config::redact_url(&rtsp.url), reports.clone());
        // Asked only about a certificate that did not pass. The error on the bus does not name it.
        source.connect("accept-certificate", false, move |values| {
            let flags = values.get(3).and_then(|flags| flags.get::<gio::TlsCertificateFlags>().ok());
            reports.failed(Failure::broken(format!(
                "{target}: its TLS certificate is not trusted ({}); give its authority with source.tls = \
                 \"file\" and tls_ca_file, or take every certificate with source.tls = \"any\"",
                distrust(flags.unwrap_or(gio::TlsCertificateFlags::empty()))
            )));
            Some(false.to_value())
        });
    }
    if rtsp.tls == TlsCheck::File
        && let Some(file) = &rtsp.tls_ca_file
    {
        let database = gio::TlsFileDatabase::new(file).map_err(|error| {
            Failure::unsupported(format!("tls_ca_file {}: {}", file.display(), error.message()))
        })?;
        source.set_property("tls-database", &database);
    }
    Ok(())
}

/// What is wrong with a certificate.
fn distrust(flags: gio::TlsCertificateFlags) -> String {
    use gio::TlsCertificateFlags as Flags;
    let reasons = [
        (Flags::UNKNOWN_CA, "no authority known here signed it"),
        (Flags::BAD_IDENTITY, "it was made for another address"),
        (Flags::NOT_ACTIVATED, "it is not valid yet: is the clock right?"),
        (Flags::EXPIRED, "it has expired"),
        (Flags::REVOKED, "it was revoked"),
        (Flags::INSECURE, "its cryptography is too weak"),
    ];
    let found = reasons.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, words)| *words);
    let found: Vec<&str> = found.collect();
    if found.is_empty() { "it did not pass the check".to_owned() } else { found.join(", ") }
}
