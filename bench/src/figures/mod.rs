//! Owns what a run measured, as data that is read and written; it measures nothing and does no I/O.

mod document;
mod host;
mod latency;
mod log;
mod run;
mod so_far;

pub use document::{Document, SCHEMA, TOOL, Unreadable};
pub use host::Host;
pub use latency::{Latency, PERCENTILES};
pub use log::write_log;
#[cfg(test)]
pub use run::sample;
pub use run::{Busy, Cost, Counts, Moment, Run, Share, kinds, told};
pub use so_far::SoFar;
