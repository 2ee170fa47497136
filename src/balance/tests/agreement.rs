//! Hosts that do not know each other choose alike.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Hashing, Key, Lease, Member, Policy, Standing, Traits};
use super::stage::{
    Worker, changed, counts, hashing, hashing_policies, members, owners, pool, republished,
};

/// The order of choices for a key, each after the ones before have failed.
fn order(worker: &mut Worker, key: u32) -> Vec<Arc<str>> {
    let mut tried = Vec::new();
    while let Ok(lease) = worker.choose(key, &tried) {
        tried.push(Arc::clone(&lease.backend().name));
    }
    tried
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever order discovery names the members in, every choice is the same, first or not.
    #[test]
    fn the_order_of_members_does_not_matter(
        weights in prop::collection::vec(1u16..5, 1..10),
        seed: u64,
    ) {
        for policy in hashing_policies(&hashing()) {
            let mut all: Vec<Member> = members(&weights);
            for (number, member) in all.iter_mut().enumerate() {
                *member = changed(member, |backend| backend.tier = number as u16 % 2);
                if number % 5 == 4 {
                    member.standing = Standing::Down;
                }
            }
            let mut one = Worker::new(&pool(&policy, &all), 1);
            fastrand::Rng::with_seed(seed).shuffle(&mut all);
            let mut other = Worker::new(&pool(&policy, &all), 2);
            for key in 0..40 {
                let ordered = order(&mut one, key);
                prop_assert_eq!(&ordered, &order(&mut other, key));
                let up = all.iter().filter(|member| member.standing == Standing::Up).count();
                prop_assert_eq!(ordered.len(), up);
            }
        }
    }
}

/// The second choice is where the keys go when the first is taken out.
#[test]
fn a_retry_goes_where_the_keys_of_a_failed_backend_go() {
    for policy in hashing_policies(&hashing()) {
        let all = members(&[1, 2, 1, 1, 3]);
        let whole = pool(&policy, &all);
        let mut worker = Worker::new(&whole, 1);
        let orders: Vec<_> = (0..300).map(|key| order(&mut worker, key)).collect();
        for member in &all {
            let mut some = all.clone();
            for other in &mut some {
                if other.backend.name == member.backend.name {
                    other.standing = Standing::Ejected;
                }
            }
            let mut worker = Worker::new(&republished(&whole, &some), 1);
            for (key, order) in
                (0..).zip(&orders).filter(|(_, order)| order[0] == member.backend.name)
            {
                assert_eq!(worker.name(key), order[1], "{policy:?}");
            }
        }
    }
}

/// An upgrade of one host must not move the fleet's keys.
#[test]
fn choices_stay_the_same_from_version_to_version() {
    let names = |policy: &Policy| {
        let owners = owners(&pool(policy, &members(&[1, 2, 1, 1, 1, 1, 1, 1])), 16);
        owners.iter().map(|name| name.trim_start_matches('b')).collect::<String>()
    };
    assert_eq!(
        hashing_policies(&hashing()).map(|policy| names(&policy)),
        ["1011311633616213", "6702146674473474", "1037341640572512"]
    );
}

#[test]
fn a_salt_makes_another_assignment_as_even() {
    let salted = Hashing { salt: "salt".to_owned(), ..hashing() };
    for (plain, salted) in hashing_policies(&hashing()).iter().zip(hashing_policies(&salted)) {
        let all = members(&[1; 4]);
        let (one, other) = (owners(&pool(plain, &all), 2000), owners(&pool(&salted, &all), 2000));
        let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!((400..=600).contains(&same), "{salted:?}: {same}");
        assert!(counts(&other).values().all(|count| (350..=650).contains(count)), "{salted:?}");
    }
}

#[test]
fn a_missing_key_is_a_key_like_any_other() {
    let by_name = Hashing { key: Key::ServerName, ..hashing() };
    for policy in hashing_policies(&by_name) {
        let pool = pool(&policy, &members(&[1; 8]));
        // The key is a server name, and these connections have none.
        let names = owners(&pool, 50);
        assert_eq!(counts(&names).len(), 1, "{policy:?}");
        let snapshot = Arc::new(super::super::Snapshot::new(vec![pool]));
        let random = fastrand::Rng::with_seed(1);
        let mut chooser = super::super::Chooser::new(snapshot, random);
        let mut choose = |name| -> Lease {
            let traits = Traits { server_name: name, ..Traits::default() };
            chooser.choose(super::super::PoolId(0), &traits, &[]).unwrap()
        };
        let mut name = |name| Arc::clone(&choose(name).backend().name);
        assert_eq!(name(None), names[0]);
        assert_eq!(name(Some("")), names[0]);
        assert_eq!(name(Some("Logs.Example")), name(Some("logs.example")));
    }
}
