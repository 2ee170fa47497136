//! Owns the checks of how a run ends: what is on its way by then is waited for, and no longer than
//! it takes.

use std::time::Duration;

use super::super::backends::{Behaviour, Outage};
use super::super::course::Arrivals;
use super::super::datagrams::simulated::Way;
use super::super::order::{Order, Pace, Sizes};
use super::super::protocol::Protocol;
use super::scene::{Outcome, open, order, play, play_over};

const ONE_WAY: [Protocol; 9] = [
    Protocol::SyslogTcp,
    Protocol::SyslogLines,
    Protocol::SyslogTls,
    Protocol::Ndjson,
    Protocol::StreamUp,
    Protocol::StreamDown,
    Protocol::StreamBoth,
    Protocol::TlsStreamDown,
    Protocol::SyslogUdp,
];

/// Milliseconds between the end of the window and that of the run.
fn drained(outcome: &Outcome) -> u64 {
    (outcome.over - outcome.window.end) / 1_000_000
}

fn order_of(protocol: Protocol, pace: Pace) -> Order {
    // Those that are waited for are not more than the ways between hold.
    Order { patience: Duration::from_secs(5), ..order(protocol, 10, pace, 3) }
}

#[test]
fn what_comes_after_a_silence_is_waited_for() {
    // They stand still from before the end of the window until long after it.
    let stall = Outage { at: Duration::from_millis(2_900), length: Duration::from_millis(2_100) };
    let behaviour = || Behaviour { stall: Some(stall), ..Behaviour::default() };
    let awaited = |order: &Order| {
        let outcome = play(order, behaviour());
        let (counts, drained) = (outcome.tally.counts(), drained(&outcome));
        assert!(counts.sent > 50, "{}: {counts:?}", order.name);
        assert_eq!((counts.answered, counts.lost), (counts.sent, 0), "{}", order.name);
        assert_eq!(outcome.tally.latency.count(), counts.sent, "{}", order.name);
        assert!((2_000..2_500).contains(&drained), "{}: {drained} ms", order.name);
    };
    for protocol in ONE_WAY {
        awaited(&order_of(protocol, open(200.0, Arrivals::Constant)));
    }
    // The same of units that are moved in pieces.
    for protocol in [Protocol::StreamUp, Protocol::StreamDown] {
        let mut order = order_of(protocol, open(40.0, Arrivals::Constant));
        order.groups[0].sizes = Sizes::Constant(64 << 10);
        awaited(&order);
    }
}

#[test]
fn nothing_is_waited_for_when_all_has_come() {
    for protocol in ONE_WAY.into_iter().chain([Protocol::TcpEcho, Protocol::TcpConnect]) {
        let outcome =
            play(&order_of(protocol, open(200.0, Arrivals::Constant)), Behaviour::default());
        assert_eq!(outcome.tally.counts().lost, 0, "{protocol:?}");
        assert!(drained(&outcome) < 200, "{protocol:?}: {} ms", drained(&outcome));
    }
}

#[test]
fn what_is_lost_is_waited_for_as_long_as_the_patience_lasts() {
    let way = Way { lost: 0.1, ..Way::default() };
    let order = order_of(Protocol::SyslogUdp, open(200.0, Arrivals::Constant));
    let outcome = play_over(&order, Behaviour::default(), way);
    assert!(outcome.tally.counts().lost > 30);
    assert!((5_000..5_100).contains(&drained(&outcome)), "{} ms", drained(&outcome));
    // What was written to connections that are reset is lost with them.
    let death = Outage { at: Duration::from_secs(1), length: Duration::from_millis(100) };
    let behaviour = Behaviour { death: Some(death), ..Behaviour::default() };
    let outcome =
        play(&order_of(Protocol::SyslogTcp, open(2_000.0, Arrivals::Constant)), behaviour);
    assert!(outcome.tally.counts().lost > 0);
    assert!((5_000..5_100).contains(&drained(&outcome)), "{} ms", drained(&outcome));
}
