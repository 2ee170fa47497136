//! Owns the comparison of what the generator says with what is known to have happened.

use std::time::Duration;

use fastrand::Rng;

use super::super::backends::{Behaviour, Fate, Mischief, Outage, Service};
use super::super::course::Arrivals;
use super::super::order::{Group, Order, Pace, Sizes};
use super::super::protocol::Protocol;
use super::scene::{Outcome, open, order, play};

fn count(outcome: &Outcome, fate: Fate) -> u64 {
    outcome.tally.struck.get(&fate).copied().unwrap_or(0)
}

/// The times that the backend of such a run draws, of the units of the window.
pub fn known_times(order: &Order, service: Service, rate: u64) -> Vec<u64> {
    let mut random = Rng::with_seed(order.seed + 1);
    let drawn = std::iter::repeat_with(|| service.draw(&mut random).as_nanos() as u64);
    let (before, within) = (order.warm_up.as_secs() * rate, order.window.as_secs() * rate);
    let mut times: Vec<u64> = drawn.skip(before as usize).take(within as usize).collect();
    times.sort_unstable();
    times
}

#[test]
fn percentiles_are_those_of_known_service_times() {
    // So seldom on each connection that no request waits for another, and so long that the way
    // there and back, about a millisecond, is no share of it.
    let order = order(Protocol::TcpEcho, 3_000, open(250.0, Arrivals::Constant), 80);
    for service in [
        Service::Constant(Duration::from_millis(400)),
        Service::Exponential(Duration::from_millis(600)),
    ] {
        let outcome = play(&order, Behaviour { service, ..Behaviour::default() });
        let times = known_times(&order, service, 250);
        let counts = outcome.tally.counts();
        assert_eq!((counts.sent, counts.answered), (20_000, 20_000));
        for share in [0.5, 0.9, 0.99, 0.999] {
            let known = times[(share * times.len() as f64) as usize - 1] as f64;
            let measured = outcome.tally.latency.quantile(share) as f64;
            assert!((measured / known - 1.0).abs() < 0.01, "{share}: {measured} of {known}");
        }
    }
}

#[test]
fn each_group_counts_for_itself_and_together_they_are_the_run() {
    let mut order = order(Protocol::TcpEcho, 8, open(1_000.0, Arrivals::Constant), 5);
    let upload =
        Group::new(Protocol::SyslogTcp, 4, open(300.0, Arrivals::Constant), Sizes::Constant(200));
    let visits =
        Group::new(Protocol::TcpConnect, 2, Pace::Closed { depth: 1 }, Sizes::Constant(64));
    order.groups.extend([upload, visits]);
    let service = Service::Constant(Duration::from_millis(5));
    let outcome = play(&order, Behaviour { service, ..Behaviour::default() });
    let sent: Vec<u64> = outcome.groups.iter().map(|of| of.counts().sent).collect();
    assert_eq!(sent[..2], [5_000, 1_500]);
    // Each waits for its answer, and two are open at a time.
    assert!((1_000..=2_000).contains(&sent[2]), "{sent:?}");
    assert_eq!(outcome.tally.counts().sent, sent.iter().sum::<u64>());
    for group in &outcome.groups {
        let counts = group.counts();
        assert_eq!((counts.lost, group.latency.count()), (0, counts.sent));
    }
    // Nobody answers syslog.
    let half = |number: usize| outcome.groups[number].latency.quantile(0.5);
    assert!(half(0) >= 5_000_000 && half(1) < 5_000_000 && half(2) >= 5_000_000);
}

#[test]
fn a_stall_of_one_second_shows_up_in_full() {
    let stall = Outage { at: Duration::from_secs(4), length: Duration::from_secs(1) };
    let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
    let order = order(Protocol::TcpEcho, 20, open(1_000.0, Arrivals::Constant), 10);
    let outcome = play(&order, behaviour);
    let latency = &outcome.tally.latency;
    assert_eq!((latency.count(), outcome.tally.counts().lost), (10_000, 0));
    // Of ten seconds one stood still: every tenth unit waited, the first of them for all of it.
    assert!(latency.max().abs_diff(1_000_000_000) < 10_000_000, "{}", latency.max());
    for (milliseconds, units) in [(10u64, 990.0), (250, 750.0), (500, 500.0), (900, 100.0)] {
        let waited = latency.share_above(milliseconds * 1_000_000) * 10_000.0;
        assert!((waited - units).abs() < 10.0, "{waited} waited for {milliseconds} ms");
    }
}

