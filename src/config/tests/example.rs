//! The example, the reference, the table of keys and the types say the same.

use std::collections::BTreeSet;

use super::super::model::{
    self, Autofocus, BambuJpeg, Camera, Http, Libcamera, LiveKit, Publish, PublishLiveKit, PublishMediamtx,
    PublishRtmp, PublishTls, PublishWhip, Resolution, Rtsp, Source, Target, TlsCheck, Transport, V4l2,
};
use super::super::transforms::{Mask, Overlay};
use super::super::value::Kind;
use super::*;
use crate::tls::Fingerprint;

fn load_uncommented(directory: &TempDir) -> Loaded {
    let names = [
        "anna.password",
        "printer.code",
        "yard.password",
        "gate-ca.pem",
        "livekit.secret",
        "turn.secret",
        "club.token",
        "studio.token",
    ];
    for name in names.into_iter().chain(["ingress.key", "hub.password"]) {
        set_mode(&write(directory, name, "secret\n"), 0o600);
    }
    set_mode(&write(directory, "jwt.secret", &"x".repeat(32)), 0o600);
    let file = write(directory, "fanlight.toml", &uncommented());
    set_mode(&file, 0o600);
    load(Some(&file), nothing).unwrap()
}

/// Every key path of a tree, cameras without their number and sources with their type:
/// `camera.source.rtsp.url`.
fn paths(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match value {
        Value::Table(table) => {
            let path_of_source = table.get("type").and_then(Value::as_str).map(below);
            for (name, value) in table {
                match &path_of_source {
                    Some(source) if name != "type" => paths(value, &format!("{source}.{name}"), found),
                    Some(source) => drop(found.entry(source.clone()).or_insert("type".into())),
                    None => paths(value, &below(name), found),
                }
            }
        }
        Value::Array(items) if ["camera", "publish", "camera.mask", "access.user"].contains(&path) => {
            items.iter().for_each(|item| paths(item, path, found))
        }
        // The first one counts: later cameras of the example show other values.
        leaf => drop(found.entry(path.into()).or_insert(leaf.clone())),
    }
}

fn paths_of(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    paths(value, "", &mut found);
    found
}

