//! Owns `compare`: Ringmain beside other proxies under one load; it is not the load itself.

mod candidate;
mod configuration;
mod congestion;
mod contender;
mod course;
mod cpus;
mod failure;
mod interrupt;
mod memory;
mod options;
mod process;
mod program;
mod report;
mod statistics;
mod table;
mod usage;
mod works;

pub use course::compare;
pub use options::Options;
