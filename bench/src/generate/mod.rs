//! Owns the generator: agents and backends on Ringmain's own engine, the pace of a load, and the
//! exact count of what became of it.
//!
//! Reading order: `order` (what a run is to do), `course` (when its units leave), `protocol` and
//! `wire` (what they look like), `ledger` and `record` (what is counted), `stage` and `channel`
//! (what tasks stand on), `agents` and `backends` (the two sides), `thread`, `proxy` and `bench`
//! (what makes a run of them), then `options`, `command` and `screen`.

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
mod protocol;
mod proxy;
mod record;
mod screen;
mod stage;
#[allow(dead_code, reason = "a search for the limit drives it; `run` makes one run")]
mod system;
#[cfg(test)]
mod tests;
mod thread;
mod watch;
mod wire;

pub use command::run;
pub use course::{Arrivals, Spikes};
pub use options::{Options, parse_duration};
pub use order::{Group, Order, Pace, Sizes};
pub use protocol::Protocol;
#[allow(unused_imports, reason = "what a search for the limit is given")]
pub use {
    agents::Signals,
    backends::Behaviour,
    bench::{Bench, Route},
    system::Generator,
};
