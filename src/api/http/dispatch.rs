//! Which function answers which path. Whatever changes something is asked first whether the page that asks may.

use warp::http::Method;

use super::answer::{Fault, Response};
use super::routes::{Params, Target};
use super::{
    AppState, Request, actions, assets, cameras, controls, cors, events, external, files, fleet, livekit,
    login, metrics, openapi, page, printers, probes, recordings, rpc, stepper, streams, system, transforms,
    whep,
};

/// Answers a request that was let in.
pub async fn dispatch(
    state: &AppState,
    target: Target,
    params: Params<'_>,
    request: &Request<'_>,
    origins: &[String],
) -> Result<Response, Fault> {
    match target {
        Target::Page | Target::Webcam => match request.query("action").as_deref() {
            Some("stream") => streams::mjpeg(state, None, request).await,
            Some("snapshot") => streams::snapshot(state, None).await,
            None if target == Target::Page => Ok(index(state, request)),
            action => Err(Fault::bad_action(action)),
        },
        Target::Plain => Ok(page::page(state)),
        Target::Asset => assets::file(&format!("assets/{}", params.file.unwrap_or_default()), request),
        Target::Icon => assets::file("icon.svg", request),
        Target::Stream => streams::mjpeg(state, params.id, request).await,
        Target::Snapshot => streams::snapshot(state, params.id).await,
        Target::Hls => streams::hls(state, params, request).await,
        Target::Health => Ok(probes::health(state)),
        Target::Ready => probes::ready(state, request.query("camera").as_deref()),
        Target::Metrics => Ok(metrics::metrics(state, request.headers)),
        Target::CameraStatus => Ok(probes::camera_status(state)),
        Target::Cameras => Ok(cameras::list(state)),
        Target::Camera => cameras::one(state, params.id),
        Target::Change => {
            cors::may_act(request.headers, origins)?;
            controls::change(state, params.id, request).await
        }
        Target::Forget => {
            cors::may_act(request.headers, origins)?;
            controls::forget(state, params.id).await
        }
        Target::SetControls => {
            cors::may_act(request.headers, origins)?;
            controls::set(state, params.id, request).await
        }
        Target::Controls => controls::list(state, params.id).await,
        Target::Capabilities => controls::capabilities(state, params.id).await,
        Target::ExternalStreams | Target::ExternalStream | Target::ScanInterval | Target::Discover => {
            match *request.method {
                Method::GET | Method::HEAD if target != Target::ExternalStreams => {}
                Method::GET | Method::HEAD => cors::may_pry(request.headers, origins)?,
                _ => cors::may_act(request.headers, origins)?,
            }
            match target {
                Target::ExternalStreams => external::all(state, request).await,
                Target::ExternalStream => external::one(state, params.id, request).await,
                Target::Discover => external::discover(state, request).await,
                _ => external::interval(state, request).await,
            }
        }
        Target::Streaming => {
            if !matches!(*request.method, Method::GET | Method::HEAD) {
                cors::may_act(request.headers, origins)?;
            }
            cameras::streaming(state, params.id, request.method)
        }
        Target::Restart => {
            cors::may_act(request.headers, origins)?;
            cameras::restart(state, params.id)
        }
        Target::Transforms if matches!(*request.method, Method::PUT | Method::DELETE) => {
            cors::may_act(request.headers, origins)?;
            match *request.method {
                Method::PUT => transforms::change(state, params.id, request).await,
                _ => transforms::reset(state, params.id, request).await,
            }
        }
        Target::Transforms => transforms::show(state, params.id),
        Target::Events => events::events(state, request),
        Target::WebrtcConfig => Ok(livekit::config(state)),
        Target::ViewerToken => livekit::token(state, request),
        Target::StandardToken => livekit::standard_token(state, request),
        Target::Stats => system::stats(state),
        Target::SystemMetrics => system::metrics(state),
        Target::Retry => {
            cors::may_act(request.headers, origins)?;
            cameras::retry(state, params.id)
        }
        Target::Rpc => {
            cors::may_act(request.headers, origins)?;
            rpc::socket(state, request)
        }
        Target::Recordings => recordings::list(state, request).await,
        Target::Snapshots => recordings::snapshots(state, request).await,
        Target::Storage => recordings::storage(state).await,
        Target::RecordingFile => files::recording(state, params.file, request).await,
        Target::RecordingPlaylist => files::playlist(state, params.file).await,
        Target::SnapshotFile => files::snapshot(state, params.file, request).await,
        Target::Recording
        | Target::KeepRecording
        | Target::CameraRecording
        | Target::Timelapse
        | Target::TakeSnapshot
        | Target::StoredSnapshot
        | Target::Retention
        | Target::Cleanup => {
            if !matches!(*request.method, Method::GET | Method::HEAD) {
                cors::may_act(request.headers, origins)?;
            }
            record(state, target, params, request).await
        }
        Target::Printers
        | Target::Printer
        | Target::PrinterStatus
        | Target::PrinterStream
        | Target::PrinterCommand
        | Target::PrinterCertificate
        | Target::PrinterTest
        | Target::FoundPrinters => {
            match *request.method {
                // It has the service listen on the network.
                _ if target == Target::FoundPrinters => cors::may_pry(request.headers, origins)?,
                Method::GET | Method::HEAD => {}
                _ => cors::may_act(request.headers, origins)?,
            }
            printer(state, target, params, request).await
        }
        Target::Stepper(ask) => {
            if ask != stepper::Ask::Status {
                cors::may_act(request.headers, origins)?;
            }
            stepper::answer(state, ask, request).await
        }
        Target::Nodes => {
            if !matches!(*request.method, Method::GET | Method::HEAD) {
                cors::may_act(request.headers, origins)?;
            }
            fleet::nodes(state, params, request).await
        }
        Target::NodeStatus => fleet::status(state, params).await,
        Target::Overview => fleet::overview(state).await,
        Target::NodeAction => {
            cors::may_act(request.headers, origins)?;
            fleet::act(state, params, request).await
        }
        Target::Action => {
            cors::may_act(request.headers, origins)?;
            actions::act(state, params.action, request).await
        }
        Target::OpenApi => Ok(openapi::document()),
        Target::Session => Ok(login::session(state, request).await),
        Target::Login => {
            cors::may_act(request.headers, origins)?;
            login::login(state, request).await
        }
        Target::Logout => {
            cors::may_act(request.headers, origins)?;
            Ok(login::logout(state, request))
        }
        Target::Viewers => whep::viewers::list(state, params.id),
        Target::Whep | Target::WhepSession | Target::Signalling | Target::Go2rtc | Target::Go2rtcSocket => {
            cors::may_watch(request.headers, origins)?;
            watch(state, target, params, request).await
        }
    }
}

