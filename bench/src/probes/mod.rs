//! Owns `probes`: what the health checks of many backends cost the control thread.

mod options;
mod run;
mod server;
mod thread;

pub use options::Options;
pub use run::probes;
