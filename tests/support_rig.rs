//! The rig is itself tested: a relay that did not really black-hole, or a camera that did not really
//! freeze, would make every fault test pass for nothing. The reader here is ffmpeg, not the service.

#![allow(clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use support::*;

const SOON: Duration = Duration::from_secs(10);

/// ffmpeg as the viewer of an RTSP camera: it prints a line for each picture.
fn watch(url: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url]);
    command.args(["-map", "0:v", "-c", "copy", "-f", "framecrc", "-flush_packets", "1", "-"]);
    Process::spawn("ffmpeg", &mut command)
}

fn pictures(viewer: &Process) -> usize {
    viewer.output().lines().filter(|line| line.starts_with("0,")).count()
}

#[track_caller]
fn pictures_flow(viewer: &Process) {
    let before = pictures(viewer);
    wait_until("pictures flow", SOON, || pictures(viewer) > before + 5);
}

/// No picture for a second, once those under way have arrived.
#[track_caller]
fn pictures_stop(viewer: &Process) {
    wait_until("pictures stop", SOON, || {
        let before = pictures(viewer);
        std::thread::sleep(Duration::from_secs(1));
        pictures(viewer) == before
    });
}

#[test]
fn a_frozen_camera_sends_nothing_until_it_is_thawed() {
    for options in [CameraOptions::clip(), CameraOptions::pattern("320x240@25")] {
        let mut camera = options.start();
        let viewer = watch(&camera.url());
        pictures_flow(&viewer);
        camera.order("freeze");
        pictures_stop(&viewer);
        camera.order("thaw");
        pictures_flow(&viewer);
    }
}

#[test]
fn a_stopped_camera_sends_nothing_until_it_goes_on() {
    let camera = CameraOptions::pattern("320x240@25").start();
    let viewer = watch(&camera.url());
    pictures_flow(&viewer);
    camera.process().stop();
    pictures_stop(&viewer);
    camera.process().cont();
    pictures_flow(&viewer);
}

#[test]
fn a_refusing_camera_refuses_and_takes_the_same_port_again() {
    let mut camera = CameraOptions::pattern("320x240@25").start();
    let port = camera.port();
    let knock = || TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    knock().expect("the door is open");
    camera.order("refuse");
    wait_until("connections are refused", SOON, || knock().is_err());
    camera.order("accept");
    wait_until("connections are accepted", SOON, || knock().is_ok());
    pictures_flow(&watch(&camera.url()));
}

#[test]
fn a_killed_camera_comes_back_on_its_port() {
    let mut camera = CameraOptions::clip().start();
    let url = camera.url();
    pictures_flow(&watch(&url));
    camera.kill();
    camera.come_back();
    assert_eq!(camera.url(), url);
    pictures_flow(&watch(&url));
}

#[test]
fn only_the_right_password_opens_the_camera() {
    for kind in [CameraOptions::digest, CameraOptions::basic] {
        let mut camera = kind(CameraOptions::pattern("320x240@25"), "user", "right").start();
        let url = |password: &str| camera.url().replace("rtsp://", &format!("rtsp://user:{password}@"));
        let (right, wrong) = (url("right"), url("wrong"));
        pictures_flow(&watch(&right));
        let mut refused = watch(&wrong);
        assert!(!refused.wait(SOON).success());
        assert!(refused.output().contains("401"), "{}", refused.output());
        camera.order("password wrong");
        pictures_flow(&watch(&wrong));
        assert!(!watch(&right).wait(SOON).success());
    }
}

#[test]
fn a_camera_with_a_certificate_speaks_tls() {
    let certificate = SelfSigned::new();
    let camera = CameraOptions::pattern("320x240@25")
        .tls(&certificate.certificate(), &certificate.key())
        .digest("user", "right")
        .start();
    assert!(camera.url().starts_with("rtsps://"));
    pictures_flow(&watch(&camera.url().replace("rtsps://", "rtsps://user:right@")));
}

/// Echoes what it is sent, for ever.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().expect("a copy");
                let mut writer = stream;
                std::io::copy(&mut reader, &mut writer)
            });
        }
    });
    port
}

fn ask(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(word)?;
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_relay_plays_each_trouble_and_recovers() {
    let relay = Relay::to(echo());
    let address = SocketAddr::from(([127, 0, 0, 1], relay.port()));
    let call = || TcpStream::connect_timeout(&address, Duration::from_millis(500));

    let mut line = call().expect("a line");
    assert_eq!(ask(&mut line, b"one").expect("an answer"), b"one");

    relay.set(Network::Silent);
    assert!(ask(&mut line, b"two").is_err(), "an old connection is silent");
    let mut new = call().expect("a new connection is taken");
    assert!(ask(&mut new, b"new").is_err(), "and then silent");
    relay.set(Network::Pass);
    let mut late = [0; 3];
    line.read_exact(&mut late).expect("what was held back arrives");
    assert_eq!(&late, b"two");

    relay.set(Network::BlackHole);
    assert!(ask(&mut line, b"six").is_err(), "an old connection is silent");
    let error = call().expect_err("a new connection is not answered");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);

    relay.set(Network::Refuse);
    let error = call().expect_err("a new connection is refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(matches!(line.read(&mut late), Ok(0) | Err(_)), "an old connection is cut");

    relay.set(Network::Pass);
    let spoken = relay.attempts();
    drop(call().expect("a knock"));
    assert_eq!(ask(&mut call().expect("a line"), b"end").expect("an answer"), b"end");
    assert_eq!(relay.attempts(), spoken + 1, "a knock is not an attempt");
}

/// Answers one request with these bytes, a few at a time.
fn answer_once(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("no delay");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).expect("a request") > 0);
        for bytes in answer.chunks(7) {
            stream.write_all(bytes).expect("the client reads");
        }
        // Stays open a while, as a stream does.
        std::thread::sleep(Duration::from_millis(500));
    });
    port
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunks =
        body.chunks(13).map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    chunks.collect::<Vec<_>>().concat()
}

#[test]
fn the_client_reads_a_stream_part_by_part_however_it_is_cut() {
    let part = |jpeg: &[u8]| {
        let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        [head.as_bytes(), jpeg, b"\r\n"].concat()
    };
    // A picture may hold what looks like a boundary.
    let pictures: [&[u8]; 3] = [b"one", b"\r\n--frame\r\n\r\ntwo", b"three"];
    let body = [pictures.map(part).concat(), b"--frame\r\n".to_vec()].concat();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n";
    for answer in [
        [head.as_bytes(), b"\r\n", &body].concat(),
        [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &chunked(&body)].concat(),
    ] {
        let mut stream = MjpegStream::open(answer_once(answer), "/stream.mjpg").expect("a stream");
        for picture in pictures {
            let part = stream.next_within(SOON).expect("a stream").expect("a part");
            assert_eq!(part.jpeg, picture);
            assert_eq!(http::header(&part.headers, "content-type"), Some("image/jpeg"));
        }
        let none = stream.next_within(Duration::from_millis(50)).expect("the stream is still open");
        assert!(none.is_none());
        assert!(stream.next_within(SOON).is_err(), "the end of the stream is an error, not a wait");
    }
}

#[test]
fn the_client_rejects_what_is_not_a_stream_and_a_body_cut_short() {
    let unavailable = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let error = MjpegStream::open(answer_once(unavailable.clone()), "/stream.mjpg").expect_err("no stream");
    assert!(error.to_string().contains("503"), "{error}");
    let answer = get(answer_once(unavailable), "/").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (503, "{}"));
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort".to_vec();
    assert!(get(answer_once(short), "/").is_err());
}
