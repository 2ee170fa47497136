//! Owns the calibration: one load through a proxy on loopback and through one in a network
//! namespace of its own, and what the second costs more.

mod command;
mod far;
mod finding;
mod namespaces;

pub use command::{Failure, Options, calibrate};
pub use finding::Calibration;
#[cfg(test)]
pub use finding::Factor;
