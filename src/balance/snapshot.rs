//! All pools at one moment, as the workers read them.

use std::sync::Arc;

use super::pool::Pool;

/// A pool's place in every Snapshot of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub usize);

/// Immutable; a change makes a new one that shares the pools that did not change.
#[derive(Debug, Default)]
pub struct Snapshot {
    pools: Vec<Arc<Pool>>,
}

impl Snapshot {
    pub fn new(pools: Vec<Arc<Pool>>) -> Snapshot {
        Snapshot { pools }
    }

    /// A Snapshot whose pool `id` is `pool`.
    pub fn with_pool(&self, id: PoolId, pool: Arc<Pool>) -> Snapshot {
        let mut pools = self.pools.clone();
        pools[id.0] = pool;
        Snapshot { pools }
    }

    /// A Snapshot with these pools in place of their last versions.
    pub fn with_pools(&self, changed: Vec<(PoolId, Arc<Pool>)>) -> Snapshot {
        let mut pools = self.pools.clone();
        for (id, pool) in changed {
            pools[id.0] = pool;
        }
        Snapshot { pools }
    }

    /// The pool; ids are made together with the Snapshot's configuration, so they always fit.
    pub fn pool(&self, id: PoolId) -> &Arc<Pool> {
        &self.pools[id.0]
    }

    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &Arc<Pool>)> {
        self.pools.iter().enumerate().map(|(index, pool)| (PoolId(index), pool))
    }
}
