//! What simulated printers promise, told by independent clients: mosquitto's tools, ffprobe, a TLS socket.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use support::printer::{CODE, Printers, Simulated};
use support::{lacks, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn pushall() -> Value {
    json!({ "pushing": { "command": "pushall", "sequence_id": "1" } })
}

/// What ffprobe says of a stream, or why it says nothing.
fn probe(url: &str) -> Result<String, String> {
    let done = Command::new("ffprobe")
        .args(["-v", "error", "-rtsp_transport", "tcp", "-timeout", "5000000"])
        .args(["-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", url])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// A client of the JPEG camera that has said who it is.
fn jpegs(printer: &Simulated, code: &str) -> impl Read {
    fanlight::tls::install();
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(any::Certificate))
        .with_no_client_auth();
    let name = "printer".try_into().unwrap();
    let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(&printer.camera).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let mut hello = [0; 80];
    hello[0] = 0x40;
    hello[5] = 0x30;
    hello[16..20].copy_from_slice(b"bblp");
    hello[48..48 + code.len()].copy_from_slice(code.as_bytes());
    stream.write_all(&hello).unwrap();
    stream
}

#[test]
fn each_model_tells_its_version_a_full_report_and_what_changes() {
    let test = "each_model_tells_its_version_a_full_report_and_what_changes";
    let Some(printers) = Printers::start(test, "X1C,P1S,A1,P2S,H2D", 5, &[]) else { return };
    for printer in printers.all() {
        let Some(client) = printer.listen(test, CODE) else { return };
        client.wait_subscribed();
        let from = client.heard();
        client.request(&json!({ "info": { "command": "get_version", "sequence_id": "0" } }));
        let serial = client.wait("tells its version", from, |message| {
            message["info"]["module"][0]["sn"].as_str().map(str::to_owned)
        });
        assert_eq!(serial, printer.serial);
        client.request(&pushall());
        let full = client.wait("reports in full", from, |message| {
            (message["print"]["msg"] == 0).then(|| message["print"].clone())
        });
        assert_eq!(full["ams"]["ams"][0]["tray"].as_array().unwrap().len(), 4, "{}", printer.model);
        let told = full["ipcam"].get("rtsp_url").is_some();
        assert_eq!(told, printer.camera.starts_with("rtsps:"), "{}", printer.model);
        let from = client.heard();
        client.wait("tells what changes", from, |message| (message["print"]["msg"] == 1).then_some(()));
    }
}

#[test]
fn a_command_is_acknowledged_with_its_number_and_changes_what_is_reported() {
    let test = "a_command_is_acknowledged_with_its_number_and_changes_what_is_reported";
    let Some(mut printers) = Printers::start(test, "A1", 1, &["--idle", "--speed", "600"]) else { return };
    let Some(client) = printers.all()[0].listen(test, CODE) else { return };
    client.wait_subscribed();
    let state = |from, state: &str| {
        client.wait(&format!("is {state}"), from, |message| {
            (message["print"]["gcode_state"] == state).then_some(())
        });
    };
    printers.order("start");
    state(0, "RUNNING");
    for (command, param, becomes) in
        [("pause", "", "PAUSE"), ("resume", "", "RUNNING"), ("print_speed", "4", ""), ("stop", "", "FAILED")]
    {
        let from = client.heard();
        let asked = json!({ "command": command, "param": param, "sequence_id": "4711" });
        assert_eq!(client.command("print", asked)["result"], "success", "{command}");
        if becomes.is_empty() {
            client.wait("goes faster", from, |message| (message["print"]["spd_mag"] == 166).then_some(()));
        } else {
            state(from, becomes);
        }
    }
    let from = client.heard();
    let light = json!({ "command": "ledctrl", "led_node": "chamber_light", "led_mode": "off", "led_on_time": 500,
        "led_off_time": 500, "loop_times": 0, "interval_time": 0, "sequence_id": "9" });
    assert_eq!(client.command("system", light)["result"], "success");
    client.wait("the light is off", from, |message| {
        (message["print"]["lights_report"][0]["mode"] == "off").then_some(())
    });
}

#[test]
fn a_wrong_code_opens_neither_broker_nor_camera() {
    let test = "a_wrong_code_opens_neither_broker_nor_camera";
    if lacks(test, &[("ffprobe", "ffmpeg")]) {
        return;
    }
    let Some(printers) = Printers::start(test, "X1C,A1", 2, &[]) else { return };
    let [x1c, a1] = printers.all() else { panic!("two printers") };
    let Some(client) = x1c.listen(test, "87654321") else { return };
    let refused = |line: &str| line.contains("not authorised").then_some(());
    client.process().wait_line("is refused", 0, PATIENCE, refused);
    let why = probe(&x1c.camera_url("87654321")).unwrap_err();
    assert!(why.contains("401"), "{why}");
    let mut rest = Vec::new();
    // Some TLS ends are an error to the reader; what matters is that no picture comes.
    let _ = jpegs(a1, "87654321").read_to_end(&mut rest);
    assert!(rest.is_empty(), "{} bytes", rest.len());
}

#[test]
fn cameras_give_pictures_in_each_model_s_way() {
    let test = "cameras_give_pictures_in_each_model_s_way";
    if lacks(test, &[("ffprobe", "ffmpeg")]) {
        return;
    }
    let Some(printers) = Printers::start(test, "X1C,A1", 2, &[]) else { return };
    let [x1c, a1] = printers.all() else { panic!("two printers") };
    assert_eq!(probe(&x1c.camera_url(CODE)), Ok("h264,1280,720".to_owned()));
    let mut stream = jpegs(a1, CODE);
    for _ in 0..3 {
        let mut header = [0; 16];
        stream.read_exact(&mut header).unwrap();
        assert_eq!(header[4..], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let mut picture = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
        stream.read_exact(&mut picture).unwrap();
        assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
    }
}

#[test]
fn a_camera_is_closed_mute_or_disabled_on_order_while_reports_go_on() {
    let test = "a_camera_is_closed_mute_or_disabled_on_order_while_reports_go_on";
    if lacks(test, &[("ffprobe", "ffmpeg")]) {
        return;
    }
    let Some(mut printers) = Printers::start(test, "H2D", 1, &[]) else { return };
    let printer = printers.all()[0].clone();
    let Some(client) = printer.listen(test, CODE) else { return };
    client.wait_subscribed();
    let place = printer.camera.trim_start_matches("rtsps://").split('/').next().unwrap().to_owned();
    let told = |from| {
        client.request(&pushall());
        client.wait("tells its camera", from, |message| {
            message["print"]["ipcam"]["rtsp_url"].as_str().map(str::to_owned)
        })
    };
    assert!(told(client.heard()).contains("/streaming/live/1"));
    printers.order("camera off");
    assert!(TcpStream::connect(&place).is_err());
    printers.order("camera mute");
    let silent = TcpStream::connect(&place).unwrap();
    silent.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!((&silent).read(&mut [0]).is_err(), "nothing is said");
    printers.order("camera on");
    assert!(probe(&printer.camera_url(CODE)).is_ok());
    let from = client.heard();
    printers.order("liveview off");
    assert_eq!(told(from), "disable");
    assert!(TcpStream::connect(&place).is_err());
}

#[test]
fn it_is_silent_refuses_or_talks_nonsense_on_order() {
    let test = "it_is_silent_refuses_or_talks_nonsense_on_order";
    let Some(mut printers) = Printers::start(test, "P2S", 1, &["--idle"]) else { return };
    let Some(client) = printers.all()[0].listen(test, CODE) else { return };
    client.wait_subscribed();
    printers.order("developer-mode off aloud");
    let asked = |number: &str| json!({ "command": "pause", "param": "", "sequence_id": number });
    assert_eq!(client.command("print", asked("1"))["reason"], "mqtt message verify failed");
    printers.order("developer-mode on");
    assert_eq!(client.command("print", asked("2"))["result"], "success");
    printers.order("acks off");
    let from = client.heard();
    client.request(&json!({ "user_id": "1", "print": asked("3") }));
    client.request(&pushall());
    client.wait("reports all the same", from, |message| (message["print"]["msg"] == 0).then_some(()));
    let acks = client.process().output();
    assert!(!acks.lines().skip(from).any(|line| line.contains("\"result\"")), "nothing is acknowledged");
    printers.order("nonsense on");
    let from = client.heard();
    client.request(&pushall());
    client.wait("talks nonsense", from, |message| (message["print"]["nozzle_temper"] == "hot").then_some(()));
    printers.order("silence on");
    let from = client.heard();
    client.request(&pushall());
    printers.order("silence off");
    client.request(&json!({ "info": { "command": "get_version", "sequence_id": "77" } }));
    client.wait("speaks again", from, |message| (message["info"]["sequence_id"] == "77").then_some(()));
    let heard = client.process().output();
    let full = heard.lines().skip(from).filter(|line| line.contains("\"msg\":0")).count();
    assert_eq!(full, 0, "what it was asked while silent is not answered");
}

#[test]
fn it_reboots_and_changes_certificate_and_code_on_order() {
    let test = "it_reboots_and_changes_certificate_and_code_on_order";
    let Some(mut printers) = Printers::start(test, "P1S", 1, &[]) else { return };
    let printer = printers.all()[0].clone();
    if lacks(test, &[("openssl", "openssl")]) {
        return;
    }
    let before = printer.certificate().unwrap();
    printers.order("reboot 1");
    assert!(printer.certificate().is_none() && TcpStream::connect(&printer.camera).is_err());
    wait_until("it is back", PATIENCE, || printer.certificate().is_some());
    assert_eq!(printer.certificate().unwrap(), before, "a reboot keeps the certificate");
    printers.order("certificate");
    assert_ne!(printer.certificate().unwrap(), before);
    printers.order("code 11112222");
    let Some(client) = printer.listen(test, "11112222") else { return };
    client.wait_subscribed();
    printers.order("fail 0300_8004 0700_2000_0002_0001");
    let hms = client.wait("fails", 0, |message| {
        let print = &message["print"];
        (print["print_error"] == 0x0300_8004).then(|| print["hms"][0].clone())
    });
    assert_eq!(hms, json!({ "attr": 0x0700_2000, "code": 0x0002_0001 }));
}

#[test]
fn it_ends_at_once_with_nothing_left_behind() {
    let test = "it_ends_at_once_with_nothing_left_behind";
    let temporary = tempfile::tempdir().unwrap();
    if lacks(test, &[("mosquitto", "mosquitto")]) {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanlight"));
    command.args(["simulate", "printer", "--model", "X1C,A1", "--count", "3", "--bind", "127.63.0.1"]);
    let mut process = support::Process::spawn("the printers", command.env("TMPDIR", temporary.path()));
    process.wait_line("are ready", 0, PATIENCE, |line| (line == "ready").then_some(()));
    process.signal(Signal::INT);
    assert_eq!(process.wait(Duration::from_secs(5)).code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(TcpStream::connect("127.63.0.1:8883").is_err(), "no broker is left");
}

/// Takes every certificate: what these tests are about is behind it.
mod any {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub struct Certificate;

    impl ServerCertVerifier for Certificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
