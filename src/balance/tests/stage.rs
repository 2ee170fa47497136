//! Pools of any policy, choosers of one pool, and keys, for the tests beside this.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::pool::tests::{member, settings};
use super::super::{
    Backend, Chooser, Hashing, Key, Lease, Member, NoChoice, Policy, Pool, PoolId, PoolSettings,
    Snapshot, Standing, Traits,
};

pub fn hashing() -> Hashing {
    Hashing { key: Key::Source, salt: String::new(), bounded_load: None }
}

/// The hashing policies, with this of them all. The table is smaller than usual: it takes less
/// time to build, and still has a hundred places for each of a hundred backends.
pub fn hashing_policies(hashing: &Hashing) -> [Policy; 3] {
    [
        Policy::Maglev { hashing: hashing.clone(), size: 10_007 },
        Policy::Ring(hashing.clone()),
        Policy::Rendezvous(hashing.clone()),
    ]
}

/// All policies.
pub fn policies() -> Vec<Policy> {
    let plain = [Policy::RoundRobin, Policy::LeastConnections, Policy::RandomTwo];
    plain.into_iter().chain(hashing_policies(&hashing())).collect()
}

pub fn with_policy(policy: &Policy) -> PoolSettings {
    let mut settings = settings();
    settings.balancing.policy = policy.clone();
    settings
}

/// Members b0, b1, ... with these weights, all up.
pub fn members(weights: &[u16]) -> Vec<Member> {
    let named = |(number, weight): (usize, &u16)| member(&format!("b{number}"), *weight);
    weights.iter().enumerate().map(named).collect()
}

/// The member with its backend changed.
pub fn changed(member: &Member, change: impl FnOnce(&mut Backend)) -> Member {
    let mut backend = member.backend.renewed();
    change(&mut backend);
    Member { backend: Arc::new(backend), standing: member.standing }
}

pub fn standing(member: &Member, standing: Standing) -> Member {
    Member { standing, ..member.clone() }
}

pub fn pool(policy: &Policy, members: &[Member]) -> Arc<Pool> {
    Arc::new(Pool::new("pool".into(), with_policy(policy), members.to_vec(), None))
}

/// The next version of the pool.
pub fn republished(pool: &Pool, members: &[Member]) -> Arc<Pool> {
    let (name, settings) = (Arc::clone(&pool.name), pool.settings.clone());
    Arc::new(Pool::new(name, settings, members.to_vec(), Some(pool)))
}

/// One worker's view of one pool.
pub struct Worker(Chooser);

impl Worker {
    pub fn new(pool: &Arc<Pool>, seed: u64) -> Worker {
        let snapshot = Arc::new(Snapshot::new(vec![Arc::clone(pool)]));
        Worker(Chooser::new(snapshot, fastrand::Rng::with_seed(seed)))
    }

    pub fn update(&mut self, pool: &Arc<Pool>) {
        self.0.update(&Arc::new(Snapshot::new(vec![Arc::clone(pool)])));
    }

    /// For key `number`.
    pub fn choose(&mut self, number: u32, tried: &[Arc<str>]) -> Result<Lease, NoChoice> {
        let source = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 1000));
        let traits = Traits { source: Some(source), ..Traits::default() };
        self.0.choose(PoolId(0), &traits, tried)
    }

    /// The name of the first choice, whose place is given back.
    pub fn name(&mut self, number: u32) -> Arc<str> {
        Arc::clone(&self.choose(number, &[]).unwrap().backend().name)
    }
}

/// Whom each of so many keys belongs to.
pub fn owners(pool: &Arc<Pool>, keys: u32) -> Vec<Arc<str>> {
    let mut worker = Worker::new(pool, 1);
    (0..keys).map(|number| worker.name(number)).collect()
}

/// How often each name comes up.
pub fn counts(names: &[Arc<str>]) -> BTreeMap<Arc<str>, u32> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(Arc::clone(name)).or_default() += 1;
    }
    counts
}
