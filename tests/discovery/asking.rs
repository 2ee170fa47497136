//! Owns how tests ask: a resolver for their nameservers, questions, and answers made plain.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringmain::config;
use ringmain::control::discovery::{Answer, Kind, Outcome, Question, Record, Service};
use ringmain::control::resolver::Resolver;

use super::dns::DnsServer;

/// Long, so that nothing is lost to a slow machine. Tests in which a nameserver is silent run on
/// virtual time, or have another that answers.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub fn config(servers: &[SocketAddr]) -> config::Resolver {
    config::Resolver {
        nameservers: Some(servers.to_vec()),
        search: Some(Vec::new()),
        ndots: Some(1),
        timeout: TIMEOUT,
        tries: 2,
        ..config::Resolver::default()
    }
}

pub fn configured(config: &config::Resolver) -> Resolver {
    Resolver::new(config, Path::new("/nonexistent/resolv.conf")).unwrap()
}

pub fn resolver(server: &DnsServer) -> Resolver {
    configured(&config(&[server.address()]))
}

pub async fn ask(resolver: &Resolver, name: &str, kind: Kind) -> Outcome {
    resolver.ask(&Question { name: Arc::from(name), kind }).await
}

pub async fn addresses(resolver: &Resolver, name: &str) -> Outcome {
    ask(resolver, name, Kind::Addresses).await
}

pub async fn services(resolver: &Resolver, name: &str) -> Outcome {
    ask(resolver, name, Kind::Services).await
}

/// Waits until the server was asked so often in all, while the other futures of the test go on.
pub async fn asked(server: &DnsServer, queries: usize) {
    let asked = async {
        while server.seen().len() < queries {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(TIMEOUT, asked).await.is_ok();
    assert!(in_time, "asked {} times, {queries} are awaited", server.seen().len());
}

/// The time goes on by as much, at once.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// The addresses of an answer that consists of them.
#[track_caller]
pub fn addresses_of(outcome: Outcome) -> Vec<String> {
    let address = |record: &Record| match record {
        Record::Address(address) => address.to_string(),
        Record::Service(service) => panic!("no address: {service:?}"),
    };
    answer(outcome).records.iter().map(address).collect()
}

/// The services of an answer that consists of them.
#[track_caller]
pub fn services_of(outcome: Outcome) -> Vec<Service> {
    let service = |record| match record {
        Record::Service(service) => service,
        Record::Address(address) => panic!("no service: {address}"),
    };
    answer(outcome).records.into_iter().map(service).collect()
}

#[track_caller]
pub fn answer(outcome: Outcome) -> Answer {
    outcome.unwrap_or_else(|failure| panic!("{}", failure.as_str()))
}

pub fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}
