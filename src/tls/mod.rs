//! TLS without a socket: certificates, keys, trust and tickets as they are loaded from files, and
//! one side of a TLS connection as bytes in and bytes out.
//!
//! Reading order: `server` and `client` (a whole side, from its files), `identity` and
//! `identities` (certificates with their keys, and which one serves), `trust` (whom to believe),
//! `tickets` and `remembered` (resumption), `certificate`, `owner` and `der` (what a certificate
//! says),
//! `files` and `problem` (reading, and what can be wrong), `settings` (what both sides share),
//! `connection` (one side of a connection), `unbuffered` (its handshake), `records` (what follows)
//! and `alert` (what a failure is answered with).

mod alert;
mod certificate;
mod client;
mod connection;
mod der;
mod files;
mod identities;
mod identity;
mod owner;
mod part;
mod problem;
mod records;
mod remembered;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tickets;
mod trust;
mod unbuffered;

pub use alert::alert_name;
pub use client::{Alpn, Authorities, ClientOptions, ClientTls, NameError, NameSource};
pub use connection::{Agreed, Connection, Failure, Gathered, Plain, Room, overhead};
pub use owner::{Name, Owner, owner};
pub use problem::{Concern, MaterialError, MaterialWarning, Problem, Renewal};
pub use server::{CertificateFiles, ClientAuth, ServerOptions, ServerTls, TicketOptions};
pub use settings::{Clock, Expiry, Kind, MinVersion};
pub use tickets::Tickets;
