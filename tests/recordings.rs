//! Recordings of the real service: what is on disk plays, is listed, and is served.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::recording::{decode, probe, test_camera};
use support::service::STARTS;
use support::*;

const SOON: Duration = Duration::from_secs(15);
const FFMPEG: &[(&str, &str)] = &[("ffprobe", "ffmpeg"), ("ffmpeg", "ffmpeg")];

fn duration(status: &serde_json::Value) -> f64 {
    status["duration_seconds"].as_f64().unwrap()
}

#[test]
fn a_recording_on_demand_plays_is_listed_and_ends_where_it_was_stopped() {
    if lacks("a_recording_on_demand_plays_is_listed_and_ends_where_it_was_stopped", FFMPEG) {
        return;
    }
    let service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    assert_eq!(service.recording("front")["state"], "off");
    let name = service.record("front", "");
    assert!(name.starts_with("front_20") && name.ends_with(".mp4"), "{name}");
    let again = service.ask("POST", "/api/cameras/front/recording", "");
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (409, Some("INVALID_STATE")));
    wait_until("three seconds are on disk", SOON, || duration(&service.recording("front")) >= 3.0);
    let listed = service.recordings("");
    assert_eq!((listed[0]["name"].as_str(), &listed[0]["recording"]), (Some(&*name), &true.into()));
    assert!(duration(&listed[0]) >= 3.0, "{listed:?}");
    let busy = service.ask("DELETE", &format!("/api/recordings/{name}"), "");
    assert_eq!(busy.status, 409, "{}", busy.text());

    let stopped = service.stop_recording("front");
    assert_eq!((&stopped["state"], stopped["name"].as_str()), (&"off".into(), Some(&*name)));
    let path = service.recordings_directory().join(&name);
    let probed = probe(&path, false);
    decode(&path);
    assert!(probed.starts_with_keyframe && probed.width == 160, "{probed:?}");
    assert!((probed.duration.as_secs_f64() - duration(&stopped)).abs() < 0.15, "{probed:?} {stopped}");
    let info = service.get(&format!("/api/recordings/{name}")).json();
    assert_eq!(info["bytes"], std::fs::metadata(&path).unwrap().len());
    assert_eq!(
        (&info["recording"], &info["camera"], &info["width"]),
        (&false.into(), &"front".into(), &160.into())
    );
    let over = service.ask("DELETE", "/api/cameras/front/recording", "");
    assert_eq!(over.status, 409, "{}", over.text());
    let gone = service.ask("DELETE", &format!("/api/recordings/{name}"), "");
    assert_eq!((gone.status, path.exists()), (204, false));
    assert_eq!(service.recordings("").len(), 0);
}

