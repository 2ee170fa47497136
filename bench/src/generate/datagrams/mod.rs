//! Owns what runs of datagrams have of their own: agents without connections, backends that know
//! whom to answer, and their sockets.
//!
//! Every unit is a datagram, sent by a system call of its own at the moment at which it is due:
//! several in one call (sendmmsg, GSO) would leave together, whatever the schedule says.

mod agent;
mod port;
mod serve;
#[cfg(test)]
pub mod simulated;

pub use agent::Agent;
pub use port::{BACKEND_ROOM, LONGEST, Port, grant_room};
pub use serve::serve;
