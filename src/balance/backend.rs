//! One backend: its identity, its share, and the live count of its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;

/// One address in a pool. Immutable but for the live count, which every Snapshot that knows the
/// backend shares.
#[derive(Debug)]
pub struct Backend {
    /// Its identity within the pool.
    pub name: Arc<str>,
    pub address: SocketAddr,
    /// 0 to 65,535; 0 receives no new connections.
    pub weight: u16,
    /// Connections at the same time, over all workers.
    pub limit: Option<u32>,
    live: Arc<CachePadded<Live>>,
}

/// What changes while a Snapshot is current.
#[derive(Debug, Default)]
struct Live {
    connections: AtomicU32,
}

/// A place reserved on a backend; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
}

impl Backend {
    /// A backend without connections.
    pub fn new(name: Arc<str>, address: SocketAddr, weight: u16, limit: Option<u32>) -> Backend {
        Backend { name, address, weight, limit, live: Arc::default() }
    }

    /// The same backend with another share or limit: its connections go on counting.
    pub fn changed(&self, weight: u16, limit: Option<u32>) -> Backend {
        let (name, live) = (Arc::clone(&self.name), Arc::clone(&self.live));
        Backend { name, address: self.address, weight, limit, live }
    }

    /// Connections open or being opened, over all workers.
    pub fn connections(&self) -> u32 {
        self.live.connections.load(Ordering::Relaxed)
    }

    /// Reserves a place with one atomic addition, undone over the limit.
    pub fn lease(self: &Arc<Self>) -> Option<Lease> {
        let before = self.live.connections.fetch_add(1, Ordering::Relaxed);
        if self.limit.is_some_and(|limit| before >= limit) {
            self.live.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Lease { backend: Arc::clone(self) })
    }
}

impl Lease {
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.live.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(limit: Option<u32>) -> Arc<Backend> {
        Arc::new(Backend::new("a".into(), "127.0.0.1:1".parse().unwrap(), 1, limit))
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
    fn the_limit_holds_and_a_refusal_leaves_no_trace() {
        let backend = backend(Some(2));
        let leases = [backend.lease().unwrap(), backend.lease().unwrap()];
        assert!(backend.lease().is_none());
        assert_eq!(backend.connections(), 2);
        drop(leases);
        assert!(backend.lease().is_some());
    }

    #[test]
    fn connections_survive_a_change_of_weight() {
        let old = backend(None);
        let lease = old.lease().unwrap();
        let new = Arc::new(old.changed(7, Some(1)));
        assert_eq!(new.connections(), 1);
        assert!(new.lease().is_none());
        drop(lease);
        assert!(new.lease().is_some());
    }
}
