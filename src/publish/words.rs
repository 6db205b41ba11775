//! What peers and elements say, in words for people, sorted by what helps. Pure.

use gstreamer as gst;

use crate::config::Secret;
use crate::supervision::Failure;

/// `text` without any of `secrets` and without the escapes in which they may stand.
pub fn hidden(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
        let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text = text.replace(&escaped, "***");
    }
    text
}

/// Somebody else is in the room under the same name.
pub fn contested(identity: &str, room: &str) -> Failure {
    Failure::refused(format!(
        "another publisher uses identity {identity:?} in room {room:?}; give one of them another identity, or \
         retry by hand to take it over"
    ))
}

/// What the signaller of a WebRTC sink said. `None`: the server ended what was well before, and does not
/// say why.
pub fn of_signalling(target: &str, said: &str) -> Option<Failure> {
    let said = plain(said);
    if said == "Server disconnected" {
        return None;
    }
    let lower = without_addresses(said).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let status =
        |codes: &[&str]| lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| codes.contains(&word));
    if said.contains("Request timeout") {
        return Some(Failure::absent(format!("{target}: it takes the request and does not answer")));
    }
    Some(if has(&["token is expired", "token has expired", "(exp)"]) {
        Failure::refused(format!("{target}: the token has expired, or this machine's clock is wrong: {said}"))
    } else if has(&["invalid api key", "no matching key"]) {
        Failure::refused(format!("{target}: the server does not know this API key: {said}"))
    } else if has(&["cryptographic primitive", "signature"]) {
        Failure::refused(format!("{target}: the API secret or token is wrong: {said}"))
    } else if has(&["not yet valid", "(nbf)"]) {
        Failure::refused(format!(
            "{target}: the token is not valid yet; is this machine's clock right? {said}"
        ))
    } else if has(&["permissions denied", "not allowed", "no permission"]) {
        Failure::refused(format!("{target}: the token does not allow that: {said}"))
    } else if has(&["unauthorized", "forbidden"]) || status(&["401", "403"]) {
        Failure::refused(format!("{target}: it refuses this token or key: {said}"))
    } else if has(&["room does not exist", "requested room"]) {
        Failure::refused(format!(
            "{target}: the server makes no rooms by itself and has none of this name: {said}"
        ))
    } else if has(&["response: 404", "error: 404"]) {
        Failure::broken(format!("{target}: there is nothing at this address: {said}"))
    } else if has(&["response: 409", "already"]) {
        Failure::broken(format!("{target}: somebody else publishes there: {said}"))
    } else if has(&["certificate"]) {
        Failure::broken(format!("{target}: its TLS certificate is not trusted: {said}"))
    } else if has(&["connection refused", "no route", "unreachable", "dns", "lookup"]) {
        Failure::absent(format!("{target}: nobody answers: {said}"))
    } else if has(&["timed out", "timeout", "error sending request", "tcp connect"]) {
        Failure::absent(format!("{target}: no answer: {said}"))
    } else {
        Failure::broken(format!("{target}: {said}"))
    })
}

/// Without addresses: what stands in them says nothing about what happened.
fn without_addresses(said: &str) -> String {
    said.split_inclusive(char::is_whitespace).filter(|word| !word.contains("://")).collect()
}

/// Without what each layer puts before the words of the one below.
fn plain(said: &str) -> &str {
    let mut said = said.trim();
    for prefix in ["Signalling error: ", "Error: ", "Error: "] {
        said = said.strip_prefix(prefix).unwrap_or(said);
    }
    said.trim().trim_end_matches('.')
}

/// An error of an RTMP sink. `kept`: the server had taken pictures for a while; `again`: it did the same
/// thing the last time.
pub fn of_rtmp(target: &str, error: &gst::glib::Error, said: &str, kept: bool, again: bool) -> Failure {
    let said = said.trim_end_matches('.');
    let lower = without_addresses(said).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["already exists", "already publish", "busy"]) {
        return Failure::broken(format!(
            "{target}: somebody else publishes under this stream key, or the server has not noticed the end of \
             the last connection: {said}"
        ));
    }
    if error.matches(gst::ResourceError::NotAuthorized)
        || has(&["denied", "rejected", "not authorized", "unauthorized", "badname", "authmod"])
    {
        return Failure::refused(format!("{target}: it refuses this stream key or login: {said}"));
    }
    if has(&["certificate"]) {
        return Failure::broken(format!("{target}: its TLS certificate is not trusted: {said}"));
    }
    if has(&["connection refused", "no route", "unreachable", "resolv", "name or service"]) {
        return Failure::absent(format!("{target}: nobody answers: {said}"));
    }
    if has(&["timed out", "timeout", "time-out"]) {
        return Failure::absent(format!("{target}: no answer: {said}"));
    }
    if !kept {
        let words = format!(
            "{target}: the server ended the connection as soon as it was asked to take the stream; is the \
             stream key right? ({said})"
        );
        // Once may be a server that is just going away.
        return if again { Failure::refused(words) } else { Failure::broken(words) };
    }
    Failure::broken(format!("{target}: the server ended the connection: {said}"))
}

