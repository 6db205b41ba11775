//! HLS and low-latency HLS.
pub mod fmp4;
pub mod playlist;
pub mod ring;
pub mod segmenter;
pub mod timing;
pub mod ts;
