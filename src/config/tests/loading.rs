//! Which file is read, where values come from, secrets and paths.

use super::super::model::{self, Camera, FileMode, H264Encoder, Source, Target};
use super::*;

#[test]
fn no_file_at_all_is_one_camera_found_by_itself() {
    let loaded = load_or(None, Path::new("/nonexistent/fanlight.toml"), &nothing).unwrap();
    let expected = Config { cameras: vec![Camera::new("camera0", Source::Auto {})], ..Config::default() };
    assert_eq!(loaded.config, expected);
    assert_eq!((loaded.file, loaded.warnings), (None, vec![]));
}

#[test]
fn the_default_file_is_read_when_it_exists_and_a_named_one_instead_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let default = write(&directory, "default.toml", "[server]\nport = 1\n");
    let named = write(&directory, "named.toml", "[server]\nport = 2\n");
    assert_eq!(load_or(None, &default, &nothing).unwrap().config.server.port, 1);
    assert_eq!(load_or(Some(&named), &default, &nothing).unwrap().config.server.port, 2);
}

#[test]
fn a_named_file_that_does_not_exist_is_an_error() {
    let error = load(Some(Path::new("/nonexistent/f.toml")), nothing).unwrap_err();
    assert!(matches!(error, ConfigError::Missing(_)));
    assert!(error.to_string().contains("/nonexistent/f.toml does not exist"), "{error}");
}

#[test]
fn a_directory_or_a_huge_file_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(Some(directory.path()), nothing).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    let huge = write(&directory, "movie.toml", &"#".repeat(FILE_LIMIT as usize + 1));
    let error = load(Some(&huge), nothing).unwrap_err();
    assert!(error.to_string().contains("is it a configuration?"), "{error}");
}

#[test]
fn each_value_says_where_it_came_from() {
    let text = "server.port = 1\n\n[[camera]]\nid = 'a'\nsource = { type = 'test' }\nfps = 5\n";
    let loaded = with_environment(text, &[("RESOLUTION", "320x240"), ("LOG_LEVEL", "inof")]);
    let shown = |key: &str| loaded.origins.of(key).to_string();
    assert_eq!(shown("server.port"), "fanlight.toml:1");
    assert_eq!(shown("camera.0.fps"), "fanlight.toml:6");
    assert_eq!(shown("camera.0.source.type"), "fanlight.toml:5");
    assert_eq!(shown("camera.0.resolution"), "environment RESOLUTION");
    assert_eq!(shown("log.level"), "default");
    assert_eq!(shown("hls.segments"), "default");
}

#[test]
fn a_user_and_password_leave_the_url() {
    let text =
        "[[camera]]\nid = 'a'\nsource = { type = 'rtsp', url = 'rtsp://ad%20min:p%40ss@cam:554/live' }\n";
    let Source::Rtsp(rtsp) = &from_text(text).unwrap().config.cameras[0].source else { panic!() };
    assert_eq!(rtsp.url, "rtsp://cam:554/live");
    assert_eq!(rtsp.username.as_deref(), Some("ad min"));
    assert_eq!(rtsp.password.as_ref().map(Secret::expose), Some("p@ss"));
}

#[test]
fn a_password_file_gives_its_first_line_and_warns_when_all_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let secret = write(&directory, "cam.password", "s3cret with space \r\nsecond\n");
    let file = write(
        &directory,
        "f.toml",
        "[[camera]]\nid = 'a'\nsource = { type = 'http', url = 'http://cam', password_file = 'cam.password' }\n",
    );
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        set_mode(&secret, mode);
        let loaded = load(Some(&file), nothing).unwrap();
        let Source::Http(http) = &loaded.config.cameras[0].source else { panic!() };
        assert_eq!(http.password.as_ref().map(Secret::expose), Some("s3cret with space "));
        assert_eq!(http.password_file.as_ref(), Some(&secret));
        assert_eq!(loaded.warnings.len(), warnings, "{:?}", loaded.warnings);
    }
    for (bad, words) in
        [("", "empty first line"), ("\nx", "empty first line"), (&"x".repeat(5000), "larger than")]
    {
        std::fs::write(&secret, bad).unwrap();
        let error = load(Some(&file), nothing).unwrap_err().to_string();
        assert!(error.contains("cam.password") && error.contains(words), "{error}");
    }
    std::fs::remove_file(&secret).unwrap();
    std::fs::create_dir(&secret).unwrap();
    let error = load(Some(&file), nothing).unwrap_err().to_string();
    assert!(error.contains("is not a regular file"), "{error}");
}

#[test]
fn a_password_in_a_file_that_all_may_read_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        &directory,
        "f.toml",
        "[[camera]]\nid = 'a'\nsource = { type = 'rtsp', url = 'rtsp://u:p@c' }\n",
    );
    for (mode, warnings) in [(0o640, 0), (0o644, 1)] {
        set_mode(&file, mode);
        assert_eq!(load(Some(&file), nothing).unwrap().warnings.len(), warnings);
    }
}

