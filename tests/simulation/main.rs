//! The worker, unmodified, on a simulated kernel and network: whole runs on virtual time, many of
//! them from seeds. How Linux behaves is the simulated driver's own tests' affair.

mod accepting;
mod actors;
mod addresses;
mod channel;
mod closing;
mod connecting;
mod drawing;
mod endings;
mod evidence;
mod handshakes;
mod keys;
mod memory;
mod panics;
mod pipes;
mod queue;
mod receives;
mod records;
mod scene;
mod security;
mod seeds;
mod stage;
mod stream;
mod timeouts;
mod views;
