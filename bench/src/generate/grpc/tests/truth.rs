//! Owns the comparison of what callers say with what their backends did, on virtual time.

use std::time::Duration;

use fastrand::Rng;

use super::super::super::backends::{Behaviour, Fate, Mischief, Outage, Service};
use super::super::super::course::Arrivals;
use super::super::super::order::{Pace, Sizes};
use super::super::super::protocol::Protocol;
use super::scene::{Outcome, open, order, play};

const BOTH: [Protocol; 2] = [Protocol::Vector, Protocol::OtlpGrpc];

fn count(outcome: &Outcome, fate: Fate) -> u64 {
    outcome.done.get(&fate).copied().unwrap_or(0)
}

#[test]
fn every_call_arrives_once_and_is_answered() {
    for protocol in BOTH {
        let mut order = order(protocol, 10, open(400.0, Arrivals::Poisson), 4);
        order.groups[0].sizes = Sizes::LogNormal { median: 1_000, p99: 200_000 };
        let outcome = play(&order, Behaviour::default());
        let counts = outcome.tally.counts();
        assert!((1_400..1_800).contains(&counts.sent), "{counts:?}");
        assert_eq!((counts.answered, counts.lost), (counts.sent, 0), "{protocol:?}");
        assert_eq!(counts.failed(), 0, "{protocol:?}: {counts:?}");
    }
}

#[test]
fn in_tls_both_sides_agree_on_http_2_before_they_speak_it() {
    for protocol in [Protocol::VectorTls, Protocol::OtlpGrpcTls] {
        let mut order = order(protocol, 5, open(200.0, Arrivals::Constant), 3);
        order.groups[0].lifetime = Some(Duration::from_secs(1));
        let tally = play(&order, Behaviour::default()).tally;
        let counts = tally.counts();
        assert_eq!((counts.sent, counts.answered, counts.failed()), (600, 600, 0), "{counts:?}");
        assert!(tally.handshakes_full > 5, "{}", tally.handshakes_full);
    }
}

#[test]
fn calls_of_one_connection_do_not_wait_for_each_other() {
    let service = Service::Exponential(Duration::from_millis(600));
    let behaviour = Behaviour { service, ..Behaviour::default() };
    // A hundred are under way on each connection, most of the time.
    let order = order(Protocol::Vector, 2, open(350.0, Arrivals::Constant), 20);
    let outcome = play(&order, behaviour);
    let mut random = Rng::with_seed(order.seed + 1);
    let drawn = std::iter::repeat_with(|| service.draw(&mut random).as_nanos() as u64);
    let mut times: Vec<u64> = drawn.skip(350).take(7_000).collect();
    times.sort_unstable();
    assert_eq!(outcome.tally.counts().answered, 7_000);
    for share in [0.5, 0.9, 0.99, 0.999] {
        let known = times[(share * times.len() as f64) as usize - 1] as f64;
        let measured = outcome.tally.latency.quantile(share) as f64;
        assert!((measured / known - 1.0).abs() < 0.02, "{share}: {measured} of {known}");
    }
}

#[test]
fn a_stall_shows_up_in_full() {
    let stall = Outage { at: Duration::from_secs(2), length: Duration::from_secs(1) };
    let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
    let order = order(Protocol::OtlpGrpc, 20, open(1_000.0, Arrivals::Constant), 5);
    let outcome = play(&order, behaviour);
    let latency = &outcome.tally.latency;
    assert_eq!((latency.count(), outcome.tally.counts().lost), (5_000, 0));
    assert!(latency.max().abs_diff(1_000_000_000) < 10_000_000, "{}", latency.max());
    for (milliseconds, units) in [(20u64, 980.0), (250, 750.0), (500, 500.0), (900, 100.0)] {
        let waited = latency.share_above(milliseconds * 1_000_000) * 5_000.0;
        assert!((waited - units).abs() < 10.0, "{waited} waited for {milliseconds} ms");
    }
}

#[test]
fn what_is_being_worked_on_when_a_backend_stands_still_is_answered_afterwards() {
    let stall = Outage { at: Duration::from_secs(2), length: Duration::from_secs(1) };
    let service = Service::Constant(Duration::from_millis(200));
    let behaviour = Behaviour { stall: Some(stall), service, ..Behaviour::default() };
    let order = order(Protocol::OtlpGrpc, 20, open(1_000.0, Arrivals::Constant), 5);
    let latency = play(&order, behaviour).tally.latency;
    // Those of the last 200 ms before it have to wait, and those of its first 200 ms as long.
    let waited = latency.share_above(990_000_000) * 5_000.0;
    assert!((waited - 400.0).abs() < 30.0, "{waited}");
}

