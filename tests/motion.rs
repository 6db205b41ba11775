//! The motor that turns the camera, by HTTP and JSON-RPC, with the driver that keeps a motor's time and moves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::service::STARTS;
use support::*;

const CAMERA: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 5\n";
const STEPPER: &str = "[stepper]\ndriver = \"simulated\"\nsteps_per_degree = 10.0\nmax_speed = 200.0\n\
                       acceleration = 400.0\nhome_speed = 200.0\npresets = [\"door=-45\"]\n";

fn ask(service: &Fanlight, what: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    request(service.port(), "POST", &format!("/api/stepper/{what}"), &[], &body).unwrap()
}

fn status(service: &Fanlight) -> Value {
    service.get("/api/stepper/status").json()
}

fn started() -> Fanlight {
    let service = Fanlight::start(&format!("{STEPPER}{CAMERA}"));
    assert_eq!(ask(&service, "home", &Value::Null).status, 202);
    wait_until("it is homed", STARTS, || status(&service)["homed"] == true);
    wait_until("it stands", STARTS, || status(&service)["state"] == "idle");
    service
}

#[test]
fn it_finds_its_switch_then_goes_where_it_is_told_and_says_so() {
    let service = Fanlight::start(&format!("{STEPPER}{CAMERA}"));
    let lost = ask(&service, "move", &json!({ "degrees": 10 }));
    assert_eq!((lost.status, lost.json()["error"]["code"].as_str()), (409, Some("STEPPER_NOT_HOMED")));
    drop(service);
    let service = started();
    assert_eq!(status(&service)["position_degrees"], -90.0);
    let begun = ask(&service, "move", &json!({ "preset": "door" }));
    assert_eq!(begun.status, 202, "{}", begun.text());
    assert_eq!(
        (begun.json()["state"].as_str(), &begun.json()["target_degrees"]),
        (Some("moving"), &json!(-45.0))
    );
    let busy = ask(&service, "move", &json!({ "degrees": 0 }));
    assert_eq!((busy.status, busy.json()["error"]["code"].as_str()), (409, Some("STEPPER_BUSY")));
    assert_eq!(ask(&service, "move", &json!({ "steps": 55, "relative": true, "queue": true })).status, 202);
    wait_until("both moves are over", STARTS, || {
        let status = status(&service);
        status["state"] == "idle" && status["position_degrees"] == json!(-39.5)
    });
}

#[test]
fn a_stop_holds_it_where_it_is() {
    let service = started();
    assert_eq!(ask(&service, "speed", &json!({ "speed": 20 })).json()["speed"], 20.0);
    ask(&service, "move", &json!({ "degrees": 90 }));
    wait_until("it moves", STARTS, || status(&service)["position_degrees"].as_f64() > Some(-88.0));
    let stopped = ask(&service, "stop", &Value::Null).json();
    assert_eq!((stopped["state"].as_str(), stopped["exact"].as_bool()), (Some("idle"), Some(false)));
    assert!(stopped["position_degrees"].as_f64() < Some(90.0));
    assert_eq!(status(&service)["position_steps"], stopped["position_steps"], "it stands");
    let off = ask(&service, "disable", &Value::Null).json();
    assert_eq!(off["enabled"], false);
    assert_eq!(ask(&service, "enable", &Value::Null).json()["enabled"], true);
}

#[test]
fn a_jog_that_is_not_asked_for_again_comes_to_rest_by_itself() {
    let service = started();
    let jogging = ask(&service, "jog", &json!({ "speed": 0.2 }));
    assert_eq!(
        (jogging.status, jogging.json()["state"].as_str()),
        (202, Some("jogging")),
        "{}",
        jogging.text()
    );
    wait_until("it rests", STARTS, || status(&service)["state"] == "idle");
    let status = status(&service);
    assert!(status["exact"] == true && status["position_degrees"].as_f64() < Some(80.0), "{status}");
}

#[test]
fn what_makes_no_sense_is_refused_with_words_and_other_pages_turn_nothing() {
    let service = started();
    for (what, body, words) in [
        ("move", json!({ "degrees": 91 }), "outside of the limits"),
        ("move", json!({}), "one of degrees, steps and preset"),
        ("move", json!({ "degrees": 1, "steps": 1 }), "one of degrees, steps and preset"),
        ("move", json!({ "preset": "attic" }), "no preset"),
        ("move", json!({ "degree": 1 }), "unknown field"),
        ("move", json!({ "degrees": 1, "speed": 1000 }), "0.01 to 200"),
        ("speed", json!({ "speed": 0 }), "0.01 to 200"),
        ("jog", json!({ "speed": 2 }), "-1 to 1"),
    ] {
        let answer = ask(&service, what, &body);
        assert_eq!(answer.status, 400, "{what} {body}: {}", answer.text());
        assert!(answer.text().contains(words), "{what} {body}: {}", answer.text());
    }
    let foreign = [("Origin", "https://elsewhere.example")];
    let answer = request(service.port(), "POST", "/api/stepper/home", &foreign, b"").unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(status(&service)["position_degrees"], -90.0);
}

#[test]
fn without_a_motor_it_says_so_and_everything_else_goes_on() {
    let service = Fanlight::start(CAMERA);
    let status = status(&service);
    assert_eq!(status["available"], false);
    assert!(status["message"].as_str().unwrap().contains("stepper.driver"), "{status}");
    let answer = ask(&service, "home", &Value::Null);
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (503, Some("STEPPER_NOT_AVAILABLE"))
    );
    let chip = "[stepper]\ndriver = \"step_dir\"\nchip = \"/dev/null\"\nstep_pin = 1\ndirection_pin = 2\n";
    let service = Fanlight::start(&format!("{chip}{CAMERA}"));
    service.wait_state("porch", "live", STARTS);
    assert!(service.log().contains("the stepper is not there: /dev/null"), "{}", service.log());
}
