//! RTSP as readers have it: the usual ones, those that are slow, silent or mad, and cameras that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::rtsp_client::{ARRIVES, Picture};
use support::service::STARTS;
use support::*;

fn camera(id: &str, more: &str) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\" }}\nresolution = \"320x180\"\nfps = 25\n\
         h264 = {{ gop_seconds = 1.0 }}\n{more}\n"
    )
}

fn service(before: &str) -> Fanlight {
    let service = Fanlight::start(&format!("{before}\n{}", camera("cam", "")));
    service.wait_state("cam", "live", STARTS);
    service
}

fn url(service: &Fanlight, id: &str) -> String {
    service.camera(id)["urls"]["rtsp"].as_str().expect("an RTSP URL").to_owned()
}

fn host(service: &Fanlight) -> String {
    url(service, "cam").strip_prefix("rtsp://").unwrap().split('/').next().unwrap().to_owned()
}

fn readers(service: &Fanlight, id: &str) -> u64 {
    service.camera(id)["viewers"]["rtsp"].as_u64().expect("a count")
}

fn lost(service: &Fanlight) -> u64 {
    service.get("/metrics").json()["cameras"][0]["rtsp"]["lost"].as_u64().expect("a count")
}

/// Runs a reader to its end.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new("timeout").arg("60").arg(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[track_caller]
fn assert_follows(before: &Picture, next: &Picture) {
    assert_eq!(next.first, before.last.wrapping_add(1), "a gap: {before:?}, {next:?}");
}

const FFPROBE: &[(&str, &str)] = &[("ffprobe", "ffmpeg"), ("ffmpeg", "ffmpeg")];

