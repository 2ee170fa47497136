//! Owns the generator: agents and backends on Ringmain's own engine, the pace of a load, and the
//! exact count of what became of it.
//!
//! Reading order: `order` (what a run is to do), `course` (when its units leave), `protocol` and
//! `wire` (what they look like), `ledger` and `record` (what is counted), `stage` and `channel`
//! (what tasks stand on), `agents` and `backends` (the two sides), then what makes a run of them.

mod agents;
mod backends;
mod cause;
mod channel;
mod course;
mod ledger;
mod order;
mod protocol;
mod record;
mod stage;
#[cfg(test)]
mod tests;
mod wire;
