//! Who is passed over at the moment of choosing: full, fast ejected, or above the bound on load.

use std::sync::Arc;

use super::super::{Hashing, Member, NoChoice, Standing};
use super::stage::{
    Worker, changed, hashing, hashing_policies, members, owners, policies, pool, standing,
};

/// Members that hold one connection each.
fn limited(count: usize) -> Vec<Member> {
    members(&vec![1; count])
        .iter()
        .map(|member| changed(member, |backend| backend.limit = Some(1)))
        .collect()
}

#[test]
fn every_place_is_found_and_then_none() {
    for policy in policies() {
        for count in [1, 3, 100] {
            let pool = pool(&policy, &limited(count));
            let mut worker = Worker::new(&pool, 1);
            let mut leases: Vec<_> =
                (0..count as u32).map(|key| worker.choose(key, &[]).unwrap()).collect();
            assert_eq!(worker.choose(0, &[]).unwrap_err(), NoChoice::AtLimit, "{policy:?}");
            let freed = leases.swap_remove(count / 2);
            let name = Arc::clone(&freed.backend().name);
            drop(freed);
            assert_eq!(worker.name(0), name, "{policy:?}");
        }
    }
}

#[test]
fn retries_try_everyone_once() {
    for policy in policies() {
        for count in [1, 3, 100] {
            let mut worker = Worker::new(&pool(&policy, &members(&vec![1; count])), 1);
            let mut tried = Vec::new();
            while let Ok(lease) = worker.choose(7, &tried) {
                assert!(!tried.contains(&lease.backend().name), "{policy:?}");
                tried.push(Arc::clone(&lease.backend().name));
            }
            assert_eq!(tried.len(), count, "{policy:?}");
            assert_eq!(worker.choose(7, &tried).unwrap_err(), NoChoice::Exhausted);
        }
    }
}

#[test]
fn a_full_backend_that_was_not_tried_is_worth_to_wait_for() {
    for policy in policies() {
        let pool = pool(&policy, &limited(2));
        let mut worker = Worker::new(&pool, 1);
        let lease = pool.members()[0].backend.lease();
        let tried = [Arc::clone(&pool.members()[1].backend.name)];
        assert_eq!(worker.choose(0, &tried).unwrap_err(), NoChoice::AtLimit, "{policy:?}");
        drop(lease);
        let tried = [0, 1].map(|index: usize| Arc::clone(&pool.members()[index].backend.name));
        assert_eq!(worker.choose(0, &tried).unwrap_err(), NoChoice::Exhausted, "{policy:?}");
    }
}

#[test]
fn weight_zero_receives_nothing() {
    for policy in policies() {
        let names = owners(&pool(&policy, &members(&[0, 1, 0])), 50);
        assert!(names.iter().all(|name| &**name == "b1"), "{policy:?}");
        let mut worker = Worker::new(&pool(&policy, &members(&[0])), 1);
        assert_eq!(worker.choose(0, &[]).unwrap_err(), NoChoice::Exhausted, "{policy:?}");
        let mut worker = Worker::new(&pool(&policy, &[]), 1);
        assert_eq!(worker.choose(0, &[]).unwrap_err(), NoChoice::Exhausted, "{policy:?}");
    }
}

#[test]
fn a_fast_ejection_holds_at_once_unless_nothing_else_is_left() {
    for policy in policies() {
        let all = members(&[1, 1, 1]);
        let pool = pool(&policy, &all);
        let mut worker = Worker::new(&pool, 1);
        all[0].backend.set_ejected(true);
        assert!((0..100).all(|key| &*worker.name(key) != "b0"), "{policy:?}");
        all[1].backend.set_ejected(true);
        all[2].backend.set_ejected(true);
        let names = owners(&pool, 100);
        assert!(["b0", "b1", "b2"].iter().all(|name| names.iter().any(|owner| &**owner == *name)));
        all[1].backend.set_ejected(false);
        assert!((0..100).all(|key| &*worker.name(key) == "b1"), "{policy:?}");
    }
}

#[test]
fn a_full_backend_is_waited_for_rather_than_an_ejected_one_tried() {
    for policy in policies() {
        let all = limited(2);
        let pool = pool(&policy, &all);
        all[0].backend.set_ejected(true);
        let _lease = all[1].backend.lease();
        let mut worker = Worker::new(&pool, 1);
        assert_eq!(worker.choose(0, &[]).unwrap_err(), NoChoice::AtLimit, "{policy:?}");
    }
}

#[test]
fn a_bound_on_load_is_kept_and_gives_the_next_in_order() {
    let bounded = Hashing { bounded_load: Some(125), ..hashing() };
    for policy in hashing_policies(&bounded) {
        for weights in [vec![1; 10], vec![1, 1, 2, 4], vec![1; 100]] {
            let pool = pool(&policy, &members(&weights));
            let mut workers = [Worker::new(&pool, 1), Worker::new(&pool, 2)];
            let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
            // Everyone has the same key.
            let one_key: Vec<_> = (0..50 * total)
                .map(|number| workers[number as usize % 2].choose(7, &[]).unwrap())
                .collect();
            for member in pool.members() {
                let connections = member.backend.connections();
                // Its own bound, and one for each worker that counted a while ago.
                let most = (50 * 125 * u32::from(member.backend.weight)).div_ceil(100) + 2;
                assert!(connections <= most, "{policy:?}: {connections} of {most}");
            }
            drop(one_key);
        }
    }
}

#[test]
fn a_bound_on_load_leaves_keys_alone_where_load_is_even() {
    let bounded = Hashing { bounded_load: Some(300), ..hashing() };
    for (plain, bounded) in hashing_policies(&hashing()).iter().zip(hashing_policies(&bounded)) {
        let all = members(&[1; 10]);
        let expected = owners(&pool(plain, &all), 500);
        let pool = pool(&bounded, &all);
        let mut worker = Worker::new(&pool, 1);
        // The first few make the mean.
        let leases: Vec<_> = (0..500).map(|key| worker.choose(key, &[]).unwrap()).collect();
        let same =
            |(lease, name): &(&super::super::Lease, &Arc<str>)| lease.backend().name == **name;
        let kept = leases.iter().zip(&expected).filter(same).count();
        assert!(kept >= 480, "{bounded:?}: {kept}");
    }
}

#[test]
fn a_bound_on_load_turns_nobody_away() {
    let bounded = Hashing { bounded_load: Some(101), ..hashing() };
    for policy in hashing_policies(&bounded) {
        let mut all = members(&[1; 3]);
        // Those that are below the bound cannot be taken.
        all[1] = standing(&all[1], Standing::Down);
        let pool = pool(&policy, &all);
        let mut worker = Worker::new(&pool, 1);
        all[0].backend.set_ejected(true);
        let leases: Vec<_> = (0..50).map(|key| worker.choose(key, &[]).unwrap()).collect();
        assert!(leases.iter().all(|lease| &*lease.backend().name == "b2"), "{policy:?}");
    }
}
