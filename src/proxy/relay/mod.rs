//! How a session's bytes move: `both_ways` is the relay of a session, `flow` one direction of it.

mod both_ways;
mod flow;

pub(super) use both_ways::relay;