#[test]
fn ffprobe_reads_codec_size_and_pictures() {
    if lacks("ffprobe_reads_codec_size_and_pictures", FFPROBE) {
        return;
    }
    let service = service("");
    let entries = "stream=codec_name,profile,width,height,r_frame_rate,nb_read_packets";
    let arguments = ["-v", "error", "-count_packets", "-read_intervals", "%+2", "-show_entries", entries];
    let url = url(&service, "cam");
    let output = run("ffprobe", &[&arguments[..], &["-of", "json", "-rtsp_transport", "tcp", &url]].concat());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &found["streams"][0];
    assert_eq!(
        (stream["codec_name"].as_str(), stream["r_frame_rate"].as_str()),
        (Some("h264"), Some("25/1"))
    );
    assert_eq!((stream["width"].as_u64(), stream["height"].as_u64()), (Some(320), Some(180)));
    let packets: u32 = stream["nb_read_packets"].as_str().unwrap().parse().unwrap();
    assert!(packets >= 40, "two seconds: {found}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_camera_with_b_frames_is_passed_through_and_decodes_without_an_error() {
    if lacks("a_camera_with_b_frames_is_passed_through_and_decodes_without_an_error", FFPROBE) {
        return;
    }
    let source = CameraOptions::clip().start();
    let service = Fanlight::start(&format!("[[camera]]\nid = \"cam\"\n{}\n", source.source()));
    service.wait_state("cam", "live", STARTS);
    let url = url(&service, "cam");
    // A first reader, so that the second begins with the kept group.
    let mut first = RtspClient::play(&url);
    let begin = first.picture();
    assert!(begin.keyframe);
    for _ in 0..30 {
        first.picture();
    }
    let arguments = ["-v", "warning", "-xerror", "-rtsp_transport", "tcp", "-i", &url, "-frames:v", "60"];
    let output = run("ffmpeg", &[&arguments[..], &["-fps_mode", "passthrough", "-f", "null", "-"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    let status = service.camera("cam");
    assert_eq!(status["h264"]["encoder"], "passthrough", "{status}");
}

#[test]
fn gstreamer_decodes_it_also_when_it_asks_for_udp_first() {
    if lacks(
        "gstreamer_decodes_it_also_when_it_asks_for_udp_first",
        &[("gst-launch-1.0", "gstreamer1.0-tools")],
    ) {
        return;
    }
    let service = service("");
    for protocols in ["tcp", "udp+tcp"] {
        let location = format!("location={}", url(&service, "cam"));
        let protocols = format!("protocols={protocols}");
        let source = ["-e", "rtspsrc", &location, &protocols, "latency=0", "!", "rtph264depay", "!"];
        let sink = ["avdec_h264", "!", "identity", "eos-after=40", "!", "fakesink", "sync=false"];
        let output = run("gst-launch-1.0", &[&source[..], &["h264parse", "!"], &sink].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{protocols}: {out} {said}");
        assert!(out.contains("EOS"), "{protocols}: {out} {said}");
    }
}

#[test]
fn pyav_reads_it_as_home_assistant_does() {
    // Debian's own python: another one does not find Debian's packages.
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "import av"]).output().is_ok_and(|out| out.status.success());
    if !has {
        return skipped("pyav_reads_it_as_home_assistant_does", "PyAV is missing (package python3-av)");
    }
    let service = service("");
    let script = format!(
        "import av\n\
         c = av.open({:?}, options={{'rtsp_transport': 'tcp', 'stimeout': '5000000'}}, timeout=10)\n\
         n = 0\n\
         for frame in c.decode(video=0):\n    n += 1\n    if n == 40: break\n\
         print(n, frame.width, frame.height)\n",
        url(&service, "cam")
    );
    let output = run(python, &["-c", &script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "40 320 180", "{output:?}");
}

#[test]
fn the_first_picture_is_the_kept_keyframe_and_the_live_ones_follow_without_a_gap() {
    let service = service("");
    let url = url(&service, "cam");
    let mut early = RtspClient::play(&url);
    for _ in 0..40 {
        early.picture();
    }
    let mut client = RtspClient::connect(&url);
    assert_eq!(client.describe().status, 200);
    assert_eq!(client.setup().status, 200);
    let play = client.ask("PLAY", "Range: npt=0-\r\n");
    let info = play.header("RTP-Info").expect("where it begins").to_owned();
    let first = client.picture();
    assert!(first.keyframe);
    assert!(info.contains(&format!("seq={};rtptime={}", first.first, first.timestamp)), "{info} {first:?}");
    let mut before = first.clone();
    for _ in 0..60 {
        let next = client.picture();
        assert_follows(&before, &next);
        assert!(next.timestamp.wrapping_sub(before.timestamp) < 90_000, "time goes on: {before:?} {next:?}");
        before = next;
    }
    assert!(client.reports >= 1 || early.reports >= 1, "sender reports come");
    assert_eq!(client.ask("TEARDOWN", "").status, 200);
    wait_until("one reader is left", ARRIVES, || readers(&service, "cam") == 1);
}

#[test]
fn readers_stay_through_a_camera_restart_and_an_outage_is_described() {
    let mut source = CameraOptions::pattern("320x180@25").start();
    let config =
        format!("[supervision]\nbackoff_max_seconds = 1\n[[camera]]\nid = \"cam\"\n{}\n", source.source());
    let service = Fanlight::start(&config);
    service.wait_state("cam", "live", STARTS);
    let url = url(&service, "cam");
    let mut client = RtspClient::play(&url);
    let mut last = client.picture();
    source.kill();
    let gone = Instant::now();
    while let Some(picture) = client.picture_within(Duration::from_secs(2)) {
        last = picture;
        assert!(gone.elapsed() < ARRIVES, "pictures of a camera that is dead");
    }
    let mut other = RtspClient::connect(&url);
    let described = other.describe();
    assert_eq!(described.status, 200, "{described:?}");
    assert!(described.body.contains("sprop-parameter-sets="), "{}", described.body);
    // Who joins now waits and does not get old pictures.
    assert_eq!((other.setup().status, other.ask("PLAY", "").status), (200, 200));
    assert!(other.picture_within(Duration::from_millis(300)).is_none());
    source.come_back();
    let next = client.picture_within(Duration::from_secs(30)).expect("pictures are back");
    assert!(next.keyframe);
    assert_follows(&last, &next);
    let (ticks, passed) = (next.timestamp.wrapping_sub(last.timestamp), gone.elapsed());
    let seconds = f64::from(ticks) / 90_000.0;
    assert!((1.0..passed.as_secs_f64() + 2.0).contains(&seconds), "{seconds} s of {passed:?}");
    let joined = other.picture();
    assert!(joined.keyframe);
}

#[test]
fn a_slow_reader_resumes_at_a_keyframe_and_its_neighbour_loses_nothing() {
    let config = camera("cam", "").replace("320x180", "1280x720");
    let service = Fanlight::start(&config.replace("1.0 }", "1.0, bitrate_kbps = 6000 }"));
    service.wait_state("cam", "live", STARTS);
    let url = url(&service, "cam");
    let mut slow = RtspClient::connect_with(&url, Some(4096));
    slow.start();
    let begin = slow.picture();
    assert!(begin.keyframe);
    let mut neighbour = RtspClient::play(&url);
    let mut before = neighbour.picture();
    let deadline = Instant::now() + Duration::from_secs(60);
    while lost(&service) < 10 {
        let next = neighbour.picture();
        assert_follows(&before, &next);
        before = next;
        assert!(Instant::now() < deadline, "a reader that stalls loses nothing");
    }
    // It reads again: what was on its way, then a gap that ends at a keyframe.
    let mut last = begin;
    let resumed = wait_for("the gap", Duration::from_secs(30), || {
        let next = slow.picture();
        let gap = next.first != last.last.wrapping_add(1);
        last = next.clone();
        gap.then_some(next)
    });
    assert!(resumed.keyframe, "{resumed:?}");
    for _ in 0..30 {
        let next = neighbour.picture();
        assert_follows(&before, &next);
        before = next;
    }
}

#[test]
fn a_reader_that_takes_nothing_is_cut() {
    let config = camera("cam", "").replace("320x180", "1280x720");
    let service = Fanlight::start(&config.replace("1.0 }", "1.0, bitrate_kbps = 6000 }"));
    service.wait_state("cam", "live", STARTS);
    let mut stuck = RtspClient::connect_with(&url(&service, "cam"), Some(4096));
    stuck.start();
    wait_until("it reads", ARRIVES, || readers(&service, "cam") == 1);
    // Its own end is far away: nothing but what it does not take ends it.
    wait_until("it is cut", Duration::from_secs(50), || readers(&service, "cam") == 0);
    assert!(lost(&service) > 0);
}

#[test]
fn a_hundred_readers_get_every_picture() {
    let service = service("");
    let url = url(&service, "cam");
    let mut clients: Vec<RtspClient> = (0..100).map(|_| RtspClient::play(&url)).collect();
    wait_until("all are counted", ARRIVES, || readers(&service, "cam") == 100);
    for (number, client) in clients.iter_mut().enumerate() {
        let mut before = client.picture();
        assert!(before.keyframe, "reader {number}");
        for _ in 0..50 {
            let next = client.picture();
            assert_follows(&before, &next);
            before = next;
        }
    }
    let text = request(service.port(), "GET", "/metrics", &[("Accept", "text/plain")], b"").unwrap().text();
    assert!(text.contains("fanlight_rtsp_readers{camera=\"cam\"} 100\n"), "{text}");
    drop(clients);
    wait_until("all are gone", ARRIVES, || readers(&service, "cam") == 0);
}

#[test]
fn nothing_is_encoded_without_readers() {
    let service = service("");
    let demand = || service.camera("cam")["h264"]["demand"].as_u64().unwrap();
    let url = url(&service, "cam");
    assert_eq!(demand(), 0);
    let mut client = RtspClient::connect(&url);
    assert_eq!(client.ask("OPTIONS", "").status, 200);
    assert_eq!(client.describe().status, 200, "a description may start the encoder");
    wait_until("but does not keep it", ARRIVES, || demand() == 0);
    assert_eq!(client.setup().status, 200);
    assert_eq!(demand(), 0, "a session that does not play");
    assert_eq!(client.ask("PLAY", "").status, 200);
    client.picture();
    assert_eq!(demand(), 1);
    let mut other = RtspClient::play(&url);
    other.picture();
    assert_eq!(demand(), 1, "one for all readers");
    assert_eq!(client.ask("TEARDOWN", "").status, 200);
    drop(other);
    wait_until("the last reader ends it", ARRIVES, || demand() == 0);
    let encoder = || service.camera("cam")["h264"]["state"].as_str().unwrap_or_default().to_owned();
    wait_until("the encoder stops", ARRIVES, || encoder() == "idle");
}

#[test]
fn a_silent_session_expires_and_one_with_signs_of_life_stays() {
    let service = service("[rtsp]\nsession_timeout_seconds = 5");
    let url = url(&service, "cam");
    let mut silent = RtspClient::connect(&url);
    assert_eq!(silent.describe().status, 200);
    assert!(silent.setup().header("Session").unwrap().ends_with(";timeout=5"));
    assert_eq!(silent.ask("PLAY", "").status, 200);
    let (mut asking, mut reporting) = (RtspClient::play(&url), RtspClient::play(&url));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        assert_eq!(asking.ask("GET_PARAMETER", "").status, 200);
        // A receiver report, empty as far as we are concerned.
        reporting.stream.write_all(&[b'$', 1, 0, 8, 0x80, 201, 0, 1, 0, 0, 0, 0]).unwrap();
        asking.picture();
        reporting.picture();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(silent.closed_within(ARRIVES));
    wait_until("two are left", ARRIVES, || readers(&service, "cam") == 2);
}

#[test]
fn more_readers_than_allowed_are_refused_and_a_reload_changes_that() {
    let config = |most: u32| format!("[rtsp]\nmax_readers = {most}\n{}", camera("cam", ""));
    let service = Fanlight::start(&config(1));
    service.wait_state("cam", "live", STARTS);
    let url = url(&service, "cam");
    let mut first = RtspClient::play(&url);
    let mut second = RtspClient::connect(&url);
    let refused = second.setup();
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("5")));
    assert!(refused.body.contains("rtsp.max_readers"), "{}", refused.body);
    std::fs::write(service.config_file(), config(2)).unwrap();
    wait_until("the reload is taken", ARRIVES, || second.setup().status == 200);
    let before = first.picture();
    assert_follows(&before, &first.picture());
}

#[test]
fn a_camera_that_is_removed_ends_its_readers_and_nobody_elses() {
    let both = format!("{}{}", camera("cam", ""), camera("yard", ""));
    let service = Fanlight::start(&both);
    service.wait_state("yard", "live", STARTS);
    let mut stays = RtspClient::play(&url(&service, "cam"));
    let mut goes = RtspClient::play(&url(&service, "yard"));
    goes.picture();
    let before = stays.picture();
    std::fs::write(service.config_file(), camera("cam", "")).unwrap();
    assert!(goes.closed_within(ARRIVES));
    assert_follows(&before, &stays.picture());
}

#[test]
fn what_is_not_there_is_said() {
    let dead = format!("source = {{ type = \"rtsp\", url = \"rtsp://127.0.0.1:{}/x\" }}", free_port());
    let service = Fanlight::start(&format!(
        "{}{}[[camera]]\nid = \"dead\"\n{dead}\n",
        camera("cam", ""),
        camera("hidden", "outputs = { rtsp = false }")
    ));
    let host = host(&service);
    let describe = |path: &str| RtspClient::connect(&format!("rtsp://{host}/{path}")).describe();
    assert_eq!(describe("nobody").status, 404);
    assert_eq!(describe("hidden").status, 404);
    assert_eq!(describe("cam/live/main").status, 404);
    assert_eq!(describe("").status, 200, "no name is the first camera");
    assert!(service.camera("hidden")["urls"]["rtsp"].is_null());
    let dead = describe("dead");
    assert_eq!(dead.status, 503, "{dead:?}");
    assert!(dead.body.contains("\"dead\"") && dead.header("Retry-After").is_some(), "{dead:?}");
    let mut client = RtspClient::connect(&format!("rtsp://{host}/cam"));
    let udp = client.ask("SETUP", "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n");
    assert_eq!(udp.status, 461);
    client.start();
    assert_eq!(client.ask("PAUSE", "").status, 405);
    client.picture();
}

/// Sends bytes on a connection of their own and reads until it ends.
fn send(host: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(host).expect("the server accepts");
    stream.set_read_timeout(Some(ARRIVES)).unwrap();
    // A server that has heard enough closes before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no end within {ARRIVES:?}: {answer:?}");
    }
    answer
}

#[test]
fn garbage_and_too_much_of_anything_end_their_connection_and_nobody_elses() {
    let service = service("");
    let (host, url) = (host(&service), url(&service, "cam"));
    let mut reader = RtspClient::play(&url);
    let mut before = reader.picture();
    let long = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let body = format!("SET_PARAMETER {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 999999999\r\n\r\n");
    for (what, bytes, status) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "400"),
        ("TLS", vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], "400"),
        ("zeros", vec![0; 100_000], "400"),
        ("a head without an end", vec![b'A'; 100_000], "413"),
        ("a long head", long.into_bytes(), "413"),
        ("a long body", body.into_bytes(), "413"),
        ("another version", format!("OPTIONS {url} RTSP/2.0\r\nCSeq: 1\r\n\r\n").into_bytes(), "505"),
        ("no number", format!("OPTIONS {url} RTSP/1.0\r\n\r\n").into_bytes(), "400"),
    ] {
        let answer = send(&host, &bytes);
        let answer = String::from_utf8_lossy(&answer);
        // A close with bytes unread may take the answer with it; a few bytes are all read.
        let taken = bytes.len() > 2000 && answer.is_empty();
        assert!(taken || answer.starts_with(&format!("RTSP/1.0 {status} ")), "{what}: {answer}");
    }
    for _ in 0..25 {
        let next = reader.picture();
        assert_follows(&before, &next);
        before = next;
    }
    RtspClient::play(&url).picture();
}

