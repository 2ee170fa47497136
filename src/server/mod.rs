//! The assembly of `run`: threads, sockets, limits, signals and drain; composes the View.
//!
//! Reading order: `serve` (the whole life of the process), `limits` and `cpus` (what this host
//! can carry), `material` (what TLS needs of files), `sockets` (listening addresses, locked and
//! bound), `compose` (from the configuration to the View), `workers` (the data plane's threads),
//! `conduct` (what the control plane tells them).

mod compose;
mod conduct;
mod cpus;
mod limits;
mod material;
mod serve;
mod sockets;
mod workers;

pub use cpus::{CpuError, usable_cpus};
pub use limits::{Budget, LimitError, budget};
pub use material::{Material, MaterialErrors};
pub use serve::{Ended, Serving, StartError, load_material, serve, serve_with_subscriber};
pub use sockets::ListenError;
pub use workers::WorkerError;
