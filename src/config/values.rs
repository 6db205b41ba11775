//! How single values are written in the file: sizes, angles, permission bits. Each parses from text
//! with a message that names what is allowed, so that the file and the environment share one rule.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::model::{FileMode, Resolution, Rotation};

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = || {
            format!(
                "{text:?} is not a resolution: write WIDTHxHEIGHT such as 1280x720, 16x16 to {0}x{0}",
                Self::MAX
            )
        };
        let (width, height) = text.trim().split_once(['x', 'X']).ok_or_else(allowed)?;
        let side = |part: &str| part.parse::<u32>().ok().filter(|n| (16..=Self::MAX).contains(n));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(allowed()),
        }
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Resolution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<u16> for Rotation {
    type Error = String;

    fn try_from(degrees: u16) -> Result<Self, Self::Error> {
        match degrees {
            0 => Ok(Rotation::None),
            90 => Ok(Rotation::Clockwise90),
            180 => Ok(Rotation::Half),
            270 => Ok(Rotation::Clockwise270),
            other => Err(format!("{other} is not a rotation: 0, 90, 180 or 270 degrees")),
        }
    }
}

impl<'de> Deserialize<'de> for Rotation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Rotation::try_from(u16::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Rotation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.degrees())
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u32::from_str_radix(text, 8) {
            // The owner reads and writes; the others may at most read.
            Ok(mode) if mode & !0o644 == 0 && mode & 0o600 == 0o600 => Ok(Self(mode)),
            _ => Err(format!("{text:?} is not a file mode: \"0600\", \"0640\" or \"0644\"")),
        }
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}
