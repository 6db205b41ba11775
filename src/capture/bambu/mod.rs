//! The camera of a Bambu Lab A1 or P1: JPEGs over TLS on port 6000.

mod frames;
mod login;
