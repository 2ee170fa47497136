//! Bytes and their meaning. No socket, no clock: what is there is read, and what is missing is
//! waited for by the caller.

pub mod client_hello;
mod reader;
