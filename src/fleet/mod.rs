//! x
pub mod node;
pub mod registry;