/// An error of an RTSP sink; `said` is what the server or the connection said.
pub fn of_rtsp(target: &str, error: &gst::glib::Error, said: &str) -> Failure {
    let said = said.trim().trim_end_matches('.');
    let lower = without_addresses(said).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if error.matches(gst::ResourceError::NotAuthorized) || has(&["401", "403", "unauthorized", "forbidden"]) {
        return Failure::refused(format!("{target}: it refuses this user and password: {said}"));
    }
    if has(&["400", "404", "bad request", "not found"]) {
        return Failure::broken(format!(
            "{target}: it does not take a stream at this path (MediaMTX: add the path there, or set api here; its log says \
             more): {said}"
        ));
    }
    if has(&["certificate"]) {
        return Failure::broken(format!("{target}: its TLS certificate is not trusted: {said}"));
    }
    if has(&[
        "connection refused",
        "no route",
        "unreachable",
        "resolv",
        "name or service",
        "failed to connect",
    ]) {
        return Failure::absent(format!("{target}: nobody answers: {said}"));
    }
    if has(&["timed out", "timeout", "time-out"]) {
        return Failure::absent(format!("{target}: no answer: {said}"));
    }
    Failure::broken(format!("{target}: the connection ended: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::FailureKind::{self, Absent, Broken, Refused};

    #[test]
    fn what_a_server_says_is_sorted_by_what_helps() {
        let table: &[(&str, FailureKind, &str)] = &[
            (
                "Signalling error: Error: client error: 401 Unauthorized - invalid token: x, error: go-jose: \
                 error in cryptographic primitive",
                Refused,
                "secret",
            ),
            ("Error: client error: 401 Unauthorized - invalid API key: nobody", Refused, "API key"),
            (
                "Error: client error: 401 Unauthorized - validation failed, token is expired (exp)",
                Refused,
                "expired",
            ),
            ("Error: Unexpected response: 403 - no", Refused, "token or key"),
            ("Error: client error: 404 Not Found - requested room does not exist", Refused, "rooms"),
            ("Error: Unexpected response: 404 - 404 page not found", Broken, "nothing at this address"),
            ("Error: ws failure: IO error: Connection refused (os error 111)", Absent, "nobody answers"),
            ("Error: signal connection timed out", Absent, "no answer"),
            ("Error: ws failure: IO error: invalid peer certificate: UnknownIssuer", Broken, "TLS"),
            // An address may hold any number and any word.
            (
                "Error: error sending request for url (http://127.0.0.1:40129/whip/forbidden)",
                Absent,
                "no answer",
            ),
            ("Error: Unexpected response: 401 - http://127.0.0.1:1/whip", Refused, "token or key"),
            ("Error: server error: 503 Service Unavailable - busy", Broken, "503"),
        ];
        for (said, kind, words) in table {
            let failure = of_signalling("wss://h", said).unwrap();
            assert_eq!(failure.kind, *kind, "{failure:?}");
            assert!(
                failure.message.contains(words) && failure.message.starts_with("wss://h: "),
                "{failure:?}"
            );
        }
        assert_eq!(of_signalling("wss://h", "Signalling error: Error: Server disconnected"), None);
    }

    #[test]
    fn an_rtmp_server_that_hangs_up_on_the_key_is_refusing_it_the_second_time() {
        let error = gst::glib::Error::new(gst::ResourceError::Write, "x");
        let of = |kept, again| of_rtmp("rtmp://h", &error, "Connection reset by peer", kept, again).kind;
        assert_eq!([of(false, false), of(false, true), of(true, true)], [Broken, Refused, Broken]);
        let taken = of_rtmp("rtmp://h", &error, "publish denied; stream already exists: {}", false, true);
        assert_eq!(taken.kind, Broken, "its own last connection may be what is in the way");
        let denied = gst::glib::Error::new(gst::ResourceError::NotAuthorized, "x");
        assert_eq!(of_rtmp("rtmp://h", &denied, "no", true, false).kind, Refused);
    }

    #[test]
    fn no_form_of_a_secret_is_left_in_words() {
        let secrets = [Secret::new("k&y/1"), Secret::new("")];
        let shown = hidden("publish k&y/1 failed: /app/k%26y%2F1", &secrets);
        assert_eq!(shown, "publish *** failed: /app/***");
    }
}
