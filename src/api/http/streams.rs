//! Pictures over HTTP: the MJPEG stream and the snapshot.

use std::convert::Infallible;
use std::time::{Instant, SystemTime};

use futures_util::{StreamExt, stream};
use serde_json::json;
use warp::Reply;
use warp::http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::answer::{self, Fault, Response};
use super::routes::Params;
use super::{AppState, Request, seconds};
use crate::frames::AccessUnit;
use crate::serve::{hls, mjpeg, ready, snapshot};

const X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");

/// `?fps=` takes these.
const RATES: std::ops::RangeInclusive<f64> = 0.1..=120.0;

pub async fn mjpeg(state: &AppState, id: Option<&str>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    let limit = rate(request)?;
    let max_age = state.max_frame_age();
    if *request.method == Method::HEAD {
        // The headers of the answer, without starting anything for nobody.
        if !capture.camera().outputs.mjpeg {
            return Err(mjpeg_fault(mjpeg::Refusal::Disabled(capture.id().to_owned())));
        }
        ready::hopeless(&capture.status(), max_age).map_err(|refusal| Fault::not_ready(&refusal))?;
        return Ok(multipart(warp::reply::stream(stream::empty::<Result<bytes::Bytes, Infallible>>())));
    }
    let (max_streams, patience) = {
        let config = state.config.borrow();
        (config.mjpeg.max_streams, seconds(config.supervision.start_timeout_seconds))
    };
    let wait = ready::Wait { max_age, patience };
    let asked = mjpeg::Request { limit, max_streams, wait };
    let viewer = state.mjpeg.open(&capture, asked).await.map_err(mjpeg_fault)?;
    Ok(multipart(warp::reply::stream(viewer.into_stream().map(Ok::<_, Infallible>))))
}

/// An HTTP/1.0 answer that ends with its connection, like those of mjpg-streamer and ustreamer: small
/// readers that split the parts by hand do not know chunks.
fn multipart(body: impl Reply) -> Response {
    let mut response = body.into_response();
    *response.version_mut() = Version::HTTP_10;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mjpeg::CONTENT_TYPE));
    let never = "no-store, no-cache, must-revalidate, max-age=0";
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(never));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // nginx would keep pictures back until its buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn rate(request: &Request<'_>) -> Result<Option<f64>, Fault> {
    let Some(text) = request.query("fps") else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(rate) if RATES.contains(&rate) => Ok(Some(rate)),
        _ => Err(Fault::invalid("fps", &text, "a number of pictures per second, 0.1 to 120")),
    }
}

fn mjpeg_fault(refusal: mjpeg::Refusal) -> Fault {
    match &refusal {
        mjpeg::Refusal::Disabled(camera) => Fault::disabled(camera, "mjpeg", refusal.to_string()),
        mjpeg::Refusal::Full(max) => Fault::full(*max, refusal.to_string()),
        mjpeg::Refusal::NotReady(not_ready) => Fault::not_ready(not_ready),
    }
}

pub async fn snapshot(state: &AppState, id: Option<&str>) -> Result<Response, Fault> {
    let capture = state.camera(id)?;
    match state.snapshots.take(&capture, state.max_frame_age()).await {
        Ok(unit) => Ok(picture(&unit)),
        Err(refusal) => Err(match &refusal {
            snapshot::Refusal::Disabled(camera) => Fault::disabled(camera, "snapshot", refusal.to_string()),
            snapshot::Refusal::NotReady(not_ready) => Fault::not_ready(not_ready),
        }),
    }
}

fn picture(unit: &AccessUnit) -> Response {
    let age = unit.age(Instant::now());
    let mut response = answer::bytes(StatusCode::OK, "image/jpeg", unit.data.clone());
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    for (name, value) in [
        (X_TIMESTAMP, HeaderValue::from_str(&mjpeg::unix_seconds(unit.captured_at)).ok()),
        (answer::X_FRAME_AGE, answer::age_header(age.as_secs_f64()).ok()),
        (header::LAST_MODIFIED, http_date(unit.captured_at)),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// The date format of RFC 9110 section 5.6.7.
pub fn http_date(time: SystemTime) -> Option<HeaderValue> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
    HeaderValue::from_str(&text).ok()
}

/// HLS playlists, segments and parts.
pub async fn hls(state: &AppState, params: Params<'_>, request: &Request<'_>) -> Result<Response, Fault> {
    let capture = state.camera(params.id)?;
    let range = request.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let asked = hls::Request {
        file: params.file.unwrap_or_default(),
        query: request.query,
        range,
        head: *request.method == Method::HEAD,
        max_frame_age: state.max_frame_age(),
    };
    let hls = state.hls.borrow().clone();
    tokio::select! {
        answer = hls.respond(&capture, asked) => answer.map_err(|refusal| hls_fault(&refusal, request)),
        // A blocking reload does not hold up the end of the service.
        () = state.stop.cancelled() => Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "CAMERA_NOT_READY",
            "the service is being stopped",
            json!({ "camera": capture.id(), "reason": "stopping" }),
        )),
    }
}

fn hls_fault(refusal: &hls::Refusal, request: &Request<'_>) -> Fault {
    use hls::Refusal;
    let message = refusal.to_string();
    match refusal {
        Refusal::Disabled(camera) => Fault::disabled(camera, "hls", message),
        Refusal::LowLatencyDisabled(camera) => Fault::disabled(camera, "hls_ll", message),
        Refusal::NoFile { camera, file } | Refusal::Gone { camera, file } => {
            Fault::new(StatusCode::NOT_FOUND, "NOT_FOUND", message, json!({ "camera": camera, "file": file }))
        }
        Refusal::Directive(bad) => {
            Fault::invalid(bad.key, &request.query(bad.key).unwrap_or_default(), bad.problem)
        }
        Refusal::Range { camera, file, length } => {
            let details = json!({ "camera": camera, "file": file, "length": length });
            Fault::no_range(*length, message, details)
        }
        Refusal::NotReady { why, waited } => {
            // To the millisecond: more is noise.
            let waited = (waited.as_secs_f64() * 1000.0).round() / 1000.0;
            Fault::not_ready(why).detail("waited_seconds", waited)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request<'a>(query: &'a str, headers: &'a warp::http::HeaderMap) -> Request<'a> {
        Request {
            method: &Method::GET,
            path: "/stream",
            query,
            headers,
            client: None,
            body: bytes::Bytes::new(),
            upgrade: None,
            entered: None,
        }
    }

    #[test]
    fn a_frame_rate_is_a_number_in_range_and_everything_else_is_said_to_be_wrong() {
        let headers = warp::http::HeaderMap::new();
        for (query, expected) in [
            ("", Some(None)),
            ("fps=15", Some(Some(15.0))),
            ("&123&fps=0.1&timestamp=99", Some(Some(0.1))),
            ("fps=0", None),
            ("fps=NaN", None),
            ("fps=inf", None),
            ("fps=-1", None),
            ("fps=", None),
            ("fps=121", None),
            ("fps=5%2E5", Some(Some(5.5))),
        ] {
            assert_eq!(rate(&request(query, &headers)).ok(), expected, "{query:?}");
        }
    }

    #[test]
    fn last_modified_is_an_http_date() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        assert_eq!(http_date(time).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
