//! Owns the checks of connections that do not last: they come to their end whatever is under way,
//! and nothing is lost with them.

use std::collections::HashSet;
use std::time::Duration;

use super::super::backends::{Behaviour, Mischief, Service};
use super::super::course::Arrivals;
use super::super::order::{Order, Pace, Sizes};
use super::super::protocol::Protocol;
use super::scene::{open, order, play};

/// Ten agents, for ten seconds; each handshake is that of a connection.
fn order_of(protocol: Protocol, pace: Pace, lifetime: Option<Duration>) -> Order {
    let mut order = order(protocol, 10, pace, 10);
    order.groups[0].lifetime = lifetime;
    order
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

/// Answers take so long that there is always one under way.
fn busy() -> Behaviour {
    let service = Service::Constant(Duration::from_millis(10));
    Behaviour { service, ..Behaviour::default() }
}

#[test]
fn connections_end_though_something_is_always_under_way() {
    for (protocol, pace) in [
        (Protocol::TlsEcho, Pace::Closed { depth: 1 }),
        (Protocol::TlsEcho, Pace::Closed { depth: 4 }),
        // As much as is answered.
        (Protocol::TlsEcho, open(950.0, Arrivals::Constant)),
        (Protocol::OtlpGrpcTls, Pace::Closed { depth: 4 }),
    ] {
        let lasting = play(&order_of(protocol, pace, None), busy()).tally;
        let tally = play(&order_of(protocol, pace, SECOND), busy()).tally;
        let (counts, connections) = (tally.counts(), tally.handshakes_full);
        assert_eq!(lasting.handshakes_full, 0, "{protocol:?}, {pace:?}");
        assert!((60..140).contains(&connections), "{protocol:?}, {pace:?}: {connections}");
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}, {pace:?}: {counts:?}");
        // As many as ever are under way on each.
        let share = tally.ended as f64 / lasting.ended as f64;
        assert!((0.9..1.1).contains(&share), "{protocol:?}, {pace:?}: {share}");
    }
}

#[test]
fn connections_of_a_flood_end() {
    let mut order = order_of(Protocol::SyslogTls, Pace::Closed { depth: 1 }, SECOND);
    order.groups[0].sizes = Sizes::Constant(20_000);
    (order.groups[0].agents, order.window) = (2, Duration::from_secs(2));
    order.groups[0].lifetime = Some(Duration::from_millis(100));
    let tally = play(&order, Behaviour::default()).tally;
    let (counts, connections) = (tally.counts(), tally.handshakes_full);
    assert!((20..60).contains(&connections), "{connections}");
    assert!(counts.sent > 100, "{counts:?}");
    assert_eq!((counts.lost, counts.failed()), (0, 0), "{counts:?}");
}

#[test]
fn sockets_end_though_something_is_always_under_way() {
    for pace in [Pace::Closed { depth: 3 }, open(2_000.0, Arrivals::Constant)] {
        let outcome = play(&order_of(Protocol::UdpEcho, pace, SECOND), busy());
        let counts = outcome.tally.counts();
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{pace:?}: {counts:?}");
        let sockets: HashSet<_> = outcome.delivered.iter().map(|(to, _)| to).collect();
        assert!((70..180).contains(&sockets.len()), "{pace:?}: {}", sockets.len());
        // Whoever leaves for the next socket does not wait for what comes to the last one.
        assert!(outcome.tally.latency.max() < 15_000_000, "{}", outcome.tally.latency.max());
    }
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_forever() {
    let mischief = Mischief { drop: 0.02, ..Mischief::default() };
    for protocol in [Protocol::TlsEcho, Protocol::OtlpGrpcTls] {
        let mut order = order_of(protocol, open(100.0, Arrivals::Constant), SECOND);
        order.patience = Duration::from_millis(500);
        order.groups[0].sizes = Sizes::Constant(500);
        let tally = play(&order, Behaviour { mischief, ..Behaviour::default() }).tally;
        let (counts, connections) = (tally.counts(), tally.handshakes_full);
        assert!((40..140).contains(&connections), "{protocol:?}: {connections}");
        assert!((5..50).contains(&counts.lost), "{protocol:?}: {counts:?}");
    }
}

#[test]
fn whoever_breaks_off_does_so_in_every_loop() {
    for (protocol, pace) in [
        (Protocol::TlsEcho, Pace::Closed { depth: 1 }),
        (Protocol::TlsEcho, Pace::Closed { depth: 4 }),
        (Protocol::TlsEcho, open(200.0, Arrivals::Constant)),
        (Protocol::SyslogTls, open(200.0, Arrivals::Constant)),
        (Protocol::OtlpGrpcTls, Pace::Closed { depth: 4 }),
        (Protocol::OtlpGrpcTls, open(200.0, Arrivals::Constant)),
    ] {
        let mut order = order_of(protocol, pace, None);
        order.groups[0].broken = 1.0;
        let tally = play(&order, busy()).tally;
        let (counts, connections) = (tally.counts(), tally.handshakes_full);
        assert!((15..1_000).contains(&connections), "{protocol:?}, {pace:?}: {connections}");
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}, {pace:?}: {counts:?}");
    }
}
