//! How a View reaches the workers: one pointer and one version number.
//!
//! A worker compares the version once per turn of its loop, one relaxed read, and takes the
//! pointer only when it has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::value::View;

/// The current View, written by the server.
#[derive(Debug)]
pub struct Publication {
    view: ArcSwap<View>,
    version: AtomicU64,
}

/// A worker's own copy.
#[derive(Debug)]
pub struct Watch {
    publication: Arc<Publication>,
    version: u64,
    view: Arc<View>,
}

impl Publication {
    pub fn new(view: View) -> Publication {
        Publication { view: ArcSwap::from_pointee(view), version: AtomicU64::new(1) }
    }

    /// Replaces the View. The publisher wakes the workers afterwards.
    pub fn publish(&self, view: View) {
        self.view.store(Arc::new(view));
        self.version.fetch_add(1, Ordering::Release);
    }

    pub fn current(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Grows by one with every View.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl Watch {
    pub fn new(publication: Arc<Publication>) -> Watch {
        // The version first: a View published between the two is taken again, never missed.
        let version = publication.version();
        let view = publication.current();
        Watch { publication, version, view }
    }

    /// The View as of the last `refresh`.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Takes a newer View, if there is one.
    pub fn refresh(&mut self) -> bool {
        let version = self.publication.version();
        if version == self.version {
            return false;
        }
        self.version = version;
        self.view = self.publication.current();
        true
    }
}
