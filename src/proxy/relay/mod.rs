//! How a session's bytes move: `both_ways` is the relay of a session, `flow` one direction of it,
//! `translation` one through TLS.

mod both_ways;
mod flow;
mod translation;

pub(super) use both_ways::relay;
