//! Owns what must hold on this host before a load is made: a target that answers, descriptors and
//! ports. It makes no load.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::failure::Failure;
use super::order::{Order, Pace};
use super::protocol::Dialogue;

/// Refuses a run that this host can not carry. `sides`: how many sockets of this process, and of
/// what it starts, a connection takes in one process.
pub fn check_descriptors(order: &Order, sides: u64) -> Result<(), Failure> {
    let connections: u64 = order.groups.iter().map(|group| u64::from(group.agents)).sum();
    let needed = connections * sides + SPARE_DESCRIPTORS;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(Failure::Descriptors { needed, limit }),
        _ => Ok(()),
    }
}

/// Whether somebody accepts there.
pub fn check_target(target: SocketAddr) -> Result<(), Failure> {
    let connected = TcpStream::connect_timeout(&target, REACH);
    connected.map(drop).map_err(|error| Failure::Unreachable { target, error })
}

/// Addresses to connect from, so that there are ports for the whole run: as many of the loopback
/// network as it takes, or those that were given.
pub fn sources(
    order: &Order,
    target: SocketAddr,
    given: &[IpAddr],
) -> Result<Vec<IpAddr>, Failure> {
    let needed = ports_needed(order);
    let each = ports_each();
    let loopback = target.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
    let count = needed.div_ceil(each);
    let sources: Vec<IpAddr> = if !given.is_empty() {
        given.to_vec()
    } else if loopback && (2..=LOOPBACK_SOURCES).contains(&count) {
        (0..count).map(|number| Ipv4Addr::new(127, 0, 1, number as u8 + 1).into()).collect()
    } else {
        Vec::new()
    };
    let free = each * (sources.len() as u64).max(1);
    if needed > free {
        return Err(Failure::Ports { needed, free, target });
    }
    Ok(sources)
}

/// A connection that its agent ends holds its port for a minute; on loopback, where the kernel
/// reuses them after a second (net.ipv4.tcp_tw_reuse = 2), it is less.
fn ports_needed(order: &Order) -> u64 {
    let group = order.groups.iter().map(|group| {
        let visits = match (group.protocol.dialogue(), &group.pace) {
            (Dialogue::Visit, Pace::Open { rate, .. }) => {
                (rate * order.length().as_secs_f64().min(LINGERING)) as u64
            }
            (Dialogue::Visit, Pace::Closed { .. }) => {
                (FASTEST * order.length().as_secs_f64().min(LINGERING)) as u64
            }
            _ => 0,
        };
        u64::from(group.agents) + visits
    });
    group.sum()
}

/// Ports that the kernel gives out for one address.
fn ports_each() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().filter_map(|bound| bound.parse::<u64>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(least), Some(most)) if least <= most => most - least + 1,
        // The kernel's default.
        _ => 28_232,
    }
}

/// Engines, threads, logs and files.
const SPARE_DESCRIPTORS: u64 = 100;
const REACH: Duration = Duration::from_secs(2);
const LOOPBACK_SOURCES: u64 = 200;
/// Connections that a closed loop makes per second at most, on one CPU.
const FASTEST: f64 = 25_000.0;
/// Seconds in TIME_WAIT.
const LINGERING: f64 = 60.0;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::course::Arrivals;
    use super::super::order::{Group, Sizes};
    use super::super::protocol::Protocol;
    use super::*;

    fn order(protocol: Protocol, agents: u32, rate: f64) -> Order {
        let pace =
            Pace::Open { rate, arrivals: Arrivals::Constant, ramp: Duration::ZERO, spikes: None };
        Order {
            name: protocol.as_str().to_owned(),
            groups: vec![Group::new(protocol, agents, pace, Sizes::Constant(128))],
            warm_up: Duration::ZERO,
            window: Duration::from_secs(60),
            patience: Duration::ZERO,
            seed: 1,
        }
    }

    #[test]
    fn a_target_where_nobody_listens_is_named_with_the_remedy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        check_target(target).unwrap();
        drop(listener);
        let said = check_target(target).unwrap_err().to_string();
        assert!(said.contains(&target.to_string()) && said.contains("--target"), "{said}");
    }

    #[test]
    fn too_few_descriptors_are_noticed_before_they_are_missed() {
        let order = order(Protocol::TcpEcho, 500_000_000, 1.0);
        let said = check_descriptors(&order, 2).unwrap_err().to_string();
        assert!(said.contains("1000000100") && said.contains("ulimit -n"), "{said}");
    }

    #[test]
    fn connections_are_spread_over_as_many_addresses_as_their_ports_take() {
        let loopback: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        let few = order(Protocol::TcpEcho, 100, 1e6);
        assert_eq!(sources(&few, loopback, &[]).unwrap(), Vec::<IpAddr>::new());
        let visits = order(Protocol::TcpConnect, 100, 5_000.0);
        let count = sources(&visits, loopback, &[]).unwrap().len() as u64;
        assert!(count * ports_each() >= 300_100 && count > 1, "{count}");
        let elsewhere: SocketAddr = "192.0.2.1:9000".parse().unwrap();
        let said = sources(&visits, elsewhere, &[]).unwrap_err().to_string();
        assert!(said.contains("300100") && said.contains("ip_local_port_range"), "{said}");
    }
}
