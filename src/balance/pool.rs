//! A pool: backends that serve the same thing, and how connections to them are made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;

/// The backends of one pool at one moment.
#[derive(Debug)]
pub struct Pool {
    pub name: Arc<str>,
    pub backends: Vec<Arc<Backend>>,
    pub settings: PoolSettings,
}

/// What holds for every connection to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How long one backend may take to accept a connection.
    pub connect_timeout: Duration,
    /// Distinct backends tried for one session, at least 1.
    pub tries: usize,
    /// Addresses to connect from, in turn; empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
    pub socket: SocketOptions,
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
            Arc::new(Backend::new(format!("b{index}").into(), address, *weight, None))
        };
        let socket = SocketOptions { nodelay: true, keepalive: None, user_timeout: None };
        let settings = PoolSettings {
            connect_timeout: Duration::from_secs(5),
            tries: 3,
            sources: Vec::new(),
            socket,
        };
        let backends = weights.iter().enumerate().map(backend).collect();
        Pool { name: "pool".into(), backends, settings }
    }
}
