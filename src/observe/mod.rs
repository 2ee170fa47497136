//! What operators see: metrics and the admin server.
//! This folder owns how things are counted and shown; it decides nothing about traffic.
//!
//! Reading order: `close_reason`, `tally`, `series`, `metrics`, `exposition`, `admin`.

mod admin;
mod close_reason;
mod exposition;
mod metrics;
mod series;
mod tally;

pub use admin::serve_admin;
pub use close_reason::CloseReason;
pub use metrics::{BackendRow, BackendSource, Metrics, WorkerMetrics};
pub use tally::{
    AccessLogTally, ClosedCounts, Count, Gauge, ListenerTally, SessionTally, WorkerTally,
};
