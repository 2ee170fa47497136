//! Answers that are long, indirect, false or missing, while clients connect all the time: only
//! what is right is believed, and what was right last serves until then.

use std::collections::HashSet;

use serde_json::Value;

use super::aggregator::Aggregator;
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, cname, srv};
use super::fleet::{NAME, Search, address, services, set};
use super::load::{Load, exchange, report};
use super::patience::{eventually, now};
use super::peer::vacant_alike;
use super::stream::connect_in_vain;

#[test]
fn what_is_right_is_found_among_what_is_false_or_cut() {
    let [a, b, c] = ["a", "b", "c"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    let behaviours = [
        Behaviour::Truncated,
        Behaviour::Pieces,
        Behaviour::WrongIdFirst,
        Behaviour::WrongQuestionFirst,
        Behaviour::WrongSourceFirst,
    ];
    for (behaviour, turn) in behaviours.into_iter().zip([0, 1].into_iter().cycle()) {
        dns.behave(behaviour);
        let change = now();
        set(&dns, [[&b, &c], [&a, &b]][turn].as_slice());
        let took = load.await_answers(&[["b", "c"], ["a", "b"]][turn], change);
        report(&format!("{behaviour:?}"), took);
    }
    load.finish("false and cut answers");
}

#[test]
fn what_is_wrong_changes_nothing() {
    let [a, b, c] = ["a", "b", "c"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    let resolver = "timeout = \"200ms\"\ntries = 1";
    let proxy = Search { resolver, ..Search::of_services() }.start(dns.address());
    let load = Load::start(proxy.address());
    let mut current = vec!["a"];
    let behaviours = [
        Behaviour::Silent,
        Behaviour::WrongId,
        Behaviour::Loop,
        Behaviour::LoopInQuestion,
        Behaviour::Cut,
        Behaviour::Noise,
        Behaviour::Flood,
        Behaviour::Says(ResponseCode::ServFail),
        Behaviour::Says(ResponseCode::Refused),
        Behaviour::Lame,
    ];
    for (behaviour, turn) in behaviours.into_iter().zip([0, 1].into_iter().cycle()) {
        dns.behave(behaviour);
        set(&dns, [[&b, &c], [&a, &b]][turn].as_slice());
        // An answer to the last question may have been honest still.
        let asked = dns.queries(NAME, Kind::SRV);
        dns.await_queries(NAME, Kind::SRV, asked + 2);
        load.await_answers(&current, now());
        current = [vec!["b", "c"], vec!["a", "b"]][turn].clone();
        let change = now();
        dns.behave(Behaviour::Honest);
        report(&format!("after {behaviour:?}"), load.await_answers(&current, change));
    }
    load.finish("wrong answers");
}

#[test]
fn chains_of_aliases_are_followed() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let dns = DnsServer::start();
    dns.set(NAME, [cname("one.test").ttl(0)]);
    dns.set("one.test", [cname("two.test").ttl(0)]);
    let serve = |aggregator: &Aggregator| {
        dns.set("two.test", [srv(0, 1, aggregator.address.port(), "host.test").ttl(0)]);
    };
    dns.set("host.test", [cname("alias.test").ttl(0)]);
    dns.set("alias.test", [cname("target.test").ttl(0)]);
    dns.set("target.test", [address(&a)]);
    serve(&a);
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["a"], now());
    let change = now();
    serve(&b);
    report("a chain of aliases", load.await_answers(&["b"], change));
    load.finish("a chain of aliases");
}

#[test]
fn five_hundred_targets_serve_and_shrink_to_two() {
    let addresses = vacant_alike();
    let aggregators: Vec<Aggregator> = ["x", "y", "z"]
        .into_iter()
        .zip(addresses)
        .map(|(name, address)| Aggregator::start_at(name, address))
        .collect();
    let dns = DnsServer::start();
    let targets: Vec<String> = (0..500).map(|index| format!("agg-{index}.test")).collect();
    for (target, aggregator) in targets.iter().zip(aggregators.iter().cycle()) {
        dns.set(target, [a(&aggregator.address.ip().to_string()).ttl(0)]);
    }
    let port = addresses[0].port();
    let set = |targets: &[String]| {
        dns.set(NAME, targets.iter().map(|target| srv(0, 1, port, target).ttl(0)));
    };
    set(&targets[..1]);
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["x"], now());
    let rows = || proxy.get("/metrics").1.matches("ringmain_backend_connections{").count();
    let change = now();
    set(&targets);
    eventually("500 backends", || (rows() == 500).then_some(()));
    report("1 to 500 targets", load.await_answers(&["x", "y", "z"], change));
    let before = proxy.sessions(0).len();
    (0..500).for_each(|_| drop(exchange(proxy.address()).unwrap()));
    let sessions = proxy.sessions(before + 500);
    let distinct: HashSet<&Value> =
        sessions[before..].iter().map(|session| &session["backend"]).collect();
    assert!(distinct.len() > 490, "{} of 500", distinct.len());
    let change = now();
    set(&targets[..2]);
    report("500 to 2 targets", load.await_answers(&["x", "y"], change));
    // What is gone stays in sight for as long as it serves a session.
    eventually("2 backends", || (rows() == 2).then_some(()));
    load.finish("500 targets");
}

#[test]
fn a_name_that_is_gone_for_a_while_is_kept() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["a"], now());
    dns.remove(NAME);
    proxy.await_words("the last good answer is kept");
    load.await_answers(&["a"], now());
    let change = now();
    set(&dns, &[&b]);
    report("NXDOMAIN and back", load.await_answers(&["b"], change));
    load.finish("NXDOMAIN and back");
}

#[test]
fn a_name_that_is_gone_for_too_long_takes_its_backends_along_until_it_is_back() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let dns = DnsServer::start();
    dns.set(NAME, services(&dns, &[&a]));
    let discovery = "hold_nxdomain = \"200ms\"";
    let proxy = Search { discovery, ..Search::of_services() }.start(dns.address());
    assert_eq!(exchange(proxy.address()).unwrap(), "a");
    dns.remove(NAME);
    proxy.await_words("its last good answer is dropped");
    let reason = || {
        connect_in_vain(proxy.address());
        let sessions = proxy.sessions(0);
        sessions.last().map(|session| session["reason"].clone())
    };
    eventually("clients are refused", || exchange(proxy.address()).err());
    eventually("the access log says so", || (reason()? == "no-backend").then_some(()));
    let change = now();
    set(&dns, &[&b]);
    eventually("it is back", || exchange(proxy.address()).ok());
    report("a hold that ended", change.elapsed());
}
