//! Answers to requests, as bytes.

use std::fmt::Write as _;

use bytes::Bytes;

/// What we can be asked for.
pub const PUBLIC: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    EntityTooLarge,
    ParameterNotUnderstood,
    SessionNotFound,
    NotInThisState,
    UnsupportedTransport,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
    OptionNotSupported,
}

impl Status {
    const fn words(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::EntityTooLarge => "413 Request Entity Too Large",
            Status::ParameterNotUnderstood => "451 Parameter Not Understood",
            Status::SessionNotFound => "454 Session Not Found",
            Status::NotInThisState => "455 Method Not Valid In This State",
            Status::UnsupportedTransport => "461 Unsupported Transport",
            Status::NotImplemented => "501 Not Implemented",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 RTSP Version Not Supported",
            Status::OptionNotSupported => "551 Option Not Supported",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    pub fn new(status: Status) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub fn ok() -> Self {
        Self::new(Status::Ok)
    }

    /// A refusal that says why, for who looks at it.
    pub fn refusal(status: Status, why: &str) -> Self {
        Self::new(status).body("text/plain; charset=utf-8", format!("{why}\r\n"))
    }

    /// The value is one line: nothing of a request goes into it unlooked at.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, kind: &str, body: String) -> Self {
        self.headers.push(("Content-Type", kind.to_owned()));
        self.body = body;
        self
    }

    /// As bytes, to the request of this number.
    pub fn bytes(&self, cseq: Option<u32>) -> Bytes {
        let mut text = format!("RTSP/1.0 {}\r\n", self.status.words());
        // Writing into a string does not fail.
        if let Some(cseq) = cseq {
            let _ = write!(text, "CSeq: {cseq}\r\n");
        }
        let _ = write!(text, "Server: fanlight/{}\r\n", env!("CARGO_PKG_VERSION"));
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        let _ = write!(text, "\r\n{}", self.body);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_numbered_as_its_request_and_has_the_length_of_its_body() {
        let server = concat!("Server: fanlight/", env!("CARGO_PKG_VERSION"), "\r\n");
        let bytes = Answer::ok().header("Public", PUBLIC).bytes(Some(7));
        assert_eq!(bytes, format!("RTSP/1.0 200 OK\r\nCSeq: 7\r\n{server}Public: {PUBLIC}\r\n\r\n"));
        let bytes = Answer::refusal(Status::NotFound, "there is no camera “yard”").bytes(None);
        let expected = format!(
            "RTSP/1.0 404 Not Found\r\n{server}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 31\r\n\r\nthere is no camera “yard”\r\n"
        );
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_read_back_by_a_parser_is_what_was_meant() {
        let answer = Answer::refusal(Status::Unavailable, "no picture").bytes(Some(1));
        let (message, used) = rtsp_types::Message::<Vec<u8>>::parse(&answer).unwrap();
        let rtsp_types::Message::Response(response) = message else { panic!("{message:?}") };
        assert_eq!((u16::from(response.status()), used), (503, answer.len()));
        assert_eq!(response.body(), b"no picture\r\n");
    }
}
