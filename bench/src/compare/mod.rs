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

pub use candidate::Candidate;
pub use congestion::Pinned;
pub use contender::{Contender, Venue};
pub use course::{Directory, compare, pin_congestion};
pub use cpus::{Cpus, pin};
pub use failure::Failure;
pub use interrupt::watch;
pub use memory::Footprint;
pub use options::Options;
pub use process::raise_descriptor_limit;
pub use usage::Reading;
