//! Owns the tests of SRV records: what they say, and the addresses that come with them.

use std::time::Duration;

use ringmain::control::discovery::Failure;

use super::asking::{answer, ips, resolver, services, services_of};
use super::dns::{DnsServer, Kind, a, aaaa, cname, srv};

const NAME: &str = "_vector._tcp.test.";

#[tokio::test]
async fn services_bring_the_addresses_of_their_targets() {
    let server = DnsServer::start();
    server.set(NAME, [srv(0, 10, 6000, "Agg-0.Test"), srv(0, 20, 6001, "agg-1.test")]);
    server.set("AGG-0.test", [a("10.0.0.1"), aaaa("fd00::1")]);
    server.set("agg-1.test", [a("10.0.0.2")]);
    let found = services_of(services(&resolver(&server), NAME).await);
    let [first, second] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&*first.target, first.port, first.weight), ("agg-0.test.", 6000, 10));
    assert_eq!(first.addresses, ips(&["10.0.0.1", "fd00::1"]));
    assert_eq!((&*second.target, second.port, second.weight), ("agg-1.test.", 6001, 20));
    assert_eq!(second.addresses, ips(&["10.0.0.2"]));
    assert_eq!(server.seen().len(), 1, "nothing else is asked for");
}

#[tokio::test]
async fn without_additional_records_there_are_no_addresses() {
    let server = DnsServer::start();
    server.send_additionals(false);
    server.set(NAME, [srv(0, 0, 6000, "agg-0.test")]);
    server.set("agg-0.test", [a("10.0.0.1")]);
    let found = services_of(services(&resolver(&server), NAME).await);
    assert_eq!((found.len(), found[0].addresses.len()), (1, 0));
}

#[tokio::test]
async fn weights_and_priorities_are_as_given() {
    let server = DnsServer::start();
    let given = [(65_535, 1, 1), (0, 0, 2), (0, 65_535, 65_535), (7, 256, 3), (0, 255, 4)];
    let record = |(priority, weight, port)| srv(priority, weight, port, "agg.test");
    server.set(NAME, given.map(record));
    let found = services_of(services(&resolver(&server), NAME).await);
    let mut found: Vec<_> = found.iter().map(|it| (it.priority, it.weight, it.port)).collect();
    assert!(found.is_sorted_by_key(|(priority, ..)| *priority), "{found:?}");
    found.sort();
    let mut given = given.to_vec();
    given.sort();
    assert_eq!(found, given);
}

#[tokio::test]
async fn the_root_as_target_says_that_there_is_no_service() {
    let server = DnsServer::start();
    server.set(NAME, [srv(0, 0, 0, ".")]);
    assert_eq!(services(&resolver(&server), NAME).await, Err(Failure::Empty));
}

#[tokio::test]
async fn services_are_good_for_the_least_ttl_addresses_and_aliases_included() {
    let server = DnsServer::start();
    let resolver = resolver(&server);
    for (alias, service, address) in [(5, 60, 60), (60, 5, 60), (60, 60, 5)] {
        server.set("_x._tcp.test", [cname(NAME).ttl(alias)]);
        server.set(NAME, [srv(0, 0, 6000, "agg.test").ttl(service)]);
        server.set("agg.test", [a("10.0.0.1").ttl(address)]);
        let found = answer(services(&resolver, "_x._tcp.test.").await);
        assert_eq!(found.valid_for, Duration::from_secs(5), "{alias} {service} {address}");
    }
}

#[tokio::test]
async fn five_hundred_targets_come_whole_over_tcp() {
    let server = DnsServer::start();
    let targets: Vec<String> = (0..500).map(|index| format!("agg-{index}.vector.test")).collect();
    server.set(NAME, targets.iter().map(|target| srv(0, 1, 6000, target)));
    for (index, target) in targets.iter().enumerate() {
        server.set(target, [a(&format!("10.1.{}.{}", index / 250, index % 250))]);
    }
    let found = services_of(services(&resolver(&server), NAME).await);
    assert_eq!(found.len(), 500);
    assert!(found.iter().all(|service| service.addresses.len() == 1));
    let transports: Vec<bool> = server.seen().iter().map(|seen| seen.tcp).collect();
    assert_eq!(transports, [false, true]);
    assert_eq!(server.queries(NAME, Kind::SRV), 2);
}
