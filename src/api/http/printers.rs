//! `/api/printers`: the registry over REST. Paths, names and answers are those that clients of printers know;
//! what went wrong is told in the one schema of errors, but for commands, whose answers are `{ "ok": … }`.
//!
//! A status stream is a task's state seen through a watch: nothing is queued, a client that reads slowly gets
//! the newest state when its socket drains.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use warp::Reply;
use warp::http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::{AppState, Request, cors, door};
use crate::access::Role;
use crate::printers::command::{Command, CommandError};
use crate::printers::models::Model;
use crate::printers::state::PrinterState;
use crate::printers::trial::Step;
use crate::printers::view::{PrinterView, StatusView};
use crate::printers::{PrinterError, Printers};
use crate::tls::Fingerprint;

/// Status streams at once. Each is a connection and a few hundred bytes.
pub const STREAMS: usize = 128;
/// Something is sent at least this often, for proxies that cut what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events of one stream are at least this far apart.
const SPACING: Duration = Duration::from_millis(200);
/// How long a browser waits before it asks again after a stream ended.
const RETRY: &str = "retry: 2000\n\n";

/// What is set of a printer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes the body, which is read a field at a time")]
pub struct PrinterSettings {
    /// For people, at most 64 characters.
    name: String,
    /// An IP address or a host name, without scheme, port and path.
    host: String,
    serial: String,
    /// As the printer shows it. Left out or null in a change, it stays.
    access_code: Option<String>,
    /// Where its camera is, when that is not what the printer says: `rtsps://192.168.1.10:322/streaming/live/1`.
    rtsp_url: Option<String>,
}

/// The certificate that somebody looked at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcceptCertificate {
    /// SHA-256 in hex, as `certificate.offered` has it; default: whichever the printer shows now.
    #[schema(value_type = Option<String>)]
    fingerprint: Option<Fingerprint>,
}

/// How a command went.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandAnswer {
    /// Whether the printer has said that it will.
    ok: bool,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How far a connection got.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrinterTest {
    /// Whether every step that was tried went well.
    ok: bool,
    steps: Vec<Step>,
}

/// Printers of the network.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundPrinters {
    found: Vec<FoundPrinter>,
}

/// A printer that announces itself. All of it is what it says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundPrinter {
    serial: String,
    host: String,
    name: String,
    /// `X1C`, or the maker's code when that is not known here.
    model: String,
    firmware: String,
    /// Whether it is in LAN mode; null when it does not say.
    lan_mode: Option<bool>,
    /// The id of the printer that it is here already.
    printer: Option<i64>,
}

impl From<PrinterError> for Fault {
    fn from(error: PrinterError) -> Self {
        let message = error.to_string();
        let (status, code, details) = match &error {
            PrinterError::NoPrinter(id) => {
                (StatusCode::NOT_FOUND, "PRINTER_NOT_FOUND", json!({ "printer": id }))
            }
            PrinterError::Invalid(fields) => {
                (StatusCode::BAD_REQUEST, "VALIDATION_ERROR", json!({ "fields": fields }))
            }
            PrinterError::TooMany(most) => {
                (StatusCode::CONFLICT, "TOO_MANY_PRINTERS", json!({ "most": most }))
            }
            PrinterError::NoCertificate(_) | PrinterError::NoSearch => {
                (StatusCode::CONFLICT, "INVALID_STATE", json!({}))
            }
            PrinterError::OtherCertificate { shown, .. } => {
                (StatusCode::CONFLICT, "OTHER_CERTIFICATE", json!({ "offered": shown }))
            }
            PrinterError::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", json!({})),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "DEPENDENCY_FAILED", json!({})),
        };
        Fault::new(status, code, message, details)
    }
}

