//! One connection, from its first request to its end: reads requests, answers them, and writes what the
//! socket did not take at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rtsp_types::headers::AUTHORIZATION;
use rtsp_types::{Method, Request};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Status};
use super::fan::Seat;
use super::fans::Fans;
use super::input::{Garbage, Input, Sent};
use super::login::{Doorkeeper, Login};
use super::queue::Cut;
use super::reader::{Reader, Socket};
use super::sdp;
use super::session::{self, Action, Session};
use crate::config::model;

/// A request that has begun is to be whole after this long.
const HALF: Duration = Duration::from_secs(10);
/// A connection that has no session for this long ends: others may want its place.
const SET_UP: Duration = Duration::from_secs(30);
/// How long a description waits for a camera that has never given a keyframe.
const DESCRIBE: Duration = Duration::from_secs(8);
/// What one read takes: clients send little.
const READ: usize = 2048;

/// What all connections share.
#[derive(Debug)]
pub struct House {
    pub fans: Fans,
    pub door: Doorkeeper,
    pub settings: watch::Receiver<model::RtspServer>,
    pub sessions: Arc<AtomicUsize>,
    pub stop: CancellationToken,
}

/// Why a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the client closed it")]
    Closed,
    #[error("the camera is no longer there, or the client is gone")]
    Over,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it took nothing for too long, or asked without reading the answers")]
    Stuck,
    #[error("it was silent for too long")]
    Silent,
    #[error("it set nothing up")]
    Idle,
    #[error("what it sent is no RTSP: {0:?}")]
    Garbage(Garbage),
    #[error("it may no longer read")]
    Denied,
    #[error("the service stops")]
    Stopping,
}

impl From<Cut> for End {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Gone => End::Over,
            Cut::Flooding => End::Stuck,
        }
    }
}

