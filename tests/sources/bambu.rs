//! The camera of a Bambu Lab A1 or P1: JPEGs over TLS on port 6000.

use fanlight::capture::Capture;
use fanlight::supervision::State;

use super::support::{Mood, PrinterCamera, SelfSigned};
use super::*;

const CODE: &str = "12345678";

fn capture_of(printer: &PrinterCamera, code: &str, more: &str) -> Capture {
    Capture::start(camera(&printer.source(code, more)), &means())
}

#[tokio::test]
async fn pictures_pass_byte_for_byte_and_are_encoded_only_while_somebody_wants_h264() {
    let printer = PrinterCamera::start(CODE);
    let capture = capture_of(&printer, CODE, "");
    for unit in take_jpegs(&capture, 3).await {
        assert!(*unit.data == *printer.picture(), "the picture was changed");
    }
    assert_eq!((decoders(&capture), encoders(&capture)), (Vec::<String>::new(), Vec::<String>::new()));
    assert!(take(capture.h264(), 3).await[0].keyframe);
    assert!(take(capture.realtime(), 3).await[0].keyframe);
    assert_eq!(printer.let_in(), 1, "one connection serves all");
    capture.shutdown().await;
    until("the connection is closed", || printer.open() == 0).await;
}

#[tokio::test]
async fn a_camera_that_nobody_watches_is_closed() {
    let printer = PrinterCamera::start(CODE);
    let asked = camera(&format!("{}\nidle = \"close\"", printer.source(CODE, "")));
    let capture = Capture::start(asked, &means());
    take_jpegs(&capture, 2).await;
    until("the connection is closed", || printer.open() == 0).await;
    take_jpegs(&capture, 2).await;
    assert_eq!(printer.let_in(), 2);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_wrong_code_is_refused_in_words_and_not_tried_over_and_over() {
    let printer = PrinterCamera::start(CODE);
    let capture = capture_of(&printer, "87654321", "");
    until_state(&capture, State::Refused).await;
    let words = failure(&capture).await;
    assert_says(&words, &["access code", "screen"]);
    assert!(!words.contains("87654321"), "{words}");
    assert_eq!(printer.asked(), 1);
    printer.code("87654321");
    capture.restart();
    take_jpegs(&capture, 2).await;
    capture.shutdown().await;
}

#[tokio::test]
async fn the_pinned_certificate_is_taken_and_another_one_never_gets_the_code() {
    let printer = PrinterCamera::start(CODE);
    let pin = |pin: &SelfSigned| format!(", fingerprint = {:?}", pin.fingerprint());
    let capture = capture_of(&printer, CODE, &pin(printer.certificate()));
    take_jpegs(&capture, 2).await;
    capture.shutdown().await;
    let asked = printer.asked();

    let capture = capture_of(&printer, CODE, &pin(&SelfSigned::new()));
    until_state(&capture, State::Refused).await;
    assert_says(&failure(&capture).await, &["certificate", "known by", &printer.certificate().fingerprint()]);
    assert_eq!(printer.asked(), asked, "the code was sent to a stranger");
    capture.shutdown().await;
}

#[tokio::test]
async fn a_printer_that_takes_the_code_and_sends_nothing_is_said_so() {
    let printer = PrinterCamera::start(CODE);
    printer.mood(Mood::Silent);
    let capture = capture_of(&printer, CODE, "");
    assert_says(&failure(&capture).await, &["sends nothing"]);
    printer.mood(Mood::Pictures);
    take_jpegs(&capture, 2).await;
    capture.shutdown().await;
}

#[tokio::test]
async fn something_else_on_that_port_is_said_to_be_no_printers_camera() {
    let printer = PrinterCamera::start(CODE);
    printer.mood(Mood::Garbage);
    let capture = capture_of(&printer, CODE, "");
    assert_says(&failure(&capture).await, &["not the stream", "rtsps://"]);
    assert_eq!(capture.jpeg().counters().frames, 0);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_picture_of_nine_megabytes_is_left_out_and_the_others_come() {
    let printer = PrinterCamera::start(CODE);
    printer.mood(Mood::Large);
    let capture = capture_of(&printer, CODE, "");
    for unit in take_jpegs(&capture, 3).await {
        assert!(*unit.data == *printer.picture());
    }
    assert_eq!(printer.let_in(), 1);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_line_that_is_cut_within_a_picture_gives_no_half_picture() {
    let printer = PrinterCamera::start(CODE);
    printer.mood(Mood::Cut);
    let capture = capture_of(&printer, CODE, "");
    assert_says(&failure(&capture).await, &["before a picture was whole"]);
    assert_eq!(capture.jpeg().counters().frames, 0);
    capture.shutdown().await;
}

#[tokio::test]
async fn a_camera_that_is_killed_and_comes_back_is_found_by_itself() {
    let mut printer = PrinterCamera::start(CODE);
    let capture = capture_of(&printer, CODE, "");
    take_jpegs(&capture, 2).await;
    printer.kill();
    until("it is noticed", || capture.status().lifecycle.state != State::Live).await;
    printer.come_back();
    until_live(&capture).await;
    take_jpegs(&capture, 2).await;
    assert!(printer.let_in() >= 2);
    capture.shutdown().await;
}