#[test]
fn what_a_backend_does_wrong_is_counted_exactly_and_by_kind() {
    let mischief =
        Mischief { reset: 0.02, drop: 0.01, corrupt: 0.04, refuse: 0.05, ..Mischief::default() };
    for protocol in BOTH {
        let order = order(protocol, 50, open(1_000.0, Arrivals::Poisson), 5);
        let outcome = play(&order, Behaviour { mischief, ..Behaviour::default() });
        let counts = outcome.tally.counts();
        let [reset, drop, corrupt, refuse] = [Fate::Reset, Fate::Drop, Fate::Corrupt, Fate::Refuse]
            .map(|fate| count(&outcome, fate));
        assert!(reset > 60 && drop > 30 && corrupt > 150 && refuse > 200, "{counts:?}");
        // A stream that was reset and a call that was refused leave the connection as it is.
        assert_eq!(counts.errors["stream_reset"], reset, "{protocol:?}");
        assert_eq!(counts.errors["grpc_unavailable"], refuse, "{protocol:?}");
        assert_eq!(counts.errors(), reset + refuse, "{counts:?}");
        assert_eq!(counts.corrupted, corrupt, "{protocol:?}");
        assert_eq!(counts.lost, reset + drop, "{protocol:?}");
        assert_eq!(outcome.tally.unanswered, drop, "{protocol:?}");
        assert_eq!((counts.duplicated, counts.reordered), (0, 0));
    }
}

#[test]
fn a_connection_that_ends_at_once_takes_its_calls_with_it() {
    let mischief = Mischief { close: 0.01, ..Mischief::default() };
    let service = Service::Constant(Duration::from_millis(1));
    let order = order(Protocol::Vector, 200, open(500.0, Arrivals::Constant), 10);
    let outcome = play(&order, Behaviour { mischief, service, ..Behaviour::default() });
    let counts = outcome.tally.counts();
    assert_eq!(counts.sent, 5_000);
    let closed = count(&outcome, Fate::Close);
    assert!(closed > 30, "{closed}");
    assert_eq!(counts.errors["goaway"], closed, "{counts:?}");
    assert_eq!(counts.errors(), closed, "{counts:?}");
    // Seldom was another call under way on the same connection.
    assert!((closed..closed + 5).contains(&counts.lost), "{counts:?}");
}

#[test]
fn backends_that_say_goodbye_and_agents_that_leave_lose_nothing() {
    for protocol in BOTH {
        let service = Service::Exponential(Duration::from_millis(20));
        let age = Some(Duration::from_millis(300));
        let mut order = order(protocol, 10, open(500.0, Arrivals::Poisson), 4);
        let behaviour = Behaviour { service, connection_age: age, ..Behaviour::default() };
        for lifetime in [None, Some(Duration::from_millis(400))] {
            order.groups[0].lifetime = lifetime;
            let outcome = play(&order, behaviour.clone());
            let counts = outcome.tally.counts();
            assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}: {counts:?}");
            assert_eq!(counts.reordered, 0);
        }
    }
}

#[test]
fn backends_say_goodbye_at_the_age_that_they_are_told() {
    let order = order(Protocol::OtlpGrpcTls, 5, open(100.0, Arrivals::Constant), 4);
    let age = Some(Duration::from_millis(500));
    let tally = play(&order, Behaviour { connection_age: age, ..Behaviour::default() }).tally;
    // Eight times or a little less, as it takes a while to come back.
    assert!((30..=40).contains(&tally.handshakes_full), "{}", tally.handshakes_full);
    assert_eq!((tally.counts().sent, tally.counts().failed()), (400, 0));
    let tally = play(&order, Behaviour::default()).tally;
    assert_eq!(tally.handshakes_full, 0);
}