#[test]
fn half_a_request_is_waited_for_only_so_long() {
    let service = service("");
    let mut half = TcpStream::connect(host(&service)).unwrap();
    half.write_all(b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq").unwrap();
    half.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).expect("it is closed");
    assert!(answer.starts_with("RTSP/1.0 408 "), "{answer}");
}

#[test]
fn thousands_of_tampered_requests_leave_the_server_well() {
    let service = service("");
    let (host, url) = (host(&service), url(&service, "cam"));
    let mut reader = RtspClient::play(&url);
    let mut before = reader.picture();
    let requests = format!(
        "OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n\
         DESCRIBE {url} RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n\
         SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n\
         SET_PARAMETER {url} RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 4\r\n\r\nabcd\
         TEARDOWN {url} RTSP/1.0\r\nCSeq: 5\r\nSession: 0123456789abcdef\r\n\r\n"
    )
    .into_bytes();
    // Fewer than a release takes, for the time it takes.
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let tampering = proptest::collection::vec((0..requests.len(), any::<u8>(), 0u8..4), 1..12);
    let tampered = runner.run(&tampering, |tampering| {
        let mut bytes = requests.clone();
        for (at, byte, how) in tampering {
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at.max(1)),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        let answer = send(&host, &bytes);
        prop_assert!(answer.is_empty() || answer.starts_with(b"RTSP/1.0 "), "{:?}", answer);
        Ok(())
    });
    tampered.unwrap_or_else(|error| panic!("{error}\n{}", service.log()));
    // The reader's own pictures have gone on; it is behind only as far as nobody read for it.
    while let Some(next) = reader.picture_within(Duration::from_millis(200)) {
        if next.first != before.last.wrapping_add(1) {
            assert!(next.keyframe, "{next:?}");
        }
        before = next;
        if readers(&service, "cam") == 1 && service.state("cam") == "live" {
            break;
        }
    }
    RtspClient::play(&url).picture();
    assert!(!service.log().contains("panicked"), "{}", service.log());
}

