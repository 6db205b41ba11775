//! All fragments by name: those embedded in the binary, and over them those of the operator's directory.
//!
//! Read once at start and at reload. A directory that is missing is an empty one; a file that cannot be
//! read is an error, because silently using the embedded one would hide the operator's change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::fragment::{Chain, Fragment, FragmentError, Parameters};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../pipelines/", $name, ".gst")))),*]
    };
}

const EMBEDDED: &[(&str, &str)] = &embedded![
    "sources/test",
    "sources/libcamera",
    "sources/v4l2-raw",
    "sources/v4l2-mjpeg",
    "sources/v4l2-h264",
    "sources/rtsp",
    "sources/http-mjpeg",
    "sources/http-jpeg",
    "sources/bambu-jpeg",
    "sources/file",
    "sources/file-demuxed",
    "tails/rtp-h264",
    "tails/rtp-h265",
    "tails/rtp-jpeg",
    "tails/jpg",
    "tails/h264",
    "tails/h265",
    "tails/paced",
    "decoders/h264-avdec",
    "decoders/h264-v4l2",
    "decoders/h264-openh264",
    "decoders/h265-avdec",
    "decoders/jpeg",
    "transforms/turn",
    "transforms/mask",
    "transforms/overlay",
    "transforms/rate",
    "transforms/scale",
    "encoders/jpeg-jpegenc",
    "encoders/jpeg-v4l2",
    "encoders/h264-x264",
    "encoders/h264-openh264",
    "encoders/h264-v4l2",
    "encoders/h264-va",
    "outputs/livekit",
    "outputs/whip",
    "outputs/rtmp",
    "outputs/mediamtx",
    "outputs/mediamtx-srt",
];

/// Every fragment this process can build from.
#[derive(Clone, Debug)]
pub struct Library(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    fragment: Fragment,
    /// The operator's file, if it is not the embedded one.
    file: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub enum LibraryError {
    #[error("cannot read {path}: {error}; mend its permissions, or remove it to use the embedded fragment")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("there is no fragment {0}; `fanlight pipeline list` shows all")]
    Unknown(String),
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

impl Library {
    pub fn embedded() -> Self {
        let all = EMBEDDED.iter();
        Self(
            all.map(|(name, text)| {
                ((*name).to_owned(), Entry { fragment: Fragment::parse(name, text), file: None })
            })
            .collect(),
        )
    }

    /// The embedded fragments with those of `directory` (`sources/*.gst`, `encoders/*.gst`, …) over them.
    pub fn load(directory: &Path) -> Result<Self, LibraryError> {
        let mut library = Self::embedded();
        for group in ["sources", "tails", "decoders", "transforms", "encoders", "outputs"] {
            let folder = directory.join(group);
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LibraryError::Unreadable { path: folder, error }),
            };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                let (Some(stem), true) = (stem, path.extension().is_some_and(|e| e == "gst")) else {
                    continue;
                };
                let name = format!("{group}/{stem}");
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| LibraryError::Unreadable { path: path.clone(), error })?;
                let fragment = Fragment::parse(&name, &text);
                library.0.insert(name, Entry { fragment, file: Some(path) });
            }
        }
        Ok(library)
    }

    /// Fragment `name` with its values.
    pub fn fill(&self, name: &str, parameters: &Parameters) -> Result<Chain, LibraryError> {
        let entry = self.0.get(name).ok_or_else(|| LibraryError::Unknown(name.to_owned()))?;
        Ok(entry.fragment.fill(parameters)?)
    }

    /// All fragments in order of their names, with the operator's file where there is one.
    pub fn iter(&self) -> impl Iterator<Item = (&Fragment, Option<&Path>)> {
        self.0.values().map(|entry| (&entry.fragment, entry.file.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipelines::fragment::Value;

    #[test]
    fn every_file_in_the_repository_is_embedded() {
        let library = Library::embedded();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let mut files = 0;
        for group in std::fs::read_dir(&root).unwrap() {
            for file in std::fs::read_dir(group.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                assert!(library.0.contains_key(name.to_str().unwrap()), "{} is not embedded", path.display());
                files += 1;
            }
        }
        assert_eq!(files, library.0.len());
    }

    #[test]
    fn every_fragment_says_what_it_is() {
        for (fragment, _) in Library::embedded().iter() {
            assert!(fragment.about.len() > 10, "{} has no comment at its head", fragment.name);
        }
    }

    #[test]
    fn the_operators_file_replaces_the_embedded_fragment_and_may_add_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("transforms")).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(directory.path().join("transforms").join(name), text).unwrap();
        };
        file("rate.gst", "# mine\nvideorate max-rate={fps:int}");
        file("grey.gst", "# grey\nvideobalance saturation=0");
        let library = Library::load(directory.path()).unwrap();
        let fps = [("fps", Value::Int(5))].into();
        assert_eq!(library.fill("transforms/rate", &fps).unwrap().syntax(), "videorate max-rate=5");
        assert_eq!(library.fill("transforms/grey", &fps).unwrap().syntax(), "videobalance saturation=0");
        assert!(library.fill("sources/nothing", &fps).is_err());
    }

    #[test]
    fn no_directory_means_the_embedded_fragments() {
        let library = Library::load(Path::new("/nonexistent/fanlight")).unwrap();
        assert_eq!(library.0.len(), Library::embedded().0.len());
    }
}
