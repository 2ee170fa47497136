//! The worker, unmodified, on a simulated kernel and network: whole runs on virtual time, many of
//! them from seeds. How Linux behaves is the simulated driver's own tests' affair.

mod actors;
mod scene;
mod seeds;
mod stage;
