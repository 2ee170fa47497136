//! The View and the limits it carries.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::Snapshot;

use super::listener::ListenerView;

/// Everything a worker reads while it serves; a change is a new View.
#[derive(Debug)]
pub struct View {
    pub snapshot: Arc<Snapshot>,
    /// In the order of the workers' listening sockets.
    pub listeners: Vec<Arc<ListenerView>>,
    pub limits: Limits,
}

/// Limits that hold for every session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long bytes received before a reset, or before a graceful close, may take to be
    /// delivered.
    pub linger_timeout: Duration,
}
