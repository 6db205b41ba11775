//! The environment over the file. A bad value here never stops the start: it falls back to the
//! default, with a warning that says so. Pure: the variables are handed in.

use toml::{Table, Value};

use super::error::{ConfigError, Warning};
use super::origins::{Origin, Origins};
use super::value::{Kind, flag, shortened};
use super::{build, rules, schema, urls};

/// Name of a variable and the key that it sets. Keys of a camera mean the first one.
pub static SETTINGS: &[(&str, &str)] = &[
    ("RESOLUTION", "camera.0.resolution"),
    ("FPS", "camera.0.fps"),
    ("JPEG_QUALITY", "camera.0.jpeg.quality"),
    ("MAX_FRAME_AGE_SECONDS", "health.max_frame_age_seconds"),
    ("HEALTH_FILE", "health.file"),
    ("HLS_LOW_LATENCY", "hls.low_latency"),
    ("HLS_PART_DURATION_SECS", "hls.part_seconds"),
    ("HLS_OUTPUT_DIR", "hls.output_dir"),
    // The second wins.
    ("DB_PATH", "storage.database"),
    ("DATABASE_URL", "storage.database"),
    ("LOG_FORMAT", "log.format"),
    ("LOG_LEVEL", "log.level"),
    ("FANLIGHT_BIND", "server.bind"),
    ("FANLIGHT_PORT", "server.port"),
    ("FANLIGHT_RTSP_PORT", "rtsp.port"),
    ("NODE_REGISTRY_PATH", "management.registry_path"),
    ("FANLIGHT_JWT_SECRET", "access.jwt_secret"),
    ("PRINTER_RTSP_URL", "printers.rtsp_url"),
    ("LIVEKIT_HOST", "livekit.url"),
    ("LIVEKIT_API_KEY", "livekit.api_key"),
    ("LIVEKIT_API_SECRET", "livekit.api_secret"),
    ("LIVEKIT_ICE_SERVERS", "livekit.ice_servers"),
    ("TURN_STATIC_SECRET", "livekit.turn_static_secret"),
];

/// The keys that name a file with a value; a variable with the value itself wins over the file.
const FILES: &[(&str, &str)] = &[
    ("access.jwt_secret", "access.jwt_secret_file"),
    ("livekit.api_secret", "livekit.api_secret_file"),
    ("livekit.turn_static_secret", "livekit.turn_static_secret_file"),
];

const JWT_SECRET: &str = "access.jwt_secret";

/// The variables with a meaning of their own.
const MOCK_CAMERA: &str = "MOCK_CAMERA";
const CORS_ORIGINS: &str = "CORS_ORIGINS";
const APP_MODE: &str = "APP_MODE";

