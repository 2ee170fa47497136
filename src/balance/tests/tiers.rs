//! Traffic moves between tiers by health, and all of it through a panic.

use std::sync::Arc;

use super::super::policy::Policy;
use super::super::{Member, NoChoice, Pool, Standing};
use super::stage::{
    Worker, changed, counts, hashing, hashing_policies, members, owners, policies, pool,
    republished, with_policy,
};

/// Ten members, of which the last `backups` are of tier 1.
fn tiered(backups: usize) -> Vec<Member> {
    let tier = |(number, member): (usize, &Member)| {
        changed(member, |backend| backend.tier = u16::from(number >= 10 - backups))
    };
    members(&[1; 10]).iter().enumerate().map(tier).collect()
}

fn set(members: &mut [Member], standing: Standing) {
    for member in members {
        member.standing = standing;
    }
}

/// Connections of 2,000 that tier 1 gets.
fn second_tier(pool: &Arc<Pool>) -> usize {
    let second = |name: &&Arc<str>| {
        pool.members()
            .iter()
            .any(|member| member.backend.name == **name && member.backend.tier == 1)
    };
    owners(pool, 2000).iter().filter(second).count()
}

#[test]
fn traffic_moves_to_the_next_tier_by_share_and_back() {
    for policy in policies() {
        let mut all = tiered(2);
        let whole = pool(&policy, &all);
        assert_eq!(second_tier(&whole), 0, "{policy:?}");
        // Of 8 in the first tier: 6 are worth 105 %, 4 are worth 70 %, 1 is worth 17.5 %.
        for (down, expected) in [(2, 0..=0), (4, 540..=660), (7, 1580..=1720), (8, 2000..=2000)] {
            set(&mut all, Standing::Up);
            set(&mut all[..down], Standing::Down);
            let failed = republished(&whole, &all);
            let share = second_tier(&failed);
            assert!(expected.contains(&share), "{policy:?} with {down} down: {share}");
            let told = failed.tiers()[1].share() * 2000.0;
            assert!(expected.contains(&(told.round() as usize)), "{told}");
        }
        set(&mut all, Standing::Up);
        assert_eq!(second_tier(&republished(&whole, &all)), 0, "{policy:?}");
    }
}

/// A key whose tier is drawn by chance would find another backend each time.
#[test]
fn a_key_has_one_tier_and_only_as_many_move_as_must() {
    for policy in hashing_policies(&hashing()) {
        let mut all = tiered(2);
        set(&mut all[..4], Standing::Down);
        let half = pool(&policy, &all);
        let owners_of_half = owners(&half, 2000);
        let mut other_host = Worker::new(&half, 2);
        let agrees = |(key, owner): (u32, &Arc<str>)| other_host.name(key) == *owner;
        assert!((0..).zip(&owners_of_half).all(agrees), "{policy:?}");
        set(&mut all[4..5], Standing::Down);
        let fewer = owners(&republished(&half, &all), 2000);
        let is_backup = |name: &Arc<str>| ["b8", "b9"].contains(&&**name);
        for (before, after) in owners_of_half.iter().zip(&fewer) {
            // Who was with a backup stays there; the others stay or follow.
            assert!(!is_backup(before) || before == after, "{policy:?}");
            assert!(is_backup(after) || before == after || &**before == "b4", "{policy:?}");
        }
        // Each tier sees keys of every kind.
        assert_eq!(counts(&fewer).len(), 5, "{policy:?}");
    }
}

#[test]
fn another_tier_serves_when_those_of_the_first_are_full_or_tried() {
    for policy in policies() {
        let all: Vec<Member> = tiered(9)
            .iter()
            .map(|member| changed(member, |backend| backend.limit = Some(1)))
            .collect();
        let pool = pool(&policy, &all);
        let mut worker = Worker::new(&pool, 1);
        assert_eq!(&*worker.name(0), "b0");
        assert_ne!(&*worker.choose(0, &["b0".into()]).unwrap().backend().name, "b0");
        let leases: Vec<_> = (0..10).map(|key| worker.choose(key, &[]).unwrap()).collect();
        assert_eq!(&*leases[0].backend().name, "b0", "{policy:?}");
        assert_eq!(worker.choose(0, &[]).unwrap_err(), NoChoice::AtLimit, "{policy:?}");
    }
}

#[test]
fn nothing_healthy_is_no_choice() {
    for policy in policies() {
        let mut all = tiered(2);
        set(&mut all, Standing::Down);
        let pool = pool(&policy, &all);
        assert!(!pool.in_panic() && pool.eligible().count() == 0);
        assert_eq!(Worker::new(&pool, 1).choose(0, &[]).unwrap_err(), NoChoice::Exhausted);
    }
}

fn with_threshold(policy: &Policy, members: &[Member]) -> Arc<Pool> {
    let mut settings = with_policy(policy);
    settings.balancing.panic_threshold = 50;
    Arc::new(Pool::new("pool".into(), settings, members.to_vec(), None))
}

#[test]
fn a_panic_ignores_health_but_not_a_drain() {
    for policy in policies() {
        let mut all = tiered(2);
        set(&mut all[..3], Standing::Down);
        set(&mut all[3..5], Standing::Ejected);
        all[5].standing = Standing::Starting(1);
        all[6].standing = Standing::Draining;
        // Of nine that do not drain, four are healthy.
        for member in &all[3..5] {
            member.backend.set_ejected(true);
        }
        let pool = with_threshold(&policy, &all);
        assert!(pool.in_panic());
        assert_eq!(pool.tiers()[0].healthy(), 2);
        // Tier 0 has seven of its eight to offer, which is worth all of the traffic.
        let counts = counts(&owners(&pool, 7000));
        let names: Vec<&str> = counts.keys().map(|name| &**name).collect();
        assert_eq!(names, ["b0", "b1", "b2", "b3", "b4", "b5", "b7"], "{policy:?}");
        assert!(counts.values().all(|count| (700..=1300).contains(count)), "{counts:?}");
        all[4].standing = Standing::Up;
        assert!(!republished(&pool, &all).in_panic());
    }
}

#[test]
fn accessors_tell_what_was_decided() {
    let mut all = tiered(2);
    set(&mut all[..4], Standing::Down);
    all[5].standing = Standing::Starting(10);
    all.push(changed(&members(&[0])[0], |backend| backend.name = "spare".into()));
    let pool = pool(&Policy::RoundRobin, &all);
    let told: Vec<_> =
        pool.tiers().iter().map(|tier| (tier.number(), tier.size(), tier.healthy())).collect();
    assert_eq!(told, [(0, 8, 4), (1, 2, 2)]);
    let mut eligible: Vec<_> = pool.eligible().map(|backend| &*backend.name).collect();
    eligible.sort();
    assert_eq!(eligible, ["b4", "b5", "b6", "b7", "b8", "b9"]);
    assert_eq!(pool.members().len(), 11);
}

/// A cursor goes on where it was when only another tier has changed.
#[test]
fn turns_survive_a_change_of_another_tier() {
    let mut all = tiered(5);
    let before = pool(&Policy::RoundRobin, &all);
    let mut worker = Worker::new(&before, 1);
    let mut names = vec![worker.name(0), worker.name(0)];
    all[9].standing = Standing::Down;
    worker.update(&republished(&before, &all));
    names.extend((0..3).map(|_| worker.name(0)));
    assert_eq!(counts(&names).len(), 5, "{names:?}");
}
