//! Cameras by HTTP: MJPEG streams, and pictures fetched one by one.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanlight::capture::Capture;
use fanlight::supervision::{State, Timing};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::*;

/// What a camera does with a connection once the request is read. It may look whether it shall end.
type Behaviour = dyn Fn(&mut TcpStream, &str, &AtomicBool) -> std::io::Result<()> + Send + Sync;

/// A camera that speaks HTTP, on a port of its own, until it is dropped.
struct HttpCamera {
    port: u16,
    over: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl HttpCamera {
    fn start(
        behave: impl Fn(&mut TcpStream, &str, &AtomicBool) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = Arc::new(Mutex::new(Vec::new()));
        let behave: Arc<Behaviour> = Arc::new(behave);
        let acceptor = std::thread::spawn({
            let (over, requests, threads) = (Arc::clone(&over), Arc::clone(&requests), Arc::clone(&threads));
            move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let (over, requests, behave) =
                        (Arc::clone(&over), Arc::clone(&requests), Arc::clone(&behave));
                    threads.lock().unwrap().push(std::thread::spawn(move || {
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                        let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                        // A knock closes again without a word.
                        let Some(request) = request(&mut stream) else { return };
                        requests.fetch_add(1, Ordering::SeqCst);
                        let _ = behave(&mut stream, &request, &over);
                    }));
                }
            }
        });
        Self { port, over, requests, threads, acceptor: Some(acceptor) }
    }

    fn source(&self, more: &str) -> String {
        format!("source = {{ type = \"http\", url = \"http://127.0.0.1:{}/cam\"{more} }}", self.port)
    }

    fn capture(&self, more: &str) -> Capture {
        Capture::start(camera(&self.source(more)), &means())
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for HttpCamera {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for thread in self.threads.lock().unwrap().drain(..) {
            let _ = thread.join();
        }
    }
}

fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn answer(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// As mjpg-streamer does it. Ends after `count` pictures.
fn multipart(
    stream: &mut TcpStream,
    jpegs: &[Vec<u8>],
    count: usize,
    over: &AtomicBool,
) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\n\
          Content-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n",
    )?;
    for jpeg in jpegs.iter().cycle().take(count) {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(jpeg)?;
        stream.write_all(b"\r\n--boundarydonotcross\r\n")?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Different pictures of one camera.
fn jpegs(count: usize) -> Vec<Vec<u8>> {
    gst::init().unwrap();
    let line = format!(
        "videotestsrc num-buffers={count} pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! jpegenc ! appsink name=sink sync=false"
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let pictures = (0..count).map(|_| {
        let sample = sink.pull_sample().unwrap();
        sample.buffer().unwrap().map_readable().unwrap().as_slice().to_vec()
    });
    let pictures = pictures.collect();
    pipeline.set_state(gst::State::Null).unwrap();
    pictures
}

#[tokio::test]
async fn an_mjpeg_camera_s_pictures_arrive_byte_for_byte() {
    let made = jpegs(20);
    let served = made.clone();
    let camera = HttpCamera::start(move |stream, _, over| multipart(stream, &served, usize::MAX, over));
    let capture = camera.capture("");
    let known: HashSet<&[u8]> = made.iter().map(Vec::as_slice).collect();
    let pictures = take_jpegs(&capture, 30).await;
    for picture in &pictures {
        assert!(known.contains(&*picture.data), "a picture of {} bytes was changed", picture.data.len());
    }
    let different: HashSet<&[u8]> = pictures.iter().map(|picture| &*picture.data).collect();
    assert!(different.len() > 10, "{} different ones", different.len());
    let none = Vec::<String>::new();
    assert_eq!((decoders(&capture), encoders(&capture)), (none.clone(), none));
    assert_eq!(capture.status().jpeg.encoder.as_deref(), Some("passthrough"));
    assert!(take(capture.h264(), 5).await[0].keyframe, "for HLS it is encoded");
    capture.shutdown().await;
}

#[tokio::test]
async fn jpegs_under_a_wrong_name_are_taken_too() {
    let made = jpegs(3);
    let served = made.clone();
    let camera = HttpCamera::start(move |stream, _, over| {
        // No Content-Length, and a name that is none: some cameras do that.
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")?;
        for jpeg in served.iter().cycle().take_while(|_| !over.load(Ordering::SeqCst)) {
            stream.write_all(b"--b\r\nContent-Type: image/jpg\r\n\r\n")?;
            stream.write_all(jpeg)?;
            stream.write_all(b"\r\n")?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    });
    let capture = camera.capture("");
    for picture in take_jpegs(&capture, 5).await {
        assert!(made.iter().any(|jpeg| *jpeg == picture.data), "{} bytes", picture.data.len());
    }
    assert!(take(capture.h264(), 3).await[0].keyframe);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_picture_without_end_is_given_up_at_16_mib_and_not_gathered() {
    let sent = Arc::new(AtomicUsize::new(0));
    let camera = HttpCamera::start({
        let sent = Arc::clone(&sent);
        move |stream, _, over| {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n\
                  Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff",
            )?;
            while !over.load(Ordering::SeqCst) {
                stream.write_all(&[0; 64 * 1024])?;
                sent.fetch_add(64 * 1024, Ordering::SeqCst);
            }
            Ok(())
        }
    });
    let capture = camera.capture("");
    assert_says(&failure(&capture).await, &["16 MiB"]);
    until_state(&capture, State::BackingOff).await;
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
    capture.shutdown().await;
}

#[tokio::test]
async fn an_mjpeg_camera_that_ends_its_stream_is_called_again() {
    let made = jpegs(5);
    let camera = HttpCamera::start(move |stream, _, over| multipart(stream, &made, 30, over));
    let capture = camera.capture("");
    until_live(&capture).await;
    assert_says(&failure(&capture).await, &["ended the stream"]);
    until_state(&capture, State::BackingOff).await;
    until_live(&capture).await;
    let status = capture.status();
    assert!(status.lifecycle.restarts >= 1, "{status:?}");
    take_jpegs(&capture, 3).await;
    capture.shutdown().await;
}

#[tokio::test]
async fn what_is_not_an_mjpeg_stream_is_said_clearly() {
    let html = HttpCamera::start(|stream, _, _| {
        answer(stream, "200 OK", "text/html", b"<!doctype html><html><body>Log in, please</body></html>")
    });
    let garbage = HttpCamera::start(|stream, _, _| {
        answer(stream, "200 OK", "multipart/x-mixed-replace; boundary=frame", &[0x5a; 200_000])
    });
    let missing = HttpCamera::start(|stream, _, _| answer(stream, "404 Not Found", "text/plain", b"no"));
    for (camera, expected) in [(&html, "MJPEG"), (&garbage, "MJPEG"), (&missing, "Not Found")] {
        let capture = camera.capture("");
        let words = failure(&capture).await;
        assert_says(&words, &[expected, &format!("127.0.0.1:{}", camera.port)]);
        until_state(&capture, State::BackingOff).await;
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_camera_that_takes_the_request_and_stays_silent_is_given_up_in_time() {
    let camera_process = HttpCamera::start(|_, _, over| {
        while !over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let timing = Timing { start_timeout: Duration::from_secs(2), ..Timing::default() };
    let capture = Capture::start(camera(&camera_process.source("")), &Means { timing, ..means() });
    until("a second attempt", || camera_process.requests() >= 2).await;
    assert_says(&failure(&capture).await, &["no first picture"]);
    assert_eq!(capture.status().lifecycle.frozen, 0, "{:?}", capture.status());
    let stopping = Instant::now();
    capture.shutdown().await;
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_both_modes_and_the_right_one_is_let_in() {
    let made = jpegs(5);
    let login = |stream: &mut TcpStream, request: &str| -> Option<std::io::Result<()>> {
        // viewer:right
        let let_in = request.to_lowercase().contains(&"authorization: basic dmlld2VyOnJpZ2h0".to_lowercase());
        (!let_in).then(|| {
            stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cam\"\r\n\
                  Content-Length: 0\r\nConnection: close\r\n\r\n",
            )
        })
    };
    let (stream_jpegs, one) = (made.clone(), made[0].clone());
    let mjpeg = HttpCamera::start(move |stream, request, over| {
        login(stream, request).unwrap_or_else(|| multipart(stream, &stream_jpegs, usize::MAX, over))
    });
    let polled = HttpCamera::start(move |stream, request, _| {
        login(stream, request).unwrap_or_else(|| answer(stream, "200 OK", "image/jpeg", &one))
    });
    for (camera, mode) in [(&mjpeg, ""), (&polled, ", mode = \"jpeg\"")] {
        for wrong in ["", ", username = \"viewer\", password = \"a-wrong-one\""] {
            let capture = camera.capture(&format!("{mode}{wrong}"));
            until_state(&capture, State::Refused).await;
            let words = failure(&capture).await;
            assert_says(&words, &["password"]);
            assert!(!words.contains("a-wrong-one"), "{words}");
            capture.shutdown().await;
        }
        let capture = camera.capture(&format!("{mode}, username = \"viewer\", password = \"right\""));
        take_jpegs(&capture, 2).await;
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_polled_camera_is_asked_as_often_as_configured() {
    let made = jpegs(1).remove(0);
    let served = made.clone();
    let http = HttpCamera::start(move |stream, _, _| answer(stream, "200 OK", "image/jpeg", &served));
    let polled = camera(&format!("fps = 5\n{}", http.source(", mode = \"jpeg\"")));
    let capture = Capture::start(polled, &means());
    let first = take_jpegs(&capture, 1).await;
    assert_eq!(first[0].data, made, "byte for byte");
    let (before, began) = (http.requests(), Instant::now());
    take_jpegs(&capture, 15).await;
    let rate = (http.requests() - before) as f64 / began.elapsed().as_secs_f64();
    assert!((4.0..6.5).contains(&rate), "{rate:.1} requests a second");
    let fps = capture.status().fps;
    assert!((4.0..6.5).contains(&fps), "{fps:.1} pictures a second");
    assert_eq!(capture.status().lifecycle.state, State::Live);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_polled_answer_that_is_no_picture_or_too_large_is_said() {
    let mode = ", mode = \"jpeg\"";
    let html = HttpCamera::start(|stream, _, _| answer(stream, "200 OK", "text/html", b"<html>no</html>"));
    let huge = HttpCamera::start(|stream, _, _| {
        let mut body = vec![0; 17 * 1024 * 1024];
        body[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
        answer(stream, "200 OK", "image/jpeg", &body)
    });
    // Never says how long it is, and never ends.
    let endless = HttpCamera::start(|stream, _, over| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff")?;
        while !over.load(Ordering::SeqCst) {
            stream.write_all(&[0; 64 * 1024])?;
        }
        Ok(())
    });
    let gone = HttpCamera::start(|stream, _, _| answer(stream, "503 Service Unavailable", "text/plain", b""));
    for (camera, expected) in [(&html, "not a JPEG"), (&huge, "16 MiB"), (&endless, "16 MiB"), (&gone, "503")]
    {
        let capture = camera.capture(mode);
        assert_says(&failure(&capture).await, &[expected]);
        until_state(&capture, State::BackingOff).await;
        capture.shutdown().await;
    }
}

#[tokio::test]
async fn a_polled_camera_that_fails_for_a_while_comes_back() {
    let made = jpegs(1).remove(0);
    let well = Arc::new(AtomicBool::new(true));
    let camera = HttpCamera::start({
        let well = Arc::clone(&well);
        move |stream, _, _| match well.load(Ordering::SeqCst) {
            true => answer(stream, "200 OK", "image/jpeg", &made),
            false => answer(stream, "500 Internal Server Error", "text/plain", b""),
        }
    });
    let capture = camera.capture(", mode = \"jpeg\"");
    until_live(&capture).await;
    well.store(false, Ordering::SeqCst);
    until_state(&capture, State::BackingOff).await;
    well.store(true, Ordering::SeqCst);
    until_live(&capture).await;
    capture.shutdown().await;
}
