//! A worker's own part in choosing: the cursors of its pools.

use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Lease;
use super::pool::Pool;
use super::rotation::Rotation;
use super::snapshot::{PoolId, Snapshot};

/// Picks backends on one worker. It only reads the Snapshot; its cursors are its own.
#[derive(Debug)]
pub struct Chooser {
    snapshot: Arc<Snapshot>,
    /// By pool.
    cursors: Vec<Cursors>,
    random: fastrand::Rng,
}

/// Where a worker stands in one pool.
#[derive(Debug)]
struct Cursors {
    first: Rotation,
    /// For retries. With one cursor for both, the sessions of a dead backend would use up the
    /// turns of those after it, and its own turn would come round all the sooner.
    retry: Rotation,
}

impl Cursors {
    fn new(pool: &Pool, random: &mut fastrand::Rng) -> Cursors {
        let mut rotation = || Rotation::new(pool, random.u64(..));
        Cursors { first: rotation(), retry: rotation() }
    }
}

/// What is known of a connection that a key may be taken from. What the pool's policy does not
/// hash may be left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits<'a> {
    pub source: Option<SocketAddr>,
    pub destination: Option<SocketAddr>,
    pub server_name: Option<&'a str>,
}

/// Why there is no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// The pool has none that may take a new connection, or all of them were tried.
    Exhausted,
    /// Those that were not tried are at their limit of connections.
    AtLimit,
}

impl Chooser {
    /// Begins each pool at a phase drawn from `random`, which differs from worker to worker.
    pub fn new(snapshot: Arc<Snapshot>, mut random: fastrand::Rng) -> Chooser {
        let cursors = snapshot.pools().map(|(_, pool)| Cursors::new(pool, &mut random)).collect();
        Chooser { snapshot, cursors, random }
    }

    /// Goes over to another Snapshot; pools that did not change keep their cursors.
    pub fn update(&mut self, snapshot: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.snapshot, snapshot) {
            return;
        }
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(snapshot));
        let olds: Vec<&Arc<Pool>> = old.pools().map(|(_, pool)| pool).collect();
        for (id, pool) in snapshot.pools() {
            match olds.get(id.0) {
                Some(old) if Arc::ptr_eq(old, pool) => {}
                Some(old) if old.name == pool.name => {
                    self.cursors[id.0].first.change(old, pool);
                    self.cursors[id.0].retry.change(old, pool);
                }
                Some(_) => self.cursors[id.0] = Cursors::new(pool, &mut self.random),
                None => self.cursors.push(Cursors::new(pool, &mut self.random)),
            }
        }
        self.cursors.truncate(snapshot.pools().count());
    }

    /// The next backend of the pool whose name is not in `tried`, with a place reserved on it.
    pub fn choose(
        &mut self,
        id: PoolId,
        traits: &Traits<'_>,
        tried: &[Arc<str>],
    ) -> Result<Lease, NoChoice> {
        let _ = traits;
        let pool = self.snapshot.pool(id);
        let mut full = false;
        let cursors = &mut self.cursors[id.0];
        let cursor = if tried.is_empty() { &mut cursors.first } else { &mut cursors.retry };
        let lease = cursor.pick(pool, |backend| {
            if tried.contains(&backend.name) {
                return None;
            }
            let lease = backend.lease();
            full |= lease.is_none();
            lease
        });
        lease.ok_or(if full { NoChoice::AtLimit } else { NoChoice::Exhausted })
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Backend;
    use super::super::pool::tests::pool;
    use super::*;

    fn chooser(pool: Pool) -> Chooser {
        let snapshot = Arc::new(Snapshot::new(vec![Arc::new(pool)]));
        Chooser::new(snapshot, fastrand::Rng::with_seed(1))
    }

    #[test]
    fn a_retry_goes_to_a_distinct_backend() {
        let mut chooser = chooser(pool(&[1, 1, 1]));
        let mut tried = Vec::new();
        for _ in 0..3 {
            let lease = chooser.choose(PoolId(0), &Traits::default(), &tried).unwrap();
            assert!(!tried.contains(&lease.backend().name));
            tried.push(Arc::clone(&lease.backend().name));
        }
        assert_eq!(
            chooser.choose(PoolId(0), &Traits::default(), &tried).unwrap_err(),
            NoChoice::Exhausted
        );
    }

    #[test]
    fn a_dead_backend_is_met_in_its_own_turn_only_and_the_others_share_its_load() {
        let mut chooser = chooser(pool(&[1, 1, 1]));
        let mut served = std::collections::HashMap::new();
        let mut met = 0;
        for _ in 0..300 {
            let mut tried = Vec::new();
            let name = loop {
                let lease = chooser.choose(PoolId(0), &Traits::default(), &tried).unwrap();
                let name = Arc::clone(&lease.backend().name);
                if &*name != "b0" {
                    break name;
                }
                met += 1;
                tried.push(name);
            };
            *served.entry(name).or_insert(0) += 1;
        }
        assert_eq!(met, 100);
        assert!(served.values().all(|count| (149..=151).contains(count)), "{served:?}");
    }

    #[test]
    fn a_full_backend_is_passed_over_until_a_place_is_free() {
        let mut pool = pool(&[1, 1]);
        for backend in &mut pool.backends {
            let mut limited = Backend::renewed(backend);
            limited.limit = Some(1);
            *backend = Arc::new(limited);
        }
        let mut chooser = chooser(pool);
        let first = chooser.choose(PoolId(0), &Traits::default(), &[]).unwrap();
        let second = chooser.choose(PoolId(0), &Traits::default(), &[]).unwrap();
        assert_ne!(first.backend().name, second.backend().name);
        assert_eq!(
            chooser.choose(PoolId(0), &Traits::default(), &[]).unwrap_err(),
            NoChoice::AtLimit
        );
        let name = Arc::clone(&first.backend().name);
        drop(first);
        assert_eq!(
            chooser.choose(PoolId(0), &Traits::default(), &[]).unwrap().backend().name,
            name
        );
    }

    #[test]
    fn an_update_changes_whom_it_chooses() {
        let mut chooser = chooser(pool(&[1, 1]));
        let next = Arc::new(Snapshot::new(vec![Arc::new(pool(&[0, 1]))]));
        chooser.update(&next);
        for _ in 0..4 {
            assert_eq!(
                &*chooser.choose(PoolId(0), &Traits::default(), &[]).unwrap().backend().name,
                "b1"
            );
        }
    }
}
