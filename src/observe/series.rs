//! Owns the tallies behind one metric: for each key, one per worker, created when first asked for.
//! Does not know what is counted or how it is shown.

use crossbeam_utils::CachePadded;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One key's tallies, of those workers that asked for one.
pub(super) type Tallies<T> = Vec<Arc<CachePadded<T>>>;

/// The tallies of every key.
///
/// Discovery brings ever new backends, so keys must be forgotten at some time. A key goes as a
/// whole or not at all: if only one worker's part went, the sum would fall and look like a restart
/// to Prometheus. It goes when no worker holds any of its tallies and there are many keys; until
/// then it stays, so that its last values are scraped. The number of keys never exceeds
/// `KEYS_ALWAYS_KEPT` or twice the keys held at the last clearing, whichever is more.
#[derive(Debug)]
pub(super) struct Series<K, T> {
    workers: usize,
    /// A new key is preceded by a clearing once there are this many.
    clear_at: usize,
    /// Each vector has one place per worker.
    tallies: BTreeMap<K, Vec<Option<Arc<CachePadded<T>>>>>,
}

impl<K: Ord + Clone, T: Default> Series<K, T> {
    pub fn new(workers: usize) -> Self {
        Self { workers, clear_at: KEYS_ALWAYS_KEPT, tallies: BTreeMap::new() }
    }

    /// The tally of `worker` for `key`: the same one each time, as long as the key is kept.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn tally(&mut self, key: &K, worker: usize) -> Arc<CachePadded<T>> {
        if self.tallies.len() >= self.clear_at && !self.tallies.contains_key(key) {
            self.forget_unheld();
        }
        let places = self.tallies.entry(key.clone()).or_insert_with(|| vec![None; self.workers]);
        places[worker].get_or_insert_default().clone()
    }

    /// Every key with its tallies, in the order of the keys.
    pub fn all(&self) -> Vec<(K, Tallies<T>)> {
        let keys = self.tallies.iter();
        keys.map(|(key, places)| (key.clone(), places.iter().flatten().cloned().collect()))
            .collect()
    }

    fn forget_unheld(&mut self) {
        self.tallies
            .retain(|_, places| places.iter().flatten().any(|tally| Arc::strong_count(tally) > 1));
        // Doubling keeps the cost of clearing constant per new key.
        self.clear_at = KEYS_ALWAYS_KEPT.max(2 * self.tallies.len());
    }
}

const KEYS_ALWAYS_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tally::Count;

    #[test]
    fn a_worker_gets_the_same_tally_again_and_another_worker_its_own() {
        let mut series = Series::<usize, Count>::new(2);
        let first = series.tally(&7, 0);
        assert!(Arc::ptr_eq(&first, &series.tally(&7, 0)));
        assert!(!Arc::ptr_eq(&first, &series.tally(&7, 1)));
        assert_eq!(series.all()[0].1.len(), 2);
    }

    #[test]
    fn keys_nobody_holds_are_forgotten_when_there_are_many() {
        let mut series = Series::<usize, Count>::new(2);
        let held = series.tally(&0, 1);
        held.add(5);
        series.tally(&0, 0).add(2);
        for key in 1..KEYS_ALWAYS_KEPT {
            series.tally(&key, 0);
        }
        assert_eq!(series.all().len(), KEYS_ALWAYS_KEPT, "below the limit nothing is forgotten");

        series.tally(&KEYS_ALWAYS_KEPT, 0);
        let kept = series.all();
        assert_eq!(kept.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [0, KEYS_ALWAYS_KEPT]);
        let sum: u64 = kept[0].1.iter().map(|tally| tally.get()).sum();
        assert_eq!(sum, 7, "a key that one worker holds keeps the counts of all workers");
    }

    #[test]
    fn keys_that_are_held_are_never_forgotten() {
        let mut series = Series::<usize, Count>::new(1);
        let held: Vec<_> = (0..3 * KEYS_ALWAYS_KEPT).map(|key| series.tally(&key, 0)).collect();
        assert_eq!(series.all().len(), held.len());
    }
}
