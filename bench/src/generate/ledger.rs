//! Owns the books on numbered units: what is under way, what has come, and what came late or twice.
//! It counts exactly whatever the order, and knows nothing of what the units are.

use std::collections::{BTreeMap, VecDeque};

/// What has come of one stream, on the side that receives it. Takes memory by gaps, not by units.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// All below are in, but for the gaps.
    next: u64,
    /// Where units are missing: the first of them, and the first that is not.
    gaps: BTreeMap<u64, u64>,
}

/// What one arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// After all that came before it.
    InOrder,
    /// A later one was here first.
    Reordered,
    /// It was here before.
    Again,
}

impl Arrived {
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence >= self.next {
            if sequence > self.next {
                self.gaps.insert(self.next, sequence);
            }
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        let gap = self.gaps.range(..=sequence).next_back().map(|(start, end)| (*start, *end));
        let Some((start, end)) = gap.filter(|(_, end)| sequence < *end) else {
            return Arrival::Again;
        };
        self.gaps.remove(&start);
        if start < sequence {
            self.gaps.insert(start, sequence);
        }
        if sequence + 1 < end {
            self.gaps.insert(sequence + 1, end);
        }
        Arrival::Reordered
    }
}

/// What one sender has under way, each with the time it was due.
#[derive(Clone, Debug, Default)]
pub struct Outstanding {
    /// The number of the first in the queue.
    first: u64,
    /// None: it has come.
    under_way: VecDeque<Option<u64>>,
    arrived: Arrived,
}

impl Outstanding {
    /// A unit leaves; its number.
    pub fn leave(&mut self, due: u64) -> u64 {
        self.under_way.push_back(Some(due));
        self.first + self.under_way.len() as u64 - 1
    }

    /// What the arrival is, and when the unit was due if it is its first. None: no such unit left.
    pub fn arrive(&mut self, sequence: u64) -> Option<(Arrival, Option<u64>)> {
        if sequence >= self.first + self.under_way.len() as u64 {
            return None;
        }
        let place = sequence.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let due = place.and_then(|place| self.under_way.get_mut(place)?.take());
        let arrival = self.arrived.arrive(sequence);
        while self.under_way.front().is_some_and(Option::is_none) {
            self.under_way.pop_front();
            self.first += 1;
        }
        Some((arrival, due))
    }

    /// The number of the next that leaves.
    pub fn next(&self) -> u64 {
        self.first + self.under_way.len() as u64
    }

    /// The number of the oldest that is under way, for answers that do not say theirs.
    pub fn oldest(&self) -> Option<u64> {
        // What has come is taken off the front.
        (!self.under_way.is_empty()).then_some(self.first)
    }

    /// Nothing that was due before will come any more; when each of it was due.
    pub fn expire(&mut self, before: u64) -> Vec<u64> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.under_way.front()
            && oldest.is_none_or(|due| due < before)
        {
            expired.extend(self.under_way.pop_front().flatten());
            self.first += 1;
        }
        expired
    }

    /// When the oldest that is under way was due.
    pub fn oldest_due(&self) -> Option<u64> {
        self.under_way.front().copied().flatten()
    }

    /// Nothing that is under way will come any more; when each of it was due.
    pub fn give_up(&mut self) -> impl Iterator<Item = u64> {
        self.first += self.under_way.len() as u64;
        std::mem::take(&mut self.under_way).into_iter().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_arrival_is_told_apart() {
        let mut arrived = Arrived::default();
        let told: Vec<_> =
            [0, 1, 4, 3, 3, 2, 0, 5].into_iter().map(|number| arrived.arrive(number)).collect();
        use Arrival::{Again, InOrder, Reordered};
        assert_eq!(told, [InOrder, InOrder, InOrder, Reordered, Again, Reordered, Again, InOrder]);
        assert!(arrived.gaps.is_empty());
    }

    /// Loss, duplicates and changed places at random, against a set of all that came.
    #[test]
    fn the_count_is_exact_whatever_happens_on_the_way() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut units: Vec<u64> = Vec::new();
            for number in 0..2_000 {
                let copies = [0, 1, 1, 1, 1, 1, 2, 3][random.usize(0..8)];
                units.extend(std::iter::repeat_n(number, copies));
            }
            for place in 0..units.len() {
                let other = (place + random.usize(0..20)).min(units.len() - 1);
                units.swap(place, other);
            }
            let (mut seen, mut highest) = (HashSet::new(), None);
            let mut arrived = Arrived::default();
            for number in units {
                let wanted = match (seen.insert(number), Some(number) > highest) {
                    (false, _) => Arrival::Again,
                    (true, true) => Arrival::InOrder,
                    (true, false) => Arrival::Reordered,
                };
                highest = highest.max(Some(number));
                assert_eq!(arrived.arrive(number), wanted, "seed {seed}, unit {number}");
            }
        }
    }

    #[test]
    fn a_sender_knows_when_each_answer_was_due() {
        let mut outstanding = Outstanding::default();
        let numbers: Vec<u64> = (10..14).map(|due| outstanding.leave(due)).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(outstanding.arrive(1), Some((Arrival::InOrder, Some(11))));
        assert_eq!(outstanding.arrive(0), Some((Arrival::Reordered, Some(10))));
        assert_eq!(outstanding.arrive(1), Some((Arrival::Again, None)));
        assert_eq!(outstanding.oldest(), Some(2));
        assert_eq!(outstanding.arrive(4), None);
        assert_eq!(outstanding.give_up().collect::<Vec<_>>(), [12, 13]);
        assert!(outstanding.is_empty());
        // What was given up and comes nevertheless has no time any more.
        assert_eq!(outstanding.arrive(3), Some((Arrival::InOrder, None)));
        assert_eq!(outstanding.leave(20), 4);
        assert_eq!(outstanding.arrive(4), Some((Arrival::InOrder, Some(20))));
    }

    #[test]
    fn what_is_too_old_is_given_up_and_no_more() {
        let mut outstanding = Outstanding::default();
        (10..15).for_each(|due| assert_eq!(outstanding.leave(due), due - 10));
        assert_eq!(outstanding.arrive(1), Some((Arrival::InOrder, Some(11))));
        assert_eq!(outstanding.oldest_due(), Some(10));
        assert_eq!(outstanding.expire(13), [10, 12]);
        assert_eq!(outstanding.expire(13), [0; 0]);
        assert_eq!((outstanding.oldest(), outstanding.oldest_due()), (Some(3), Some(13)));
        // One of them comes nevertheless, and the next one in time.
        assert_eq!(outstanding.arrive(2), Some((Arrival::InOrder, None)));
        assert_eq!(outstanding.arrive(3), Some((Arrival::InOrder, Some(13))));
        assert_eq!(outstanding.expire(u64::MAX), [14]);
        assert!(outstanding.is_empty() && outstanding.oldest_due().is_none());
    }
}
