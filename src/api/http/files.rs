//! `/files/recordings/{name}` and `/files/snapshots/{name}`: files with ranges, HEAD, conditions and names
//! for a download, and a playlist by which a browser plays a recording while it is being written.
//!
//! A file that is being written is served as long as it is at the moment of the request; its ETag is that of
//! its beginning, since what is there never changes, so that a client may go on where it stopped.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use warp::Reply;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::answer::{self, Fault, Response};
use super::streams::http_date;
use super::{AppState, Request};
use crate::serve::hls::request::{ByteRange, byte_range};

/// Read at a time; two of them are in memory for each client.
const CHUNK: u64 = 128 * 1024;

/// A recording.
pub async fn recording(
    state: &AppState,
    name: Option<&str>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    let name = name.unwrap_or_default();
    let path = state.recordings.path(name).map_err(|_| nothing(name))?;
    // Looked at before the size is: one that ends in between is served as if it grew.
    let grows = state.recordings.is_written(name);
    serve(&path, name, "video/mp4", grows, request).await
}

pub async fn snapshot(
    state: &AppState,
    name: Option<&str>,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    let name = name.unwrap_or_default();
    let path = state.recordings.snapshots().path(name).map_err(|_| nothing(name))?;
    serve(&path, name, "image/jpeg", false, request).await
}

/// What a playlist needs is read from the file: it is the same whoever wrote it.
pub async fn playlist(state: &AppState, name: Option<&str>) -> Result<Response, Fault> {
    let text = state.recordings.playlist(name.unwrap_or_default()).await?;
    Ok(answer::bytes(StatusCode::OK, "application/vnd.apple.mpegurl", text))
}

fn nothing(name: &str) -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "FILE_NOT_FOUND",
        format!("there is no file {name:?}"),
        json!({ "name": name }),
    )
}

