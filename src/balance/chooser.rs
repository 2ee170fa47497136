//! A worker's part in choosing: the current Snapshot, and a cursor for each of its pools.

use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Lease;
use super::cursor::{Cursor, Request, Tools};
use super::pool::Pool;
use super::snapshot::{PoolId, Snapshot};
use super::trial::Seen;

/// Picks backends on one worker. It only reads the Snapshot; its cursors are its own.
#[derive(Debug)]
pub struct Chooser {
    snapshot: Arc<Snapshot>,
    /// By pool.
    cursors: Vec<Cursor>,
    tools: Tools,
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
        let cursors = snapshot.pools().map(|(_, pool)| Cursor::new(pool, &mut random)).collect();
        Chooser { snapshot, cursors, tools: Tools { random, seen: Seen::default() } }
    }

    /// Goes over to another Snapshot; pools that did not change keep their cursors.
    pub fn update(&mut self, snapshot: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.snapshot, snapshot) {
            return;
        }
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(snapshot));
        let olds: Vec<&Arc<Pool>> = old.pools().map(|(_, pool)| pool).collect();
        let random = &mut self.tools.random;
        for (id, pool) in snapshot.pools() {
            match olds.get(id.0) {
                Some(old) if Arc::ptr_eq(old, pool) => {}
                Some(old) if old.name == pool.name => {
                    self.cursors[id.0].change(old, pool, random);
                }
                Some(_) => self.cursors[id.0] = Cursor::new(pool, random),
                None => self.cursors.push(Cursor::new(pool, random)),
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
        let pool = self.snapshot.pool(id);
        let key = pool.key(traits);
        self.cursors[id.0].choose(&Request { pool, key, tried }, &mut self.tools)
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Backend;
    use super::super::pool::Member;
    use super::super::pool::tests::{member, pool, settings};
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
        let limited = |name| {
            let mut backend = Backend::renewed(&member(name, 1).backend);
            backend.limit = Some(1);
            Member { backend: Arc::new(backend), ..member(name, 1) }
        };
        let members = vec![limited("a"), limited("b")];
        let mut chooser = chooser(Pool::new("pool".into(), settings(), members, None));
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
