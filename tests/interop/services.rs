//! Owns the test of aggregators that are found by the SRV records of a real nameserver, which are
//! edited while clients are served.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::aggregators::{Aggregator, SERVICE, ZONE};
use super::knot::Knot;
use super::load::{Failure, Load, Tally};
use super::process::{DEADLINE, now};
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn records_of_knot_are_followed_under_load() {
    let mut fleet = Fleet::start();
    let proxy = Proxy::with_text(&configuration(&fleet.knot));
    let load = Load::start(proxy.address(), FLEETING, LASTING);
    report("the ten at the start", load.settle(now(), &fleet.names(0..10)));
    let steps = [
        ("from 10 to 3", 0..3),
        ("from 3 to 12", 0..12),
        ("from 12 to the first 6", 0..6),
        ("from those 6 to the other 6", 6..12),
        ("from 6 to 12", 0..12),
    ];
    for (what, members) in steps {
        let since = fleet.publish(members.clone());
        report(what, load.settle(since, &fleet.names(members)));
    }
    let killed = fleet.names(KILLED);
    let since = now();
    fleet.aggregators[KILLED].iter_mut().for_each(Aggregator::kill);
    let dead = now();
    await_out(&proxy, killed.clone());
    report("two killed, and out", since.elapsed());
    load.settle(now(), &fleet.names(KILLED.end..12));
    let since = now();
    fleet.aggregators[KILLED].iter_mut().for_each(Aggregator::restart);
    report("two restarted, and in", load.settle(since, &fleet.names(0..12)));
    let tally = load.stop();
    judge(&tally, &proxy.stop_warned(), &killed, dead);
}

/// Waits until the proxy has said of each that it takes no connections.
fn await_out(proxy: &Proxy, mut backends: BTreeSet<String>) {
    let began = now();
    while !backends.is_empty() {
        assert!(began.elapsed() < DEADLINE, "{backends:?} are killed and not out");
        let line = proxy.log("that the killed are out");
        let Some(said) = line["message"].as_str() else { continue };
        if let Some((name, _)) = said.split_once(" is down ").or(said.split_once(" is ejected ")) {
            backends.remove(name);
        }
    }
}

/// Whoever failed was on one of the killed from before they were dead, and all that were not on one
/// ended in order.
fn judge(tally: &Tally, sessions: &[Value], killed: &BTreeSet<String>, dead: Instant) {
    let on_killed = |session: &&Value| {
        let backend = session["backend"].as_str();
        session["connect_us"].is_u64() && backend.is_some_and(|name| killed.contains(name))
    };
    let is_excused = |failure: &&Failure| {
        let Some(client) = failure.client.map(|client| client.to_string()) else { return false };
        let mut of_client = sessions.iter().filter(|session| session["client"] == *client);
        failure.opened < dead && of_client.any(|session| on_killed(&session))
    };
    let (on, others): (Vec<_>, Vec<_>) = tally.failures.iter().partition(is_excused);
    let retried = sessions.iter().filter(|session| session["tried"] != Value::Array(Vec::new()));
    println!(
        "{} connections, {} answers; {} connections were sent on to another backend, {} were \
         open on a killed one, {} others failed",
        tally.connections,
        tally.answers,
        retried.count(),
        on.len(),
        others.len(),
    );
    assert!(!on.is_empty(), "the killed backends served nobody");
    let unfinished = sessions.iter().filter(|session| session["reason"] != "finished");
    let not_killed: Vec<_> = unfinished.filter(|session| !on_killed(session)).collect();
    assert!(not_killed.is_empty(), "{not_killed:#?}");
    let told = |failure: &&Failure| format!("{:?}: {}", failure.client, failure.error);
    assert!(others.is_empty(), "{:#?}", others.iter().map(told).collect::<Vec<_>>());
    // Without all of them the above would say nothing.
    assert_eq!(sessions.len(), tally.connections);
}

fn report(what: &str, took: Duration) {
    println!("{what}: {:.2} s", took.as_secs_f64());
}

/// Twelve aggregators, and the nameserver that says which of them serve: first ten.
struct Fleet {
    aggregators: Vec<Aggregator>,
    knot: Knot,
    published: Range<usize>,
}

impl Fleet {
    fn start() -> Fleet {
        let aggregators: Vec<_> = (0..12).map(Aggregator::start).collect();
        let published = 0..10;
        let services = aggregators[published.clone()].iter().map(Aggregator::service);
        let records: Vec<_> = aggregators.iter().map(Aggregator::host).chain(services).collect();
        Fleet { aggregators, knot: Knot::start(ZONE, &records), published }
    }

    fn names(&self, members: Range<usize>) -> BTreeSet<String> {
        self.aggregators[members].iter().map(Aggregator::name).collect()
    }

    /// Has the nameserver name these alone, and gives the moment at which it did.
    fn publish(&mut self, members: Range<usize>) -> Instant {
        let services = |numbers: &Range<usize>, but: &Range<usize>| -> Vec<String> {
            let numbers = numbers.clone().filter(|number| !but.contains(number));
            numbers.map(|number| self.aggregators[number].service()).collect()
        };
        let removed = services(&self.published, &members);
        let added = services(&members, &self.published);
        self.knot.replace(&removed, &added);
        self.published = members;
        now()
    }
}

fn configuration(knot: &Knot) -> String {
    let nameserver = knot.address;
    format!(
        r#"
        [process]
        workers = 2
        [admin]
        listen = "off"
        [log]
        access_queue = 1000000
        [resolver]
        nameservers = ["{nameserver}"]
        search = []
        [listener.client]
        listen = "127.0.0.1:0"
        pool = "aggregators"
        [pool.aggregators]
        sources = [{{ srv = "{SERVICE}" }}]
        [pool.aggregators.discovery]
        min_interval = "1s"
        max_interval = "10s"
        [pool.aggregators.health]
        check = "tcp"
        interval = "500ms"
        fast_interval = "250ms"
        [pool.aggregators.ejection]
        base_time = "1s"
        "#
    )
}

const FLEETING: usize = 6;
const LASTING: usize = 30;
/// They are in the zone from the start, so that lasting connections are open on them.
const KILLED: Range<usize> = 0..2;
