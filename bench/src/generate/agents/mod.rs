//! Owns the side of a run that makes the load: agents on connections that last, and visits.

mod agent;
mod holding;
mod run;
mod team;
mod visits;

pub use holding::Holding;
pub use run::{Fault, Signals, Site, run};