/// A configuration in which every option is filled.
fn full() -> Config {
    let resolution = Some(Resolution::default());
    let secret = || Some(Secret::new("x"));
    let text = || Some("x".to_string());
    let path = || Some(PathBuf::from("x"));
    let fingerprint = Some(Fingerprint::of(b"x"));
    let sources = [
        Source::Auto {},
        Source::Test {},
        Source::Libcamera(Libcamera {
            camera: text(),
            sensor_mode: resolution,
            exposure_time_us: Some(1),
            analogue_gain: Some(1.0),
            brightness: Some(0.0),
            contrast: Some(1.0),
            saturation: Some(1.0),
            sharpness: Some(1.0),
            autofocus: Some(Autofocus::Auto),
        }),
        Source::V4l2(V4l2 { device: "x".into(), format: Default::default() }),
        Source::Rtsp(Rtsp {
            url: "x".into(),
            username: text(),
            password: secret(),
            password_file: path(),
            transport: Transport::Tcp,
            latency_ms: 100,
            tls: TlsCheck::Any,
            tls_ca_file: path(),
            fingerprint,
        }),
        Source::Http(Http {
            url: "x".into(),
            mode: Default::default(),
            username: text(),
            password: secret(),
            password_file: path(),
        }),
        Source::BambuJpeg(BambuJpeg {
            host: "x".into(),
            port: 6000,
            access_code: secret(),
            access_code_file: path(),
            fingerprint,
        }),
        Source::File(model::File { path: "x".into() }),
    ];
    let mut config = Config::default();
    config.health.file = path();
    config.health.publisher_file = path();
    config.hls.output_dir = path();
    config.webrtc.bind = Some([127, 0, 0, 1].into());
    config.rtsp.bind = Some([127, 0, 0, 1].into());
    config.rtsp.tls_port = Some(1);
    config.rtsp.certificate = path();
    config.rtsp.key = path();
    config.printers.rtsp_url = text();
    config.storage.directory = path();
    config.management.registry_path = path();
    config.management.tls_ca_file = path();
    config.storage.database = path();
    config.printers.key_file = path();
    config.stepper = model::Stepper {
        step_pin: Some(1),
        direction_pin: Some(1),
        enable_pin: Some(1),
        home_pin: Some(1),
        phase_pins: vec![1],
        presets: vec!["x=0".into()],
        ..Default::default()
    };
    config.rpc.bind = config.webrtc.bind;
    config.rpc.port = Some(1);
    config.access.jwt_secret = secret();
    config.access.jwt_secret_file = path();
    config.access.users = vec![model::User {
        name: "x".into(),
        role: model::Role::Viewer,
        password_file: path(),
        ha1_md5: secret(),
        ha1_sha256: secret(),
        ha1: Default::default(),
    }];
    config.livekit = LiveKit {
        url: text(),
        public_url: text(),
        api_key: text(),
        api_secret: secret(),
        api_secret_file: path(),
        turn_static_secret: secret(),
        turn_static_secret_file: path(),
        ..LiveKit::default()
    };
    let targets = [
        Target::Livekit(PublishLiveKit {
            url: text(),
            api_key: text(),
            api_secret: secret(),
            api_secret_file: path(),
            token_file: path(),
            room: "x".into(),
            identity: text(),
            name: text(),
            stun_server: text(),
        }),
        Target::Whip(PublishWhip {
            url: text(),
            token: secret(),
            token_file: path(),
            room: text(),
            identity: text(),
            name: text(),
            stun_server: text(),
        }),
        Target::Rtmp(PublishRtmp {
            url: "x".into(),
            stream_key: secret(),
            stream_key_file: path(),
            room: text(),
            identity: text(),
        }),
    ];
    let targets = targets.into_iter().chain([Target::Mediamtx(PublishMediamtx {
        url: "x".into(),
        username: text(),
        password: secret(),
        password_file: path(),
        tls: PublishTls::System,
        api: text(),
        record: Some(true),
    })]);
    config.publish =
        targets.into_iter().map(|target| Publish { id: "x".into(), camera: text(), target }).collect();
    config.cameras = sources.into_iter().map(|source| Camera::new("x", source)).collect();
    config.cameras[0].name = text();
    config.cameras[0].overlay = Some(Overlay::default());
    config.cameras[0].masks =
        vec![Mask { name: text(), enabled: true, x: 0.0, y: 0.0, width: 0.5, height: 0.5 }];
    config.cameras[0].h264.bitrate_kbps = Some(1);
    config
}

/// The key paths of the table of keys, in the form of [`paths`].
fn schema_paths(keys: &[schema::Key], path: &str, found: &mut BTreeSet<String>) {
    for key in keys {
        let below = if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
        match key.kind {
            Kind::Section(keys) => schema_paths(keys, &below, found),
            Kind::Cameras => schema_paths(schema::CAMERA, &below, found),
            Kind::Masks => schema_paths(schema::MASK, &below, found),
            Kind::Users => schema_paths(schema::USER, &below, found),
            Kind::Source | Kind::Outputs => {
                let types = if matches!(key.kind, Kind::Source) { schema::SOURCES } else { schema::TARGETS };
                for (kind, keys) in types {
                    let below = format!("{below}.{kind}");
                    schema_paths(keys, &below, found);
                    found.insert(below);
                }
            }
            _ => drop(found.insert(below)),
        }
    }
}

#[test]
fn the_table_of_keys_has_exactly_the_keys_of_the_types() {
    let mut table = BTreeSet::new();
    schema_paths(schema::ROOT, "", &mut table);
    let types: BTreeSet<_> = paths_of(&Value::try_from(full()).unwrap()).into_keys().collect();
    assert_eq!(table, types);
}

