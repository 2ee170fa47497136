//! Owns the comparison of what the generator says of datagrams with what is known to have happened
//! to them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::backends::{Behaviour, Fate, Mischief, Outage, Service};
use super::super::course::Arrivals;
use super::super::datagrams::simulated::Way;
use super::super::order::Pace;
use super::super::protocol::Protocol;
use super::scene::{Outcome, backend, open, order, play, play_over};

/// What came of the units of the window, by the journal of the network alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    came: u64,
    duplicated: u64,
    reordered: u64,
}

/// `here`: where the units are counted.
fn known(outcome: &Outcome, protocol: Protocol, here: impl Fn(SocketAddr) -> bool) -> Known {
    let (mut known, mut seen, mut highest) = (Known::default(), HashSet::new(), HashMap::new());
    for (_, bytes) in outcome.delivered.iter().filter(|(to, _)| here(*to)) {
        let (mark, intact) = protocol.format().decode_whole(bytes).unwrap();
        assert!(intact);
        let (first, latest) = (seen.insert((mark.stream, mark.sequence)), mark.sequence + 1);
        let before = highest.insert(mark.stream, latest).unwrap_or(0);
        highest.insert(mark.stream, before.max(latest));
        if outcome.window.holds(mark.due) {
            known.came += u64::from(first);
            known.duplicated += u64::from(!first);
            known.reordered += u64::from(first && latest <= before);
        }
    }
    known
}

const ONE_WAY: [Protocol; 3] = [Protocol::UdpOneWay, Protocol::SyslogUdp, Protocol::SyslogUdp3164];
const BAD_WAY: Way = Way {
    lost: 0.03,
    repeated: 0.02,
    delayed: 0.05,
    delay: Duration::from_millis(40),
    full: 0.04,
    room: usize::MAX,
};

#[test]
fn what_happens_on_the_way_is_counted_exactly() {
    for protocol in ONE_WAY {
        let order = order(protocol, 20, open(1_000.0, Arrivals::Poisson), 10);
        let outcome = play_over(&order, Behaviour::default(), BAD_WAY);
        let counts = outcome.tally.counts();
        let known = known(&outcome, protocol, |to| to == backend(0));
        assert!(known.duplicated > 150 && known.reordered > 300, "{known:?}");
        assert_eq!(counts.answered, known.came, "{protocol:?}");
        assert_eq!(counts.lost, counts.sent - known.came, "{protocol:?}");
        assert!((200..400).contains(&counts.lost), "{} lost", counts.lost);
        assert_eq!((counts.duplicated, counts.reordered), (known.duplicated, known.reordered));
        assert_eq!((counts.errors(), counts.corrupted, counts.late, counts.dropped), (0, 0, 0, 0));
        let departed = outcome.tally.departures.count;
        assert!(departed.abs_diff(counts.sent) <= 2, "{departed} of {}", counts.sent);
    }
}

#[test]
fn both_ways_of_an_echo_are_counted_exactly() {
    let order = order(Protocol::UdpEcho, 20, open(1_000.0, Arrivals::Constant), 10);
    let outcome = play_over(&order, Behaviour::default(), BAD_WAY);
    let counts = outcome.tally.counts();
    let known = known(&outcome, Protocol::UdpEcho, |to| to != backend(0));
    assert_eq!(counts.sent, 10_000);
    assert_eq!((counts.answered, counts.lost), (known.came, 10_000 - known.came));
    assert_eq!((counts.duplicated, counts.reordered), (known.duplicated, known.reordered));
    assert!((450..750).contains(&counts.lost) && known.duplicated > 300, "{counts:?}");
    assert_eq!(counts.lost, outcome.tally.unanswered);
    assert_eq!(counts.errors() + counts.corrupted + counts.late, 0);
    // What is lost took as long as it was waited for at least.
    assert_eq!(outcome.tally.latency.count(), 10_000);
    let waited = outcome.tally.latency.share_above(4_900_000_000) * 10_000.0;
    assert!((waited - counts.lost as f64).abs() < 1.0, "{waited} waited for all of the patience");
}

#[test]
fn what_a_backend_does_wrong_is_counted_exactly() {
    let mischief =
        Mischief { drop: 0.03, duplicate: 0.05, swap: 0.02, corrupt: 0.04, ..Mischief::default() };
    for service in [Service::None, Service::Constant(Duration::from_millis(5))] {
        let order = order(Protocol::UdpEcho, 50, open(1_000.0, Arrivals::Poisson), 10);
        let behaviour = Behaviour { mischief, service, ..Behaviour::default() };
        let outcome = play(&order, behaviour);
        let (counts, struck) = (outcome.tally.counts(), &outcome.tally.struck);
        let [drop, duplicate, swap, corrupt] =
            [Fate::Drop, Fate::Duplicate, Fate::Swap, Fate::Corrupt].map(|fate| struck[&fate]);
        assert!(drop > 200 && duplicate > 350 && swap > 120 && corrupt > 300);
        assert_eq!((counts.duplicated, counts.corrupted), (duplicate, corrupt));
        // An answer that was held back and never followed by another is lost as well.
        assert!((drop..=drop + 50).contains(&counts.lost), "{} of {drop}", counts.lost);
        // One that was held back for the whole patience came late, and is lost likewise.
        assert_eq!(counts.reordered + counts.lost - counts.late, swap + drop);
    }
}

