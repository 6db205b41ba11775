//! Fanlight turns a camera into every stream people point at it: one capture, one tee, many outputs,
//! each supervised on its own.
//!
//! Floors, from the ground; a room imports only from below: [`config`], [`frames`], [`h264`], [`mux`],
//! [`reach`], [`storage`], [`telemetry`], [`tls`]; [`supervision`], [`pipelines`], [`access`]; [`capture`]; [`serve`],
//! [`publish`], [`record`]; [`cameras`], [`livekit`], [`motion`], [`printers`]; [`control`]; [`api`];
//! [`cli`].

pub mod access;
pub mod api;
pub mod cameras;
pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod fleet;
pub mod frames;
pub mod h264;
pub mod livekit;
pub mod motion;
pub mod mux;
pub mod pipelines;
pub mod printers;
pub mod publish;
pub mod reach;
pub mod record;
pub mod serve;
pub mod storage;
pub mod supervision;
pub mod telemetry;
pub mod tls;
