//! Owns the clients' side of TLS: handshakes, what they must have come to, and records. It touches
//! no socket.

mod audit;
mod client;
mod handshake;
#[cfg(test)]
pub mod pair;
mod records;
mod tickets;
mod verifier;

pub use audit::{Audit, Violation};
pub use client::Client;
pub use handshake::{Handshake, Progress};
pub use records::{Piece, Records};
pub use tickets::Tickets;
pub use verifier::Verifier;

use crate::certificates::Identity;

/// What a client and the proxy are to agree on, always in TLS 1.3 and with X25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub suite: Suite,
    pub identity: Identity,
    /// Sessions are resumed by tickets, and every handshake is full otherwise.
    pub resumed: bool,
}

/// What clients offer, and nothing beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256
    Aes128,
    /// TLS_AES_256_GCM_SHA384
    Aes256,
}
