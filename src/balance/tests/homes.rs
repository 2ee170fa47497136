//! Sessions are astray where a change has left them on another backend than their key names.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::{Member, Pool, Standing, Traits};
use super::stage::{
    Worker, changed, hashing, hashing_policies, members, owners, policies, pool, standing,
};

const KEYS: u32 = 500;

/// The hash of key `number`, as `Worker::choose` has it.
fn key(pool: &Pool, number: u32) -> u64 {
    let source = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 1000));
    pool.key(&Traits { source: Some(source), ..Traits::default() }).unwrap()
}

fn is_astray(pool: &Pool, number: u32, backend: &str) -> bool {
    pool.homes().unwrap().is_astray(key(pool, number), backend)
}

/// Keys whose session on the backend of that member is astray.
fn astray(pool: &Pool, member: &Member) -> usize {
    (0..KEYS).filter(|number| is_astray(pool, *number, &member.backend.name)).count()
}

fn with(members: &[Member], number: usize, change: impl FnOnce(&Member) -> Member) -> Vec<Member> {
    let mut members = members.to_vec();
    members[number] = change(&members[number]);
    members
}

#[test]
fn who_is_served_as_its_key_would_be_now_is_at_home_and_everyone_else_is_astray() {
    let tier = |number: usize| u16::from(number >= 4);
    let all: Vec<Member> = members(&[1, 2, 3, 1, 1, 1])
        .iter()
        .enumerate()
        .map(|(number, member)| changed(member, |backend| backend.tier = tier(number)))
        .collect();
    // Of the first tier's weight of 7, 4 is healthy: a fifth of the keys belong to the second.
    let all = with(&all, 2, |member| standing(member, Standing::Down));
    for policy in hashing_policies(&hashing()) {
        let pool = pool(&policy, &all);
        for (number, owner) in (0..).zip(owners(&pool, KEYS)) {
            for member in &all {
                let name = &member.backend.name;
                let serves = member.standing.is_eligible();
                let expected = serves && *name != owner;
                assert_eq!(is_astray(&pool, number, name), expected, "{policy:?}: {name}");
            }
        }
        assert!(owners(&pool, KEYS).iter().any(|name| &**name >= "b4"), "some are of tier 1");
    }
}

#[test]
fn who_gets_no_new_sessions_keeps_those_it_has() {
    let all = members(&[1; 4]);
    for policy in hashing_policies(&hashing()) {
        for out in [Standing::Down, Standing::Draining, Standing::Ejected] {
            let pool = pool(&policy, &with(&all, 1, |member| standing(member, out)));
            assert_eq!(astray(&pool, &all[1]), 0, "{out:?}");
        }
        let pool = pool(&policy, &all[..3]);
        assert_eq!(astray(&pool, &all[3]), 0, "it is not there any more");
        assert!(astray(&pool, &all[0]) > 300);
        all[0].backend.set_ejected(true);
        assert_eq!(astray(&pool, &all[0]), 0);
        let owners = owners(&pool, KEYS);
        let at_home = |(number, name): (u32, &Arc<str>)| !is_astray(&pool, number, name);
        assert!((0..).zip(&owners).all(at_home), "those of the ejected one belong to the next");
        all[0].backend.set_ejected(false);
    }
}

#[test]
fn nobody_is_astray_whose_home_has_no_room() {
    for policy in hashing_policies(&hashing()) {
        let limited = |member: &Member| changed(member, |backend| backend.limit = Some(1));
        let all = with(&members(&[1; 3]), 0, limited);
        let pool = pool(&policy, &all);
        let mine = |number: &u32| *owners(&pool, KEYS)[*number as usize] == *"b0";
        let number = (0..KEYS).find(mine).unwrap();
        assert!(is_astray(&pool, number, "b1"));
        let lease = all[0].backend.lease();
        assert!(!is_astray(&pool, number, "b1"));
        drop(lease);
        assert!(is_astray(&pool, number, "b1"));
    }
}

#[test]
fn nobody_is_astray_whose_home_has_as_much_as_it_may() {
    let mut bounded = hashing();
    bounded.bounded_load = Some(150);
    for policy in hashing_policies(&bounded) {
        let all = members(&[1; 3]);
        let pool = pool(&policy, &all);
        let number = (0..KEYS).find(|it| *Worker::new(&pool, 1).name(*it) == *"b0").unwrap();
        assert!(is_astray(&pool, number, "b1"));
        let leases: Vec<_> = all.iter().flat_map(|member| member.backend.lease()).collect();
        assert!(is_astray(&pool, number, "b1"), "all have one");
        let more = [(); 2].map(|()| all[0].backend.lease());
        assert!(!is_astray(&pool, number, "b1"), "it has more than one and a half times the mean");
        drop((leases, more));
    }
}

#[test]
fn where_nothing_is_hashed_there_are_no_homes() {
    let hashed = |pool: &Pool| pool.settings.balancing.policy.hashing().is_some();
    for policy in policies() {
        let pool = pool(&policy, &members(&[1; 2]));
        assert_eq!(pool.homes().is_some(), hashed(&pool));
        assert_eq!(pool.key(&Traits::default()).is_some(), hashed(&pool));
    }
}