#[test]
fn a_backend_that_dies_takes_with_it_what_was_under_way() {
    for protocol in BOTH {
        let death = Outage { at: Duration::from_secs(3), length: Duration::from_secs(1) };
        let service = Service::Constant(Duration::from_millis(200));
        let order = order(protocol, 10, open(400.0, Arrivals::Constant), 8);
        let behaviour = Behaviour { death: Some(death), service, ..Behaviour::default() };
        let outcome = play(&order, behaviour);
        let counts = outcome.tally.counts();
        // A fifth of a second of calls, and those on their way.
        assert!((78..=84).contains(&counts.lost), "{protocol:?}: {counts:?}");
        assert_eq!((counts.sent, counts.answered), (3_200, 3_200 - counts.lost));
        assert_eq!(counts.duplicated + counts.reordered + counts.corrupted, 0, "{counts:?}");
        // Each connection was reset, and so was every try to come back; nothing else failed.
        let reset = counts.errors["reset"];
        assert!(reset >= 20 && counts.errors() == reset, "{counts:?}");
        assert_eq!(outcome.tally.unanswered, 0);
        // What was due meanwhile had to wait.
        let waited = outcome.tally.latency.share_above(300_000_000) * counts.answered as f64;
        assert!((250.0..800.0).contains(&waited), "{waited}");
    }
}

#[test]
fn calls_without_an_answer_and_those_that_never_left_are_in_the_times() {
    let death = Outage { at: Duration::from_secs(1), length: Duration::from_secs(3_600) };
    let mut order = order(Protocol::OtlpGrpc, 4, open(40.0, Arrivals::Constant), 3);
    order.patience = Duration::from_secs(1);
    let tally = play(&order, Behaviour { death: Some(death), ..Behaviour::default() }).tally;
    let counts = tally.counts();
    assert!(counts.sent == 120 && (79..=81).contains(&counts.lost), "{counts:?}");
    // What was under way when it died will never come, and has no time.
    let under_way = counts.lost - tally.unanswered;
    assert!(under_way <= 4 && tally.unanswered > 70, "{counts:?}");
    assert_eq!(tally.latency.count(), 120 - under_way);
    // The oldest were due two seconds before the end of the window, and patience was a second.
    assert!(tally.latency.max() > 2_900_000_000, "{}", tally.latency.max());
}

#[test]
fn agents_come_back_after_the_death_of_their_backend() {
    let death = Outage { at: Duration::from_secs(3), length: Duration::from_secs(2) };
    let order = order(Protocol::Vector, 40, open(400.0, Arrivals::Constant), 12);
    let outcome = play(&order, Behaviour { death: Some(death), ..Behaviour::default() });
    let counts = outcome.tally.counts();
    assert_eq!(counts.sent, 4_800);
    assert!(counts.errors["reset"] >= 80, "{counts:?}");
    // What is due meanwhile waits for the next connection.
    assert!(counts.lost <= 40, "{counts:?}");
    assert!(outcome.tally.latency.max() > 1_000_000_000);
    assert_eq!(outcome.tally.unanswered, 0);
}

#[test]
fn slow_and_broken_agents_lose_nothing() {
    for protocol in BOTH {
        let mut order = order(protocol, 30, open(60.0, Arrivals::Poisson), 10);
        let plain = play(&order, Behaviour::default()).tally;
        order.groups[0].lifetime = Some(Duration::from_secs(1));
        order.groups[0].slow = 0.2;
        order.groups[0].broken = 0.2;
        let tally = play(&order, Behaviour::default()).tally;
        let counts = tally.counts();
        assert_eq!(counts.sent, plain.counts().sent, "{protocol:?}");
        assert_eq!((counts.lost, counts.failed()), (0, 0), "{protocol:?}: {counts:?}");
        assert!(tally.latency.quantile(0.99) > 50_000_000, "{protocol:?}");
        assert!(plain.latency.quantile(0.99) < 15_000_000, "{protocol:?}");
    }
}

#[test]
fn a_closed_loop_keeps_its_depth_whatever_becomes_of_calls() {
    let service = Service::Constant(Duration::from_millis(10));
    let mischief = Mischief { reset: 0.1, refuse: 0.1, ..Mischief::default() };
    let order = order(Protocol::OtlpGrpc, 4, Pace::Closed { depth: 8 }, 2);
    let outcome = play(&order, Behaviour { service, mischief, ..Behaviour::default() });
    let counts = outcome.tally.counts();
    // 32 at a time, each for 10 ms and the way there and back, for two seconds.
    assert!((4_000..6_450).contains(&counts.sent), "{counts:?}");
    assert_eq!(counts.lost, count(&outcome, Fate::Reset));
}
