//! The environment: each name, its fall-back, its place over the file.

use std::collections::BTreeSet;

use super::super::model::{LogFormat, Resolution, Source};
use super::*;

/// A LiveKit that has everything, so that one variable alone is nothing to warn about.
const LIVEKIT: &str =
    "[livekit]\nurl = 'ws://sfu'\napi_key = 'k'\napi_secret = 's'\nturn_static_secret = 't'\n";

const JWT: &str = "FANLIGHT_JWT_SECRET";

#[test]
fn each_variable_sets_its_key() {
    type Check = fn(&Config) -> bool;
    let table: &[(&str, &str, &str, Check)] = &[
        ("RESOLUTION", " 1920x1080 ", "camera.0.resolution", |c| {
            c.cameras[0].resolution == Resolution { width: 1920, height: 1080 }
        }),
        ("RESOLUTION", "4096x4096", "camera.0.resolution", |c| c.cameras[0].resolution.width == 4096),
        ("FPS", "120", "camera.0.fps", |c| c.cameras[0].fps == 120),
        ("FPS", "0", "camera.0.fps", |c| c.cameras[0].fps == 0),
        ("JPEG_QUALITY", "1", "camera.0.jpeg.quality", |c| c.cameras[0].jpeg.quality == 1),
        ("MAX_FRAME_AGE_SECONDS", "2.5", "health.max_frame_age_seconds", |c| {
            c.health.max_frame_age_seconds == 2.5
        }),
        ("MAX_FRAME_AGE_SECONDS", "3", "health.max_frame_age_seconds", |c| {
            c.health.max_frame_age_seconds == 3.0
        }),
        ("HEALTH_FILE", "/tmp/h.json", "health.file", |c| c.health.file == Some("/tmp/h.json".into())),
        ("HLS_LOW_LATENCY", "OFF", "hls.low_latency", |c| !c.hls.low_latency),
        ("HLS_PART_DURATION_SECS", "0.5", "hls.part_seconds", |c| c.hls.part_seconds == 0.5),
        ("HLS_OUTPUT_DIR", "data/hls", "hls.output_dir", |c| c.hls.output_dir == Some("data/hls".into())),
        ("DB_PATH", "data/printers.db", "storage.database", |c| {
            c.storage.database == Some("data/printers.db".into())
        }),
        ("DATABASE_URL", "sqlite:///data/printers.db", "storage.database", |c| {
            c.storage.database == Some("/data/printers.db".into())
        }),
        ("LOG_FORMAT", "JSON", "log.format", |c| c.log.format == LogFormat::Json),
        ("LOG_LEVEL", "debug", "log.level", |c| c.log.level == "debug"),
        ("FANLIGHT_BIND", "0.0.0.0", "server.bind", |c| c.server.bind.is_unspecified()),
        ("FANLIGHT_PORT", "9090", "server.port", |c| c.server.port == 9090),
        ("FANLIGHT_RTSP_PORT", "9091", "rtsp.port", |c| c.rtsp.port == 9091),
        ("NODE_REGISTRY_PATH", "/data/n.json", "management.registry_path", |c| {
            c.management.registry_path == Some("/data/n.json".into())
        }),
        ("APP_MODE", "Management", "management.enabled", |c| c.management.enabled),
        ("CORS_ORIGINS", "https://a, http://b:3000", "server.cors_origins", |c| {
            c.server.cors_origins == ["https://a", "http://b:3000"]
        }),
        ("PRINTER_RTSP_URL", "rtsps://{host}:322/live", "printers.rtsp_url", |c| {
            c.printers.rtsp_url.as_deref() == Some("rtsps://{host}:322/live")
        }),
        ("LIVEKIT_HOST", "https://livekit.example.org", "livekit.url", |c| {
            c.livekit.url.as_deref() == Some("https://livekit.example.org")
        }),
        ("LIVEKIT_API_KEY", "key", "livekit.api_key", |c| c.livekit.api_key.as_deref() == Some("key")),
        ("LIVEKIT_API_SECRET", "hush", "livekit.api_secret", |c| {
            c.livekit.api_secret == Some(Secret::new("hush"))
        }),
        ("LIVEKIT_ICE_SERVERS", "stun:a:1, turns:b:5349?transport=tcp", "livekit.ice_servers", |c| {
            c.livekit.ice_servers == ["stun:a:1", "turns:b:5349?transport=tcp"]
        }),
        ("TURN_STATIC_SECRET", "hush", "livekit.turn_static_secret", |c| {
            c.livekit.turn_static_secret == Some(Secret::new("hush"))
        }),
        ("FANLIGHT_JWT_SECRET", "0123456789abcdef0123456789abcdef", "access.jwt_secret", |c| {
            c.access.jwt_secret == Some(Secret::new("0123456789abcdef0123456789abcdef"))
        }),
        ("MOCK_CAMERA", "Yes", "camera.0.source.type", |c| c.cameras[0].source == Source::Test {}),
    ];
    let names: BTreeSet<_> = table.iter().map(|row| row.0).collect();
    for (name, _) in super::super::environment::SETTINGS {
        assert!(names.contains(name), "{name} is tested");
    }
    for (name, value, key, check) in table {
        let loaded = with_environment(LIVEKIT, &[(name, value)]);
        assert!(check(&loaded.config), "{name}={value}");
        assert_eq!(loaded.warnings, [], "{name}={value}");
        assert_eq!(*loaded.origins.of(key), Origin::Environment(name));
    }
}

