//! Owns the checks of the generator itself, on virtual time: what it counts and measures is what
//! its backends did.

mod datagrams;
mod drain;
mod lifetimes;
mod presets;
mod relay;
pub(super) mod scene;
mod target;
mod truth;