#[test]
fn a_port_that_was_chosen_must_be_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let environment = port.to_string();
    let (status, log) = Fanlight::run_to_end_with(
        &camera("cam", ""),
        free_port(),
        &[("FANLIGHT_RTSP_PORT", &environment)],
        STARTS,
    );
    assert!(!status.success());
    for part in [&format!("127.0.0.1:{port}"), "port already in use", "rtsp.port", "rtsp.enabled"] {
        assert!(log.contains(part), "{log}");
    }
}

#[test]
fn without_the_usual_port_everything_else_goes_on() {
    // If somebody else has it, that is as good.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8554");
    let service = Fanlight::start_with(&camera("cam", ""), &[("FANLIGHT_RTSP_PORT", "8554")]);
    service.wait_state("cam", "live", STARTS);
    assert!(service.camera("cam")["urls"]["rtsp"].is_null());
    assert!(service.log().contains("cannot serve RTSP on 127.0.0.1:8554"), "{}", service.log());
}

#[test]
fn switched_off_there_is_no_port() {
    let service = service("[rtsp]\nenabled = false");
    assert!(service.camera("cam")["urls"]["rtsp"].is_null());
    assert!(!service.log().contains("RTSP: "), "{}", service.log());
}

/// A service that asks who reads: `anna` with `secret`.
fn guarded(before: &str) -> (Fanlight, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("anna.password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let users = format!("[[access.user]]\nname = \"anna\"\npassword_file = {password:?}\n");
    (service(&format!("{before}\n{users}")), directory)
}