/// Whoever sends, and whether somebody answers: what was due meanwhile waits.
#[test]
fn a_stall_shows_up_in_full_in_either_direction() {
    let stall = Outage { at: Duration::from_secs(4), length: Duration::from_secs(1) };
    for protocol in [
        Protocol::StreamUp,
        Protocol::StreamDown,
        Protocol::StreamBoth,
        Protocol::TlsStreamDown,
        Protocol::SyslogTls,
        Protocol::Ndjson,
        Protocol::Datadog,
    ] {
        let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
        let order = order(protocol, 20, open(500.0, Arrivals::Constant), 10);
        let tally = play(&order, behaviour).tally;
        let (counts, latency) = (tally.counts(), &tally.latency);
        let units = if protocol == Protocol::StreamBoth { 10_000 } else { 5_000 };
        assert!(counts.sent.abs_diff(units) <= 2, "{protocol:?}: {counts:?}");
        assert_eq!((latency.count(), counts.lost), (counts.sent, 0), "{protocol:?}: {counts:?}");
        assert!(latency.max().abs_diff(1_000_000_000) < 10_000_000, "{}", latency.max());
        for (milliseconds, share) in [(10u64, 0.099), (500, 0.05), (900, 0.01)] {
            let waited = latency.share_above(milliseconds * 1_000_000);
            assert!((waited - share).abs() < 0.001, "{protocol:?}: {waited}, {milliseconds} ms");
        }
    }
}

/// The same of units that are moved in pieces.
#[test]
fn a_stall_of_a_backend_that_takes_long_units_shows_up_in_full() {
    let stall = Outage { at: Duration::from_secs(1), length: Duration::from_secs(1) };
    for protocol in [Protocol::StreamUp, Protocol::StreamDown, Protocol::TlsStreamUp] {
        let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
        let mut order = order(protocol, 4, open(20.0, Arrivals::Constant), 4);
        order.groups[0].sizes = Sizes::Constant(64 << 10);
        assert!(order.groups[0].is_bulk());
        let tally = play(&order, behaviour).tally;
        let (counts, latency) = (tally.counts(), &tally.latency);
        assert!(counts.sent.abs_diff(80) <= 1, "{protocol:?}: {counts:?}");
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}: {counts:?}");
        // What has piled up takes a while on its way.
        let longest = latency.max() / 1_000_000;
        assert!((900..1_200).contains(&longest), "{protocol:?}: {longest} ms");
        let waited = latency.share_above(500_000_000);
        assert!((0.11..0.2).contains(&waited), "{protocol:?}: {waited}");
    }
}

/// A backend that sends counts what was due on connections that take nothing any more, or are gone.
#[test]
fn what_a_backend_can_not_send_is_late_or_lost() {
    for protocol in [Protocol::StreamDown, Protocol::StreamBoth] {
        let order = order(protocol, 10, open(500.0, Arrivals::Constant), 10);
        let units = if protocol == Protocol::StreamBoth { 10_000 } else { 5_000 };
        let never = Outage { at: Duration::from_secs(4), length: Duration::from_secs(60) };
        let behaviour = Behaviour { stall: Some(never), ..Behaviour::default() };
        let tally = play(&order, behaviour).tally;
        let counts = tally.counts();
        assert!(counts.sent.abs_diff(units) <= 2, "{protocol:?}: {counts:?}");
        assert!(counts.lost.abs_diff(units * 6 / 10) <= 20, "{protocol:?}: {counts:?}");
        // Those that a backend did not even send are told apart, and their wait counts.
        let unsent = 2_980..=counts.lost;
        assert!(unsent.contains(&tally.unanswered), "{protocol:?}: {}", tally.unanswered);
        assert!(tally.latency.max() > 5_900_000_000, "{protocol:?}: {}", tally.latency.max());

        let death = Outage { at: Duration::from_secs(3), length: Duration::from_secs(2) };
        let behaviour = Behaviour { death: Some(death), ..Behaviour::default() };
        let tally = play(&order, behaviour).tally;
        let (counts, latency) = (tally.counts(), &tally.latency);
        assert!(counts.sent.abs_diff(units) <= 2, "{protocol:?}: {counts:?}");
        // What was due meanwhile comes when there is a connection again, but for what was written
        // to those that were reset; agents go on to write to such.
        let written = if protocol == Protocol::StreamBoth { 1_040 } else { 40 };
        assert!(counts.lost <= written, "{protocol:?}: {counts:?}");
        assert!(latency.max() > 1_900_000_000, "{protocol:?}: {}", latency.max());
        let waited = latency.share_above(500_000_000);
        assert!((0.07..0.4).contains(&waited), "{protocol:?}: {waited}");
    }
}

#[test]
fn in_a_closed_loop_the_same_stall_hides() {
    let stall = Outage { at: Duration::from_secs(4), length: Duration::from_secs(1) };
    let service = Service::Constant(Duration::from_millis(20));
    let behaviour = Behaviour { stall: Some(stall), service, ..Behaviour::default() };
    let order = order(Protocol::TcpEcho, 20, Pace::Closed { depth: 1 }, 10);
    let latency = play(&order, behaviour).tally.latency;
    let waited = latency.share_above(100_000_000) * latency.count() as f64;
    assert!((15.0..=25.0).contains(&waited), "one unit of each connection: {waited}");
    assert!(latency.quantile(0.99) < 30_000_000);
}

