//! Owns the tests of the whole program on real sockets and the real ring; each of them runs the
//! proxy as a process of its own. Does not look inside it: addresses, logs and metrics are enough.
//!
//! `proxy`, `peer`, `stream` and `patience` are what the tests are made of; the other modules are
//! the tests, by the promise they hold the program to.

mod patience;
mod peer;
mod proxy;
mod stream;

mod balancing;
mod bulk;
mod descriptors;
mod drain;
mod endings;
mod limits;
mod many;
mod pools;
mod records;
mod stalls;
mod start;
