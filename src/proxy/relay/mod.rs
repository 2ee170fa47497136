//! How a session's bytes move: `both_ways` is the relay of a session, `flow` one direction of it,
//! `translation` one through TLS, `bulk` the same while plenty comes, on a `workbench`.

mod both_ways;
mod bulk;
mod flow;
mod translation;
mod workbench;

pub(super) use both_ways::relay;
pub(super) use workbench::Workbench;
