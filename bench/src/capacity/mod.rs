//! Owns the search for what this host carries: the command, and the stand on which Ringmain is put
//! under load.

mod asides;
mod command;
mod failure;
mod stand;

pub use command::{Options, capacity};
pub use failure::Failure;
pub use stand::{LoadOptions, Site, described, mix, steady};
