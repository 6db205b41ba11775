//! Served outputs: what answers viewers. Each room here turns an outlet's pictures into one kind of
//! answer and knows nothing of routes; `api` asks them and writes their refusals as HTTP.

pub mod hls;
pub mod mjpeg;
mod packetize;
pub mod ready;
pub mod rtsp;
pub mod snapshot;
pub mod whep;
