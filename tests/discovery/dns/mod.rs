//! A DNS server for tests: honest, or lying in one of many ways, edited while it runs.
//!
//! ```text
//! let server = DnsServer::start();
//! server.set("_vector._tcp.test", [srv(0, 10, 6000, "agg-0.test")]);
//! server.set("agg-0.test", [a("127.0.0.1").ttl(1), aaaa("::1")]);
//! ... let the program ask server.address() ...
//! server.await_queries("_vector._tcp.test", Kind::SRV, 2);
//! server.behave(Behaviour::Silent);
//! ```
//!
//! It runs on threads of its own until it is dropped, so that tests need no runtime for it. Names
//! may be written in any case and with or without the trailing dot.

// Each test binary uses the part that it needs.
#![allow(dead_code, unused_imports)]

mod behaviour;
mod entry;
mod server;
mod transport;
mod zone;

pub use behaviour::Behaviour;
pub use entry::{Entry, a, aaaa, cname, srv};
pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::RecordType as Kind;
pub use server::{DnsServer, Seen};