#[test]
fn percentiles_are_those_of_known_service_times_though_requests_overlap() {
    // One agent, whose requests would wait for each other on a connection.
    let order = order(Protocol::UdpEcho, 1, open(250.0, Arrivals::Constant), 80);
    for service in [
        Service::Constant(Duration::from_millis(100)),
        Service::Exponential(Duration::from_millis(150)),
    ] {
        let outcome = play(&order, Behaviour { service, ..Behaviour::default() });
        let times = super::truth::known_times(&order, service, 250);
        assert_eq!(outcome.tally.counts().answered, 20_000);
        for share in [0.5, 0.9, 0.99, 0.999] {
            let known = times[(share * times.len() as f64) as usize - 1] as f64;
            let measured = outcome.tally.latency.quantile(share) as f64;
            assert!((measured / known - 1.0).abs() < 0.01, "{share}: {measured} of {known}");
        }
    }
}

#[test]
fn a_stall_shows_up_in_full_and_what_finds_no_room_meanwhile_is_our_own_loss() {
    let stall = Outage { at: Duration::from_secs(4), length: Duration::from_secs(1) };
    let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
    let order = order(Protocol::UdpEcho, 20, open(1_000.0, Arrivals::Constant), 10);
    let outcome = play(&order, behaviour.clone());
    let latency = &outcome.tally.latency;
    assert_eq!((latency.count(), outcome.tally.counts().lost), (10_000, 0));
    assert!(latency.max().abs_diff(1_000_000_000) < 10_000_000, "{}", latency.max());
    let waited = latency.share_above(500_000_000) * 10_000.0;
    assert!((waited - 500.0).abs() < 10.0, "{waited} waited for half of it");

    let counts = play_over(&order, behaviour, Way { room: 300, ..Way::default() }).tally.counts();
    assert_eq!((counts.lost, counts.dropped), (700, 700), "{counts:?}");
}

#[test]
fn what_comes_after_the_patience_for_it_is_lost() {
    let mut order = order(Protocol::UdpEcho, 10, open(500.0, Arrivals::Constant), 10);
    order.patience = Duration::from_secs(1);
    let way = Way { delayed: 0.1, delay: Duration::from_millis(1_500), ..Way::default() };
    for protocol in [Protocol::UdpEcho, Protocol::UdpOneWay] {
        order.groups[0].protocol = protocol;
        let outcome = play_over(&order, Behaviour::default(), way);
        let counts = outcome.tally.counts();
        assert!(counts.late > 300, "{protocol:?}: {counts:?}");
        // Those of the last second come when nobody listens any more.
        assert!((counts.late..counts.late + 200).contains(&counts.lost), "{counts:?}");
        assert_eq!(counts.sent, counts.answered + counts.lost);
        assert!(outcome.tally.latency.share_above(990_000_000) > 0.05, "so long at least");
    }
}

#[test]
fn a_closed_loop_goes_on_when_a_datagram_is_lost() {
    let mut order = order(Protocol::UdpEcho, 10, Pace::Closed { depth: 4 }, 20);
    order.patience = Duration::from_millis(100);
    let service = Service::Constant(Duration::from_millis(10));
    let behaviour = Behaviour { service, ..Behaviour::default() };
    let outcome = play_over(&order, behaviour, Way { lost: 0.01, ..Way::default() });
    let counts = outcome.tally.counts();
    // Forty under way, of which each takes 10.4 ms, or the patience for one in fifty.
    let expected = 20.0 * 40.0 / (0.0104 * 0.98 + 0.1 * 0.02);
    assert!((counts.sent as f64 / expected - 1.0).abs() < 0.05, "{} of {expected}", counts.sent);
    let share = counts.lost as f64 / counts.sent as f64;
    assert!((0.015..0.025).contains(&share), "{share} lost");
}

/// Those that could not leave in the time that there was are not left out.
#[test]
fn what_is_due_counts_however_late_the_agents_are() {
    let mut order = order(Protocol::UdpOneWay, 2, open(1_000.0, Arrivals::Constant), 10);
    order.patience = Duration::from_millis(100);
    let outcome = play_over(&order, Behaviour::default(), Way { full: 0.97, ..Way::default() });
    let counts = outcome.tally.counts();
    assert_eq!((counts.sent, counts.answered + counts.lost), (10_000, 10_000));
    assert!(outcome.tally.departures.count < 10_000 && counts.lost > 1_000, "{counts:?}");
    assert_eq!(outcome.tally.latency.count(), 10_000);
}

#[test]
fn sockets_that_are_made_anew_lose_nothing() {
    for protocol in [Protocol::UdpEcho, Protocol::SyslogUdp] {
        let mut order = order(protocol, 30, open(200.0, Arrivals::Poisson), 20);
        order.groups[0].lifetime = Some(Duration::from_secs(1));
        let outcome = play(&order, Behaviour::default());
        let counts = outcome.tally.counts();
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}: {counts:?}");
        let sockets: HashSet<SocketAddr> = outcome.delivered.iter().map(|(to, _)| *to).collect();
        assert!(protocol == Protocol::SyslogUdp || sockets.len() > 100, "{}", sockets.len());
    }
}

#[test]
fn what_is_sent_to_a_dead_backend_is_lost() {
    let death = Outage { at: Duration::from_secs(3), length: Duration::from_secs(2) };
    let order = order(Protocol::SyslogUdp, 10, open(500.0, Arrivals::Constant), 10);
    let outcome = play(&order, Behaviour { death: Some(death), ..Behaviour::default() });
    let counts = outcome.tally.counts();
    assert!((990..=1_010).contains(&counts.lost), "{counts:?}");
    assert_eq!((counts.sent, counts.errors()), (5_000, 0));
}
