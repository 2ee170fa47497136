//! How many keys move when backends come, go, fail and return.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::policy::Policy;
use super::super::tier::Table;
use super::super::{Hashing, Member, Pool, Standing};
use super::stage::{
    Worker, hashing, hashing_policies, members, owners, pool, republished, standing,
};

const KEYS: u32 = 10_000;

/// Keys whose owner changed, and those of them that `lost` had or has.
fn moved(before: &[Arc<str>], after: &[Arc<str>], one: &str) -> (usize, usize) {
    let pairs = || before.iter().zip(after).filter(|(before, after)| before != after);
    let ones = pairs().filter(|(before, after)| &***before == one || &***after == one).count();
    (pairs().count(), ones)
}

/// Keys moved when b0 of `count` leaves, in parts of all; and those that it did not own.
fn leaving(policy: &Policy, count: usize) -> (f64, usize) {
    let all = members(&vec![1; count]);
    let before = owners(&pool(policy, &all), KEYS);
    let after = owners(&pool(policy, &all[1..]), KEYS);
    assert!(after.iter().all(|name| &**name != "b0"));
    let (moved, its) = moved(&before, &after, "b0");
    (moved as f64 / f64::from(KEYS), moved - its)
}

#[test]
fn few_keys_move_when_one_leaves_or_joins() {
    let [maglev, ring, rendezvous] = hashing_policies(&hashing());
    for count in [3, 10, 100] {
        let fair = 1.0 / count as f64;
        // Joining is leaving read backwards: the owners of two pools are compared.
        // Three deviations of chance, for so few keys.
        let chance = 3.0 * (fair / f64::from(KEYS)).sqrt();
        let (share, others) = leaving(&rendezvous, count);
        assert!(others == 0 && share <= 1.05 * fair + chance, "{count}: {share}, {others}");
        let (share, others) = leaving(&ring, count);
        assert!(others == 0 && share <= 1.3 * fair + chance, "{count}: {share}, {others}");
        let (share, _) = leaving(&maglev, count);
        assert!(share <= 2.2 * fair, "{count}: {share}");
    }
}

#[test]
fn a_failure_moves_the_keys_of_who_failed_alone_and_they_return() {
    for policy in hashing_policies(&hashing()) {
        let all = members(&[1, 2, 3, 1, 1, 4, 1]);
        let healthy = pool(&policy, &all);
        let before = owners(&healthy, KEYS);
        for down in [Standing::Down, Standing::Ejected, Standing::Draining] {
            let mut some = all.clone();
            some[2].standing = down;
            let failed = republished(&healthy, &some);
            let during = owners(&failed, KEYS);
            let (moved, its) = moved(&before, &during, "b2");
            assert_eq!(moved, its, "{policy:?}");
            assert!(moved > 2000 && during.iter().all(|name| &**name != "b2"), "{policy:?}");
            // What it had is not all another one's.
            let heirs = before.iter().zip(&during).filter(|(before, _)| &***before == "b2");
            let mut heirs: Vec<_> = heirs.map(|(_, heir)| heir).collect();
            heirs.sort();
            heirs.dedup();
            assert_eq!(heirs.len(), 6, "{policy:?}");
            assert_eq!(before, owners(&republished(&failed, &all), KEYS), "{policy:?}");
        }
    }
}

#[test]
fn a_slow_start_moves_no_keys() {
    // A bound on load holds it to its whole share too.
    for bounded_load in [None, Some(150)] {
        for policy in hashing_policies(&Hashing { bounded_load, ..hashing() }) {
            let held = |standing| {
                let mut all = members(&[1; 5]);
                all[3].standing = standing;
                let mut worker = Worker::new(&pool(&policy, &all), 1);
                let lease = |key| worker.choose(key, &[]).unwrap();
                let leases: Vec<_> = (0..300).map(lease).collect();
                leases.iter().map(|lease| Arc::clone(&lease.backend().name)).collect::<Vec<_>>()
            };
            assert_eq!(held(Standing::Up), held(Standing::Starting(10)), "{policy:?}");
        }
    }
}

#[test]
fn a_slow_start_takes_its_part_where_nothing_is_hashed() {
    for policy in [Policy::RoundRobin, Policy::LeastConnections, Policy::RandomTwo] {
        let mut all = members(&[1; 10]);
        all[3].standing = Standing::Starting(10);
        let pool = pool(&policy, &all);
        let mut worker = Worker::new(&pool, 1);
        let leases: Vec<_> = (0..910).map(|_| worker.choose(0, &[]).unwrap()).collect();
        let connections = pool.members()[3].backend.connections();
        assert!((8..=14).contains(&connections), "{policy:?}: {connections}");
        drop(leases);
    }
}

fn shares_table(one: &Pool, other: &Pool) -> bool {
    match (&one.tiers()[0].table, &other.tiers()[0].table) {
        (Table::Maglev(one), Table::Maglev(other)) => Arc::ptr_eq(one, other),
        (Table::Ring(one), Table::Ring(other)) => Arc::ptr_eq(one, other),
        (Table::Rendezvous(one), Table::Rendezvous(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

#[test]
fn tables_are_built_once_for_the_same_members_and_weights() {
    for policy in hashing_policies(&hashing()) {
        let all = members(&[1, 2, 3]);
        let first = pool(&policy, &all);
        let sick: Vec<Member> = all.iter().map(|one| standing(one, Standing::Down)).collect();
        assert!(shares_table(&first, &republished(&first, &sick)));
        let renewed = members(&[1, 2, 3]);
        assert!(shares_table(&first, &republished(&first, &renewed)), "equal, not the same");
        assert!(!shares_table(&first, &republished(&first, &members(&[1, 2, 4]))));
        assert!(!shares_table(&first, &republished(&first, &members(&[1, 2]))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whoever is down, the keys of the others stay where they are.
    #[test]
    fn health_concerns_nobody_else(
        weights in prop::collection::vec(1u16..8, 2..12),
        sick in prop::collection::vec(any::<bool>(), 12),
    ) {
        for policy in hashing_policies(&hashing()) {
            let all = members(&weights);
            let mut some = all.clone();
            for (member, sick) in some.iter_mut().zip(&sick) {
                if *sick {
                    member.standing = Standing::Down;
                }
            }
            prop_assume!(some.iter().any(|member| member.standing == Standing::Up));
            let down = |name: &Arc<str>| some.iter().any(|member| {
                member.backend.name == *name && member.standing == Standing::Down
            });
            let whole = pool(&policy, &all);
            let before = owners(&whole, 200);
            let after = owners(&republished(&whole, &some), 200);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(!down(after));
                prop_assert!(down(before) || before == after);
            }
        }
    }
}
