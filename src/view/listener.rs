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
    /// Sessions are closed gracefully so long after they were given their backend. `None`: at no
    /// age.
    pub max_connection_age: Option<Duration>,
    /// Percent of that age by which each session's is shortened or lengthened at random, at most
    /// 100.
    pub max_connection_age_jitter: u8,
    /// How soon after the connect a backend's reset counts against it. `None`: nothing is counted
    /// for or against the backends of the pool.
    pub failure_window: Option<Duration>,
    /// Outlives the View: sessions hold places in it.
    pub places: Arc<Places>,
}
