//! What comes with a request beside its head: the body, bounded in size and time, and who sent it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, pin_mut};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use warp::http::{HeaderMap, Method, StatusCode};

use super::Peer;
use super::answer::Fault;

/// Offers, tokens and settings are a few kilobytes.
const MOST: usize = 64 * 1024;
/// How long a body may take to arrive.
const WITHIN: Duration = Duration::from_secs(10);

/// The body of a request that has one by its method; of others nothing is read.
///
/// # Errors
/// 413 when it is too large, 408 when it takes too long, 400 when it breaks off.
pub async fn read<B: Buf>(
    method: &Method,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, Fault> {
    if !matches!(*method, Method::POST | Method::PATCH | Method::PUT) {
        return Ok(Bytes::new());
    }
    let whole = async {
        pin_mut!(body);
        let mut whole = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else {
                let message = "the request broke off before its body was whole";
                return Err(Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({})));
            };
            if whole.len() + chunk.remaining() > MOST {
                let message = format!("the body is larger than {MOST} bytes");
                let details = json!({ "most_bytes": MOST });
                return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message, details));
            }
            bytes::BufMut::put(&mut whole, chunk);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(WITHIN, whole).await.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {} s", WITHIN.as_secs());
        Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message, json!({})))
    })
}

/// A body of JSON; none at all is an empty object.
///
/// # Errors
/// 400 when it is something else.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    // An object: serde would take a list for one.
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    serde_json::from_value(Value::Object(object)).map_err(|error| wrong(&error))
}

pub fn wrong(error: &serde_json::Error) -> Fault {
    let message = format!("the body is not what is expected here: {error}");
    Fault::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message, json!({}))
}

/// Who asks: the other end of the connection; behind a proxy on this machine, whom the proxy names last
/// in `X-Forwarded-For`. What a client itself writes there is never believed.
pub fn client(peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let address = peer?.0.ip().to_canonical();
    if !address.is_loopback() {
        return Some(address);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    Some(forwarded.map_or(address, |forwarded: IpAddr| forwarded.to_canonical()))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, warp::Error>> + use<> {
        stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_has_a_size_that_is_not_exceeded_and_only_some_methods_have_one() {
        assert_eq!(read(&Method::POST, chunks(&[3, 4])).await.unwrap().len(), 7);
        assert_eq!(read(&Method::POST, chunks(&[MOST])).await.unwrap().len(), MOST);
        let fault = read(&Method::PATCH, chunks(&[MOST, 1])).await.unwrap_err();
        assert_eq!(fault.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(&Method::GET, chunks(&[3])).await.unwrap().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = stream::pending::<Result<Bytes, warp::Error>>();
        let fault = read(&Method::POST, never).await.unwrap_err();
        assert_eq!(fault.into_response().status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[test]
    fn only_a_proxy_on_this_machine_is_believed_whom_it_names() {
        let of = |peer: &str, forwarded: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(forwarded) = forwarded {
                headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            }
            client(Some(Peer(peer.parse().unwrap())), &headers).unwrap().to_string()
        };
        assert_eq!(of("192.0.2.7:4000", None), "192.0.2.7");
        assert_eq!(of("192.0.2.7:4000", Some("198.51.100.1")), "192.0.2.7");
        assert_eq!(of("127.0.0.1:4000", None), "127.0.0.1");
        assert_eq!(of("127.0.0.1:4000", Some("203.0.113.9, 198.51.100.1")), "198.51.100.1");
        assert_eq!(of("[::ffff:127.0.0.1]:4000", Some("2001:db8::1")), "2001:db8::1");
        assert_eq!(of("[::1]:4000", Some("unknown")), "::1");
    }
}
