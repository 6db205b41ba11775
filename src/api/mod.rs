//! The doors: how people and programs ask the house for something.

pub mod http;
pub mod rpc;
