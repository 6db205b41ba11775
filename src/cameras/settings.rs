//! What was changed about a discovered camera by API: kept over the defaults of `[discovery]`. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::model::{Camera, Idle, Resolution};

/// Pictures per second at most, as in the configuration.
const MOST_FPS: u32 = 120;
/// A name is for people.
const LONGEST_NAME: usize = 100;

/// Only what was changed; the rest are defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = CameraSettings)]
pub struct Settings {
    /// For people; default: what the device calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `1280x720`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub resolution: Option<Resolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// `open` or `close`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub idle: Option<Idle>,
}

impl Settings {
    /// These with `change` over them, a merge patch (RFC 7396): `null` goes back to the default.
    ///
    /// # Errors
    /// In words: what is not possible.
    pub fn merged(&self, change: &Map<String, Value>) -> Result<Self, String> {
        let Ok(Value::Object(mut whole)) = serde_json::to_value(self) else { return Ok(self.clone()) };
        for (key, value) in change {
            // Null of an unknown key is as wrong as any other value of it.
            whole.insert(key.clone(), value.clone());
        }
        let merged = Self::deserialize(Value::Object(whole)).map_err(|error| error.to_string())?;
        match &merged {
            Self { fps: Some(fps), .. } if *fps > MOST_FPS => {
                Err(format!("fps={fps} is not 0 to {MOST_FPS}"))
            }
            Self { name: Some(name), .. }
                if name.trim().is_empty() || name.chars().count() > LONGEST_NAME =>
            {
                Err(format!("a name has 1 to {LONGEST_NAME} characters"))
            }
            _ => Ok(merged),
        }
    }

    /// As it is kept.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// From what was kept; what an older version kept and this one does not know is nothing.
    pub fn of_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn apply(&self, camera: &mut Camera) {
        let Self { name, resolution, fps, idle } = self;
        if name.is_some() {
            camera.name.clone_from(name);
        }
        camera.resolution = resolution.unwrap_or(camera.resolution);
        camera.fps = fps.unwrap_or(camera.fps);
        camera.idle = idle.unwrap_or(camera.idle);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_goes_over_what_was_changed_before_and_null_back_to_the_default() {
        let mut settings = Settings::default();
        // A change, what is kept then; None: refused, and nothing changes.
        let table = [
            (json!({ "name": "Desk", "fps": 15 }), Some(json!({ "name": "Desk", "fps": 15 }))),
            (
                json!({ "resolution": "1280x720" }),
                Some(json!({ "name": "Desk", "resolution": "1280x720", "fps": 15 })),
            ),
            (
                json!({ "fps": null, "idle": "open" }),
                Some(json!({ "name": "Desk", "resolution": "1280x720", "idle": "open" })),
            ),
            (json!({ "fps": 121 }), None),
            (json!({ "name": " " }), None),
            (json!({ "resolution": "1x1" }), None),
            (json!({ "source": null }), None),
            (json!({ "idle": "maybe" }), None),
        ];
        for (change, expected) in table {
            let merged = settings.merged(change.as_object().unwrap());
            match expected {
                Some(expected) => {
                    settings = merged.unwrap();
                    assert_eq!(serde_json::to_value(&settings).unwrap(), expected, "{change}");
                    assert_eq!(Settings::of_text(&settings.text()), settings);
                }
                None => drop(merged.unwrap_err()),
            }
        }
        assert_eq!(Settings::of_text("{\"older\": 1}"), Settings::default());
    }
}
