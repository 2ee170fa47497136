//! What the operator asked for: a TOML file read into a `Config` that is valid by construction.
//!
//! `load` reads everything before it answers, so that a bad file is reported whole: each error with
//! its line, its key, its cause and its remedy. A section is a file here, and lists its keys by
//! reading them; `configs/reference.toml` explains every one.

mod address;
mod admin;
mod backend;
mod check;
mod cpulist;
mod discovery;
mod error;
mod field;
mod health;
mod hostname;
mod listener;
mod load;
mod log;
mod names;
mod policy;
mod pool;
mod pool_tls;
mod preface;
mod process;
mod protocols;
mod reader;
mod resolver;
mod route;
#[cfg(test)]
mod samples;
mod server_name;
mod socket;
mod suites;
mod template;
mod tls;
mod units;
mod unused;
mod ways;

pub use admin::{Admin, AllowChanges};
pub use backend::Backend;
pub use check::{Check, CheckTls};
pub use discovery::{Discovery, Hold, Source, SourceKind};
pub use error::{ConfigError, ConfigErrors};
pub use health::{Ejection, Health};
pub use listener::Listener;
pub use load::{Config, load, parse};
pub use log::{AccessLog, Log, LogFormat, LogLevel};
pub use pool::{OnLoss, Pool, Rebalance};
pub use pool_tls::{BackendAlpn, BackendName, PoolTls, Trust};
pub use process::Process;
pub use resolver::Resolver;
pub use route::{PlainText, Route, RouteTarget};
pub use tls::{Certificate, ClientAuth, Tls, TlsVersion};

/// How many connections a limit may allow. A descriptor is an `int`, so no host carries more.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 1..=i32::MAX as u32;
