//! Where a pool's backends come from: names, files and what was saved of them.

mod found;
mod question;

pub use found::Found;
pub use question::{Answer, Failure, Kind, Outcome, Question, Record, Service};
