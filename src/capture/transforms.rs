//! What is done to raw pictures before an encoder: masks, then turning, then the overlay; as fragments when
//! an encoder is built, and as properties of its elements while it runs.
//!
//! Masks are drawn on the camera's own picture. An encoder that was built without a stage, or whose size
//! would change, has to begin anew; [`Impact`] says so before anything is done.

use gst::prelude::*;
use gstreamer as gst;

use super::choice::Native;
use super::plan::direction;
use crate::config::model::{Camera, Flip, Rotation};
use crate::config::transforms::{Overlay, Transforms};
use crate::pipelines::fragment::Setting;
use crate::pipelines::{Chain, Library, Parameters, Value, build, mask};
use crate::supervision::Failure;

/// One of the things that are done, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Mask,
    Turn,
    Overlay,
}

impl Stage {
    pub const ALL: [Stage; 3] = [Stage::Mask, Stage::Turn, Stage::Overlay];

    const fn fragment(self) -> &'static str {
        match self {
            Stage::Mask => "transforms/mask",
            Stage::Turn => "transforms/turn",
            Stage::Overlay => "transforms/overlay",
        }
    }

    /// The name of the element that does it.
    const fn element(self) -> &'static str {
        match self {
            Stage::Mask => "mask",
            Stage::Turn => "turn",
            Stage::Overlay => "overlay",
        }
    }

    /// Whether pictures are wrong without it.
    pub fn needed(self, transforms: &Transforms) -> bool {
        match self {
            Stage::Mask => transforms.hides(),
            Stage::Turn => transforms.turns(),
            Stage::Overlay => transforms.writes(),
        }
    }

    /// Whether it is built in so that it can be switched on later. The overlay costs fonts: only where one is
    /// configured.
    fn wanted(self, transforms: &Transforms) -> bool {
        self != Stage::Overlay || transforms.overlay.is_some()
    }

    /// The chain of its fragment; `None` when it is neither needed nor wanted.
    ///
    /// # Errors
    /// It is needed and the fragment does not fill.
    pub fn chain(
        self,
        library: &Library,
        transforms: &Transforms,
        of: &Named,
    ) -> Result<Option<Chain>, Failure> {
        if !self.needed(transforms) && !self.wanted(transforms) {
            return Ok(None);
        }
        match library.fill(self.fragment(), &self.parameters(transforms, of)) {
            Ok(chain) => Ok(Some(chain)),
            Err(error) if self.needed(transforms) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    fn parameters(self, transforms: &Transforms, of: &Named) -> Parameters {
        match self {
            Stage::Mask => [("rectangles", Value::Text(mask::words(&transforms.rectangles())))].into(),
            Stage::Turn => [("direction", Value::Word(turned(transforms).into()))].into(),
            Stage::Overlay => {
                let overlay = transforms.overlay.clone().unwrap_or_default();
                let (horizontal, vertical) = overlay.position.alignment();
                [
                    ("line", Value::Text(line(&overlay, of))),
                    ("font", Value::Text(font(&overlay))),
                    ("horizontal", Value::Word(horizontal.into())),
                    ("vertical", Value::Word(vertical.into())),
                    ("silent", Value::Word(silent(transforms).into())),
                ]
                .into()
            }
        }
    }

    /// What its element has to have set.
    fn settings(self, transforms: &Transforms, of: &Named) -> Vec<Setting> {
        let set = |property: &str, value: String| Setting {
            element: self.element().into(),
            property: property.into(),
            value,
            secret: false,
        };
        match self {
            Stage::Mask => vec![set("rectangles", mask::words(&transforms.rectangles()))],
            Stage::Turn => vec![set("video-direction", turned(transforms).into())],
            Stage::Overlay => {
                let overlay = transforms.overlay.clone().unwrap_or_default();
                let (horizontal, vertical) = overlay.position.alignment();
                vec![
                    set("time-format", line(&overlay, of)),
                    set("font-desc", font(&overlay)),
                    set("halignment", horizontal.into()),
                    set("valignment", vertical.into()),
                    set("silent", silent(transforms).into()),
                ]
            }
        }
    }
}

/// Whose pictures they are, for the overlay.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: String,
    pub name: String,
}

