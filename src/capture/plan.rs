//! From a camera's configuration to the chains of fragments that capture it: what is built, in words
//! that GStreamer parses. Used to run a camera and to show its pipeline.

use std::path::Path;

use super::choice::{self, Choice, Encoded, Lane, Native, Route};
use super::container;
use super::discover;
use super::shared::Format;
use super::transforms::{Named, Stage};
use super::v4l2;
use crate::config::model::{
    Autofocus, Camera, Flip, HttpMode, Libcamera, Resolution, Rotation, Rtsp, Source,
};
use crate::config::model::{TlsCheck, Transport};
use crate::config::transforms::Transforms;
use crate::frames::Codec;
use crate::pipelines::elements::registered;
use crate::pipelines::fragment::Setting;
use crate::pipelines::{Chain, Library, Parameters, Value};
use crate::supervision::Failure;

/// A source, ready to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePlan {
    pub chain: Chain,
    /// Name of the element whose pads appear while it runs; the tail is chosen by their caps.
    pub dynamic: Option<&'static str>,
    /// The tail of a source whose format is known, as a fragment's name.
    pub tail: Option<&'static str>,
    /// Pictures have to be held back to real time.
    pub paced: bool,
    /// Controls to set where the element has them.
    pub controls: Vec<Setting>,
}

impl SourcePlan {
    fn of(chain: Chain) -> Self {
        Self { chain, dynamic: None, tail: None, paced: false, controls: Vec::new() }
    }
}

/// The rate of a test camera that is not told one.
const TEST_FPS: u32 = 30;

/// Plans `source`, which is `camera`'s own or, for `auto`, the one that was found. Looks at V4L2 devices
/// and files (blocking).
///
/// # Errors
/// The device offers nothing that fits, or a fragment of the operator's does not fill.
pub fn source(library: &Library, camera: &Camera, source: &Source) -> Result<SourcePlan, Failure> {
    let mut parameters = size_and_rate(camera.resolution, camera.fps);
    let plan = match source {
        Source::Auto {} => return Err(Failure::absent("no camera was found on this machine")),
        Source::Test {} => {
            let fps = if camera.fps == 0 { TEST_FPS } else { camera.fps };
            parameters.insert("fps", Value::Int(fps.into()));
            SourcePlan::of(library.fill("sources/test", &parameters)?)
        }
        Source::Libcamera(libcamera) => {
            let name = libcamera.camera.as_deref().map(libcamera_name).transpose()?;
            let size = parameters.clone();
            // libcamerasrc has no property for it: the sensor mode follows the size that is asked for.
            if let Some(mode) = libcamera.sensor_mode {
                parameters = size_and_rate(mode, camera.fps);
            }
            insert_text(&mut parameters, "camera", name.as_deref());
            let mut chain = library.fill("sources/libcamera", &parameters)?;
            if libcamera.sensor_mode.is_some_and(|mode| mode != camera.resolution) {
                chain = chain.then(library.fill("transforms/scale", &size)?);
            }
            SourcePlan { controls: libcamera_controls(libcamera), ..SourcePlan::of(chain) }
        }
        Source::V4l2(v4l2) => {
            let chosen = v4l2_mode(camera, &v4l2.device, v4l2.format)?;
            of_v4l2(library, &v4l2.device, chosen, camera.fps)?
        }
        Source::Rtsp(rtsp) => {
            let chain = library.fill("sources/rtsp", &rtsp_parameters(rtsp))?;
            SourcePlan { dynamic: Some("source"), ..SourcePlan::of(chain) }
        }
        Source::Http(http) => {
            let fragment = match http.mode {
                HttpMode::Mjpeg => "sources/http-mjpeg",
                HttpMode::Jpeg => "sources/http-jpeg",
            };
            let mut parameters = Parameters::new();
            insert_text(&mut parameters, "url", Some(&http.url));
            insert_text(&mut parameters, "username", http.username.as_deref());
            insert_secret(&mut parameters, "password", http.password.as_ref().map(|p| p.expose()));
            // The demultiplexer has its pad when the first picture comes.
            let dynamic = (http.mode == HttpMode::Mjpeg).then_some("streams");
            SourcePlan { dynamic, ..SourcePlan::of(library.fill(fragment, &parameters)?) }
        }
        Source::BambuJpeg(_) => SourcePlan::of(library.fill("sources/bambu-jpeg", &parameters)?),
        Source::File(file) => {
            let path = file.path.to_string_lossy();
            let mut parameters: Parameters = [("path", Value::Text(path.into_owned()))].into();
            let fragment = match container::demuxer(&file.path) {
                Some(demuxer) => {
                    parameters.insert("demuxer", Value::Word(demuxer.into()));
                    "sources/file-demuxed"
                }
                None => "sources/file",
            };
            let chain = library.fill(fragment, &parameters)?;
            SourcePlan { dynamic: Some("streams"), paced: true, ..SourcePlan::of(chain) }
        }
    };
    Ok(plan)
}

