//! What a connection's requests mean: the session as a state machine (RFC 2326, appendix A), without
//! cameras, sockets and clocks. One connection has at most one session, and it ends with the connection.

use rtsp_types::headers::{CSEQ, REQUIRE, SESSION, TRANSPORT};
use rtsp_types::{Method, Request, Url, Version};
use url::Position;

use super::answer::{Answer, PUBLIC, Status};
use super::sdp::TRACK;

/// What all media goes by; who asks for other channels is told these.
const INTERLEAVED: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

#[derive(Debug, Default)]
pub struct Session {
    set_up: Option<SetUp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SetUp {
    id: String,
    camera: String,
    playing: bool,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Answer(Answer),
    /// An empty name is the first camera's.
    Describe {
        camera: String,
    },
    Setup {
        camera: String,
    },
    Play,
    Teardown(Answer),
}

/// The number of a request, which its answer has too.
pub fn number(request: &Request<Vec<u8>>) -> Option<u32> {
    request.header(&CSEQ)?.as_str().parse().ok()
}

impl Session {
    /// What is to be done about a request.
    pub fn hear(&self, request: &Request<Vec<u8>>) -> Action {
        let refuse = |status| Action::Answer(Answer::new(status));
        if request.version() != Version::V1_0 {
            return refuse(Status::VersionNotSupported);
        }
        if number(request).is_none() {
            return refuse(Status::BadRequest);
        }
        if request.header(&REQUIRE).is_some() {
            // There is no extension that we have.
            return refuse(Status::OptionNotSupported);
        }
        let named = request.header(&SESSION).map(|value| value.as_str());
        let named = named.map(|value| value.split(';').next().unwrap_or_default().trim());
        let own = self.set_up.as_ref().map(|set_up| set_up.id.as_str());
        if named.is_some() && named != own {
            return refuse(Status::SessionNotFound);
        }
        let answer = || match &self.set_up {
            Some(set_up) => Answer::ok().header("Session", set_up.id.clone()),
            None => Answer::ok(),
        };
        match request.method() {
            Method::Options => Action::Answer(answer().header("Public", PUBLIC)),
            Method::Describe => match request.request_uri().map(place) {
                Some((camera, false)) => Action::Describe { camera },
                _ => refuse(Status::NotFound),
            },
            Method::Setup => self.hear_setup(request),
            Method::Play | Method::Teardown if named.is_none() => refuse(Status::SessionNotFound),
            Method::Play if self.set_up.as_ref().is_some_and(|set_up| set_up.playing) => {
                Action::Answer(answer())
            }
            Method::Play => Action::Play,
            Method::Teardown => Action::Teardown(Answer::ok()),
            Method::GetParameter | Method::SetParameter if request.body().is_empty() => {
                Action::Answer(answer())
            }
            Method::GetParameter | Method::SetParameter => refuse(Status::ParameterNotUnderstood),
            Method::Extension(_) => refuse(Status::NotImplemented),
            // A live picture cannot be held, and we take none from elsewhere.
            _ => Action::Answer(Answer::new(Status::MethodNotAllowed).header("Allow", PUBLIC)),
        }
    }

    fn hear_setup(&self, request: &Request<Vec<u8>>) -> Action {
        let refuse = |status| Action::Answer(Answer::new(status));
        let Some((camera, _)) = request.request_uri().map(place) else {
            return refuse(Status::NotFound);
        };
        let Some(transport) = request.header(&TRANSPORT) else { return refuse(Status::BadRequest) };
        if !transport.as_str().split(',').any(is_interleaved) {
            return refuse(Status::UnsupportedTransport);
        }
        if self.set_up.as_ref().is_some_and(|set_up| set_up.playing) {
            return refuse(Status::NotInThisState);
        }
        Action::Setup { camera }
    }

