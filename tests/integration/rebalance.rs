//! Sessions that are moved to a backend that has come: in order, no faster than asked, and no
//! further than to its share.

use std::io::ErrorKind;
use std::net::Shutdown;

use serde_json::Value;

use super::agents::Agents;
use super::aggregator::{Aggregator, Manner};
use super::dns::DnsServer;
use super::fleet::{Search, set};
use super::load::{ask, report};
use super::patience::{eventually, now};
use super::stream::connect;

/// When the session ended, in milliseconds since some moment of the day.
fn ended(session: &Value) -> u64 {
    let accepted = session["accepted"].as_str().unwrap();
    let (_, time) = accepted.trim_end_matches('Z').split_once('T').unwrap();
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    let seconds = parts.iter().fold(0.0, |seconds, part| seconds * 60.0 + part);
    (seconds * 1000.0) as u64 + session["total_us"].as_u64().unwrap() / 1000
}

#[test]
fn a_backend_that_comes_gets_its_share_of_long_lived_sessions() {
    let [a, b, c] = ["a", "b", "c"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a, &b]);
    let pool = "policy = \"least-connections\"\nrebalance = 2\nrebalance_tolerance = 10";
    let proxy = Search { pool, process: "workers = 2", ..Search::of_services() };
    let proxy = proxy.start(dns.address());
    let agents = Agents::start(proxy.address(), 30);
    agents.next(2);
    assert_eq!(proxy.metric("backend_connections", ""), 30);
    let change = now();
    set(&dns, &[&a, &b, &c]);
    let connections = || [&a, &b, &c].map(Aggregator::connections);
    // The share of each is ten, and one more is tolerated: eight come at least.
    let spread = || (connections().iter().all(|count| (8..=11).contains(count))).then_some(());
    eventually("each has its share", spread);
    report("30 sessions, a third backend", change.elapsed());
    let moved = proxy.sessions(8);
    // It has come to rest, and nothing else is closed while the agents go on.
    agents.next(60);
    let counts = connections();
    let sessions = proxy.sessions(moved.len());
    println!("30 sessions, a third backend: {} moved, now {counts:?}", sessions.len());
    assert!(sessions.len() <= moved.len() + 1, "{} and then {}", moved.len(), sessions.len());
    assert!(sessions.iter().all(|session| session["reason"] == "rebalanced"), "{sessions:?}");
    let mut ends: Vec<u64> = sessions.iter().map(ended).collect();
    ends.sort_unstable();
    // Two steps may fall into a second, if the first is late and the second is not.
    for first in 0..ends.len() {
        let within = ends[first..].iter().filter(|end| **end - ends[first] < 1000).count();
        assert!(within <= 4, "{within} closed within a second: {ends:?}");
    }
    agents.finish("30 sessions, a third backend", &[&a, &b, &c]);
}

#[test]
fn a_line_in_flight_when_its_session_moves_is_sent_twice_and_not_lost() {
    let [mut a, b] = ["a", "b"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    let pool = "policy = \"least-connections\"\nrebalance = 100\nrebalance_tolerance = 0";
    let proxy = Search { pool, ..Search::of_services() }.start(dns.address());
    let sessions: Vec<_> = (0..6).map(|_| connect(proxy.address())).collect();
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(ask(session, &format!("first of {number}")).unwrap(), "a");
    }
    a.behave(Manner::Withholds);
    std::thread::scope(|scope| {
        let asking = |(number, session)| {
            let (line, proxy) = (format!("second of {number}"), proxy.address());
            scope.spawn(move || match ask(session, &line) {
                // What its session said last was in order, and no answer: it is sent again.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    session.shutdown(Shutdown::Write).unwrap();
                    Some((ask(&connect(proxy), &line).unwrap(), line))
                }
                Err(_) => None,
                Ok(_) => panic!("{line}: nobody answers"),
            })
        };
        let asking: Vec<_> = sessions.iter().enumerate().map(asking).collect();
        eventually("all lines are there", || {
            let received = a.received();
            (0..6).all(|number| received.contains_key(&format!("second of {number}"))).then_some(())
        });
        a.behave(Manner::Answers);
        let change = now();
        set(&dns, &[&a, &b]);
        let moved = || asking.iter().filter(|asking| asking.is_finished()).count();
        eventually("three have moved", || (moved() == 3).then_some(()));
        report("6 sessions with a line in flight", change.elapsed());
        // The others would wait for ever.
        a.kill();
        let mut lines = a.received();
        b.received().into_iter().for_each(|(line, count)| *lines.entry(line).or_default() += count);
        let twice: Vec<_> =
            asking.into_iter().filter_map(|asking| asking.join().unwrap()).collect();
        println!("6 sessions with a line in flight: 0 lost, {} duplicates", twice.len());
        assert_eq!(twice.len(), 3);
        for (name, line) in twice {
            assert_eq!((&*name, lines[&line]), ("b", 2), "{line}");
        }
    });
}
