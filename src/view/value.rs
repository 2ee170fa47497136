//! The View and the limits it carries.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::Snapshot;
use crate::tls::ClientTls;

use super::listener::ListenerView;

/// Everything a worker reads while it serves; a change is a new View.
#[derive(Clone, Debug)]
pub struct View {
    pub snapshot: Arc<Snapshot>,
    /// In the order of the workers' listening sockets.
    pub listeners: Vec<Arc<ListenerView>>,
    /// By `PoolId`: how TLS is spoken with the backends. `None`: what comes is sent as it is.
    pub pools_tls: Vec<Option<Arc<ClientTls>>>,
    /// By `PoolId`: how soon after the connect a backend's reset counts against it. `None`: nothing
    /// is counted for or against the backends.
    pub failure_windows: Vec<Option<Duration>>,
    pub limits: Limits,
}

/// Limits that hold for every session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long bytes received before a reset, or before a graceful close, may take to be
    /// delivered.
    pub linger_timeout: Duration,
    /// TLS handshakes of one worker with clients at the same time, and with the backends of each
    /// pool, at least 1.
    pub handshakes: u32,
    /// Bytes of hellos that one worker holds, more or less a piece.
    pub hello_memory: usize,
}