/// In what is echoed, and in answers that only say which request they are for.
#[test]
fn what_a_backend_does_wrong_is_counted_exactly() {
    let mischief =
        Mischief { drop: 0.03, duplicate: 0.05, swap: 0.02, corrupt: 0.04, ..Mischief::default() };
    for protocol in [Protocol::TcpEcho, Protocol::Datadog, Protocol::SplunkHec] {
        let order = order(protocol, 50, open(1_000.0, Arrivals::Poisson), 10);
        let outcome = play(&order, Behaviour { mischief, ..Behaviour::default() });
        let counts = outcome.tally.counts();
        let [drop, duplicate, swap, corrupt] =
            [Fate::Drop, Fate::Duplicate, Fate::Swap, Fate::Corrupt]
                .map(|fate| count(&outcome, fate));
        assert!(drop > 200 && duplicate > 350 && swap > 120 && corrupt > 300, "{protocol:?}");
        assert_eq!(counts.duplicated, duplicate, "{protocol:?}");
        assert_eq!(counts.corrupted, corrupt, "{protocol:?}");
        // An answer that was held back and never followed by another is lost as well.
        assert_eq!(counts.lost, outcome.tally.unanswered);
        assert!((drop..=drop + 50).contains(&counts.lost), "{} of {drop}", counts.lost);
        assert_eq!(counts.reordered + counts.lost, swap + drop, "{protocol:?}");
        assert_eq!(counts.errors(), 0);
    }
}

#[test]
fn resets_and_ends_are_counted_by_kind_and_survived() {
    let mischief = Mischief { reset: 0.01, close: 0.02, ..Mischief::default() };
    let order = order(Protocol::TcpConnect, 200, open(500.0, Arrivals::Constant), 10);
    let outcome = play(&order, Behaviour { mischief, ..Behaviour::default() });
    let counts = outcome.tally.counts();
    assert_eq!(counts.sent, 5_000);
    assert_eq!(counts.errors["reset"], count(&outcome, Fate::Reset));
    assert_eq!(counts.errors["closed"], count(&outcome, Fate::Close));
    assert_eq!(counts.lost, counts.errors());
    assert!(counts.errors["reset"] > 20 && counts.errors["closed"] > 60);
}

/// A backend that only takes, or only sends, ends its connections with the unit that is at hand.
#[test]
fn connections_of_streams_end_by_kind_and_are_survived() {
    let mischief = Mischief { reset: 0.02, close: 0.03, ..Mischief::default() };
    for (protocol, size) in [
        (Protocol::SyslogTcp, 300),
        (Protocol::SyslogTls, 300),
        (Protocol::Ndjson, 300),
        (Protocol::StreamUp, 64 << 10),
        (Protocol::StreamDown, 300),
        (Protocol::StreamDown, 64 << 10),
        (Protocol::StreamBoth, 300),
    ] {
        let mut order = order(protocol, 20, open(100.0, Arrivals::Constant), 10);
        order.groups[0].sizes = Sizes::Constant(size);
        let outcome = play(&order, Behaviour { mischief, ..Behaviour::default() });
        let (counts, what) = (outcome.tally.counts(), format!("{protocol:?} of {size}"));
        let (resets, ends) = (count(&outcome, Fate::Reset), count(&outcome, Fate::Close));
        assert!(resets >= 10 && ends >= 15, "{what}: {resets}, {ends}");
        // Whoever writes to a connection that was ended may find it reset.
        let errors = counts.errors["reset"] + counts.errors.get("closed").unwrap_or(&0);
        assert_eq!(errors, counts.errors(), "{what}: {counts:?}");
        assert!(errors.abs_diff(resets + ends) <= 2, "{what}: {resets}, {ends}: {counts:?}");
        // What was under way is lost with them, and little else.
        assert!(counts.lost <= 10 * errors, "{what}: {counts:?}");
        assert_eq!(counts.duplicated + counts.corrupted, 0, "{what}: {counts:?}");
    }
}

#[test]
fn agents_come_back_after_the_death_of_their_backend() {
    let death = Outage { at: Duration::from_secs(3), length: Duration::from_secs(2) };
    let order = order(Protocol::TcpEcho, 40, open(400.0, Arrivals::Constant), 12);
    let outcome = play(&order, Behaviour { death: Some(death), ..Behaviour::default() });
    let counts = outcome.tally.counts();
    assert_eq!(counts.sent, 4_800);
    // Every agent loses its connection, and some of those that it tries meanwhile.
    assert!(counts.errors["reset"] >= 80, "{counts:?}");
    // Two seconds of twelve; what waits for the last try is answered.
    assert!((200..=800).contains(&counts.lost), "{counts:?}");
    assert_eq!(outcome.tally.unanswered, 0);
}

