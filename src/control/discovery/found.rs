//! A backend as discovery finds it. Knows nothing of its health.

use std::net::SocketAddr;
use std::sync::Arc;

/// One backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its identity: an address, or a target's name and port.
    pub name: Arc<str>,
    /// At least one, distinct, in order of preference.
    pub addresses: Vec<SocketAddr>,
    pub weight: u16,
    pub tier: u16,
    /// Connections at the same time.
    pub limit: Option<u32>,
    /// It is listed to drain: no new connections.
    pub drain: bool,
}