/// A session's place among those that there may be.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(sessions: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let fits = |count: usize| (count < most).then_some(count + 1);
        sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Self(Arc::clone(sessions)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Connection {
    house: Arc<House>,
    reader: Arc<Reader>,
    /// Where the client reached us.
    address: SocketAddr,
    settings: watch::Receiver<model::RtspServer>,
    input: Input,
    login: Login,
    session: Session,
    place: Option<Place>,
    seat: Option<Seat>,
    /// When the client last gave a sign of life, and when what it began to say began.
    heard: Instant,
    began: Option<Instant>,
    /// Since when it has had no session, if it has none.
    idle: Instant,
}

impl Connection {
    /// `address` is where the client reached us, `peer` where it is.
    pub fn new(house: Arc<House>, socket: Socket, address: SocketAddr, peer: SocketAddr) -> Self {
        let tls = matches!(socket, Socket::Tls(_));
        let nonce = format!("{:032x}", rand::random::<u128>());
        Self {
            reader: Arc::new(Reader::new(socket)),
            address,
            settings: house.settings.clone(),
            house,
            input: Input::default(),
            login: Login::new(nonce, peer.ip(), tls),
            session: Session::default(),
            place: None,
            seat: None,
            heard: Instant::now(),
            began: None,
            idle: Instant::now(),
        }
    }

    /// Serves it to its end.
    pub async fn run(mut self) -> End {
        let stop = self.house.stop.clone();
        tokio::select! {
            () = stop.cancelled() => End::Stopping,
            Err(end) = self.serve() => end,
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let (waits, deadline) = self.deadline();
            tokio::select! {
                readable = self.reader.socket.readable() => {
                    readable?;
                    self.read()?;
                    self.hear().await?;
                }
                writable = self.reader.socket.writable(), if waits => {
                    writable?;
                    self.reader.drain(Instant::now())?;
                }
                // A reload: users may be others.
                Ok(()) = self.settings.changed() => {
                    if self.place.is_some() && !self.login.still(&self.house.door).await {
                        return Err(End::Denied);
                    }
                }
                () = self.reader.woken() => {
                    if self.reader.is_over() {
                        return Err(End::Over);
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => self.expire(Instant::now())?,
            }
        }
    }

    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ];
        match self.reader.socket.try_read(&mut buffer) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.heard = Instant::now();
                self.input.push(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what was asked for, as far as it is whole.
    async fn hear(&mut self) -> Result<(), End> {
        loop {
            let next = self.input.next();
            if let Ok(Some(_)) = next {
                // What follows is another message.
                self.began = None;
            }
            match next {
                Ok(Some(Sent::Request(request))) => self.answer(&request).await?,
                Ok(Some(Sent::Life)) => {}
                Ok(None) => break,
                Err(garbage) => {
                    let status = match garbage {
                        Garbage::NotRtsp => Status::BadRequest,
                        Garbage::HeadTooLarge | Garbage::BodyTooLarge => Status::EntityTooLarge,
                    };
                    let _ = self.say(None, &Answer::new(status));
                    return Err(End::Garbage(garbage));
                }
            }
        }
        self.began = self.input.half().then(|| self.began.unwrap_or(self.heard));
        Ok(())
    }

    async fn answer(&mut self, request: &Request<Vec<u8>>) -> Result<(), End> {
        let number = session::number(request);
        if *request.method() != Method::Options {
            let shown = request.header(&AUTHORIZATION).map(|value| value.as_str());
            let method: &str = request.method().into();
            if let Err(refusal) = self.login.enter(&self.house.door, method, shown).await {
                return self.say(number, &refusal);
            }
        }
        let answer = match self.session.hear(request) {
            Action::Answer(answer) => answer,
            Action::Describe { camera } => self.describe(request, &camera).await,
            Action::Setup { camera } => self.set_up(&camera),
            Action::Play => return self.play(request, number),
            Action::Teardown(answer) => {
                self.seat = None;
                self.place = None;
                self.idle = Instant::now();
                self.session.end();
                answer
            }
        };
        self.say(number, &answer)
    }

    async fn describe(&mut self, request: &Request<Vec<u8>>, camera: &str) -> Answer {
        let (Some(fan), Some(url)) = (self.house.fans.find(camera), request.request_uri()) else {
            return no_camera(camera);
        };
        match fan.parameters(DESCRIBE).await {
            Ok(parameters) => {
                let camera = fan.capture().camera();
                let sdp = sdp::describe(camera.display_name(), self.address.ip(), &parameters);
                let base = session::content_base(url, &camera.id);
                Answer::ok().header("Content-Base", base).body("application/sdp", sdp)
            }
            Err(not_ready) => {
                let wait = not_ready.retry_after(std::time::SystemTime::now());
                Answer::refusal(Status::Unavailable, &not_ready.message)
                    .header("Retry-After", wait.to_string())
            }
        }
    }

    fn set_up(&mut self, camera: &str) -> Answer {
        let Some(fan) = self.house.fans.find(camera) else { return no_camera(camera) };
        let (most, timeout) = {
            let settings = self.settings.borrow();
            (settings.max_readers, settings.session_timeout_seconds)
        };
        if self.place.is_none() {
            self.place = Place::take(&self.house.sessions, most);
        }
        if self.place.is_none() {
            let why = "as many read as this service takes; end some or raise rtsp.max_readers";
            return Answer::refusal(Status::Unavailable, why).header("Retry-After", "5");
        }
        let id = format!("{:016x}", rand::random::<u64>());
        // Whole seconds are all that the header has.
        self.session.set_up(id, fan.capture().id(), timeout.floor().max(1.0) as u64)
    }

    fn play(&mut self, request: &Request<Vec<u8>>, number: Option<u32>) -> Result<(), End> {
        let fan = self.session.camera().and_then(|camera| self.house.fans.find(camera));
        let Some(fan) = fan else {
            return self.say(number, &Answer::new(Status::SessionNotFound));
        };
        let (session, url) = (&mut self.session, request.request_uri());
        let seat = fan.play(&self.reader, |first| {
            session.play(url, first.map(|first| (first.sequence, first.timestamp))).bytes(number)
        });
        self.seat = Some(seat?);
        self.reader.drain(Instant::now())?;
        Ok(())
    }

    fn say(&self, number: Option<u32>, answer: &Answer) -> Result<(), End> {
        Ok(self.reader.answer(answer.bytes(number), Instant::now())?)
    }

    /// Whether something waits to be written, and when to look at the time.
    fn deadline(&self) -> (bool, Instant) {
        let (waits, stuck) = self.reader.waits();
        let half = self.began.map(|began| began + HALF);
        let idle = self.place.is_none().then(|| self.idle + SET_UP);
        let silent = self.heard + self.timeout();
        (waits, [stuck, half, idle].into_iter().flatten().fold(silent, Instant::min))
    }

    fn expire(&self, now: Instant) -> Result<(), End> {
        let (_, stuck) = self.reader.waits();
        if stuck.is_some_and(|at| at <= now) {
            return Err(End::Stuck);
        }
        let half = self.began.is_some_and(|began| began + HALF <= now);
        let end = if half || self.heard + self.timeout() <= now {
            End::Silent
        } else if self.place.is_none() && self.idle + SET_UP <= now {
            End::Idle
        } else {
            return Ok(());
        };
        if self.seat.is_none() {
            let _ = self.say(None, &Answer::new(Status::RequestTimeout));
        }
        Err(end)
    }

    fn timeout(&self) -> Duration {
        let seconds = self.settings.borrow().session_timeout_seconds;
        Duration::try_from_secs_f64(seconds).unwrap_or(HALF)
    }
}

fn no_camera(camera: &str) -> Answer {
    // What was asked for is not repeated: it may be anything.
    let why = if camera.is_empty() { "there is no camera" } else { "there is no camera of that name" };
    Answer::refusal(Status::NotFound, why)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::access::Access;
    use crate::config::Config;

    /// A connection to a house without cameras, and its client.
    fn connected() -> (Connection, UnixStream) {
        let (inside, client) = UnixStream::pair().unwrap();
        let config = watch::Sender::new(Arc::new(Config::default()));
        let house = House {
            fans: Fans::new(watch::Sender::new(Arc::default()).subscribe()),
            door: Doorkeeper::new(Access::new(config.subscribe(), Err("none".into()))),
            settings: watch::Sender::new(model::RtspServer::default()).subscribe(),
            sessions: Arc::default(),
            stop: CancellationToken::new(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 8554));
        (Connection::new(Arc::new(house), Socket::Tls(inside), address, address), client)
    }

    #[tokio::test]
    async fn without_a_session_signs_of_life_do_not_keep_it() {
        let (mut connection, _client) = connected();
        let until = connection.idle + SET_UP;
        connection.heard = until;
        assert_eq!(connection.deadline(), (false, until));
        assert!(connection.expire(until - Duration::from_millis(1)).is_ok());
        assert!(matches!(connection.expire(until), Err(End::Idle)));
        let (mut connection, _client) = connected();
        connection.place = Place::take(&connection.house.sessions, 1);
        connection.heard = until;
        assert!(connection.deadline().1 > until && connection.expire(until).is_ok(), "a session does");
    }

    #[tokio::test]
    async fn each_message_has_its_own_time_to_become_whole() {
        let (mut connection, _client) = connected();
        let message = b"OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n";
        connection.input.push(&message[..9]);
        connection.hear().await.unwrap();
        let first = connection.began.unwrap();
        connection.heard = first + HALF / 2;
        connection.input.push(&message[9..20]);
        connection.hear().await.unwrap();
        assert_eq!(connection.began, Some(first), "it is the same");
        connection.input.push(&[&message[20..], &message[..9]].concat());
        connection.hear().await.unwrap();
        assert_eq!(connection.began, Some(first + HALF / 2), "the next has begun");
        assert!(connection.expire(first + HALF).is_ok());
    }
}
