//! Places for sessions: how many may be open, over all workers, in the process and per listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam_utils::CachePadded;

/// A limited number of places. A listener's lie within the process's.
pub struct Places {
    taken: CachePadded<AtomicU32>,
    limit: u32,
    /// So many free ones, or fewer, are few.
    few: u32,
    /// Somebody found none and waits to be told of a free one.
    awaited: AtomicBool,
    outer: Option<Arc<Places>>,
    /// Tells everyone who may wait that a place has become free, or that few are left.
    announce: Box<dyn Fn() + Send + Sync>,
}

/// One place, taken; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Places({} of {})", self.taken(), self.limit)
    }
}

impl Places {
    /// All places of the process. `few`: how many connections whoever accepts freely may take
    /// before it is stopped. `announce` is called when a place becomes free that was awaited, and
    /// when they become few.
    pub fn of_process(limit: u32, few: u32, announce: Box<dyn Fn() + Send + Sync>) -> Places {
        let taken = CachePadded::new(AtomicU32::new(0));
        Places { taken, limit, few, awaited: AtomicBool::new(false), outer: None, announce }
    }

    /// A listener's places, each of which is one of the process's too.
    pub fn of_listener(limit: Option<u32>, process: Arc<Places>) -> Places {
        let announcer = Arc::clone(&process);
        let announce = Box::new(move || (announcer.announce)());
        let (limit, few) = (limit.unwrap_or(u32::MAX), process.few);
        Places { outer: Some(process), ..Places::of_process(limit, few, announce) }
    }

    /// Takes a place here and in the process. With none free, the announcement follows the next
    /// time one becomes free.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        self.await_free();
        // One may have become free before the flag was seen.
        self.try_take()
    }

    fn try_take(self: &Arc<Self>) -> Option<Place> {
        if !self.claim() {
            return None;
        }
        if self.outer.as_ref().is_some_and(|outer| !outer.claim()) {
            self.taken.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(Place { places: Arc::clone(self) })
    }

    fn claim(&self) -> bool {
        let before = self.taken.fetch_add(1, Ordering::SeqCst);
        if before >= self.limit {
            self.taken.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        if self.limit - before - 1 == self.few {
            (self.announce)();
        }
        true
    }

    fn await_free(&self) {
        self.awaited.store(true, Ordering::SeqCst);
        if let Some(outer) = &self.outer {
            outer.await_free();
        }
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        // A plain read first: the flag is almost never set, and then nobody writes the line.
        if self.awaited.load(Ordering::SeqCst) && self.awaited.swap(false, Ordering::SeqCst) {
            (self.announce)();
        }
    }

    /// Places taken now.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Places free now, here and in the process.
    pub fn free(&self) -> u32 {
        let here = self.limit.saturating_sub(self.taken());
        self.outer.as_ref().map_or(here, |outer| here.min(outer.free()))
    }

    /// Whether connections are to be taken one at a time, each with a place of its own.
    pub fn are_few(&self) -> bool {
        self.free() <= self.few
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The places that these lie within.
    pub fn process(&self) -> Option<&Arc<Places>> {
        self.outer.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The process first: whoever is told of the listener's place finds both.
        if let Some(outer) = &self.places.outer {
            outer.leave();
        }
        self.places.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> (Arc<AtomicU32>, Box<dyn Fn() + Send + Sync>) {
        let count = Arc::new(AtomicU32::new(0));
        let inner = Arc::clone(&count);
        let announce = move || {
            inner.fetch_add(1, Ordering::SeqCst);
        };
        (count, Box::new(announce))
    }

    #[test]
    fn both_limits_hold() {
        let process = Arc::new(Places::of_process(3, 0, counted().1));
        let one = Arc::new(Places::of_listener(Some(2), Arc::clone(&process)));
        let two = Arc::new(Places::of_listener(None, Arc::clone(&process)));
        let taken = [one.take().unwrap(), one.take().unwrap()];
        assert!(one.take().is_none(), "the listener is full");
        let third = two.take().unwrap();
        assert!(two.take().is_none(), "the process is full");
        assert_eq!((process.taken(), one.taken(), two.taken()), (3, 2, 1));
        drop((taken, third));
        assert_eq!((process.taken(), one.taken(), two.taken()), (0, 0, 0));
    }

    #[test]
    fn a_free_place_is_announced_only_when_it_was_awaited() {
        let (announced, announce) = counted();
        let process = Arc::new(Places::of_process(1, 1, announce));
        let places = Arc::new(Places::of_listener(None, process));
        drop(places.take());
        assert_eq!(announced.load(Ordering::SeqCst), 0);
        let place = places.take();
        assert!(places.take().is_none());
        drop(place);
        assert!(announced.load(Ordering::SeqCst) >= 1);
        assert!(places.take().is_some());
    }

    #[test]
    fn that_few_are_left_is_announced_each_time_it_comes_to_be() {
        let (announced, announce) = counted();
        let process = Arc::new(Places::of_process(5, 2, announce));
        let places = Arc::new(Places::of_listener(None, Arc::clone(&process)));
        let mut taken = vec![places.take(), places.take()];
        assert_eq!((places.are_few(), announced.load(Ordering::SeqCst)), (false, 0));
        taken.push(places.take());
        assert_eq!((places.are_few(), announced.load(Ordering::SeqCst)), (true, 1));
        taken.push(places.take());
        assert_eq!(announced.load(Ordering::SeqCst), 1);
        taken.truncate(2);
        assert!(!places.are_few());
        taken.push(places.take());
        assert_eq!(announced.load(Ordering::SeqCst), 2);
        let narrow = Arc::new(Places::of_listener(Some(2), process));
        assert!(narrow.are_few(), "with less than that in all, there are never more");
    }
}
