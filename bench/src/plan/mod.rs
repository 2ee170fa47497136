//! Owns the plan of a fleet: from measured costs to hosts, cores, memory and kernel limits, line by
//! line, and what that is worth. It makes no load.

mod arithmetic;
mod check;
mod command;
mod costs;
mod demand;
mod limits;
mod lines;

pub use command::{Options, plan};
pub use lines::Plan;
