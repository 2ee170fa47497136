//! Owns how a run speaks TLS: its certificates, what agents offer and whom they trust, and what
//! their handshakes must have come to. It touches no socket.

mod audit;
mod material;
mod terms;
mod tickets;
mod trust;
mod verifier;

pub use audit::{Audit, Disagreed};
pub use material::Material;
pub use terms::{Suite, Terms};
pub use tickets::Tickets;
pub use trust::Trust;
