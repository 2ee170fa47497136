//! What operators see: metrics, the access log, the program's own log and the admin server.
//! This folder owns how things are counted and shown; it decides nothing about traffic.
//!
//! Reading order: `close_reason`, `handshake_cause`, `tally`, `series`, `metrics`, `exposition`,
//! `pools`, `inquiry`, `pools_exposition`, `pools_page`, `tls_exposition`, `tls_record`,
//! `access_record`, `access_log`, `log`, `orders`, `admin`.

mod access_log;
mod access_record;
mod admin;
mod close_reason;
mod exposition;
mod handshake_cause;
mod inquiry;
mod log;
mod metrics;
mod orders;
mod pools;
mod pools_exposition;
mod pools_page;
mod series;
mod tally;
mod tls_exposition;
mod tls_record;

pub use access_log::{AccessLog, AccessLogError, AccessLogOptions, AccessLogTarget, Subscriber};
pub use access_record::{AccessLogFormat, AccessRecord, RelayMode};
pub use admin::serve_admin;
pub use close_reason::CloseReason;
pub use handshake_cause::HandshakeCause;
pub use inquiry::{DrainOrder, Drained, Inquirer, Inquiries, Inquiry, Reply, inquiries};
pub use log::{LogError, LogFormat, LogOptions, start_log};
pub use metrics::{Metrics, WorkerMetrics};
pub use orders::AllowChanges;
pub use pools::{
    BackendRow, ChangeCounts, LeavingRow, PoolRow, PoolsReport, ProbeRow, SourceRow, TierRow,
    TroubleRow, WaitingRow,
};
pub use tally::{
    AccessLogTally, ClosedCounts, Count, Gauge, HandshakeFailures, HandshakeTally, HelloFailures,
    ListenerTally, PoolTally, SessionTally, WorkerTally,
};
pub use tls_exposition::{TlsExpiry, TlsLapsing, TlsRow};
pub use tls_record::{TlsFailure, TlsRecord};
