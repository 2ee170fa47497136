//! What a worker needs at one moment, as one immutable value: the pools, the listeners' settings,
//! the limits. The server composes and publishes it; the workers read it.

mod listener;
mod places;
mod publication;
mod routes;
mod value;

pub use listener::{ListenerView, PlainText, Preface};
pub use places::{Place, Places};
pub use publication::{Publication, Watch};
pub use routes::{Found, Lacks, Outcome, Routes, Rule};
pub use value::{Limits, View};
