//! A pool: backends that serve the same thing, and how connections to them are made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::policy::Policy;
use super::standing::Standing;

/// The backends of one pool at one moment.
#[derive(Debug)]
pub struct Pool {
    pub name: Arc<str>,
    pub settings: PoolSettings,
    /// Those that may be picked.
    pub(super) backends: Vec<Arc<Backend>>,
    members: Vec<Member>,
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
        let _ = previous;
        let eligible = members.iter().filter(|member| member.standing.is_eligible());
        let backends = eligible.map(|member| Arc::clone(&member.backend)).collect();
        Pool { name, settings, backends, members }
    }

    /// Every member, whether it may be picked or not.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
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

    /// A pool of backends b0, b1, ... with these weights.
    pub(in crate::balance) fn pool(weights: &[u16]) -> Pool {
        let backend = |(index, weight): (usize, &u16)| {
            let address = format!("127.0.0.1:{}", 1000 + index).parse().unwrap();
            let mut backend = Backend::new(format!("b{index}").into(), vec![address]);
            backend.weight = *weight;
            Member { backend: Arc::new(backend), standing: Standing::Up }
        };
        let socket = SocketOptions { nodelay: true, keepalive: None, user_timeout: None };
        let settings = PoolSettings {
            connect_timeout: Duration::from_secs(5),
            tries: 3,
            balancing: Balancing::default(),
            queue: None,
            sources: Vec::new(),
            socket,
        };
        let members = weights.iter().enumerate().map(backend).collect();
        Pool::new("pool".into(), settings, members, None)
    }
}
