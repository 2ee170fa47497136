//! Which backends may take connections: probed, watched through what the workers counted, ejected
//! for a time, started slowly, drained by the operator.
//!
//! `PoolHealth` decides, sans-IO, for one pool. A `Prober` asks one backend what a pool's check
//! asks, and `Probes` runs the probes of all pools, so many at a time. The control thread hands
//! the outputs of the first to the last and the results back.

mod agenda;
mod drain;
mod ejections;
mod event;
mod member;
mod pool;
mod probe;
mod probes;
mod slow_start;
#[cfg(test)]
mod tests;

pub use event::{Cause, Change, Entrant, Input, LastProbe, Output, ProbeId, Report};
pub use pool::PoolHealth;
pub use probe::{BadCheck, ProbeFailure, Prober};
pub use probes::{Finished, Job, Probes};
