//! From encoded pictures to containers: one timeline that never goes back, and fragmented MP4. Pure; used
//! by HLS and by recordings.

pub mod fmp4;
pub mod timing;