fn with_login(url: &str, login: &str) -> String {
    url.replacen("://", &format!("://{login}@"), 1)
}

fn ffprobe(url: &str) -> Output {
    run(
        "ffprobe",
        &["-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=width", "-of", "csv=p=0", url],
    )
}

#[test]
fn with_users_readers_log_in_by_digest_and_never_by_a_password_in_the_clear() {
    let name = "with_users_readers_log_in_by_digest_and_never_by_a_password_in_the_clear";
    if lacks(name, FFPROBE) || lacks(name, &[("gst-launch-1.0", "gstreamer1.0-tools")]) {
        return;
    }
    let (service, _directory) = guarded("");
    let url = url(&service, "cam");
    let mut plain = RtspClient::connect(&url);
    assert_eq!(plain.ask("OPTIONS", "").status, 200, "what can be asked is no secret");
    let asked = plain.describe();
    assert_eq!(asked.status, 401);
    let challenges: Vec<&str> =
        asked.head.lines().filter_map(|line| line.strip_prefix("WWW-Authenticate: ")).collect();
    assert_eq!(challenges.len(), 2, "{challenges:?}");
    assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"), "{challenges:?}");
    // anna:secret, right, and still not taken.
    assert_eq!(plain.ask("DESCRIBE", "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n").status, 401);
    assert_eq!(plain.setup().status, 401);

    assert!(ffprobe(&with_login(&url, "anna:secret")).status.success());
    let wrong = ffprobe(&with_login(&url, "anna:other"));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("401"), "{wrong:?}");
    let location = format!("location={url}");
    let login =
        ["user-id=anna", "user-pw=secret", "protocols=tcp", "!", "rtph264depay", "!", "h264parse", "!"];
    let sink = ["identity", "eos-after=30", "!", "fakesink", "sync=false"];
    let output = run("gst-launch-1.0", &[&["rtspsrc", &location], &login[..], &sink].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(!service.log().contains("secret"), "{}", service.log());
}

