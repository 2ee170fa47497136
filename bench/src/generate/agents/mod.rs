//! Owns the side of a run that makes the load: agents on connections that last, and visits.

mod agent;
mod holding;
mod run;
mod team;
mod visits;

pub use agent::{Manner, SLOW_PAUSE, SLOW_PIECE};
pub use holding::Holding;
pub use run::{Fault, Signals, Site, run};
pub use team::{Lasting, Team};
