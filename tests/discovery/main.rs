//! Owns the tests of discovery against real nameservers on the loopback interface: what becomes of
//! a question when they answer, lie, or are not there, and what `check --resolve` says of it. Runs
//! no proxy.
//!
//! `dns` is the nameserver and `asking` puts the questions; the other modules are the tests, by
//! what is wrong or right with the answer.

mod asking;
mod dns;

mod addresses;
mod check;
mod edns;
mod failover;
mod failures;
mod ipv6;
mod names;
mod nameservers;
mod services;
mod truncation;
mod wire;