#[test]
fn a_user_who_is_removed_reads_no_longer() {
    let name = "a_user_who_is_removed_reads_no_longer";
    if lacks(name, FFPROBE) {
        return;
    }
    let (service, _directory) = guarded("[rtsp]\nsession_timeout_seconds = 600");
    let url = with_login(&url(&service, "cam"), "anna:secret");
    let arguments = ["-v", "error", "-rtsp_transport", "tcp", "-i", &url, "-f", "null", "-"];
    let mut reader = Process::spawn("ffmpeg", Command::new("ffmpeg").args(arguments));
    wait_until("it reads", ARRIVES, || readers(&service, "cam") == 1);
    let config = std::fs::read_to_string(service.config_file()).unwrap();
    std::fs::write(service.config_file(), config.replace("anna\"", "bert\"")).unwrap();
    reader.wait(Duration::from_secs(60));
    wait_until("nobody reads", ARRIVES, || readers(&service, "cam") == 0);
}

#[test]
fn rtsps_is_read_and_takes_basic_as_well() {
    let name = "rtsps_is_read_and_takes_basic_as_well";
    if lacks(name, FFPROBE)
        || lacks(name, &[("openssl", "openssl"), ("gst-launch-1.0", "gstreamer1.0-tools")])
    {
        return;
    }
    let tls = SelfSigned::new();
    let files = format!("certificate = {:?}\nkey = {:?}", tls.certificate(), tls.key());
    let (service, _directory) = guarded(&format!("[rtsp]\ntls_port = 0\n{files}"));
    let url = service.camera("cam")["urls"]["rtsps"].as_str().expect("an RTSPS URL").to_owned();
    assert!(url.starts_with("rtsps://127.0.0.1:"), "{url}");
    let output = ffprobe(&with_login(&url, "anna:secret"));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "320", "{output:?}");
    let location = format!("location={url}");
    let login = ["user-id=anna", "user-pw=secret", "tls-validation-flags=0", "!", "rtph264depay", "!"];
    let sink = ["h264parse", "!", "identity", "eos-after=30", "!", "fakesink", "sync=false"];
    let output = run("gst-launch-1.0", &[&["rtspsrc", &location], &login[..], &sink].concat());
    assert!(output.status.success(), "{output:?}");
    // Basic, by hand: openssl carries the bytes.
    let address = url.strip_prefix("rtsps://").unwrap().split('/').next().unwrap();
    let client = ["s_client", "-quiet", "-no_ign_eof", "-connect", address];
    let mut client = Process::spawn("openssl", Command::new("openssl").args(client));
    let describe =
        |login: &str| format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic {login}\r\n\r");
    client.write_line(&describe("YW5uYTpvdGhlcg=="));
    client.wait_line("refuses", 0, ARRIVES, |line| line.contains("401 Unauthorized").then_some(()));
    client.write_line(&describe("YW5uYTpzZWNyZXQ="));
    client.wait_line("describes", 0, ARRIVES, |line| line.contains("sprop-parameter-sets").then_some(()));
    // The plain port next to the other goes on.
    assert_eq!(RtspClient::connect(&self::url(&service, "cam")).describe().status, 401);
}

