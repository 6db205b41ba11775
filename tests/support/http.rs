//! A small blocking HTTP/1.1 client for loopback: whole answers, and MJPEG streams part by part. Written
//! by hand so that tests see exactly the bytes that the service sends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest that a whole answer may take: longer than any wait the service allows itself.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub fn get(port: u16, path: &str) -> io::Result<Response> {
    request(port, "GET", path, &[], b"")
}

pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut reader = Reader::send(port, method, path, headers, body)?;
    let deadline = Instant::now() + ANSWER;
    let head = reader.head(deadline)?;
    let mut answer = Response { status: head.0, headers: head.1, body: Vec::new() };
    let empty = method == "HEAD" || answer.status == 204 || answer.status == 304;
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    while !empty && length.is_none_or(|length| reader.body.len() < length) {
        if !reader.fill(deadline)? {
            break;
        }
    }
    if let Some(length) = length
        && !empty
        && reader.body.len() != length
    {
        return Err(broken(format!("{} bytes where Content-Length says {length}", reader.body.len())));
    }
    answer.body = reader.body;
    Ok(answer)
}

/// One part of an MJPEG stream.
#[derive(Clone, Debug)]
pub struct Part {
    pub headers: Vec<(String, String)>,
    pub jpeg: Vec<u8>,
    /// When its last byte was read.
    pub at: Instant,
}

#[derive(Debug)]
pub struct MjpegStream {
    reader: Reader,
    boundary: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

impl MjpegStream {
    /// Opens a stream; an answer other than 200 is an error that carries it.
    pub fn open(port: u16, path: &str) -> io::Result<Self> {
        let mut reader = Reader::send(port, "GET", path, &[], b"")?;
        let (status, headers) = reader.head(Instant::now() + ANSWER)?;
        let kind = header(&headers, "content-type").unwrap_or_default().to_owned();
        let boundary = kind.strip_prefix("multipart/x-mixed-replace").and_then(|rest| {
            let name = rest.split("boundary=").nth(1)?.trim();
            Some(format!("--{name}").into_bytes())
        });
        match boundary {
            Some(boundary) if status == 200 => Ok(Self { reader, boundary, headers }),
            _ => Err(broken(format!("{path} answers {status}, {kind}"))),
        }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.reader.socket
    }

    /// The next part; `None` when there is none in time, after which one may go on.
    pub fn next_within(&mut self, time: Duration) -> io::Result<Option<Part>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(part) = self.take()? {
                return Ok(Some(part));
            }
            match self.reader.fill(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// A whole part out of what was read so far.
    fn take(&mut self) -> io::Result<Option<Part>> {
        let body = &self.reader.body;
        let blank = body.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let rest = &body[blank..];
        let Some(end) = find(rest, b"\r\n\r\n") else { return Ok(None) };
        let head = &rest[..end];
        let Some(fields) = head.strip_prefix(&*self.boundary).and_then(|head| head.strip_prefix(b"\r\n"))
        else {
            return Err(broken(format!("no boundary but {:?}", String::from_utf8_lossy(head))));
        };
        let headers = fields_of(fields);
        let length: usize = header(&headers, "content-length")
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| broken("a part without Content-Length".into()))?;
        let begin = blank + end + 4;
        let Some(jpeg) = body.get(begin..begin + length) else { return Ok(None) };
        let part = Part { headers, jpeg: jpeg.to_vec(), at: Instant::now() };
        self.reader.body.drain(..begin + length);
        Ok(Some(part))
    }
}

/// Reads an answer as it arrives: head first, then the body with chunks taken apart.
#[derive(Debug)]
struct Reader {
    socket: TcpStream,
    raw: Vec<u8>,
    body: Vec<u8>,
    chunked: bool,
    over: bool,
}

impl Reader {
    fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes())?;
        socket.write_all(body)?;
        Ok(Self { socket, raw: Vec::new(), body: Vec::new(), chunked: false, over: false })
    }

    fn head(&mut self, deadline: Instant) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                break end;
            }
            if !self.read(deadline)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head: Vec<u8> = self.raw.drain(..end + 4).collect();
        let line = find(&head, b"\r\n").unwrap_or(head.len());
        let status = String::from_utf8_lossy(&head[..line])
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| broken("no status line".into()))?;
        let headers = fields_of(&head[line..]);
        self.chunked = header(&headers, "transfer-encoding").is_some_and(|coding| coding == "chunked");
        self.unpack()?;
        Ok((status, headers))
    }

    /// Reads some more of the body; false at its end.
    fn fill(&mut self, deadline: Instant) -> io::Result<bool> {
        if self.over || !self.read(deadline)? {
            return Ok(false);
        }
        self.unpack()?;
        Ok(true)
    }

    fn read(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.raw.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    fn unpack(&mut self) -> io::Result<()> {
        if !self.chunked {
            self.body.append(&mut self.raw);
            return Ok(());
        }
        while let Some(end) = find(&self.raw, b"\r\n") {
            let size = String::from_utf8_lossy(&self.raw[..end]).into_owned();
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| broken(format!("chunk size {size:?}")))?;
            let begin = end + 2;
            if self.raw.len() < begin + size + 2 {
                break;
            }
            self.body.extend_from_slice(&self.raw[begin..begin + size]);
            self.raw.drain(..begin + size + 2);
            if size == 0 {
                self.over = true;
                break;
            }
        }
        Ok(())
    }
}

fn fields_of(head: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(head)
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn broken(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
