//! Which backends have more sessions than their share after a change, and how many of them are to
//! move now. Closes none, and does not know which: the workers take those that are idle longest.

use std::sync::Arc;
use std::time::Duration;

use crate::config;

/// The rebalancing of one pool. It rests until something changes, then works until nobody has
/// too much.
#[derive(Debug)]
pub struct Rebalance {
    settings: config::Rebalance,
    /// When the next step is due; none: it rests.
    next: Option<Duration>,
    /// How many were too many at the last step, over all backends.
    excess: u64,
    /// Steps in a row that helped nothing.
    in_vain: u32,
}

/// What one backend carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub name: Arc<str>,
    pub connections: u32,
    /// Of those, the ones that have been asked to move and have not ended yet.
    pub moving: u32,
    /// Its share of new connections; 0 if it gets none, and then what it has is not moved.
    pub weight: u64,
}

/// Between two steps.
const STEP: Duration = Duration::from_secs(1);
/// Steps in vain after which the time between two is doubled, up to the longest. Some are no sign:
/// where few sessions are left to be moved, it is chance whether they come back to where room is.
const PATIENCE: u32 = 8;
const LONGEST_STEP: Duration = Duration::from_secs(64);

impl Rebalance {
    pub fn new(settings: config::Rebalance) -> Rebalance {
        Rebalance { settings, next: None, excess: u64::MAX, in_vain: 0 }
    }

    /// A backend has come, or gets another share.
    pub fn changed(&mut self, now: Duration) {
        // A step later, so that sessions that are just being made settle first.
        let soon = now.saturating_add(STEP);
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        (self.excess, self.in_vain) = (u64::MAX, 0);
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.next
    }

    /// How many sessions each backend is to close now, at most `rate` in all.
    pub fn take_due(&mut self, loads: &[Load], now: Duration) -> Vec<(Arc<str>, u32)> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let excess = self.excess(loads);
        // Whoever moves comes back, and not always to where there is room.
        let rests = excess.is_empty() && loads.iter().all(|load| load.moving == 0);
        let step = self.step(excess.iter().map(|(_, excess)| u64::from(*excess)).sum());
        self.next = (!rests).then(|| now.saturating_add(step));
        closing(&excess, self.settings.rate)
    }

    /// The time until the next step. Clients that come back to where they were, because who has
    /// come takes none of them, would be closed again and again: they are left in peace for ever
    /// longer.
    fn step(&mut self, excess: u64) -> Duration {
        self.in_vain = if excess < self.excess { 0 } else { self.in_vain.saturating_add(1) };
        self.excess = excess;
        let doublings = self.in_vain / PATIENCE;
        LONGEST_STEP.min(STEP.saturating_mul(2_u32.saturating_pow(doublings)))
    }

    /// Who has more than its share and the tolerance, and by how much.
    fn excess(&self, loads: &[Load]) -> Vec<(Arc<str>, u32)> {
        let loads: Vec<_> = loads.iter().filter(|load| load.weight > 0).collect();
        let total: u64 = loads.iter().map(|load| u64::from(load.connections)).sum();
        let weights: u64 = loads.iter().map(|load| load.weight).sum();
        let excess = loads.iter().filter_map(|load| {
            let tolerance = 100 + u64::from(self.settings.tolerance);
            let share = u128::from(total) * u128::from(load.weight) * u128::from(tolerance);
            let most = share.div_ceil(u128::from(weights) * 100);
            // The two are read one after the other, and change meanwhile.
            let has = load.connections.saturating_sub(load.moving);
            let excess = u128::from(has).saturating_sub(most);
            let excess = u32::try_from(excess).unwrap_or(u32::MAX);
            (excess > 0).then(|| (Arc::clone(&load.name), excess))
        });
        excess.collect()
    }
}

