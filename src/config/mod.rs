//! Configuration: one TOML file, the environment over it, defaults under it.

pub mod model;
mod secret;
mod values;

pub use model::Config;
pub use secret::Secret;
