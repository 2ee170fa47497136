//! Owns the pools that are measured, and the keys that are looked up in them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringmain::balance::{
    Backend, Balancing, Chooser, Hashing, Keepalive, Key, Lease, MAGLEV_SIZE, Member, Policy, Pool,
    PoolId, PoolSettings, Snapshot, SocketOptions, Standing, Traits,
};

/// All policies with their names, in the order of the tables.
pub fn policies() -> [(&'static str, Policy); 6] {
    let hashing = || Hashing { key: Key::Source, salt: String::new(), bounded_load: None };
    [
        ("round-robin", Policy::RoundRobin),
        ("least-connections", Policy::LeastConnections),
        ("random-two", Policy::RandomTwo),
        ("maglev", Policy::Maglev { hashing: hashing(), size: MAGLEV_SIZE }),
        ("ring", Policy::Ring(hashing())),
        ("rendezvous", Policy::Rendezvous(hashing())),
    ]
}

/// Members of these weights, all up, with the names that bare addresses have.
pub fn members(weights: impl IntoIterator<Item = u16>) -> Vec<Member> {
    let member = |(number, weight): (u32, u16)| {
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + number), 6000));
        let mut backend = Backend::new(address.to_string().into(), vec![address]);
        backend.weight = weight;
        Member { backend: Arc::new(backend), standing: Standing::Up }
    };
    (0..).zip(weights).map(member).collect()
}

pub fn pool(policy: &Policy, members: &[Member]) -> Arc<Pool> {
    let keepalive =
        Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 3 };
    let settings = PoolSettings {
        connect_timeout: Duration::from_secs(5),
        tries: 3,
        balancing: Balancing { policy: policy.clone(), ..Balancing::default() },
        queue: None,
        sources: Vec::new(),
        socket: SocketOptions {
            nodelay: true,
            keepalive: Some(keepalive),
            user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
        },
    };
    Arc::new(Pool::new("pool".into(), settings, members.to_vec(), None))
}

/// One worker that picks from one pool.
pub struct Worker(Chooser);

impl Worker {
    pub fn new(pool: &Arc<Pool>, seed: u64) -> Worker {
        let snapshot = Arc::new(Snapshot::new(vec![Arc::clone(pool)]));
        Worker(Chooser::new(snapshot, fastrand::Rng::with_seed(seed)))
    }

    /// For the client with key `number`. A pool that is measured always has a backend to give.
    pub fn choose(&mut self, number: u32) -> Option<Lease> {
        let address = Ipv4Addr::from(0x0b00_0000 + number);
        let traits =
            Traits { source: Some(SocketAddr::from((address, 1000))), ..Traits::default() };
        self.0.choose(PoolId(0), &traits, &[]).ok()
    }
}