/// The tail for what appeared on a dynamic pad; `None` for what is not video or not known.
pub fn tail_for(caps: &gstreamer::CapsRef) -> Option<Option<&'static str>> {
    let structure = caps.structure(0)?;
    match structure.name().as_str() {
        "application/x-rtp" => match structure.get::<String>("encoding-name").ok()?.as_str() {
            "H264" => Some(Some("tails/rtp-h264")),
            "H265" => Some(Some("tails/rtp-h265")),
            "JPEG" => Some(Some("tails/rtp-jpeg")),
            _ => None,
        },
        "video/x-h264" => Some(Some("tails/h264")),
        "video/x-h265" => Some(Some("tails/h265")),
        "image/jpeg" | "video/x-raw" => Some(None),
        "image/jpg" => Some(Some("tails/jpg")),
        _ => None,
    }
}

/// An encoder for one outlet, ready to be built: everything between appsrc and appsink.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderPlan {
    /// The decoder and what thins its pictures out.
    pub before: Chain,
    /// What is done to pictures, in its order.
    pub stages: Vec<StagePlan>,
    pub encoder: Chain,
    /// The encoder's element name, for status.
    pub element: &'static str,
}

/// One of the things that are done to pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    pub stage: Stage,
    pub chain: Chain,
    /// Without it pictures are wrong; otherwise it only waits to be switched on.
    pub needed: bool,
}

impl EncoderPlan {
    /// All that is at work, as one chain.
    pub fn chain(&self) -> Chain {
        let needed = self.stages.iter().filter(|stage| stage.needed);
        let chain = needed.fold(self.before.clone(), |chain, stage| chain.then(stage.chain.clone()));
        chain.then(self.encoder.clone())
    }
}

/// Plans what feeds `codec`'s outlet from `format`. `None` when the source's pictures pass through.
///
/// # Errors
/// An element that the machine lacks, with its package.
pub fn encoder(
    library: &Library,
    camera: &Camera,
    transforms: &Transforms,
    lane: Lane,
    format: &Format,
) -> Result<Option<EncoderPlan>, Failure> {
    let route = format.route(lane, transforms.any());
    let mut chain = match route {
        Route::Passthrough | Route::Shared => return Ok(None),
        Route::Encode => Chain::default(),
        Route::Transcode(from) => {
            library.fill(choice::decoder(registered, from)?.fragment, &Parameters::new())?
        }
    };
    if route != Route::Encode && camera.fps > 0 {
        chain = chain.then(library.fill("transforms/rate", &rate(camera.fps))?);
    }
    let named = Named { id: camera.id.clone(), name: camera.display_name().to_owned() };
    let mut stages = Vec::new();
    for stage in Stage::ALL {
        if let Some(chain) = stage.chain(library, transforms, &named)? {
            stages.push(StagePlan { stage, chain, needed: stage.needed(transforms) });
        }
    }
    let size = format.size.unwrap_or(camera.resolution);
    let size = match transforms.sideways() {
        true => Resolution { width: size.height, height: size.width },
        false => size,
    };
    let fps = if camera.fps > 0 { f64::from(camera.fps) } else { format.fps.unwrap_or(0.0) };
    let (choice, encoder) = match lane.codec() {
        Codec::Jpeg => {
            let choice = choice::jpeg_encoder(registered)?;
            let quality = [("quality", Value::Int(camera.jpeg.quality.into()))].into();
            (choice, library.fill(choice.fragment, &quality)?)
        }
        Codec::H264 => h264(library, camera, size, fps)?,
    };
    Ok(Some(EncoderPlan { before: chain, stages, encoder, element: choice.element }))
}

