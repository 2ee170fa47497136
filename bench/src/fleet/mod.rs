//! Owns profiles: what a fleet of agents sends, written in TOML. It sends nothing.

mod error;
mod profile;
mod reader;

pub use error::ProfileErrors;
pub use profile::load;
