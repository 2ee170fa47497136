//! Sessions that wait for a place on a backend of one pool, counted over all workers. In which
//! order they get one, and when they give up, is the workers' business.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;

/// Those who wait for a pool. One for all versions of it; its backends know it, so that a place
/// given back is announced.
pub struct Waiting {
    count: CachePadded<AtomicU32>,
    limit: AtomicU32,
    /// Somebody found every backend full and is to be told of a free place.
    awaited: AtomicBool,
    announce: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A session's place among those who wait; left when dropped.
///
/// A place on a backend may become free at any moment, so: `listen`, then choose, and wait only
/// when all are full still; after an announcement, the same again.
#[derive(Debug)]
pub struct WaitingPlace {
    waiting: Arc<Waiting>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({} of {})", self.count(), self.limit())
    }
}

impl Waiting {
    pub(super) fn new(limit: u32) -> Waiting {
        Waiting {
            count: CachePadded::new(AtomicU32::new(0)),
            limit: AtomicU32::new(limit),
            awaited: AtomicBool::new(false),
            announce: OnceLock::new(),
        }
    }

    /// What is called when a place has become free that somebody listened for: it wakes all
    /// workers. Set once, before the first session; it holds for all later versions of the pool.
    pub fn announce_with(&self, announce: Box<dyn Fn() + Send + Sync>) {
        // A second one would wake the same workers.
        self.announce.get_or_init(|| announce);
    }

    /// Joins those who wait; none: there are as many as may.
    pub fn join(self: &Arc<Self>) -> Option<WaitingPlace> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(WaitingPlace { waiting: Arc::clone(self) })
    }

    /// Sessions waiting now, over all workers.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A place on a backend has been given back.
    pub(super) fn place_freed(&self) {
        // A plain read first: the flag is almost never set, and then nobody writes the line.
        if self.awaited.load(Ordering::SeqCst)
            && self.awaited.swap(false, Ordering::SeqCst)
            && let Some(announce) = self.announce.get()
        {
            announce();
        }
    }
}

impl WaitingPlace {
    /// The next place that becomes free is announced, to all workers and once. Whoever chooses
    /// after this misses none.
    pub fn listen(&self) {
        self.waiting.awaited.store(true, Ordering::SeqCst);
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.waiting.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Backend;
    use super::super::chooser::{Chooser, NoChoice, Traits};
    use super::super::pool::tests::{member, settings};
    use super::super::pool::{Member, Pool, Queue};
    use super::super::snapshot::{PoolId, Snapshot};
    use super::*;

    /// A pool of one backend with one place, a queue, and how often it was announced.
    fn queued(limit: u32) -> (Pool, Arc<AtomicU32>) {
        let mut backend = Backend::renewed(&member("a", 1).backend);
        backend.limit = Some(1);
        let members = vec![Member { backend: Arc::new(backend), ..member("a", 1) }];
        let mut settings = settings();
        settings.queue = Some(Queue { limit, timeout: std::time::Duration::from_secs(1) });
        let pool = Pool::new("pool".into(), settings, members, None);
        let announced = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&announced);
        let announce = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        pool.waiting().unwrap().announce_with(Box::new(announce));
        (pool, announced)
    }

    #[test]
    fn no_more_wait_than_may() {
        let (pool, _) = queued(2);
        let waiting = pool.waiting().unwrap();
        let places = [waiting.join().unwrap(), waiting.join().unwrap()];
        assert!(waiting.join().is_none());
        assert_eq!(waiting.count(), 2);
        drop(places);
        assert_eq!(waiting.count(), 0);
        assert!(waiting.join().is_some());
    }

    #[test]
    fn a_free_place_is_announced_once_and_only_when_somebody_listens() {
        let (pool, announced) = queued(9);
        let pool = Arc::new(pool);
        let snapshot = Arc::new(Snapshot::new(vec![Arc::clone(&pool)]));
        let mut chooser = Chooser::new(snapshot, fastrand::Rng::with_seed(1));
        let mut choose = || chooser.choose(PoolId(0), &Traits::default(), &[]);
        drop(choose().unwrap());
        assert_eq!(announced.load(Ordering::SeqCst), 0);
        let lease = choose().unwrap();
        let place = pool.waiting().unwrap().join().unwrap();
        place.listen();
        assert_eq!(choose().unwrap_err(), NoChoice::AtLimit);
        assert_eq!(announced.load(Ordering::SeqCst), 0, "a refusal is no free place");
        drop(lease);
        assert_eq!(announced.load(Ordering::SeqCst), 1);
        drop(choose().unwrap());
        assert_eq!(announced.load(Ordering::SeqCst), 1, "nobody listens any more");
    }

    #[test]
    fn those_who_wait_and_who_tells_them_outlive_a_version_of_the_pool() {
        let (old, announced) = queued(1);
        let place = old.waiting().unwrap().join().unwrap();
        place.listen();
        let lease = old.members()[0].backend.lease().unwrap();
        let mut settings = old.settings.clone();
        settings.queue.as_mut().unwrap().limit = 2;
        let newcomer = member("b", 1);
        let members = vec![old.members()[0].clone(), newcomer.clone()];
        for previous in [Some(&old), None] {
            let new = Pool::new("pool".into(), settings.clone(), members.clone(), previous);
            assert!(Arc::ptr_eq(new.waiting().unwrap(), old.waiting().unwrap()));
            assert_eq!(new.waiting().unwrap().limit(), 2);
        }
        drop(newcomer.backend.lease());
        assert_eq!(announced.load(Ordering::SeqCst), 1, "a place on the newcomer");
        place.listen();
        drop(lease);
        assert_eq!(announced.load(Ordering::SeqCst), 2, "a place on the old one");
    }
}
