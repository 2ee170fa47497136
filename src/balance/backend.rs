//! One backend: its identity, its share, and the live count of its connections.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;

use super::waiting::Waiting;

/// One member of a pool. Immutable but for the live values, which every Snapshot that knows the
/// backend shares.
#[derive(Debug)]
pub struct Backend {
    /// Its identity within the pool, and what consistent policies hash.
    pub name: Arc<str>,
    /// Where it is reached: at least one, tried in this order. The addresses of both families of
    /// a name are one backend.
    pub addresses: Vec<SocketAddr>,
    /// 0 to 65,535; 0 receives no new connections.
    pub weight: u16,
    /// Connections at the same time, over all workers.
    pub limit: Option<u32>,
    /// Backends of a higher tier serve when too few of the lower ones can.
    pub tier: u16,
    live: Arc<CachePadded<Live>>,
}

/// What changes while a Snapshot is current.
#[derive(Debug, Default)]
struct Live {
    connections: AtomicU32,
    /// Of those, the ones that are being moved to other backends.
    moving: AtomicU32,
    /// Connections that were ever asked to move.
    moved: AtomicU64,
    /// Failures that the backend caused since something last succeeded.
    failures_in_a_row: AtomicU32,
    ejected: AtomicBool,
    /// Who is told when a place becomes free; those who wait for the pool, if it has a queue.
    waiting: OnceLock<Arc<Waiting>>,
}

/// A place reserved on a backend; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    is_moving: Cell<bool>,
}

impl Backend {
    /// A backend without connections, with weight 1, no limit and of the first tier.
    pub fn new(name: Arc<str>, addresses: Vec<SocketAddr>) -> Backend {
        Backend { name, addresses, weight: 1, limit: None, tier: 0, live: Arc::default() }
    }

    /// The same backend, to be given other addresses, weight, limit or tier: what is live goes on.
    pub fn renewed(&self) -> Backend {
        Backend {
            name: Arc::clone(&self.name),
            addresses: self.addresses.clone(),
            weight: self.weight,
            limit: self.limit,
            tier: self.tier,
            live: Arc::clone(&self.live),
        }
    }