#[test]
fn files_with_keys_and_tokens_are_read_or_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[livekit]\nurl = 'ws://sfu'\napi_key = 'k'\napi_secret_file = 'lk.secret'\n\
                [[publish]]\nid = 'a'\ntype = 'livekit'\nroom = 'r'\nurl = 'ws://h'\ntoken_file = 'a.token'\n\
                [[publish]]\nid = 'b'\ntype = 'rtmp'\nurl = 'rtmp://h/app'\nstream_key_file = 'b.key'\n";
    let file = write(&directory, "f.toml", text);
    let secret = write(&directory, "lk.secret", "hush\n");
    set_mode(&secret, 0o600);
    let loaded = load(Some(&file), nothing).unwrap();
    assert_eq!(loaded.config.livekit.api_secret.as_ref().map(Secret::expose), Some("hush"));
    let Target::Livekit(to) = &loaded.config.publish[0].target else { panic!() };
    assert_eq!(to.token_file, Some(directory.path().join("a.token")));
    // What each attempt reads anew may still come: a warning, and no mistake.
    let names: Vec<_> = loaded.warnings.iter().map(|warning| warning.name.as_str()).collect();
    assert_eq!(names, ["publish.0.token_file", "publish.1.stream_key_file"]);
    for name in ["a.token", "b.key"] {
        set_mode(&write(&directory, name, "x\n"), 0o600);
    }
    assert_eq!(load(Some(&file), nothing).unwrap().warnings, []);
    set_mode(&secret, 0o644);
    let warnings = load(Some(&file), nothing).unwrap().warnings;
    assert!(warnings[0].to_string().contains("run chmod o-rwx"), "{warnings:?}");
    // A secret in the file itself.
    let file = write(&directory, "g.toml", "[livekit]\nurl = 'ws://h'\napi_key = 'k'\napi_secret = 's'\n");
    set_mode(&file, 0o644);
    assert_eq!(load(Some(&file), nothing).unwrap().warnings[0].name, "livekit");
    // One from the environment is not in the file.
    let file = write(&directory, "h.toml", "[livekit]\nurl = 'ws://h'\napi_key = 'k'\n");
    set_mode(&file, 0o644);
    let environment = |name: &str| (name == "LIVEKIT_API_SECRET").then(|| "s".to_string());
    assert_eq!(load(Some(&file), environment).unwrap().warnings, []);
}

#[test]
fn relative_paths_of_the_file_begin_at_its_directory_and_those_of_the_environment_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        &directory,
        "f.toml",
        "health.file = 'h.json'\nhls.output_dir = '/abs'\n[[camera]]\nid = 'a'\nsource = { type = 'file', path = 'a.mp4' }\n",
    );
    let config = load(Some(&file), nothing).unwrap().config;
    assert_eq!(config.health.file, Some(directory.path().join("h.json")));
    assert_eq!(config.hls.output_dir, Some("/abs".into()));
    assert_eq!(config.pipelines.directory, Path::new("/etc/fanlight/pipelines"));
    assert_eq!(config.cameras[0].source, Source::File(model::File { path: directory.path().join("a.mp4") }));
    let environment = |name: &str| (name == "HEALTH_FILE").then(|| "e.json".to_string());
    assert_eq!(load(Some(&file), environment).unwrap().config.health.file, Some("e.json".into()));
}

#[test]
fn what_works_but_not_as_meant_is_a_warning() {
    let warned =
        |text: &str| from_text(text).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let gop = warned(&format!("{PORCH}h264.gop_seconds = 5"));
    assert!(gop[0].contains("its segments will last 5 s, not 2 s"), "{gop:?}");
    assert!(warned(&format!("{PORCH}h264.gop_seconds = 5\noutputs.hls = false")).is_empty());
    let tls = warned("[[camera]]\nid = 'a'\nsource = { type = 'rtsp', url = 'rtsp://c', tls = 'system' }");
    assert!(tls[0].contains("write rtsps://"), "{tls:?}");
    let turn = warned("[livekit]\nurl = 'ws://h'\nice_servers = ['turn:t']\n");
    assert!(turn[0].contains("left out"), "{turn:?}");
    let lonely = warned("[livekit]\napi_key = 'k'\n");
    assert!(lonely[0].contains("no secret") && lonely[1].contains("LiveKit is off"), "{lonely:?}");
}

#[test]
fn values_arrive_typed_however_toml_writes_them() {
    let text = "[health]\nmax_frame_age_seconds = 5\n[hls]\nsegments = 0x7\nsegment_seconds = 1_0.0e-1\n";
    let config = from_text(text).unwrap().config;
    assert_eq!(
        (config.health.max_frame_age_seconds, config.hls.segments, config.hls.segment_seconds),
        (5.0, 7, 1.0)
    );
    let config = from_text("[health]\nfile_mode = \"0640\"\n").unwrap().config;
    assert_eq!(config.health.file_mode, FileMode(0o640));
    let config = from_text(&format!("{PORCH}h264.encoder = \"x264enc\"")).unwrap().config;
    assert_eq!(config.cameras[0].h264.encoder, H264Encoder::X264enc);
}

#[test]
fn a_file_from_windows_with_byte_order_mark_loads() {
    let loaded = from_text("\u{feff}[server]\r\nport = 7\r\n").unwrap();
    assert_eq!(loaded.config.server.port, 7);
    assert_eq!(loaded.origins.of("server.port").to_string(), "fanlight.toml:2");
}

#[test]
fn allow_and_deny_go_by_any_word_of_a_camera() {
    let words = ["hd-cam-3fa91c07", "HD Cam", "046d:082d", "A1B2", "pci-0000:00:14.0-usb-0:2:1.0"];
    for (allow, deny, taken) in [
        (&[][..], &[][..], true),
        (&["046d:082d"], &[], true),
        (&["046d:*"], &[], true),
        (&["hd cam"], &[], true),
        (&["*cam"], &[], true),
        (&["*usb-0:2:*"], &[], true),
        (&["h*c*m"], &[], true),
        (&["*"], &["a1b2"], false),
        (&[], &["046d:*"], false),
        (&["046d"], &[], false),
        (&["other"], &[], false),
        (&["*x*"], &[], false),
    ] {
        let list = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let discovery =
            super::super::model::Discovery { allow: list(allow), deny: list(deny), ..Default::default() };
        assert_eq!(discovery.takes(&words), taken, "{allow:?} {deny:?}");
    }
}