    /// The session is there from here on.
    pub fn set_up(&mut self, id: String, camera: &str, timeout_seconds: u64) -> Answer {
        let answer = Answer::ok()
            .header("Transport", INTERLEAVED)
            .header("Session", format!("{id};timeout={timeout_seconds}"));
        self.set_up = Some(SetUp { id, camera: camera.to_owned(), playing: false });
        answer
    }

    /// It plays from here on; where its first packet stands is told when it is known.
    pub fn play(&mut self, url: Option<&Url>, first: Option<(u16, u32)>) -> Answer {
        let Some(set_up) = &mut self.set_up else { return Answer::new(Status::SessionNotFound) };
        set_up.playing = true;
        let answer = Answer::ok().header("Session", set_up.id.clone());
        match (url, first) {
            (Some(url), Some((sequence, timestamp))) => {
                let base = content_base(url, &set_up.camera);
                answer.header("RTP-Info", format!("url={base}{TRACK};seq={sequence};rtptime={timestamp}"))
            }
            _ => answer,
        }
    }

    pub fn end(&mut self) {
        self.set_up = None;
    }

    /// The camera that was set up.
    pub fn camera(&self) -> Option<&str> {
        self.set_up.as_ref().map(|set_up| set_up.camera.as_str())
    }
}

/// Where the tracks of a camera are, for who asked by this URL. Credentials in it are left out.
pub fn content_base(asked: &Url, camera: &str) -> String {
    let mut url = asked.clone();
    // They cannot be set in a URL without a host, which has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    format!("{}/{camera}/", &url[..Position::BeforePath])
}

/// The camera that a URL names, by as many steps as there are, and whether its track.
fn place(url: &Url) -> (String, bool) {
    let mut steps: Vec<&str> = url.path().split('/').filter(|step| !step.is_empty()).collect();
    let track = steps.pop_if(|last| *last == TRACK).is_some();
    (steps.join("/"), track)
}

/// Whether one of the transports that a client offers is ours.
fn is_interleaved(transport: &str) -> bool {
    let mut words = transport.split(';').map(str::trim);
    let ours = words.next().is_some_and(|profile| profile.eq_ignore_ascii_case("RTP/AVP/TCP"));
    ours && words.all(|word| {
        let word = word.to_ascii_lowercase();
        word != "multicast" && !(word.starts_with("mode=") && word.contains("record"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request<Vec<u8>> {
        let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
        match rtsp_types::Message::parse(&text).unwrap().0 {
            rtsp_types::Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn status(session: &Session, text: &str) -> Status {
        match session.hear(&request(text)) {
            Action::Answer(answer) | Action::Teardown(answer) => answer.status,
            other => panic!("{text}: {other:?}"),
        }
    }

    const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";

    fn set_up() -> Session {
        let mut session = Session::default();
        session.set_up("abc".into(), "cam", 60);
        session
    }

    #[test]
    fn the_way_to_a_picture_is_describe_setup_play_teardown() {
        let mut session = Session::default();
        let asked = request("DESCRIBE rtsp://u:p@h:1/cam?x=1 RTSP/1.0\nCSeq: 1");
        assert_eq!(session.hear(&asked), Action::Describe { camera: "cam".into() });
        assert_eq!(content_base(asked.request_uri().unwrap(), "cam"), "rtsp://h:1/cam/");
        let setup = request(&format!("SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 2\n{TCP}"));
        assert_eq!(session.hear(&setup), Action::Setup { camera: "cam".into() });
        let answer = session.set_up("abc".into(), "cam", 60).bytes(Some(2));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.contains("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: abc;timeout=60\r\n")
        );
        let play = request("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 3\nSession: abc");
        assert_eq!(session.hear(&play), Action::Play);
        let answer = session.play(play.request_uri(), Some((7, 9))).bytes(Some(3));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("RTP-Info: url=rtsp://h/cam/trackID=0;seq=7;rtptime=9\r\n"), "{answer}");
        assert_eq!(status(&session, "PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4\nSession: abc"), Status::Ok);
        let teardown = "TEARDOWN rtsp://h/cam/ RTSP/1.0\nCSeq: 5\nSession: abc;timeout=60";
        assert_eq!(session.hear(&request(teardown)), Action::Teardown(Answer::ok()));
        session.end();
        assert_eq!(status(&session, teardown), Status::SessionNotFound);
    }

    #[test]
    fn each_request_that_cannot_be_done_is_refused_as_the_standard_says() {
        let mut playing = set_up();
        playing.play(None, None);
        let (none, ready) = (Session::default(), set_up());
        let setup = |transport: &str| format!("SETUP rtsp://h/cam RTSP/1.0\nCSeq: 1\n{transport}");
        for (session, text, expected) in [
            (&none, "OPTIONS * RTSP/1.0\nCSeq: 1".to_owned(), Status::Ok),
            (&none, "OPTIONS * RTSP/1.0".into(), Status::BadRequest),
            (&none, "OPTIONS * RTSP/1.0\nCSeq: x".into(), Status::BadRequest),
            (&none, "OPTIONS * RTSP/2.0\nCSeq: 1".into(), Status::VersionNotSupported),
            (&none, "OPTIONS * RTSP/1.0\nCSeq: 1\nSession: abc".into(), Status::SessionNotFound),
            (&none, "OPTIONS * RTSP/1.0\nCSeq: 1\nRequire: onvif-replay".into(), Status::OptionNotSupported),
            (&none, "DESCRIBE * RTSP/1.0\nCSeq: 1".into(), Status::NotFound),
            (&none, "DESCRIBE rtsp://h/a/trackID=0 RTSP/1.0\nCSeq: 1".into(), Status::NotFound),
            (&none, setup("Transport: RTP/AVP;unicast;client_port=1-2"), Status::UnsupportedTransport),
            (&none, setup("Transport: RTP/AVP/TCP;multicast"), Status::UnsupportedTransport),
            (&none, setup(&format!("{TCP};mode=\"RECORD\"")), Status::UnsupportedTransport),
            (&none, setup("Transport: ,;,"), Status::UnsupportedTransport),
            (&none, setup("X: y"), Status::BadRequest),
            (&playing, setup(TCP), Status::NotInThisState),
            (&none, "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), Status::SessionNotFound),
            (&ready, "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), Status::SessionNotFound),
            (&ready, "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1\nSession: other".into(), Status::SessionNotFound),
            (&playing, "PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 1\nSession: abc".into(), Status::MethodNotAllowed),
            (&none, "ANNOUNCE rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), Status::MethodNotAllowed),
            (&none, "DANCE rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), Status::NotImplemented),
            (&playing, "GET_PARAMETER rtsp://h/cam RTSP/1.0\nCSeq: 1\nSession: abc".into(), Status::Ok),
            (&none, "SET_PARAMETER * RTSP/1.0\nCSeq: 1".into(), Status::Ok),
            (
                &none,
                "GET_PARAMETER * RTSP/1.0\nCSeq: 1\nContent-Length: 2".to_owned() + "\n\nab",
                Status::ParameterNotUnderstood,
            ),
        ] {
            assert_eq!(status(session, &text), expected, "{text}");
        }
    }

    #[test]
    fn a_client_may_offer_several_transports_or_other_channels() {
        for transport in
            ["RTP/AVP;unicast;client_port=5000-5001, RTP/AVP/TCP;interleaved=2-3", "rtp/avp/tcp", TCP]
        {
            let transport = transport.trim_start_matches("Transport: ");
            let text = format!("SETUP rtsp://h/cam/ RTSP/1.0\nCSeq: 1\nTransport: {transport}");
            let action = Session::default().hear(&request(&text));
            assert_eq!(action, Action::Setup { camera: "cam".into() }, "{transport}");
        }
    }

    #[test]
    fn a_url_without_a_camera_means_the_first() {
        let asked = request("DESCRIBE rtsp://h RTSP/1.0\nCSeq: 1");
        assert_eq!(Session::default().hear(&asked), Action::Describe { camera: String::new() });
    }
}