#[test]
fn a_certificate_that_is_renewed_is_shown_to_who_comes_and_one_that_is_broken_is_not() {
    let name = "a_certificate_that_is_renewed_is_shown_to_who_comes_and_one_that_is_broken_is_not";
    if lacks(name, &[("openssl", "openssl")]) {
        return;
    }
    let (tls, renewed) = (SelfSigned::new(), SelfSigned::new());
    let files = format!("certificate = {:?}\nkey = {:?}", tls.certificate(), tls.key());
    let service = service(&format!("[rtsp]\ntls_port = 0\n{files}"));
    let url = service.camera("cam")["urls"]["rtsps"].as_str().expect("an RTSPS URL").to_owned();
    let address = url.strip_prefix("rtsps://").unwrap().split('/').next().unwrap().to_owned();
    let shown = || {
        let output = run("openssl", &["s_client", "-connect", &address, "-showcerts"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split("-----").nth(2).unwrap_or_default().split_whitespace().collect::<String>()
    };
    let in_file = |tls: &SelfSigned| {
        let text = std::fs::read_to_string(tls.certificate()).unwrap();
        text.split("-----").nth(2).unwrap().split_whitespace().collect::<String>()
    };
    let (first, second) = (in_file(&tls), in_file(&renewed));
    assert_eq!(shown(), first);
    std::fs::write(tls.certificate(), "half a certificate").unwrap();
    wait_until("what is wrong is said", ARRIVES, || {
        shown();
        service.log().contains("the one before goes on")
    });
    assert_eq!(shown(), first);
    std::fs::copy(renewed.key(), tls.key()).unwrap();
    std::fs::copy(renewed.certificate(), tls.certificate()).unwrap();
    wait_until("the new certificate is shown", ARRIVES, || shown() == second);
}

#[test]
fn a_private_key_that_everybody_may_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let name = "a_private_key_that_everybody_may_read_is_warned_about";
    if lacks(name, &[("openssl", "openssl")]) {
        return;
    }
    let tls = SelfSigned::new();
    std::fs::set_permissions(tls.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let files = format!("certificate = {:?}\nkey = {:?}", tls.certificate(), tls.key());
    let service = Fanlight::start(&format!("[rtsp]\ntls_port = 0\n{files}\n{}", camera("cam", "")));
    assert!(service.log().contains("chmod o-rwx"), "{}", service.log());
}

#[test]
fn a_certificate_that_is_none_stops_the_start_with_words() {
    let config = format!(
        "[rtsp]\ntls_port = 0\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n{}",
        camera("cam", "")
    );
    let (status, log) = Fanlight::run_to_end(&config, free_port(), STARTS);
    assert!(!status.success() && log.contains("rtsp.certificate") && log.contains("/dev/null"), "{log}");
}
