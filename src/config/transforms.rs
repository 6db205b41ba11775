//! What is done to a camera's pictures before anybody gets them: privacy masks, rotation and flip, an overlay.
//!
//! The same types are read from the file (`rotation`, `flip`, `[camera.overlay]`, `[[camera.mask]]`) and over
//! HTTP; [`Transforms::check`] holds the rules of both.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Camera, Flip, Rotation};

/// More masks than this are one large one.
pub const MOST_MASKS: usize = 32;
/// The overlay's element has room for a line of this many bytes.
const MOST_LINE: usize = 200;

/// What is done to one camera's pictures, all of it.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transforms {
    /// Degrees clockwise: 0, 90, 180 or 270.
    #[schema(value_type = u16)]
    pub rotation: Rotation,
    /// After the rotation: `none`, `horizontal` or `vertical`.
    #[schema(value_type = String)]
    pub flip: Flip,
    pub overlay: Option<Overlay>,
    /// On the camera's own picture, before it is turned: turning it uncovers nothing.
    pub masks: Vec<Mask>,
}

/// A line of text in the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Overlay {
    pub enabled: bool,
    /// With `{name}`, `{id}` and `{time}` in it.
    pub text: String,
    /// `{time}` as strftime writes it.
    pub time_format: String,
    /// `top-left`, `top`, `top-right`, `bottom-left`, `bottom` or `bottom-right`.
    pub position: Position,
    /// Of the letters, in points of a picture 640 wide; they grow with the picture.
    pub size: u32,
}