fn line(overlay: &Overlay, of: &Named) -> String {
    // Checked before it got here.
    overlay.line(&of.id, &of.name).unwrap_or_default()
}

fn font(overlay: &Overlay) -> String {
    format!("Sans {}", overlay.size)
}

fn silent(transforms: &Transforms) -> &'static str {
    if transforms.writes() { "false" } else { "true" }
}

fn turned(transforms: &Transforms) -> &'static str {
    direction(transforms.rotation, transforms.flip).unwrap_or("identity")
}

/// The stages of one encoder that was built, without keeping it alive.
#[derive(Clone, Debug)]
pub struct Built {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    stages: Vec<(Stage, gst::glib::WeakRef<gst::Bin>)>,
}

impl Built {
    pub fn new(pipeline: &gst::Pipeline, stages: &[(Stage, gst::Bin)]) -> Self {
        let stages = stages.iter().map(|(stage, bin)| (*stage, bin.downgrade())).collect();
        Self { pipeline: pipeline.downgrade(), stages }
    }

    /// Whether its pipeline still exists, with or without stages.
    pub fn lives(&self) -> bool {
        self.pipeline.upgrade().is_some()
    }

    /// Whether it can be brought to these without beginning anew.
    pub fn takes(&self, transforms: &Transforms) -> bool {
        Stage::ALL.into_iter().filter(|stage| stage.needed(transforms)).all(|stage| {
            let bin = self.stages.iter().find(|(has, _)| *has == stage).and_then(|(_, bin)| bin.upgrade());
            bin.is_some_and(|bin| bin.by_name(stage.element()).is_some())
        })
    }

    /// Sets them on its elements. Every mask that should be there is there afterwards.
    ///
    /// # Errors
    /// An element that is needed is not there or does not take it.
    pub fn set(&self, transforms: &Transforms, of: &Named) -> Result<(), Failure> {
        for stage in Stage::ALL {
            let bin = self.stages.iter().find(|(has, _)| *has == stage).and_then(|(_, bin)| bin.upgrade());
            let Some(bin) = bin else {
                if stage.needed(transforms) && self.lives() {
                    return Err(unfit(stage, "it was not built"));
                }
                continue;
            };
            for setting in stage.settings(transforms, of) {
                // An operator's fragment may turn and write in ways of its own. A mask has to be sure.
                if let Err(error) = build::set(&bin, &setting)
                    && stage == Stage::Mask
                    && stage.needed(transforms)
                {
                    return Err(unfit(stage, &error.to_string()));
                }
            }
        }
        Ok(())
    }
}

fn unfit(stage: Stage, words: &str) -> Failure {
    Failure::unsupported(format!("{}: {words}; no picture leaves", stage.fragment()))
}

/// Who said what is done to a camera's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Configuration,
    Api,
    /// Nobody knows what was set before: why. The whole picture is covered.
    Caution(String),
}

/// What is done to a camera's pictures, and who said so.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub transforms: Transforms,
    pub origin: Origin,
}

impl Told {
    pub fn configured(camera: &Camera) -> Self {
        Self { transforms: Transforms::of(camera), origin: Origin::Configuration }
    }

    pub fn by_api(transforms: Transforms) -> Self {
        Self { transforms, origin: Origin::Api }
    }

    /// Nothing is seen, because of this.
    pub fn cautious(why: impl Into<String>) -> Self {
        Self { transforms: Transforms::covered(), origin: Origin::Caution(why.into()) }
    }
}

/// What a change does to what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// From one picture to the next.
    Live,
    /// Encoders begin anew, and streams have a gap of about a second. Why.
    Restart(&'static str),
}

