//! Bad files: each mistake has its place, its key and what is allowed; nothing makes the loader panic.

use proptest::prelude::*;

use super::super::model::Target;
use super::*;

#[test]
fn a_bad_file_names_line_key_and_what_is_allowed() {
    let rtsp = |keys: &str| format!("[[camera]]\nid = \"a\"\n[camera.source]\ntype = \"rtsp\"\n{keys}\n");
    let out =
        |id: &str, kind: &str, keys: &str| format!("[[publish]]\nid = '{id}'\ntype = '{kind}'\n{keys}\n");
    // text, line, column, key, words of the message
    let table: &[(String, usize, usize, &str, &[&str])] = &[
        (
            format!("{PORCH}resolutoin = \"1x1\""),
            4,
            1,
            "camera.0.resolutoin",
            &[
                r#"unknown key "resolutoin" in [[camera]] "porch"; did you mean "resolution"? Known keys: id, name, source"#,
            ],
        ),
        (format!("{PORCH}quality = 3"), 4, 1, "camera.0.quality", &["it belongs in [camera.jpeg]"]),
        ("port = 80".into(), 1, 1, "port", &["it belongs in [server]"]),
        ("[cameras]".into(), 1, 2, "cameras", &["did you mean \"camera\"?"]),
        (format!("{PORCH}fps = 400"), 4, 7, "camera.0.fps", &["400 is not allowed", "0 to 120", "\"porch\""]),
        (format!("{PORCH}fps = \"30\""), 4, 7, "camera.0.fps", &["without quotes"]),
        (format!("{PORCH}fps = -1"), 4, 7, "camera.0.fps", &["0 to 120"]),
        (format!("{PORCH}fps = 99999999999999999999"), 4, 7, "camera.0.fps", &["too large"]),
        (format!("{PORCH}resolution = \"5000x10\""), 4, 14, "camera.0.resolution", &["16x16 to 4096x4096"]),
        (format!("{PORCH}rotation = 45"), 4, 12, "camera.0.rotation", &["0, 90, 180 or 270"]),
        (format!("{PORCH}flip = \"horizontl\""), 4, 8, "camera.0.flip", &["did you mean \"horizontal\"?"]),
        (format!("{PORCH}mask = 3"), 4, 8, "camera.0.mask", &["[[camera.mask]] in double brackets"]),
        (
            format!("{PORCH}[[camera.mask]]\nx = 0.5\ny = 0\nwidth = 0.6\nheight = 1"),
            4,
            1,
            "camera.0.mask.0",
            &["reaches out of the picture"],
        ),
        (
            format!("{PORCH}[[camera.mask]]\nx = 2.0\ny = 0\nwidth = 0.6\nheight = 1"),
            5,
            5,
            "camera.0.mask.0.x",
            &["a number from 0 to 1"],
        ),
        (
            format!("{PORCH}[camera.overlay]\ntext = '{{nme}}'"),
            5,
            1,
            "camera.0.overlay.text",
            &["{nme} is not known"],
        ),
        (
            format!("{PORCH}jpeg.quality = 0"),
            4,
            16,
            "camera.0.jpeg.quality",
            &["1 to 100", "jpeg of [[camera]]"],
        ),
        (format!("{PORCH}jpeg = 80"), 4, 8, "camera.0.jpeg", &["write [camera.jpeg]"]),
        (
            format!("{PORCH}[camera.h264]\ngop_seconds = 0.1"),
            5,
            15,
            "camera.0.h264.gop_seconds",
            &["0.2 to 60 seconds"],
        ),
        (
            format!("{PORCH}[camera.h264]\nencoder = \"x265enc\""),
            5,
            11,
            "camera.0.h264.encoder",
            &["x264enc"],
        ),
        (format!("{PORCH}{PORCH}"), 5, 6, "camera.1.id", &["two cameras have the id \"porch\""]),
        (
            "[[camera]]\nid = \"a b\"\nsource.type = \"test\"".into(),
            2,
            6,
            "camera.0.id",
            &["letters, digits, - and _"],
        ),
        (
            "\n[[camera]]\nsource.type = \"test\"".into(),
            2,
            1,
            "camera.0.id",
            &["[[camera]] number 1 has no \"id\""],
        ),
        (
            "[[camera]]\nid = \"a\"".into(),
            1,
            1,
            "camera.0.source",
            &["has no source", "auto, test, libcamera"],
        ),
        ("[camera]\nid = \"a\"".into(), 1, 1, "camera", &["[[camera]] in double brackets"]),
        ("camera = [1]".into(), 1, 11, "camera.0", &["write [[camera]]"]),
        (
            "[[camera]]\nid = \"a\"\nsource = \"test\"".into(),
            3,
            10,
            "camera.0.source",
            &["{ type = \"test\" }"],
        ),
        (
            "[[camera]]\nid = \"a\"\nsource = { url = \"rtsp://c/\" }".into(),
            3,
            10,
            "camera.0.source.type",
            &["has no type", "source = { type = \"auto\" }", "v4l2, rtsp, http, bambu-jpeg or file"],
        ),
        (
            "[[camera]]\nid = \"a\"\nsource = { type = \"rstp\" }".into(),
            3,
            19,
            "camera.0.source.type",
            &["did you mean \"rtsp\"?"],
        ),
        (
            "[[camera]]\nid = \"a\"\nsource = { type = \"test\", url = \"x\" }".into(),
            3,
            27,
            "camera.0.source.url",
            &["It has no keys but type", "of type rtsp or http"],
        ),
        (rtsp(""), 3, 1, "camera.0.source.url", &["has no \"url\"", "rtsp://host/path or rtsps://host/path"]),
        (rtsp("url = \"http://c/\""), 5, 7, "camera.0.source.url", &["rtsp://host/path"]),
        (rtsp("url = \"rtsp:///live\""), 5, 7, "camera.0.source.url", &["no host"]),
        (
            rtsp("url = \"rtsp://c/\"\npassword = \"x\"\npassword_file = \"f\""),
            7,
            1,
            "camera.0.source.password_file",
            &["both set; keep one"],
        ),
        (
            rtsp("url = \"rtsp://u:p@c/\"\npassword = \"x\""),
            6,
            1,
            "camera.0.source.password",
            &["the url has a password in it"],
        ),
        (
            rtsp("url = \"rtsp://u:p@c/\"\nusername = \"x\""),
            6,
            1,
            "camera.0.source.username",
            &["another user"],
        ),
        (rtsp("url = \"rtsps://c/\"\ntls = \"pin\""), 6, 1, "camera.0.source.tls", &["needs fingerprint"]),
        (
            rtsp(&format!("url = \"rtsps://c/\"\nfingerprint = \"{}\"", "00".repeat(32))),
            6,
            1,
            "camera.0.source.fingerprint",
            &["tls = \"pin\""],
        ),
        (
            "[[camera]]\nid = \"a\"\nsource = { type = \"bambu-jpeg\", host = \"1.2.3.4\" }".into(),
            3,
            12,
            "camera.0.source.type",
            &["access_code", "screen"],
        ),
        (
            "[[camera]]\nid = \"a\"\nsource = { type = \"bambu-jpeg\", host = \"a:6000\", access_code = \"x\" }".into(),
            3,
            40,
            "camera.0.source.host",
            &["without port"],
        ),
        (rtsp("url = \"rtsps://c/\"\ntls = \"file\""), 6, 1, "camera.0.source.tls", &["needs tls_ca_file"]),
        (
            rtsp("url = \"rtsps://c/\"\ntls_ca_file = \"ca.pem\""),
            6,
            1,
            "camera.0.source.tls_ca_file",
            &["only used with tls = \"file\""],
        ),
        (
            rtsp("url = \"rtsp://c/\"\npassword_file = \"/nonexistent/pw\""),
            6,
            1,
            "camera.0.source.password_file",
            &["the password file /nonexistent/pw of camera \"a\" cannot be read"],
        ),
        ("[hls]\nsegments = 5".into(), 2, 12, "hls.segments", &["6 to 10"]),
        ("[hls]\npart_seconds = 0.05".into(), 2, 16, "hls.part_seconds", &["0.1 to 2"]),
        (
            "[hls]\nsegment_seconds = 1\npart_seconds = 1.5".into(),
            3,
            1,
            "hls.part_seconds",
            &["does not fit into a segment of 1 s"],
        ),
        ("[stepper]\nmin = 90".into(), 2, 1, "stepper.min", &["not below the upper one"]),
        ("[stepper]\nhome_position = 91".into(), 2, 1, "stepper.home_position", &["outside of"]),
        ("[stepper]\nmax_speed = 2000".into(), 2, 1, "stepper.max_speed", &["22756 steps a second"]),
        ("[stepper]\npresets = [\"door\"]".into(), 2, 1, "stepper.presets", &["door=-45"]),
        ("[stepper]\npresets = [\"a=1\", \"a=2\"]".into(), 2, 1, "stepper.presets", &["twice"]),
        ("[stepper]\npresets = [\"a=100\"]".into(), 2, 1, "stepper.presets", &["outside of"]),
        ("[stepper]\ndriver = \"four_phase\"".into(), 2, 1, "stepper.phase_pins", &["four lines"]),
        ("[stepper]\ndriver = \"step_dir\"\nstep_pin = 1".into(), 2, 1, "stepper.direction_pin", &["needs"]),
        ("[hls]\noutput_dir = \"\"".into(), 2, 14, "hls.output_dir", &["a path"]),
        ("[health]\nfile_mode = \"0666\"".into(), 2, 13, "health.file_mode", &["\"0600\""]),
        ("[health]\nfile_mode = 0o644".into(), 2, 13, "health.file_mode", &["\"0644\""]),
        (
            "[supervision]\nstop_timeout_seconds = 0".into(),
            2,
            24,
            "supervision.stop_timeout_seconds",
            &["0.1 to 60"],
        ),
        (
            "[supervision]\nbackoff_max_seconds = 0.5".into(),
            2,
            1,
            "supervision.backoff_first_seconds",
            &["longer than the longest"],
        ),
        (out("world", "livekit", ""), 1, 1, "publish.0.room", &["[[publish]] \"world\" has no \"room\""]),
        (
            out("world", "livekit", "rom = 'x'\nroom = 'r'"),
            4,
            1,
            "publish.0.rom",
            &["unknown key \"rom\"", "did you mean \"room\"?"],
        ),
        (
            out("world", "livekit", "room = 'r'\nstream_key = 'x'"),
            5,
            1,
            "publish.0.stream_key",
            &["it belongs in a [[publish]] of type rtmp"],
        ),
        (
            out("a", "livekti", ""),
            3,
            8,
            "publish.0.type",
            &["did you mean \"livekit\"?", "\"rtmp\" or \"mediamtx\""],
        ),
        ("[[publish]]\nid = 'a'".into(), 1, 1, "publish.0.type", &["has no type; write type = \"livekit\""]),
        (
            "[[publish]]\ntype = 'rtmp'\nurl = 'rtmp://h/a/k'".into(),
            1,
            1,
            "publish.0.id",
            &["number 1 has no"],
        ),
        ("[publish]\nid = 'a'".into(), 1, 1, "publish", &["[[publish]] in double brackets"]),
        ("publish = [1]".into(), 1, 12, "publish.0", &["write [[publish]]"]),
        (
            out("a", "rtmp", "url = 'rtmp://h/a/k'") + &out("a", "rtmp", "url = 'rtmp://h/a/l'"),
            6,
            6,
            "publish.1.id",
            &["two published outputs have the id \"a\""],
        ),
        (out("a", "rtmp", "url = 'http://h/a/k'"), 4, 7, "publish.0.url", &["rtmp://host/path or rtmps://"]),
        (out("a", "rtmp", "url = 'rtmp://u:p@h/a/k'"), 4, 7, "publish.0.url", &["take them out"]),
        (
            out("a", "rtmp", "url = 'rtmp://h/app'"),
            4,
            1,
            "publish.0.url",
            &["no stream key", "stream_key_file"],
        ),
        (
            out("a", "rtmp", "url = 'rtmp://h/app'\nstream_key = 'k'\nstream_key_file = 'f'"),
            6,
            1,
            "publish.0.stream_key_file",
            &["both set; keep one"],
        ),
        (out("a", "whip", ""), 1, 1, "publish.0.url", &["no url; write one, or a room"]),
        (
            out("a", "whip", "room = 'r'\ntoken = 'x'"),
            5,
            1,
            "publish.0.token",
            &["each attempt makes its own token"],
        ),
        (
            out("a", "whip", "url = 'http://h'\nidentity = 'x'"),
            5,
            1,
            "publish.0.identity",
            &["only used with room"],
        ),
        (
            out("a", "livekit", "room = 'r'\ntoken_file = 'f'\napi_key = 'k'"),
            5,
            1,
            "publish.0.token_file",
            &["a ready-made token and a key"],
        ),
        (out("a", "mediamtx", "url = 'rtsp://h:8554/'"), 4, 1, "publish.0.url", &["it has no path"]),
        (
            out("a", "mediamtx", "url = 'rtsp://h/p'\nrecord = true"),
            5,
            1,
            "publish.0.record",
            &["the control API; write api"],
        ),
        (
            out("a", "mediamtx", "url = 'rtsp://h/p'\nusername = 'u'"),
            5,
            1,
            "publish.0.username",
            &["username and password belong together"],
        ),
        (out("a", "livekit", "room = 'r'\napi_key = 'k'"), 5, 1, "publish.0.api_key", &["has no secret"]),
        (
            out("a", "livekit", "room = 'r'\napi_secret_file = 'f'"),
            5,
            1,
            "publish.0.api_secret_file",
            &["the secret has no key"],
        ),
        (
            out("a", "livekit", "room = 'r'\ntoken_file = 'f'\nidentity = 'x'"),
            6,
            1,
            "publish.0.identity",
            &["stands in the token"],
        ),
        (
            format!("{PORCH}{}", out("a", "livekit", "room = 'r'\ncamera = 'proch'")),
            8,
            1,
            "publish.0.camera",
            &["publishes camera \"proch\", which does not exist; cameras: porch; did you mean \"porch\"?"],
        ),
        (
            out("a", "livekit", "room = 'r'") + &out("b", "whip", "room = 'r'\nidentity = 'camera0'"),
            9,
            1,
            "publish.1.identity",
            &["\"a\" and \"b\" publish under the same identity into the same room"],
        ),
        (
            out("a", "rtmp", "url = 'rtmp://h/app/k'")
                + &out("b", "rtmp", "url = 'rtmp://h/app'\nstream_key = 'k'"),
            8,
            1,
            "publish.1.url",
            &["to the same place with the same key"],
        ),
        (
            "[livekit]\napi_secret = 'x'\napi_secret_file = 'f'".into(),
            3,
            1,
            "livekit.api_secret_file",
            &["both set; keep one"],
        ),
        (
            "[livekit]\napi_secret_file = '/nonexistent/s'".into(),
            2,
            1,
            "livekit.api_secret_file",
            &["the file /nonexistent/s with LiveKit's secret cannot be read"],
        ),
        ("[livekit]\nurl = 'sfu'".into(), 2, 7, "livekit.url", &["ws://host/path, wss://host/path"]),
        ("[livekit]\nurl = 'ws://u:p@sfu'".into(), 2, 7, "livekit.url", &["take them out"]),
        (
            "[livekit]\nrooms = 'x'".into(),
            2,
            9,
            "livekit.rooms",
            &["write square brackets around it: [\"x\"]"],
        ),
        (
            "[livekit]\nice_servers = ['http://x']".into(),
            2,
            15,
            "livekit.ice_servers",
            &["stun:stun.example"],
        ),
        (
            "[webrtc]\npublic_addresses = ['0.0.0.0']".into(),
            2,
            20,
            "webrtc.public_addresses",
            &["203.0.113.7"],
        ),
        ("[[server]]".into(), 1, 1, "server", &["write [server]"]),
        ("server = 1".into(), 1, 10, "server", &["write [server]"]),
        ("[server]\nbind = \"localhost\"".into(), 2, 8, "server.bind", &["an IP address"]),
        ("[server]\ncors_origins = \"*\"".into(), 2, 16, "server.cors_origins", &["origins"]),
        ("[server]\ncors_origins = [\"https://a/b\"]".into(), 2, 16, "server.cors_origins", &["https://a/b"]),
        ("[log]\nlevel = \"inof\"".into(), 2, 9, "log.level", &["info"]),
        ("[server\n".into(), 1, 8, "", &["this is not TOML"]),
        ("[log]\nlevel = info".into(), 2, 9, "", &["this is not TOML"]),
    ];
    for (text, line, column, key, words) in table {
        let error = from_text(text).expect_err(text);
        let [problem] = error.problems() else { panic!("one problem in {text:?}: {error}") };
        assert_eq!(problem.key, *key, "{text:?}: {error}");
        assert_eq!(problem.position, Some(Position { line: *line, column: *column }), "{text:?}: {error}");
        assert!(error.to_string().starts_with(&format!("fanlight.toml:{line}:{column}: ")), "{error}");
        for word in *words {
            assert!(problem.message.contains(word), "{word:?} in {error}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_lines() {
    let text =
        "[[camera]]\nid = \"a\"\nsource = {}\nfps = 999\n[log]\nformat = \"xml\"\n[server]\nprot = 1\n";
    let error = from_text(text).unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(|p| p.position.map(|position| position.line)).collect();
    assert_eq!(lines, [Some(3), Some(4), Some(6), Some(8)], "{error}");
    assert_eq!(error.to_string().lines().count(), 4);
}

#[test]
fn a_thousand_mistakes_are_cut_short() {
    let text: String = (0..1000).map(|n| format!("key_number_{n} = 1\n")).collect();
    let shown = from_text(&text).unwrap_err().to_string();
    assert_eq!(shown.lines().count(), 51);
    assert!(shown.ends_with("and 950 more"), "{shown}");
}

#[test]
fn a_file_of_the_largest_size_full_of_mistakes_is_told_in_bounded_time() {
    let text: String = (0..80_000).map(|n| format!("key{n} = 1\n")).collect();
    let started = std::time::Instant::now();
    assert_eq!(from_text(&text).unwrap_err().problems().len(), 80_000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn no_message_shows_a_password() {
    for source in [
        "type = \"rtsp\", url = \"rtsp://u:hunter2@/x\"",
        "type = \"rtsp\", url = \"rtsp://u:hunter2@c/x\", transport = \"x\"",
        "type = \"rtsp\", url = \"http://u:hunter2@c/x\"",
        "type = \"http\", url = \"http://c\", password = \"hunter2\\n\"",
        "type = \"http\", url = \"http://c\", password = [\"hunter2\"]",
        "type = \"http\", url = \"http://c\", password = \"hunter2\", password_file = \"/x\"",
        "type = \"http\", url = \"http://c\", pasword = \"hunter2\"",
        "type = \"http\", url = \"http://c\", password = \"hunter2",
    ] {
        let error = from_text(&format!("[[camera]]\nid = 'a'\nsource = {{ {source} }}\n")).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    for keys in [
        "type = 'rtmp'\nurl = 'rtmp://h:99999/app/hunter2'",
        "type = 'rtmp'\nurl = 'rmtp://h/app/hunter2'",
        "type = 'rtmp'\nurl = 'h/app/hunter2'",
        "type = 'rtmp'\nurl = 'rtmp://u:hunter2@h/app/x'",
        "type = 'rtmp'\nurl = 'rtmp://h/app'\nstream_key = ['hunter2']",
        "type = 'rtmp'\nurl = 'rtmp://h/app'\nstream_key = 'hunter2'\nstream_key_file = 'f'",
        "type = 'whip'\nurl = 'http://h'\ntoken = 'hunter2\\n'\nfps = 3",
        "type = 'livekit'\nroom = 'r'\napi_secret = 'hunter2'",
    ] {
        let error = from_text(&format!("[[publish]]\nid = 'a'\n{keys}\n")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let good = "[[camera]]\nid = 'a'\nsource = { type = 'rtsp', url = 'rtsp://u:hunter2@c/x' }\n\
                [livekit]\nurl = 'ws://h'\napi_key = 'k'\napi_secret = 'hunter2'\nturn_static_secret = 'hunter2'\n\
                [[publish]]\nid = 'a'\ntype = 'rtmp'\nurl = 'rtmp://h/app/hunter2'\n\
                [[publish]]\nid = 'b'\ntype = 'whip'\nurl = 'http://h/w/hunter2'\n\
                [[publish]]\nid = 'c'\ntype = 'whip'\nurl = 'http://h/w'\ntoken = 'hunter2'\n";
    let loaded = from_text(good).unwrap();
    let mut shown = Vec::new();
    show(&loaded, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("rtmp://h/app"), "{shown}");
    let Target::Rtmp(rtmp) = &loaded.config.publish[0].target else { panic!() };
    assert_eq!(
        (rtmp.url.as_str(), rtmp.stream_key.as_ref().map(Secret::expose)),
        ("rtmp://h/app", Some("hunter2"))
    );
    let debug = format!("{:?}", loaded.config).replace("http://h/w/hunter2", "");
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn a_file_that_is_not_utf8_names_the_line() {
    let error = assemble(Some(Path::new("f.toml")), b"[server]\n# \xff\n", &nothing).unwrap_err();
    assert_eq!(error.to_string(), "f.toml:2:1: this is not UTF-8 text; save the file as UTF-8");
}

#[test]
fn nesting_without_end_is_an_error_not_a_crash() {
    for text in ["a = ".to_string() + &"[".repeat(100_000), format!("[{}b]", "a.".repeat(100_000))] {
        assert!(from_text(&text).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in ".{0,200}") {
        let _ = from_text(&text);
    }

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = assemble(None, &bytes, &nothing);
    }

    #[test]
    fn no_damage_to_a_real_file_makes_the_loader_panic(
        cut in 0usize..2000, length in 0usize..60, insert in "[\\[\\]{}=\"'.,#a-z0-9\n é-]{0,12}",
    ) {
        let mut text = uncommented();
        let at = |offset: usize| {
            let mut offset = offset.min(text.len());
            while !text.is_char_boundary(offset) { offset -= 1; }
            offset
        };
        let (from, to) = (at(cut), at(cut + length));
        text.replace_range(from..to, &insert);
        let _ = from_text(&text);
    }

    #[test]
    fn no_environment_stops_the_start(values in prop::collection::vec(".{0,30}", 20)) {
        let names: Vec<_> = super::super::environment::SETTINGS.iter().map(|(name, _)| *name)
            .chain(["MOCK_CAMERA", "CORS_ORIGINS", "APP_MODE"]).collect();
        let variables: Vec<_> = names.iter().copied().zip(values.iter().map(String::as_str)).collect();
        let _ = with_environment("", &variables);
    }
}