#[test]
fn a_bad_variable_falls_back_to_the_default_and_warns() {
    // name, value, what the warning says
    let table = [
        ("RESOLUTION", "banana", "using the default, 640x480"),
        ("RESOLUTION", "4097x480", "using the default, 640x480"),
        ("RESOLUTION", "0x0", "using the default, 640x480"),
        ("FPS", "121", "using the default, 0"),
        ("FPS", "-1", "using the default, 0"),
        ("FPS", "fast", "a whole number from 0 to 120; using the default, 0"),
        ("JPEG_QUALITY", "0", "using the default, 100"),
        ("JPEG_QUALITY", "101", "using the default, 100"),
        ("MAX_FRAME_AGE_SECONDS", "0", "using the default, 10.0"),
        ("MAX_FRAME_AGE_SECONDS", "NaN", "using the default, 10.0"),
        ("HEALTH_FILE", "a\nb", "using the default, not set"),
        ("HLS_LOW_LATENCY", "maybe", "write true or false; using the default, true"),
        ("HLS_PART_DURATION_SECS", "5", "using the default, 0.333"),
        ("HLS_PART_DURATION_SECS", "2", "does not fit into a segment of 2 s"),
        ("HLS_OUTPUT_DIR", "a\u{7}b", "using the default, not set"),
        ("DB_PATH", "a\u{7}b", "using the default, not set"),
        ("DATABASE_URL", "postgres://db/x", "using the default, not set"),
        ("LOG_FORMAT", "xml", "write text or json; using the default, text"),
        ("LOG_LEVEL", "inof", "using the default, info"),
        ("FANLIGHT_BIND", "localhost", "using the default, 127.0.0.1"),
        ("FANLIGHT_PORT", "65536", "using the default, 8080"),
        ("FANLIGHT_RTSP_PORT", "rtsp", "using the default, 8554"),
        ("PRINTER_RTSP_URL", "http://{host}/", "using the default, not set"),
        (
            "LIVEKIT_HOST",
            "sfu:7880",
            "ws://host/path, wss://host/path, http://host/path or https://host/path; using the default, not set",
        ),
        ("LIVEKIT_HOST", "ws://user:pass@sfu", "using the default, not set"),
        ("LIVEKIT_API_KEY", "a\nb", "using the default, not set"),
        ("LIVEKIT_API_SECRET", "hush\nhush", "this is not allowed"),
        ("LIVEKIT_ICE_SERVERS", "stun:a, b", "URLs such as stun:stun.example.org:3478"),
        ("TURN_STATIC_SECRET", "hush\nhush", "this is not allowed"),
        ("MOCK_CAMERA", "perhaps", "using the default, false"),
        ("APP_MODE", "server", "using the default, webcam"),
        ("NODE_REGISTRY_PATH", "a\0b", "write a path in quotes; using the default, not set"),
    ];
    let plain = with_environment("", &[]).config;
    let names: BTreeSet<_> = table.iter().map(|row| row.0).collect();
    for (name, _) in super::super::environment::SETTINGS.iter().filter(|(name, _)| *name != JWT) {
        assert!(names.contains(name), "{name} is tested");
    }
    for (name, value, words) in table {
        let loaded = with_environment("", &[(name, value)]);
        assert_eq!(loaded.config, plain, "{name}={value}");
        let [warning] = &loaded.warnings[..] else { panic!("{name}={value}: {:?}", loaded.warnings) };
        let text = warning.to_string();
        assert!(text.starts_with(&format!("{name}: ")) && text.contains(words), "{text}");
    }
}

