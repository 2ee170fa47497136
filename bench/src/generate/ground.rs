//! Owns what must hold before a load is made: a target that answers, descriptors and ports of this
//! host, and datagrams that can go where they are to go. It makes no load.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustls::ClientConnection;

use super::bench::{Route, Terminus};
use super::cause::Cause;
use super::channel::AgentTls;
use super::datagrams::LONGEST;
use super::failure::Failure;
use super::order::{Group, Order, Pace};
use super::protocol::Dialogue;
use super::tls::Trust;
use super::wire::Mark;

/// Refuses a run that this host can not carry. `sides`: how many sockets of this process, and of
/// what it starts, a connection takes in one process.
pub fn check_descriptors(order: &Order, sides: u64) -> Result<(), Failure> {
    let needed_by_group = order.groups.iter().map(|group| {
        let sides = match group.lifetime {
            // All datagrams of a group come to one socket, and an agent may have one that it hears
            // out beside the one that it sends on.
            None if group.protocol.is_datagrams() => 1,
            Some(_) if group.protocol.is_datagrams() => 2,
            _ => sides,
        };
        u64::from(group.agents) * sides
    });
    check_limit(needed_by_group.sum::<u64>() + SPARE_DESCRIPTORS)
}

/// Refuses so many connections at a time, through a proxy to backends of this process, if they are
/// more than it may open.
pub fn check_connections(count: u32) -> Result<(), Failure> {
    check_limit(u64::from(count) * 2 + SPARE_DESCRIPTORS)
}

fn check_limit(needed: u64) -> Result<(), Failure> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(Failure::Descriptors { needed, limit }),
        _ => Ok(()),
    }
}

/// Whether datagrams of the order can go this way, and at this pace and size.
pub fn check_datagrams(order: &Order, route: &Route) -> Result<(), Failure> {
    for group in order.groups.iter().filter(|group| group.protocol.is_datagrams()) {
        let (name, protocol) = (&group.name, group.protocol.as_str());
        if matches!(route, Route::Ringmain { .. }) {
            let name = name.clone();
            return Err(Failure::NoDatagrams { name, protocol });
        }
        if group.sizes.longest() > LONGEST {
            return Err(Failure::Options(format!(
                "a unit of {protocol} is one datagram, which carries {LONGEST} bytes at most; \
                 give a smaller --size"
            )));
        }
        if group.pace.rate().is_none() && group.protocol.dialogue() != Dialogue::Exchange {
            return Err(Failure::Options(format!(
                "nothing comes back of {protocol} that a closed loop could wait for; give units \
                 per second with --rate"
            )));
        }
    }
    Ok(())
}

/// Whether it is known where TLS ends that agents speak to a target, and whom they believe there.
pub fn check_tls(order: &Order, route: &Route) -> Result<(), Failure> {
    let Route::Target { target, backends, terminus } = route else { return Ok(()) };
    let sealed = order.groups.iter().find(|group| group.protocol.handshakes().is_some());
    let said = match (sealed, terminus) {
        (Some(group), Terminus::Unknown) => format!(
            "{} is TLS, and nobody vouches for {target}; give --ca with the certificates of who \
             does (the host trusts those of /etc/ssl/certs/ca-certificates.crt), or --insecure \
             to verify nothing",
            group.protocol.as_str()
        ),
        (Some(_), Terminus::Backends(_)) if backends.is_empty() => {
            "--passthrough has the backends of the run end TLS; give their addresses, to which \
             the target is to send, with --backend-listen"
                .to_owned()
        }
        (None, Terminus::Target(_) | Terminus::Backends(_)) => format!(
            "nothing of {} is TLS, which --ca, --server-name, --insecure and --passthrough are \
             for; leave them out",
            order.name
        ),
        _ => return Ok(()),
    };
    Err(Failure::Options(said))
}