#[test]
fn a_recording_with_a_duration_ends_by_itself() {
    let service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    service.record("front", r#"{"duration_seconds": 2}"#);
    wait_until("it has ended", SOON, || service.recording("front")["state"] == "off");
    let listed = service.recordings("");
    assert_eq!(listed.len(), 1);
    assert!((1.0..4.0).contains(&duration(&listed[0])), "{listed:?}");
    for bad in [r#"{"duration_seconds": 0}"#, r#"{"duration_seconds": 1e300}"#, r#"{"seconds": 1}"#, "[]"] {
        assert_eq!(service.ask("POST", "/api/cameras/front/recording", bad).status, 400, "{bad}");
    }
    assert_eq!(service.ask("POST", "/api/cameras/nobody/recording", "").status, 404);
}

#[test]
fn a_restart_of_the_camera_goes_on_in_the_same_file_and_the_time_of_it_is_a_gap() {
    if lacks("a_restart_of_the_camera_goes_on_in_the_same_file_and_the_time_of_it_is_a_gap", FFMPEG) {
        return;
    }
    let service = Fanlight::start(&test_camera("front", "record = \"continuous\""));
    wait_until("it records", STARTS, || duration(&service.recording("front")) >= 1.0);
    for _ in 0..3 {
        let before = duration(&service.recording("front"));
        assert_eq!(service.ask("POST", "/api/cameras/front/restart", "").status, 202);
        wait_until("it goes on", SOON, || duration(&service.recording("front")) > before + 2.0);
    }
    let stopped = service.stop_recording("front");
    assert_eq!(service.recordings("").len(), 1, "one file, whatever the camera did");
    let path = service.recordings_directory().join(stopped["name"].as_str().unwrap());
    probe(&path, false);
    decode(&path);
}

#[test]
fn a_network_camera_that_is_cut_off_and_returns_goes_on_in_the_same_file_as_it_sends_it() {
    const NAME: &str = "a_network_camera_that_is_cut_off_and_returns_goes_on_in_the_same_file_as_it_sends_it";
    if lacks(NAME, FFMPEG) {
        return;
    }
    let mut camera = CameraOptions::clip().start();
    let service =
        Fanlight::start(&format!("[[camera]]\nid = \"cam\"\nrecord = \"continuous\"\n{}\n", camera.source()));
    wait_until("it records", STARTS, || duration(&service.recording("cam")) >= 2.0);
    assert_eq!(service.camera("cam")["h264"]["encoder"], "passthrough");
    camera.kill();
    wait_until("it waits", STARTS, || service.recording("cam")["state"] == "waiting");
    let before = duration(&service.recording("cam"));
    camera.come_back();
    wait_until("it goes on", STARTS, || duration(&service.recording("cam")) > before + 2.0);
    let stopped = service.stop_recording("cam");
    assert_eq!(service.recordings("").len(), 1, "one file, whatever the camera did");
    let path = service.recordings_directory().join(stopped["name"].as_str().unwrap());
    let probed = probe(&path, false);
    decode(&path);
    assert!(probed.longest_step > Duration::from_secs(1), "times are those of the day: {probed:?}");
}

#[test]
fn a_reload_starts_and_stops_recording_and_leaves_the_camera_alone() {
    let config = |more: &str| format!("[record]\nsegment_seconds = 600\n{}", test_camera("front", more));
    let service = Fanlight::start(&config(""));
    service.wait_state("front", "live", STARTS);
    let reload = |text: &str| {
        std::fs::write(service.config_file(), text).unwrap();
        service.process().signal(rustix::process::Signal::HUP);
    };
    reload(&config("record = \"continuous\""));
    wait_until("it records", SOON, || service.recording("front")["state"] == "recording");
    assert_eq!(service.recording("front")["continuous"], true);
    wait_until("something is on disk", SOON, || duration(&service.recording("front")) >= 1.0);
    let first = service.recording("front")["name"].clone();
    let other = config("record = \"continuous\"")
        .replace("600", "500")
        .replace("[record]", "[record]\nname = \"x_{time}\"");
    reload(&other);
    wait_until("the next file has the new name", SOON, || {
        let status = service.recording("front");
        status["name"] != first && status["name"].as_str().is_some_and(|name| name.starts_with("x_"))
    });
    reload(&config(""));
    wait_until("it has stopped", SOON, || service.recording("front")["state"] == "off");
    assert_eq!(service.camera("front")["attempts"], 1, "the camera was never started anew");
}

#[test]
fn a_recording_is_cut_into_files_by_its_time_and_nothing_is_missing_between_them() {
    if lacks("a_recording_is_cut_into_files_by_its_time_and_nothing_is_missing_between_them", FFMPEG) {
        return;
    }
    let config =
        format!("[record]\nsegment_seconds = 5\n{}", test_camera("front", "record = \"continuous\""));
    let service = Fanlight::start(&config);
    wait_until("two files are whole", STARTS + SOON, || service.recordings("").len() >= 3);
    service.stop_recording("front");
    let mut listed = service.recordings("");
    listed.reverse();
    for pair in listed.windows(2) {
        let path = service.recordings_directory().join(pair[0]["name"].as_str().unwrap());
        let probed = probe(&path, false);
        decode(&path);
        let at = |value: &serde_json::Value| value["started_at"].as_str().unwrap().parse::<jiff::Timestamp>();
        let apart = at(&pair[1]).unwrap().duration_since(at(&pair[0]).unwrap()).as_secs_f64();
        assert!((4.8..7.0).contains(&duration(&pair[0])), "{pair:?}");
        // The time of day is read when a picture arrives: it wavers with the machine's load.
        assert!((apart - probed.duration.as_secs_f64()).abs() < 1.0, "{apart} {probed:?}");
    }
}

#[test]
fn a_recording_begins_before_it_was_started_when_there_is_a_pre_roll() {
    if lacks("a_recording_begins_before_it_was_started_when_there_is_a_pre_roll", FFMPEG) {
        return;
    }
    let config = format!("[record]\npre_roll_seconds = 3\n{}", test_camera("front", ""));
    let service = Fanlight::start(&config);
    let frames = |service: &Fanlight| service.camera("front")["h264"]["frames"].as_u64().unwrap();
    wait_until("pictures are held", STARTS + SOON, || frames(&service) > 45);
    let name = service.record("front", "");
    service.stop_recording("front");
    let path = service.recordings_directory().join(&name);
    let probed = probe(&path, false);
    decode(&path);
    assert!(probed.duration >= Duration::from_secs(3), "{probed:?}");
    assert!(probed.longest_step < Duration::from_millis(500), "nothing is missing: {probed:?}");
}

#[test]
fn nothing_from_before_a_mask_is_recorded_whatever_the_pre_roll() {
    let service = Fanlight::start(&format!("[record]\npre_roll_seconds = 60\n{}", test_camera("front", "")));
    let frames = || service.camera("front")["h264"]["frames"].as_u64().unwrap();
    wait_until("pictures are held", STARTS + SOON, || frames() > 25);
    let masked = jiff::Timestamp::now();
    let mask = r#"{"masks": [{"x": 0, "y": 0, "width": 0.5, "height": 0.5}]}"#;
    let answer = service.ask("PUT", "/api/cameras/front/transforms", mask);
    assert_eq!(answer.status, 200, "{}", answer.text());
    service.ask("POST", "/api/cameras/front/recording", "");
    wait_until("it records", STARTS + SOON, || service.recording("front")["state"] == "recording");
    let status = service.recording("front");
    let began: jiff::Timestamp = status["started_at"].as_str().unwrap().parse().unwrap();
    assert!(began >= masked, "began {began}, masked {masked}");
}

#[test]
fn a_file_is_served_in_ranges_with_conditions_and_a_name_also_while_it_grows() {
    let service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    let name = service.record("front", "");
    let path = format!("/files/recordings/{name}");
    let ask = |method: &str, headers: &[(&str, &str)]| {
        request(service.port(), method, &path, headers, b"").unwrap()
    };
    wait_until("something is on disk", SOON, || duration(&service.recording("front")) >= 2.0);
    let growing = ask("GET", &[("Range", "bytes=4-7")]);
    assert_eq!((growing.status, &*growing.body), (206, &b"ftyp"[..]));
    let etag = growing.header("etag").unwrap().to_owned();
    let before = duration(&service.recording("front"));
    wait_until("it grows", SOON, || duration(&service.recording("front")) > before);
    let on = ask("GET", &[("Range", "bytes=100-"), ("If-Range", &etag)]);
    assert_eq!(on.status, 206, "a download of a growing file goes on");
    let list = service.get(&format!("{path}/index.m3u8"));
    assert!(list.text().contains("TYPE:EVENT") && list.text().contains("#EXTINF"), "{}", list.text());
    service.stop_recording("front");

    let whole = ask("GET", &[]);
    let size = whole.body.len();
    let bytes = std::fs::read(service.recordings_directory().join(&name)).unwrap();
    assert!(whole.status == 200 && whole.body == bytes, "the file as it is");
    assert_eq!(whole.header("content-type"), Some("video/mp4"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-disposition"), Some(&*format!("inline; filename=\"{name}\"")));
    let etag = whole.header("etag").unwrap().to_owned();
    let head = ask("HEAD", &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*size.to_string())));
    assert_eq!(ask("GET", &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(ask("GET", &[("Range", "bytes=0-0"), ("If-Range", "\"other\"")]).body.len(), size);
    let last = ask("GET", &[("Range", "bytes=-10"), ("If-Range", &etag)]);
    assert_eq!((last.status, &last.body[..]), (206, &bytes[size - 10..]));
    assert_eq!(last.header("content-range"), Some(&*format!("bytes {}-{}/{size}", size - 10, size - 1)));
    let beyond = ask("GET", &[("Range", &format!("bytes={size}-"))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(&*format!("bytes */{size}"))));
    let list = service.get(&format!("{path}/index.m3u8"));
    assert!(list.text().ends_with("#EXT-X-ENDLIST\n"), "{}", list.text());
    for bad in ["..%2f..%2ffanlight.toml", "..", ".mp4", "nothing.mp4", "%2e%2e%2ffanlight.db", "a%00.mp4"] {
        let status = service.get(&format!("/files/recordings/{bad}")).status;
        assert_eq!(status, 404, "{bad}");
    }
    std::os::unix::fs::symlink("/etc/passwd", service.recordings_directory().join("link.mp4")).unwrap();
    assert_eq!(service.get("/files/recordings/link.mp4").status, 404, "a link leads nowhere");
}

#[test]
fn a_snapshot_is_stored_with_its_time_under_the_name_that_was_asked_for() {
    let service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    let take = |body: &str| service.ask("POST", "/api/cameras/front/snapshots", body);
    let first = take("");
    assert_eq!(first.status, 201, "{}", first.text());
    let info = first.json();
    assert_eq!(
        (&info["camera"], &info["width"], &info["height"]),
        (&"front".into(), &160.into(), &120.into())
    );
    let file = service.get(info["url"].as_str().unwrap());
    assert_eq!((file.status, file.header("content-type")), (200, Some("image/jpeg")));
    assert!(file.body.starts_with(b"\xff\xd8\xff\xe1") && file.body.ends_with(b"\xff\xd9"));
    let named = take(r#"{"filename": "print-1"}"#);
    assert_eq!((named.status, named.json()["name"].as_str()), (201, Some("print-1.jpg")));
    assert_eq!(take(r#"{"filename": "print-1.jpg"}"#).status, 409, "never over another one");
    for bad in ["../x", "/etc/x", ".x", "a b", ""] {
        assert_eq!(take(&format!("{{\"filename\": {bad:?}}}")).status, 400, "{bad:?}");
    }
    let list = service.get("/api/snapshots?limit=1").json();
    assert_eq!((&list["total"], &list["snapshots"][0]["name"]), (&2.into(), &"print-1.jpg".into()));
    assert_eq!(service.ask("DELETE", "/api/snapshots/print-1.jpg", "").status, 204);
    assert_eq!(service.ask("DELETE", "/api/snapshots/print-1.jpg", "").status, 404);
    assert_eq!(service.get("/api/snapshots").json()["total"], 1);
}

#[test]
fn a_timelapse_has_a_picture_every_so_often_and_says_how_far_it_is() {
    const NAME: &str = "a_timelapse_has_a_picture_every_so_often_and_says_how_far_it_is";
    if lacks(NAME, FFMPEG) {
        return;
    }
    let service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    let path = "/api/cameras/front/timelapse";
    for bad in [
        "",
        r#"{"interval_seconds": 0.5}"#,
        r#"{"interval_seconds": 1e300}"#,
        r#"{"interval_seconds": 1, "fps": 0}"#,
    ] {
        assert_eq!(service.ask("POST", path, bad).status, 400, "{bad}");
    }
    assert_eq!((service.get(path).status, service.ask("DELETE", path, "").status), (404, 409));
    let began = service.ask("POST", path, r#"{"interval_seconds": 1, "fps": 10, "pictures": 4}"#);
    assert_eq!((began.status, &began.json()["progress_percent"]), (201, &0.0.into()), "{}", began.text());
    assert_eq!(service.ask("POST", path, r#"{"interval_seconds": 1}"#).status, 409, "one at a time");
    wait_until("half of it is there", SOON, || {
        service.get(path).json()["progress_percent"].as_f64() >= Some(50.0)
    });
    wait_until("it has ended", SOON, || service.get(path).json()["running"] == false);
    let status = service.get(path).json();
    assert_eq!((&status["pictures"], &status["progress_percent"]), (&4.into(), &100.0.into()), "{status}");
    let name = status["name"].as_str().unwrap();
    assert!(name.starts_with("front_") && name.ends_with("_timelapse.mp4"), "{name}");
    let file = service.recordings_directory().join(name);
    let probed = probe(&file, false);
    decode(&file);
    assert_eq!(probed.packets, 4, "{probed:?}");
    assert!(probed.duration < Duration::from_secs(1) && probed.starts_with_keyframe, "{probed:?}");
    assert_eq!(service.recordings("")[0]["name"], name);
    // One without an end, stopped; its encoder does not run in between.
    assert_eq!(service.ask("POST", path, r#"{"interval_seconds": 1}"#).status, 201);
    wait_until("it has a picture", SOON, || service.get(path).json()["pictures"].as_u64() >= Some(1));
    let stopped = service.ask("DELETE", path, "");
    assert_eq!((stopped.status, &stopped.json()["running"]), (200, &false.into()));
    assert_eq!(service.recordings("").len(), 2);
}

#[test]
fn a_kept_recording_stays_kept_when_the_index_is_lost_and_files_may_be_moved_by_hand() {
    let mut service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    let names: Vec<String> = (0..3)
        .map(|_| {
            let name = service.record("front", "");
            // Another keyframe comes: the next one begins later.
            wait_until("it is longer than a group of pictures", SOON, || {
                duration(&service.recording("front")) >= 2.0
            });
            service.stop_recording("front");
            name
        })
        .collect();
    let kept = service.ask("POST", &format!("/api/recordings/{}/keep", names[0]), "");
    assert_eq!((kept.status, &kept.json()["kept"]), (200, &true.into()), "{}", kept.text());
    let before = service.recordings("");
    let state = service.directory().join("state");
    let directory = service.recordings_directory();
    service.process_mut().kill();
    for file in ["fanlight.db", "fanlight.db-wal", "fanlight.db-shm"] {
        let _ = std::fs::remove_file(state.join(file));
    }
    std::fs::remove_file(directory.join(&names[1])).unwrap();
    std::fs::rename(directory.join(&names[2]), directory.join("moved.mp4")).unwrap();
    std::fs::write(directory.join("notes.txt"), "no recording").unwrap();
    service.kill_and_restart();
    let listed = wait_for("the index is there again", SOON, || {
        Some(service.recordings("")).filter(|list| list.len() == 2)
    });
    let find =
        |list: &[serde_json::Value], name: &str| list.iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!(find(&listed, &names[0]), find(&before, &names[0]), "made from the file, it is what it was");
    let (moved, was) = (find(&listed, "moved.mp4"), find(&before, &names[2]));
    for key in ["camera", "started_at", "duration_seconds", "bytes", "width"] {
        assert_eq!(moved[key], was[key], "{key}");
    }
    assert_eq!(service.recordings("?kept=true").len(), 1);
    let freed = service.ask("DELETE", &format!("/api/recordings/{}/keep", names[0]), "");
    assert_eq!((freed.status, &freed.json()["kept"]), (200, &false.into()));
}

#[test]
fn retention_that_was_set_over_the_api_deletes_the_oldest_and_outlives_a_restart() {
    let mut service = Fanlight::start(&test_camera("front", ""));
    service.wait_state("front", "live", STARTS);
    assert_eq!(service.ask("POST", "/api/storage/cleanup", "").status, 409, "retention is off");
    let names: Vec<String> = (0..3)
        .map(|_| {
            let name = service.record("front", "");
            // Another keyframe comes: the next one begins later.
            wait_until("it is longer than a group of pictures", SOON, || {
                duration(&service.recording("front")) >= 2.0
            });
            service.stop_recording("front");
            name
        })
        .collect();
    let bytes = |value: &serde_json::Value| value["bytes"].as_u64().unwrap();
    let largest = service.recordings("").iter().map(bytes).max().unwrap();
    assert_eq!(service.ask("POST", &format!("/api/recordings/{}/keep", names[0]), "").status, 200);
    // Room for two of the three.
    let limit = largest as f64 * 2.2 / 1e9;
    let set = service.ask(
        "PATCH",
        "/api/storage/retention",
        &format!("{{\"enabled\":true,\"max_size_gb\":{limit},\"min_free_gb\":null}}"),
    );
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(service.ask("PATCH", "/api/storage/retention", r#"{"max_age_days": -1}"#).status, 400);
    service.kill_and_restart();
    let retention = service.get("/api/storage/retention").json();
    assert_eq!((&retention["enabled"], &retention["max_age_days"]), (&true.into(), &serde_json::Value::Null));
    let left = wait_for("the oldest that is not kept is gone", SOON, || {
        Some(service.recordings("")).filter(|list| list.len() == 2)
    });
    let left: Vec<&str> = left.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(left, [&*names[2], &*names[0]]);
    let storage = service.get("/api/storage").json();
    assert_eq!((&storage["recordings"]["count"], &storage["low_space"]), (&2.into(), &false.into()));
}