    /// A connection to it has worked: its failures are forgotten.
    pub fn succeeded(&self) {
        // A plain read first: there are almost never any, and then nobody writes the line.
        if self.failures_in_a_row() > 0 {
            self.live.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// It has refused a connection, not answered, or broken one soon after.
    pub fn failed(&self) {
        self.live.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failures_in_a_row(&self) -> u32 {
        self.live.failures_in_a_row.load(Ordering::Relaxed)
    }

    /// Takes it out of every choice at once, before the next Snapshot does, or lets it in again.
    pub fn set_ejected(&self, ejected: bool) {
        self.live.ejected.store(ejected, Ordering::Relaxed);
    }

    pub fn is_ejected(&self) -> bool {
        self.live.ejected.load(Ordering::Relaxed)
    }

    /// Connections open or being opened, over all workers.
    pub fn connections(&self) -> u32 {
        self.live.connections.load(Ordering::Relaxed)
    }

    /// Connections that have been asked to go to another backend and have not ended yet.
    pub fn moving(&self) -> u32 {
        self.live.moving.load(Ordering::Relaxed)
    }

    /// Connections that were ever asked to go to another backend.
    pub fn moved(&self) -> u64 {
        self.live.moved.load(Ordering::Relaxed)
    }

    /// Whether a lease would be refused just now.
    pub(super) fn is_full(&self) -> bool {
        // In one order with `Lease::drop` and `WaitingPlace::listen`: whoever listens and then
        // finds it full is told when it no longer is.
        self.limit.is_some_and(|limit| self.live.connections.load(Ordering::SeqCst) >= limit)
    }

    /// Reserves a place, if there is one.
    pub fn lease(self: &Arc<Self>) -> Option<Lease> {
        // Seen full, it is not touched: others are then never kept from a place for nothing, nor
        // told of one that is none.
        if self.is_full() { None } else { self.reserve() }
    }

    /// One atomic addition, undone over the limit: another worker may have taken the last place
    /// just before.
    fn reserve(self: &Arc<Self>) -> Option<Lease> {
        let before = self.live.connections.fetch_add(1, Ordering::SeqCst);
        if self.limit.is_some_and(|limit| before >= limit) {
            self.give_back();
            return None;
        }
        Some(Lease { backend: Arc::clone(self), is_moving: Cell::new(false) })
    }

    /// Undoes an addition. One that went over the limit hid, for a moment, a place that may have
    /// become free in it, so that is announced as well.
    fn give_back(&self) {
        self.live.connections.fetch_sub(1, Ordering::SeqCst);
        if let Some(waiting) = self.live.waiting.get() {
            waiting.place_freed();
        }
    }

    /// Those who wait for its pool, as soon as it has been in one with a queue.
    pub(super) fn waiting(&self) -> Option<&Arc<Waiting>> {
        self.live.waiting.get()
    }

    /// Makes its free places known to those who wait, unless it has somebody to tell already.
    pub(super) fn tell(&self, waiting: &Arc<Waiting>) {
        self.live.waiting.get_or_init(|| Arc::clone(waiting));
    }
}

impl Lease {
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// From now on, and until it is given back, its connection is on the way to another backend.
    pub fn moves(&self) {
        if !self.is_moving.replace(true) {
            self.backend.live.moving.fetch_add(1, Ordering::Relaxed);
            self.backend.live.moved.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_moving.get() {
            self.backend.live.moving.fetch_sub(1, Ordering::Relaxed);
        }
        self.backend.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(limit: Option<u32>) -> Arc<Backend> {
        let mut backend = Backend::new("a".into(), vec!["127.0.0.1:1".parse().unwrap()]);
        backend.limit = limit;
        Arc::new(backend)
    }

    #[test]
    fn a_lease_is_counted_and_given_back() {
        let backend = backend(None);
        let lease = backend.lease().unwrap();
        assert_eq!(backend.connections(), 1);
        drop(lease);
        assert_eq!(backend.connections(), 0);
    }

    #[test]
    fn a_lease_that_moves_is_counted_once_until_it_is_given_back() {
        let backend = backend(None);
        let [lease, other] = [(); 2].map(|()| backend.lease().unwrap());
        lease.moves();
        lease.moves();
        assert_eq!((backend.connections(), backend.renewed().moving()), (2, 1));
        drop(other);
        assert_eq!(backend.moving(), 1);
        drop(lease);
        assert_eq!((backend.connections(), backend.moving(), backend.moved()), (0, 0, 1));
    }

    #[test]
    fn the_limit_holds_and_a_refusal_leaves_no_trace() {
        let backend = backend(Some(2));
        let leases = [backend.lease().unwrap(), backend.lease().unwrap()];
        assert!(backend.lease().is_none());
        assert_eq!(backend.connections(), 2);
        drop(leases);
        assert!(backend.lease().is_some());
    }

    #[test]
    fn a_last_place_that_was_lost_to_another_worker_is_not_given_twice() {
        let backend = backend(Some(1));
        let lease = backend.reserve().unwrap();
        assert!(backend.reserve().is_none());
        assert_eq!(backend.connections(), 1);
        drop(lease);
        assert!(backend.reserve().is_some());
    }

    #[test]
    fn a_success_ends_a_row_of_failures() {
        let backend = backend(None);
        backend.failed();
        backend.failed();
        assert_eq!(backend.renewed().failures_in_a_row(), 2);
        backend.succeeded();
        assert_eq!(backend.failures_in_a_row(), 0);
    }

    #[test]
    fn connections_survive_a_change_of_weight() {
        let old = backend(None);
        let lease = old.lease().unwrap();
        let mut new = old.renewed();
        (new.weight, new.limit) = (7, Some(1));
        let new = Arc::new(new);
        assert_eq!(new.connections(), 1);
        assert!(new.lease().is_none());
        drop(lease);
        assert!(new.lease().is_some());
    }
}
