//! The control plane, on one thread: where backends come from, and which of them are well.
//!
//! What decides is sans-IO: it is handed what happened and the time since the thread began, and
//! answers what is to be done. Discovery says which backends there are, health whether each may
//! take connections; the keeper of a pool makes of both what is published, and says what is to
//! become of sessions (`losses`, `rebalance`, `homecoming`). The plane carries it all out. `rows`
//! shows the operator what a keeper knows.

pub mod discovery;
pub mod health;
mod homecoming;
mod keeper;
mod losses;
mod nameservers;
mod notices;
mod plane;
mod rebalance;
pub mod resolver;
mod rows;

pub use keeper::Keeper;
pub use plane::{Control, ControlError, ProbeTls, Told};
