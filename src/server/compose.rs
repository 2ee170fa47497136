//! From the configuration to what the workers read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::{Backend, Member, Pool, PoolId, PoolSettings, Snapshot, Standing};
use crate::config::{self, Config};
use crate::view::{Limits, ListenerView, Places, View};

/// The first View of a configuration. `process` holds the places of all listeners.
pub(super) fn compose(config: &Config, process: &Arc<Places>) -> View {
    let pools: Vec<Arc<Pool>> =
        config.pools.iter().map(|pool| Arc::new(compose_pool(pool))).collect();
    let ids: HashMap<&str, PoolId> =
        config.pools.iter().enumerate().map(|(id, pool)| (&*pool.name, PoolId(id))).collect();
    let listener = |listener: &config::Listener| {
        // The configuration is valid: every listener's pool exists.
        let pool = ids[&*listener.pool];
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
        snapshot: Arc::new(Snapshot::new(pools)),
        listeners: config.listeners.iter().map(listener).collect(),
        limits: Limits { linger_timeout: config.process.linger_timeout },
    }
}

fn compose_pool(pool: &config::Pool) -> Pool {
    let backend = |backend: &config::Backend| {
        let mut composed = Backend::new(backend.name.as_str().into(), vec![backend.address]);
        (composed.weight, composed.limit) = (backend.weight, backend.max_connections);
        composed.tier = backend.tier;
        Member { backend: Arc::new(composed), standing: Standing::Up }
    };
    let settings = PoolSettings {
        connect_timeout: pool.connect_timeout,
        tries: pool.tries,
        balancing: pool.balancing.clone(),
        queue: pool.queue.clone(),
        sources: pool.source_addresses.clone(),
        socket: pool.socket.clone(),
    };
    let members = pool.backends.iter().map(backend).collect();
    Pool::new(pool.name.as_str().into(), settings, members, None)
}
