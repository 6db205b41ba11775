//! A small RTSP reader over TCP that sees everything: answers, packets, gaps, where keyframes are.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// The longest that an answer or a picture of a camera at hand may take on a busy machine.
pub const ARRIVES: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct RtspAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl RtspAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One packet of the stream.
#[derive(Clone, Debug)]
pub struct Packet {
    pub channel: u8,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.bytes[4..8].try_into().unwrap())
    }

    fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Whether parameter sets, and so a keyframe, begin here.
    fn begins_keyframe(&self) -> bool {
        let kind = match self.bytes[12] & 0x1f {
            24 => self.bytes[15] & 0x1f,
            28 => self.bytes[13] & 0x1f,
            kind => kind,
        };
        matches!(kind, 5 | 7)
    }
}

/// All packets of one picture.
#[derive(Clone, Debug)]
pub struct Picture {
    pub first: u16,
    pub last: u16,
    pub timestamp: u32,
    pub keyframe: bool,
}

#[derive(Debug)]
pub struct RtspClient {
    pub stream: TcpStream,
    url: String,
    buffer: Vec<u8>,
    packets: VecDeque<Packet>,
    cseq: u32,
    session: Option<String>,
    picture: Option<Picture>,
    /// Sender reports so far.
    pub reports: usize,
}

impl RtspClient {
    pub fn connect(url: &str) -> Self {
        Self::connect_with(url, None)
    }

    /// With a receive buffer of this size: a reader that stalls is noticed soon.
    pub fn connect_with(url: &str, receive: Option<usize>) -> Self {
        let rest = url.strip_prefix("rtsp://").expect("an RTSP URL");
        let host = rest.split('/').next().unwrap();
        let address: SocketAddr = host.rsplit('@').next().unwrap().parse().expect("an address and a port");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if let Some(size) = receive {
            socket.set_recv_buffer_size(size).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self {
            stream: socket.into(),
            url: url.to_owned(),
            buffer: Vec::new(),
            packets: VecDeque::new(),
            cseq: 0,
            session: None,
            picture: None,
            reports: 0,
        }
    }

    /// Connected, set up and playing.
    #[track_caller]
    pub fn play(url: &str) -> Self {
        let mut client = Self::connect(url);
        client.start();
        client
    }

    #[track_caller]
    pub fn start(&mut self) {
        let describe = self.describe();
        assert_eq!(describe.status, 200, "{describe:?}");
        let setup = self.setup();
        assert_eq!(setup.status, 200, "{setup:?}");
        let play = self.ask("PLAY", "");
        assert_eq!(play.status, 200, "{play:?}");
    }

    #[track_caller]
    pub fn describe(&mut self) -> RtspAnswer {
        self.ask("DESCRIBE", "Accept: application/sdp\r\n")
    }

    #[track_caller]
    pub fn setup(&mut self) -> RtspAnswer {
        let answer = self.ask("SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n");
        let session = answer.header("Session").map(|value| value.split(';').next().unwrap().to_owned());
        self.session = session.or(self.session.take());
        answer
    }

    /// Asks and waits for the answer; packets that come before it are kept. `headers` end with CRLF each.
    #[track_caller]
    pub fn ask(&mut self, method: &str, headers: &str) -> RtspAnswer {
        self.cseq += 1;
        let session = self.session.as_ref().map(|id| format!("Session: {id}\r\n")).unwrap_or_default();
        let track = if method == "SETUP" { "/trackID=0" } else { "" };
        let (url, cseq) = (&self.url, self.cseq);
        let request = format!("{method} {url}{track} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}{headers}\r\n");
        self.stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{method}: {error}"));
        let answer = self.answer().unwrap_or_else(|| panic!("{method}: no answer"));
        assert_eq!(answer.header("CSeq"), Some(cseq.to_string().as_str()), "{answer:?}");
        answer
    }

    /// The next answer; `None` when the connection ends first.
    #[track_caller]
    pub fn answer(&mut self) -> Option<RtspAnswer> {
        let deadline = Instant::now() + ARRIVES;
        loop {
            self.take_packets();
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end.filter(|_| self.buffer.first() != Some(&b'$')) {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                let mut answer = RtspAnswer { status: 0, head, body: String::new() };
                answer.status = answer.head.split(' ').nth(1).unwrap().parse().unwrap();
                let length: usize = answer.header("Content-Length").map_or(0, |value| value.parse().unwrap());
                if self.buffer.len() >= end + 4 + length {
                    answer.body = String::from_utf8(self.buffer[end + 4..end + 4 + length].to_vec()).unwrap();
                    self.buffer.drain(..end + 4 + length);
                    return Some(answer);
                }
            }
            assert!(Instant::now() < deadline, "no answer within {ARRIVES:?}");
            if !self.read() {
                return None;
            }
        }
    }

    /// The next picture whose packets are whole; `None` when there is none in time or the connection ended.
    pub fn picture_within(&mut self, within: Duration) -> Option<Picture> {
        let deadline = Instant::now() + within;
        loop {
            while let Some(packet) = self.packets.pop_front() {
                if packet.channel != 0 {
                    self.reports += 1;
                    continue;
                }
                let picture = self.picture.get_or_insert_with(|| Picture {
                    first: packet.sequence(),
                    last: packet.sequence(),
                    timestamp: packet.timestamp(),
                    keyframe: false,
                });
                assert_eq!(picture.timestamp, packet.timestamp(), "a picture's packets share their time");
                picture.last = packet.sequence();
                // Other servers begin with a delimiter or SEI.
                picture.keyframe |= packet.begins_keyframe();
                if packet.marker() {
                    return self.picture.take();
                }
            }
            if Instant::now() >= deadline || !self.read() {
                return None;
            }
            self.take_packets();
        }
    }

    #[track_caller]
    pub fn picture(&mut self) -> Picture {
        self.picture_within(ARRIVES).expect("a picture in time")
    }

    /// Whether the server closes the connection in time; what comes until then is thrown away.
    pub fn closed_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            self.buffer.clear();
            if !self.read() {
                return true;
            }
        }
        false
    }

    /// False when the connection has ended.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock
                    | std::io::ErrorKind::TimedOut
                    | std::io::ErrorKind::Interrupted
            ),
        }
    }

    fn take_packets(&mut self) {
        let mut used = 0;
        while let [b'$', channel, high, low, rest @ ..] = &self.buffer[used..] {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(packet) = rest.get(..length) else { break };
            self.packets.push_back(Packet { channel: *channel, bytes: packet.to_vec() });
            used += 4 + length;
        }
        self.buffer.drain(..used);
    }
}
