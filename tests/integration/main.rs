//! Owns the tests of the whole program on real sockets and the real ring; each of them runs the
//! proxy as a process of its own. Does not look inside it: addresses, logs and metrics are enough.
//!
//! `patience`, `peer`, `proxy` and `stream` are what all tests are made of; `agents`,
//! `aggregator`, `dns`, `fleet`, `load` and `vector` those of the control plane. The other modules
//! are the tests, by the promise they hold the program to.

mod agents;
mod aggregator;
#[path = "../discovery/dns/mod.rs"]
mod dns;
mod fleet;
mod load;
mod patience;
mod peer;
mod proxy;
mod stream;
mod vector;

mod affinity;
mod answers;
mod balancing;
mod bulk;
mod demo;
mod descriptors;
mod discovery;
mod drain;
mod ejection;
mod endings;
mod health;
mod ipv6;
mod limits;
mod maintenance;
mod many;
mod pools;
mod presets;
mod rebalance;
mod records;
mod removal;
mod saved;
mod scaling;
mod sockets;
mod stalls;
mod start;
mod tls;