#[test]
fn a_bad_jwt_secret_opens_nothing() {
    for value in ["hush\nhush", "too short"] {
        let loaded = with_environment("", &[(JWT, value)]);
        let access = &loaded.config.access;
        assert!(access.configured() && access.jwt_secret.is_none(), "{access:?}");
        let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert!(warning.to_string().starts_with(JWT) && !warning.to_string().contains(value), "{warning}");
    }
    let error = from_text("[access]\njwt_secret = 'too short'\n").unwrap_err().to_string();
    assert!(error.contains("32 bytes") && error.contains("openssl"), "{error}");
}

#[test]
fn a_secret_of_the_environment_wins_over_the_file_with_one() {
    let text = "[livekit]\nurl = 'ws://sfu'\napi_key = 'k'\napi_secret_file = '/nonexistent/a'\n\
                turn_static_secret_file = '/nonexistent/b'\n";
    let loaded = with_environment(text, &[("LIVEKIT_API_SECRET", "one"), ("TURN_STATIC_SECRET", "two")]);
    let livekit = &loaded.config.livekit;
    assert_eq!(livekit.api_secret.as_ref().map(Secret::expose), Some("one"));
    assert_eq!(livekit.turn_static_secret.as_ref().map(Secret::expose), Some("two"));
    assert_eq!((&livekit.api_secret_file, &livekit.turn_static_secret_file), (&None, &None));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_bad_variable_never_stops_the_outputs_that_need_it() {
    let text = "[[publish]]\nid = 'world'\ntype = 'livekit'\nroom = 'r'\n";
    let loaded = with_environment(text, &[("LIVEKIT_HOST", "sfu")]);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|text| text.starts_with("publish.0.url: ") && text.contains("LIVEKIT_HOST")));
    assert!(warnings.iter().any(|text| text.contains("LIVEKIT_API_KEY")), "{warnings:?}");
    let good = [("LIVEKIT_HOST", "http://sfu"), ("LIVEKIT_API_KEY", "k"), ("LIVEKIT_API_SECRET", "s")];
    assert_eq!(with_environment(text, &good).warnings, []);
}

#[test]
fn an_empty_variable_is_not_set() {
    for (name, _) in super::super::environment::SETTINGS.iter().chain(&[
        ("MOCK_CAMERA", ""),
        ("CORS_ORIGINS", ""),
        ("APP_MODE", ""),
    ]) {
        let loaded = with_environment("[server]\nport = 5\n", &[(name, " \t")]);
        assert_eq!((loaded.config.server.port, loaded.warnings), (5, vec![]), "{name}");
    }
}

#[test]
fn a_bad_origin_never_opens_what_somebody_meant_to_close() {
    let loaded = with_environment("", &[("CORS_ORIGINS", "https://a, dash.example.org")]);
    assert_eq!(loaded.config.server.cors_origins, ["https://a"]);
    assert_eq!(loaded.warnings.len(), 1);
    let loaded = with_environment("", &[("CORS_ORIGINS", "dash.example.org")]);
    assert!(loaded.config.server.cors_origins.is_empty());
    assert!(loaded.warnings[0].to_string().contains("no other site may read"));
}

#[test]
fn the_environment_wins_over_the_file_and_means_the_first_camera() {
    let text = "[server]\nport = 1\n[[camera]]\nid = 'a'\nfps = 5\nsource.type = 'libcamera'\nsource.camera = '0'\n\
                [[camera]]\nid = 'b'\nfps = 6\nsource.type = 'auto'\n";
    let loaded = with_environment(text, &[("FANLIGHT_PORT", "2"), ("FPS", "7"), ("MOCK_CAMERA", "1")]);
    assert_eq!(loaded.config.server.port, 2);
    let cameras: Vec<_> =
        loaded.config.cameras.iter().map(|camera| (camera.fps, camera.source.kind())).collect();
    assert_eq!(cameras, [(7, "test"), (6, "auto")]);
    // A bad one gives the default, not what the file says.
    let fallen_back = with_environment(text, &[("FPS", "lots")]);
    assert_eq!(fallen_back.config.cameras[0].fps, 0);
    assert_eq!(*fallen_back.origins.of("camera.0.fps"), Origin::Default);
    // And MOCK_CAMERA=false leaves the source alone.
    assert_eq!(
        with_environment(text, &[("MOCK_CAMERA", "false")]).config.cameras[0].source.kind(),
        "libcamera"
    );
}