#[test]
fn the_example_shows_every_key_and_loads_with_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load_uncommented(&directory);
    assert_eq!(loaded.warnings, []);
    let mut shown = Vec::new();
    show(&loaded, &mut shown).unwrap();
    let again = from_text(&String::from_utf8(shown).unwrap()).unwrap();
    assert_eq!(again.config.cameras.len(), loaded.config.cameras.len(), "what show prints loads again");
    let written: BTreeSet<_> =
        paths_of(&toml::from_str::<Value>(&uncommented()).unwrap()).into_keys().collect();
    let mut types: BTreeSet<_> = paths_of(&Value::try_from(full()).unwrap()).into_keys().collect();
    // There is one [livekit], and a secret stands there or in a file: these are shown as text.
    for name in ["livekit.api_secret", "livekit.turn_static_secret", "access.jwt_secret"] {
        assert!(types.remove(name));
        let name = name.rsplit('.').next().unwrap();
        assert!(EXAMPLE.contains(&format!("\n# {name} = ")), "{name}");
    }
    assert_eq!(written, types);
}

#[test]
fn the_example_as_it_is_sets_nothing() {
    let loaded = from_text(EXAMPLE).unwrap();
    let expected = Config { cameras: vec![Camera::new("camera0", Source::Auto {})], ..Config::default() };
    assert_eq!(loaded.config, expected);
}

#[test]
fn the_defaults_in_the_example_are_the_defaults_of_the_types() {
    let example = paths_of(&toml::from_str::<Value>(&uncommented()).unwrap());
    // What a file with only the required keys gives.
    let least = "[[camera]]\nid = 'a'\nsource = { type = 'v4l2', device = 'x' }\n\
                 [camera.overlay]\n[[camera.mask]]\nx = 0.0\ny = 0.5\nwidth = 0.25\nheight = 0.5\n\
                 [[camera]]\nid = 'b'\nsource = { type = 'rtsp', url = 'rtsp://x' }\n\
                 [[camera]]\nid = 'c'\nsource = { type = 'http', url = 'http://x' }\n\
                 [[camera]]\nid = 'd'\nsource = { type = 'bambu-jpeg', host = 'x', access_code = 'x' }\n\
                 [[publish]]\nid = 'p'\ntype = 'livekit'\nroom = 'x'\n\
                 [[publish]]\nid = 'q'\ntype = 'whip'\nurl = 'http://x'\n\
                 [[publish]]\nid = 'r'\ntype = 'rtmp'\nurl = 'rtmp://x/app'\nstream_key = 'x'\n\
                 [[publish]]\nid = 's'\ntype = 'mediamtx'\nurl = 'rtsp://x/y'\n";
    let defaults = paths_of(&Value::try_from(from_text(least).unwrap().config).unwrap());
    let required = [
        "camera.id",
        "camera.source.v4l2.device",
        "camera.source.rtsp.url",
        "camera.source.http.url",
        "camera.source.bambu-jpeg.host",
        "camera.source.bambu-jpeg.access_code",
        "publish.livekit.id",
        "publish.livekit.room",
        "publish.whip.id",
        "publish.whip.url",
        "publish.rtmp.id",
        "publish.rtmp.url",
        "publish.rtmp.stream_key",
        "publish.mediamtx.id",
        "publish.mediamtx.url",
    ];
    let mut compared = 0;
    for (key, value) in defaults.iter().filter(|(key, _)| !required.contains(&key.as_str())) {
        assert_eq!(example.get(key), Some(value), "{key}");
        compared += 1;
    }
    assert!(compared > 35, "{compared}");
}

#[test]
fn the_reference_names_every_key_and_variable() {
    let reference = include_str!("../../../docs/configuration.md");
    let mut keys = BTreeSet::new();
    schema_paths(schema::ROOT, "", &mut keys);
    for key in keys {
        let name = key.rsplit('.').next().unwrap_or_default();
        assert!(reference.contains(&format!("`{name}`")), "{key}");
    }
    for name in super::super::environment::SETTINGS.iter().map(|(name, _)| *name).chain([
        "MOCK_CAMERA",
        "CORS_ORIGINS",
        "APP_MODE",
    ]) {
        assert!(reference.contains(&format!("`{name}`")), "{name}");
        assert!(EXAMPLE.contains(name) || name == "APP_MODE", "{name}");
    }
}
