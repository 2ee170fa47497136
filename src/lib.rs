//! Ringmain, a load balancer for telemetry fleets.

pub mod observe;
