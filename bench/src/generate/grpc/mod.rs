//! Owns agents and backends that speak gRPC: HTTP/2 of h2 on our own engine, so that calls leave at
//! their exact times, and many of them are under way on one connection.
//!
//! Reading order: `service` (who is called), `batch` with `vector`, `otlp` and `protobuf` (what is
//! said), `status` (how a call ends), `bridge` (between h2 and a connection), `reply` and `caller`
//! (agents), `answer` and `serve` (backends).

mod answer;
mod batch;
mod bridge;
mod caller;
mod otlp;
mod protobuf;
mod reply;
mod serve;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod vector;

pub use caller::Caller;
pub use serve::serve;
pub use service::Service;

/// What both sides agree on in TLS before they speak HTTP/2 (RFC 9113, section 3.2).
pub const ALPN: &[u8] = b"h2";
