//! Owns the reference peers: two plain proxies on public runtimes, to see what Ringmain's own
//! engine is worth. They balance round robin, and have no limits, time-outs or logs.

mod choice;
mod front;
mod with_tokio;
mod with_tokio_uring;

pub use choice::{Options, run};
#[cfg(test)]
pub use front::{Front, config as tls_config};
#[cfg(test)]
pub use with_tokio::run as run_tokio;

/// What one direction holds at a time.
const BUFFER: usize = 64 * 1024;
