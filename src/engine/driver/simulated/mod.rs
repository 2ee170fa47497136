//! A kernel and a network made from a seed, behind the `Driver` trait, on virtual time.
//!
//! Reading order: `world` (what a test holds: the clock moves here), `driver` (the trait), `kernel`
//! (operations attempted as Linux would), `ring` and `descriptors` (what a process holds),
//! `network` and `endpoint` (TCP between two ends), `actor` (the peers outside), `faults` (what
//! goes wrong, and how often) and `agenda` (what is still to happen). Nothing here reads a clock or
//! the operating system: the same seed and the same calls give the same run.

mod actor;
mod agenda;
mod descriptors;
mod driver;
mod endpoint;
mod faults;
mod kernel;
mod network;
mod ring;
mod world;

#[cfg(test)]
mod tests;

pub use actor::{Actor, Next, Peers};
pub use faults::Faults;
pub use world::{Leftovers, World};

use super::Descriptor;

/// One end of a connection. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId(usize);

/// A place where connections are accepted. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(usize);

/// A peer outside the process under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ActorId(usize);

/// One driver's side of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RingId(usize);

/// Who learns that something changed at an endpoint or a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Established, and waiting to be accepted.
    Queue,
    Process(Descriptor),
    Actor(ActorId),
    /// Closed by its owner; the connection may still have to finish.
    Nobody,
}
