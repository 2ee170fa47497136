//! TLS without a socket: certificates, keys, trust and tickets as they are loaded from files, and
//! one side of a TLS connection as bytes in and bytes out.

mod connection;

pub use connection::{Connection, Failure, overhead};