/// GET lists them, POST adds one.
pub async fn all(state: &AppState, request: &Request<'_>) -> Result<Response, Fault> {
    let (printers, exposes) = (&state.printers, exposes(state, request).await);
    if *request.method != Method::POST {
        let full = full(request);
        let list = printers.list();
        let views: Vec<_> = list.iter().map(|entry| PrinterView::of(entry, exposes, full)).collect();
        return Ok(answer::json(StatusCode::OK, &views));
    }
    let entry = printers.create(body(request)?).await?;
    let mut response = answer::json(StatusCode::CREATED, &PrinterView::of(&entry, exposes, false));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/printers/{}", entry.printer.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// GET looks at one, PUT changes it, DELETE deletes it.
pub async fn one(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let (printers, id) = (&state.printers, id.unwrap_or_default());
    let entry = match *request.method {
        Method::PUT => printers.update(id, body(request)?).await?,
        Method::DELETE => {
            printers.delete(id).await?;
            return Ok(answer::empty(StatusCode::NO_CONTENT));
        }
        _ => printers.get(id)?,
    };
    Ok(answer::json(StatusCode::OK, &PrinterView::of(&entry, exposes(state, request).await, full(request))))
}

pub fn status(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let entry = state.printers.get(id.unwrap_or_default())?;
    Ok(answer::json(StatusCode::OK, &StatusView::of(&entry, full(request))))
}

/// What comes before a command and refuses it, in the form of a command's answer.
pub fn command_refused(fault: Fault) -> Response {
    fault.into_answer(|error| CommandAnswer { ok: false, error: Some(error) })
}

pub async fn command(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Response {
    let answer =
        |status, error: Option<String>| answer::json(status, &CommandAnswer { ok: error.is_none(), error });
    let entry = match state.printers.get(id.unwrap_or_default()) {
        Ok(entry) => entry,
        Err(error) => return answer(StatusCode::NOT_FOUND, Some(error.to_string())),
    };
    let done = match Command::from_json(&request.body) {
        Ok(command) => state.printers.command(&entry, command).await,
        Err(error) => return answer(StatusCode::BAD_REQUEST, Some(error.to_string())),
    };
    let Err(error) = done else { return answer(StatusCode::OK, None) };
    let status = match &error {
        CommandError::Invalid(_) | CommandError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::NotNow(_) => StatusCode::CONFLICT,
        CommandError::Unauthorized(_) => StatusCode::FORBIDDEN,
        CommandError::NotConnected(_) => StatusCode::SERVICE_UNAVAILABLE,
        CommandError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    answer(status, Some(error.to_string()))
}

/// Trusts the certificate that a printer shows in place of the one that is kept.
pub async fn accept(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let body = Value::Object(body(request)?);
    let AcceptCertificate { fingerprint } = serde_json::from_value(body).map_err(|error| bad_body(&error))?;
    let entry = state.printers.accept_certificate(id.unwrap_or_default(), fingerprint).await?;
    Ok(answer::json(StatusCode::OK, &PrinterView::of(&entry, exposes(state, request).await, true)))
}

/// Tries a printer, or changes to one that there is.
pub async fn test(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let steps = state.printers.test(id, &body(request)?).await?;
    let ok = steps.iter().all(|step| step.ok != Some(false));
    Ok(answer::json(StatusCode::OK, &PrinterTest { ok, steps }))
}

pub fn found(state: &AppState) -> Result<Response, Fault> {
    let list = state.printers.list();
    let here = |serial: &str| list.iter().find(|it| it.printer.serial == serial).map(|it| it.printer.id);
    let found = state.printers.found()?.into_iter().map(|heard| FoundPrinter {
        printer: here(&heard.serial),
        model: match Model::from_code(&heard.model) {
            Model::Unknown => heard.model,
            model => model.name().to_owned(),
        },
        serial: heard.serial,
        host: heard.host.to_string(),
        name: heard.name,
        firmware: heard.firmware,
        lan_mode: heard.lan,
    });
    Ok(answer::json(StatusCode::OK, &FoundPrinters { found: found.collect() }))
}

/// `status` at once and at each change.
pub fn status_stream(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let entry = state.printers.get(id.unwrap_or_default())?;
    if *request.method == Method::HEAD {
        return Ok(event_stream(stream::empty()));
    }
    let seat = Arc::clone(&state.printer_streams).try_acquire_owned().map_err(|_| {
        let message = format!("{STREAMS} clients follow printers already, as many as there may be");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CLIENTS", message, json!({ "most": STREAMS }))
            .with(header::RETRY_AFTER, 5)
    })?;
    let last = request.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let follower = Follower {
        printers: state.printers.clone(),
        states: entry.watch(),
        gone: entry.gone.clone(),
        id: entry.printer.id.to_string(),
        full: full(request),
        last: last.unwrap_or_default(),
        next: Instant::now(),
        stop: state.stop.clone(),
        _seat: seat,
    };
    Ok(event_stream(follower.follow()))
}

/// One client of a status stream.
struct Follower {
    printers: Printers,
    states: watch::Receiver<Arc<PrinterState>>,
    gone: CancellationToken,
    id: String,
    full: bool,
    /// The id of the event that the client has.
    last: String,
    /// The next event comes no sooner.
    next: Instant,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
}

impl Follower {
    fn follow(self) -> impl Stream<Item = Bytes> + Send + Sync {
        let opening = stream::once(async { Bytes::from_static(RETRY.as_bytes()) });
        let events = stream::unfold(self, |mut follower| async {
            let event = follower.event().await?;
            Some((event, follower))
        });
        opening.chain(events)
    }

    /// The next event, or a heartbeat; `None` when the printer is deleted or the service stops.
    async fn event(&mut self) -> Option<Bytes> {
        let heartbeat = Instant::now() + HEARTBEAT;
        let (gone, stop) = (self.gone.clone(), self.stop.clone());
        let ended = async {
            tokio::select! {
                () = gone.cancelled() => {}
                () = stop.cancelled() => {}
            }
        };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return None,
                () = sleep_until(self.next) => {}
            }
            if let Some(event) = self.news() {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = &mut ended => return None,
                changed = self.states.changed() => changed.ok()?,
                () = sleep_until(heartbeat) => {
                    // Certificate and camera change without a report.
                    return Some(self.news().unwrap_or_else(|| Bytes::from_static(b": here\n\n")));
                }
            }
        }
    }

    /// The state now, unless the client has it already. Its id is made of its content, so that it means the
    /// same after a restart.
    fn news(&mut self) -> Option<Bytes> {
        let state = Arc::clone(&self.states.borrow_and_update());
        let entry = self.printers.get(&self.id).ok()?;
        let data = serde_json::to_string(&StatusView::at(&entry, &state, self.full)).ok()?;
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        let id = format!("{:016x}", hasher.finish());
        if id == self.last {
            return None;
        }
        self.next = Instant::now() + SPACING;
        let event = format!("id: {id}\nevent: status\ndata: {data}\n\n");
        self.last = id;
        Some(event.into())
    }
}

fn event_stream(body: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response {
    let mut response = warp::reply::stream(body.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events back until its buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Whether access codes are told: if that is configured, to those who may change printers. A page of
/// another origin, or one that had its name lead here, is none of them.
async fn exposes(state: &AppState, request: &Request<'_>) -> bool {
    state.printers.exposes()
        && super::named_here(state, request).is_ok()
        && cors::may_act(request.headers, &state.config().server.cors_origins).is_ok()
        && door::may(&state.access, Role::Admin, request).await
}

/// Whether details are asked for.
fn full(request: &Request<'_>) -> bool {
    matches!(request.query("full").as_deref(), Some("1" | "true" | ""))
}

/// A body of JSON: an object. None at all is an empty one.
fn body(request: &Request<'_>) -> Result<Map<String, Value>, Fault> {
    let body = if request.body.is_empty() { b"{}" } else { &request.body[..] };
    serde_json::from_slice(body).map_err(|error| bad_body(&error))
}

fn bad_body(error: &serde_json::Error) -> Fault {
    let message = format!("the body is not what is expected here: {error}");
    Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
}
