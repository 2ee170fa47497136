//! Owns `compare`: Ringmain beside other proxies under one load; it is not the load itself.

mod candidate;
mod congestion;
mod course;
mod cpus;
mod interrupt;
mod options;
mod process;
mod report;
mod statistics;
mod usage;

pub use course::compare;
pub use options::Options;
