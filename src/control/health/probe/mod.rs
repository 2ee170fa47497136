//! One probe of one backend: what each kind of check sends, and what counts as an answer.
//!
//! Everything a backend answers is read within bounds and within the probe's time-out. Nothing of
//! it is trusted: a probe carries no data and believes only that somebody serves.

mod alongside;
mod dial;
mod failure;
mod grpc;
mod hello;
mod http;
mod message;
mod pool_tls;
mod prober;
mod send_expect;
mod tls;

pub use failure::ProbeFailure;
pub use prober::{BadCheck, Prober};
