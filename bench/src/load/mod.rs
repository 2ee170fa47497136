//! Owns the load: its works, its generator and the backends behind the proxy, all in one thread; it
//! knows nothing of which proxy it measures.

mod backends;
mod bulk;
mod connections;
mod fault;
mod message;
mod pingpong;
mod poller;
mod run;
mod schedule;
pub mod sockets;
mod tally;
mod work;

use message::{MESSAGE, message};

pub use fault::Fault;
pub use run::{Outcome, Plan, Site};
pub use tally::Tally;
pub use work::{Pace, Work};
