//! The assembly of `run`: threads, sockets, limits, signals and drain; composes the View.
//!
//! Reading order: `serve` (the whole life of the process), `limits` and `cpus` (what this host
//! can carry), `sockets` (listening addresses, locked and bound), `compose` (from the
//! configuration to the View), `material` (what the files of TLS hold), `workers` (the data plane's
//! threads), `conduct` (what the control plane tells them), `renewal` and `expiry` (TLS material
//! over time).

mod compose;
mod conduct;
mod cpus;
mod expiry;
mod limits;
mod material;
mod renewal;
mod serve;
mod sockets;
mod workers;

pub use cpus::{CpuError, usable_cpus};
pub use limits::{Budget, LimitError, budget};
pub use material::{Material, MaterialErrors, Stock};
pub use serve::{Ended, Serving, StartError, serve, serve_with_subscriber};
pub use sockets::ListenError;
pub use workers::{WorkerError, try_rings};
