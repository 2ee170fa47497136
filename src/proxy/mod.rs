//! The data plane: one thread per CPU accepts connections and relays their bytes.
//!
//! Reading order: `worker` (the thread and what its sessions share), `listener` (who is let in),
//! `session` (the story of one connection), `connect` (how it gets its backend), `relay` (how
//! bytes move, and how a session ends). `control` is how a session is told to end, `accounts`
//! where it is counted.

mod accounts;
mod connect;
mod control;
mod listener;
mod options;
mod relay;
mod session;
mod worker;

pub use options::socket_options;
pub use worker::{Command, STALL_AFTER, WorkerParts, run};
