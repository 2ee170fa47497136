//! How evenly each policy shares connections out, at several sizes and with unequal weights.

use super::super::{Lease, Policy};
use super::stage::{Worker, members, policies, pool};

/// The greatest load over the mean, by weight, of connections that stay open. There are so many
/// that the lightest backend's share is `least`.
fn imbalance(policy: &Policy, weights: &[u16], least: u32) -> f64 {
    let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    let lightest = u32::from(*weights.iter().min().unwrap());
    let connections = least * total / lightest;
    let pool = pool(policy, &members(weights));
    // They choose in turn, as workers do.
    let mut workers = [1, 2, 3].map(|seed| Worker::new(&pool, seed));
    let choose = |number| workers[number as usize % 3].choose(number, &[]).unwrap();
    let leases: Vec<Lease> = (0..connections).map(choose).collect();
    let loads = pool.members().iter().map(|member| {
        let expected = f64::from(connections) * f64::from(member.backend.weight) / f64::from(total);
        f64::from(member.backend.connections()) / expected
    });
    let greatest = loads.fold(0.0, f64::max);
    drop(leases);
    greatest
}

/// What each policy keeps to, with at least 100 connections for everyone. For those that hash,
/// chance alone makes it 1.3 among 300 backends; the ring's points add their own.
fn tolerated(policy: &Policy) -> f64 {
    match policy {
        Policy::RoundRobin => 1.03,
        Policy::LeastConnections => 1.03,
        Policy::RandomTwo => 1.08,
        Policy::Maglev { .. } | Policy::Rendezvous(_) => 1.45,
        Policy::Ring(_) => 1.6,
    }
}

#[test]
fn equal_backends_get_equal_shares() {
    for policy in policies() {
        for count in [1, 3, 10, 100, 300] {
            let imbalance = imbalance(&policy, &vec![1; count], 100);
            assert!(imbalance <= tolerated(&policy), "{policy:?} of {count}: {imbalance}");
        }
    }
}

#[test]
fn unequal_backends_get_shares_by_weight() {
    for policy in policies() {
        for count in [3, 10, 100, 300] {
            let weights: Vec<u16> = (0..count).map(|number| 1 + number % 4).collect();
            let imbalance = imbalance(&policy, &weights, 100);
            assert!(imbalance <= tolerated(&policy), "{policy:?} of {count}: {imbalance}");
        }
    }
}

#[test]
fn weights_as_in_srv_records_are_kept_to() {
    // A ring of such weights is tested by itself: it takes a while to build.
    let others = policies().into_iter().filter(|policy| !matches!(policy, Policy::Ring(_)));
    for policy in others {
        let imbalance = imbalance(&policy, &[65_535, 30_000, 10_001], 300);
        assert!(imbalance <= tolerated(&policy), "{policy:?}: {imbalance}");
    }
}

/// Without chance among equals, all workers would begin with the same backend.
#[test]
fn idle_workers_do_not_all_run_to_the_same_backend() {
    for policy in [Policy::RoundRobin, Policy::LeastConnections, Policy::RandomTwo] {
        let pool = pool(&policy, &members(&[1; 8]));
        let mut names: Vec<_> = (0..64).map(|seed| Worker::new(&pool, seed).name(0)).collect();
        names.sort();
        names.dedup();
        assert!(names.len() >= 6, "{policy:?}: {names:?}");
    }
}

/// A backend drawn twice is compared with nobody.
#[test]
fn random_two_compares_two_backends() {
    let pool = pool(&Policy::RandomTwo, &members(&[1, 1]));
    let mut worker = Worker::new(&pool, 1);
    let mut leases = Vec::new();
    let mut uneven = 0;
    for _ in 0..500 {
        leases.extend([worker.choose(0, &[]).unwrap(), worker.choose(0, &[]).unwrap()]);
        let connections = |index: usize| pool.members()[index].backend.connections();
        uneven += u32::from(connections(0) != connections(1));
    }
    assert!(uneven < 50, "{uneven}");
}

/// Connections of other workers count.
#[test]
fn least_connections_looks_beyond_its_own_worker() {
    for (policy, count) in [(Policy::LeastConnections, 8), (Policy::LeastConnections, 100)] {
        let pool = pool(&policy, &members(&vec![1; count]));
        let held: Vec<_> =
            pool.members()[1..].iter().map(|member| member.backend.lease()).collect();
        let mut worker = Worker::new(&pool, 1);
        let free = (0..100).filter(|_| &*worker.name(0) == "b0").count();
        // Of many, it has to be in the sample.
        let expected = if count > 8 { 3..20 } else { 100..101 };
        assert!(expected.contains(&free), "{count}: {free}");
        drop(held);
    }
}