fn h264(library: &Library, camera: &Camera, size: Resolution, fps: f64) -> Result<(Choice, Chain), Failure> {
    let choice = choice::h264_encoder(registered, camera.h264.encoder, size)?;
    let kbps = camera.h264.bitrate_kbps.unwrap_or_else(|| choice::bitrate_kbps(size, fps));
    let level_fps = if fps > 0.0 { fps } else { 30.0 };
    let parameters = [
        ("bitrate_kbps", Value::Int(kbps.into())),
        ("bitrate_bps", Value::Int(i64::from(kbps) * 1000)),
        ("gop", Value::Int(choice::gop_frames(camera.h264.gop_seconds, fps).into())),
        ("level", Value::Level(choice::h264_level(size, level_fps).into())),
    ]
    .into();
    Ok((choice, library.fill(choice.fragment, &parameters)?))
}

/// The whole of a camera's pipeline as one chain of fragments a branch, for people: the source, then what
/// feeds each outlet. Encoded network sources are shown as H.264.
///
/// # Errors
/// As [`source`] and [`encoder`].
pub fn shown(library: &Library, camera: &Camera) -> Result<(Chain, Vec<(Codec, Chain)>), Failure> {
    let plan = source(library, camera, &camera.source)?;
    let (tail, native) = match (&camera.source, plan.tail) {
        (Source::Rtsp(_), _) => (Some("tails/rtp-h264"), Native::Encoded(Encoded::H264)),
        (Source::File(_), _) => (Some("tails/h264"), Native::Encoded(Encoded::H264)),
        (Source::Http(_) | Source::BambuJpeg(_), _) => (None, Native::Encoded(Encoded::Jpeg)),
        (Source::V4l2(_), Some(tail)) => (Some(tail), Native::Encoded(Encoded::H264)),
        (Source::V4l2(_), None) if plan.chain.syntax().contains("image/jpeg") => {
            (None, Native::Encoded(Encoded::Jpeg))
        }
        _ => (None, Native::Raw),
    };
    let mut chain = plan.chain;
    if let Some(tail) = tail {
        chain = chain.then(library.fill(tail, &Parameters::new())?);
    }
    if plan.paced {
        chain = chain.then(library.fill("tails/paced", &Parameters::new())?);
    }
    let format = Format {
        native,
        caps: gstreamer::Caps::new_empty(),
        size: Some(camera.resolution),
        fps: (camera.fps > 0).then(|| camera.fps.into()),
        epoch: 0,
        b_frames: false,
    };
    let mut branches = Vec::new();
    for lane in [Lane::Jpeg, Lane::H264] {
        let plan = encoder(library, camera, &Transforms::of(camera), lane, &format)?;
        let mut branch = plan.map(|plan| plan.chain()).unwrap_or_default();
        // Each runs in a pipeline of its own; shown together, their names must differ.
        for name in ["mask", "turn", "overlay", "encoder"] {
            branch = branch.renamed(name, &format!("{}-{name}", lane.name()));
        }
        branches.push((lane.codec(), branch));
    }
    Ok((chain, branches))
}

/// One `video-direction` for a rotation (clockwise) and then a flip.
pub fn direction(rotation: Rotation, flip: Flip) -> Option<&'static str> {
    match (rotation, flip) {
        (Rotation::None, Flip::None) => None,
        (Rotation::None, Flip::Horizontal) | (Rotation::Half, Flip::Vertical) => Some("horiz"),
        (Rotation::None, Flip::Vertical) | (Rotation::Half, Flip::Horizontal) => Some("vert"),
        (Rotation::Half, Flip::None) => Some("180"),
        (Rotation::Clockwise90, Flip::None) => Some("90r"),
        (Rotation::Clockwise270, Flip::None) => Some("90l"),
        (Rotation::Clockwise90, Flip::Horizontal) | (Rotation::Clockwise270, Flip::Vertical) => Some("ul-lr"),
        (Rotation::Clockwise90, Flip::Vertical) | (Rotation::Clockwise270, Flip::Horizontal) => Some("ur-ll"),
    }
}

fn size_and_rate(size: Resolution, fps: u32) -> Parameters {
    let mut parameters = if fps > 0 { rate(fps) } else { Parameters::new() };
    parameters.insert("width", Value::Int(size.width.into()));
    parameters.insert("height", Value::Int(size.height.into()));
    parameters
}

fn rate(fps: u32) -> Parameters {
    [("fps", Value::Int(fps.into()))].into()
}

fn insert_text(parameters: &mut Parameters, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        parameters.insert(name, Value::Text(value.to_owned()));
    }
}

fn insert_secret(parameters: &mut Parameters, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        parameters.insert(name, Value::Secret(value.to_owned()));
    }
}

