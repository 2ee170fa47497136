//! Owns the checks of agents and backends that speak gRPC, on virtual time.

pub mod definitions;
mod receipts;
mod scene;
mod stranger;
mod strangers;
mod truth;
