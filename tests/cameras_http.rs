//! Cameras beside their pictures over HTTP: aliases, controls, forgetting. With real devices: tests/vm.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use support::service::STARTS;
use support::*;

const CONFIG: &str = "[[camera]]\nid = \"porch\"\nsource = { type = \"test\" }\nfps = 10\n\
                      [[camera]]\nid = \"desk\"\nsource = { type = \"v4l2\", device = \"/dev/null\" }\n";

#[test]
fn a_camera_answers_to_its_alias_which_a_restart_does_not_change() {
    let mut service = Fanlight::start(CONFIG);
    assert_eq!(service.camera("desk")["alias"], "camera1");
    assert_eq!(service.camera("camera1")["id"], "desk");
    assert_eq!(service.camera("porch")["discovered"], false);
    // The order in the file changes, the aliases do not.
    let (porch, desk) = CONFIG.split_at(CONFIG.rfind("[[camera]]").unwrap());
    std::fs::write(service.config_file(), format!("{desk}{porch}")).unwrap();
    service.kill_and_restart();
    assert_eq!(service.camera("camera0")["id"], "porch");
    wait_until("pictures by the alias", STARTS, || {
        service.get("/cameras/camera0/snapshot.jpg").status == 200
    });
}

#[test]
fn a_device_that_is_none_says_so_and_a_source_without_controls_as_well() {
    let service = Fanlight::start(CONFIG);
    for (path, status, words) in [
        ("/api/cameras/desk/controls", 503, "/dev/null: this is not a video device"),
        ("/api/cameras/desk/capabilities", 503, "/dev/null: this is not a video device"),
        ("/api/cameras/porch/controls", 501, "only V4L2 devices"),
        ("/api/cameras/nowhere/controls", 404, "no camera"),
    ] {
        let answer = service.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    wait_until("the camera's state says the same", STARTS, || {
        service.camera("desk")["last_error"].as_str().is_some_and(|error| error.contains("/dev/null"))
    });
}

#[test]
fn only_a_discovered_camera_that_is_away_is_forgotten_and_other_pages_set_nothing() {
    let service = Fanlight::start(CONFIG);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        request(service.port(), method, path, headers, body).unwrap()
    };
    let answer = ask("DELETE", "/api/cameras/porch", &[], b"");
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("stands in the configuration"), "{}", answer.text());
    let answer = ask("PATCH", "/api/cameras/porch", &[], b"{\"fps\": 5}");
    assert_eq!(answer.status, 409, "{}", answer.text());
    let path = "/api/cameras/desk/controls";
    let foreign = [("Origin", "https://elsewhere.example")];
    assert_eq!(ask("PUT", path, &foreign, b"{\"controls\": {}}").status, 403);
    assert_eq!(ask("DELETE", "/api/cameras/porch", &foreign, b"").status, 403);
    for body in [&b"brightness=3"[..], b"{\"controls\": {\"gain\": \"high\"}}", b"{\"control\": {}}"] {
        let answer = ask("PUT", path, &[], body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("brightness"), "it shows how: {}", answer.text());
    }
}

#[test]
fn a_machine_without_udev_says_so_once_and_goes_on() {
    if std::path::Path::new("/run/udev/control").exists() {
        return skipped("a_machine_without_udev_says_so_once_and_goes_on", "udev runs here");
    }
    let service = Fanlight::start(CONFIG);
    service.wait_state("porch", "live", STARTS);
    assert_eq!(service.log().matches("udev is not running here").count(), 1, "{}", service.log());
    let quiet = Fanlight::start(&format!("{CONFIG}[discovery]\nenabled = false\n"));
    assert!(!quiet.log().contains("udev"), "{}", quiet.log());
}
