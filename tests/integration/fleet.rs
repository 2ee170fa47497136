//! Owns what tests of discovery have in common: a nameserver, the records of aggregators, and a
//! configuration that finds them. Waits for nothing.

use std::net::{IpAddr, SocketAddr};

use super::aggregator::Aggregator;
use super::dns::{DnsServer, Entry, a, aaaa, srv};
use super::proxy::{Plan, Proxy};

/// The name that most tests put their aggregators under.
pub const NAME: &str = "_lines._tcp.test";

/// A pool with sources, as it differs from one with the defaults.
pub struct Search<'a> {
    /// Tables of TOML. They are asked for every tenth of a second, with or without success.
    pub sources: &'a str,
    pub process: &'a str,
    pub pool: &'a str,
    /// Lines of [resolver], without which it asks the test's server and waits for a second.
    pub resolver: &'a str,
    /// Lines of [pool.back.discovery], besides the intervals.
    pub discovery: &'a str,
    pub more: &'a str,
}

impl Search<'_> {
    /// For the services under `NAME`.
    pub fn of_services() -> Search<'static> {
        Search {
            sources: "{ srv = \"_lines._tcp.test\" }",
            process: "workers = 1",
            pool: "",
            resolver: "timeout = \"1s\"\ntries = 2",
            discovery: "",
            more: "",
        }
    }

    pub fn start(&self, server: SocketAddr) -> Proxy {
        Proxy::start(&self.text(server, "127.0.0.1:0"), super::proxy::run)
    }

    pub fn text(&self, server: SocketAddr, listen: &str) -> String {
        let Search { sources, process, pool, resolver, discovery, more } = self;
        let pool = format!("sources = [{sources}]\n{pool}");
        let more = format!(
            "[pool.back.discovery]\nmin_interval = \"100ms\"\nmax_interval = \"1s\"\n\
             retry_interval = \"100ms\"\n{discovery}\n\
             [resolver]\nnameservers = [\"{server}\"]\nsearch = []\nndots = 1\n{resolver}\n{more}"
        );
        Plan { process, pool: &pool, more: &more, ..Plan::of(&[]) }.text(listen)
    }
}

/// The name has these aggregators as its services from now on, alike, and no others.
pub fn set(server: &DnsServer, aggregators: &[&Aggregator]) {
    server.set(NAME, services(server, aggregators));
}

/// Services for these aggregators, each under a target of its own that the server knows then.
pub fn services(server: &DnsServer, aggregators: &[&Aggregator]) -> Vec<Entry> {
    aggregators.iter().map(|aggregator| service(server, aggregator, 0, 1)).collect()
}

pub fn service(server: &DnsServer, aggregator: &Aggregator, priority: u16, weight: u16) -> Entry {
    let target = format!("{}.test", aggregator.name);
    server.set(&target, [address(aggregator)]);
    srv(priority, weight, aggregator.address.port(), &target).ttl(0)
}

/// The record of its address.
pub fn address(aggregator: &Aggregator) -> Entry {
    let address = aggregator.address.ip();
    match address {
        IpAddr::V4(_) => a(&address.to_string()).ttl(0),
        IpAddr::V6(_) => aaaa(&address.to_string()).ttl(0),
    }
}
