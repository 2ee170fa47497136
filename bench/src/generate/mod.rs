//! Owns the generator: agents and backends on Ringmain's own engine, the pace of a load, and the
//! exact count of what became of it.
//!
//! Reading order: `order` (what a run is to do), `course` (when its units leave), `protocol` and
//! `wire` (what they look like), `ledger`, `one_way` and `record` (what is counted), `stage`,
//! `channel` and `tls` (what tasks stand on), `bulk` (long units), `agents` and `backends` (the two
//! sides), `grpc` (both over HTTP/2), `datagrams` (both over UDP), `pair`, `thread`, `placement`,
//! `network`, `proxy`, `metrics`, `standing` and `bench` (what makes runs of them), `between` (runs
//! around a proxy that is there), `system` (a bench as what is judged), then `options`, `command`
//! and `screen`.

mod agents;
mod backends;
mod bench;
mod between;
mod bulk;
mod calls;
mod cause;
mod channel;
mod check;
mod command;
mod cost;
mod course;
mod datagrams;
mod directory;
mod ending;
mod failure;
mod ground;
mod grpc;
mod ledger;
mod metrics;
mod network;
mod one_way;
mod options;
mod order;
mod pair;
mod placement;
mod protocol;
mod proxy;
mod record;
mod screen;
mod stage;
mod standing;
mod system;
#[cfg(test)]
mod tests;
mod thread;
mod tls;
mod watch;
mod wire;

pub use agents::Signals;
pub use backends::{Behaviour, Mischief, Outage};
pub use bench::{Bench, Route};
pub use between::{Between, Carried, Middle};
pub use command::run;
pub use course::{Arrivals, Spikes};
pub use datagrams::LONGEST as LONGEST_DATAGRAM;
pub use directory::Directory;
pub use failure::Failure;
pub use ground::check_connections;
pub use network::Network;
pub use options::{Options, parse_duration};
pub use order::{Ending, Group, Order, Pace, Sizes};
pub use protocol::{Dialogue, Protocol};
pub use system::Generator;
pub use tls::{Material, Suite, Terms};
