//! Ringmain, a load balancer for telemetry fleets.
//!
//! Modules in reading order, and who may import whom; anything else is a defect, and
//! `tests/tidy.rs` checks it:
//!
//! ```text
//! main -> commands          commands -> everything          server -> everything but commands
//! proxy   -> engine, view, balance, tls, protocol, observe
//! control -> balance, tls, protocol, observe, config        observe -> balance, protocol
//! view    -> balance, tls, protocol    config -> balance, protocol (types only)
//! tls     -> protocol                  engine, balance, protocol -> nothing of ours
//! ```

pub mod balance;
pub mod commands;
pub mod config;
pub mod control;
pub mod engine;
pub mod observe;
pub mod protocol;
pub mod proxy;
pub mod server;
pub mod tls;
pub mod view;
