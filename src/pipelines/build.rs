//! From a filled chain to elements: parse, then set what must never be syntax.

use gst::prelude::*;
use gstreamer as gst;
use thiserror::Error;

use super::elements::{self, Missing};
use super::fragment::{Chain, Setting};
use super::mask;

#[derive(Debug, Error)]
pub enum BuildError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("GStreamer cannot build `{syntax}`: {message}")]
    Parse { syntax: String, message: String },
    #[error("element {element} has no property {property} in this version ({version})")]
    Property { element: String, property: String, version: String },
    #[error("the fragment has no element named {0}")]
    Unnamed(String),
}

/// A bin of the chain's elements, with ghost pads where the chain is open.
pub fn bin(chain: &Chain) -> Result<gst::Bin, BuildError> {
    parse(chain, true)
}

/// A bin of a chain that ends in pads which appear while it runs. Nothing is made a ghost pad: GStreamer
/// would take the pads that `parsebin` keeps inside for open ends, and those that wait for a pad to appear.
pub fn dynamic_bin(chain: &Chain) -> Result<gst::Bin, BuildError> {
    parse(chain, false)
}

fn parse(chain: &Chain, ghost: bool) -> Result<gst::Bin, BuildError> {
    let factories = chain.factories();
    // An element of our own: known before it is looked for. Where that fails it is missing, with words.
    let _ = mask::register();
    elements::check(factories.iter().map(String::as_str))?;
    let syntax = chain.bin_syntax();
    let parsed = gst::parse::bin_from_description_full(&syntax, ghost, None, gst::ParseFlags::FATAL_ERRORS);
    let bin = parsed
        .map_err(|error| BuildError::Parse { syntax: syntax.clone(), message: error.message().to_owned() })?
        .downcast::<gst::Bin>()
        .map_err(|_| BuildError::Parse { syntax, message: "it is not a bin".into() })?;
    for setting in chain.settings() {
        set(&bin, setting)?;
    }
    Ok(bin)
}

/// Sets one property on one element of `bin`.
pub fn set(bin: &gst::Bin, setting: &Setting) -> Result<(), BuildError> {
    let element =
        bin.by_name(&setting.element).ok_or_else(|| BuildError::Unnamed(setting.element.clone()))?;
    let Some(property) = element.find_property(&setting.property) else {
        return Err(no_property(&element, &setting.property));
    };
    if property.value_type() == gst::glib::Type::STRING {
        element.set_property(&setting.property, &setting.value);
        return Ok(());
    }
    // Controls of libcamerasrc are numbers and enums: the value's text is parsed by the property's type.
    match gst::glib::Value::deserialize_with_pspec(&setting.value, &property) {
        Ok(value) => {
            element.set_property_from_value(&setting.property, &value);
            Ok(())
        }
        Err(_) => Err(BuildError::Parse {
            syntax: format!("{}={}", setting.property, if setting.secret { "***" } else { &setting.value }),
            message: format!("{} does not take this value", element.name()),
        }),
    }
}

fn no_property(element: &gst::Element, property: &str) -> BuildError {
    let factory = element.factory();
    let version =
        factory.and_then(|f| f.plugin()).map_or_else(|| "unknown".into(), |p| p.version().to_string());
    BuildError::Property { element: element.name().to_string(), property: property.to_owned(), version }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::pipelines::{Library, Parameters, Value};

    fn file_source(path: &str) -> gst::Bin {
        gst::init().unwrap();
        let parameters: Parameters = [("path", Value::Text(path.into()))].into();
        bin(&Library::embedded().fill("sources/file", &parameters).unwrap()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_from_a_user_arrives_as_the_property_and_adds_no_element(path in "[^\0]{1,40}") {
            let bin = file_source(&path);
            let source = bin.by_name("source").unwrap();
            prop_assert_eq!(source.property::<Option<String>>("location"), Some(path));
            prop_assert_eq!(bin.children().len(), 2);
        }
    }

    #[test]
    fn syntax_in_a_value_is_only_a_strange_file_name() {
        for path in ["! fakesink", "a\" ! fakesink", "x\n! fakesink name=\"y", "a ! b", "\\\" ! fakesink"] {
            let bin = file_source(path);
            assert_eq!(bin.children().len(), 2, "{path:?} changed the pipeline");
        }
    }

    /// Says that a test is left out; `scripts/test.sh` counts the lines of the file.
    fn skipped(name: &str, why: &str) {
        eprintln!("skipped: {name}: {why}");
        if let Some(path) = std::env::var_os("FANLIGHT_SKIPS") {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(format!("{name}: {why}\n").as_bytes()).unwrap();
        }
    }

    #[test]
    fn libcamera_is_parsed_and_linked_with_the_real_element() {
        gst::init().unwrap();
        if !elements::registered("libcamerasrc") {
            skipped(
                "libcamera_is_parsed_and_linked_with_the_real_element",
                "libcamerasrc is not registered (package gstreamer1.0-libcamera)",
            );
            return;
        }
        let parameters: Parameters = [
            ("camera", Value::Text("/base/soc/i2c0mux/i2c@1/imx708@1a".into())),
            ("width", Value::Int(1280)),
            ("height", Value::Int(720)),
            ("fps", Value::Int(30)),
        ]
        .into();
        let bin = bin(&Library::embedded().fill("sources/libcamera", &parameters).unwrap()).unwrap();
        let source = bin.by_name("source").unwrap();
        assert_eq!(source.property::<String>("camera-name"), "/base/soc/i2c0mux/i2c@1/imx708@1a");
        assert!(bin.static_pad("src").is_some(), "the chain is open at its end");
    }
}
