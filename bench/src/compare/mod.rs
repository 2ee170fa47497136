//! Owns `compare`: Ringmain beside other proxies under one load; it is not the load itself.

pub mod candidate;
mod command;
mod configuration;
pub mod congestion;
mod contender;
mod course;
pub mod cpus;
mod failure;
pub mod interrupt;
pub mod memory;
mod options;
pub mod process;
pub mod program;
mod report;
mod runner;
mod subject;
mod table;
#[cfg(test)]
mod tests;
pub mod usage;
mod work;
mod works;

pub use command::{compare, pin_congestion};
pub use congestion::Pinned;
pub use cpus::Cpus;
pub use failure::Failure;
pub use interrupt::watch;
pub use options::Options;
pub use process::raise_descriptor_limit;
