//! The fleet of RFC 7469: aggregators found by SRV records, scaled out and in under load with the
//! preset as it is shipped, but for its addresses and its longest times.

use std::path::Path;

use super::agents::Agents;
use super::aggregator::Aggregator;
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

fn start(dns: &DnsServer) -> Proxy {
    let server = format!("nameservers = [\"{}\"]\nsearch = []\nndots = 1", dns.address());
    let text = preset(&[
        ("listen = \"127.0.0.1:9607\"", format!("listen = \"{}\"", vacant())),
        ("listen = \"0.0.0.0:6001\"", "listen = \"127.0.0.1:0\"".to_owned()),
        ("nameservers = \"system\"", server),
        // The aggregators here speak in lines.
        ("check = \"vector\"", "check = \"tcp\"".to_owned()),
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
