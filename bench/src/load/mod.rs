//! Owns the load: its works, its generator and the backends behind the proxy, all in one thread; it
//! knows nothing of which proxy it measures.

mod backends;
mod channel;
mod connections;
mod dialer;
mod download;
mod fault;
mod hold;
mod idle;
mod lines;
mod message;
mod pattern;
mod pingpong;
mod poller;
mod run;
mod schedule;
pub mod sockets;
mod tally;
#[cfg(test)]
mod tests;
pub mod tls;
mod upload;
mod work;

use message::{MESSAGE, message};

pub use fault::Fault;
pub use hold::{Held, Hold};
pub use run::{Outcome, Plan, Site};
pub use tally::Tally;
pub use tls::Terms;
pub use work::{Pace, Shape, Task, Work};