async fn serve(
    path: &Path,
    name: &str,
    kind: &'static str,
    grows: bool,
    request: &Request<'_>,
) -> Result<Response, Fault> {
    let broken = |error: io::Error| {
        tracing::warn!("{} cannot be read: {error}", path.display());
        let message = format!("{name} cannot be read: {error}");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "DEPENDENCY_FAILED", message, json!({ "name": name }))
    };
    // A link could lead anywhere.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(flags.cast_signed()).open(path).await;
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nothing(name)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(nothing(name));
        }
        Err(error) => return Err(broken(error)),
    };
    let metadata = file.metadata().await.map_err(broken)?;
    if !metadata.is_file() {
        return Err(nothing(name));
    }
    let size = metadata.len();
    let etag = if grows {
        format!("\"{:x}-growing\"", metadata.ino())
    } else {
        format!(
            "\"{:x}-{size:x}-{:x}\"",
            metadata.ino(),
            metadata.mtime_nsec() + metadata.mtime() * 1_000_000_000
        )
    };
    let modified = metadata.modified().ok().and_then(http_date);
    let head = *request.method == Method::HEAD;
    let part = match asked(request.headers, &etag, modified.as_ref(), size, grows) {
        // RFC 9110, 14.2: ranges are for GET.
        Asked::Part { .. } | Asked::Nothing if head => Some((StatusCode::OK, 0, size)),
        Asked::NotModified => None,
        Asked::Whole => Some((StatusCode::OK, 0, size)),
        Asked::Part { first, last } => Some((StatusCode::PARTIAL_CONTENT, first, last + 1)),
        Asked::Nothing => {
            let message = format!("the range begins beyond the end of {name}, which is {size} bytes long");
            return Err(Fault::no_range(size, message, json!({ "name": name, "length": size })));
        }
    };
    let mut response = match part {
        None => answer::empty(StatusCode::NOT_MODIFIED),
        Some((status, ..)) if head => answer::empty(status),
        Some((status, begin, end)) => {
            file.seek(SeekFrom::Start(begin)).await.map_err(broken)?;
            let mut response = body(file, end - begin);
            *response.status_mut() = status;
            response
        }
    };
    let headers = response.headers_mut();
    if let Some((status, begin, end)) = part {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - begin));
        if status == StatusCode::PARTIAL_CONTENT
            && let Ok(range) = HeaderValue::from_str(&format!("bytes {begin}-{}/{size}", end - 1))
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
        // The name is safe in quotes: letters, digits, -, _ and . only.
        let how = if request.query("download").is_some() { "attachment" } else { "inline" };
        if let Ok(value) = HeaderValue::from_str(&format!("{how}; filename=\"{name}\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Browsers do not put ranges of a file together whose length is another one each time.
    let cache = if grows { "no-store" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(modified) = modified {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    Ok(response)
}

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    NotModified,
    Whole,
    /// First and last byte.
    Part {
        first: u64,
        last: u64,
    },
    /// A range beyond the end.
    Nothing,
}

/// RFC 9110, 13 and 14.
fn asked(headers: &HeaderMap, etag: &str, modified: Option<&HeaderValue>, size: u64, grows: bool) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if !grows && let Some(known) = text(header::IF_NONE_MATCH) {
        let same = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag;
        if known.split(',').any(|known| same(known.trim())) {
            return Asked::NotModified;
        }
    }
    let Some(range) = text(header::RANGE).and_then(byte_range) else { return Asked::Whole };
    // Of another file than the one that was begun, the rest is of no use.
    if let Some(condition) = headers.get(header::IF_RANGE)
        && condition.as_bytes() != etag.as_bytes()
        && modified.is_none_or(|modified| grows || modified != condition)
    {
        return Asked::Whole;
    }
    let Some(end) = size.checked_sub(1) else { return Asked::Nothing };
    let (first, last) = match range {
        ByteRange::From(first) => (first, end),
        ByteRange::Between(first, last) => (first, last.min(end)),
        ByteRange::Last(0) => return Asked::Nothing,
        ByteRange::Last(count) => (size.saturating_sub(count), end),
    };
    if first > end { Asked::Nothing } else { Asked::Part { first, last } }
}

/// So many bytes from here on, read on blocking threads as the client takes them.
fn body(file: File, length: u64) -> Response {
    let bytes = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = left.min(CHUNK);
        let mut chunk = BytesMut::with_capacity(usize::try_from(wanted).unwrap_or_default());
        while (chunk.len() as u64) < wanted {
            let missing = wanted - chunk.len() as u64;
            if (&mut file).take(missing).read_buf(&mut chunk).await? == 0 {
                // It was cut off while it was read: the client sees that bytes are missing.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<_, io::Error>(Some((Bytes::from(chunk), (file, left - wanted))))
    });
    warp::reply::stream(bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_conditions_are_understood() {
        let part = |first, last| Asked::Part { first, last };
        let modified = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        // headers, whether it grows, what is asked of 1000 bytes
        type Row = (&'static [(&'static str, &'static str)], bool, Asked);
        let table: &[Row] = &[
            (&[], false, Asked::Whole),
            (&[("range", "bytes=0-99")], false, part(0, 99)),
            (&[("range", "bytes=900-")], false, part(900, 999)),
            (&[("range", "bytes=-1")], false, part(999, 999)),
            (&[("range", "bytes=-5000")], false, part(0, 999)),
            (&[("range", "bytes=990-5000")], false, part(990, 999)),
            (&[("range", "bytes=1000-")], false, Asked::Nothing),
            (&[("range", "bytes=-0")], false, Asked::Nothing),
            (&[("range", "bytes=0-1,5-6")], false, Asked::Whole),
            (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], false, part(0, 1)),
            (&[("range", "bytes=0-1"), ("if-range", "\"b\"")], false, Asked::Whole),
            (&[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")], false, part(0, 1)),
            (&[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")], true, Asked::Whole),
            (&[("if-none-match", "\"b\", W/\"a\"")], false, Asked::NotModified),
            (&[("if-none-match", "\"a\"")], true, Asked::Whole),
            (&[("if-none-match", "\"b\"")], false, Asked::Whole),
        ];
        for (list, grows, expected) in table {
            let mut headers = HeaderMap::new();
            list.iter().for_each(|(name, value)| drop(headers.insert(*name, value.parse().unwrap())));
            assert_eq!(
                asked(&headers, "\"a\"", Some(&modified), 1000, *grows),
                *expected,
                "{list:?} {grows}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert("range", "bytes=0-".parse().unwrap());
        assert_eq!(asked(&headers, "\"a\"", None, 0, false), Asked::Nothing);
    }
}
