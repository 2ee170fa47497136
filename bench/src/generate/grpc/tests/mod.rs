//! Owns the checks of agents and backends that speak gRPC, on virtual time and on real sockets.

pub mod definitions;
mod truth;
