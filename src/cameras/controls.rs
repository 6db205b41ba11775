//! The controls of cameras: read, set, kept by the camera's id, and set again when it comes back.
//!
//! Devices are asked on blocking threads, at most [`LOOKS`] at once and each for at most [`PATIENCE`]: a driver
//! that hangs costs its own answer and nobody else's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Cameras;
use crate::capture::device::{self, Control, Description};
use crate::storage::StorageError;
use crate::supervision::Failure;

/// Devices that are asked at the same time.
pub const LOOKS: usize = 4;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why controls are not read or set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    #[error("there is no camera {0:?}")]
    NoCamera(String),
    #[error(
        "camera {0} has no controls that can be set while it runs: only V4L2 devices have; those of a \
             libcamera camera stand in its source in the configuration"
    )]
    None(String),
    #[error("camera {0} is not plugged in: its controls can be set when it is back")]
    Away(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("{}", .0.message)]
    Device(Failure),
    #[error("camera {0} does not answer about its controls; try again, or plug it in anew")]
    Slow(String),
    #[error("set, but not kept for the next time: {0}")]
    NotKept(#[from] StorageError),
}

impl Cameras {
    /// The controls of a camera as they are now.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn controls(&self, id: &str) -> Result<Vec<Control>, ControlError> {
        let device = self.controlled(id)?;
        self.ask(id, move || device::read_controls(&device)).await
    }

    /// What the device of a camera says about itself.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn describe(&self, id: &str) -> Result<Description, ControlError> {
        let device = self.controlled(id)?;
        self.ask(id, move || device::describe(&device)).await
    }

    /// Sets controls, `None` to their default, and keeps what was set. All of them or none, as far as can be
    /// known before: each is checked first.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn set_controls(
        &self,
        id: &str,
        values: &BTreeMap<String, Option<i64>>,
    ) -> Result<Vec<Control>, ControlError> {
        let _turn = self.0.setting.lock().await;
        let present = self.controls(id).await?;
        let settings = check(&present, values).map_err(ControlError::Invalid)?;
        let device = self.controlled(id)?;
        let asked = settings.clone();
        let (after, refused) = self.ask(id, move || device::set_controls(&device, &asked)).await?;
        if !refused.is_empty() {
            return Err(ControlError::Invalid(refused));
        }
        let is_button =
            |name: &str| present.iter().any(|it| it.id == name && it.kind == device::ControlKind::Button);
        let kept: Vec<(String, Option<i64>)> = values
            .iter()
            .filter(|(name, _)| !is_button(name))
            .map(|(name, value)| (name.clone(), *value))
            .collect();
        let mut keeping = self.0.keeping.lock().await;
        let remembered = keeping.controls.entry(id.to_owned()).or_default();
        for (name, value) in &kept {
            match value {
                Some(value) => drop(remembered.insert(name.clone(), *value)),
                None => drop(remembered.remove(name)),
            }
        }
        let database = keeping.database.clone();
        drop(keeping);
        if let Some(database) = database {
            database.keep_controls(id, &kept).await?;
        }
        Ok(after)
    }

    /// The device to ask about controls.
    fn controlled(&self, id: &str) -> Result<PathBuf, ControlError> {
        let capture = self.get(id).ok_or_else(|| ControlError::NoCamera(id.to_owned()))?;
        if let Some(device) = self.device(id) {
            return Ok(device);
        }
        let away = self.entry(id).is_some_and(|entry| entry.presence == Some(super::Presence::Away));
        match capture.camera().source {
            crate::config::model::Source::V4l2(_) if away => Err(ControlError::Away(id.to_owned())),
            _ => Err(ControlError::None(id.to_owned())),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        id: &str,
        look: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ControlError> {
        let slow = || ControlError::Slow(id.to_owned());
        let asked = async {
            let turn = Arc::clone(&self.0.looking).acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                // Given back when the driver answers, however long nobody has waited for it.
                let _turn = turn;
                look()
            })
            .await
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(failure))) => Err(ControlError::Device(failure)),
            // The crate panics on what a driver must not say.
            Ok(Err(_)) => Err(ControlError::Device(Failure::broken(
                "the device describes itself in a way that nobody understands",
            ))),
            Err(_) => Err(slow()),
        }
    }
}

/// The values to set, or all that is wrong with them.
fn check(
    controls: &[Control],
    values: &BTreeMap<String, Option<i64>>,
) -> Result<Vec<(String, i64)>, Vec<String>> {
    let (mut settings, mut wrong) = (Vec::new(), Vec::new());
    for (id, value) in values {
        let Some(control) = controls.iter().find(|control| control.id == *id) else {
            let near = crate::config::nearest(id, controls.iter().map(|control| control.id.as_str()));
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            wrong.push(format!("this camera has no control {id:?}{hint}"));
            continue;
        };
        let value = value.unwrap_or(control.default);
        match control.check(value) {
            Ok(()) => settings.push((id.clone(), value)),
            Err(words) => wrong.push(words),
        }
    }
    if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
}

/// Sets what was set before on a device that came back. Nobody waits for it; what does not go is logged.
pub fn set_again(camera: &str, device: PathBuf, values: &BTreeMap<String, i64>) {
    let camera = camera.to_owned();
    let values: Vec<(String, i64)> = values.iter().map(|(name, value)| (name.clone(), *value)).collect();
    if values.is_empty() {
        return;
    }
    tokio::task::spawn_blocking(move || match device::set_controls(&device, &values) {
        Ok((_, refused)) => {
            for words in refused {
                tracing::warn!("camera {camera}: a control was not set again: {words}");
            }
        }
        Err(failure) => tracing::warn!("camera {camera}: controls were not set again: {}", failure.message),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::device::ControlKind;

    fn control(id: &str, max: i64) -> Control {
        Control {
            id: id.into(),
            name: id.into(),
            kind: ControlKind::Integer,
            min: 0,
            max,
            step: 1,
            default: 7,
            value: Some(1),
            menu: Vec::new(),
            read_only: false,
            inactive: false,
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_nothing_means_the_default() {
        let controls = [control("brightness", 9), control("contrast", 20)];
        let values = |pairs: &[(&str, Option<i64>)]| {
            pairs.iter().map(|(id, value)| ((*id).to_owned(), *value)).collect::<BTreeMap<_, _>>()
        };
        let settings = check(&controls, &values(&[("brightness", Some(3)), ("contrast", None)])).unwrap();
        assert_eq!(settings, [("brightness".to_owned(), 3), ("contrast".to_owned(), 7)]);
        let wrong = check(&controls, &values(&[("brightnes", Some(3)), ("contrast", Some(21))])).unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("did you mean \"brightness\""), "{wrong:?}");
        assert!(wrong[1].contains("0 to 20"), "{wrong:?}");
    }
}
