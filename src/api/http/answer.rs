//! How answers are written: JSON, and errors in the one schema
//! `{ "error": { "code", "message", "details", "timestamp" } }`.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use warp::Reply;
use warp::http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::control::Refusal;
use crate::serve::ready::NotReady;
use crate::telemetry;

pub type Response = warp::reply::Response;

/// Age of the newest picture in seconds, with decimals; `Age` itself has whole seconds only.
pub const X_FRAME_AGE: HeaderName = HeaderName::from_static("x-frame-age");

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// For programs: `CAMERA_NOT_FOUND`, `CAMERA_NOT_READY`, `TOO_MANY_STREAMS`, …
    pub code: &'static str,
    /// For people: what happened and what to do.
    pub message: String,
    /// Of a fleet: whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// What belongs to the code.
    #[schema(value_type = Object)]
    pub details: Value,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "telemetry::rfc3339")]
    pub timestamp: SystemTime,
}

impl ErrorBody {
    fn new(code: &'static str, message: String, details: Value) -> Self {
        Self { error: ErrorDetail { code, message, node_id: None, details, timestamp: SystemTime::now() } }
    }
}

/// The body alone, for where there is no route yet.
pub fn error_body(code: &'static str, message: &str) -> String {
    serde_json::to_string(&ErrorBody::new(code, message.to_owned(), json!({}))).unwrap_or_default()
}

/// A request that is not fulfilled. Boxed: it travels in results whose other side is small.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
    node: Option<String>,
}

impl Fault {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            details,
            headers: Vec::new(),
            node: None,
        }))
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// Another status for the same fault, where a protocol wants one.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// About a node of a fleet.
    pub fn node(mut self, id: Option<&str>) -> Self {
        self.0.node = id.map(ToOwned::to_owned);
        self
    }

    /// One more of what belongs to the code.
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(details) = &mut self.0.details {
            details.insert(key.to_owned(), value.into());
        }
        self
    }

    pub fn no_path(path: &str) -> Self {
        let message = "there is nothing at this path; /api/openapi.json lists what there is";
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message, json!({ "path": path }))
    }

    pub fn no_camera(id: &str) -> Self {
        let message = format!("there is no camera {id:?}; /api/cameras lists them");
        Self::new(StatusCode::NOT_FOUND, "CAMERA_NOT_FOUND", message, json!({ "camera": id }))
    }

    pub fn no_output(id: &str) -> Self {
        let message = format!("there is no published output {id:?}; /api/cameras lists them");
        Self::new(StatusCode::NOT_FOUND, "OUTPUT_NOT_FOUND", message, json!({ "output": id }))
    }

    pub fn no_cameras() -> Self {
        let message = "no camera is configured or found; see `fanlight doctor`";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NO_CAMERA", message, json!({}))
            .with(header::RETRY_AFTER, 5)
    }

    pub fn refused(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NoCamera(id) => Self::no_camera(id),
            Refusal::NoOutput(id) => Self::no_output(id),
            Refusal::Path(_) | Refusal::Invalid(_) => {
                Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", refusal.to_string(), json!({}))
            }
            Refusal::NoExternal(id) => {
                let details = json!({ "stream": id });
                Self::new(StatusCode::NOT_FOUND, "STREAM_NOT_FOUND", refusal.to_string(), details)
            }
            Refusal::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, "CONFLICT", refusal.to_string(), json!({}))
            }
            Refusal::Dependency(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "DEPENDENCY_FAILED", refusal.to_string(), json!({}))
            }
            Refusal::NotKept(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "NOT_KEPT", refusal.to_string(), json!({}))
            }
            Refusal::NoStream(id) => Self::disabled(id, "stream", refusal.to_string()),
        }
    }

    pub fn disabled(camera: &str, output: &'static str, message: impl Into<String>) -> Self {
        let details = json!({ "camera": camera, "output": output });
        Self::new(StatusCode::NOT_FOUND, "OUTPUT_DISABLED", message, details)
    }

    pub fn wrong_method(method: &Method, path: &str, allow: &str) -> Self {
        let message = format!("{method} is not possible here, only {allow}");
        let details = json!({ "path": path, "allowed": allow.split(", ").collect::<Vec<_>>() });
        let fault = Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message, details);
        match HeaderValue::from_str(allow) {
            Ok(allow) => fault.with(header::ALLOW, allow),
            Err(_) => fault,
        }
    }

    pub fn invalid(key: &str, value: &str, allowed: &str) -> Self {
        let message = format!("{key}={value} is not possible: {allowed}");
        let details = json!({ "key": key, "value": value, "allowed": allowed });
        Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, details)
    }

    pub fn bad_action(action: Option<&str>) -> Self {
        Self::invalid("action", action.unwrap_or_default(), "stream or snapshot")
    }

    pub fn full(max: usize, message: impl Into<String>) -> Self {
        let details = json!({ "max_streams": max });
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", message, details)
            .with(header::RETRY_AFTER, 5)
    }

    pub fn not_ready(refusal: &NotReady) -> Self {
        let details = serde_json::to_value(refusal).unwrap_or_default();
        let retry = refusal.retry_after(SystemTime::now());
        let fault =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "CAMERA_NOT_READY", &*refusal.message, details)
                .with(header::RETRY_AFTER, retry);
        match refusal.frame_age_seconds.and_then(|age| age_header(age).ok()) {
            Some(age) => fault.with(X_FRAME_AGE, age),
            None => fault,
        }
    }

    pub fn no_range(length: u64, message: impl Into<String>, details: Value) -> Self {
        let fault = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", message, details);
        match HeaderValue::from_str(&format!("bytes */{length}")) {
            Ok(range) => fault.with(header::CONTENT_RANGE, range),
            Err(_) => fault,
        }
    }

    pub fn into_response(self) -> Response {
        let Inner { status, code, message, details, headers, node } = *self.0;
        let mut body = ErrorBody::new(code, message, details);
        body.error.node_id = node;
        let mut response = json(status, &body);
        response.headers_mut().extend(headers);
        response
    }
}

impl Fault {
    /// With a body made of the message, where a path has answers of its own.
    pub fn into_answer<T: Serialize>(self, body: impl FnOnce(String) -> T) -> Response {
        let Inner { status, message, headers, .. } = *self.0;
        let mut response = json(status, &body(message));
        response.headers_mut().extend(headers);
        response
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::refused(&refusal)
    }
}

/// `X-Frame-Age` as text.
pub fn age_header(seconds: f64) -> Result<HeaderValue, warp::http::header::InvalidHeaderValue> {
    HeaderValue::from_str(&format!("{seconds:.3}"))
}

/// A JSON answer that nobody stores.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An answer of the given type that nobody stores.
pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = warp::http::Response::new(body.into()).into_response();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub fn empty(status: StatusCode) -> Response {
    status.into_response()
}
