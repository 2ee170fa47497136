//! Owns the tests of what is read from the network before anything is known of its sender, with
//! what real clients send. Opens no connection.
//!
//! `corpus` has the captured bytes, `anatomy` takes them apart, `reading` feeds them in pieces and
//! `oracle` has rustls read them; the other modules are the tests.

mod anatomy;
mod corpus;
mod oracle;
mod reading;

mod captured;
mod cuts;
mod rfc8448;
mod rustls_clients;
