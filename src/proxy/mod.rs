//! The data plane: one thread per CPU accepts connections and relays their bytes.
//!
//! Reading order: `worker` (the thread and what its sessions share), `listener` (who is let in),
//! `session` (the story of one connection), `greeting` (how it begins where the hello is read),
//! `hellos` (the memory for that), `connect` (how it gets its backend), `queue` (how it waits for
//! one), `relay` (how bytes move, and how a session ends). `tls` is one side's TLS, `handshakes`
//! how many of them go on at a time, `signer` the thread for long signatures. `control` is how a
//! session is told to end, `accounts` where it is counted, `evidence` what it says of its backend.

mod accounts;
mod connect;
mod control;
mod evidence;
mod greeting;
mod handshakes;
mod hellos;
mod listener;
mod options;
mod queue;
mod relay;
mod session;
mod signer;
mod tls;
mod worker;

pub use options::socket_options;
pub use signer::Signer;
pub use worker::{Command, STALL_AFTER, WorkerParts, run};
