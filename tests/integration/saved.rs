//! Starts at which DNS does not answer, with and without what an earlier run has saved, and one
//! at which it answers late.

use std::fs;
use std::net::SocketAddr;

use super::aggregator::Aggregator;
use super::dns::{Behaviour, DnsServer, Kind};
use super::fleet::{NAME, Search, set};
use super::load::{Load, ask, exchange, report};
use super::patience::{eventually, now};
use super::peer::vacant;
use super::proxy::{Proxy, run};
use super::stream::{connect, connect_in_vain};

const IMPATIENT: &str = "timeout = \"200ms\"\ntries = 1";

#[test]
fn the_set_saved_before_serves_while_dns_is_silent() {
    let [a, b, c] = ["a", "b", "c"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a, &b]);
    let folder = tempfile::tempdir().unwrap();
    let process = format!("workers = 1\nstate_directory = \"{}\"", folder.path().display());
    let search = Search { process: &process, resolver: IMPATIENT, ..Search::of_services() };
    let first = search.start(dns.address());
    // Under its last name: what is still being written under another is lost with the process.
    let file = folder.path().join("pool-back.json");
    eventually("it is saved", || {
        let text = fs::read_to_string(&file).ok()?;
        (text.contains("a.test") && text.contains("b.test")).then_some(())
    });
    drop(first);
    dns.behave(Behaviour::Silent);
    let proxy = search.start(dns.address());
    proxy.await_words("the set saved before is used");
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    set(&dns, &[&b, &c]);
    dns.behave(Behaviour::Honest);
    report("from a saved set to an answer", load.await_answers(&["b", "c"], change));
    load.finish("from a saved set to an answer");
}

#[test]
fn without_a_saved_set_clients_are_refused_until_dns_answers() {
    let a = Aggregator::start("a");
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    dns.behave(Behaviour::Silent);
    let proxy = Search { resolver: IMPATIENT, ..Search::of_services() }.start(dns.address());
    connect_in_vain(proxy.address());
    assert_eq!(proxy.session()["reason"], "no-backend");
    let change = now();
    dns.behave(Behaviour::Honest);
    eventually("it serves", || exchange(proxy.address()).ok());
    report("the first answer after a silent start", change.elapsed());
}

#[test]
fn whoever_connects_before_the_first_answer_waits_for_it() {
    let a = Aggregator::start("a");
    let dns = DnsServer::start();
    set(&dns, &[&a]);
    dns.behave(Behaviour::Silent);
    let address: SocketAddr = vacant();
    let resolver = "timeout = \"300ms\"\ntries = 10";
    let search = Search { resolver, ..Search::of_services() };
    let text = search.text(dns.address(), &address.to_string());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Proxy::start(&text, run));
        dns.await_queries(NAME, Kind::SRV, 1);
        let early = connect(address);
        dns.behave(Behaviour::Honest);
        assert_eq!(ask(&early, "early").unwrap(), "a");
        drop(starting.join().unwrap());
    });
}
