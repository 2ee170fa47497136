//! Which backend? Pure: what is published is immutable, and choosing reads no clock and no socket.
//!
//! A `Snapshot` holds all pools at one moment; a worker's `Chooser` picks a backend of a pool and
//! reserves a place on it, the `Lease`. Only the counters of live connections change in place.

mod backend;
mod chooser;
mod cursor;
mod draw;
mod hash;
mod home;
mod key;
mod load;
mod maglev;
mod policy;
mod pool;
mod rendezvous;
mod ring;
mod rotation;
mod shares;
mod snapshot;
mod standing;
#[cfg(test)]
mod tests;
mod tier;
mod trial;
mod waiting;

pub use backend::{Backend, Lease};
pub use chooser::{Chooser, NoChoice, Traits};
pub use home::Homes;
pub use policy::{Hashing, Key, MAGLEV_SIZE, Policy};
pub use pool::{Balancing, Keepalive, Member, Pool, PoolSettings, Queue, SocketOptions};
pub use snapshot::{PoolId, Snapshot};
pub use standing::Standing;
pub use tier::Tier;
pub use waiting::{Waiting, WaitingPlace};