/// Divides the rate in proportion to the excess, and gives what is left to the largest.
fn closing(excess: &[(Arc<str>, u32)], rate: u32) -> Vec<(Arc<str>, u32)> {
    let total: u64 = excess.iter().map(|(_, excess)| u64::from(*excess)).sum();
    if total <= u64::from(rate) {
        return excess.to_vec();
    }
    let part = |excess: u32| (u64::from(rate) * u64::from(excess) / total) as u32;
    let mut closing: Vec<_> =
        excess.iter().map(|(name, excess)| (Arc::clone(name), part(*excess))).collect();
    let mut left = rate - closing.iter().map(|(_, count)| count).sum::<u32>();
    let mut largest_first: Vec<usize> = (0..excess.len()).collect();
    largest_first.sort_by_key(|index| std::cmp::Reverse(excess[*index].1));
    for index in largest_first {
        let more = left.min(1);
        closing[index].1 += more;
        left -= more;
    }
    closing.retain(|(_, count)| *count > 0);
    closing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn loads(connections: &[(u32, u64)]) -> Vec<Load> {
        let load = |(index, (connections, weight)): (usize, &(u32, u64))| Load {
            name: format!("b{index}").into(),
            connections: *connections,
            moving: 0,
            weight: *weight,
        };
        connections.iter().enumerate().map(load).collect()
    }

    fn rebalance(rate: u32, tolerance: u16) -> Rebalance {
        Rebalance::new(config::Rebalance { rate, tolerance })
    }

    /// What a step closes at each backend, by its place.
    fn step(rebalance: &mut Rebalance, loads: &[Load], now: Duration) -> Vec<u32> {
        let closing: BTreeMap<_, _> = rebalance.take_due(loads, now).into_iter().collect();
        loads.iter().map(|load| closing.get(&load.name).copied().unwrap_or(0)).collect()
    }

    #[test]
    fn nothing_moves_without_a_change() {
        let mut rebalance = rebalance(10, 10);
        assert_eq!(step(&mut rebalance, &loads(&[(100, 1), (0, 1)]), SECOND), [0, 0]);
        assert_eq!(rebalance.next_deadline(), None);
    }

    #[test]
    fn only_the_excess_moves_at_most_so_many_at_a_time() {
        let mut rebalance = rebalance(10, 0);
        rebalance.changed(Duration::ZERO);
        assert_eq!(rebalance.next_deadline(), Some(SECOND));
        // The share of each is 40.
        let loads = loads(&[(60, 1), (55, 1), (5, 1)]);
        assert_eq!(step(&mut rebalance, &loads, SECOND), [6, 4, 0]);
    }

    #[test]
    fn those_that_are_moving_already_are_not_asked_for_again() {
        let mut rebalance = rebalance(10, 0);
        rebalance.changed(Duration::ZERO);
        assert_eq!(step(&mut rebalance, &loads(&[(16, 1), (4, 1)]), SECOND), [6, 0]);
        // Two have ended and come back elsewhere; four take their time.
        let mut slow = loads(&[(14, 1), (6, 1)]);
        slow[0].moving = 4;
        assert_eq!(step(&mut rebalance, &slow, 2 * SECOND), [0, 0]);
        assert_eq!(rebalance.next_deadline(), Some(3 * SECOND), "where will they come back?");
        assert_eq!(step(&mut rebalance, &loads(&[(10, 1), (10, 1)]), 3 * SECOND), [0, 0]);
        assert_eq!(rebalance.next_deadline(), None, "balanced: it rests");
    }

    #[test]
    fn those_that_came_back_to_where_they_were_are_asked_for_again_at_once() {
        let mut rebalance = rebalance(10, 0);
        rebalance.changed(Duration::ZERO);
        assert_eq!(step(&mut rebalance, &loads(&[(16, 1), (4, 1)]), SECOND), [6, 0]);
        assert_eq!(step(&mut rebalance, &loads(&[(13, 1), (7, 1)]), 2 * SECOND), [3, 0]);
    }

    #[test]
    fn who_comes_back_in_vain_is_left_in_peace_for_ever_longer() {
        let mut rebalance = rebalance(10, 0);
        rebalance.changed(Duration::ZERO);
        let loads = loads(&[(16, 1), (4, 1)]);
        let mut pauses = Vec::new();
        for _ in 0..60 {
            let now = rebalance.next_deadline().unwrap();
            assert_eq!(step(&mut rebalance, &loads, now), [6, 0]);
            pauses.push((rebalance.next_deadline().unwrap() - now).as_secs());
        }
        assert_eq!(pauses[..9], [1, 1, 1, 1, 1, 1, 1, 1, 2]);
        pauses.dedup();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64]);
        // Another change may help.
        let now = rebalance.next_deadline().unwrap() - 50 * SECOND;
        rebalance.changed(now);
        assert_eq!(rebalance.next_deadline(), Some(now + SECOND));
    }

    #[test]
    fn weights_and_tolerance_say_what_is_too_much() {
        let mut rebalance = rebalance(1000, 10);
        rebalance.changed(Duration::ZERO);
        // Shares of 75 and 25, with a tenth on top.
        assert_eq!(step(&mut rebalance, &loads(&[(82, 3), (18, 1)]), SECOND), [0, 0]);
        rebalance.changed(SECOND);
        assert_eq!(step(&mut rebalance, &loads(&[(90, 3), (10, 1)]), 2 * SECOND), [7, 0]);
    }

    #[test]
    fn a_backend_that_gets_nothing_new_keeps_what_it_has() {
        let mut rebalance = rebalance(1000, 0);
        rebalance.changed(Duration::ZERO);
        assert_eq!(step(&mut rebalance, &loads(&[(90, 0), (10, 1), (10, 1)]), SECOND), [0, 0, 0]);
    }

    proptest! {
        /// Whoever leaves comes back to the backend with the least for its weight: the pool is
        /// balanced after a while, and never are more closed in a step than the rate says.
        #[test]
        fn it_converges_and_keeps_its_rate(
            connections in prop::collection::vec((0u32..500, 1u64..10), 1..12),
            rate in 1u32..50,
            tolerance in 0u16..30,
        ) {
            let mut loads = loads(&connections);
            let mut rebalance = rebalance(rate, tolerance);
            rebalance.changed(Duration::ZERO);
            let mut now = Duration::ZERO;
            while let Some(next) = rebalance.next_deadline() {
                prop_assert!(now < 20_000 * SECOND, "it never rests");
                now = next;
                let closing = rebalance.take_due(&loads, now);
                prop_assert!(closing.iter().map(|(_, count)| count).sum::<u32>() <= rate);
                for (name, count) in closing {
                    let load = loads.iter_mut().find(|load| load.name == name).unwrap();
                    prop_assert!(count <= load.connections);
                    load.connections -= count;
                    for _ in 0..count {
                        let least = |load: &&mut Load| {
                            u64::from(load.connections) * 1_000_000 / load.weight
                        };
                        loads.iter_mut().min_by_key(least).unwrap().connections += 1;
                    }
                }
            }
            let total: u64 = loads.iter().map(|load| u64::from(load.connections)).sum();
            let weights: u64 = loads.iter().map(|load| load.weight).sum();
            for load in &loads {
                let share = total * load.weight * (100 + u64::from(tolerance));
                prop_assert!(u64::from(load.connections) <= share.div_ceil(weights * 100));
            }
        }
    }
}