impl Default for Overlay {
    fn default() -> Self {
        Self {
            enabled: true,
            text: "{name}  {time}".into(),
            time_format: "%Y-%m-%d %H:%M:%S".into(),
            position: Position::TopLeft,
            size: 14,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    #[default]
    TopLeft,
    Top,
    TopRight,
    BottomLeft,
    Bottom,
    BottomRight,
}

impl Position {
    /// Horizontal and vertical alignment, as the element calls them.
    pub const fn alignment(self) -> (&'static str, &'static str) {
        match self {
            Position::TopLeft => ("left", "top"),
            Position::Top => ("center", "top"),
            Position::TopRight => ("right", "top"),
            Position::BottomLeft => ("left", "bottom"),
            Position::Bottom => ("center", "bottom"),
            Position::BottomRight => ("right", "bottom"),
        }
    }
}

/// A rectangle that is black: shares of the picture's width and height, from its left and top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default = "yes")]
    pub enabled: bool,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

fn yes() -> bool {
    true
}

impl Transforms {
    /// What a camera is configured with.
    pub fn of(camera: &Camera) -> Self {
        Self {
            rotation: camera.rotation,
            flip: camera.flip,
            overlay: camera.overlay.clone(),
            masks: camera.masks.clone(),
        }
    }

    /// One mask over everything.
    pub fn covered() -> Self {
        let name = Some("everything".to_owned());
        let mask = Mask { name, enabled: true, x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        Self { masks: vec![mask], ..Self::default() }
    }

    /// Whether pictures are turned or mirrored.
    pub fn turns(&self) -> bool {
        self.rotation != Rotation::None || self.flip != Flip::None
    }

    /// Whether width and height change places.
    pub fn sideways(&self) -> bool {
        matches!(self.rotation, Rotation::Clockwise90 | Rotation::Clockwise270)
    }

    /// Whether something is written into pictures.
    pub fn writes(&self) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.enabled)
    }

    /// Whether something is hidden.
    pub fn hides(&self) -> bool {
        self.masks.iter().any(|mask| mask.enabled)
    }

    /// Whether pictures are changed at all: an encoded source is then decoded and encoded again.
    pub fn any(&self) -> bool {
        self.turns() || self.writes() || self.hides()
    }

    /// The rectangles that are black now.
    pub fn rectangles(&self) -> Vec<[f64; 4]> {
        let enabled = self.masks.iter().filter(|mask| mask.enabled);
        enabled.map(|mask| [mask.x, mask.y, mask.width, mask.height]).collect()
    }

    /// What is wrong with it, each with its key (`mask.0.width`).
    pub fn check(&self, id: &str, name: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.masks.len() > MOST_MASKS {
            found.push((
                "mask".into(),
                format!("there are more than {MOST_MASKS} masks; make some of them one"),
            ));
        }
        for (index, mask) in self.masks.iter().enumerate() {
            if let Some(words) = mask.wrong() {
                found.push((format!("mask.{index}"), words));
            }
        }
        if let Some(overlay) = &self.overlay {
            if let Err(words) = overlay.line(id, name) {
                found.push(("overlay.text".into(), words));
            }
            if !(4..=200).contains(&overlay.size) {
                found.push(("overlay.size".into(), "a size is from 4 to 200".into()));
            }
        }
        found
    }
}

impl Mask {
    fn wrong(&self) -> Option<String> {
        let share = |side: f64| (0.0..=1.0).contains(&side);
        let sides = [self.x, self.y, self.width, self.height];
        if !sides.into_iter().all(share) {
            return Some("x, y, width and height are shares of the picture, from 0 to 1".into());
        }
        if self.width == 0.0 || self.height == 0.0 {
            return Some("a mask without width or height hides nothing".into());
        }
        // Written by people: a third and two thirds may come to a little more than one.
        let over = |start: f64, side: f64| start + side > 1.001;
        (over(self.x, self.width) || over(self.y, self.height))
            .then(|| "the mask reaches out of the picture: x + width and y + height are at most 1".to_owned())
    }
}

impl Overlay {
    /// The line as a strftime format, for an element that reads Pango markup.
    ///
    /// # Errors
    /// In words: an unknown `{…}`, or too long.
    pub fn line(&self, id: &str, name: &str) -> Result<String, String> {
        let mut line = String::new();
        let mut rest = self.text.as_str();
        let literal = |text: &str| {
            let marked = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            marked.replace('%', "%%").replace(char::is_control, " ")
        };
        let mark = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        while let Some(open) = rest.find('{') {
            line.push_str(&literal(&rest[..open]));
            let inside =
                rest[open..].find('}').map(|close| (&rest[open + 1..open + close], open + close + 1));
            let Some((word, after)) = inside else { return Err("there is a { without its }".into()) };
            match word {
                "name" => line.push_str(&literal(name)),
                "id" => line.push_str(&literal(id)),
                "time" => line.push_str(&mark(&self.time_format).replace(char::is_control, " ")),
                other => {
                    return Err(format!("{{{other}}} is not known; there are {{name}}, {{id}} and {{time}}"));
                }
            }
            rest = &rest[after..];
        }
        line.push_str(&literal(rest));
        if line.len() > MOST_LINE {
            return Err(format!("the line is longer than {MOST_LINE} bytes"));
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(x: f64, y: f64, width: f64, height: f64) -> Mask {
        Mask { name: None, enabled: true, x, y, width, height }
    }

    #[test]
    fn a_line_is_a_time_format_in_which_text_stays_text() {
        let overlay =
            |text: &str| Overlay { text: text.into(), time_format: "%H:%M".into(), ..Overlay::default() };
        for (text, line) in [
            ("{name} {time}", "A &amp; B 100%% %H:%M"),
            ("{id}: <b>", "porch: &lt;b&gt;"),
            ("no time\n%Y", "no time %%Y"),
        ] {
            assert_eq!(overlay(text).line("porch", "A & B 100%").as_deref(), Ok(line), "{text}");
        }
        for (text, words) in
            [("{nme}", "{nme} is not known"), ("{time", "without its }"), (&"x".repeat(300), "longer")]
        {
            let error = overlay(text).line("porch", "Porch").unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn masks_are_shares_within_the_picture() {
        for (mask, ok) in [
            (mask(0.0, 0.0, 1.0, 1.0), true),
            (mask(0.3334, 0.0, 0.6667, 1.0), true),
            (mask(0.5, 0.0, 0.6, 1.0), false),
            (mask(0.5, 0.0, 0.0, 1.0), false),
            (mask(-0.1, 0.0, 0.5, 1.0), false),
            (mask(f64::NAN, 0.0, 0.5, 1.0), false),
        ] {
            let transforms = Transforms { masks: vec![mask.clone()], ..Transforms::default() };
            assert_eq!(transforms.check("a", "a").is_empty(), ok, "{mask:?}");
        }
    }

    #[test]
    fn what_is_switched_off_changes_nothing() {
        let mut transforms = Transforms {
            overlay: Some(Overlay { enabled: false, ..Overlay::default() }),
            masks: vec![Mask { enabled: false, ..mask(0.0, 0.0, 1.0, 1.0) }],
            ..Transforms::default()
        };
        assert!(!transforms.any() && transforms.rectangles().is_empty());
        transforms.masks[0].enabled = true;
        assert!(transforms.any() && transforms.rectangles() == [[0.0, 0.0, 1.0, 1.0]]);
    }
}