/// The impact of going from `old` to `new` on a camera that gives `native`. `fit`: every running encoder has
/// the stages for it.
pub fn impact(old: &Transforms, new: &Transforms, native: Option<Native>, fit: bool) -> Impact {
    let encoded = matches!(native, Some(Native::Encoded(_)));
    match native {
        None => Impact::Live,
        _ if encoded && !old.any() && new.any() => {
            Impact::Restart("the camera's own stream goes on decoded and encoded again")
        }
        _ if encoded && old.any() && !new.any() => {
            Impact::Restart("the camera's own stream is passed through again")
        }
        _ if old.sideways() != new.sideways() => Impact::Restart("width and height change places"),
        _ if !fit => Impact::Restart("the running encoders were built without it"),
        _ => Impact::Live,
    }
}

/// What is done, for logs and notes: `a privacy mask and an overlay`; `None` for nothing.
pub fn words(transforms: &Transforms) -> Option<String> {
    let masks = transforms.rectangles().len();
    let mut parts = Vec::new();
    match masks {
        0 => {}
        1 => parts.push("a privacy mask".to_owned()),
        many => parts.push(format!("{many} privacy masks")),
    }
    if transforms.rotation != Rotation::None {
        parts.push(format!("a rotation by {} degrees", transforms.rotation.degrees()));
    }
    match transforms.flip {
        Flip::None => {}
        Flip::Horizontal => parts.push("a horizontal flip".to_owned()),
        Flip::Vertical => parts.push("a vertical flip".to_owned()),
    }
    if transforms.writes() {
        parts.push("an overlay".to_owned());
    }
    let last = parts.pop()?;
    Some(if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::super::choice::Encoded;
    use super::*;
    use crate::config::transforms::Mask;

    fn masked() -> Transforms {
        let mask = Mask { name: None, enabled: true, x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
        Transforms { masks: vec![mask], ..Transforms::default() }
    }

    #[test]
    fn a_change_that_needs_a_restart_is_known_before() {
        let none = Transforms::default;
        let turned = |rotation| Transforms { rotation, ..none() };
        let both = Transforms { rotation: Rotation::Half, ..masked() };
        let raw = Some(Native::Raw);
        let h264 = Some(Native::Encoded(Encoded::H264));
        type Row = (Transforms, Transforms, Option<Native>, bool, Option<&'static str>);
        let table: [Row; 9] = [
            (none(), masked(), raw, true, None),
            (masked(), none(), raw, true, None),
            (none(), masked(), raw, false, Some("without it")),
            (none(), masked(), h264, true, Some("decoded and encoded")),
            (masked(), none(), h264, true, Some("passed through")),
            (masked(), both.clone(), h264, true, None),
            (none(), turned(Rotation::Half), raw, true, None),
            (turned(Rotation::Half), turned(Rotation::Clockwise90), raw, true, Some("change places")),
            (none(), both, None, false, None),
        ];
        for (index, (old, new, native, fit, words)) in table.into_iter().enumerate() {
            match (impact(&old, &new, native, fit), words) {
                (Impact::Live, None) => {}
                (Impact::Restart(why), Some(words)) if why.contains(words) => {}
                (got, _) => panic!("row {index}: {got:?}"),
            }
        }
    }

    #[test]
    fn an_encoder_that_was_built_without_any_stage_refuses_a_mask_for_as_long_as_it_lives() {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let built = Built::new(&pipeline, &[]);
        let of = Named { id: "porch".into(), name: "Porch".into() };
        assert!(built.lives() && built.takes(&Transforms::default()) && !built.takes(&masked()));
        assert!(built.set(&Transforms::default(), &of).is_ok());
        let error = built.set(&masked(), &of).unwrap_err().message;
        assert!(error.contains("transforms/mask") && error.contains("no picture leaves"), "{error}");
        drop(pipeline);
        assert!(!built.lives());
        assert!(built.set(&masked(), &of).is_ok(), "nothing comes out of it any more");
    }

    #[test]
    fn what_is_done_is_said_in_words() {
        assert_eq!(words(&Transforms::default()), None);
        let mut all = Transforms { rotation: Rotation::Clockwise90, ..masked() };
        assert_eq!(words(&all).as_deref(), Some("a privacy mask and a rotation by 90 degrees"));
        all.overlay = Some(Overlay::default());
        all.masks.push(all.masks[0].clone());
        assert_eq!(words(&all).as_deref(), Some("2 privacy masks, a rotation by 90 degrees and an overlay"));
    }
}
