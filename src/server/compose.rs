//! From the configuration to what the workers read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::{PoolId, Snapshot};
use crate::config::{self, Config};
use crate::view::{Limits, ListenerView, Places, View};

/// The first View of a configuration, with its pools as they are now. `process` holds the places
/// of all listeners.
pub(super) fn compose(config: &Config, snapshot: Snapshot, process: &Arc<Places>) -> View {
    let ids: HashMap<&str, PoolId> =
        config.pools.iter().enumerate().map(|(id, pool)| (&*pool.name, PoolId(id))).collect();
    let listener = |listener: &config::Listener| {
        // The configuration is valid: every listener has a pool, and it exists.
        let pool = ids[listener.pool.as_deref().unwrap_or_default()];
        let ejection = config.pools[pool.0].ejection.as_ref();
        let places = Places::of_listener(listener.max_connections, Arc::clone(process));
        Arc::new(ListenerView {
            name: listener.name.as_str().into(),
            pool,
            idle_timeout: listener.idle_timeout,
            half_closed_timeout: listener.half_closed_timeout,
            max_connection_age: listener.max_connection_age,
            max_connection_age_jitter: listener.max_connection_age_jitter,
            failure_window: ejection.map(|ejection| ejection.window),
            places: Arc::new(places),
        })
    };
    View {
        snapshot: Arc::new(snapshot),
        listeners: config.listeners.iter().map(listener).collect(),
        limits: Limits { linger_timeout: config.process.linger_timeout },
    }
}
