//! Ringmain, a load balancer for telemetry fleets.

pub mod balance;
pub mod engine;
pub mod observe;
pub mod view;
