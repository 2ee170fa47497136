//! A listener as the workers see it.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::PoolId;

use super::places::Places;

/// The settings of one listener, and its places.
#[derive(Debug)]
pub struct ListenerView {
    pub name: Arc<str>,
    pub pool: PoolId,
    /// `None`: sessions may be idle for ever.
    pub idle_timeout: Option<Duration>,
    pub half_closed_timeout: Duration,
    /// Outlives the View: sessions hold places in it.
    pub places: Arc<Places>,
}