#[test]
fn streams_are_counted_where_they_end() {
    for protocol in [
        Protocol::StreamUp,
        Protocol::StreamDown,
        Protocol::StreamBoth,
        Protocol::SyslogTcp,
        Protocol::SyslogLines,
        Protocol::Ndjson,
    ] {
        let order = order(protocol, 10, open(1_000.0, Arrivals::Constant), 5);
        let outcome = play(&order, Behaviour::default());
        let counts = outcome.tally.counts();
        let directions = if protocol == Protocol::StreamBoth { 2 } else { 1 };
        assert!(counts.sent.abs_diff(directions * 5_000) <= 10, "{protocol:?}: {counts:?}");
        assert_eq!((counts.answered, counts.lost), (counts.sent, 0), "{protocol:?}");
        assert_eq!(counts.failed() + counts.reordered, 0, "{protocol:?}");
        assert_eq!(outcome.tally.latency.count(), counts.answered);
    }
}

/// Of every protocol: the seconds that are shown tell of what left in them.
#[test]
fn whatever_leaves_is_counted_when_it_leaves() {
    for protocol in [
        Protocol::TcpEcho,
        Protocol::TcpConnect,
        Protocol::StreamBoth,
        Protocol::SyslogLines,
        Protocol::UdpOneWay,
        Protocol::Vector,
        Protocol::OtlpGrpcTls,
    ] {
        let order = order(protocol, 10, open(200.0, Arrivals::Constant), 4);
        is_told_when_it_leaves(&order, if protocol == Protocol::StreamBoth { 1_600 } else { 800 });
    }
    for protocol in [Protocol::StreamUp, Protocol::StreamDown, Protocol::TlsStreamUp] {
        let mut order = order(protocol, 4, open(25.0, Arrivals::Constant), 4);
        order.groups[0].sizes = Sizes::Constant(64 << 10);
        assert!(order.groups[0].is_bulk());
        is_told_when_it_leaves(&order, 100);
    }
}

fn is_told_when_it_leaves(order: &Order, units: u64) {
    let tally = play(order, Behaviour::default()).tally;
    let (left, counts) = (tally.departures.count, tally.counts());
    assert!(left.abs_diff(units) <= 2, "{}: {left} left; {counts:?}", order.name);
    assert_eq!(counts.answered, counts.sent, "{}: {counts:?}", order.name);
}

/// No deadline is one of the coarse wheel, in which those of connections lie.
#[test]
fn units_leave_at_the_very_microsecond() {
    for protocol in [Protocol::TcpEcho, Protocol::StreamDown, Protocol::UdpEcho] {
        let order = order(protocol, 7, open(777.0, Arrivals::Poisson), 5);
        let tally = play(&order, Behaviour::default()).tally;
        assert!(tally.counts().sent > 3_000, "{protocol:?}");
        assert!(tally.lag_max <= 1_000, "{protocol:?}: {} ns after its time", tally.lag_max);
        assert_eq!(tally.lag.quantile(1.0).max(1_000), 1_000, "{protocol:?}");
    }
}

/// What they have begun to say when the window ends is waited for.
#[test]
fn slow_agents_lose_nothing_that_they_can_carry() {
    let mut order = order(Protocol::SyslogTcp, 4, open(8.0, Arrivals::Constant), 10);
    order.groups[0].sizes = Sizes::Constant(900);
    order.groups[0].slow = 1.0;
    let counts = play(&order, Behaviour::default()).tally.counts();
    assert_eq!((counts.sent, counts.lost), (80, 0), "{counts:?}");
}

#[test]
fn connections_that_end_and_agents_that_are_slow_or_broken_lose_nothing() {
    for protocol in [Protocol::TcpEcho, Protocol::Datadog, Protocol::SyslogTcp] {
        // As much as the slow ones can carry.
        let mut order = order(protocol, 30, open(60.0, Arrivals::Poisson), 20);
        let plain = play(&order, Behaviour::default()).tally;
        order.groups[0].lifetime = Some(Duration::from_secs(1));
        order.groups[0].slow = 0.2;
        order.groups[0].broken = 0.2;
        let tally = play(&order, Behaviour::default()).tally;
        let counts = tally.counts();
        assert_eq!(counts.sent, plain.counts().sent, "{protocol:?}");
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}: {counts:?}");
        // The slow ones show.
        assert!(tally.latency.quantile(0.99) > 15_000_000, "{protocol:?}");
        assert!(plain.latency.quantile(0.99) < 10_000_000, "{protocol:?}");
    }
}
