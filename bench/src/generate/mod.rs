//! Owns the generator: agents and backends on Ringmain's own engine, the pace of a load, and the
//! exact count of what became of it.
//!
//! Reading order: `order` (what a run is to do), `course` (when its units leave), `protocol` and
//! `wire` (what they look like), `ledger` and `record` (what is counted), `stage` and `channel`
//! (what tasks stand on), `agents` and `backends` (the two sides), `thread`, `placement`, `proxy`,
//! `standing` and `bench` (what makes runs of them), `system` (a bench as what is judged), then `options`, `command` and `screen`.

mod agents;
mod backends;
mod bench;
mod cause;
mod channel;
mod check;
mod command;
mod cost;
mod course;
mod directory;
mod failure;
mod ground;
mod ledger;
mod material;
mod options;
mod order;
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
mod watch;
mod wire;

pub use agents::Signals;
pub use backends::Behaviour;
pub use bench::{Bench, Route};
pub use command::run;
pub use course::{Arrivals, Spikes};
pub use options::{Options, parse_duration};
pub use order::{Group, Order, Pace, Sizes};
pub use protocol::Protocol;
pub use system::Generator;