/// Recordings and snapshots: looked at, or changed.
async fn record(
    state: &AppState,
    target: Target,
    params: Params<'_>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    match target {
        Target::Recording => recordings::one(state, params.file, request).await,
        Target::KeepRecording => recordings::keep(state, params.file, request).await,
        Target::CameraRecording => recordings::camera(state, params.id, request).await,
        Target::Timelapse => recordings::timelapse(state, params.id, request).await,
        Target::TakeSnapshot => recordings::take(state, params.id, request).await,
        Target::StoredSnapshot => recordings::snapshot(state, params.file, request).await,
        Target::Retention => recordings::retention(state, request).await,
        _ => recordings::cleanup(state).await,
    }
}

/// Printers: looked at, changed, asked to do something.
async fn printer(
    state: &AppState,
    target: Target,
    params: Params<'_>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    match target {
        Target::Printers => printers::all(state, request).await,
        Target::Printer => printers::one(state, params.id, request).await,
        Target::PrinterStatus => printers::status(state, params.id, request),
        Target::PrinterStream => printers::status_stream(state, params.id, request),
        Target::PrinterCommand => Ok(printers::command(state, params.id, request).await),
        Target::PrinterCertificate => printers::accept(state, params.id, request).await,
        Target::PrinterTest => printers::test(state, params.id, request).await,
        _ => printers::found(state),
    }
}

/// WebRTC, in whichever way it is asked for.
async fn watch(
    state: &AppState,
    target: Target,
    params: Params<'_>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    match target {
        Target::WhepSession if *request.method == Method::DELETE => whep::delete(state, params).await,
        Target::WhepSession => whep::patch(state, params, request).await,
        Target::Signalling => whep::dialect::signalling(state, params.id, request).await,
        Target::Go2rtc => whep::go2rtc::post(state, request).await,
        Target::Go2rtcSocket => whep::go2rtc::socket(state, request),
        _ => whep::post(state, params.id, request).await,
    }
}

/// The dashboard; a binary built without it shows the plain page.
fn index(state: &AppState, request: &Request<'_>) -> Response {
    assets::index(request, &state.config.borrow().livekit).unwrap_or_else(|| page::page(state))
}
