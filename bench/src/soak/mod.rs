//! Owns long runs: hours of one load with faults from a seed, and whether anything drifts.

mod command;
mod course;
mod drift;
mod tricks;
mod victim;

pub use command::{Options, soak};
pub use course::whole;
pub use drift::Soak;
#[cfg(test)]
pub use drift::drift_sample;
#[cfg(test)]
pub use tricks::Trick;
