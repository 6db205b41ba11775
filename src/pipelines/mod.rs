//! Pipelines as files: everything that the program can build stands in `pipelines/`, in gst-launch
//! syntax, readable, runnable by hand and replaceable by an operator.
//!
//! Used by `capture` to build and by the CLI to show. What can go wrong: a fragment that does not parse,
//! a value of the wrong type, an element that the machine lacks; each has words and a mend.

pub mod build;
pub mod elements;
pub mod fragment;
pub mod library;
pub mod mask;

pub use fragment::{Chain, Parameters, Value};
pub use library::Library;