/// Whether the backends behind a target can be opened: those of one group are at all of the
/// addresses that were given.
pub fn check_backends(order: &Order, route: &Route) -> Result<(), Failure> {
    match route {
        Route::Target { backends, .. } if !backends.is_empty() && order.groups.len() > 1 => {
            let names: Vec<&str> = order.groups.iter().map(|group| group.name.as_str()).collect();
            Err(Failure::Options(format!(
                "several groups can not share the addresses of --backend-listen; run {} one by \
                 one, each with the others as --without",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// Whether somebody is there who takes what the groups send, and somebody who counts it.
pub fn check_target(order: &Order, target: SocketAddr, has_backends: bool) -> Result<(), Failure> {
    let protocols = || order.groups.iter().map(|group| group.protocol);
    let unreachable = |error| Failure::Unreachable { target, error };
    if protocols().any(|protocol| !protocol.is_datagrams()) {
        listens(TcpStream::connect_timeout(&target, REACH)).map_err(unreachable)?;
    }
    let answered = |dialogue| matches!(dialogue, Dialogue::Exchange | Dialogue::Visit);
    let counted = protocols().find(|protocol| !answered(protocol.dialogue()));
    if let Some(protocol) = counted.filter(|_| !has_backends) {
        return Err(Failure::NoBackend { protocol: protocol.as_str() });
    }
    for protocol in protocols().filter(|protocol| protocol.is_datagrams()) {
        // With backends of ours behind it, nobody answers yet.
        let expects = answered(protocol.dialogue()) && !has_backends;
        call(target, expects).map_err(unreachable)?;
    }
    Ok(())
}

/// Whether somebody listens where that connect went. Who ends connections at once does so: the
/// backends behind may be those that the run is about to open.
fn listens(connected: io::Result<TcpStream>) -> io::Result<()> {
    match connected {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        connected => connected.map(drop),
    }
}

/// Shakes hands once as agents of each protocol will, so that whom they can not believe is known
/// before any load.
pub fn check_handshakes(order: &Order, target: SocketAddr, trust: &Trust) -> Result<(), Failure> {
    let unreachable = |error| Failure::Unreachable { target, error };
    for group in &order.groups {
        let Some(handshakes) = group.protocol.handshakes() else { continue };
        let AgentTls { config, name, .. } =
            trust.agents(group.protocol, handshakes, group.terms)?;
        let mut socket = TcpStream::connect_timeout(&target, REACH).map_err(unreachable)?;
        socket.set_read_timeout(Some(REACH)).map_err(unreachable)?;
        socket.set_write_timeout(Some(REACH)).map_err(unreachable)?;
        let shaken = ClientConnection::new(config, name)
            .map_err(io::Error::other)
            .and_then(|mut connection| connection.complete_io(&mut socket).map(drop));
        let Err(error) = shaken else { continue };
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        return Err(match tls.cloned().map(|tls| Cause::from(ringmain::tls::Failure::from(tls))) {
            Some(Cause::Certificate(reason)) => Failure::Untrusted { target, reason },
            Some(cause) => Failure::NoHandshake { target, cause: cause.as_str() },
            None => Failure::NoHandshake { target, cause: Cause::from(error).as_str() },
        });
    }
    Ok(())
}

/// Sends a datagram, to be echoed or without content, and listens whether the other host says that
/// nobody is there, or nothing at all.
fn call(target: SocketAddr, expects_echo: bool) -> io::Result<()> {
    let unspecified = match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(LISTEN))?;
    let (mut call, mut answer) = (Vec::new(), [0; 100]);
    if expects_echo {
        let mark = Mark { stream: u32::MAX, sequence: 0, due: 0 };
        super::wire::Format::Frame.encode(&mark, answer.len(), &mut call);
    }
    let calls = if expects_echo { CALLS } else { 1 };
    for _ in 0..calls {
        socket.send(&call)?;
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length] == call => return Ok(()),
            Ok(_) => return Err(io::Error::other("it answers something else")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    if expects_echo { Err(io::Error::other("no datagram comes back")) } else { Ok(()) }
}

/// Addresses to connect from, so that there are ports for the whole run: as many of the loopback
/// network as it takes, or those that were given.
pub fn sources(order: &Order, target: IpAddr, given: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
    let needed = ports_needed(order);
    let each = ports_each();
    let loopback = target == IpAddr::V4(Ipv4Addr::LOCALHOST);
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

/// Addresses of backends, so that a proxy with one address has ports for all connections of the
/// group towards them, with those that have just ended.
pub fn backends_needed(group: &Group) -> usize {
    let agents = f64::from(group.agents);
    let reconnects = group.lifetime.map_or(0.0, |mean| agents / mean.as_secs_f64().max(1e-3));
    let needed = (agents + reconnects * LINGERING) / ports_each() as f64;
    (needed.ceil() as usize).clamp(1, BACKENDS)
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
/// How often somebody is called who echoes datagrams, and how long each time is listened.
const CALLS: u32 = 5;
const LISTEN: Duration = Duration::from_millis(200);
const LOOPBACK_SOURCES: u64 = 200;
/// As many as there are connections for, at a million and a port each.
const BACKENDS: usize = 64;
/// Connections that a closed loop makes per second at most, on one CPU.
const FASTEST: f64 = 25_000.0;
/// Seconds in TIME_WAIT.
const LINGERING: f64 = 60.0;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::super::course::Arrivals;
    use super::super::order::Sizes;
    use super::super::protocol::Protocol;
    use super::super::tls::Material;
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
        let order = order(Protocol::TcpEcho, 10, 1.0);
        check_target(&order, target, false).unwrap();
        drop(listener);
        let said = check_target(&order, target, false).unwrap_err().to_string();
        assert!(said.contains(&target.to_string()) && said.contains("--target"), "{said}");
    }

    #[test]
    fn a_target_that_misses_its_backends_and_ends_connections_is_there() {
        let connected = |kind: io::ErrorKind| listens(Err(kind.into())).is_ok();
        assert!(connected(io::ErrorKind::ConnectionReset));
        assert!(!connected(io::ErrorKind::ConnectionRefused));
        assert!(!connected(io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_target_of_datagrams_has_to_be_there_and_to_echo_where_nobody_else_answers() {
        let (echo, one_way) =
            (order(Protocol::UdpEcho, 1, 1.0), order(Protocol::SyslogUdp, 1, 1.0));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket.local_addr().unwrap();
        let said = check_target(&echo, target, false).unwrap_err().to_string();
        assert!(said.contains("no datagram comes back"), "{said}");
        check_target(&echo, target, true).unwrap();
        check_target(&one_way, target, true).unwrap();
        let said = check_target(&one_way, target, false).unwrap_err().to_string();
        assert!(said.contains("syslog-udp") && said.contains("--backend-listen"), "{said}");
        let echoing = std::thread::spawn(move || {
            let mut room = [0; 200];
            loop {
                let (length, from) = socket.recv_from(&mut room).unwrap();
                // What was called before had to be echoed as well, and nobody waits for it now.
                if socket.send_to(&room[..length], from).is_ok() && length == 1 {
                    return;
                }
            }
        });
        check_target(&echo, target, false).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"!", target).unwrap();
        echoing.join().unwrap();
        for order in [&echo, &one_way] {
            let said = check_target(order, target, true).unwrap_err().to_string();
            assert!(said.contains("refused") && said.contains(&target.to_string()), "{said}");
        }
    }

    #[test]
    fn datagrams_go_where_somebody_carries_them_and_no_more_than_they_hold() {
        let ringmain = Route::Ringmain { workers: 1, passthrough: false };
        let mut order = order(Protocol::SyslogUdp, 10, 1.0);
        check_datagrams(&order, &Route::Direct).unwrap();
        let said = check_datagrams(&order, &ringmain).unwrap_err().to_string();
        assert!(said.contains("syslog-udp") && said.contains("--target"), "{said}");
        order.groups[0].sizes = Sizes::Uniform { least: 1, most: LONGEST + 1 };
        let said = check_datagrams(&order, &Route::Direct).unwrap_err().to_string();
        assert!(said.contains("65507") && said.contains("--size"), "{said}");
        order.groups[0].sizes = Sizes::Constant(LONGEST);
        order.groups[0].pace = Pace::Closed { depth: 1 };
        let said = check_datagrams(&order, &Route::Direct).unwrap_err().to_string();
        assert!(said.contains("--rate"), "{said}");
        order.groups[0].protocol = Protocol::UdpEcho;
        check_datagrams(&order, &Route::Direct).unwrap();
        order.groups[0].protocol = Protocol::TcpEcho;
        check_datagrams(&order, &ringmain).unwrap();
    }

    #[test]
    fn tls_to_a_target_ends_where_somebody_vouches_for_it() {
        let name = || ServerName::try_from("bench.test").unwrap();
        let route = |backends: &[SocketAddr], terminus| {
            let target = SocketAddr::from(([127, 0, 0, 1], 443));
            Route::Target { target, backends: backends.to_vec(), terminus }
        };
        let (plain, sealed) =
            (order(Protocol::TcpEcho, 1, 1.0), order(Protocol::OtlpGrpcTls, 1, 1.0));
        let blind = || Terminus::Target(Trust::blind(name()));
        for (order, route, said) in [
            (&sealed, route(&[], Terminus::Unknown), "otlp-grpc-tls is TLS, and nobody vouches"),
            (&sealed, route(&[], Terminus::Backends(None)), "--backend-listen"),
            (&plain, route(&[], blind()), "nothing of tcp-echo is TLS"),
            (&plain, route(&[], Terminus::Backends(None)), "leave them out"),
        ] {
            let refused = check_tls(order, &route).unwrap_err();
            assert!(refused.to_string().contains(said), "{refused}");
            assert_eq!(refused.exit_code(), 2);
        }
        let behind = [SocketAddr::from(([127, 0, 0, 1], 9))];
        check_tls(&sealed, &route(&behind, Terminus::Backends(None))).unwrap();
        check_tls(&sealed, &route(&[], blind())).unwrap();
        check_tls(&plain, &route(&[], Terminus::Unknown)).unwrap();
        check_tls(&sealed, &Route::Direct).unwrap();
    }

    #[test]
    fn groups_share_no_backends_behind_a_target() {
        let mut order = order(Protocol::TcpEcho, 1, 1.0);
        let at = SocketAddr::from(([127, 0, 0, 1], 9));
        let route = |backends| Route::Target { target: at, backends, terminus: Terminus::Unknown };
        check_backends(&order, &route(vec![at])).unwrap();
        order.groups.push(Group { name: "web".to_owned(), ..order.groups[0].clone() });
        check_backends(&order, &route(Vec::new())).unwrap();
        let said = check_backends(&order, &route(vec![at])).unwrap_err().to_string();
        assert!(said.contains("tcp-echo, web") && said.contains("--without"), "{said}");
    }

    #[test]
    fn a_target_that_is_not_believed_is_told_before_any_load() {
        let (material, other) = (Material::generate().unwrap(), Material::generate().unwrap());
        let config = material.backends(Protocol::TlsConnect).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        // Ends with the third, who is refused.
        let serving = std::thread::spawn(move || {
            for _ in 0..3 {
                let (mut socket, _) = listener.accept().unwrap();
                let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                connection.complete_io(&mut socket).ok();
            }
        });
        let order = order(Protocol::TlsConnect, 1, 1.0);
        check_handshakes(&order, target, &material.trust()).unwrap();
        let elsewhere = ServerName::try_from("elsewhere.test").unwrap();
        check_handshakes(&order, target, &Trust::blind(elsewhere)).unwrap();
        let said = check_handshakes(&order, target, &other.trust()).unwrap_err().to_string();
        assert!(said.contains("is not trusted: its signature") && said.contains("--ca"), "{said}");
        serving.join().unwrap();
        let gone = check_handshakes(&order, target, &material.trust()).unwrap_err();
        assert_eq!(gone.as_str(), "unreachable");
    }

    #[test]
    fn too_few_descriptors_are_noticed_before_they_are_missed() {
        let order = order(Protocol::TcpEcho, 500_000_000, 1.0);
        let said = check_descriptors(&order, 2).unwrap_err().to_string();
        assert!(said.contains("1000000100") && said.contains("ulimit -n"), "{said}");
        let order = self::order(Protocol::UdpEcho, 500_000_000, 1.0);
        let said = check_descriptors(&order, 2).unwrap_err().to_string();
        assert!(said.contains("500000100"), "{said}");
        let said = check_connections(1_000_000_000).unwrap_err().to_string();
        assert!(said.contains("2000000100"), "{said}");
    }

    #[test]
    fn backends_are_as_many_as_a_proxy_has_ports_for() {
        let count = |agents, lifetime| {
            let group = order(Protocol::TcpEcho, agents, 1.0).groups.remove(0);
            backends_needed(&Group { lifetime, ..group }) as u64
        };
        assert_eq!((count(64, None), count(0, None)), (1, 1));
        let many = count(200_000, None);
        assert!(many * ports_each() >= 200_000 && (many - 1) * ports_each() < 200_000, "{many}");
        // A third of them end each second, and are in TIME_WAIT for a minute.
        let short = count(5_000, Some(Duration::from_secs(3)));
        assert!(short * ports_each() >= 105_000, "{short}");
    }

    #[test]
    fn connections_are_spread_over_as_many_addresses_as_their_ports_take() {
        let loopback = Ipv4Addr::LOCALHOST.into();
        let few = order(Protocol::TcpEcho, 100, 1e6);
        assert_eq!(sources(&few, loopback, &[]).unwrap(), Vec::<IpAddr>::new());
        let visits = order(Protocol::TcpConnect, 100, 5_000.0);
        let count = sources(&visits, loopback, &[]).unwrap().len() as u64;
        assert!(count * ports_each() >= 300_100 && count > 1, "{count}");
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1).into();
        let said = sources(&visits, elsewhere, &[]).unwrap_err().to_string();
        assert!(said.contains("300100") && said.contains("ip_local_port_range"), "{said}");
    }

    #[test]
    fn ports_are_those_of_all_that_connects_within_a_minute() {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1).into();
        let mut visits = order(Protocol::TcpConnect, 100, 5_000.0);
        let needed = |order: &Order, given: &[IpAddr]| match sources(order, elsewhere, given) {
            Err(Failure::Ports { needed, free, .. }) => (needed, free / ports_each()),
            other => panic!("{other:?}"),
        };
        // An hour needs no more than the minute that a port is kept for.
        for (seconds, count) in [(30, 150_100), (60, 300_100), (3_600, 300_100)] {
            visits.window = Duration::from_secs(seconds);
            assert_eq!(needed(&visits, &[]), (count, 1));
        }
        assert_eq!(needed(&visits, &[elsewhere, elsewhere]), (300_100, 2));
        let many = vec![elsewhere; 300_100_usize.div_ceil(ports_each() as usize)];
        assert_eq!(sources(&visits, elsewhere, &many).unwrap(), many);
        // As fast as they can.
        visits.groups[0].pace = Pace::Closed { depth: 1 };
        visits.window = Duration::from_secs(10);
        assert_eq!(needed(&visits, &[]), (250_100, 1));
        let group = order(Protocol::TcpEcho, u32::MAX, 1.0).groups.remove(0);
        assert_eq!(backends_needed(&group), 64);
    }

    #[test]
    fn who_answers_datagrams_with_something_else_is_no_echo() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0; 200]).unwrap();
            socket.send_to(b"no such service", from).unwrap();
        });
        let echo = order(Protocol::UdpEcho, 1, 1.0);
        let said = check_target(&echo, target, false).unwrap_err().to_string();
        assert!(said.contains("it answers something else"), "{said}");
        answering.join().unwrap();
    }

    #[test]
    fn who_speaks_no_tls_is_told_from_who_is_not_believed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let blind = Trust::blind(ServerName::from(target.ip()));
        let order = order(Protocol::TlsConnect, 1, 1.0);
        let failure = check_handshakes(&order, target, &blind).unwrap_err();
        let told = matches!(failure, Failure::NoHandshake { cause: "tls", .. });
        assert!(told, "{failure:?}");
        answering.join().unwrap();
    }
}
