//! In which order the nameservers are asked: as given, those last that were silent lately. And
//! which of them cannot be asked with EDNS. Asks none of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) struct Servers {
    servers: Vec<Server>,
    rest: Duration,
}

/// A nameserver, and until when it is asked last.
pub(super) struct Server {
    pub address: SocketAddr,
    /// In milliseconds since the beginning; `AWAKE` if it has its place in the order.
    rests_until: AtomicU64,
    /// The same, until when it is asked without EDNS.
    plain_until: AtomicU64,
}

impl Servers {
    /// A server that was silent is asked last for as long as `rest`.
    pub fn new(addresses: &[SocketAddr], rest: Duration) -> Servers {
        let server = |address: &SocketAddr| Server {
            address: *address,
            rests_until: AtomicU64::new(AWAKE),
            plain_until: AtomicU64::new(0),
        };
        Servers { servers: addresses.iter().map(server).collect(), rest }
    }

    /// As given.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(|server| server.address)
    }

    /// The order for one query, at `now` since the beginning.
    ///
    /// When the rest of a server is over, the first query that comes finds it in its place, and
    /// the others not before it has answered that one: hundreds of questions do not wait again for
    /// a server that is still away.
    pub fn order(&self, now: Duration) -> Vec<&Server> {
        let (mut order, mut resting) = (Vec::with_capacity(self.servers.len()), Vec::new());
        for server in &self.servers {
            let until = server.rests_until.load(Ordering::Relaxed);
            if until == AWAKE {
                order.push(server);
            } else if until <= millis(now) {
                self.was_silent(server, now);
                order.push(server);
            } else {
                resting.push(server);
            }
        }
        order.append(&mut resting);
        order
    }

    pub fn was_silent(&self, server: &Server, now: Duration) {
        server.rests_until.store(millis(now + self.rest).max(1), Ordering::Relaxed);
    }
}

impl Server {
    /// Whatever it said, it is there.
    pub fn has_answered(&self) {
        self.rests_until.store(AWAKE, Ordering::Relaxed);
    }

    /// It may be asked with EDNS, for all that is known at `now` since the beginning.
    pub fn takes_edns(&self, now: Duration) -> bool {
        self.plain_until.load(Ordering::Relaxed) <= millis(now)
    }

    /// It answers only without EDNS. That is remembered for a time, because it may be replaced by
    /// one that knows more.
    pub fn refuses_edns(&self, now: Duration) {
        self.plain_until.store(millis(now + PLAIN), Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const AWAKE: u64 = 0;

/// How long a nameserver is asked without EDNS before that is tried again.
const PLAIN: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(10);

    fn servers() -> Servers {
        Servers::new(&[1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port))), REST)
    }

    fn ports(order: &[&Server]) -> Vec<u16> {
        order.iter().map(|server| server.address.port()).collect()
    }

    #[test]
    fn servers_are_asked_in_the_order_given() {
        let servers = servers();
        for second in 0..3 {
            assert_eq!(ports(&servers.order(Duration::from_secs(second))), [1, 2, 3]);
        }
    }

    #[test]
    fn a_silent_server_is_asked_last_until_it_has_rested() {
        let servers = servers();
        servers.was_silent(servers.order(Duration::ZERO)[0], Duration::ZERO);
        assert_eq!(ports(&servers.order(Duration::ZERO)), [2, 3, 1]);
        assert_eq!(ports(&servers.order(REST - Duration::from_millis(1))), [2, 3, 1]);
        assert_eq!(ports(&servers.order(REST)), [1, 2, 3]);
    }

    #[test]
    fn silent_servers_keep_their_order_among_themselves() {
        let servers = servers();
        for server in servers.order(Duration::ZERO) {
            servers.was_silent(server, Duration::ZERO);
        }
        assert_eq!(ports(&servers.order(Duration::ZERO)), [1, 2, 3]);
    }

    #[test]
    fn one_query_alone_tries_a_server_that_has_rested() {
        let servers = servers();
        servers.was_silent(servers.order(Duration::ZERO)[0], Duration::ZERO);
        let order = servers.order(REST);
        assert_eq!(ports(&order), [1, 2, 3]);
        assert_eq!(ports(&servers.order(REST)), [2, 3, 1]);
        order[0].has_answered();
        assert_eq!(ports(&servers.order(REST)), [1, 2, 3]);
    }

    #[test]
    fn who_refuses_edns_is_asked_without_it_for_a_time() {
        let servers = servers();
        let order = servers.order(REST);
        assert!(order[0].takes_edns(REST));
        order[0].refuses_edns(REST);
        assert!(!order[0].takes_edns(REST) && order[1].takes_edns(REST));
        assert!(!order[0].takes_edns(REST + PLAIN - Duration::from_millis(1)));
        assert!(order[0].takes_edns(REST + PLAIN));
    }

    #[test]
    fn an_answer_ends_the_rest() {
        let servers = servers();
        let order = servers.order(Duration::ZERO);
        servers.was_silent(order[1], Duration::ZERO);
        order[1].has_answered();
        assert_eq!(ports(&servers.order(Duration::ZERO)), [1, 2, 3]);
    }
}
