//! Owns the measure of evenness: the greatest load over the mean, by weight.

use ringmain::balance::{Lease, Policy};

use super::stage::{Worker, members, policies, pool};
use super::table;

pub fn report() {
    const COUNTS: [u16; 4] = [3, 10, 100, 300];
    let headings: Vec<String> = COUNTS
        .iter()
        .map(|count| format!("{count} equal"))
        .chain(COUNTS.iter().map(|count| format!("{count} unequal")))
        .collect();
    let cells = |policy: &Policy| {
        let equal = COUNTS.iter().map(|count| vec![1; usize::from(*count)]);
        // Weights 1, 2, 3 and 4 in turn.
        let unequal = COUNTS.iter().map(|count| (0..*count).map(|number| 1 + number % 4).collect());
        let cell = |weights: Vec<u16>| format!("{:.3}", imbalance(policy, &weights));
        equal.chain(unequal).map(cell).collect()
    };
    let rows: Vec<_> = policies().iter().map(|(name, policy)| (*name, cells(policy))).collect();
    let title = format!("Imbalance: max/mean of {PER_WEIGHT} open connections per weight");
    table::print(&title, &headings, &rows);
}

fn imbalance(policy: &Policy, weights: &[u16]) -> f64 {
    let members = members(weights.iter().copied());
    let pool = pool(policy, &members);
    let mut workers = [1, 2, 3, 4].map(|seed| Worker::new(&pool, seed));
    let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    let choose = |number: u32| workers[number as usize % 4].choose(number);
    let leases: Vec<Lease> = (0..PER_WEIGHT * total).filter_map(choose).collect();
    let load = |member: &ringmain::balance::Member| {
        f64::from(member.backend.connections())
            / f64::from(PER_WEIGHT * u32::from(member.backend.weight))
    };
    let greatest = members.iter().map(load).fold(0.0, f64::max);
    drop(leases);
    greatest
}

const PER_WEIGHT: u32 = 1000;
