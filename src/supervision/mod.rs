//! Supervision: whatever must come back by itself is driven by one actor through one pure lifecycle.

pub mod lifecycle;
