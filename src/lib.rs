//! Ringmain, a load balancer for telemetry fleets.
