//! Owns the plan of a fleet: from measured costs to hosts, cores, memory and kernel limits, line by
//! line, and what that is worth. Where no costs are given, it makes the small runs they come from.

mod arithmetic;
mod check;
mod command;
mod costs;
mod demand;
mod limits;
mod lines;
mod measure;

#[cfg(test)]
pub use check::Check;
pub use command::{Failure, Options, plan};
pub use lines::Plan;