fn rtsp_parameters(rtsp: &Rtsp) -> Parameters {
    let protocols = match rtsp.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Auto => "udp+tcp",
    };
    let tls = match rtsp.tls {
        TlsCheck::Any => "0",
        TlsCheck::Pin | TlsCheck::System | TlsCheck::File => "validate-all",
    };
    let mut parameters: Parameters = [
        ("protocols", Value::Flags(protocols.into())),
        ("latency", Value::Int(rtsp.latency_ms.into())),
        ("tls", Value::Flags(tls.into())),
    ]
    .into();
    insert_text(&mut parameters, "url", Some(&rtsp.url));
    insert_text(&mut parameters, "username", rtsp.username.as_deref());
    insert_secret(&mut parameters, "password", rtsp.password.as_ref().map(|p| p.expose()));
    parameters
}

fn v4l2_mode(
    camera: &Camera,
    device: &Path,
    asked: crate::config::model::V4l2Format,
) -> Result<v4l2::Chosen, Failure> {
    // GStreamer has one word for all that can be wrong with opening.
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(device);
    drop(opened.map_err(|error| super::device::cannot_open(device, &error))?);
    let modes = v4l2::modes(device).map_err(Failure::broken)?;
    if modes.is_empty() {
        return Err(Failure::unsupported(format!(
            "{}: this device offers no pictures; a camera has several nodes, take another one (`fanlight doctor` \
             lists those that give pictures)",
            device.display()
        )));
    }
    let (size, turns) = (camera.resolution, camera.transformed());
    v4l2::choose(&modes, asked, size, camera.fps, &camera.outputs, turns).ok_or_else(|| {
        let kinds: Vec<&str> = modes.iter().map(|mode| mode.kind.fragment()).collect();
        Failure::unsupported(format!(
            "{} offers nothing of the asked format {asked:?}; it has {kinds:?}: set source.format to auto",
            device.display()
        ))
    })
}

/// Plans a V4L2 device in its `chosen` mode. Raw pictures come at no more than `fps`, whatever rate the
/// device has; encoded ones come as they are, since none of an H.264 stream can be left out.
fn of_v4l2(library: &Library, device: &Path, chosen: v4l2::Chosen, fps: u32) -> Result<SourcePlan, Failure> {
    let mut parameters = size_and_rate(chosen.size, 0);
    insert_text(&mut parameters, "device", Some(&device.to_string_lossy()));
    if let Some(rate) = chosen.rate {
        parameters.insert("fps_numer", Value::Int(rate.numer.into()));
        parameters.insert("fps_denom", Value::Int(rate.denom.into()));
        if rate.denom == 1 {
            parameters.insert("fps", Value::Int(rate.numer.into()));
        }
    }
    let mut chain = library.fill(chosen.kind.fragment(), &parameters)?;
    let as_asked = fps == 0 || chosen.rate.is_some_and(|rate| rate.is(fps));
    if chosen.kind == v4l2::Kind::Raw && !as_asked {
        chain = chain.then(library.fill("transforms/rate", &rate(fps))?);
    }
    let tail = (chosen.kind == v4l2::Kind::H264).then_some("tails/h264");
    Ok(SourcePlan { tail, ..SourcePlan::of(chain) })
}

/// A camera's own name for its name or its number in libcamera's list.
fn libcamera_name(camera: &str) -> Result<String, Failure> {
    let Ok(index) = camera.parse::<usize>() else { return Ok(camera.to_owned()) };
    let names = discover::libcamera_names();
    names.get(index).cloned().ok_or_else(|| {
        Failure::absent(format!("libcamera has no camera number {index}; it has {names:?}, counted from 0"))
    })
}

