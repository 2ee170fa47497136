//! A pool: backends that serve the same thing, and how connections to them are made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::key::Keying;
use super::policy::Policy;
use super::shares::{self, Health};
use super::standing::Standing;
use super::tier::Tier;
use super::waiting::Waiting;

/// The backends of one pool at one moment.
#[derive(Debug)]
pub struct Pool {
    pub name: Arc<str>,
    pub settings: PoolSettings,
    members: Vec<Member>,
    /// In their order; those without a backend of a weight above 0 are left out.
    tiers: Vec<Tier>,
    panic: bool,
    pub(super) keying: Option<Keying>,
    waiting: Option<Arc<Waiting>>,
}

/// A backend and whether it may take new connections.
#[derive(Clone, Debug)]
pub struct Member {
    pub backend: Arc<Backend>,
    pub standing: Standing,
}

impl Pool {
    /// A pool of these members, whose names are distinct. What `previous`, the pool's last
    /// version, has worked out and still holds is shared.
    pub fn new(
        name: Arc<str>,
        settings: PoolSettings,
        members: Vec<Member>,
        previous: Option<&Pool>,
    ) -> Pool {
        let panic = shares::is_panic(&members, &settings.balancing);
        let previous_tiers = previous
            .filter(|previous| previous.settings.balancing.policy == settings.balancing.policy);
        let tiers = tiers(&members, &settings.balancing, panic, previous_tiers);
        let keying = Keying::new(&settings.balancing.policy);
        let waiting = settings.queue.as_ref().map(|queue| waiting(queue, &members, previous));
        Pool { name, settings, members, tiers, panic, keying, waiting }
    }

    /// Too few of its backends are healthy: all that do not drain are picked from.
    pub fn in_panic(&self) -> bool {
        self.panic
    }

    /// In the order in which they serve.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The backends that may be picked, the lower tiers' first.
    pub fn eligible(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.tiers.iter().flat_map(|tier| tier.open_seats().map(|(_, seat)| &seat.backend))
    }

    /// The tier at this point of the shares, of `WHOLE`; none: all are 0.
    pub(super) fn tier_at(&self, point: u32) -> Option<usize> {
        let mut end = 0;
        self.tiers.iter().position(|tier| {
            end += tier.share;
            point < end
        })
    }

    /// Those who wait for a place on one of its backends; none: it has no queue.
    pub fn waiting(&self) -> Option<&Arc<Waiting>> {
        self.waiting.as_ref()
    }

    /// Every member, whether it may be picked or not.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

fn tiers(
    members: &[Member],
    balancing: &Balancing,
    panic: bool,
    previous: Option<&Pool>,
) -> Vec<Tier> {
    let mut ranks: BTreeMap<u16, Vec<&Member>> = BTreeMap::new();
    for member in members.iter().filter(|member| member.backend.weight > 0) {
        ranks.entry(member.backend.tier).or_default().push(member);
    }
    let health: Vec<Health> =
        ranks.values().map(|members| Health::of(members.iter().copied(), panic)).collect();
    let tier = |(number, members)| {
        let previous =
            previous.and_then(|pool| pool.tiers.iter().find(|tier| tier.number() == number));
        Tier::new(number, members, &balancing.policy, panic, previous)
    };
    let mut tiers: Vec<Tier> = ranks.into_iter().map(tier).collect();
    let shares = shares::shares(&health, balancing.over_provisioning);
    for (tier, share) in tiers.iter_mut().zip(shares) {
        tier.share = share;
    }
    tiers
}

/// Those who wait for the pool already, or nobody yet; known to all its backends.
fn waiting(queue: &Queue, members: &[Member], previous: Option<&Pool>) -> Arc<Waiting> {
    // Where there is no previous version to ask, as after a reload, its backends remember.
    let known = previous.and_then(|pool| pool.waiting.as_ref());
    let known = known.or_else(|| members.iter().find_map(|member| member.backend.waiting()));
    let waiting = known.map_or_else(|| Arc::new(Waiting::new(queue.limit)), Arc::clone);
    waiting.set_limit(queue.limit);
    for member in members {
        member.backend.tell(&waiting);
    }
    waiting
}

/// What holds for every connection to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How long one backend may take to accept a connection.
    pub connect_timeout: Duration,
    /// Distinct backends tried for one session, at least 1.
    pub tries: usize,
    pub balancing: Balancing,
    /// `None`: a session that finds every backend full is refused at once.
    pub queue: Option<Queue>,
    /// Addresses to connect from, in turn; empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
    pub socket: SocketOptions,
}

/// Who is picked, and among whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancing {
    pub policy: Policy,
    /// A tier serves the share of traffic that is its healthy weight over its whole weight times
    /// this many percent, at most all; the next tier gets what is left. At least 100.
    pub over_provisioning: u16,
    /// Below this many percent of healthy weight over all tiers, health is ignored; 0: never.
    pub panic_threshold: u8,
}

/// Sessions that wait for a place on a backend when all are at their limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Sessions waiting for this pool at the same time, over all workers.
    pub limit: u32,
    pub timeout: Duration,
}

impl Default for Balancing {
    fn default() -> Balancing {
        Balancing { policy: Policy::RoundRobin, over_provisioning: 140, panic_threshold: 0 }
    }
}

/// TCP options of one side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    pub nodelay: bool,
    pub keepalive: Option<Keepalive>,
    /// Unacknowledged bytes end the connection after so long.
    pub user_timeout: Option<Duration>,
    /// Bytes that the kernel may hold of what was received and not taken; none: it decides.
    pub receive_buffer: Option<u32>,
    /// The same of what was sent and not acknowledged.
    pub send_buffer: Option<u32>,
}

/// TCP keep-alive; whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub probes: u32,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::balance) fn settings() -> PoolSettings {
        PoolSettings {
            connect_timeout: Duration::from_secs(5),
            tries: 3,
            balancing: Balancing::default(),
            queue: None,
            sources: Vec::new(),
            socket: SocketOptions {
                nodelay: true,
                keepalive: None,
                user_timeout: None,
                receive_buffer: None,
                send_buffer: None,
            },
        }
    }

    pub(in crate::balance) fn member(name: &str, weight: u16) -> Member {
        let mut backend = Backend::new(name.into(), vec!["127.0.0.1:1".parse().unwrap()]);
        backend.weight = weight;
        Member { backend: Arc::new(backend), standing: Standing::Up }
    }

    /// A pool of backends b0, b1, ... with these weights.
    pub(in crate::balance) fn pool(weights: &[u16]) -> Pool {
        let named = |(index, weight): (usize, &u16)| member(&format!("b{index}"), *weight);
        Pool::new("pool".into(), settings(), weights.iter().enumerate().map(named).collect(), None)
    }
}
