//! Owns the tests of TLS: ended here, passed through by its hello, and spoken with backends.
//!
//! `authority`, `peer` and `scene` are what they are made of. The other modules are the tests, by
//! the promise they hold the program to.

mod authority;
mod peer;
mod scene;

mod backends;
mod endings;
mod handshakes;
mod hashing;
mod material;
mod mutual;
mod passing;
mod records;
mod renewing;
mod resuming;
mod retry;
mod stapling;
mod termination;
