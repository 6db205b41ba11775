//! What is done to cameras' pictures by API (masks, rotation, flip, overlay): kept by the camera's id over what
//! the configuration says, until it is reset, and known before a camera is opened.
//!
//! When what was kept cannot be read, nobody knows what was hidden: the whole picture is covered until somebody
//! says anew what is to be done to it.

use std::collections::BTreeMap;

use super::Cameras;
use crate::capture::{Capture, Impact, Told};
use crate::config::model::Camera;
use crate::config::transforms::Transforms;
use crate::storage::{Database, StorageError};

/// What earlier runs left.
#[derive(Clone, Debug)]
pub enum Memory {
    Database(Database),
    /// Nothing: there is no place for a database, and none was found.
    Nothing,
    /// There is something, and it cannot be read: why.
    Unreadable(String),
}

/// What somebody wants done to a camera's pictures.
#[derive(Clone, Debug, PartialEq)]
enum Wish {
    Configured,
    Set(Transforms),
    /// Why.
    Unknown(String),
}

/// Those of all cameras.
#[derive(Debug)]
pub struct Wishes {
    of: BTreeMap<String, Wish>,
    /// Of those who are not there.
    others: Wish,
}

impl Wishes {
    /// Nobody wants anything but what the configuration says.
    pub fn none() -> Self {
        Self { of: BTreeMap::new(), others: Wish::Configured }
    }

    /// Nobody knows.
    pub fn unknown(words: &str) -> Self {
        let why = format!(
            "{words}; masks may have been set before that nobody knows now. Mend or restore the database, or move \
             it away and set them anew; what is to be seen of one camera can be set by API (docs/transforms.md)"
        );
        Self { of: BTreeMap::new(), others: Wish::Unknown(why) }
    }

    /// As they were kept, as JSON by camera.
    pub fn kept(rows: BTreeMap<String, String>) -> Self {
        let wish = |text: &str| match serde_json::from_str(text) {
            Ok(transforms) => Wish::Set(transforms),
            Err(error) => Wish::Unknown(format!(
                "what was set for its pictures is not understood, perhaps a newer version wrote it: {error}; set it \
                 anew, or reset it"
            )),
        };
        let of = rows.into_iter().map(|(camera, text)| (camera, wish(&text))).collect();
        Self { of, others: Wish::Configured }
    }

    /// What a capture of this camera is told.
    pub fn told(&self, camera: &Camera) -> Told {
        match self.of.get(&camera.id).unwrap_or(&self.others) {
            Wish::Configured => Told::configured(camera),
            Wish::Set(transforms) => Told::by_api(transforms.clone()),
            Wish::Unknown(why) => Told::cautious(why),
        }
    }

    /// `None` goes back to the configuration.
    fn set(&mut self, id: &str, transforms: Option<Transforms>) {
        self.of.insert(id.to_owned(), transforms.map_or(Wish::Configured, Wish::Set));
    }

    /// Whether somebody said something of this camera.
    pub fn has(&self, id: &str) -> bool {
        self.of.contains_key(id)
    }

    pub fn forget(&mut self, id: &str) {
        self.of.remove(id);
    }
}

