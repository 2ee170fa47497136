//! The fleet of RFC 7469: aggregators found by SRV records, with the preset as it is shipped, but
//! for its ports and its nameserver; and scaled out and in under load, but for its longest times.

use std::path::Path;

use super::agents::Agents;
use super::aggregator::{Aggregator, Manner};
use super::dns::DnsServer;
use super::fleet::services;
use super::load::{Load, report};
use super::patience::{eventually, now};
use super::peer::vacant;
use super::proxy::{Proxy, run};

const NAME: &str = "_vector._tcp.vector.example.internal";

/// The preset, with each of these texts, which must be there, replaced.
fn preset(replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/vector-srv.toml");
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in replacements {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    format!("{text}\n[log]\nformat = \"json\"\n")
}

/// Where it listens and whom it asks.
fn elsewhere(dns: &DnsServer) -> [(&'static str, String); 3] {
    [
        ("listen = \"127.0.0.1:9607\"", format!("listen = \"{}\"", vacant())),
        ("listen = \"0.0.0.0:6001\"", "listen = \"127.0.0.1:0\"".to_owned()),
        ("nameservers = \"system\"", format!("nameservers = [\"{}\"]", dns.address())),
    ]
}

fn start(dns: &DnsServer) -> Proxy {
    let [admin, listener, nameservers] = elsewhere(dns);
    let text = preset(&[
        admin,
        listener,
        nameservers,
        // What takes half a minute otherwise.
        ("slow_start = \"10s\"", "slow_start = \"1s\"".to_owned()),
        ("on_removal = \"30s\"", "on_removal = \"500ms\"".to_owned()),
        ("min_interval = \"1s\"", "min_interval = \"200ms\"".to_owned()),
    ]);
    Proxy::start(&text, run)
}

/// The greatest number of connections, over the mean.
fn imbalance(aggregators: &[&Aggregator]) -> f64 {
    let counts: Vec<usize> = aggregators.iter().map(|it| it.connections()).collect();
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    *counts.iter().max().unwrap() as f64 / mean
}

#[test]
fn the_preset_finds_checks_and_follows_a_fleet_as_it_is() {
    let fleet: Vec<Aggregator> =
        (0..6).map(|index| Aggregator::start(&format!("agg-{index}"))).collect();
    let names: Vec<&str> = fleet.iter().map(|aggregator| &*aggregator.name).collect();
    let dns = DnsServer::start();
    let scale = |serving: &[Aggregator]| {
        dns.set(NAME, services(&dns, &serving.iter().collect::<Vec<_>>()));
    };
    scale(&fleet[..3]);
    let proxy = Proxy::start(&preset(&elsewhere(&dns)), run);
    let address = proxy.listener("vector");
    let (agents, load) = (Agents::start(address, 12), Load::start(address));
    load.await_answers(&names[..3], now());
    // Vector's own check, on the traffic's port.
    proxy.await_metric("backend_probe_success", |well| well == 3);

    let change = now();
    scale(&fleet);
    report("as shipped, 3 to 6 aggregators", load.await_answers(&names, change));
    let change = now();
    fleet[0].behave(Manner::Ails);
    report("as shipped, one says it is not well", load.await_answers(&names[1..], change));
    proxy.await_words("it says that it does not serve, with the value 1");
    let change = now();
    fleet[0].behave(Manner::Answers);
    report("as shipped, it is well again", load.await_answers(&names, change));

    let change = now();
    scale(&fleet[..2]);
    proxy.await_words("4 of 6 backends would vanish; a second answer must confirm it");
    report("as shipped, 6 to 2 aggregators", load.await_answers(&names[..2], change));
    agents.next(4);
    load.finish("as shipped");
    agents.finish("as shipped", &fleet.iter().collect::<Vec<_>>());
}

#[test]
fn a_fleet_is_scaled_out_and_in_under_load_and_nothing_is_lost() {
    let mut fleet: Vec<Aggregator> =
        (0..12).map(|index| Aggregator::start(&format!("agg-{index}"))).collect();
    let dns = DnsServer::start();
    let scale = |fleet: &[Aggregator], count: usize| {
        let serving: Vec<&Aggregator> = fleet[..count].iter().collect();
        dns.set(NAME, services(&dns, &serving));
    };
    scale(&fleet, 3);
    let proxy = start(&dns);
    let (agents, load) =
        (Agents::start(proxy.listener("vector"), 36), Load::start(proxy.listener("vector")));
    let spread = |count: usize, most: f64| {
        let serving: Vec<&Aggregator> = fleet[..count].iter().collect();
        println!("{count} aggregators: imbalance {:.2} at first", imbalance(&serving));
        eventually("an even spread", || (imbalance(&serving) <= most).then_some(()));
        println!("{count} aggregators: imbalance {:.2} in the end", imbalance(&serving));
    };
    let names: Vec<String> = fleet.iter().map(|aggregator| aggregator.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    load.await_answers(&names[..3], now());
    agents.next(4);
    spread(3, 1.25);

    let change = now();
    scale(&fleet, 12);
    report("3 to 12 aggregators, new connections", load.await_answers(&names, change));
    spread(12, 1.6);
    report("3 to 12 aggregators, sessions", change.elapsed());

    let change = now();
    scale(&fleet, 2);
    report("12 to 2 aggregators, new connections", load.await_answers(&names[..2], change));
    eventually("those that went have no sessions", || {
        fleet[2..].iter().all(|aggregator| aggregator.connections() == 0).then_some(())
    });
    report("12 to 2 aggregators, sessions", change.elapsed());
    fleet[2..].iter_mut().for_each(Aggregator::kill);
    agents.next(8);
    let serving: Vec<&Aggregator> = fleet[..2].iter().collect();
    println!("2 aggregators: imbalance {:.2}", imbalance(&serving));
    load.finish("3 to 12 to 2 aggregators");
    agents.finish("3 to 12 to 2 aggregators", &fleet.iter().collect::<Vec<_>>());
}
