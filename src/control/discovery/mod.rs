//! Where a pool's backends come from: names, files and what was saved of them.
//!
//! `machine` decides, sans-IO; `membership` says which backends each source has and which answers
//! are believed, `merged` unites the sources, `roster` reads answers, `listing` files. The driver
//! asks the resolver, reads and watches files, saves, and hands everything to the machine.

mod entry;
mod event;
mod failures;
mod found;
mod listing;
mod machine;
mod membership;
mod merged;
mod question;
mod report;
mod roster;
mod saved;
mod schedule;
#[cfg(test)]
mod tests;
mod watch;

pub use event::{Doubt, Event, Kept};
pub use failures::Trouble;
pub use found::Found;
pub use listing::read_listing;
pub use machine::{DiscoveryOptions, Input, Output, PoolDiscovery};
pub use question::{Answer, Failure, Kind, Outcome, Question, Record, Service};
pub use report::SourceReport;
pub use saved::{Saved, SavedError, load, save};
pub use watch::FileWatch;