/// Why pictures are not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    #[error("there is no camera {0:?}")]
    NoCamera(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error(
        "nothing was changed: encoders of camera {camera:?} would begin anew, and its streams stop for about a second, \
         because {why}; ask again with restart=true"
    )]
    Restart { camera: String, why: &'static str },
    #[error("it is done, but not kept for the next start of the service: {0}")]
    NotKept(#[from] StorageError),
    #[error("the change of camera {0:?} broke off; the log says why")]
    Broken(String),
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Why encoders began anew for it, if they did.
    pub restarted: Option<&'static str>,
    /// Whether it outlives the service.
    pub kept: bool,
}

impl Cameras {
    /// Says what is done to a camera's pictures from now on, `None` as the configuration says, and keeps it. When
    /// it returns, no picture leaves that is not so. Goes through once begun, whether somebody waits or not.
    ///
    /// # Errors
    /// See [`TransformError`]. Only after `NotKept` something has changed.
    pub async fn transform(
        &self,
        id: &str,
        transforms: Option<Transforms>,
        restart: bool,
    ) -> Result<Changed, TransformError> {
        let (cameras, camera) = (self.clone(), id.to_owned());
        let change = async move { cameras.change_pictures(&camera, transforms, restart).await };
        tokio::spawn(change).await.unwrap_or_else(|_| Err(TransformError::Broken(id.to_owned())))
    }

    async fn change_pictures(
        &self,
        id: &str,
        transforms: Option<Transforms>,
        mut restart: bool,
    ) -> Result<Changed, TransformError> {
        let _turn = self.0.changing_pictures.lock().await;
        let find = || self.get(id).ok_or_else(|| TransformError::NoCamera(id.to_owned()));
        let mut capture = find()?;
        if let Some(transforms) = &transforms {
            let wrong = transforms.check(id, capture.camera().display_name());
            if !wrong.is_empty() {
                let words = wrong.into_iter().map(|(key, words)| format!("{key}: {words}"));
                return Err(TransformError::Invalid(words.collect()));
            }
        }
        let mut restarted = None;
        let database = loop {
            let impact = tell(&capture, transforms.clone(), restart).await?;
            if let Impact::Restart(why) = impact {
                restarted = Some(why);
            }
            let mut keeping = self.0.keeping.lock().await;
            // Another one may have begun meanwhile, for another configuration, and knows nothing of it; or it has
            // gone, and nothing is kept for it.
            let now = find()?;
            keeping.pictures.set(id, transforms.clone());
            if now.same(&capture) {
                break keeping.database.clone();
            }
            (capture, restart) = (now, true);
        };
        let Some(database) = database else { return Ok(Changed { restarted, kept: false }) };
        let text = transforms.map(|transforms| serde_json::to_string(&transforms)).transpose();
        let text = text.map_err(|_| TransformError::Broken(id.to_owned()))?;
        database.keep_transforms(id, text.as_deref()).await?;
        Ok(Changed { restarted, kept: true })
    }
}

async fn tell(
    capture: &Capture,
    transforms: Option<Transforms>,
    restart: bool,
) -> Result<Impact, TransformError> {
    let changing = capture.clone();
    // It waits for locks of running elements.
    let told = tokio::task::spawn_blocking(move || {
        let told = transforms.map_or_else(|| Told::configured(changing.camera()), Told::by_api);
        changing.transform(told, restart)
    });
    let id = || capture.id().to_owned();
    match told.await {
        Ok(Ok(impact) | Err(impact @ Impact::Live)) => Ok(impact),
        Ok(Err(Impact::Restart(why))) => Err(TransformError::Restart { camera: id(), why }),
        Err(_) => Err(TransformError::Broken(id())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Origin;
    use crate::config::model::{Rotation, Source};

    #[test]
    fn what_was_set_goes_over_the_configuration_until_it_is_reset_and_what_nobody_knows_is_covered() {
        let turned = |rotation| Transforms { rotation, ..Transforms::default() };
        let camera = |id: &str| Camera { rotation: Rotation::Half, ..Camera::new(id, Source::Test {}) };
        let seen = |wishes: &Wishes, id: &str| {
            let Told { transforms, origin } = wishes.told(&camera(id));
            let word = match origin {
                Origin::Configuration => "configuration",
                Origin::Api => "api",
                Origin::Caution(why) => {
                    assert!(!why.is_empty());
                    "caution"
                }
            };
            (word, transforms)
        };
        let api = ("api", turned(Rotation::Clockwise90));
        let file = ("configuration", turned(Rotation::Half));
        let covered = ("caution", Transforms::covered());

        let text = |text: &str| text.to_owned();
        let kept = serde_json::to_string(&api.1).unwrap();
        let rows = [("a", kept.as_str()), ("b", "{\"newer\": 1}"), ("c", "")];
        let mut wishes = Wishes::kept(rows.map(|(id, row)| (text(id), text(row))).into());
        assert_eq!(seen(&wishes, "a"), api);
        assert_eq!(seen(&wishes, "b"), covered);
        assert_eq!(seen(&wishes, "c"), covered);
        assert_eq!(seen(&wishes, "d"), file);
        wishes.set("a", None);
        wishes.set("b", Some(api.1.clone()));
        assert_eq!((seen(&wishes, "a"), seen(&wishes, "b")), (file.clone(), api.clone()));
        wishes.forget("b");
        assert_eq!(seen(&wishes, "b"), file);

        let mut wishes = Wishes::unknown("the database is torn");
        assert_eq!(seen(&wishes, "a"), covered);
        wishes.set("a", None);
        wishes.set("b", Some(api.1.clone()));
        assert_eq!((seen(&wishes, "a"), seen(&wishes, "b"), seen(&wishes, "c")), (file, api, covered));
    }
}