/// Puts the environment over the tree. Expects at least one camera in it.
pub(super) fn apply(
    tree: &mut Table,
    origins: &mut Origins,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Warning>, ConfigError> {
    let read = |name: &str| {
        environment(name).map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
    };
    let mut warnings = Vec::new();
    for (name, key) in SETTINGS {
        let Some(text) = read(name) else { continue };
        let Some(kind) = schema::kind_at(key) else { continue };
        let mut refused = kind.parse(&text).map_or_else(Some, |value| {
            set(tree, key, Some(value));
            None
        });
        if refused.is_none() {
            // A value may be fine by itself and still not fit to the others.
            refused = rules::broken(&build(tree)?).into_iter().next().map(|finding| finding.message);
        }
        origins.clear(key);
        if let Some((_, file)) = FILES.iter().find(|(value, _)| value == key) {
            set(tree, file, None);
            origins.clear(file);
        }
        match refused {
            None => origins.set(key, Origin::Environment(name)),
            Some(message) => {
                set(tree, key, None);
                if *key == JWT_SECRET {
                    // Nothing opens because of a slip.
                    set(tree, "access.required", Some(true.into()));
                }
                let default = default_of(tree, key)?;
                warnings.push(Warning::new(*name, format!("{message}; using the default, {default}")));
            }
        }
    }
    mock_camera(tree, origins, read(MOCK_CAMERA), &mut warnings);
    cors_origins(tree, origins, read(CORS_ORIGINS), &mut warnings);
    app_mode(tree, origins, read(APP_MODE), &mut warnings);
    Ok(warnings)
}

fn mock_camera(tree: &mut Table, origins: &mut Origins, text: Option<String>, warnings: &mut Vec<Warning>) {
    let Some(text) = text else { return };
    match flag(&text) {
        Some(true) => {
            let source = Table::from_iter([("type".to_string(), Value::from("test"))]);
            set(tree, "camera.0.source", Some(source.into()));
            origins.clear("camera.0.source");
            origins.set("camera.0.source.type", Origin::Environment(MOCK_CAMERA));
        }
        Some(false) => {}
        None => warnings.push(Warning::new(
            MOCK_CAMERA,
            format!(
                "{} is not allowed; write {}; using the default, false",
                shortened(&text),
                Kind::Flag.allowed()
            ),
        )),
    }
}

/// Bad origins are left out one by one. The default (`*`) would open what somebody meant to close, so
/// with none left no other site may read.
fn cors_origins(tree: &mut Table, origins: &mut Origins, text: Option<String>, warnings: &mut Vec<Warning>) {
    let Some(text) = text else { return };
    let (good, bad): (Vec<_>, Vec<_>) = text
        .split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .partition(|origin| urls::is_origin(origin));
    for origin in bad {
        let used = if good.is_empty() { "no other site may read" } else { "the others are used" };
        warnings.push(Warning::new(
            CORS_ORIGINS,
            format!("{} is not allowed; write {}; {used}", shortened(origin), Kind::Origins.allowed()),
        ));
    }
    let good: Vec<Value> = good.into_iter().map(Value::from).collect();
    set(tree, "server.cors_origins", Some(good.into()));
    origins.set("server.cors_origins", Origin::Environment(CORS_ORIGINS));
}

fn app_mode(tree: &mut Table, origins: &mut Origins, text: Option<String>, warnings: &mut Vec<Warning>) {
    let enabled = match text.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => return,
        Some("webcam") => false,
        Some("management") => true,
        Some(other) => {
            let message = format!(
                "{} is not allowed; write webcam or management; using the default, webcam",
                shortened(other)
            );
            return warnings.push(Warning::new(APP_MODE, message));
        }
    };
    set(tree, "management.enabled", Some(enabled.into()));
    origins.set("management.enabled", Origin::Environment(APP_MODE));
}

/// Sets or removes the value at a key path; tables on the way are made.
fn set(tree: &mut Table, path: &str, value: Option<Value>) {
    let (way, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = tree;
    let mut steps = way.split('.').filter(|step| !step.is_empty()).peekable();
    while let Some(step) = steps.next() {
        let entry = table.entry(step).or_insert_with(|| Table::new().into());
        let index = steps.peek().and_then(|index| index.parse::<usize>().ok());
        let next = match (entry, index) {
            (Value::Array(items), Some(index)) => {
                steps.next();
                items.get_mut(index)
            }
            (other, _) => Some(other),
        };
        let Some(Value::Table(next)) = next else { return };
        table = next;
    }
    match value {
        Some(value) => {
            table.insert(name.into(), value);
        }
        None => {
            table.remove(name);
        }
    }
}

/// What a key is when nobody sets it, in words; the tree must not hold the key any more.
fn default_of(tree: &Table, path: &str) -> Result<String, ConfigError> {
    let config = Value::try_from(build(tree)?).map_err(|error| ConfigError::Internal(error.to_string()))?;
    let mut value = Some(&config);
    for step in path.split('.') {
        value = match value {
            Some(Value::Array(items)) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Some(other) => other.get(step),
            None => None,
        };
    }
    Ok(match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "not set".into(),
    })
}