fn libcamera_controls(libcamera: &Libcamera) -> Vec<Setting> {
    let autofocus = libcamera.autofocus.map(|mode| match mode {
        Autofocus::Manual => "manual",
        Autofocus::Auto => "auto",
        Autofocus::Continuous => "continuous",
    });
    let controls = [
        ("exposure-time", libcamera.exposure_time_us.map(|us| us.to_string())),
        ("analogue-gain", libcamera.analogue_gain.map(|gain| gain.to_string())),
        ("brightness", libcamera.brightness.map(|value| value.to_string())),
        ("contrast", libcamera.contrast.map(|value| value.to_string())),
        ("saturation", libcamera.saturation.map(|value| value.to_string())),
        ("sharpness", libcamera.sharpness.map(|value| value.to_string())),
        ("af-mode", autofocus.map(str::to_owned)),
    ];
    let set = |(property, value): (&str, Option<String>)| {
        Some(Setting { element: "source".into(), property: property.into(), value: value?, secret: false })
    };
    controls.into_iter().filter_map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_and_flipping_are_one_direction() {
        use Flip::{Horizontal, Vertical};
        use Rotation::*;
        for (rotation, flip, expected) in [
            (None, Flip::None, Option::None),
            (Clockwise90, Flip::None, Some("90r")),
            (Half, Flip::None, Some("180")),
            (Clockwise270, Flip::None, Some("90l")),
            (None, Horizontal, Some("horiz")),
            (Half, Horizontal, Some("vert")),
            (Half, Vertical, Some("horiz")),
        ] {
            assert_eq!(direction(rotation, flip), expected, "{rotation:?} {flip:?}");
        }
    }

    #[test]
    fn a_sensor_mode_is_asked_for_by_its_size_and_scaled_to_the_resolution() {
        let mut camera = Camera::new("pi", Source::Test {});
        camera.resolution = Resolution { width: 640, height: 480 };
        camera.fps = 30;
        let libcamera =
            Libcamera { sensor_mode: Some(Resolution { width: 1640, height: 1232 }), ..Libcamera::default() };
        let plan = source(&Library::embedded(), &camera, &Source::Libcamera(libcamera)).unwrap();
        let syntax = plan.chain.syntax();
        assert!(syntax.contains("NV12,width=1640,height=1232,framerate=30/1 ! videoscale"), "{syntax}");
        assert!(syntax.ends_with("width=640,height=480"), "{syntax}");
    }

    #[test]
    fn a_v4l2_device_runs_at_its_own_rate_and_only_raw_pictures_are_thinned() {
        use v4l2::{Chosen, Kind, Rate};
        let size = Resolution { width: 640, height: 480 };
        let plan = |kind, rate: Option<(u32, u32)>, fps| {
            let rate = rate.map(|(numer, denom)| Rate { numer, denom });
            let chosen = Chosen { kind, size, rate };
            of_v4l2(&Library::embedded(), Path::new("/dev/video0"), chosen, fps).unwrap()
        };
        let thinned = " ! videorate drop-only=true max-rate=20";
        for (kind, rate, fps, expected) in [
            (Kind::Raw, Some((20, 1)), 20, "height=480,framerate=20/1".to_owned()),
            (Kind::Raw, Some((40, 2)), 20, "height=480,framerate=40/2".to_owned()),
            (Kind::Raw, Some((30, 1)), 20, format!("height=480,framerate=30/1{thinned}")),
            (Kind::Raw, Some((30000, 1001)), 20, format!("height=480,framerate=30000/1001{thinned}")),
            (Kind::Raw, None, 20, format!("height=480{thinned}")),
            (Kind::Raw, None, 0, "height=480".to_owned()),
            (Kind::Mjpeg, Some((30, 1)), 20, "height=480,framerate=30/1".to_owned()),
            (Kind::H264, Some((30, 1)), 20, "height=480,framerate=30/1".to_owned()),
            (Kind::H264, None, 0, "height=480".to_owned()),
        ] {
            let plan = plan(kind, rate, fps);
            let syntax = plan.chain.syntax();
            assert!(syntax.ends_with(&expected), "{kind:?} {rate:?} {fps}: {syntax}");
            assert_eq!(plan.tail.is_some(), kind == Kind::H264);
        }
    }

    #[test]
    fn a_libcamera_number_that_nothing_has_is_said_with_what_there_is() {
        gstreamer::init().unwrap();
        let libcamera = Libcamera { camera: Some("7".into()), ..Libcamera::default() };
        let camera = Camera::new("pi", Source::Libcamera(libcamera));
        let failure = source(&Library::embedded(), &camera, &camera.source).unwrap_err();
        assert!(failure.message.contains("camera number 7"), "{failure:?}");
    }

    #[test]
    fn tails_follow_what_a_camera_announces() {
        gstreamer::init().unwrap();
        let tail = |caps: &str| tail_for(&caps.parse::<gstreamer::Caps>().unwrap());
        assert_eq!(tail("application/x-rtp,media=video,encoding-name=H264"), Some(Some("tails/rtp-h264")));
        assert_eq!(tail("application/x-rtp,media=video,encoding-name=H265"), Some(Some("tails/rtp-h265")));
        assert_eq!(tail("application/x-rtp,media=audio,encoding-name=PCMU"), None);
        assert_eq!(tail("video/x-raw"), Some(None));
        assert_eq!(tail("audio/mpeg"), None);
    }
}
