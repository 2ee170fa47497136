//! The control plane, on one thread: where backends come from, and which of them are well.
//!
//! What decides is sans-IO: it is handed what happened and the time since the thread began, and
//! answers what is to be done. Discovery says which backends there are, health whether each may
//! take connections; together they make the pools of a Snapshot.

pub mod discovery;
pub mod health;
pub mod resolver;
